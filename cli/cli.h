/* cli.h - what all subcommands share: exit codes, the shape of a command, reports, the client.
 *
 * Each subcommand is one file with one `cli_command` in it: its table of options, its help and the
 * function that runs it. main.c lists them, parses the command line by those tables and returns
 * what the function returned as the exit code. The command sees the library only through
 * <segmenter/segmenter.h>; its own names that cross files start with cli_ so that they cannot meet
 * the library's internal ones in a static link. */
#ifndef SEGMENTER_CLI_H
#define SEGMENTER_CLI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <segmenter/segmenter.h>

#include "options.h"

/* Name, exit code, text in the help. */
#define CLI_EXIT_MAP(X)                                                                            \
    X(OK, 0, "done")                                                                               \
    X(FAILURE, 1, "failure; the message says what was done before it")                             \
    X(USAGE, 2, "wrong usage, nothing was done")                                                   \
    X(NOT_FOUND, 3, "no such stream, group or dead letter")                                        \
    X(CONFLICT, 4, "exists with other settings, or is in use")                                     \
    X(CONNECTION, 5, "no connection to the server, or no permission on it")                        \
    X(NOTHING, 7, "consume ended and nothing had arrived")

enum {
#define X(name, code, text) CLI_##name = code,
    CLI_EXIT_MAP(X)
#undef X
};

typedef struct cli_globals {
    const char *url;
    const char *name_space;
    bool url_given; /* by an option or the environment */
    bool name_space_given;
    bool verbose;
    bool help;
    bool version;
} cli_globals;

/* One run of a command, as the command line asked for it. */
typedef struct cli_run {
    const cli_globals *globals;
    const void *opts; /* the command's own options struct */
    const char *const *args;
    size_t n_args;
} cli_run;

typedef struct cli_command {
    const char *name; /* "stream create" */
    const char *args; /* as the help shows them, "NAME [FILE...]"; the first is always a name */
    size_t min_args;  /* ... SIZE_MAX where there is no end to them */
    size_t max_args;
    const char *brief; /* one line, in the list of commands */
    const char *about; /* paragraphs of its help */
    const cli_opt *opts;
    size_t n_opts;
    size_t opts_size;
    bool hidden; /* for the command's own use */
    int (*run)(const cli_run *run);
} cli_command;

extern const cli_command cli_stream_create, cli_stream_ls, cli_stream_info, cli_stream_rm;
extern const cli_command cli_produce, cli_consume;
extern const cli_command cli_group_ls, cli_group_describe, cli_group_seek, cli_group_rm;
extern const cli_command cli_dlq_ls, cli_dlq_show, cli_dlq_replay, cli_dlq_drop;
extern const cli_command cli_server_command, cli_demo, cli_demo_consumer;
extern const cli_command cli_bench_produce, cli_bench_consume, cli_bench_sync, cli_bench_e2e;
extern const cli_command cli_bench_rebalance, cli_bench_idle, cli_bench_member;

#define CLI_COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Reports (report.c). All go to stderr, one line each, with passwords masked. ------------- */

/* The word before each report: "segmenter" at first, then "segmenter produce" and so on. */
void cli_set_who(const char *who);

/* Learn the password in `text`, if it holds a URL with one, so that no report shows it. */
void cli_hide_password(const char *text);
void cli_forget_passwords(void);

/* Print one line; cli_usage returns CLI_USAGE and cli_failure CLI_FAILURE. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print a library error and return its exit code. */
int cli_error(const seg_error *err);
int cli_exit_code(seg_status status);

/* Flush and close stdout. `code`, or CLI_FAILURE with a report where the output did not arrive. */
int cli_close_stdout(int code);

/* Write out what stdout holds. False, with a report, where that failed. */
bool cli_flush_stdout(void);

/* ---- Memory (report.c). Out of memory ends the command with a report. ------------------------ */

void *cli_alloc(size_t count, size_t size); /* zeroed */
void *cli_grow(void *block, size_t count, size_t size);
char *cli_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- The client (session.c) ------------------------------------------------------------------ */

/* Connect as the global options say. With --verbose all that the library logs from INFO on is
 * reported; otherwise, where `warn`, its warnings once the connection stands: a command that runs
 * for long says why it waits. Returns an exit code. */
int cli_open(seg_client **out, const cli_globals *globals, bool warn);

int64_t cli_now_us(void); /* monotonic */

#endif
