/* output.c - the options of whatever lists: how, which columns, in which order. See listing.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "listing.h"

const cli_opt cli_output_opts[] = {
    {.name = "json",
     .type = CLI_FLAG,
     .at = offsetof(cli_output, json),
     .text = "print one JSON object a line"},
    {.name = "csv",
     .type = CLI_FLAG,
     .at = offsetof(cli_output, csv),
     .text = "print comma-separated values, with a line of names first"},
    {.name = "columns",
     .type = CLI_TEXT,
     .arg = "NAME,...",
     .at = offsetof(cli_output, columns),
     .text = "show these columns, in this order"},
    {.name = "sort",
     .type = CLI_TEXT,
     .arg = "[-]NAME",
     .at = offsetof(cli_output, sort),
     .text = "sort by this column, descending with a - before it"},
};
const size_t cli_n_output_opts = CLI_COUNT(cli_output_opts);

static bool is_called(const char *text, const char *name, size_t len) {
    return strlen(text) == len && strncasecmp(text, name, len) == 0;
}

/* By its name, or by its heading. */
static size_t find(const cli_column *columns, size_t n, const char *name, size_t len) {
    for (size_t i = 0; i < n; i++) {
        if (is_called(columns[i].name, name, len)) {
            return i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (is_called(columns[i].heading, name, len)) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool unknown(const char *option, const char *name, size_t len, const cli_column *columns,
                    size_t n) {
    char *all = cli_format("%s", columns[0].name);
    for (size_t i = 1; i < n; i++) {
        char *more = cli_format("%s, %s", all, columns[i].name);
        free(all);
        all = more;
    }
    cli_usage("%s: there is no column '%.*s'; there are %s", option, (int)len, name, all);
    free(all);
    return false;
}

static bool choose_columns(cli_output *o, const cli_column *columns, size_t n) {
    uint16_t *shown = cli_alloc(strlen(o->columns) + 1, sizeof *shown);
    o->shown = shown;
    for (const char *name = o->columns;; name++) {
        size_t len = strcspn(name, ",");
        size_t found = find(columns, n, name, len);
        if (found == SIZE_MAX) {
            return unknown("--columns", name, len, columns, n);
        }
        for (size_t i = 0; i < o->n_shown; i++) {
            if (o->shown[i] == found) {
                cli_usage("--columns: '%.*s' is given twice", (int)len, name);
                return false;
            }
        }
        shown[o->n_shown++] = (uint16_t)found;
        name += len;
        if (!*name) {
            return true;
        }
    }
}

bool cli_output_check(cli_output *o, const cli_column *columns, size_t n) {
    o->sort_by = SIZE_MAX;
    if (o->json && o->csv) {
        cli_usage("--json and --csv exclude each other");
        return false;
    }
    if (o->columns && !choose_columns(o, columns, n)) {
        return false;
    }
    if (o->sort) {
        o->descending = o->sort[0] == '-';
        const char *name = o->sort + o->descending;
        o->sort_by = find(columns, n, name, strlen(name));
        if (o->sort_by == SIZE_MAX) {
            return unknown("--sort", name, strlen(name), columns, n);
        }
    }
    return true;
}

void cli_output_fini(cli_output *o) {
    free((void *)(uintptr_t)o->shown);
    o->shown = NULL;
}

char *cli_column_help(const cli_column *column) {
    const char *unit = "", *where = "";
    if (column->type == CLI_COLUMN_TIME) {
        unit = "; in JSON and CSV ms since 1970";
    } else if (column->type == CLI_COLUMN_SPAN) {
        unit = "; in JSON and CSV ms";
    }
    if (column->where == CLI_COLUMN_DATA) {
        where = " (in tables only by --columns)";
    } else if (column->where == CLI_COLUMN_TABLE) {
        where = " (in JSON and CSV only by --columns)";
    }
    return cli_format("%s%s%s", column->text, unit, where);
}

void cli_columns_help(FILE *out, const cli_column *columns, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *text = cli_column_help(&columns[i]);
        fprintf(out, "  %-18s", columns[i].name);
        cli_wrap(out, text, 20);
        free(text);
    }
}
