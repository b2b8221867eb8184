/* bench_sync.c - segmenter bench sync: one message, its answer, the next. */
#include <math.h>
#include <stdlib.h>

#include "bench_sender.h"
#include "histogram.h"

static const cli_opt table[] = {
    BENCH_MESSAGES("20000"),
    BENCH_SIZE,
    BENCH_KEYS,
    BENCH_PARTITIONS("16"),
    BENCH_CLIENTS("1", "threads, each with a client of its own"),
    BENCH_RUNS,
    BENCH_PAYLOAD,
    BENCH_BATCH_BYTES,
    BENCH_LINGER,
    BENCH_CODEC,
    BENCH_NO_BASELINE,
    BENCH_JSON_LINES,
};

enum { LOOK_EVERY = 256 };

typedef struct job {
    bench b;
    bench_report report;
    bench_xadds xadds;
    bench_senders senders;
    bench_raws raws;
    cli_histogram *histograms; /* of each thread */
} job;

static int send_ours(bench_part *p) {
    job *j = p->arg;
    const bench_load *load = &p->b->load;
    seg_producer *producer = j->senders.producers[p->index];
    cli_histogram *h = &j->histograms[p->index];
    seg_error err;
    seg_record r;
    SEG_INIT(&r);
    int64_t began = bench_now_ns();
    for (uint64_t i = p->first; i < p->end; i++) {
        r.key = bench_load_key(load, i % load->n);
        r.value = bench_load_value(load, i % load->n);
        if (seg_send(producer, &r, NULL, &err) != SEG_OK) {
            return cli_error(&err);
        }
        int64_t now = bench_now_ns();
        cli_histogram_add(h, now - began);
        began = now;
        if (i % LOOK_EVERY == 0 && bench_interrupted() != CLI_OK) {
            return CLI_FAILURE;
        }
    }
    return CLI_OK;
}

static int send_raw(bench_part *p) {
    job *j = p->arg;
    const bench_xadds *x = &j->xadds;
    bench_raw *raw = j->raws.raws[p->index];
    cli_histogram *h = &j->histograms[p->index];
    int64_t began = bench_now_ns();
    for (uint64_t i = p->first; i < p->end; i++) {
        size_t at = i % x->n;
        if (!bench_raw_send(raw, x->commands.data + x->at[at], x->at[at + 1] - x->at[at]) ||
            !bench_raw_read(raw, 1)) {
            return CLI_FAILURE;
        }
        int64_t now = bench_now_ns();
        cli_histogram_add(h, now - began);
        began = now;
    }
    return CLI_OK;
}

static int measure(job *j, int (*send)(bench_part *p), bench_add_fn *add) {
    bench *b = &j->b;
    size_t n = (size_t)b->opts->clients;
    uint64_t messages = (uint64_t)b->opts->messages;
    bench_usage before, after;
    j->histograms = cli_alloc(n, sizeof *j->histograms);
    int code = bench_usage_take(&before, b->control) ? CLI_OK : CLI_FAILURE;
    int64_t began = bench_now_ns();
    if (code == CLI_OK) {
        code = bench_parallel(b, messages, send, j);
    }
    int64_t elapsed = bench_now_ns() - began;
    if (code == CLI_OK && !bench_usage_take(&after, b->control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        for (size_t i = 1; i < n; i++) {
            cli_histogram_merge(&j->histograms[0], &j->histograms[i]);
        }
        add(&j->report, b, "sync_", "msg/s", bench_rate(&before, &after, elapsed, messages));
        bench_report_latency(&j->report, b, add, "sync", &j->histograms[0], NULL);
    }
    free(j->histograms);
    return code;
}

static int run_ours(job *j) {
    bench *b = &j->b;
    uint64_t messages = (uint64_t)b->opts->messages;
    int code = bench_stream_create(b, messages);
    if (code != CLI_OK) {
        return code;
    }
    code = bench_senders_open(&j->senders, b);
    if (code == CLI_OK) {
        code = measure(j, send_ours, bench_report_ours);
    }
    bench_senders_close(&j->senders);
    if (code == CLI_OK) {
        code = bench_senders_check(b, messages);
    }
    return code == CLI_OK ? bench_stream_delete(b) : code;
}

static int run_baseline(job *j) {
    bench *b = &j->b;
    int code = bench_raws_open(&j->raws, b);
    if (code == CLI_OK) {
        code = measure(j, send_raw, bench_report_baseline);
    }
    bench_raws_close(&j->raws);
    if (code == CLI_OK) {
        code = bench_raws_check(b, (uint64_t)b->opts->messages);
    }
    return code == CLI_OK ? bench_keys_delete(b) : code;
}

static int run_sync(const cli_run *run) {
    const bench_opts *o = run->opts;
    job j = {0};
    int code = bench_begin(&j.b, run);
    if (code == CLI_OK) {
        bench_xadds_init(&j.xadds, &j.b, "*");
    }
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        code = run_ours(&j);
        if (code == CLI_OK && !o->no_baseline) {
            code = run_baseline(&j);
        }
    }
    bench_xadds_fini(&j.xadds);
    if (code == CLI_OK) {
        bench_report_print(&j.report, &j.b, "sync");
    }
    bench_report_fini(&j.report);
    return bench_end(&j.b, code);
}

const cli_command cli_bench_sync = {
    .name = "bench sync",
    .args = "",
    .brief = "Measure sending one message after another",
    .about = "Send each message with seg_send once the one before is stored, and beside it what "
             "XADD does on the same server: one command, its answer, the next." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_sync,
};
