/* demo_consumer.c - one consumer of the demo: a process that the demo can kill. It writes what it
 * does to stdout, as demo_event records. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "demo.h"
#include "signals.h"

enum { BATCH_MAX = 200, COMMIT_MS = 10000 };

typedef struct consumer_opts {
    const char *name;
    int64_t keys;
    int64_t session_timeout;
} consumer_opts;

static const cli_opt table[] = {
    {.name = "name",
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(consumer_opts, name),
     .required = true,
     .text = "the member's name"},
    {.name = "keys",
     .type = CLI_NUMBER,
     .arg = "KEYS",
     .at = offsetof(consumer_opts, keys),
     .min = 1,
     .max = UINT32_MAX,
     .required = true,
     .text = "number of keys that the demo sends"},
    {.name = "session-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(consumer_opts, session_timeout),
     .min = 100,
     .max = 3600000,
     .fallback = "1s",
     .text = "as in consume"},
};

/* All of it or failure; a pipe may take less at a time. */
static bool write_all(const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, at, len);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void describe(demo_event *e, const seg_message *m, uint32_t keys, int64_t now) {
    seg_delivery d = seg_message_delivery(m);
    *e = (demo_event){.at_us = now,
                      .offset = d.id.offset,
                      .epoch = d.epoch,
                      .kind = DEMO_HANDLED,
                      .partition = d.partition,
                      .attempt = d.attempt};
    if (!demo_parse(m, keys, &e->message) ||
        seg_partition_of(seg_message_key(m), DEMO_PARTITIONS) != d.partition) {
        e->kind = DEMO_CORRUPT;
    }
}

/* "Handling" a message is reporting it; only then is the batch acknowledged and committed. */
static int handle(seg_consumer *consumer, const seg_batch *batch, uint32_t keys) {
    demo_event events[BATCH_MAX];
    int64_t now = cli_now_us();
    size_t n = seg_batch_count(batch);
    for (size_t i = 0; i < n; i++) {
        describe(&events[i], seg_batch_at(batch, i), keys, now);
    }
    if (!write_all(events, n * sizeof *events)) {
        return CLI_FAILURE;
    }
    seg_error err;
    seg_status acked = seg_ack_batch(consumer, batch, &err);
    if (acked != SEG_OK && acked != SEG_EFENCED) {
        return cli_error(&err);
    }
    seg_status committed = seg_consumer_commit(consumer, COMMIT_MS, &err);
    if (committed != SEG_OK && committed != SEG_EFENCED && committed != SEG_ECLOSED) {
        return cli_error(&err);
    }
    bool known = acked == SEG_OK && committed == SEG_OK;
    demo_event done = {.at_us = cli_now_us(), .kind = known ? DEMO_COMMITTED : DEMO_FENCED};
    return write_all(&done, sizeof done) ? CLI_OK : CLI_FAILURE;
}

static int consume(seg_consumer *consumer, uint32_t keys) {
    for (;;) {
        seg_error err;
        seg_batch *batch;
        seg_status status = seg_consumer_poll(&batch, consumer, BATCH_MAX, SEG_FOREVER, &err);
        if (status != SEG_OK) {
            return status == SEG_ECLOSED && cli_signal_caught() ? CLI_OK : cli_error(&err);
        }
        int code = seg_batch_count(batch) ? handle(consumer, batch, keys) : CLI_OK;
        seg_batch_free(batch);
        if (code != CLI_OK) {
            return code;
        }
    }
}

static int run_consumer(const cli_run *run) {
    const consumer_opts *o = run->opts;
    seg_client *client;
    seg_consumer *consumer;
    cli_signals_catch();
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_consumer_options opts;
    SEG_INIT(&opts);
    opts.group = DEMO_GROUP;
    opts.name = o->name;
    opts.session_timeout = o->session_timeout;
    seg_error err;
    if (seg_consumer_open(&consumer, client, DEMO_STREAM, &opts, &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        cli_signals_stop(consumer);
        code = consume(consumer, (uint32_t)o->keys);
        cli_signals_stop(NULL);
        seg_consumer_close(consumer);
    }
    seg_client_close(client);
    return code;
}

const cli_command cli_demo_consumer = {
    .name = "demo-consumer",
    .args = "",
    .brief = "",
    .about = "One consumer of segmenter demo, which starts it.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(consumer_opts),
    .hidden = true,
    .run = run_consumer,
};
