/* bench_consume.c - segmenter bench consume: how many messages a second are read and acknowledged.
 *
 * Both sides are filled once. Each run is a new group, from its joining until the last acknowledgement
 * is stored. The baseline reads the partitions' streams with XREADGROUP, and acknowledges all IDs of
 * an answer at once; the next answer is on its way meanwhile. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench_reader.h"
#include "bench_sender.h"

static const cli_opt table[] = {
    BENCH_MESSAGES("1000000"),
    BENCH_SIZE,
    BENCH_KEYS,
    BENCH_PARTITIONS("16"),
    BENCH_CLIENTS("1", "members of the group, each with a client and a thread of its own"),
    BENCH_RUNS,
    BENCH_PAYLOAD,
    BENCH_BATCH_BYTES,
    BENCH_LINGER,
    BENCH_CODEC,
    BENCH_NO_BASELINE,
    BENCH_JSON_LINES,
};

enum { AT_ONCE = 1000, WAIT_MS = 5, COMMIT_MS = 10000 };

typedef struct job {
    bench b;
    bench_report report;
    uint64_t messages;
    char group[32];
    seg_client **clients;   /* of the members */
    bench_reader *readers;  /* of the baseline */
    _Atomic uint64_t *next; /* of each partition, the offset that has to come */
    atomic_uint_least64_t received, out_of_place, bytes;
    atomic_int_least64_t done_ns; /* the latest end of a member's work */
} job;

static void note_done(job *j) {
    int64_t now = bench_now_ns(), before = atomic_load(&j->done_ns);
    while (before < now && !atomic_compare_exchange_weak(&j->done_ns, &before, now)) {
    }
}

/* ---- Ours ------------------------------------------------------------------------------------ */

/* Each message has to be the next one of its partition. A partition has one owner at a time, so
 * nobody else is at its counter. */
static void check_batch(job *j, const seg_batch *batch, size_t n) {
    uint64_t wrong = 0, bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const seg_message *m = seg_batch_at(batch, i);
        seg_delivery d = seg_message_delivery(m);
        uint64_t expected = atomic_load_explicit(&j->next[d.partition], memory_order_relaxed);
        wrong += d.id.offset != expected;
        bytes += seg_message_value(m).len;
        atomic_store_explicit(&j->next[d.partition], d.id.offset + 1, memory_order_relaxed);
    }
    if (wrong) {
        atomic_fetch_add(&j->out_of_place, wrong);
    }
    atomic_fetch_add(&j->bytes, bytes);
    atomic_fetch_add(&j->received, n);
}

static int consume(job *j, seg_consumer *consumer) {
    seg_error err;
    bool last = false;
    while (atomic_load(&j->received) < j->messages) {
        seg_batch *batch;
        if (seg_consumer_poll(&batch, consumer, AT_ONCE, WAIT_MS, &err) != SEG_OK) {
            return cli_error(&err);
        }
        size_t n = seg_batch_count(batch);
        last = n > 0;
        if (n > 0) {
            check_batch(j, batch, n);
        }
        seg_status status = n > 0 ? seg_ack_batch(consumer, batch, &err) : SEG_OK;
        seg_batch_free(batch);
        if (status != SEG_OK) {
            return cli_error(&err);
        }
        if (bench_interrupted() != CLI_OK) {
            return CLI_FAILURE;
        }
    }
    if (seg_consumer_commit(consumer, COMMIT_MS, &err) != SEG_OK) {
        return cli_error(&err);
    }
    if (last) { /* one that had nothing to do at the end only found out late that it was over */
        note_done(j);
    }
    return CLI_OK;
}

static int run_member(bench_part *p) {
    job *j = p->arg;
    seg_consumer_options opts;
    SEG_INIT(&opts);
    opts.group = j->group;
    seg_error err;
    seg_consumer *consumer;
    if (seg_consumer_open(&consumer, j->clients[p->index], p->b->id, &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    int code = consume(j, consumer);
    seg_consumer_close(consumer);
    return code;
}

static int check_group(job *j) {
    if (j->received != j->messages || j->out_of_place) {
        return cli_failure("%" PRIu64 " messages came, of which %" PRIu64
                           " were not the next of their partition; %" PRIu64 " were there",
                           j->received, j->out_of_place, j->messages);
    }
    if (j->bytes != j->messages * (uint64_t)j->b.opts->size) {
        return cli_failure("the messages that came have %" PRIu64 " bytes, %" PRIu64 " were sent",
                           j->bytes, j->messages * (uint64_t)j->b.opts->size);
    }
    seg_group_info *info;
    seg_error err;
    if (seg_group_describe(&info, j->b.client, j->b.id, j->group, &err) != SEG_OK) {
        return cli_error(&err);
    }
    uint64_t lag = seg_group_info_lag(info);
    seg_group_info_free(info);
    if (lag) {
        return cli_failure("%" PRIu64 " messages are not acknowledged, of %" PRIu64, lag,
                           j->messages);
    }
    return seg_group_delete(j->b.client, j->b.id, j->group, &err) == SEG_OK ? CLI_OK
                                                                            : cli_error(&err);
}

static void reset(job *j) {
    size_t n = (size_t)j->b.opts->partitions;
    for (size_t i = 0; i < n; i++) {
        atomic_store(&j->next[i], 0);
    }
    j->received = 0;
    j->out_of_place = 0;
    j->bytes = 0;
    j->done_ns = 0;
}

static int measure(job *j, int (*fn)(bench_part *p), bench_add_fn *add) {
    bench_usage before, after;
    reset(j);
    if (!bench_usage_take(&before, j->b.control)) {
        return CLI_FAILURE;
    }
    int64_t began = bench_now_ns();
    int code = bench_parallel(&j->b, j->messages, fn, j);
    if (code == CLI_OK && !bench_usage_take(&after, j->b.control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        add(&j->report, &j->b, "consume_", "msg/s",
            bench_rate(&before, &after, j->done_ns - began, j->messages));
    }
    return code;
}

static int run_ours(job *j) {
    size_t n = (size_t)j->b.opts->clients;
    j->clients = cli_alloc(n, sizeof *j->clients);
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < n; i++) {
        code = cli_open(&j->clients[i], &j->b.globals, false);
    }
    if (code == CLI_OK) {
        code = measure(j, run_member, bench_report_ours);
    }
    for (size_t i = 0; i < n; i++) {
        seg_client_close(j->clients[i]);
    }
    free(j->clients);
    return code == CLI_OK ? check_group(j) : code;
}

static int fill_ours(job *j) {
    bench_senders s;
    int code = bench_stream_create(&j->b, j->messages);
    if (code != CLI_OK) {
        return code;
    }
    code = bench_senders_open(&s, &j->b);
    if (code == CLI_OK) {
        code = bench_senders_run(&s, &j->b, j->messages);
    }
    bench_senders_close(&s);
    return code == CLI_OK ? bench_senders_check(&j->b, j->messages) : code;
}

/* ---- The baseline ---------------------------------------------------------------------------- */

static int run_reader(bench_part *p) {
    job *j = p->arg;
    bench_reader *r = &j->readers[p->index];
    int code = bench_reader_run(r);
    if (r->entries > 0) {
        note_done(j);
    }
    atomic_fetch_add(&j->received, r->entries);
    return code;
}

static int delete_groups(job *j) {
    for (uint32_t i = 0; i < j->b.opts->partitions; i++) {
        char key[64];
        bench_key(&j->b, key, i);
        if (!bench_raw_ask(j->b.control, "XGROUP DESTROY %s %s", key, j->group)) {
            return CLI_FAILURE;
        }
    }
    return CLI_OK;
}

static int run_baseline(job *j) {
    size_t n = (size_t)j->b.opts->clients;
    j->readers = cli_alloc(n, sizeof *j->readers);
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < n; i++) {
        code = bench_reader_init(&j->readers[i], &j->b, j->group, (uint32_t)i);
    }
    if (code == CLI_OK) {
        code = measure(j, run_reader, bench_report_baseline);
    }
    for (size_t i = 0; i < n; i++) {
        bench_reader_fini(&j->readers[i]);
    }
    free(j->readers);
    if (code == CLI_OK && j->received != j->messages) {
        code = cli_failure("%" PRIu64 " entries came to the baseline, %" PRIu64 " were sent",
                           j->received, j->messages);
    }
    return code == CLI_OK ? delete_groups(j) : code;
}

static int fill_baseline(job *j) {
    bench_xadds x;
    bench_raws r;
    bench_xadds_init(&x, &j->b, "*");
    int code = bench_raws_open(&r, &j->b);
    if (code == CLI_OK) {
        code = bench_raws_run(&r, &j->b, &x, j->messages);
    }
    bench_raws_close(&r);
    bench_xadds_fini(&x);
    return code == CLI_OK ? bench_raws_check(&j->b, j->messages) : code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int run_all(job *j) {
    const bench_opts *o = j->b.opts;
    bench_usage quiet;
    j->next = cli_alloc((size_t)o->partitions, sizeof *j->next);
    int code = fill_ours(j);
    if (code == CLI_OK && !o->no_baseline) {
        code = fill_baseline(j);
    }
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        snprintf(j->group, sizeof j->group, "run-%" PRId64, i);
        code = bench_settle(&j->b, &quiet);
        if (code == CLI_OK) {
            code = run_ours(j);
        }
        if (code == CLI_OK && !o->no_baseline) {
            code = bench_settle(&j->b, &quiet);
            if (code == CLI_OK) {
                code = run_baseline(j);
            }
        }
    }
    free(j->next);
    return code;
}

static int run_consume(const cli_run *run) {
    const bench_opts *o = run->opts;
    job j = {.messages = (uint64_t)o->messages};
    int code = bench_begin(&j.b, run);
    if (code == CLI_OK) {
        code = run_all(&j);
    }
    if (code == CLI_OK) {
        bench_report_print(&j.report, &j.b, "consume");
    }
    bench_report_fini(&j.report);
    return bench_end(&j.b, code);
}

const cli_command cli_bench_consume = {
    .name = "bench consume",
    .args = "",
    .brief = "Measure how many messages a second are read",
    .about =
        "Read what was stored before as a new group, with seg_consumer_poll and seg_ack_batch, "
        "until all is acknowledged; and beside it what plain commands do on the same server: "
        "XREADGROUP and XACK, over as many streams, where each message is an entry." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_consume,
};
