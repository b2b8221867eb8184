/* listing.h - rows of typed values, written as an aligned table, as JSON (one object a line) or as
 * CSV (RFC 4180, but for the line ends), with the columns and in the order that the user likes.
 *
 * A command that lists has a table of columns in its cli_command; the options --json, --csv,
 * --columns and --sort, and their help, come from that. Its run function puts the values of each row
 * from left to right:
 *
 *     cli_listing l;
 *     cli_listing_init(&l, run);
 *     for (...) {
 *         cli_put_text(&l, name);
 *         cli_put_count(&l, lag);       a row is complete with its last column
 *     }
 *     cli_listing_end(&l);
 *
 * A value that is not known is a "-" in a table, null in JSON, nothing in CSV: never a 0. */
#ifndef SEGMENTER_CLI_LISTING_H
#define SEGMENTER_CLI_LISTING_H
#include <jansson.h>

#include "cli.h"
#include "table.h"

/* What a column holds, and so how it is written and compared. */
typedef enum cli_column_type {
    CLI_COLUMN_TEXT,
    CLI_COLUMN_BYTES,  /* from a message: text, or base64 where it is no UTF-8 */
    CLI_COLUMN_COUNT,  /* a whole number */
    CLI_COLUMN_CHANGE, /* a whole number; in tables with its sign */
    CLI_COLUMN_REAL,
    CLI_COLUMN_RATE,  /* by the second; in tables with its sign, for what rises and falls */
    CLI_COLUMN_TIME,  /* ms since 1970; in tables as a date */
    CLI_COLUMN_SPAN,  /* ms; in tables in units */
    CLI_COLUMN_FLAG,  /* yes or no */
    CLI_COLUMN_RANGES /* numbers as text, "0-3,5"; in JSON a list of them */
} cli_column_type;

/* Which form of the output has it where nobody names columns. */
typedef enum cli_column_where {
    CLI_COLUMN_EVERYWHERE = 0,
    CLI_COLUMN_TABLE, /* only the table, which shows so what other columns tell programs */
    CLI_COLUMN_DATA   /* only JSON and CSV */
} cli_column_where;
/* Everywhere, but a terminal that is too narrow goes without; with the largest number first. */
#define CLI_SPARE(n) ((n) << 4)

typedef struct cli_column {
    const char *heading; /* in the table */
    const char *name;    /* in JSON and CSV, and what --columns and --sort take */
    cli_column_type type;
    int where;        /* a cli_column_where, or CLI_SPARE */
    uint16_t most;    /* bytes that a table shows of it, fewer on a narrow terminal; 0: all */
    const char *text; /* what it says, for the help */
} cli_column;

struct cli_cell;

typedef struct cli_listing {
    const cli_column *columns;
    size_t n_columns;
    const struct cli_output *output;
    const uint16_t *shown; /* the columns, in their order */
    size_t n_shown;
    struct cli_cell *row;  /* that is being put together */
    size_t at;             /* the column of its next value */
    struct cli_cell *rows; /* of a table, or of what is to be sorted */
    size_t n_rows, capacity;
    size_t written; /* lines of JSON or CSV */
    FILE *out;      /* stdout, unless changed after init */
    json_t *
        into; /* NULL, unless changed after init: a list that JSON's objects are added to instead */
} cli_listing;

/* The columns are the command's. */
void cli_listing_init(cli_listing *l, const cli_run *run);
/* Other columns than the command's: of its second table. */
void cli_listing_init_with(cli_listing *l, const struct cli_output *output,
                           const cli_column *columns, size_t n_columns);

void cli_put_text(cli_listing *l, const char *text); /* NULL: unknown */
void cli_put_bytes(cli_listing *l, seg_bytes bytes);
void cli_put_count(cli_listing *l, uint64_t value); /* UINT64_MAX: unknown */
void cli_put_signed(cli_listing *l, int64_t value); /* a CHANGE */
void cli_put_real(cli_listing *l, double value);    /* REAL, RATE; NAN: unknown */
void cli_put_time(cli_listing *l, int64_t ms);      /* 0 or less: unknown */
void cli_put_span(cli_listing *l, int64_t ms);      /* less than 0: unknown */
void cli_put_flag(cli_listing *l, bool value);
void cli_put_unknown(cli_listing *l);
/* Colours the value that was put last, in a table. */
void cli_put_colour(cli_listing *l, cli_colour colour);

/* "1h02m", "3m04s", "5.6s", "78ms", as a table shows a span. */
void cli_print_span(char *out, size_t cap, int64_t ms);

/* Print what was not printed yet, and free it all. */
void cli_listing_end(cli_listing *l);
/* Free it all: something went wrong, and half a table would look like a whole one. */
void cli_listing_drop(cli_listing *l);

/* Is each line printed as soon as it is complete? Otherwise all of them are kept in memory. */
bool cli_listing_flows(const cli_listing *l);

/* ---- The options ----------------------------------------------------------------------------- */

typedef struct cli_output {
    bool json, csv;
    const char *columns, *sort;
    const uint16_t *shown; /* what --columns says; NULL: the usual ones */
    size_t n_shown;
    size_t sort_by; /* SIZE_MAX: as they come */
    bool descending;
} cli_output;

extern const cli_opt cli_output_opts[];
extern const size_t cli_n_output_opts;

/* Look the columns up. False, with a report, where there is no such one. */
bool cli_output_check(cli_output *o, const cli_column *columns, size_t n_columns);
void cli_output_fini(cli_output *o);

/* What the help says of a column. The caller frees it. */
char *cli_column_help(const cli_column *column);
/* Print the columns, for the help. */
void cli_columns_help(FILE *out, const cli_column *columns, size_t n_columns);

#endif
