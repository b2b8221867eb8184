/* check.h - what a check found: values, their thresholds, and what is wrong. Pure, but for printing. */
#ifndef SEGMENTER_CLI_CHECK_H
#define SEGMENTER_CLI_CHECK_H
#include "cli.h"

enum { CLI_CHECK_VALUES = 8, CLI_CHECK_FAULTS = 12, CLI_CHECK_TEXT = 600 };

typedef enum cli_check_unit {
    CLI_UNIT_COUNT,
    CLI_UNIT_MS,     /* the value and its thresholds */
    CLI_UNIT_US,     /* the value; the thresholds are ms */
    CLI_UNIT_PERCENT /* 0 to 100, or more */
} cli_check_unit;

typedef struct cli_check_value {
    const char *name; /* in JSON and as a label of performance data */
    const char *word; /* in sentences */
    cli_check_unit unit;
    double value;           /* NAN: unknown */
    int64_t warn, critical; /* a value above is a fault; -1: none */
    int64_t least;          /* a value below is critical; -1: none */
    const char *metric;     /* for Prometheus, and what it is; NULL: it is none */
    const char *help;
} cli_check_value;

typedef struct cli_check_fault {
    cli_probe status;
    char text[CLI_CHECK_TEXT];
} cli_check_fault;

typedef struct cli_check {
    const char *kind;                        /* "group" */
    const char *name_space, *stream, *group; /* NULL where it is about none */
    char about[CLI_CHECK_TEXT];              /* more about what was looked at; may be empty */
    cli_check_value values[CLI_CHECK_VALUES];
    size_t n_values;
    cli_check_fault faults[CLI_CHECK_FAULTS];
    size_t n_faults;
} cli_check;

/* Add a value, and a fault where it is past a threshold, or has one and is unknown. */
void cli_check_add(cli_check *c, cli_check_value value);
void cli_check_fail(cli_check *c, cli_probe status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The worst: critical, warning, unknown, ok. */
cli_probe cli_check_status(const cli_check *c);
cli_probe cli_check_judge(const cli_check_value *v);

#define CLI_CHECK_FORMATS "text|nagios|json|prometheus"
typedef enum cli_check_format {
    CLI_CHECK_AS_TEXT,
    CLI_CHECK_AS_NAGIOS,
    CLI_CHECK_AS_JSON,
    CLI_CHECK_AS_PROMETHEUS
} cli_check_format;

/* A monitor reads stdout: where a check ended before it looked, as something was wrong with how it was
 * called, say that there, in the format that the words of the command line ask for. In text, which people
 * read, stderr has said it. `run`: NULL where it is not known which check it was. */
void cli_check_say_unknown(const cli_run *run, int argc, char *const *words);

void cli_check_print(FILE *out, const cli_check *c, cli_check_format format);

#endif
