/* session.c - the client of one run of the command. */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "cli.h"

/* What goes wrong before the connection stands comes back as the error of seg_client_open(), and is
 * reported there: once. */
static atomic_bool talk;

static void report_log(seg_log_level level, const char *event, const char *text, void *arg) {
    (void)level;
    (void)arg;
    /* A consumer's end is the error of its next call, and what a reader passes over is told by a callback:
     * both are reported there. */
    if (atomic_load(&talk) && strcmp(event, "consumer-failed") != 0 && strcmp(event, "skip") != 0) {
        cli_note("%s: %s", event, text);
    }
}

seg_status cli_try_open(seg_client **out, const cli_globals *globals, bool warn, int64_t timeout,
                        seg_error *err) {
    seg_client_options opts;
    SEG_INIT(&opts);
    opts.url = globals->url;
    opts.name_space = globals->name_space;
    opts.log = report_log;
    opts.log_level = globals->trace     ? SEG_LOG_DEBUG
                     : globals->verbose ? SEG_LOG_INFO
                                        : SEG_LOG_WARN;
    opts.connect_timeout = opts.command_timeout = timeout;
    atomic_store(&talk, globals->verbose || globals->trace);
    seg_status status = seg_client_open(out, &opts, err);
    if (status == SEG_OK) {
        atomic_store(&talk, globals->verbose || globals->trace || warn);
    }
    return status;
}

int cli_open(seg_client **out, const cli_globals *globals, bool warn) {
    seg_error err;
    seg_status status = cli_try_open(out, globals, warn, 0, &err);
    if (status == SEG_OK) {
        return CLI_OK;
    }
    int code = cli_error(&err);
    /* A server that does not answer and one that cannot be reached are the same to a script. */
    return status == SEG_ETIMEDOUT ? CLI_CONNECTION : code;
}

int64_t cli_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
