/* consume.c - segmenter consume: a member of a group that writes its messages to stdout.
 *
 * A batch is acknowledged after it was written and flushed, never before: where stdout is a pipe
 * whose reader died or a disk that is full, the messages stay unacknowledged and go to the next
 * member of the group. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "json.h"
#include "signals.h"

enum {
    BATCH_MAX = 1000,
    COMMIT_MS = 10000,
    OUTPUT_BUFFER = 65536,
    CHECK_MIN_MS = 20, /* between two looks at whether the end (-e) is reached */
    CHECK_MAX_MS = 1000
};

typedef struct consume_opts {
    const char *group;
    int start;
    int64_t count;
    bool to_end;
    int64_t idle_exit;
    const char *format;
    bool json;
    int64_t ack_timeout;
    int64_t session_timeout;
    const char *member;
} consume_opts;

static const cli_opt table[] = {
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(consume_opts, group),
     .required = true,
     .text = "join this group; it is created on first use"},
    {.name = "offset",
     .letter = 'o',
     .type = CLI_CHOICE,
     .arg = "earliest|latest",
     .at = offsetof(consume_opts, start),
     .fallback = "earliest",
     .text = "where a new group starts; one that exists goes on where it was"},
    {.name = "count",
     .letter = 'n',
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(consume_opts, count),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop after COUNT messages"},
    {.name = "to-end",
     .letter = 'e',
     .type = CLI_FLAG,
     .at = offsetof(consume_opts, to_end),
     .text = "stop once the group has acknowledged all that was there at the start"},
    {.name = "idle-exit",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(consume_opts, idle_exit),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop when nothing has arrived for so long"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_TEXT,
     .arg = "FORMAT",
     .at = offsetof(consume_opts, format),
     .text = "how to write a message (default %v\\n)"},
    {.name = "json",
     .letter = 'J',
     .type = CLI_FLAG,
     .at = offsetof(consume_opts, json),
     .text = "write each message as a JSON object on a line, without loss"},
    {.name = "ack-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(consume_opts, ack_timeout),
     .min = 10,
     .max = INT64_MAX,
     .fallback = "30s",
     .text = "a message that was not written in time is delivered again"},
    {.name = "session-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(consume_opts, session_timeout),
     .min = 100,
     .max = 3600000,
     .fallback = "10s",
     .text = "a member that was not heard of for so long is dead"},
    {.name = "member",
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(consume_opts, member),
     .text = "the member's name, unique in the group (default: random)"},
};

/* Where a partition ended when the consumer started. */
typedef struct end_mark {
    uint64_t era;
    uint64_t next;
} end_mark;

typedef struct job {
    const consume_opts *opts;
    seg_client *client;
    seg_consumer *consumer;
    cli_template format;
    cli_json_origin origin;
    uint64_t handled;
    int64_t arrived_us; /* when the last message did, at first the start */
    end_mark *ends;     /* -e */
    uint32_t n_ends;
    int64_t checked_us, check_ms;
    bool verbose;
} job;

/* ---- The end of what was there --------------------------------------------------------------- */

static bool describe(const job *j, seg_group_info **out, seg_error *err) {
    return seg_group_describe(out, j->client, j->origin.stream, j->opts->group, err) == SEG_OK;
}

static int mark_ends(job *j) {
    seg_error err;
    seg_group_info *g;
    if (!describe(j, &g, &err)) {
        return cli_error(&err);
    }
    j->n_ends = seg_group_info_partitions(g);
    j->ends = cli_alloc(j->n_ends, sizeof *j->ends);
    for (uint32_t i = 0; i < j->n_ends; i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        j->ends[i] = (end_mark){p->era, p->next};
    }
    seg_group_info_free(g);
    return CLI_OK;
}

static bool passed(const seg_group_info *g, const end_mark *ends, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        if (p && (p->era < ends[i].era ||
                  (p->era == ends[i].era && p->committed < ends[i].next && p->lag > 0))) {
            return false;
        }
    }
    return true;
}

/* Has the group, whoever of it, committed all that was there? Asks the server, less and less often
 * while the answer is no. A failed question is asked again: polling tells what ends the consumer.
 */
static bool reached_end(job *j, bool busy) {
    int64_t now = cli_now_us();
    int64_t wait_ms = busy ? CHECK_MAX_MS : j->check_ms;
    if (!j->ends || now - j->checked_us < wait_ms * 1000) {
        return false;
    }
    j->checked_us = now;
    j->check_ms = j->check_ms * 2 < CHECK_MAX_MS ? j->check_ms * 2 : CHECK_MAX_MS;
    seg_error err;
    seg_group_info *g;
    if (!describe(j, &g, &err)) {
        return false;
    }
    bool reached = passed(g, j->ends, j->n_ends);
    seg_group_info_free(g);
    return reached;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static bool write_batch(job *j, const seg_batch *batch) {
    for (size_t i = 0; i < seg_batch_count(batch); i++) {
        const seg_message *m = seg_batch_at(batch, i);
        if (j->opts->json) {
            cli_json_message(stdout, m, &j->origin);
        } else {
            cli_template_write(&j->format, stdout, m);
        }
    }
    return cli_flush_stdout();
}

static int handle_batch(job *j, const seg_batch *batch) {
    if (!write_batch(j, batch)) {
        return CLI_FAILURE;
    }
    seg_error err;
    seg_status status = seg_ack_batch(j->consumer, batch, &err);
    if (status == SEG_EFENCED) {
        /* A partition moved away while it was being written: its new owner writes those again. */
        if (j->verbose) {
            cli_note("%s", err.text);
        }
    } else if (status != SEG_OK) {
        return cli_error(&err);
    }
    j->handled += seg_batch_count(batch);
    j->arrived_us = cli_now_us();
    j->check_ms = CHECK_MIN_MS;
    return CLI_OK;
}

static bool counted_out(const job *j) {
    return j->opts->count > 0 && j->handled >= (uint64_t)j->opts->count;
}

static size_t batch_limit(const job *j) {
    uint64_t left = j->opts->count > 0 ? (uint64_t)j->opts->count - j->handled : BATCH_MAX;
    return left < BATCH_MAX ? (size_t)left : BATCH_MAX;
}

/* Until when poll may wait: the next look at the end, or the end of patience. */
static int64_t poll_wait(const job *j) {
    int64_t wait = SEG_FOREVER;
    if (j->ends) {
        wait = j->check_ms;
    }
    if (j->opts->idle_exit > 0) {
        int64_t idle = j->opts->idle_exit - (cli_now_us() - j->arrived_us) / 1000;
        idle = idle < 1 ? 1 : idle;
        wait = idle < wait ? idle : wait;
    }
    return wait;
}

static bool idle_out(const job *j) {
    return j->opts->idle_exit > 0 && (cli_now_us() - j->arrived_us) / 1000 >= j->opts->idle_exit;
}

static int consume_all(job *j) {
    while (!cli_signal_caught()) {
        seg_error err;
        seg_batch *batch;
        seg_status status =
            seg_consumer_poll(&batch, j->consumer, batch_limit(j), poll_wait(j), &err);
        if (status != SEG_OK) {
            return status == SEG_ECLOSED && cli_signal_caught() ? CLI_OK : cli_error(&err);
        }
        bool empty = seg_batch_count(batch) == 0;
        int code = empty ? CLI_OK : handle_batch(j, batch);
        seg_batch_free(batch);
        if (code != CLI_OK) {
            return code;
        }
        if (counted_out(j) || reached_end(j, !empty) || (empty && idle_out(j))) {
            return j->handled ? CLI_OK : CLI_NOTHING;
        }
    }
    return CLI_OK;
}

/* Wait until what was acknowledged is stored. Where a partition moved away before, its new owner
 * repeats its messages: not an error of this member. */
static int commit(job *j, int code) {
    seg_error err;
    seg_status status = seg_consumer_commit(j->consumer, COMMIT_MS, &err);
    if (status == SEG_OK || status == SEG_EFENCED || status == SEG_ECLOSED) {
        return code;
    }
    int failed = cli_error(&err);
    return code == CLI_OK || code == CLI_NOTHING ? failed : code;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void on_rebalance(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    const job *j = arg;
    if (!j->verbose) {
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

/* ---- The command ----------------------------------------------------------------------------- */

static int open_consumer(job *j) {
    const consume_opts *o = j->opts;
    seg_consumer_options opts;
    SEG_INIT(&opts);
    opts.group = o->group;
    opts.name = o->member;
    opts.session_timeout = o->session_timeout;
    opts.ack_timeout = o->ack_timeout;
    opts.start = o->start == 0 ? SEG_EARLIEST : SEG_LATEST;
    opts.on_rebalance = on_rebalance;
    opts.rebalance_arg = j;
    opts.on_overtaken = on_overtaken;
    seg_error err;
    if (seg_consumer_open(&j->consumer, j->client, j->origin.stream, &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    j->origin.member = seg_consumer_member(j->consumer);
    return CLI_OK;
}

static int consume(job *j) {
    int code = open_consumer(j);
    if (code != CLI_OK) {
        return code;
    }
    cli_signals_stop(j->consumer);
    if (j->opts->to_end) {
        code = mark_ends(j);
    }
    if (code == CLI_OK) {
        j->arrived_us = cli_now_us();
        code = consume_all(j);
        code = commit(j, code);
    }
    cli_signals_stop(NULL);
    seg_consumer_close(j->consumer);
    if (j->verbose) {
        cli_note("%" PRIu64 " message%s written", j->handled, j->handled == 1 ? "" : "s");
    }
    return code;
}

static int run_consume(const cli_run *run) {
    const consume_opts *o = run->opts;
    char fault[128];
    if (o->json && o->format) {
        return cli_usage("-f and -J exclude each other");
    }
    job j = {.opts = o,
             .origin = {.stream = run->args[0], .group = o->group},
             .check_ms = CHECK_MIN_MS,
             .verbose = run->globals->verbose};
    if (!cli_template_parse(&j.format, o->format ? o->format : "%v\\n", fault)) {
        return cli_usage("-f: %s", fault);
    }
    setvbuf(stdout, NULL, _IOFBF, OUTPUT_BUFFER);
    cli_signals_catch();
    int code = cli_open(&j.client, run->globals, true);
    if (code == CLI_OK) {
        code = consume(&j);
        seg_client_close(j.client);
    }
    cli_template_fini(&j.format);
    free(j.ends);
    return code;
}

/* The sequences of FORMAT are described in format.h, beside what knows them. */
#define ABOUT                                                                                      \
    "Join a group of the stream and write its messages to stdout. Each partition goes to one "     \
    "member of the group at a time; a member that ends or dies is replaced by the others.\n\n"     \
    "Messages are acknowledged once they were written and flushed. A member that dies in between " \
    "leaves messages that the next one writes again.\n\n"                                          \
    "Without -n, -e and --idle-exit it runs until SIGINT or SIGTERM, which leave the group "       \
    "cleanly and exit with 0; a second one ends it at once.\n\n" CLI_TEMPLATE_HELP

const cli_command cli_consume = {
    .name = "consume",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Write a stream's messages as a member of a group",
    .about = ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(consume_opts),
    .run = run_consume,
};
