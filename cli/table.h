/* table.h - aligned columns for people, by libsmartcols: cells are collected row by row, and printed
 * once all widths are known. */
#ifndef SEGMENTER_CLI_TABLE_H
#define SEGMENTER_CLI_TABLE_H
#include <stddef.h>
#include <stdio.h>

typedef enum cli_colour { CLI_PLAIN = 0, CLI_GREEN, CLI_YELLOW, CLI_RED } cli_colour;

typedef struct cli_table {
    struct libscols_table *scols;
    struct libscols_line *line;
    size_t columns, at; /* `at`: the cell of the line that comes next */
} cli_table;

/* `headings` has one string for each letter of `align`: 'l' left, 'r' right. What is given is copied. */
void cli_table_init(cli_table *t, const char *align, const char *const *headings);
void cli_table_add(cli_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Give the cell that was added last a colour, where there are colours. */
void cli_table_colour(cli_table *t, cli_colour colour);
void cli_table_print(cli_table *t, FILE *out);
void cli_table_fini(cli_table *t);

/* Is this a terminal that shows colours, and does NO_COLOR not forbid them (https://no-color.org)? */
int cli_has_colours(FILE *out);

/* The columns of the terminal that stdout is; as good as no limit where it is none. */
size_t cli_table_width(void);

#endif
