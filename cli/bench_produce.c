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
    BENCH_RUNS,
    BENCH_PAYLOAD,
    BENCH_BATCH_BYTES,
    BENCH_LINGER,
    BENCH_CODEC,
    BENCH_NO_BASELINE,
    BENCH_JSON_LINES,
};

typedef struct job {
    bench b;
    bench_report report;
    uint64_t messages;
    uint64_t entries; /* of the ceiling: our batches in the run before */
    bench_senders senders;
    bench_raws raws;
    bench_xadds each, large;
} job;

/* One way to send the messages of a run. */
typedef struct side {
    int (*open)(job *j);
    int (*send)(job *j);
    void (*close)(job *j);
    int (*check)(job *j); /* is all there? */
    int (*drop)(bench *b);
    bench_add_fn *add;
    const char *figures[2]; /* that its rate belongs to */
    const char *memory;     /* NULL: not of interest */
} side;

/* ---- Ours ------------------------------------------------------------------------------------ */

static int open_ours(job *j) {
    int code = bench_stream_create(&j->b, j->messages);
    return code == CLI_OK ? bench_senders_open(&j->senders, &j->b) : code;
}

static int send_ours(job *j) {
    int code = bench_senders_run(&j->senders, &j->b, j->messages);
    j->entries = j->senders.batches;
    return code;
}

static void close_ours(job *j) {
    bench_senders_close(&j->senders);
}

static int check_ours(job *j) {
    return bench_senders_check(&j->b, j->messages);
}

static const side ours = {
    .open = open_ours,
    .send = send_ours,
    .close = close_ours,
    .check = check_ours,
    .drop = bench_stream_delete,
    .add = bench_report_ours,
    .figures = {"produce_", "produce_ceiling_"},
    .memory = "memory_",
};

/* ---- The baselines --------------------------------------------------------------------------- */

static int open_raws(job *j) {
    return bench_raws_open(&j->raws, &j->b);
}

static void close_raws(job *j) {
    bench_raws_close(&j->raws);
}

static int send_each(job *j) {
    return bench_raws_run(&j->raws, &j->b, &j->each, j->messages);
}

static int check_each(job *j) {
    return bench_raws_check(&j->b, j->messages);
}

static const side each = {
    .open = open_raws,
    .send = send_each,
    .close = close_raws,
    .check = check_each,
    .drop = bench_keys_delete,
    .add = bench_report_baseline,
    .figures = {"produce_"},
    .memory = "memory_",
};

static int open_ceiling(job *j) {
    bench_xadds_init_large(&j->large, &j->b, (size_t)(j->messages * j->b.load.bytes / j->entries));
    return open_raws(j);
}

static int send_ceiling(job *j) {
    return bench_raws_run(&j->raws, &j->b, &j->large, j->entries);
}

static void close_ceiling(job *j) {
    close_raws(j);
    bench_xadds_fini(&j->large);
}

static int check_ceiling(job *j) {
    return bench_raws_check(&j->b, j->entries);
}

static const side ceiling = {
    .open = open_ceiling,
    .send = send_ceiling,
    .close = close_ceiling,
    .check = check_ceiling,
    .drop = bench_keys_delete,
    .add = bench_report_baseline,
    .figures = {"produce_ceiling_"},
};

/* ---- Measuring ------------------------------------------------------------------------------- */

static int send_timed(job *j, const side *s, bench_usage *start, bench_usage *end, int64_t *ns) {
    if (!bench_usage_take(start, j->b.control)) {
        return CLI_FAILURE;
    }
    int64_t began = bench_now_ns();
    int code = s->send(j);
    *ns = bench_now_ns() - began;
    return code == CLI_OK && !bench_usage_take(end, j->b.control) ? CLI_FAILURE : code;
}

/* Memory is looked at when nobody is connected any more: connections have buffers. */
static int run_side(job *j, const side *s) {
    bench *b = &j->b;
    bench_usage before, start, end, after;
    int64_t ns = 0;
    int code = bench_settle(b, &before);
    if (code == CLI_OK) {
        code = s->open(j);
        code = code == CLI_OK ? send_timed(j, s, &start, &end, &ns) : code;
        s->close(j);
    }
    code = code == CLI_OK ? s->check(j) : code;
    code = code == CLI_OK ? bench_settle(b, &after) : code;
    if (code != CLI_OK) {
        return code;
    }
    for (size_t i = 0; i < 2 && s->figures[i]; i++) {
        s->add(&j->report, b, s->figures[i], "msg/s", bench_rate(&start, &end, ns, j->messages));
    }
    if (s->memory) {
        double bytes = (double)(after.memory - before.memory) / (double)j->messages;
        s->add(&j->report, b, s->memory, "B/msg", (bench_sample){bytes, NAN, NAN});
    }
    return s->drop(b);
}

static void report_batches(job *j) {
    bench_report_ours(&j->report, &j->b, "batch_", "msg",
                      (bench_sample){(double)j->messages / (double)j->entries, NAN, NAN});
}

static int run_all(job *j) {
    const bench_opts *o = j->b.opts;
    if (!o->no_baseline) {
        bench_xadds_init(&j->each, &j->b, "*");
    }
    int code = CLI_OK;
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        code = run_side(j, &ours);
        if (code == CLI_OK) {
            report_batches(j);
        }
        if (code == CLI_OK && !o->no_baseline) {
            code = run_side(j, &each);
        }
        if (code == CLI_OK && !o->no_baseline) {
            code = run_side(j, &ceiling);
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
        "ceiling, entries as many and as large as our batches were." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_produce,
};
