/* table.h - aligned columns: cells are collected row by row, printed once all widths are known. */
#ifndef SEGMENTER_CLI_TABLE_H
#define SEGMENTER_CLI_TABLE_H
#include <stddef.h>
#include <stdio.h>

typedef struct cli_table {
    const char *align; /* 'l' or 'r' for each column */
    size_t columns;
    char **cells;
    size_t n, capacity;
} cli_table;

/* `headings` has one string for each letter of `align`; both are borrowed. */
void cli_table_init(cli_table *t, const char *align, const char *const *headings);
void cli_table_add(cli_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_table_print(const cli_table *t, FILE *out);
void cli_table_fini(cli_table *t);

#endif
