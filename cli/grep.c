/* grep.c - segmenter grep: messages that match a regular expression.
 *
 * A pattern can take longer than anybody waits, on one message alone, and regexec(3) cannot be told to
 * stop. So a thread of its own searches, while the main one waits for its end or for a signal; a search
 * that does not come back after that is left where it is, and the process ends around it. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "partitions.h"
#include "place.h"
#include "printer.h"
#include "reading.h"
#include "signals.h"

enum { PATIENCE_MS = 1000 }; /* with a search, after a signal */

typedef struct grep_opts {
    bool key, value, ignore_case, invert, count;
    const char *header;
    int64_t max_count;
    int64_t scan;
    const char *from, *to;
    cli_list partitions;
    const char *format;
    bool json;
} grep_opts;

static const cli_opt table[] = {
    {.name = "key",
     .type = CLI_FLAG,
     .at = offsetof(grep_opts, key),
     .text = "look into keys (default: keys and values)"},
    {.name = "value",
     .type = CLI_FLAG,
     .at = offsetof(grep_opts, value),
     .text = "look into values"},
    {.name = "header",
     .type = CLI_TEXT,
     .arg = "NAME",
     .at = offsetof(grep_opts, header),
     .text = "look into the headers of this name"},
    {.name = "ignore-case",
     .letter = 'i',
     .type = CLI_FLAG,
     .at = offsetof(grep_opts, ignore_case),
     .text = "upper and lower case are the same"},
    {.name = "invert-match",
     .letter = 'v',
     .type = CLI_FLAG,
     .at = offsetof(grep_opts, invert),
     .text = "show the messages that do not match"},
    {.name = "count",
     .letter = 'c',
     .type = CLI_FLAG,
     .at = offsetof(grep_opts, count),
     .text = "print only how many there are"},
    {.name = "max-count",
     .letter = 'm',
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(grep_opts, max_count),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop after N of them"},
    {.name = "from",
     .type = CLI_TEXT,
     .arg = "PLACE",
     .at = offsetof(grep_opts, from),
     .fallback = "earliest",
     .text = "start here in each partition: " CLI_READ_PLACES},
    {.name = "to",
     .type = CLI_TEXT,
     .arg = "PLACE",
     .at = offsetof(grep_opts, to),
     .text = "stop before it: an OFFSET, a @TIME or -DURATION ago (default: what was there at the "
             "start)"},
    {.name = "partition",
     .type = CLI_LIST,
     .arg = "P",
     .at = offsetof(grep_opts, partitions),
     .text = "only this partition; may be repeated (default: all)"},
    {.name = "scan",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(grep_opts, scan),
     .max = INT64_MAX,
     .fallback = "1000000",
     .text = "look through N messages at most; 0: all"},
    CLI_PRINTER_OPTS(grep_opts),
};

typedef struct grepping {
    const grep_opts *opts;
    seg_client *client;
    cli_reading reading;
    cli_printer printer;
    const char *stream;
    regex_t regex;
    cli_buf text; /* that is searched */
    bool by_key, by_value;
    uint32_t *partitions;
    seg_reader_options where;
    cli_place to;
    uint64_t total; /* messages in the range, as far as offsets tell */
    uint64_t bytes; /* of keys, values and headers looked through */
    uint64_t found;
    uint64_t scanned;
    bool bounded; /* --scan ended it */
    bool counted; /* -m did */
    int code;
    int done[2]; /* a pipe: the search has ended */
    /* Where a search is, for whoever has to leave it there. */
    atomic_bool searching;
    _Atomic uint32_t at_partition;
    _Atomic uint64_t at_offset;
} grepping;

/* ---- The search ------------------------------------------------------------------------------ */

/* Any bytes, also NUL: the length is given, not found. Not every regexec(3) believes that there is
 * nothing to be looked for behind it (nor do sanitizers), so a NUL follows. */
static bool matches(grepping *g, seg_bytes bytes) {
    regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)bytes.len};
    g->text.len = 0;
    cli_buf_add(&g->text, bytes.data, bytes.len);
    cli_buf_add(&g->text, "", 1);
    atomic_store(&g->searching, true);
    bool found = regexec(&g->regex, g->text.data, 1, &range, REG_STARTEND) == 0;
    atomic_store(&g->searching, false);
    return found;
}

static bool header_matches(grepping *g, const seg_message *m) {
    seg_bytes name, value;
    size_t len = strlen(g->opts->header);
    for (size_t i = 0; seg_message_header(m, i, &name, &value); i++) {
        if (name.len == len && memcmp(name.data, g->opts->header, len) == 0) {
            g->bytes += value.len;
            if (matches(g, value)) {
                return true;
            }
        }
    }
    return false;
}

static bool message_matches(grepping *g, const seg_message *m) {
    seg_bytes key = seg_message_key(m), value = seg_message_value(m);
    g->bytes += (g->by_key ? key.len : 0) + (g->by_value ? value.len : 0);
    return ((g->by_key && matches(g, key)) || (g->by_value && matches(g, value)) ||
            (g->opts->header && header_matches(g, m))) != g->opts->invert;
}

/* Is it the first that is not wanted of its partition? */
static bool past_end(const grepping *g, const seg_message *m) {
    if (g->to.kind == CLI_AT_OFFSET) {
        return seg_message_delivery(m).id.offset >= (uint64_t)g->to.value;
    }
    return g->to.kind == CLI_AT_TIME && seg_message_timestamp(m) >= g->to.value;
}

static void take(grepping *g, const seg_message *m) {
    seg_delivery d = seg_message_delivery(m);
    atomic_store_explicit(&g->at_partition, d.partition, memory_order_relaxed);
    atomic_store_explicit(&g->at_offset, d.id.offset, memory_order_relaxed);
    g->scanned++;
    if (message_matches(g, m)) {
        g->found++;
        if (!g->opts->count) {
            cli_printer_write(&g->printer, stdout, m);
        }
    }
}

static int scan(grepping *g) {
    while (!cli_signal_caught()) {
        const seg_message *m;
        if (g->opts->max_count > 0 && g->found >= (uint64_t)g->opts->max_count) {
            g->counted = true;
            return CLI_OK;
        }
        int code = cli_reading_next(&g->reading, &m, 0);
        if (code != CLI_OK || !m) {
            return code;
        }
        if (past_end(g, m)) {
            code = cli_reading_pass(&g->reading, seg_message_delivery(m).partition);
            if (code != CLI_OK) {
                return code;
            }
            continue;
        }
        if (g->opts->scan > 0 && g->scanned >= (uint64_t)g->opts->scan) {
            g->bounded = true;
            return CLI_OK;
        }
        take(g, m);
        if (cli_stdout_failed()) { /* said when it is closed */
            return CLI_FAILURE;
        }
    }
    return CLI_OK;
}

static void *scan_thread(void *arg) {
    grepping *g = arg;
    g->code = scan(g);
    ssize_t written = write(g->done[1], "", 1);
    (void)written;
    return NULL;
}

/* ---- Around it ------------------------------------------------------------------------------- */

static void say_scanned(const grepping *g) {
    char more[96] = "";
    if (g->bounded) {
        snprintf(more, sizeof more, "; --scan 0 scans all");
    } else if (g->counted) {
        snprintf(more, sizeof more, ", as -m asks for no more");
    }
    cli_note("scanned %" PRIu64 " of %" PRIu64 " message%s, %" PRIu64 " bytes%s", g->scanned,
             g->total, g->total == 1 ? "" : "s", g->bytes, more);
}

/* Is what is written taken, now or soon? */
static bool output_flows(void) {
    struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&fd, 1, PATIENCE_MS) != 0;
}

/* The search is still in one message, or waits for who reads its output: nothing can be freed under it,
 * and nothing waits for it. What stdout holds is written only where that waits for nobody: in a write,
 * the search has its lock. */
static void leave(const grepping *g) {
    if (atomic_load(&g->searching)) {
        if (ftrylockfile(stdout) == 0 && output_flows()) {
            fflush(stdout);
        }
        cli_note("interrupted while one message was searched, partition %" PRIu32 " offset %" PRIu64
                 ": the pattern takes too long for it",
                 g->at_partition, g->at_offset);
    } else {
        cli_note("interrupted at partition %" PRIu32 " offset %" PRIu64
                 ", while nobody took the output, or the server did not answer",
                 g->at_partition, g->at_offset);
    }
    fflush(stderr);
    /* Not by _exit(), which under TSan waits for stdout. */
    syscall(SYS_exit_group, CLI_FAILURE);
}

static bool wait_done(const grepping *g, int also, int timeout) {
    struct pollfd fds[] = {{.fd = g->done[0], .events = POLLIN}, {.fd = also, .events = POLLIN}};
    while (poll(fds, also >= 0 ? 2 : 1, timeout) < 0) {
    }
    return fds[0].revents != 0;
}

/* Signals are this thread's: in the other one they would interrupt what it writes. */
static bool start_scan(pthread_t *thread, grepping *g) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, scan_thread, g) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static int search(grepping *g) {
    pthread_t thread;
    if (pipe(g->done) != 0 || !start_scan(&thread, g)) {
        return cli_failure("cannot start a thread");
    }
    if (!wait_done(g, cli_signal_fd(), -1) && !wait_done(g, -1, PATIENCE_MS)) {
        leave(g);
    }
    pthread_join(thread, NULL);
    close(g->done[0]);
    close(g->done[1]);
    return g->code;
}

/* How many messages lie in the range, where offsets tell: with a time, up to the end. */
static uint64_t count_range(const grepping *g) {
    const seg_reader_place *place;
    uint64_t n = 0;
    for (size_t i = 0; (place = seg_reader_place_at(g->reading.reader, i)); i++) {
        uint64_t end = place->next;
        if (g->to.kind == CLI_AT_OFFSET && (uint64_t)g->to.value < end) {
            end = (uint64_t)g->to.value;
        }
        n += end > place->at ? end - place->at : 0;
    }
    return n;
}

static int finish(grepping *g, int code) {
    if (g->opts->count && code == CLI_OK) {
        printf("%" PRIu64 "\n", g->found);
    }
    if (cli_signal_caught() && !output_flows()) {
        leave(g);
    }
    if (!cli_flush_stdout()) {
        return CLI_FAILURE;
    }
    say_scanned(g);
    if (code != CLI_OK) {
        return code;
    }
    if (cli_signal_caught()) {
        return cli_failure("interrupted: %" PRIu64 " found", g->found);
    }
    if (g->reading.broken > 0) {
        return cli_failure("%" PRIu64 " message%s could not be read", g->reading.broken,
                           g->reading.broken == 1 ? "" : "s");
    }
    return g->found > 0 ? CLI_OK : CLI_NOTHING;
}

static int grep(grepping *g, const cli_run *run) {
    int code = cli_open(&g->client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    code = cli_reading_open(&g->reading, g->client, g->stream, &g->where);
    if (code == CLI_OK) {
        g->total = count_range(g);
        code = finish(g, search(g));
    }
    cli_reading_close(&g->reading);
    seg_client_close(g->client);
    return code;
}

/* ---- What is asked for ----------------------------------------------------------------------- */

static bool read_range(grepping *g) {
    const grep_opts *o = g->opts;
    SEG_INIT(&g->where);
    g->where.ends = true;
    if (!cli_reading_place(&g->where, o->from, "--from")) {
        return false;
    }
    if (o->to &&
        (!cli_place_parse(&g->to, o->to, cli_wall_ms()) || g->to.kind == CLI_AT_DISTANCE)) {
        cli_usage("--to takes an OFFSET, a @TIME or -DURATION ago, not '%s'", o->to);
        return false;
    }
    if (!cli_partitions_parse(&g->partitions, &o->partitions)) {
        return false;
    }
    g->where.partitions = o->partitions.n ? g->partitions : NULL;
    g->where.n_partitions = o->partitions.n;
    return true;
}

static bool compile(grepping *g, const char *pattern) {
    int flags = REG_EXTENDED | (g->opts->ignore_case ? REG_ICASE : 0);
    int fault = regcomp(&g->regex, pattern, flags);
    if (fault != 0) {
        char text[128];
        regerror(fault, &g->regex, text, sizeof text);
        cli_usage("'%s' is no extended regular expression: %s", pattern, text);
        return false;
    }
    return true;
}

static int run_grep(const cli_run *run) {
    const grep_opts *o = run->opts;
    grepping g = {.opts = o, .stream = run->args[0]};
    bool all = !o->key && !o->value && !o->header;
    g.by_key = o->key || all;
    g.by_value = o->value || all;
    if (o->count && (o->json || o->format)) {
        return cli_usage("-c prints no messages, and excludes -f and -J");
    }
    int code = CLI_USAGE;
    if (cli_printer_init(&g.printer, g.stream, o->format, o->json)) {
        if (read_range(&g) && compile(&g, run->args[1])) {
            cli_signals_catch();
            code = grep(&g, run);
            regfree(&g.regex);
        }
        cli_printer_fini(&g.printer);
    }
    cli_buf_fini(&g.text);
    free(g.partitions);
    return code;
}

const cli_command cli_grep = {
    .name = "grep",
    .args = "STREAM REGEX",
    .min_args = 2,
    .max_args = 2,
    .brief = "Find messages by a regular expression",
    .about =
        "Show the messages whose key or value matches a POSIX extended regular expression, without "
        "a group. ^ and $ are the beginning and the end of a key or value; any bytes are looked "
        "through, and a '.' is a character of UTF-8.\n\n"
        "The whole stream is read from the server, one partition after another, up to what was "
        "there at the start and at most --scan messages. How much was looked through is said on "
        "stderr. The exit code is 0 where something was found, 7 where nothing was.\n\n"
        "Times of --from and --to are those of the messages, and are taken as rising along a "
        "partition.\n\n" CLI_PRINTER_HELP,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(grep_opts),
    .run = run_grep,
};
