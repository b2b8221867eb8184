/* table.c - see table.h. */
#include "table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

/* All that can go wrong in these calls is memory. */
static void must(int ok) {
    if (!ok) {
        cli_no_memory();
    }
}

int cli_has_colours(FILE *out) {
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(none && *none) && term && *term && strcmp(term, "dumb") != 0 && isatty(fileno(out));
}

size_t cli_table_width(void) {
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return known && size.ws_col > 0 ? size.ws_col : SIZE_MAX;
}

void cli_table_init(cli_table *t, const char *align, const char *const *headings) {
    *t = (cli_table){.scols = scols_new_table(), .columns = strlen(align)};
    /* What fits is decided before; left to itself it would cut, and not say so. */
    must(t->scols && scols_table_set_column_separator(t->scols, "  ") == 0 &&
         scols_table_set_termforce(t->scols, SCOLS_TERMFORCE_NEVER) == 0);
    for (size_t i = 0; i < t->columns; i++) {
        int flags = align[i] == 'r' ? SCOLS_FL_RIGHT : 0;
        must(scols_table_new_column(t->scols, headings[i], 0, flags) != NULL);
    }
}

void cli_table_add(cli_table *t, const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (t->at == 0) {
        t->line = scols_table_new_line(t->scols, NULL);
    }
    must(t->line && scols_line_set_data(t->line, t->at, text) == 0);
    t->at = (t->at + 1) % t->columns;
}

void cli_table_colour(cli_table *t, cli_colour colour) {
    static const char *const names[] = {NULL, "green", "yellow", "red"};
    size_t last = (t->at + t->columns - 1) % t->columns;
    if (colour != CLI_PLAIN) {
        struct libscols_cell *cell = scols_line_get_cell(t->line, last);
        must(cell && scols_cell_set_color(cell, names[colour]) == 0);
    }
}

void cli_table_print(cli_table *t, FILE *out) {
    scols_table_enable_colors(t->scols, cli_has_colours(stdout)); /* where `out` goes in the end */
    scols_table_set_stream(t->scols, out);
    if (scols_table_get_nlines(t->scols) > 0) {
        scols_print_table(t->scols);
        return;
    }
    /* It prints nothing, not even the headings, where there are no lines. */
    for (size_t i = 0; i < t->columns; i++) {
        struct libscols_column *c = scols_table_get_column(t->scols, i);
        fprintf(out, "%s%s", i ? "  " : "", scols_column_get_name(c));
    }
    fputc('\n', out);
}

void cli_table_fini(cli_table *t) {
    scols_unref_table(t->scols);
    *t = (cli_table){0};
}
