/* bench_e2e.c - segmenter bench e2e: from the moment when a message was to be sent until it is there.
 *
 * Corrected for coordinated omission: the schedule says when a message is sent, not the one before.
 * If the sender is held up, what it then sends late is as late as a user would find it.
 *
 * A message says which it is without a byte of its own: ours by its timestamp, the baseline's by its
 * ID. Both count from 1. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench_sender.h"
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
    BACKLOG = 10000,     /* replies that the baseline's sender leaves unread */
    ID_DIGITS = 12
};

#define ID_BASE INT64_C(100000000000) /* so that all IDs are equally long */

enum { NEVER, ONCE, TWICE }; /* or more */

typedef enum phase { SENDING, SENT, ABORTED } phase;

typedef struct job {
    bench b;
    bench_report report;
    uint64_t messages;
    bench_schedule schedule;
    atomic_int phase;
    /* The receiver's, until it has ended. */
    cli_histogram latency;
    unsigned char *seen; /* of each message: how often it came */
    uint64_t received;
    /* Ours. */
    seg_client *clients[2];
    seg_producer *producer;
    seg_consumer *consumer;
    /* The baseline. */
    bench_xadds xadds;
    bench_raw *sender, *reader;
    bench_commands read; /* XREAD */
    size_t *last_ids;    /* where in it each stream's ID is */
    size_t unread;       /* replies to XADD */
} job;

/* ---- What both sides do ---------------------------------------------------------------------- */

static void note(job *j, int64_t number, int64_t now_ns) {
    uint64_t i = (uint64_t)number - 1;
    if (i < j->messages) {
        cli_histogram_add(&j->latency, now_ns - bench_schedule_at(&j->schedule, i));
        j->seen[i] = j->seen[i] ? TWICE : ONCE;
    }
    j->received++;
}

/* Is there more to wait for? `sent_ns`: the caller's, 0 at first. */
static bool expects_more(const job *j, int64_t *sent_ns) {
    int now = atomic_load(&j->phase);
    if (now == SENT && *sent_ns == 0) {
        *sent_ns = bench_now_ns();
    }
    bool patient = *sent_ns == 0 || bench_now_ns() - *sent_ns < PATIENCE_MS * INT64_C(1000000);
    return j->received < j->messages && now != ABORTED && patient && !cli_signal_caught();
}

static int judge(const job *j) {
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
    int (*send)(job *j);
    int (*receive)(job *j);
    bench_add_fn *add;
} side;

typedef struct receiver {
    pthread_t thread;
    job *j;
    const side *side;
    int code;
} receiver;

static void *run_receiver(void *arg) {
    receiver *r = arg;
    r->code = r->side->receive(r->j);
    return NULL;
}

/* Send by the schedule while another thread receives, until all is there. */
static int transfer(job *j, const side *s) {
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

static int measure(job *j, const side *s) {
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

static int send_due(job *j, uint64_t from, uint64_t due) {
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

/* Sleep, send what is due, and so on. */
static int send_by_schedule(job *j, int (*send)(job *j, uint64_t from, uint64_t due)) {
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

static int send_ours(job *j) {
    int code = send_by_schedule(j, send_due);
    while (code == CLI_OK && seg_producer_flush(j->producer, WAIT_MS, NULL) == SEG_ETIMEDOUT) {
        code = bench_interrupted();
    }
    return code;
}

static int receive_ours(job *j) {
    seg_error err;
    for (int64_t sent_ns = 0; expects_more(j, &sent_ns);) {
        seg_batch *batch;
        if (seg_consumer_poll(&batch, j->consumer, AT_ONCE, WAIT_MS, &err) != SEG_OK) {
            return cli_error(&err);
        }
        int64_t now = bench_now_ns();
        size_t n = seg_batch_count(batch);
        for (size_t i = 0; i < n; i++) {
            note(j, seg_message_timestamp(seg_batch_at(batch, i)), now);
        }
        seg_status status = n > 0 ? seg_ack_batch(j->consumer, batch, &err) : SEG_OK;
        seg_batch_free(batch);
        if (status != SEG_OK) {
            return cli_error(&err);
        }
    }
    return CLI_OK;
}

static int open_ours(job *j) {
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

static int run_ours(job *j) {
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

static void put_id(char *at, int64_t number) {
    for (int i = ID_DIGITS - 1; i >= 0; i--, number /= 10) {
        at[i] = (char)('0' + number % 10);
    }
}

/* Messages that are due together go in one write; their replies are read when there are any. */
static int send_raw_due(job *j, uint64_t from, uint64_t due) {
    bench_xadds *x = &j->xadds;
    for (uint64_t i = from; i < due;) {
        size_t at = i % x->n, n = x->n - at < due - i ? x->n - at : (size_t)(due - i);
        n = n < x->window ? n : x->window;
        for (size_t k = 0; k < n; k++) {
            put_id(x->commands.data + x->id_at[at + k], ID_BASE + (int64_t)(i + k) + 1);
        }
        if (!bench_raw_send(j->sender, x->commands.data + x->at[at], x->at[at + n] - x->at[at])) {
            return CLI_FAILURE;
        }
        j->unread += n;
        if (j->unread > BACKLOG) {
            if (!bench_raw_read(j->sender, j->unread - BACKLOG)) {
                return CLI_FAILURE;
            }
            j->unread = BACKLOG;
        }
        i += n;
    }
    return bench_raw_glance(j->sender, &j->unread) ? CLI_OK : CLI_FAILURE;
}

static int send_raw(job *j) {
    j->unread = 0;
    int code = send_by_schedule(j, send_raw_due);
    return code != CLI_OK || bench_raw_read(j->sender, j->unread) ? code : CLI_FAILURE;
}

/* Take the number out of "100000000017-0", and read on behind it. */
static void on_entry(seg_bytes stream, seg_bytes id, void *arg) {
    job *j = arg;
    const char *text = id.data, *name = stream.data;
    int64_t number = 0;
    for (int i = 0; i < ID_DIGITS; i++) {
        number = number * 10 + (text[i] - '0');
    }
    note(j, number - ID_BASE, bench_now_ns());
    size_t partition = 0;
    for (size_t i = strlen(j->b.id) + 1; i < stream.len; i++) {
        partition = partition * 10 + (size_t)(name[i] - '0');
    }
    memcpy(j->read.data + j->last_ids[partition], text, ID_DIGITS);
}

static int receive_raw(job *j) {
    bench_raw_on_entry(j->reader, on_entry, j);
    for (int64_t sent_ns = 0; expects_more(j, &sent_ns);) {
        if (!bench_raw_send(j->reader, j->read.data, j->read.len) ||
            !bench_raw_read(j->reader, 1)) {
            return CLI_FAILURE;
        }
    }
    return CLI_OK;
}

/* XREAD over all streams, each with an ID that is written over later. */
static void make_read(job *j) {
    size_t n = (size_t)j->b.opts->partitions;
    char(*keys)[64] = cli_alloc(n, sizeof *keys);
    seg_bytes *words = cli_alloc(6 + 2 * n, sizeof *words);
    static const char first[] = "100000000000-0";
    static const char *const head[] = {"XREAD", "COUNT", "1000", "BLOCK", "100", "STREAMS"};
    for (size_t i = 0; i < CLI_COUNT(head); i++) {
        words[i] = (seg_bytes){head[i], strlen(head[i])};
    }
    for (size_t i = 0; i < n; i++) {
        bench_key(&j->b, keys[i], (uint32_t)i);
        words[6 + i] = (seg_bytes){keys[i], strlen(keys[i])};
        words[6 + n + i] = (seg_bytes){first, sizeof first - 1};
    }
    bench_commands_add(&j->read, words, 6 + 2 * n);
    /* The IDs are the last words: "$14\r\n100000000000-0\r\n" each. */
    size_t each = sizeof first - 1 + sizeof "$14\r\n\r\n" - 1;
    j->last_ids = cli_alloc(n, sizeof *j->last_ids);
    for (size_t i = 0; i < n; i++) {
        j->last_ids[i] = j->read.len - (n - i) * each + sizeof "$14\r\n" - 1;
    }
    free(words);
    free(keys);
}

static int run_baseline(job *j) {
    static const side baseline = {send_raw, receive_raw, bench_report_baseline};
    make_read(j);
    int code = bench_raw_open(&j->sender, j->b.globals.url);
    if (code == CLI_OK) {
        code = bench_raw_open(&j->reader, j->b.globals.url);
    }
    if (code == CLI_OK) {
        code = measure(j, &baseline);
    }
    bench_raw_close(j->sender);
    bench_raw_close(j->reader);
    j->sender = j->reader = NULL;
    bench_commands_fini(&j->read);
    free(j->last_ids);
    if (code == CLI_OK) {
        code = bench_raws_check(&j->b, j->messages);
    }
    return code == CLI_OK ? bench_keys_delete(&j->b) : code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int run_all(job *j) {
    const bench_opts *o = j->b.opts;
    bench_usage quiet;
    j->seen = cli_alloc(j->messages, 1);
    if (!o->no_baseline) {
        bench_xadds_init(&j->xadds, &j->b, "100000000000-0");
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
    job *j = cli_alloc(1, sizeof *j);
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
