/* bench_produce.c - segmenter bench produce: how many messages a second are stored.
 *
 * Two baselines: each message as an entry of its own, pipelined, which is what one would write without
 * this library; and the "ceiling", entries as many and as large as our batches were, which is what the
 * server can take in at best. */
#include <math.h>
#include <stdlib.h>

#include "bench_sender.h"

static const cli_opt table[] = {
    BENCH_MESSAGES("1000000"),
    BENCH_SIZE,
    BENCH_KEYS,
    BENCH_PARTITIONS("16"),
    BENCH_CLIENTS("1", "producers, each with a client and a thread of its own"),
    BENCH_RUNS("5"),
    BENCH_PAYLOAD,
    BENCH_BATCHING,
    BENCH_OUTPUT,
};

typedef struct job {
    bench b;
    bench_report report;
    uint64_t messages;
    uint64_t batches; /* of ours, in the latest run */
    bench_xadds each, large;
} job;

/* What both sides measure: the rate until `after`, and the memory once all connections are closed. */
typedef struct measured {
    bench_usage before, after, settled;
    int64_t elapsed_ns;
} measured;

static bench_sample memory(const measured *m, uint64_t messages) {
    return (bench_sample){.value =
                              (double)(m->settled.memory - m->before.memory) / (double)messages,
                          .server_us = NAN,
                          .client_us = NAN};
}

/* ---- Ours ------------------------------------------------------------------------------------ */

static int send_ours(job *j, bench_senders *s, measured *m) {
    if (!bench_usage_take(&m->after, j->b.control)) {
        return CLI_FAILURE;
    }
    bench_usage start = m->after;
    int64_t began = bench_now_ns();
    int code = bench_senders_run(s, &j->b, j->messages);
    m->elapsed_ns = bench_now_ns() - began;
    if (code == CLI_OK && !bench_usage_take(&m->after, j->b.control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        j->batches = s->batches;
        bench_report_ours(&j->report, &j->b, "produce_", "msg/s",
                          bench_rate(&start, &m->after, m->elapsed_ns, j->messages));
        bench_report_ours(&j->report, &j->b, "produce_ceiling_", "msg/s",
                          bench_rate(&start, &m->after, m->elapsed_ns, j->messages));
    }
    return code;
}

static int run_ours(job *j) {
    bench *b = &j->b;
    measured m;
    bench_senders s;
    int code = bench_settle(b, &m.before);
    if (code == CLI_OK) {
        code = bench_stream_create(b, j->messages);
    }
    if (code != CLI_OK) {
        return code;
    }
    code = bench_senders_open(&s, b);
    if (code == CLI_OK) {
        code = send_ours(j, &s, &m);
    }
    bench_senders_close(&s);
    if (code == CLI_OK) {
        code = bench_senders_check(b, j->messages);
    }
    if (code == CLI_OK) {
        code = bench_settle(b, &m.settled);
    }
    if (code == CLI_OK) {
        bench_report_ours(&j->report, b, "memory_", "B/msg", memory(&m, j->messages));
        code = bench_stream_delete(b);
    }
    return code;
}

/* ---- The baselines --------------------------------------------------------------------------- */

/* Send `n` entries, which carry the messages of a run. */
static int send_baseline(job *j, const bench_xadds *x, uint64_t n, const char *figure) {
    bench *b = &j->b;
    measured m;
    bench_raws r;
    int code = bench_settle(b, &m.before);
    if (code != CLI_OK) {
        return code;
    }
    code = bench_raws_open(&r, b);
    bench_usage start;
    if (code == CLI_OK && !bench_usage_take(&start, b->control)) {
        code = CLI_FAILURE;
    }
    int64_t began = bench_now_ns();
    if (code == CLI_OK) {
        code = bench_raws_run(&r, b, x, n);
        m.elapsed_ns = bench_now_ns() - began;
    }
    if (code == CLI_OK && !bench_usage_take(&m.after, b->control)) {
        code = CLI_FAILURE;
    }
    bench_raws_close(&r);
    if (code == CLI_OK) {
        code = bench_raws_check(b, n);
    }
    if (code == CLI_OK) {
        code = bench_settle(b, &m.settled);
    }
    if (code == CLI_OK) {
        bench_report_baseline(&j->report, b, figure, "msg/s",
                              bench_rate(&start, &m.after, m.elapsed_ns, j->messages));
        if (x == &j->each) {
            bench_report_baseline(&j->report, b, "memory_", "B/msg", memory(&m, j->messages));
        }
        code = bench_keys_delete(b);
    }
    return code;
}

static int run_ceiling(job *j) {
    uint64_t bytes = j->messages * j->b.load.bytes / j->batches;
    bench_xadds_init_large(&j->large, &j->b, (size_t)bytes);
    int code = send_baseline(j, &j->large, j->batches, "produce_ceiling_");
    bench_xadds_fini(&j->large);
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int run_all(job *j) {
    const bench_opts *o = j->b.opts;
    if (!o->no_baseline) {
        bench_xadds_init(&j->each, &j->b, "*");
    }
    int code = CLI_OK;
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        code = run_ours(j);
        if (code == CLI_OK && !o->no_baseline) {
            code = send_baseline(j, &j->each, j->messages, "produce_");
        }
        if (code == CLI_OK && !o->no_baseline) {
            code = run_ceiling(j);
        }
    }
    bench_xadds_fini(&j->each);
    return code;
}

static int run_produce(const cli_run *run) {
    const bench_opts *o = run->opts;
    job j = {.messages = (uint64_t)o->messages};
    int code = bench_begin(&j.b, run);
    if (code == CLI_OK) {
        code = run_all(&j);
    }
    if (code == CLI_OK) {
        bench_report_print(&j.report, &j.b, "produce");
    }
    bench_report_fini(&j.report);
    return bench_end(&j.b, code);
}

const cli_command cli_bench_produce = {
    .name = "bench produce",
    .args = "",
    .brief = "Measure how many messages a second are stored",
    .about =
        "Send messages with seg_send_async until all are stored, and beside it what plain commands "
        "do on the same server: each message as an entry of its own (XADD, pipelined), and the "
        "ceiling, entries as many and as large as our batches were.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_produce,
};
