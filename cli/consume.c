/* consume.c - segmenter consume: a member of a group that writes its messages to stdout.
 *
 * A batch is acknowledged after it was written and flushed, never before: where stdout is a pipe
 * whose reader died or a disk that is full, the messages stay unacknowledged and go to the next
 * member of the group. */
#include <inttypes.h>
#include <string.h>

#include "consume.h"
#include "loss.h"
#include "notify.h"
#include "place.h"
#include "signals.h"

enum {
    BATCH_MAX = 1000,
    COMMIT_MS = 10000,
    OUTPUT_BUFFER = 65536,
    ACK_TIMEOUT_MS = 30000,
    RETRY_DELAY_MAX_MS = 30000, /* what the library takes by itself */
    EXEC_ATTEMPTS = 10          /* of a command that fails, before its message is a dead letter */
};

static const cli_opt table[] = {
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(cli_consume_opts, group),
     .required = true,
     .text = "join this group; it is created on first use"},
    {.name = "offset",
     .letter = 'o',
     .type = CLI_TEXT,
     .arg = "PLACE",
     .at = offsetof(cli_consume_opts, offset),
     .fallback = "earliest",
     .text = "where a new group starts: earliest, latest, an OFFSET, a @TIME or -DURATION ago; a "
             "group that exists goes on where it was"},
    {.name = "count",
     .letter = 'n',
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(cli_consume_opts, count),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop after COUNT messages"},
    {.name = "to-end",
     .letter = 'e',
     .type = CLI_FLAG,
     .at = offsetof(cli_consume_opts, to_end),
     .text = "stop once the group has acknowledged all that was there at the start"},
    {.name = "idle-exit",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(cli_consume_opts, idle_exit),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop when nothing has arrived for so long"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_TEXT,
     .arg = "FORMAT",
     .at = offsetof(cli_consume_opts, format),
     .text = "how to write a message (default %v\\n)"},
    {.name = "json",
     .letter = 'J',
     .type = CLI_FLAG,
     .at = offsetof(cli_consume_opts, json),
     .text = "write each message as a JSON object on a line, without loss"},
    {.name = "exec",
     .type = CLI_TEXT,
     .arg = "COMMAND",
     .at = offsetof(cli_consume_opts, exec),
     .text = "run COMMAND for each message instead of writing it"},
    {.name = "exec-stream",
     .type = CLI_TEXT,
     .arg = "COMMAND",
     .at = offsetof(cli_consume_opts, exec_stream),
     .text = "let a COMMAND that runs for long answer for each message"},
    {.name = "workers",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(cli_consume_opts, workers),
     .min = 1,
     .max = 1024,
     .text = "with --exec and --exec-stream: handle so many messages at once, those of one key one "
             "after another (default 1)"},
    {.name = "max-attempts",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(cli_consume_opts, max_attempts),
     .max = 1000000,
     .text = "a message that has failed so often becomes a dead letter; 0: never (default 0, with "
             "--exec and --exec-stream 10)"},
    {.name = "retry-delay",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(cli_consume_opts, retry_delay),
     .min = 1,
     .max = 3600000,
     .fallback = "100ms",
     .text = "before the second attempt; doubles with each further one, up to 30s"},
    {.name = "ordering",
     .type = CLI_CHOICE,
     .arg = "key|partition|none",
     .at = offsetof(cli_consume_opts, ordering),
     .fallback = "key",
     .text = "what waits while a message waits for its next attempt: the later ones of its key, of "
             "its partition, nothing"},
    {.name = "ack-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(cli_consume_opts, ack_timeout),
     .min = 10,
     .max = INT64_MAX,
     .text = "a message that was not written in time is delivered again (default 30s); a command "
             "that takes longer is killed (--exec: only where this is given)"},
    {.name = "session-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(cli_consume_opts, session_timeout),
     .min = 100,
     .max = 3600000,
     .fallback = "10s",
     .text = "a member that was not heard of for so long is dead"},
    {.name = "member",
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(cli_consume_opts, member),
     .text = "the member's name, unique in the group (default: random)"},
    {.name = "instance",
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(cli_consume_opts, instance),
     .text = "a static member: its name; its partitions wait a session timeout for its return"},
};

/* ---- Messages -------------------------------------------------------------------------------- */

static bool write_batch(cli_consuming *c, const seg_batch *batch) {
    for (size_t i = 0; i < seg_batch_count(batch); i++) {
        const seg_message *m = seg_batch_at(batch, i);
        if (c->opts->json) {
            cli_json_message(stdout, m, &c->origin);
        } else {
            seg_delivery d = seg_message_delivery(m);
            cli_template_write(&c->format, stdout, m, &d);
        }
    }
    return cli_flush_stdout();
}

static int handle_batch(cli_consuming *c, const seg_batch *batch) {
    if (!write_batch(c, batch)) {
        return CLI_FAILURE;
    }
    seg_error err;
    seg_status status = seg_ack_batch(c->consumer, batch, &err);
    if (status == SEG_EFENCED) {
        /* A partition moved away while it was being written: its new owner writes those again. */
        if (c->verbose) {
            cli_note("%s", err.text);
        }
    } else if (status != SEG_OK) {
        return cli_error(&err);
    }
    c->handled += seg_batch_count(batch);
    c->arrived_us = cli_now_us();
    cli_end_stir(&c->end);
    return CLI_OK;
}

static bool counted_out(const cli_consuming *c) {
    return c->opts->count > 0 && c->handled >= (uint64_t)c->opts->count;
}

static size_t batch_limit(const cli_consuming *c) {
    uint64_t left = c->opts->count > 0 ? (uint64_t)c->opts->count - c->handled : BATCH_MAX;
    return left < BATCH_MAX ? (size_t)left : BATCH_MAX;
}

/* Until when poll may wait: the next look at the end, the watchdog's next ping, or the end of
 * patience. */
static int64_t poll_wait(const cli_consuming *c) {
    int64_t wait = cli_end_wait(&c->end), ping = cli_notify_wait();
    wait = ping < wait ? ping : wait;
    if (c->opts->idle_exit > 0) {
        int64_t idle = c->opts->idle_exit - (cli_now_us() - c->arrived_us) / 1000;
        idle = idle < 1 ? 1 : idle;
        wait = idle < wait ? idle : wait;
    }
    return wait;
}

static bool idle_out(const cli_consuming *c) {
    return c->opts->idle_exit > 0 && (cli_now_us() - c->arrived_us) / 1000 >= c->opts->idle_exit;
}

static int consume_all(cli_consuming *c) {
    while (!cli_signal_caught()) {
        /* Here and nowhere else: a reader of our output that hangs is a hanging service. */
        cli_notify_alive();
        seg_error err;
        seg_batch *batch;
        seg_status status =
            seg_consumer_poll(&batch, c->consumer, batch_limit(c), poll_wait(c), &err);
        if (status != SEG_OK) {
            return status == SEG_ECLOSED && cli_signal_caught() ? CLI_OK : cli_error(&err);
        }
        bool empty = seg_batch_count(batch) == 0;
        int code = empty ? CLI_OK : handle_batch(c, batch);
        seg_batch_free(batch);
        if (code != CLI_OK) {
            return code;
        }
        if (counted_out(c) || cli_end_reached(&c->end, !empty) || (empty && idle_out(c))) {
            return c->handled ? CLI_OK : CLI_NOTHING;
        }
    }
    return CLI_OK;
}

/* Wait until what was acknowledged is stored. Where a partition moved away before, its new owner
 * repeats its messages: not an error of this member. */
static int commit(cli_consuming *c, int code) {
    seg_error err;
    seg_status status = seg_consumer_commit(c->consumer, COMMIT_MS, &err);
    if (status == SEG_OK || status == SEG_EFENCED || status == SEG_ECLOSED) {
        return code;
    }
    int failed = cli_error(&err);
    return code == CLI_OK || code == CLI_NOTHING ? failed : code;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void on_rebalance(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    const cli_consuming *c = arg;
    if (!c->verbose) {
        return;
    }
    const char *verb = what == SEG_ASSIGNED ? "got" : what == SEG_REVOKED ? "hands over" : "lost";
    for (size_t i = 0; i < n; i++) {
        cli_note("%s partition %" PRIu32, verb, partitions[i]);
    }
}

static void on_overtaken(uint32_t partition, seg_id first, uint64_t count, void *arg) {
    (void)arg;
    cli_note("%" PRIu64 " message%s of partition %" PRIu32 " from offset %" PRIu64
             " on were dropped from the stream before they were read",
             count, count == 1 ? "" : "s", partition, first.offset);
}

static void on_loss(const seg_loss *loss, void *arg) {
    (void)arg;
    cli_loss_note(loss);
}

/* ---- The command ----------------------------------------------------------------------------- */

static const char *const places = "earliest, latest, OFFSET, @TIME or -DURATION";

/* Where a new group starts. Returns an exit code. */
static int read_start(seg_consumer_options *opts, const char *text) {
    cli_place place = {0};
    if (strcmp(text, "earliest") == 0 || strcmp(text, "start") == 0) {
        opts->start = SEG_EARLIEST;
        return CLI_OK;
    }
    if (strcmp(text, "latest") == 0 || strcmp(text, "end") == 0) {
        opts->start = SEG_LATEST;
        return CLI_OK;
    }
    bool known = cli_place_parse(&place, text, cli_wall_ms());
    if (known && place.kind == CLI_AT_DISTANCE) {
        return cli_usage("-o: a new group has no place to count from; give '%s' a unit (-5m), or "
                         "take %s",
                         text, places);
    }
    if (!known) {
        return cli_usage("-o takes %s, not '%s'", places, text);
    }
    opts->start = place.kind == CLI_AT_TIME ? SEG_AT_TIME : SEG_AT_OFFSET;
    opts->start_at = place.value;
    return CLI_OK;
}

static int check(const cli_consume_opts *o) {
    bool runs = o->exec || o->exec_stream;
    if (o->json && o->format) {
        return cli_usage("-f and -J exclude each other");
    }
    if (o->exec && o->exec_stream) {
        return cli_usage("--exec and --exec-stream exclude each other");
    }
    if (runs && (o->json || o->format)) {
        return cli_usage("-f and -J are for messages that are written, and exclude %s",
                         o->exec ? "--exec" : "--exec-stream");
    }
    if (!runs && o->workers >= 0) {
        return cli_usage("--workers needs --exec or --exec-stream");
    }
    if (o->member && o->instance) {
        return cli_usage("--member and --instance exclude each other: an instance is the name of a "
                         "static member");
    }
    return CLI_OK;
}

/* The order of the words in --ordering. */
static const seg_ordering orderings[] = {SEG_BY_KEY, SEG_BY_PARTITION, SEG_UNORDERED};

static int fill_options(cli_consuming *c, seg_consumer_options *opts) {
    const cli_consume_opts *o = c->opts;
    int64_t attempts = o->exec || o->exec_stream ? EXEC_ATTEMPTS : 0;
    SEG_INIT(opts);
    opts->group = o->group;
    opts->name = o->member;
    opts->instance = o->instance;
    opts->session_timeout = o->session_timeout;
    opts->ack_timeout = c->ack_timeout;
    opts->ordering = orderings[o->ordering];
    opts->max_attempts = (uint32_t)(o->max_attempts >= 0 ? o->max_attempts : attempts);
    c->max_attempts = opts->max_attempts;
    opts->retry_delay = o->retry_delay;
    opts->retry_delay_max = o->retry_delay > RETRY_DELAY_MAX_MS ? o->retry_delay : 0;
    opts->on_rebalance = on_rebalance;
    opts->rebalance_arg = c;
    opts->on_overtaken = on_overtaken;
    opts->on_loss = on_loss;
    return read_start(opts, o->offset);
}

static int consume_while_open(cli_consuming *c) {
    cli_signals_stop(c->consumer);
    cli_notify_status("member %s of group %s", c->origin.member, c->opts->group);
    cli_notify_ready();
    int code = c->opts->to_end ? cli_end_mark_now(&c->end) : CLI_OK;
    if (code == CLI_OK) {
        c->arrived_us = cli_now_us();
        if (c->opts->exec || c->opts->exec_stream) {
            code = cli_consume_run(c);
        } else {
            code = consume_all(c);
            cli_notify_stopping();
            code = commit(c, code);
        }
    }
    cli_notify_stopping();
    cli_signals_stop(NULL);
    return code;
}

static int consume(cli_consuming *c, const seg_consumer_options *opts) {
    seg_error err;
    if (seg_consumer_open(&c->consumer, c->client, c->origin.stream, opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    c->origin.member = seg_consumer_member(c->consumer);
    int code = consume_while_open(c);
    seg_consumer_close(c->consumer);
    if (c->verbose && !c->opts->exec && !c->opts->exec_stream) {
        cli_note("%" PRIu64 " message%s written", c->handled, c->handled == 1 ? "" : "s");
    }
    return code;
}

static int run_consume(const cli_run *run) {
    const cli_consume_opts *o = run->opts;
    char fault[128];
    cli_consuming c = {.opts = o,
                       .origin = {.stream = run->args[0], .group = o->group},
                       .end = {.stream = run->args[0], .group = o->group},
                       .ack_timeout = o->ack_timeout >= 0 ? o->ack_timeout : ACK_TIMEOUT_MS,
                       .verbose = run->globals->verbose};
    seg_consumer_options opts;
    int code = check(o);
    if (code == CLI_OK) {
        code = fill_options(&c, &opts);
    }
    if (code != CLI_OK) {
        return code;
    }
    if (!cli_template_parse(&c.format, o->format ? o->format : "%v\\n", fault)) {
        return cli_usage("-f: %s", fault);
    }
    cli_notify_init();
    setvbuf(stdout, NULL, _IOFBF, OUTPUT_BUFFER);
    if (o->exec || o->exec_stream) {
        cli_consume_run_prepare();
    }
    cli_signals_catch();
    code = cli_open(&c.client, run->globals, true);
    if (code == CLI_OK) {
        c.end.client = c.client;
        code = consume(&c, &opts);
        seg_client_close(c.client);
    }
    cli_notify_fini();
    cli_template_fini(&c.format);
    cli_end_fini(&c.end);
    return code;
}

/* The sequences of FORMAT are described in format.h, beside what knows them. */
#define ABOUT                                                                                      \
    "Join a group of the stream and write its messages to stdout. Each partition goes to one "     \
    "member of the group at a time; a member that ends or dies is replaced by the others.\n\n"     \
    "Messages are acknowledged once they were written and flushed. A member that dies in between " \
    "leaves messages that the next one writes again.\n\n"                                          \
    "Without -n, -e and --idle-exit it runs until SIGINT or SIGTERM, which leave the group "       \
    "cleanly and exit with 0; a second one ends it at once.\n\n"                                   \
    "With --exec, /bin/sh runs COMMAND for each message, whose value is its stdin; the rest is "   \
    "in SEGMENTER_KEY, _PARTITION, _OFFSET, _ATTEMPT, _STREAM, _GROUP, _TIMESTAMP and "            \
    "_HEADER_NAME. Exit code 0 acknowledges the message, 65 rejects it, and with any other it "    \
    "comes again until it is a dead letter (segmenter dlq).\n\n"                                   \
    "With --exec-stream, COMMAND runs for long. It reads each message as a line of JSON, as -J "   \
    "writes it, and answers with a line:\n"                                                        \
    "  ack | retry [DURATION] [REASON] | reject [REASON]\n\n"                                      \
    "PLACE is earliest, latest, an offset in each partition, a time (@1732269600 seconds, "        \
    "@1732269600000 ms, @2026-11-22T10:00:00Z) or so long ago (-5m).\n\n" CLI_TEMPLATE_HELP

const cli_command cli_consume = {
    .name = "consume",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Write a stream's messages as a member of a group",
    .about = ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(cli_consume_opts),
    .run = run_consume,
};
