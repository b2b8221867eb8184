/* options.h - command line options, parsed from one table that also prints their help.
 *
 * A table has a row for each option: its names, what it takes, its range and default, the
 * environment variable that stands in for it, and its text. cli_parse() writes each value into a
 * plain struct at the row's offset; nothing else in the command looks at argv. */
#ifndef SEGMENTER_CLI_OPTIONS_H
#define SEGMENTER_CLI_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum cli_opt_type {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char *, not empty */
    CLI_NAME,     /* const char *, the name of a namespace, stream, group or member */
    CLI_NUMBER,   /* int64_t, decimal */
    CLI_DURATION, /* int64_t, milliseconds */
    CLI_CHOICE,   /* int, the index in `arg`, which lists the words: "earliest|latest" */
    CLI_LIST      /* cli_list, one item each time it is given */
} cli_opt_type;

typedef struct cli_list {
    const char **items;
    size_t n;
} cli_list;

typedef struct cli_opt {
    const char *name; /* long name */
    char letter;      /* short name, or 0 */
    cli_opt_type type;
    const char *arg; /* what it takes, as the help shows it; NULL for a flag */
    size_t at;       /* offset of its value in the options struct */
    int64_t min, max;
    bool required;
    const char *fallback; /* the default, written as on the command line; NULL: none */
    const char *env;      /* environment variable that comes before the default */
    const char *text;
} cli_opt;

/* A table and the struct that its values go to. */
typedef struct cli_opt_set {
    const cli_opt *opts;
    size_t n;
    void *values;
} cli_opt_set;

/* A walk over the command line. The strings of `argv` are borrowed by what is parsed. */
typedef struct cli_parser {
    char **argv;
    int argc;
    int next;           /* the word that comes next */
    const char *bundle; /* the rest of a bundle of short options, or NULL */
    bool ended;         /* `--` was seen */
    /* The global options; once the command is known its own, and those of what lists. */
    cli_opt_set sets[3];
    size_t n_sets;
} cli_parser;

typedef enum cli_parsed {
    CLI_PARSED_WORD, /* a word that is no option */
    CLI_PARSED_END,  /* nothing is left */
    CLI_PARSED_FAULT /* reported */
} cli_parsed;

/* Mark all values as not set; `values` is zeroed before. */
void cli_opts_init(cli_opt_set *set);

/* Parse options up to the next word that is none. */
cli_parsed cli_parse_word(cli_parser *p, const char **word);

/* Give what the command line did not set its value: environment, then default. False, with a
 * report, where the environment's value is wrong or a required option is missing. */
bool cli_parse_rest(cli_opt_set *set);

/* Only the first half of it: no defaults, and nothing is required yet. */
bool cli_parse_environment(cli_opt_set *set);

/* Free what the set's values own. */
void cli_opts_fini(cli_opt_set *set);

/* Print the table as help. */
void cli_opts_help(FILE *out, const cli_opt *opts, size_t n);

/* " (1 to 4096; required)": what stands behind an option's text. The caller frees it. */
char *cli_opt_limits(const cli_opt *opt);

/* Print `text` from column `indent` on, broken between words; newlines are kept. */
void cli_wrap(FILE *out, const char *text, size_t indent);

/* A duration: digits and ms, s, m or h; without a unit seconds. False where it is anything else
 * or does not fit. (duration.c) */
bool cli_duration_parse(const char *text, int64_t *ms);
/* The longest unit that fits it exactly: "90s", "2m". */
void cli_duration_print(char out[24], int64_t ms);

/* A decimal number from 0 to INT64_MAX, digits only. (duration.c) */
bool cli_number_parse(const char *text, int64_t *value);

/* 1 to 200 of [A-Za-z0-9._-]. (duration.c) */
bool cli_name_ok(const char *text);

#endif
