/* bench_e2e.c - segmenter bench e2e: from the moment when a message was to be sent until it is there.
 *
 * Corrected for coordinated omission: the schedule says when a message is sent, not the one before.
 * If the sender is held up, what it then sends late is as late as a user would find it.
 *
 * A message says which it is without a byte of its own: ours by its timestamp, the baseline's by its
 * ID. Both count from 1. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench_e2e.h"
#include "signals.h"

static const cli_opt table[] = {
    BENCH_MESSAGES("5000"), BENCH_RATE("1000"), BENCH_SIZE,        BENCH_KEYS,
    BENCH_PARTITIONS("16"), BENCH_RUNS,         BENCH_PAYLOAD,     BENCH_BATCH_BYTES,
    BENCH_LINGER,           BENCH_CODEC,        BENCH_NO_BASELINE, BENCH_JSON_LINES,
};

enum {
    AT_ONCE = 1000,
    WAIT_MS = 100,
    LEAD_MS = 20,        /* from the schedule's making to its first message */
    PATIENCE_MS = 30000, /* after the last message was sent */
};

enum { NEVER, ONCE, TWICE }; /* or more */

enum phase { SENDING, SENT, ABORTED };

/* ---- What both sides do ---------------------------------------------------------------------- */

void bench_e2e_note(bench_e2e *j, int64_t number, int64_t now_ns) {
    uint64_t i = (uint64_t)number - 1;
    if (i < j->messages) {
        cli_histogram_add(&j->latency, now_ns - bench_schedule_at(&j->schedule, i));
        j->seen[i] = j->seen[i] ? TWICE : ONCE;
    }
    j->received++;
}

bool bench_e2e_expects_more(const bench_e2e *j, int64_t *sent_ns) {
    int now = atomic_load(&j->phase);
    if (now == SENT && *sent_ns == 0) {
        *sent_ns = bench_now_ns();
    }
    bool patient = *sent_ns == 0 || bench_now_ns() - *sent_ns < PATIENCE_MS * INT64_C(1000000);
    return j->received < j->messages && now != ABORTED && patient && !cli_signal_caught();
}

static int judge(const bench_e2e *j) {
    uint64_t lost = 0, twice = 0;
    if (bench_interrupted() != CLI_OK) {
        return CLI_FAILURE;
    }
    for (uint64_t i = 0; i < j->messages; i++) {
        lost += j->seen[i] == NEVER;
        twice += j->seen[i] == TWICE;
    }
    if (lost || twice || j->received != j->messages) {
        return cli_failure("%" PRIu64 " messages came, %" PRIu64 " were sent: %" PRIu64
                           " did not come, %" PRIu64 " came more than once",
                           j->received, j->messages, lost, twice);
    }
    return CLI_OK;
}

typedef struct side {
    int (*send)(bench_e2e *j);
    int (*receive)(bench_e2e *j);
    bench_add_fn *add;
} side;

typedef struct receiver {
    pthread_t thread;
    bench_e2e *j;
    const side *side;
    int code;
} receiver;

static void *run_receiver(void *arg) {
    receiver *r = arg;
    r->code = r->side->receive(r->j);
    return NULL;
}

/* Send by the schedule while another thread receives, until all is there. */
static int transfer(bench_e2e *j, const side *s) {
    receiver r = {.j = j, .side = s};
    j->latency = (cli_histogram){0};
    memset(j->seen, 0, j->messages);
    j->received = 0;
    atomic_store(&j->phase, SENDING);
    j->schedule = bench_schedule_from(bench_now_ns() + LEAD_MS * INT64_C(1000000), j->b.opts->rate);
    int error = pthread_create(&r.thread, NULL, run_receiver, &r);
    if (error) {
        return cli_failure("cannot start a thread: %s", strerror(error));
    }
    int code = s->send(j);
    atomic_store(&j->phase, code == CLI_OK ? SENT : ABORTED);
    pthread_join(r.thread, NULL);
    code = code == CLI_OK ? r.code : code;
    return code == CLI_OK ? judge(j) : code;
}

static int measure(bench_e2e *j, const side *s) {
    bench_usage before, after;
    int code = bench_usage_take(&before, j->b.control) ? transfer(j, s) : CLI_FAILURE;
    if (code == CLI_OK && !bench_usage_take(&after, j->b.control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        bench_sample spent = bench_rate(&before, &after, 1, j->messages);
        bench_report_latency(&j->report, &j->b, s->add, "e2e", &j->latency, &spent);
    }
    return code;
}

/* ---- Ours ------------------------------------------------------------------------------------ */

static int send_due(bench_e2e *j, uint64_t from, uint64_t due) {
    const bench_load *load = &j->b.load;
    seg_error err;
    seg_record r;
    SEG_INIT(&r);
    for (uint64_t i = from; i < due; i++) {
        r.key = bench_load_key(load, i % load->n);
        r.value = bench_load_value(load, i % load->n);
        r.timestamp = (int64_t)i + 1;
        seg_status status;
        while ((status = seg_send_async(j->producer, &r, NULL, NULL, &err)) == SEG_EFULL) {
            if (bench_interrupted() != CLI_OK) {
                return CLI_FAILURE;
            }
            seg_producer_poll(j->producer, WAIT_MS, NULL);
        }
        if (status != SEG_OK) {
            return cli_error(&err);
        }
    }
    seg_producer_poll(j->producer, 0, NULL);
    return CLI_OK;
}

int bench_e2e_send(bench_e2e *j, int (*send)(bench_e2e *j, uint64_t from, uint64_t due)) {
    for (uint64_t sent = 0; sent < j->messages;) {
        bench_sleep_until(bench_schedule_at(&j->schedule, sent));
        uint64_t due = bench_schedule_due(&j->schedule, bench_now_ns());
        due = due < j->messages ? due : j->messages;
        int code = due > sent ? send(j, sent, due) : CLI_OK;
        code = code == CLI_OK ? bench_interrupted() : code;
        if (code != CLI_OK) {
            return code;
        }
        sent = due > sent ? due : sent;
    }
    return CLI_OK;
}

static int send_ours(bench_e2e *j) {
    int code = bench_e2e_send(j, send_due);
    while (code == CLI_OK && seg_producer_flush(j->producer, WAIT_MS, NULL) == SEG_ETIMEDOUT) {
        code = bench_interrupted();
    }
    return code;
}

static int receive_ours(bench_e2e *j) {
    seg_error err;
    for (int64_t sent_ns = 0; bench_e2e_expects_more(j, &sent_ns);) {
        seg_batch *batch;
        if (seg_consumer_poll(&batch, j->consumer, AT_ONCE, WAIT_MS, &err) != SEG_OK) {
            return cli_error(&err);
        }
        int64_t now = bench_now_ns();
        size_t n = seg_batch_count(batch);
        for (size_t i = 0; i < n; i++) {
            bench_e2e_note(j, seg_message_timestamp(seg_batch_at(batch, i)), now);
        }
        seg_status status = n > 0 ? seg_ack_batch(j->consumer, batch, &err) : SEG_OK;
        seg_batch_free(batch);
        if (status != SEG_OK) {
            return cli_error(&err);
        }
    }
    return CLI_OK;
}

static int open_ours(bench_e2e *j) {
    bench *b = &j->b;
    for (size_t i = 0; i < 2; i++) {
        int code = cli_open(&j->clients[i], &b->globals, false);
        if (code != CLI_OK) {
            return code;
        }
    }
    seg_producer_options producer = bench_producer_options(b);
    seg_consumer_options consumer;
    SEG_INIT(&consumer);
    consumer.group = "e2e";
    seg_error err;
    if (seg_producer_open(&j->producer, j->clients[0], b->id, &producer, &err) != SEG_OK ||
        seg_consumer_open(&j->consumer, j->clients[1], b->id, &consumer, &err) != SEG_OK) {
        return cli_error(&err);
    }
    return bench_await_partitions(b, j->consumer);
}

static int run_ours(bench_e2e *j) {
    static const side ours = {send_ours, receive_ours, bench_report_ours};
    int code = bench_stream_create(&j->b, j->messages);
    if (code != CLI_OK) {
        return code;
    }
    code = open_ours(j);
    if (code == CLI_OK) {
        code = measure(j, &ours);
    }
    seg_consumer_close(j->consumer);
    seg_producer_close(j->producer);
    j->consumer = NULL;
    j->producer = NULL;
    for (size_t i = 0; i < 2; i++) {
        seg_client_close(j->clients[i]);
        j->clients[i] = NULL;
    }
    if (code == CLI_OK) {
        code = bench_senders_check(&j->b, j->messages);
    }
    return code == CLI_OK ? bench_stream_delete(&j->b) : code;
}

/* ---- The baseline ---------------------------------------------------------------------------- */

static int run_baseline(bench_e2e *j) {
    static const side baseline = {bench_e2e_raw_send, bench_e2e_raw_receive, bench_report_baseline};
    int code = bench_e2e_raw_open(j);
    if (code == CLI_OK) {
        code = measure(j, &baseline);
    }
    bench_e2e_raw_close(j);
    if (code == CLI_OK) {
        code = bench_raws_check(&j->b, j->messages);
    }
    return code == CLI_OK ? bench_keys_delete(&j->b) : code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int run_all(bench_e2e *j) {
    const bench_opts *o = j->b.opts;
    bench_usage quiet;
    j->seen = cli_alloc(j->messages, 1);
    if (!o->no_baseline) {
        bench_xadds_init(&j->xadds, &j->b, BENCH_E2E_ID);
    }
    int code = CLI_OK;
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
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
    bench_xadds_fini(&j->xadds);
    free(j->seen);
    return code;
}

static int run_e2e(const cli_run *run) {
    const bench_opts *o = run->opts;
    bench_e2e *j = cli_alloc(1, sizeof *j);
    j->messages = (uint64_t)o->messages;
    int code = bench_begin(&j->b, run);
    if (code == CLI_OK) {
        code = run_all(j);
    }
    if (code == CLI_OK) {
        bench_report_print(&j->report, &j->b, "e2e");
    }
    bench_report_fini(&j->report);
    code = bench_end(&j->b, code);
    free(j);
    return code;
}

const cli_command cli_bench_e2e = {
    .name = "bench e2e",
    .args = "",
    .brief = "Measure the time from sending to receiving",
    .about =
        "Send at a steady rate, receive in the same process, and say how long it took from the "
        "moment when each message was meant to be sent, whether or not the ones before it held it "
        "up. Beside it what plain commands do on the same server: XADD on one connection, XREAD "
        "BLOCK on another." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_e2e,
};
