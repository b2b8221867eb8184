/* produce.c - segmenter produce: lines of input to messages of a stream.
 *
 * Reading never blocks in read(2): the loop waits in poll(2) on the input and on the signal pipe,
 * and lets the producer run its callbacks in between, so that a slow input delays neither. The
 * first message that fails ends the reading: what follows it in the input would otherwise be
 * stored without it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "json.h"
#include "lines.h"
#include "loss.h"
#include "signals.h"

enum {
    KEY_MAX = 65536,
    CALLBACKS_EVERY = 1024, /* messages, while the input never pauses */
    PROGRESS_US = 200000,
    INTERRUPTED_MS = 10000, /* how long what is under way may take after a signal */
    STEP_MS = 100           /* how soon a signal is seen while waiting for the producer */
};

typedef struct produce_opts {
    const char *key_delimiter;
    cli_list headers;
    bool json;
    bool sync;
    int64_t delivery_timeout;
    int64_t linger;
    int64_t max_message;
    int codec; /* a seg_codec */
} produce_opts;

static const cli_opt table[] = {
    {.name = "key-delimiter",
     .letter = 'K',
     .type = CLI_TEXT,
     .arg = "DELIM",
     .at = offsetof(produce_opts, key_delimiter),
     .text = "the key is what stands before the first DELIM of the line, the value what stands "
             "behind it; \\t, \\xHH and the like are understood"},
    {.name = "header",
     .letter = 'H',
     .type = CLI_LIST,
     .arg = "NAME=VALUE",
     .at = offsetof(produce_opts, headers),
     .text = "add a header to each message; may be repeated"},
    {.name = "json",
     .letter = 'J',
     .type = CLI_FLAG,
     .at = offsetof(produce_opts, json),
     .text = "each line is a JSON object, as consume -J writes it"},
    {.name = "sync",
     .type = CLI_FLAG,
     .at = offsetof(produce_opts, sync),
     .text = "wait for each message to be stored before the next is sent"},
    {.name = "linger",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(produce_opts, linger),
     .max = 60000,
     .fallback = "0s",
     .text = "how long a batch waits for more messages"},
    {.name = "delivery-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(produce_opts, delivery_timeout),
     .min = 1,
     .max = INT64_MAX,
     .fallback = "2m",
     .text = "how long to try to store a message"},
    {.name = "max-message",
     .type = CLI_NUMBER,
     .arg = "BYTES",
     .at = offsetof(produce_opts, max_message),
     .min = 1,
     .max = INT64_C(64) << 20,
     .fallback = "1048576",
     .text = "longest message: key, value and headers"},
    {.name = "codec",
     .type = CLI_CHOICE,
     .arg = "plain|lz4|zstd",
     .at = offsetof(produce_opts, codec),
     .fallback = "plain",
     .text = "how batches of messages are compressed; consumers read any"},
};

typedef struct job {
    const produce_opts *opts;
    seg_producer *producer;
    char *delimiter;
    size_t delimiter_len;
    seg_bytes *headers;
    const char *input; /* name of the file that is being read */
    uint64_t sent, stored, failed, unknown, bytes;
    seg_error first; /* why the first message failed */
    bool lossy;      /* the server lost some that it had stored */
    bool progress;   /* a terminal is watching, and is not what is being read */
    int64_t started_us, drawn_us;
} job;

/* How the reading of an input went. */
typedef enum outcome { DONE, STOPPED, FAULT } outcome;

/* ---- Progress -------------------------------------------------------------------------------- */

static void draw_progress(job *j) {
    int64_t now = cli_now_us();
    if (!j->progress || now - j->drawn_us < PROGRESS_US) {
        return;
    }
    j->drawn_us = now;
    double seconds = (double)(now - j->started_us) / 1e6;
    fprintf(stderr, "\r\033[K%" PRIu64 " sent, %" PRIu64 " stored, %.0f/s", j->sent, j->stored,
            seconds > 0 ? (double)j->stored / seconds : 0.0);
}

static void erase_progress(job *j) {
    if (j->progress && j->drawn_us > 0) {
        fputs("\r\033[K", stderr);
        j->drawn_us = 0;
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    job *j = arg;
    (void)where;
    if (status == SEG_OK) {
        j->stored++;
        return;
    }
    if (j->failed++ == 0) {
        j->first = *err;
    }
    if (status == SEG_EUNKNOWN) {
        j->unknown++;
    }
}

static bool should_stop(const job *j) {
    return cli_signal_caught() || j->failed > 0;
}

static bool run_callbacks(job *j, int64_t wait) {
    seg_error err;
    if (seg_producer_poll(j->producer, wait, &err) != SEG_OK) {
        cli_error(&err);
        return false;
    }
    draw_progress(j);
    return true;
}

/* Queue one message; where the queue is full, wait until it is not. */
static outcome send_record(job *j, const seg_record *r, uint64_t line) {
    seg_error err;
    for (;;) {
        seg_status status = seg_send_async(j->producer, r, on_sent, j, &err);
        if (status == SEG_OK) {
            break;
        }
        if (status != SEG_EFULL) {
            erase_progress(j);
            cli_failure("%s:%" PRIu64 ": %s", j->input, line, err.text);
            return FAULT;
        }
        if (!run_callbacks(j, STEP_MS)) {
            return FAULT;
        }
        if (should_stop(j)) {
            return STOPPED;
        }
    }
    j->sent++;
    j->bytes += r->key.len + r->value.len;
    while (j->opts->sync && j->stored + j->failed < j->sent) {
        if (!run_callbacks(j, STEP_MS)) {
            return FAULT;
        }
        if (cli_signal_caught()) {
            return STOPPED;
        }
    }
    if (j->sent % CALLBACKS_EVERY == 0 && !run_callbacks(j, 0)) {
        return FAULT;
    }
    return should_stop(j) ? STOPPED : DONE;
}

static outcome send_json(job *j, seg_bytes line, uint64_t number) {
    cli_json_record r;
    char fault[256];
    if (!cli_json_record_read(&r, line, j->headers, j->opts->headers.n, fault)) {
        erase_progress(j);
        cli_failure("%s:%" PRIu64 ": %s", j->input, number, fault);
        return FAULT;
    }
    /* Of a dump, the lines that describe it are no messages. */
    bool message = !json_object_get(r.root, "dump");
    outcome result = message ? send_record(j, &r.record, number) : DONE;
    cli_json_record_fini(&r);
    return result;
}

static outcome send_line(job *j, seg_bytes line, uint64_t number) {
    if (j->opts->json) {
        return send_json(j, line, number);
    }
    seg_record r;
    SEG_INIT(&r);
    r.value = line;
    r.headers = j->headers;
    r.n_headers = j->opts->headers.n;
    if (j->delimiter) {
        const char *start = line.data;
        const char *at = line.len ? memmem(start, line.len, j->delimiter, j->delimiter_len) : NULL;
        if (!at) {
            /* Taking the line as a value without a key would spread one key's messages over all
             * partitions, and nobody would notice. */
            erase_progress(j);
            cli_failure("%s:%" PRIu64 ": the key delimiter '%s' is not in this line", j->input,
                        number, j->opts->key_delimiter);
            return FAULT;
        }
        size_t key = (size_t)(at - start);
        r.key = (seg_bytes){start, key};
        r.value = (seg_bytes){at + j->delimiter_len, line.len - key - j->delimiter_len};
    }
    return send_record(j, &r, number);
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Wait until `fd` can be read, running the callbacks of what is under way meanwhile. */
static outcome wait_input(job *j, int fd) {
    for (;;) {
        if (should_stop(j)) {
            return STOPPED;
        }
        bool busy = j->stored + j->failed < j->sent;
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                               {.fd = cli_signal_fd(), .events = POLLIN}};
        int n = poll(fds, 2, busy ? 10 : -1);
        if (n < 0 && errno != EINTR) {
            cli_failure("cannot wait for '%s': %s", j->input, strerror(errno));
            return FAULT;
        }
        if (n > 0 && fds[0].revents) {
            return DONE;
        }
        if (!run_callbacks(j, 0)) {
            return FAULT;
        }
    }
}

static outcome line_fault(job *j, const cli_lines *l, cli_line what) {
    erase_progress(j);
    if (what == CLI_LINE_TOO_LONG) {
        cli_failure("%s:%" PRIu64 ": the line is longer than %zu bytes; see --max-message",
                    j->input, l->number, l->limit);
    } else {
        cli_failure("cannot read '%s': %s", j->input, strerror(l->error));
    }
    return FAULT;
}

static outcome read_lines(job *j, cli_lines *l) {
    for (;;) {
        seg_bytes line;
        cli_line what = cli_lines_next(l, &line);
        outcome result = DONE;
        switch (what) {
        case CLI_LINE_READY:
            result = send_line(j, line, l->number);
            break;
        case CLI_LINE_MORE:
            result = wait_input(j, l->fd);
            if (result == DONE) {
                cli_lines_fill(l);
            }
            break;
        case CLI_LINE_END:
            return DONE;
        case CLI_LINE_TOO_LONG:
        case CLI_LINE_ERROR:
            return line_fault(j, l, what);
        }
        if (result != DONE) {
            return result;
        }
    }
}

/* The longest line that can hold a message: JSON may escape every byte (\u0000), and base64 takes
 * a third more. */
static size_t line_limit(const job *j) {
    size_t message = (size_t)j->opts->max_message;
    if (j->opts->json) {
        return 6 * (message + KEY_MAX) + KEY_MAX;
    }
    return message + (j->delimiter ? j->delimiter_len : 0);
}

static outcome read_file(job *j, const char *path) {
    bool is_stdin = strcmp(path, "-") == 0;
    j->input = is_stdin ? "stdin" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_failure("cannot open '%s': %s", path, strerror(errno));
        return FAULT;
    }
    j->progress = isatty(STDERR_FILENO) && !isatty(fd);
    cli_lines lines;
    cli_lines_init(&lines, fd, line_limit(j));
    outcome result = read_lines(j, &lines);
    cli_lines_fini(&lines);
    if (!is_stdin) {
        close(fd);
    }
    return result;
}

static outcome read_all(job *j, const cli_run *run) {
    if (run->n_args == 1) {
        return read_file(j, "-");
    }
    for (size_t i = 1; i < run->n_args; i++) {
        outcome result = read_file(j, run->args[i]);
        if (result != DONE) {
            return result;
        }
    }
    return DONE;
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Wait for what is under way: until its delivery timeout, after a signal for a bounded time. */
static void finish(job *j) {
    int64_t interrupted_us = 0;
    for (;;) {
        seg_error err;
        seg_status status = seg_producer_flush(j->producer, STEP_MS, &err);
        if (status == SEG_OK) {
            return;
        }
        if (status != SEG_ETIMEDOUT) {
            erase_progress(j);
            cli_error(&err);
            return;
        }
        draw_progress(j);
        int64_t now = cli_now_us();
        if (cli_signal_caught() && interrupted_us == 0) {
            interrupted_us = now;
        }
        if (interrupted_us && now - interrupted_us > INTERRUPTED_MS * INT64_C(1000)) {
            return;
        }
    }
}

static int report(const job *j, outcome read, bool verbose) {
    const char *plural = j->stored == 1 ? "" : "s";
    if (j->failed > 0) {
        char unknown[64] = "";
        if (j->unknown > 0) {
            snprintf(unknown, sizeof unknown, " (%" PRIu64 " of them with an unknown outcome)",
                     j->unknown);
        }
        return cli_failure("%" PRIu64 " message%s stored, %" PRIu64 " failed%s, the rest of the "
                           "input was not sent: %s",
                           j->stored, plural, j->failed, unknown, j->first.text);
    }
    if (read == FAULT) {
        cli_note("%" PRIu64 " message%s stored before that", j->stored, plural);
        return CLI_FAILURE;
    }
    if (cli_signal_caught()) {
        return cli_failure("interrupted: %" PRIu64 " message%s stored", j->stored, plural);
    }
    if (j->lossy) {
        return cli_failure("%" PRIu64 " message%s stored, of which the server has lost some",
                           j->stored, plural);
    }
    if (verbose || isatty(STDERR_FILENO)) {
        double seconds = (double)(cli_now_us() - j->started_us) / 1e6;
        cli_note("%" PRIu64 " message%s stored, %" PRIu64 " bytes, %.1f s, %.0f/s", j->stored,
                 plural, j->bytes, seconds, seconds > 0 ? (double)j->stored / seconds : 0.0);
    }
    return CLI_OK;
}

/* ---- The beginning --------------------------------------------------------------------------- */

static bool split_headers(job *j) {
    const cli_list *list = &j->opts->headers;
    j->headers = cli_alloc(list->n, 2 * sizeof *j->headers);
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals || equals == list->items[i]) {
            cli_usage("-H takes NAME=VALUE, not '%s'", list->items[i]);
            return false;
        }
        j->headers[2 * i] = (seg_bytes){list->items[i], (size_t)(equals - list->items[i])};
        j->headers[2 * i + 1] = (seg_bytes){equals + 1, strlen(equals + 1)};
    }
    return true;
}

static bool prepare(job *j) {
    const char *delimiter = j->opts->key_delimiter;
    if (delimiter && j->opts->json) {
        cli_usage("-K and -J exclude each other: a JSON line says what its key is");
        return false;
    }
    if (delimiter) {
        char fault[128];
        j->delimiter = cli_alloc(strlen(delimiter) + 1, 1);
        j->delimiter_len = cli_unescape(j->delimiter, delimiter, fault);
        if (j->delimiter_len == SIZE_MAX) {
            cli_usage("-K: %s", fault);
            return false;
        }
    }
    return split_headers(j);
}

/* What was stored of this run and is gone; the rest of the input is sent all the same. */
static void on_loss(const seg_loss *loss, void *arg) {
    job *j = arg;
    erase_progress(j);
    cli_loss_note(loss);
    j->lossy = true;
}

static int produce(job *j, seg_client *client, const cli_run *run) {
    seg_producer_options opts;
    SEG_INIT(&opts);
    opts.linger = j->opts->linger;
    opts.delivery_timeout = j->opts->delivery_timeout;
    opts.max_message = (size_t)j->opts->max_message;
    opts.codec = (seg_codec)j->opts->codec;
    opts.on_loss = on_loss;
    opts.loss_arg = j;
    seg_error err;
    if (seg_producer_open(&j->producer, client, run->args[0], &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    cli_signals_catch();
    j->started_us = cli_now_us();
    outcome read = read_all(j, run);
    finish(j);
    seg_producer_close(j->producer); /* what is still open gets its callback here */
    erase_progress(j);
    return report(j, read, run->globals->verbose);
}

static int run_produce(const cli_run *run) {
    job j = {.opts = run->opts};
    int code = CLI_USAGE;
    seg_client *client;
    if (prepare(&j)) {
        code = cli_open(&client, run->globals, true);
        if (code == CLI_OK) {
            code = produce(&j, client, run);
            seg_client_close(client);
        }
    }
    free(j.delimiter);
    free(j.headers);
    return code;
}

const cli_command cli_produce = {
    .name = "produce",
    .args = "NAME [FILE...]",
    .min_args = 1,
    .max_args = SIZE_MAX,
    .brief = "Send each line as a message",
    .about =
        "Send one message for each line of the files, or of stdin (also where FILE is -). The "
        "newline is not part of the message; all other bytes are, also NUL and carriage return. "
        "An empty line is a message with an empty value.\n\n"
        "With -K, a line without the delimiter is an error. Without -K and -J messages have no "
        "key, and the partitions take turns.\n\n"
        "The first message that fails ends the reading: the command waits for those under way, "
        "says how many were stored and exits with 1. So does the first SIGINT or SIGTERM; the "
        "second ends it at once.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(produce_opts),
    .run = run_produce,
};
