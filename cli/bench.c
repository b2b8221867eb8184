/* bench.c - what all modes of segmenter bench stand on: a server, names that nobody else has, and
 * their end, which also a signal gets. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bench.h"
#include "child.h"
#include "signals.h"

enum { SETTLE_MS = 5000, SETTLE_EVERY_MS = 5, OWN_MS = 30000, KEY_MAX = 64 };

int bench_interrupted(void) {
    return cli_signal_caught() ? CLI_FAILURE : CLI_OK;
}

/* ---- Options --------------------------------------------------------------------------------- */

seg_producer_options bench_producer_options(const bench *b) {
    seg_producer_options opts;
    SEG_INIT(&opts);
    opts.max_batch = (size_t)b->opts->batch_bytes;
    opts.linger = b->opts->linger;
    opts.codec = (seg_codec)b->opts->codec;
    return opts;
}

/* ---- The beginning --------------------------------------------------------------------------- */

static int find_server(bench *b, const cli_globals *globals) {
    b->globals = *globals;
    if (!globals->url_given) {
        int code = cli_private_start(&b->server, NULL, getenv("SEGMENTER_SERVER"));
        if (code != CLI_OK) {
            return code;
        }
        b->globals.url = b->server.url;
    }
    if (!globals->name_space_given) {
        b->globals.name_space = b->id;
    }
    return CLI_OK;
}

static int name_it(bench *b) {
    unsigned char bytes[6];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return cli_failure("the system has no random bytes for a name");
    }
    b->id = cli_format("bench-%02x%02x%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                       bytes[4], bytes[5]);
    return CLI_OK;
}

int bench_begin(bench *b, const cli_run *run) {
    *b = (bench){.opts = run->opts, .server = {.pid = -1, .lock_fd = -1}};
    cli_signals_catch();
    int code = name_it(b);
    if (code == CLI_OK) {
        code = find_server(b, run->globals);
    }
    if (code == CLI_OK) {
        code = cli_open(&b->client, &b->globals, false);
    }
    if (code == CLI_OK) {
        code = bench_raw_open(&b->control, b->globals.url);
    }
    if (code == CLI_OK) {
        bench_load_init(&b->load, b->opts);
        bench_usage now;
        code = bench_usage_take(&now, b->control) ? CLI_OK : CLI_FAILURE;
        b->base_clients = now.clients;
    }
    return code;
}

/* ---- The end --------------------------------------------------------------------------------- */

int bench_end(bench *b, int code) {
    if (b->control && cli_signal_caught()) {
        bench_raw_ignore_signals(b->control);
        code = cli_failure("interrupted");
    }
    /* A private server takes all with it. */
    if (b->control && b->client && b->server.pid < 0) {
        int streams = bench_stream_delete(b);
        int keys = bench_keys_delete(b);
        code = code != CLI_OK ? code : streams != CLI_OK ? streams : keys;
    }
    bench_raw_close(b->control);
    seg_client_close(b->client);
    cli_private_stop(&b->server);
    bench_load_fini(&b->load);
    free(b->id);
    return code;
}

/* ---- Streams --------------------------------------------------------------------------------- */

int bench_stream_create(bench *b, uint64_t messages) {
    seg_stream_options opts;
    SEG_INIT(&opts);
    opts.partitions = (uint32_t)b->opts->partitions;
    opts.max_messages = messages;
    seg_error err;
    return seg_stream_create(b->client, b->id, &opts, &err) == SEG_OK ? CLI_OK : cli_error(&err);
}

int bench_stream_delete(bench *b) {
    seg_error err;
    seg_status status = seg_stream_delete(b->client, b->id, &err);
    return status == SEG_OK || status == SEG_ENOENT ? CLI_OK : cli_error(&err);
}

void bench_key(const bench *b, char out[64], uint32_t partition) {
    snprintf(out, KEY_MAX, "%s:%u", b->id, (unsigned)partition);
}

int bench_keys_delete(bench *b) {
    bench_commands c = {0};
    size_t n = (size_t)b->opts->partitions;
    for (uint32_t i = 0; i < n; i++) {
        char key[KEY_MAX];
        bench_key(b, key, i);
        bench_commands_say(&c, "UNLINK %s", key);
    }
    bool ok = bench_raw_send(b->control, c.data, c.len) && bench_raw_read(b->control, n);
    bench_commands_fini(&c);
    return ok ? CLI_OK : CLI_FAILURE;
}

int bench_settle(bench *b, bench_usage *u) {
    int64_t deadline = cli_now_us() + SETTLE_MS * INT64_C(1000);
    for (;;) {
        if (bench_interrupted() != CLI_OK || !bench_usage_take(u, b->control)) {
            return CLI_FAILURE;
        }
        bool quiet = u->freeing == 0 && u->clients <= b->base_clients;
        if (quiet || cli_now_us() > deadline) {
            return CLI_OK;
        }
        cli_pause(SETTLE_EVERY_MS);
    }
}

int bench_await_partitions(bench *b, seg_consumer *consumer) {
    size_t wanted = (size_t)b->opts->partitions;
    int64_t deadline = cli_now_us() + OWN_MS * INT64_C(1000);
    while (seg_consumer_assignment(consumer, NULL, 0) < wanted) {
        seg_batch *batch;
        seg_error err;
        if (seg_consumer_poll(&batch, consumer, 1, SETTLE_EVERY_MS, &err) != SEG_OK) {
            return cli_error(&err);
        }
        seg_batch_free(batch);
        if (bench_interrupted() != CLI_OK) {
            return CLI_FAILURE;
        }
        if (cli_now_us() > deadline) {
            return cli_failure("the only consumer owns %zu of %zu partitions after %d s",
                               seg_consumer_assignment(consumer, NULL, 0), wanted, OWN_MS / 1000);
        }
    }
    return CLI_OK;
}

/* ---- Threads --------------------------------------------------------------------------------- */

typedef struct job {
    pthread_t thread;
    bench_part part;
    int (*fn)(bench_part *p);
} job;

static void *run_job(void *arg) {
    job *j = arg;
    j->part.code = j->fn(&j->part);
    return NULL;
}

int bench_parallel(bench *b, uint64_t messages, int (*fn)(bench_part *p), void *arg) {
    uint32_t n = (uint32_t)b->opts->clients, started = 0;
    job *jobs = cli_alloc(n, sizeof *jobs);
    int code = CLI_OK;
    for (; started < n && code == CLI_OK; started++) {
        job *j = &jobs[started];
        j->fn = fn;
        j->part = (bench_part){.b = b,
                               .index = started,
                               .first = messages * started / n,
                               .end = messages * (started + 1) / n,
                               .arg = arg};
        int error = pthread_create(&j->thread, NULL, run_job, j);
        if (error) {
            code = cli_failure("cannot start a thread: %s", strerror(error));
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(jobs[i].thread, NULL);
        code = code == CLI_OK ? jobs[i].part.code : code;
    }
    free(jobs);
    return code == CLI_OK ? bench_interrupted() : code;
}
