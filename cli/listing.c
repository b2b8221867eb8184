/* listing.c - see listing.h. */
#include "listing.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "fit.h"
#include "json.h"
#include "text.h"

enum {
    CELL_SHOWN = 4000, /* bytes of one in a table */
    CUT_TO = 12        /* columns that are left of a text on a narrow terminal, at least */
};

typedef struct cli_cell {
    bool known;
    cli_colour colour;
    union {
        char *text; /* TEXT, BYTES */
        int64_t number;
        double real;
    } as;
    size_t len; /* of text, which may hold NULs */
} cell;

static bool is_text(cli_column_type type) {
    return type == CLI_COLUMN_TEXT || type == CLI_COLUMN_BYTES || type == CLI_COLUMN_RANGES;
}

static void cell_fini(cell *c, cli_column_type type) {
    if (is_text(type)) {
        free(c->as.text);
    }
    *c = (cell){0};
}

/* ---- Writing one cell ------------------------------------------------------------------------ */

/* Three digits are enough to see how things are. */
void cli_print_span(char *out, size_t cap, int64_t ms) {
    int64_t s = ms / 1000;
    if (ms < 1000) {
        snprintf(out, cap, "%" PRId64 "ms", ms);
    } else if (s < 10) {
        snprintf(out, cap, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
    } else if (s < 60) {
        snprintf(out, cap, "%" PRId64 "s", s);
    } else if (s < 3600) {
        snprintf(out, cap, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(out, cap, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, cap, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
    }
}

static void print_rate(char *out, size_t cap, double rate) {
    if (fabs(rate) < 0.05) {
        snprintf(out, cap, "0/s");
    } else {
        snprintf(out, cap, "%+.*f/s", fabs(rate) < 10 ? 1 : 0, rate);
    }
}

static bool is_real(cli_column_type type) {
    return type == CLI_COLUMN_REAL || type == CLI_COLUMN_RATE;
}

static void print_text(char *out, const cell *c, size_t most) {
    cli_text_clean(out, most + 1, (seg_bytes){c->as.text, c->len});
    if (c->len == 0) {
        strcpy(out, "-");
    } else if (strlen(out) < c->len) {
        strcat(out, "...");
    }
}

/* As a table shows it. */
static void print_cell(char *out, size_t cap, const cell *c, const cli_column *column) {
    if (!c->known) {
        snprintf(out, cap, "-");
        return;
    }
    switch (column->type) {
    case CLI_COLUMN_TEXT:
    case CLI_COLUMN_BYTES:
    case CLI_COLUMN_RANGES:
        print_text(out, c, column->most ? column->most : CELL_SHOWN);
        break;
    case CLI_COLUMN_COUNT:
        snprintf(out, cap, "%" PRId64, c->as.number);
        break;
    case CLI_COLUMN_CHANGE:
        snprintf(out, cap, c->as.number ? "%+" PRId64 : "%" PRId64, c->as.number);
        break;
    case CLI_COLUMN_REAL:
        snprintf(out, cap, "%.*f", fabs(c->as.real) < 10 ? 2 : 0, c->as.real);
        break;
    case CLI_COLUMN_RATE:
        print_rate(out, cap, c->as.real);
        break;
    case CLI_COLUMN_TIME:
        cli_text_time(out, c->as.number);
        break;
    case CLI_COLUMN_SPAN:
        cli_print_span(out, cap, c->as.number);
        break;
    case CLI_COLUMN_FLAG:
        snprintf(out, cap, "%s", c->as.number ? "yes" : "no");
        break;
    }
}

/* "0-3,5" */
static json_t *json_ranges(const char *text) {
    json_t *list = json_array();
    while (*text) {
        char *end;
        long long first = strtoll(text, &end, 10), last = first;
        if (*end == '-') {
            last = strtoll(end + 1, &end, 10);
        }
        for (; first <= last; first++) {
            json_array_append_new(list, json_integer(first));
        }
        text = end + (*end == ',');
    }
    return list;
}

static void add_json(json_t *object, const cli_column *column, const cell *c) {
    if (!c->known) {
        cli_json_add(object, column->name, json_null());
        return;
    }
    switch (column->type) {
    case CLI_COLUMN_TEXT:
        cli_json_text(object, column->name, c->as.text);
        break;
    case CLI_COLUMN_BYTES:
        cli_json_bytes(object, column->name, (seg_bytes){c->as.text, c->len});
        break;
    case CLI_COLUMN_RANGES:
        cli_json_add(object, column->name, json_ranges(c->as.text));
        break;
    case CLI_COLUMN_REAL:
    case CLI_COLUMN_RATE:
        cli_json_real(object, column->name, c->as.real);
        break;
    case CLI_COLUMN_FLAG:
        cli_json_add(object, column->name, json_boolean(c->as.number != 0));
        break;
    case CLI_COLUMN_COUNT:
    case CLI_COLUMN_CHANGE:
    case CLI_COLUMN_TIME:
    case CLI_COLUMN_SPAN:
        cli_json_add(object, column->name, json_integer(c->as.number));
        break;
    }
}

static void write_quoted(FILE *out, const char *text, size_t len) {
    bool plain = true;
    for (size_t i = 0; i < len && plain; i++) {
        plain = text[i] && !strchr(",\"\r\n", text[i]);
    }
    if (plain) {
        fwrite(text, 1, len, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') {
            fputc('"', out);
        }
        fputc(text[i], out);
    }
    fputc('"', out);
}

static void write_csv_cell(FILE *out, const cli_column *column, const cell *c) {
    if (!c->known) {
        return;
    }
    if (is_text(column->type)) {
        seg_bytes bytes = {c->as.text, c->len};
        json_t *text = json_stringn(c->len ? c->as.text : "", c->len);
        if (text) {
            write_quoted(out, c->as.text, c->len);
            json_decref(text);
        } else {
            char *encoded = cli_base64_encode(bytes);
            fprintf(out, "base64:%s", encoded);
            free(encoded);
        }
    } else if (column->type == CLI_COLUMN_FLAG) {
        fputs(c->as.number ? "true" : "false", out);
    } else if (is_real(column->type)) {
        fprintf(out, "%.6g", c->as.real);
    } else {
        fprintf(out, "%" PRId64, c->as.number);
    }
}

/* ---- Writing lines --------------------------------------------------------------------------- */

static void write_csv_heading(const cli_listing *l) {
    for (size_t i = 0; i < l->n_shown; i++) {
        fprintf(l->out, "%s%s", i ? "," : "", l->columns[l->shown[i]].name);
    }
    fputc('\n', l->out);
}

/* A row of JSON or CSV. */
static void write_row(cli_listing *l, const cell *row) {
    if (l->output->json) {
        json_t *object = l->into ? json_object() : cli_json_object();
        for (size_t i = 0; i < l->n_shown; i++) {
            add_json(object, &l->columns[l->shown[i]], &row[l->shown[i]]);
        }
        if (l->into) {
            json_array_append_new(l->into, object);
        } else {
            cli_json_print(l->out, object);
        }
    } else {
        if (l->written == 0) {
            write_csv_heading(l);
        }
        for (size_t i = 0; i < l->n_shown; i++) {
            if (i) {
                fputc(',', l->out);
            }
            write_csv_cell(l->out, &l->columns[l->shown[i]], &row[l->shown[i]]);
        }
        fputc('\n', l->out);
    }
    l->written++;
}

static bool is_right(const cli_column *column) {
    switch (column->type) {
    case CLI_COLUMN_COUNT:
    case CLI_COLUMN_CHANGE:
    case CLI_COLUMN_REAL:
    case CLI_COLUMN_RATE:
    case CLI_COLUMN_SPAN:
        return true;
    default:
        return false;
    }
}

/* What of the table is shown, and how wide. */
static cli_fit_column *fit(const cli_listing *l) {
    cli_fit_column *columns = cli_alloc(l->n_shown, sizeof *columns);
    char text[CELL_SHOWN + 4];
    for (size_t i = 0; i < l->n_shown; i++) {
        const cli_column *column = &l->columns[l->shown[i]];
        size_t heading = cli_fit_width(column->heading);
        size_t least = heading > CUT_TO ? heading : CUT_TO;
        columns[i] = (cli_fit_column){.least = column->most > 0 ? least : 0,
                                      .spare = l->output->shown ? 0 : column->where >> 4,
                                      .width = heading};
        for (size_t r = 0; r < l->n_rows; r++) {
            print_cell(text, sizeof text, &l->rows[r * l->n_columns + l->shown[i]], column);
            size_t width = cli_fit_width(text);
            columns[i].width = width > columns[i].width ? width : columns[i].width;
        }
    }
    cli_fit(columns, l->n_shown, cli_table_width());
    return columns;
}

static void write_cells(const cli_listing *l, cli_table *table, const cli_fit_column *columns,
                        const cell *row) {
    for (size_t i = 0; i < l->n_shown; i++) {
        const cell *c = &row[l->shown[i]];
        if (!columns[i].gone) {
            char text[CELL_SHOWN + 4];
            print_cell(text, sizeof text, c, &l->columns[l->shown[i]]);
            cli_fit_cut(text, sizeof text, columns[i].width);
            cli_table_add(table, "%s", text);
            cli_table_colour(table, c->colour);
        }
    }
}

static void write_table(const cli_listing *l) {
    const char **headings = cli_alloc(l->n_shown, sizeof *headings);
    char *align = cli_alloc(l->n_shown + 1, 1);
    cli_fit_column *columns = fit(l);
    size_t n = 0;
    for (size_t i = 0; i < l->n_shown; i++) {
        if (!columns[i].gone) {
            headings[n] = l->columns[l->shown[i]].heading;
            align[n++] = is_right(&l->columns[l->shown[i]]) ? 'r' : 'l';
        }
    }
    cli_table table;
    cli_table_init(&table, align, headings);
    for (size_t r = 0; r < l->n_rows; r++) {
        write_cells(l, &table, columns, &l->rows[r * l->n_columns]);
    }
    cli_table_print(&table, l->out);
    cli_table_fini(&table);
    free(columns);
    free(headings);
    free(align);
}

/* ---- Sorting --------------------------------------------------------------------------------- */

static int compare(const cell *a, const cell *b, cli_column_type type) {
    if (!a->known || !b->known) {
        return a->known - b->known; /* what is not known comes first */
    }
    if (is_text(type)) {
        size_t len = a->len < b->len ? a->len : b->len;
        int order = len ? memcmp(a->as.text, b->as.text, len) : 0;
        return order ? order : (a->len > b->len) - (a->len < b->len);
    }
    if (is_real(type)) {
        return (a->as.real > b->as.real) - (a->as.real < b->as.real);
    }
    return (a->as.number > b->as.number) - (a->as.number < b->as.number);
}

typedef struct sorted {
    const cli_listing *listing;
    size_t row;
} sorted;

/* Of equals the first stays the first. */
static int by_column(const void *left, const void *right) {
    const sorted *a = left, *b = right;
    const cli_listing *l = a->listing;
    size_t column = l->output->sort_by;
    int order = compare(&l->rows[a->row * l->n_columns + column],
                        &l->rows[b->row * l->n_columns + column], l->columns[column].type);
    if (order) {
        return l->output->descending ? -order : order;
    }
    return a->row < b->row ? -1 : 1;
}

static void sort(cli_listing *l) {
    if (l->output->sort_by == SIZE_MAX || l->n_rows < 2) {
        return;
    }
    sorted *order = cli_alloc(l->n_rows, sizeof *order);
    for (size_t i = 0; i < l->n_rows; i++) {
        order[i] = (sorted){l, i};
    }
    qsort(order, l->n_rows, sizeof *order, by_column);
    cell *rows = cli_alloc(l->n_rows * l->n_columns, sizeof *rows);
    for (size_t i = 0; i < l->n_rows; i++) {
        memcpy(rows + i * l->n_columns, l->rows + order[i].row * l->n_columns,
               l->n_columns * sizeof *rows);
    }
    free(l->rows);
    l->rows = rows;
    free(order);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* What is shown where nobody says. */
static void show_usual(cli_listing *l) {
    bool data = l->output->json || l->output->csv;
    uint16_t *shown = cli_alloc(l->n_columns, sizeof *shown);
    for (size_t i = 0; i < l->n_columns; i++) {
        if (l->columns[i].where != (data ? CLI_COLUMN_TABLE : CLI_COLUMN_DATA)) {
            shown[l->n_shown++] = (uint16_t)i;
        }
    }
    l->shown = shown;
}

void cli_listing_init_with(cli_listing *l, const cli_output *output, const cli_column *columns,
                           size_t n_columns) {
    *l = (cli_listing){.columns = columns, .n_columns = n_columns, .output = output, .out = stdout};
    l->row = cli_alloc(n_columns, sizeof *l->row);
    if (output->shown) {
        l->shown = output->shown;
        l->n_shown = output->n_shown;
    } else {
        show_usual(l);
    }
}

void cli_listing_init(cli_listing *l, const cli_run *run) {
    cli_listing_init_with(l, run->output, run->command->columns, run->command->n_columns);
}

bool cli_listing_flows(const cli_listing *l) {
    return (l->output->json || l->output->csv) && l->output->sort_by == SIZE_MAX;
}

static void free_row(const cli_listing *l, cell *row) {
    for (size_t i = 0; i < l->n_columns; i++) {
        cell_fini(&row[i], l->columns[i].type);
    }
}

static void keep_row(cli_listing *l) {
    if (l->n_rows == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->rows = cli_grow(l->rows, l->capacity * l->n_columns, sizeof *l->rows);
    }
    memcpy(l->rows + l->n_rows * l->n_columns, l->row, l->n_columns * sizeof *l->row);
    memset(l->row, 0, l->n_columns * sizeof *l->row);
    l->n_rows++;
}

/* The value of the next column: that is what the last row's end waits for, so that its last value can
 * still get a colour. */
static cell *next_cell(cli_listing *l) {
    if (l->at == l->n_columns) {
        if (cli_listing_flows(l)) {
            write_row(l, l->row);
            free_row(l, l->row);
        } else {
            keep_row(l);
        }
        l->at = 0;
    }
    return &l->row[l->at++];
}

static void put_number(cli_listing *l, int64_t value, bool known) {
    cell *c = next_cell(l);
    c->known = known;
    c->as.number = value;
}

void cli_put_bytes(cli_listing *l, seg_bytes bytes) {
    cell *c = next_cell(l);
    c->known = true;
    c->len = bytes.len;
    c->as.text = cli_alloc(bytes.len + 1, 1);
    if (bytes.len) {
        memcpy(c->as.text, bytes.data, bytes.len);
    }
}

void cli_put_text(cli_listing *l, const char *text) {
    if (text) {
        cli_put_bytes(l, (seg_bytes){text, strlen(text)});
    } else {
        cli_put_unknown(l);
    }
}

void cli_put_count(cli_listing *l, uint64_t value) {
    put_number(l, (int64_t)value, value != UINT64_MAX);
}

void cli_put_signed(cli_listing *l, int64_t value) {
    put_number(l, value, true);
}

void cli_put_real(cli_listing *l, double value) {
    cell *c = next_cell(l);
    c->known = isfinite(value);
    c->as.real = value;
}

void cli_put_time(cli_listing *l, int64_t ms) {
    put_number(l, ms, ms > 0);
}

void cli_put_span(cli_listing *l, int64_t ms) {
    put_number(l, ms, ms >= 0);
}

void cli_put_flag(cli_listing *l, bool value) {
    put_number(l, value, true);
}

void cli_put_unknown(cli_listing *l) {
    next_cell(l)->known = false;
}

void cli_put_colour(cli_listing *l, cli_colour colour) {
    l->row[l->at - 1].colour = colour;
}

void cli_listing_drop(cli_listing *l) {
    for (size_t i = 0; i < l->n_rows; i++) {
        free_row(l, l->rows + i * l->n_columns);
    }
    free_row(l, l->row);
    if (l->shown != l->output->shown) {
        free((void *)(uintptr_t)l->shown);
    }
    free(l->rows);
    free(l->row);
    *l = (cli_listing){0};
}

void cli_listing_end(cli_listing *l) {
    if (l->at == l->n_columns) {
        next_cell(l);
    }
    sort(l);
    bool data = l->output->json || l->output->csv;
    for (size_t i = 0; data && i < l->n_rows; i++) {
        write_row(l, l->rows + i * l->n_columns);
    }
    if (l->output->csv && l->written == 0) {
        write_csv_heading(l);
    }
    if (!data) {
        write_table(l);
    }
    cli_listing_drop(l);
}
