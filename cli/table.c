/* table.c - see table.h. */
#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void add(cli_table *t, char *cell) {
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = cli_grow(t->cells, t->capacity, sizeof *t->cells);
    }
    t->cells[t->n++] = cell;
}

void cli_table_init(cli_table *t, const char *align, const char *const *headings) {
    *t = (cli_table){.align = align, .columns = strlen(align)};
    for (size_t i = 0; i < t->columns; i++) {
        add(t, cli_format("%s", headings[i]));
    }
}

void cli_table_add(cli_table *t, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add(t, cli_format("%s", text));
}

void cli_table_print(const cli_table *t, FILE *out) {
    int *widths = cli_alloc(t->columns, sizeof *widths);
    for (size_t i = 0; i < t->n; i++) {
        int width = (int)strlen(t->cells[i]);
        int *column = &widths[i % t->columns];
        *column = width > *column ? width : *column;
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t column = i % t->columns;
        bool last = column + 1 == t->columns;
        if (t->align[column] == 'r') {
            fprintf(out, "%*s", widths[column], t->cells[i]);
        } else if (last) {
            fputs(t->cells[i], out); /* no blanks at the end of a line */
        } else {
            fprintf(out, "%-*s", widths[column], t->cells[i]);
        }
        fputs(last ? "\n" : "  ", out);
    }
    free(widths);
}

void cli_table_fini(cli_table *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (cli_table){0};
}
