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
    X(NOT_FOUND, 3, "no such stream, group, partition, message or dead letter")                    \
    X(CONFLICT, 4, "exists with other settings, or is in use")                                     \
    X(CONNECTION, 5, "no connection to the server, or no permission on it")                        \
    X(NOTHING, 7, "nothing was found, or arrived")

/* Of the commands that look for a monitor, which are `probe`: what monitoring plugins end with. */
#define CLI_PROBE_MAP(X)                                                                           \
    X(OK, 0, "ok", "nothing is wrong")                                                             \
    X(WARNING, 1, "warning", "a value is past its first threshold")                                \
    X(CRITICAL, 2, "critical",                                                                     \
      "a value is past its second threshold, data is damaged, what was to be looked at is not "    \
      "there, or the server is away")                                                              \
    X(UNKNOWN, 3, "unknown", "it cannot be told: wrong usage, a missing right, an unknown value")

typedef enum cli_probe {
#define X(name, code, word, text) CLI_PROBE_##name = code,
    CLI_PROBE_MAP(X)
#undef X
} cli_probe;

enum {
#define X(name, code, text) CLI_##name = code,
    CLI_EXIT_MAP(X)
#undef X
};

typedef struct cli_globals {
    const char *url;
    const char *name_space;
    const char *context;
    const char *password_file;
    bool url_given; /* by an option or the environment */
    bool name_space_given;
    bool verbose;
    bool trace;
    bool help;
    bool version;
    void *owned[3]; /* what the members above point to, and nobody else frees */
} cli_globals;

struct cli_command;

/* One run of a command, as the command line asked for it. */
typedef struct cli_run {
    const struct cli_command *command;
    const cli_globals *globals;
    const void *opts;                /* the command's own options struct */
    const struct cli_output *output; /* of those that have columns; see listing.h */
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
    const struct cli_column *columns; /* of what it lists: gives it --json, --csv and so on */
    size_t n_columns;
    const char *excess; /* what is said of an argument too many, beside that; NULL: nothing */
    bool hidden;        /* for the command's own use */
    bool any_word;      /* its first argument is no name */
    bool local;         /* needs no server: the globals are as the command line gives them */
    bool probe;         /* ends as CLI_PROBE_MAP says, also where its options are wrong */
    int (*run)(const cli_run *run);
} cli_command;

/* The commands, and the words that several of them begin with (commands.c). */
typedef struct cli_family {
    const char *name, *brief;
    bool probes; /* all of its commands are */
} cli_family;
extern const cli_command *const cli_commands[];
extern const size_t cli_n_commands;
extern const cli_family cli_families[];
extern const size_t cli_n_families;
/* The command of that name; of `family` where that is not NULL. NULL: there is none. */
const cli_command *cli_find_command(const char *family, const char *word);
bool cli_is_family(const char *word);
/* Does a family of that name have probes? */
bool cli_has_probes(const char *family);
/* Is it one of the family? */
bool cli_in_family(const cli_command *c, const char *family);

/* Of all commands (globals.c). */
extern const cli_opt cli_global_opts[];
extern const size_t cli_n_global_opts;
/* Give what the command line left open its value: from the environment, the context, the defaults;
 * and the password its place. Returns an exit code. */
int cli_globals_complete(cli_globals *g);
void cli_globals_fini(cli_globals *g);

/* help.c */
void cli_help_all(const char *family);
void cli_help_command(const cli_command *c);

#define CLI_COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Reports (report.c). All go to stderr, one line each, with passwords masked. ------------- */

/* The word before each report: "segmenter" at first, then "segmenter produce" and so on. */
void cli_set_who(const char *who);

/* From now on each report is a JSON object: {"error":{"code","message","hint"}}, of a library error
 * with its status as the code, otherwise "usage" or "failure"; and {"note":{"message"}}. */
void cli_report_json(void);

/* Learn the password in `text`, if it holds a URL with one, so that no report shows it. */
void cli_hide_password(const char *text);
/* Write stars over it, in place. */
void cli_cover_password(char *text);
void cli_forget_passwords(void);
/* Copy a line of text for others than stderr, with what is known of passwords masked. */
void cli_mask_passwords(char *out, size_t cap, const char *text);

/* Print one line; cli_usage returns CLI_USAGE and cli_failure CLI_FAILURE. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The first usage error or failure that was reported, without the word before it; "": there was none. */
const char *cli_first_fault(void);

/* `text` as a report would show it: one line, no password, nothing that commands a terminal. */
void cli_report_text(char *out, size_t cap, const char *text);

/* Print a library error and return its exit code. */
int cli_error(const seg_error *err);
int cli_exit_code(seg_status status);

/* Flush and close stdout. `code`, or CLI_FAILURE with a report where the output did not arrive. */
int cli_close_stdout(int code);

/* Did a write to stdout fail? To be asked behind the writes, in their thread: it remembers why. */
bool cli_stdout_failed(void);

/* Write out what stdout holds. False, with a report, where that failed. */
bool cli_flush_stdout(void);

/* ---- Memory (memory.c). Out of memory ends the command with a report. ------------------------ */

/* What it ends with; CLI_FAILURE at first. */
void cli_set_fatal_code(int code);
_Noreturn void cli_no_memory(void);

void *cli_alloc(size_t count, size_t size); /* zeroed */
void *cli_grow(void *block, size_t count, size_t size);
char *cli_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- The client (session.c) ------------------------------------------------------------------ */

/* Connect as the global options say. With --verbose all that the library logs from INFO on is
 * reported; otherwise, where `warn`, its warnings once the connection stands: a command that runs
 * for long says why it waits. Returns an exit code. */
int cli_open(seg_client **out, const cli_globals *globals, bool warn);
/* As cli_open, but reports no error. `timeout`: for the connection and for each answer, ms; 0: the
 * library's. */
seg_status cli_try_open(seg_client **out, const cli_globals *globals, bool warn, int64_t timeout,
                        seg_error *err);

int64_t cli_now_us(void); /* monotonic */

#endif
