/* bench_report.c - figures: each the median of its runs, ours beside the baseline. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "json.h"
#include "table.h"

/* ---- Collecting ------------------------------------------------------------------------------ */

static void name_figure(char out[64], const bench *b, const char *name) {
    int64_t size = b->opts->size;
    size_t len = strlen(name);
    if (len == 0 || name[len - 1] != '_') {
        snprintf(out, 64, "%s", name);
    } else if (size % 1024 == 0) {
        snprintf(out, 64, "%s%lldKB", name, (long long)(size / 1024));
    } else {
        snprintf(out, 64, "%s%lldB", name, (long long)size);
    }
}

static bench_figure *find(bench_report *r, const bench *b, const char *name, const char *unit) {
    char full[64];
    name_figure(full, b, name);
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->figures[i].name, full) == 0) {
            return &r->figures[i];
        }
    }
    r->figures = cli_grow(r->figures, r->n + 1, sizeof *r->figures);
    bench_figure *f = &r->figures[r->n++];
    *f = (bench_figure){.unit = unit};
    memcpy(f->name, full, sizeof full);
    return f;
}

void bench_report_ours(bench_report *r, const bench *b, const char *name, const char *unit,
                       bench_sample sample) {
    bench_figure *f = find(r, b, name, unit);
    f->ours = cli_grow(f->ours, f->n_ours + 1, sizeof *f->ours);
    f->ours[f->n_ours++] = sample;
}

void bench_report_baseline(bench_report *r, const bench *b, const char *name, const char *unit,
                           bench_sample sample) {
    bench_figure *f = find(r, b, name, unit);
    f->baseline = cli_grow(f->baseline, f->n_baseline + 1, sizeof *f->baseline);
    f->baseline[f->n_baseline++] = sample;
}

bench_sample bench_rate(const bench_usage *before, const bench_usage *after, int64_t elapsed_ns,
                        uint64_t n) {
    double count = (double)n;
    return (bench_sample){.value = count / ((double)elapsed_ns / 1e9),
                          .server_us = (double)(after->server_us - before->server_us) / count,
                          .client_us = (double)(after->client_us - before->client_us) / count};
}

void bench_report_latency(bench_report *r, const bench *b, bench_add_fn *add, const char *name,
                          const cli_histogram *h, const bench_sample *spent) {
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    for (size_t i = 0; i < CLI_COUNT(points); i++) {
        char full[48];
        snprintf(full, sizeof full, "%s_%s_", name, points[i].name);
        bool tell = spent && i == 0;
        add(r, b, full, "us",
            (bench_sample){.value = cli_histogram_at(h, points[i].part) / 1e3,
                           .server_us = tell ? spent->server_us : NAN,
                           .client_us = tell ? spent->client_us : NAN});
    }
}

void bench_report_fini(bench_report *r) {
    for (size_t i = 0; i < r->n; i++) {
        free(r->figures[i].ours);
        free(r->figures[i].baseline);
    }
    free(r->figures);
    *r = (bench_report){0};
}

/* ---- Medians --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the member at `offset` of each sample; NAN where there are none. */
static double median(const bench_sample *samples, size_t n, size_t offset) {
    double *values = cli_alloc(n, sizeof *values), result = NAN;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, (const char *)&samples[i] + offset, sizeof value);
        if (!isnan(value)) {
            values[kept++] = value;
        }
    }
    if (kept > 0) {
        qsort(values, kept, sizeof *values, compare);
        result = (values[(kept - 1) / 2] + values[kept / 2]) / 2;
    }
    free(values);
    return result;
}

static bench_sample medians(const bench_sample *samples, size_t n) {
    return (bench_sample){.value = median(samples, n, offsetof(bench_sample, value)),
                          .server_us = median(samples, n, offsetof(bench_sample, server_us)),
                          .client_us = median(samples, n, offsetof(bench_sample, client_us))};
}

/* ---- Printing -------------------------------------------------------------------------------- */

static void add_real(json_t *object, const char *name, double value) {
    if (!isfinite(value)) {
        return;
    }
    if (fabs(value) >= 10000) {
        cli_json_add(object, name, json_integer((json_int_t)llround(value)));
    } else {
        cli_json_real(object, name, value);
    }
}

static void print_json(const bench_figure *f, const bench *b) {
    bench_sample ours = medians(f->ours, f->n_ours);
    bench_sample baseline = medians(f->baseline, f->n_baseline);
    json_t *object = cli_json_object();
    cli_json_text(object, "figure", f->name);
    cli_json_text(object, "unit", f->unit);
    add_real(object, "ours", ours.value);
    add_real(object, "baseline", baseline.value);
    add_real(object, "ratio", ours.value / baseline.value);
    cli_json_number(object, "runs", (uint64_t)b->opts->runs);
    add_real(object, "server_us", ours.server_us);
    add_real(object, "client_us", ours.client_us);
    add_real(object, "baseline_server_us", baseline.server_us);
    add_real(object, "baseline_client_us", baseline.client_us);
    cli_json_number(object, "partitions", (uint64_t)b->opts->partitions);
    if (b->opts->clients > 0) {
        cli_json_number(object, "clients", (uint64_t)b->opts->clients);
    }
    cli_json_text(object, "codec", seg_codec_name((seg_codec)b->opts->codec));
    cli_json_print(stdout, object);
}

/* Four digits that mean something; "-" where there is no value. */
static void add_cell(cli_table *t, double value, const char *after) {
    if (!isfinite(value)) {
        cli_table_add(t, "-");
    } else if (fabs(value) >= 1000) {
        cli_table_add(t, "%.0f%s", value, after);
    } else {
        double size = fabs(value);
        int digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
        cli_table_add(t, "%.*f%s", digits, value, after);
    }
}

/* The columns of ours and the baseline; what no figure has is left out. */
static void print_table(const bench_report *r, bool spent) {
    static const char *const headings[] = {"FIGURE",   "UNIT",          "OURS",
                                           "BASELINE", "RATIO",         "SERVER US/MSG",
                                           "BASELINE", "CLIENT US/MSG", "BASELINE"};
    cli_table t;
    cli_table_init(&t, spent ? "llrrrrrrr" : "llrrr", headings);
    for (size_t i = 0; i < r->n; i++) {
        const bench_figure *f = &r->figures[i];
        bench_sample ours = medians(f->ours, f->n_ours);
        bench_sample baseline = medians(f->baseline, f->n_baseline);
        cli_table_add(&t, "%s", f->name);
        cli_table_add(&t, "%s", f->unit);
        add_cell(&t, ours.value, "");
        add_cell(&t, baseline.value, "");
        add_cell(&t, ours.value / baseline.value, "x");
        if (spent) {
            add_cell(&t, ours.server_us, "");
            add_cell(&t, baseline.server_us, "");
            add_cell(&t, ours.client_us, "");
            add_cell(&t, baseline.client_us, "");
        }
    }
    cli_table_print(&t, stdout);
    cli_table_fini(&t);
}

static bool tells_spent(const bench_report *r) {
    for (size_t i = 0; i < r->n; i++) {
        if (!isnan(medians(r->figures[i].ours, r->figures[i].n_ours).server_us)) {
            return true;
        }
    }
    return false;
}

/* What was measured: all that the mode has an option for. */
static void print_setting(const bench *b, const char *mode) {
    const bench_opts *o = b->opts;
    const struct {
        int64_t value;
        const char *one, *many;
    } parts[] = {{o->messages, "message", "messages"},
                 {o->rate, "a second", "a second"},
                 {o->size, "byte", "bytes each"},
                 {o->keys, "key", "keys"},
                 {o->partitions, "partition", "partitions"},
                 {o->clients, "client", "clients"},
                 {o->runs, "run", "runs"}};
    printf("%s: ", mode);
    for (size_t i = 0; i < CLI_COUNT(parts); i++) {
        if (parts[i].value > 0) {
            printf("%" PRId64 " %s, ", parts[i].value,
                   parts[i].value == 1 ? parts[i].one : parts[i].many);
        }
    }
    printf("%s%s\n", seg_client_server(b->client),
           b->server.pid > 0 ? " (private, on a unix socket)" : "");
}

void bench_report_print(const bench_report *r, const bench *b, const char *mode) {
    if (b->opts->json) {
        for (size_t i = 0; i < r->n; i++) {
            print_json(&r->figures[i], b);
        }
        return;
    }
    print_setting(b, mode);
    print_table(r, tells_spent(r));
}
