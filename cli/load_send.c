/* load_send.c - sending a dump to a stream; see load.h.
 *
 * The producer never gives a message up (its delivery timeout is none), so what is stored of each
 * partition is always a beginning of what the file has of it: that is what --resume goes on behind,
 * however the load before it ended. Where the stream refuses a message, no more are sent. */
#include <inttypes.h>
#include <stdlib.h>

#include "digest.h"
#include "load.h"
#include "loss.h"
#include "signals.h"

enum {
    CALLBACKS_EVERY = 1024,
    STEP_MS = 100,
    INTERRUPTED_MS = 10000, /* how long what is under way may take after a signal */
    WAITS_US = 2000000,     /* nothing was stored for so long: say why */
    MAX_MESSAGE = 64 << 20,
    MAX_QUEUED = 128 << 20
};

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    cli_loading *l = arg;
    (void)where;
    if (status == SEG_OK) {
        l->stored++;
        return;
    }
    if (l->failed++ == 0) {
        l->first = *err;
    }
}

static void on_loss(const seg_loss *loss, void *arg) {
    cli_loading *l = arg;
    cli_progress_erase(&l->progress);
    cli_loss_note(loss);
    l->lossy = true;
}

static bool should_stop(const cli_loading *l) {
    return cli_signal_caught() || l->failed > 0 || l->lossy;
}

/* A full stream is no failure: it waits, and so do we, but not without a word. */
static void say_waiting(cli_loading *l, uint64_t before) {
    seg_producer_stats stats;
    int64_t now = cli_now_us();
    if (l->stored != before || l->stored_us == 0) {
        l->stored_us = now;
    }
    if (l->waits || now - l->stored_us < WAITS_US) {
        return;
    }
    SEG_INIT(&stats);
    seg_producer_get_stats(l->producer, &stats);
    if (stats.full > 0) {
        cli_progress_erase(&l->progress);
        cli_note("stream '%s' is full: the load waits until a group has read some of it",
                 l->stream);
        l->waits = true;
    }
}

static int run_callbacks(cli_loading *l, int64_t wait) {
    seg_error err;
    uint64_t before = l->stored;
    if (seg_producer_poll(l->producer, wait, &err) != SEG_OK) {
        return cli_error(&err);
    }
    say_waiting(l, before);
    cli_progress_draw(&l->progress, "loaded", l->before + l->stored, l->dump.messages);
    return CLI_OK;
}

/* Queue one; where the queue is full, wait until it is not. Returns an exit code. */
static int send_one(cli_loading *l, const cli_dump_file *f) {
    seg_record r = f->message;
    seg_error err;
    seg_status status;
    r.exact_timestamp = true;
    r.partition = l->opts->repartition ? NULL : &f->partition;
    while ((status = seg_send_async(l->producer, &r, on_sent, l, &err)) == SEG_EFULL) {
        int code = run_callbacks(l, STEP_MS);
        if (code != CLI_OK || should_stop(l)) {
            return code;
        }
    }
    if (status != SEG_OK) {
        cli_progress_erase(&l->progress);
        return cli_failure("%s:%" PRIu64 ": %s", l->name, cli_archive_line(f->archive), err.text);
    }
    l->sent++;
    return l->sent % CALLBACKS_EVERY == 0 ? run_callbacks(l, 0) : CLI_OK;
}

/* The file is read to its end also where the stream holds all of it: that ends with its checksums. */
static int send_all(cli_loading *l, cli_dump_file *f, cli_dump_item *item) {
    uint64_t *seen = cli_alloc(f->dump.partitions, sizeof *seen);
    cli_buf scratch = {0};
    int code = CLI_OK;
    while (code == CLI_OK && !should_stop(l)) {
        *item = cli_dump_file_next(f);
        if (*item != CLI_DUMP_MESSAGE && *item != CLI_DUMP_SKIP) {
            break;
        }
        if (*item == CLI_DUMP_SKIP) {
            continue;
        }
        if (l->opts->repartition) {
            l->sum += cli_digest_record(0, &f->message, &scratch);
        }
        if (!l->held || seen[f->partition]++ >= l->held[f->partition]) {
            code = send_one(l, f);
        }
    }
    cli_buf_fini(&scratch);
    free(seen);
    return code;
}

/* Wait for what is under way: until it is stored or refused, after a signal for a bounded time. */
static void finish(cli_loading *l) {
    int64_t interrupted_us = 0;
    seg_error err;
    seg_status status;
    uint64_t before = l->stored;
    while ((status = seg_producer_flush(l->producer, STEP_MS, &err)) == SEG_ETIMEDOUT) {
        say_waiting(l, before);
        before = l->stored;
        cli_progress_draw(&l->progress, "loaded", l->before + l->stored, l->dump.messages);
        int64_t now = cli_now_us();
        if (should_stop(l) && interrupted_us == 0) {
            interrupted_us = now;
        }
        if (interrupted_us && now - interrupted_us > INTERRUPTED_MS * INT64_C(1000)) {
            return;
        }
    }
    if (status != SEG_OK) {
        cli_progress_erase(&l->progress);
        cli_error(&err);
    }
}

static int report(const cli_loading *l, const cli_dump_file *f, cli_dump_item item) {
    const char *hint = l->again && !l->opts->repartition && !l->opts->append
                           ? "; --resume goes on behind them"
                           : "";
    uint64_t n = l->before + l->stored;
    const char *plural = n == 1 ? "" : "s";
    if (l->failed > 0 && !cli_signal_caught()) {
        return cli_failure("%" PRIu64 " message%s loaded, the next was refused: %s%s", n, plural,
                           l->first.text, hint);
    }
    if (cli_signal_caught()) {
        return cli_failure("interrupted: %" PRIu64 " message%s loaded%s", n, plural, hint);
    }
    if (l->lossy) {
        return cli_failure("the server lost some of the %" PRIu64 " message%s that were loaded", n,
                           plural);
    }
    if (item == CLI_DUMP_FAULT || (item == CLI_DUMP_TORN && !l->opts->force)) {
        return cli_failure("%s; %" PRIu64 " message%s before that %s loaded", f->fault, n, plural,
                           n == 1 ? "was" : "were");
    }
    return CLI_OK;
}

int cli_load_send(cli_loading *l) {
    seg_producer_options opts;
    seg_error err;
    SEG_INIT(&opts);
    opts.delivery_timeout = SEG_FOREVER;
    opts.max_message = MAX_MESSAGE;
    opts.max_queued = MAX_QUEUED;
    opts.codec = (seg_codec)l->opts->codec;
    opts.on_loss = on_loss;
    opts.loss_arg = l;
    cli_dump_file f;
    cli_dump_item item = CLI_DUMP_MESSAGE;
    int code = cli_load_rewind(l, &f);
    if (code == CLI_OK &&
        seg_producer_open(&l->producer, l->client, l->stream, &opts, &err) != SEG_OK) {
        code = cli_error(&err);
    }
    if (code == CLI_OK) {
        code = send_all(l, &f, &item);
        finish(l);
        seg_producer_close(l->producer);
        cli_progress_erase(&l->progress);
        int outcome = report(l, &f, item);
        code = code == CLI_OK ? outcome : code;
    }
    if (code == CLI_OK) {
        cli_dump_fini(&l->dump);
        l->dump = cli_dump_copy(&f.dump);
    }
    cli_dump_file_fini(&f);
    return code;
}
