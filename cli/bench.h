/* bench.h - the parts of segmenter bench.
 *
 *     bench_produce.c, bench_consume.c ...  one mode each, a command: measures ours and the baseline
 *       │   │   │
 *       │   │   └── bench_report.c  the figures: medians of the runs, as a table or as JSON
 *       │   └────── bench.c         what every mode stands on: the server, the streams, their end
 *       │           bench_load.c    the messages
 *       │           bench_usage.c   what server and client spent
 *       └────────── bench_raw.c     connections of the baseline, see bench_raw.h
 *
 * Each mode alternates ours and the baseline, checks that all messages arrived that it measures,
 * and gives no figure where not. */
#ifndef SEGMENTER_CLI_BENCH_H
#define SEGMENTER_CLI_BENCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

#include "bench_raw.h"
#include "cli.h"
#include "histogram.h"
#include "private.h"

/* ---- Options: the same struct for all modes; each mode's table has the rows that it heeds. --------- */

typedef enum bench_payload { BENCH_JSON = 0, BENCH_RANDOM } bench_payload;

typedef struct bench_opts {
    int64_t messages, size, keys, partitions, clients, runs;
    int64_t batch_bytes, linger;
    int64_t rate, session_timeout, duration;
    int codec;
    int payload;
    bool json;
    bool no_baseline;
} bench_opts;

#define BENCH_NUMBER(word, member, low, high, value, help)                                         \
    {                                                                                              \
        .name = (word), .type = CLI_NUMBER, .arg = "COUNT", .at = offsetof(bench_opts, member),    \
        .min = (low), .max = (high), .fallback = (value), .text = (help)                           \
    }

#define BENCH_MESSAGES(value)                                                                      \
    BENCH_NUMBER("messages", messages, 1, 100000000, value, "messages of each run")
#define BENCH_SIZE BENCH_NUMBER("size", size, 16, 1 << 20, "100", "bytes of a message's value")
#define BENCH_KEYS BENCH_NUMBER("keys", keys, 1, 1000000, "1000", "keys that they have")
#define BENCH_PARTITIONS(value)                                                                    \
    BENCH_NUMBER("partitions", partitions, 1, 4096, value,                                         \
                 "partitions of the stream, and streams of the baseline")
#define BENCH_CLIENTS(value, help) BENCH_NUMBER("clients", clients, 1, 64, value, help)
#define BENCH_RUNS                 BENCH_NUMBER("runs", runs, 1, 1000, "5", "runs; a figure is their median")
#define BENCH_RATE(value)          BENCH_NUMBER("rate", rate, 1, 5000000, value, "messages a second")

#define BENCH_SESSION_TIMEOUT(value, help)                                                         \
    {                                                                                              \
        .name = "session-timeout", .type = CLI_DURATION, .arg = "DURATION",                        \
        .at = offsetof(bench_opts, session_timeout), .min = 100, .max = 3600000,                   \
        .fallback = (value), .text = (help)                                                        \
    }

#define BENCH_PAYLOAD                                                                              \
    {                                                                                              \
        .name = "payload", .type = CLI_CHOICE, .arg = "json|random",                               \
        .at = offsetof(bench_opts, payload), .fallback = "json",                                   \
        .text = "small JSON records, or bytes that nothing can compress"                           \
    }

#define BENCH_BATCH_BYTES                                                                          \
    {                                                                                              \
        .name = "batch-bytes", .type = CLI_NUMBER, .arg = "BYTES",                                 \
        .at = offsetof(bench_opts, batch_bytes), .min = 1024, .max = 64 << 20,                     \
        .fallback = "261632", .text = "the producer's batches, at most"                            \
    }

#define BENCH_LINGER                                                                               \
    {                                                                                              \
        .name = "linger", .type = CLI_DURATION, .arg = "DURATION",                                 \
        .at = offsetof(bench_opts, linger), .max = 60000, .fallback = "0s",                        \
        .text = "how long a batch waits for more messages"                                         \
    }

#define BENCH_CODEC                                                                                \
    {                                                                                              \
        .name = "codec", .type = CLI_CHOICE, .arg = "plain|lz4|zstd",                              \
        .at = offsetof(bench_opts, codec), .fallback = "plain",                                    \
        .text = "how the producer compresses batches"                                              \
    }

#define BENCH_NO_BASELINE                                                                          \
    {                                                                                              \
        .name = "no-baseline", .type = CLI_FLAG, .at = offsetof(bench_opts, no_baseline),          \
        .text = "measure only ours"                                                                \
    }

#define BENCH_JSON_LINES                                                                           \
    {                                                                                              \
        .name = "json", .type = CLI_FLAG, .at = offsetof(bench_opts, json),                        \
        .text = "one object a line for each figure"                                                \
    }

/* The end of what each mode's help says. */
#define BENCH_ABOUT                                                                                \
    "\n\n"                                                                                         \
    "Without -u and SEGMENTER_URL it happens on a private server, without persistence. With a "    \
    "URL it happens in a namespace of its own, or in that of -N; all that was made is deleted "    \
    "in the end, also after Ctrl-C."

/* ---- The messages (bench_load.c) --------------------------------------------------------------- */

/* A run's message i is number i % n of these, which are made before it begins. There are so many that
 * none comes twice in the batches of one moment: a compressor would profit. */
typedef struct bench_load {
    size_t n;
    size_t value_size;
    char *values;  /* n of them */
    uint32_t *key; /* of each, its index in keys */
    char *key_text;
    seg_bytes *keys;
    uint32_t *partition; /* of each key */
    size_t n_keys;
    uint32_t partitions;
    size_t bytes; /* of keys and values, on average, of one */
} bench_load;

void bench_load_init(bench_load *l, const bench_opts *o);
void bench_load_fini(bench_load *l);

/* Of the message `i`, below n; here, since they are a part of what is measured. */
static inline seg_bytes bench_load_key(const bench_load *l, size_t i) {
    return l->keys[l->key[i]];
}
static inline seg_bytes bench_load_value(const bench_load *l, size_t i) {
    return (seg_bytes){l->values + i * l->value_size, l->value_size};
}
static inline uint32_t bench_load_partition(const bench_load *l, size_t i) {
    return l->partition[l->key[i]];
}

/* ---- What was spent (bench_usage.c) ------------------------------------------------------------ */

/* What the server and this process have spent since they began. */
typedef struct bench_usage {
    int64_t at_us;
    int64_t client_us;
    int64_t server_us; /* of the server's main thread, where the server tells; or of all */
    int64_t memory;    /* bytes that the server uses */
    int64_t commands;  /* from all clients */
    int64_t clients;   /* connected */
    int64_t freeing;   /* values that wait for being freed */
} bench_usage;

bool bench_usage_take(bench_usage *u, bench_raw *control);

/* ---- What every mode stands on (bench.c) -------------------------------------------------------- */

typedef struct bench {
    const bench_opts *opts;
    cli_globals globals; /* with the URL and the namespace of the benchmark */
    cli_private server;
    char *id; /* "bench-5f2e..": the stream, the namespace, and what baseline keys begin with */
    seg_client *client; /* for what is not measured */
    bench_raw *control;
    int64_t base_clients; /* connected when nothing is measured */
    bench_load load;
} bench;

/* Start or find the server, and connect. Returns an exit code; bench_end() in any case. */
int bench_begin(bench *b, const cli_run *run);
/* Delete all that was made. Returns `code`, or that of a signal or a fault here. */
int bench_end(bench *b, int code);

/* Make the stream `b->id` with room for `messages`; delete it, and wait until its memory is free. */
int bench_stream_create(bench *b, uint64_t messages);
int bench_stream_delete(bench *b);
/* Delete the baseline's streams. */
int bench_keys_delete(bench *b);
/* The baseline's stream of a partition: "bench-5f2e..:7". */
void bench_key(const bench *b, char out[64], uint32_t partition);

/* Wait until the server has freed what was deleted, and closed what was closed. */
int bench_settle(bench *b, bench_usage *u);

/* CLI_FAILURE where a signal came. */
int bench_interrupted(void);

/* Poll `consumer` until it owns all partitions; there is nothing in them. */
int bench_await_partitions(bench *b, seg_consumer *consumer);

/* A thread of a measured run, with what it left. */
typedef struct bench_part {
    bench *b;
    uint32_t index;
    uint64_t first, end; /* its share of the messages */
    void *arg;
    int code; /* its exit code */
} bench_part;

/* Run `fn` on a thread for each of the clients, and wait for all. Returns the first fault. */
int bench_parallel(bench *b, uint64_t messages, int (*fn)(bench_part *p), void *arg);

/* The options of producers, for opening one. */
seg_producer_options bench_producer_options(const bench *b);

/* ---- Figures (bench_report.c) ------------------------------------------------------------------ */

/* One measured run: the value, and what server and client spent for each message, in us. */
typedef struct bench_sample {
    double value; /* NAN: none, as all of these */
    double server_us, client_us;
} bench_sample;

typedef struct bench_figure {
    char name[64];
    const char *unit;
    bench_sample *ours, *baseline;
    size_t n_ours, n_baseline;
} bench_figure;

typedef struct bench_report {
    bench_figure *figures;
    size_t n;
} bench_report;

/* Add to the figure `name`, which is made where it is new. A name that ends with '_' gets the size of
 * the messages: "produce_100B". */
void bench_report_ours(bench_report *r, const bench *b, const char *name, const char *unit,
                       bench_sample sample);
void bench_report_baseline(bench_report *r, const bench *b, const char *name, const char *unit,
                           bench_sample sample);
/* The sample of a rate: `n` messages between two looks. */
bench_sample bench_rate(const bench_usage *before, const bench_usage *after, int64_t elapsed_ns,
                        uint64_t n);
/* The latencies in `h`: "sync_p50_100B" and so on. The first of them also says what was spent; NULL:
 * none does. */
typedef void bench_add_fn(bench_report *r, const bench *b, const char *name, const char *unit,
                          bench_sample sample);
void bench_report_latency(bench_report *r, const bench *b, bench_add_fn *add, const char *name,
                          const cli_histogram *h, const bench_sample *spent);
/* As a table, below a line that says what was measured, or as JSON. */
void bench_report_print(const bench_report *r, const bench *b, const char *mode);
void bench_report_fini(bench_report *r);

/* ---- Time (bench_time.c) ------------------------------------------------------------------------- */

int64_t bench_now_ns(void); /* monotonic */

/* When the message `i` is to be sent, of a stream of messages with a steady rate. */
typedef struct bench_schedule {
    int64_t start_ns;
    double interval_ns;
} bench_schedule;

bench_schedule bench_schedule_from(int64_t start_ns, int64_t rate);
int64_t bench_schedule_at(const bench_schedule *s, uint64_t i);
/* How many messages should have been sent by now. */
uint64_t bench_schedule_due(const bench_schedule *s, int64_t now_ns);

/* Sleep until then, as exactly as the system can. */
void bench_sleep_until(int64_t ns);

#endif
