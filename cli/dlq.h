/* dlq.h - what the commands of segmenter dlq share: which letters are meant, and how one is shown. */
#ifndef SEGMENTER_CLI_DLQ_H
#define SEGMENTER_CLI_DLQ_H
#include <jansson.h>

#include "cli.h"

typedef struct cli_dlq_opts {
    const char *group;
    int64_t count; /* -1: not given */
    const char *match;
    const char *reason;
    bool json;
    const char *format; /* show */
    bool all;           /* replay, drop */
    bool dry_run;
    const char *to; /* replay */
    int64_t rate;
    bool yes; /* drop */
} cli_dlq_opts;

/* Rows of the tables of options. */
#define CLI_DLQ_GROUP                                                                              \
    {                                                                                              \
        .name = "group", .letter = 'g', .type = CLI_NAME, .arg = "GROUP",                          \
        .at = offsetof(cli_dlq_opts, group), .required = true,                                     \
        .text = "the group that could not handle them"                                             \
    }
#define CLI_DLQ_JSON                                                                               \
    {                                                                                              \
        .name = "json", .type = CLI_FLAG, .at = offsetof(cli_dlq_opts, json),                      \
        .text = "print one JSON object a line"                                                     \
    }
#define CLI_DLQ_FILTERS                                                                            \
    {.name = "match",                                                                              \
     .type = CLI_TEXT,                                                                             \
     .arg = "KEY",                                                                                 \
     .at = offsetof(cli_dlq_opts, match),                                                          \
     .text = "only those with exactly this key"},                                                  \
        {.name = "reason",                                                                         \
         .type = CLI_TEXT,                                                                         \
         .arg = "TEXT",                                                                            \
         .at = offsetof(cli_dlq_opts, reason),                                                     \
         .text = "only those that have TEXT in their reason or error"},                            \
    {                                                                                              \
        .name = "count", .letter = 'n', .type = CLI_NUMBER, .arg = "COUNT",                        \
        .at = offsetof(cli_dlq_opts, count), .min = 1, .max = INT64_MAX,                           \
        .text = "only the first COUNT"                                                             \
    }

/* One letter that was named on the command line: "0:12", or "0:2-12" where the era is not 1. */
typedef struct cli_letter_name {
    seg_position at;
    const char *text;
    bool found;
} cli_letter_name;

/* Which letters are meant: those named, or those that match, at most `limit`. */
typedef struct cli_selection {
    cli_letter_name *names; /* sorted */
    size_t n_names, n_found;
    const char *key, *text;
    uint64_t limit;
} cli_selection;

/* False with a report. `names` are the arguments behind the stream. */
bool cli_selection_init(cli_selection *s, const cli_run *run);
void cli_selection_fini(cli_selection *s);

/* Report the names that were not found. True where there are any. */
bool cli_selection_misses(const cli_selection *s);

/* Call `fn` for each letter that is meant, in order, until it returns false. `*seen`: letters that
 * were looked at, `*taken`: those meant. Returns an exit code. */
typedef bool cli_letter_fn(const seg_letter *letter, void *arg);
int cli_dlq_walk(seg_dlq *q, cli_selection *s, cli_letter_fn *fn, void *arg, uint64_t *seen,
                 uint64_t *taken);

/* Open the dead letters of the stream in args[0]. `*out` is NULL, with CLI_OK, where there never
 * were any. */
int cli_dlq_open(seg_dlq **out, seg_client *client, const cli_run *run);

/* Says that there is nothing; returns CLI_NOT_FOUND. */
int cli_dlq_nothing(const cli_run *run);

enum { CLI_LETTER_ID_MAX = 64 };
void cli_letter_id(char out[CLI_LETTER_ID_MAX], const seg_position *at);

/* What is known of a letter but for its message. */
json_t *cli_letter_json(const seg_letter *letter, const cli_run *run);

#endif
