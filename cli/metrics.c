/* metrics.c - see metrics.h. */
#include "metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "text.h"

/* OpenMetrics names a family without the suffix that its samples have, and knows one type more. */
#define SUFFIX_GAUGE   ""
#define SUFFIX_COUNTER "_total"
#define SUFFIX_INFO    "_info"
#define PLAIN_GAUGE    "gauge"
#define PLAIN_COUNTER  "counter"
#define PLAIN_INFO     "gauge"
#define OPEN_GAUGE     "gauge"
#define OPEN_COUNTER   "counter"
#define OPEN_INFO      "info"

#define HEAD(name, type, text) "# HELP " name " " text "\n# TYPE " name " " type "\n"

static const char *const heads[][CLI_N_METRICS] = {
    {
#define X(id, name, type, labels, text) HEAD(name SUFFIX_##type, PLAIN_##type, text),
        CLI_METRIC_MAP(X)
#undef X
    },
    {
#define X(id, name, type, labels, text) HEAD(name, OPEN_##type, text),
        CLI_METRIC_MAP(X)
#undef X
    },
};

const cli_metric_row cli_metric_rows[CLI_N_METRICS] = {
#define X(id, name, type, labels, text) {name SUFFIX_##type, PLAIN_##type, labels, text},
    CLI_METRIC_MAP(X)
#undef X
};

const char *cli_metrics_content_type(cli_metrics_format format) {
    return format == CLI_METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* Whoever names OpenMetrics at all understands it, and prefers it: so do all that exist. But a weight
 * of 0 refuses it. */
cli_metrics_format cli_metrics_accepted(const char *accept) {
    static const char type[] = "application/openmetrics-text";
    const char *at = accept ? strcasestr(accept, type) : NULL;
    if (!at) {
        return CLI_METRICS_TEXT;
    }
    at += sizeof type - 1;
    size_t len = strcspn(at, ",");
    const char *weight = memmem(at, len, "q=0", 3);
    bool refused = weight && strspn(weight + 2, "0.") >= strcspn(weight + 2, ",; ");
    return refused ? CLI_METRICS_TEXT : CLI_METRICS_OPENMETRICS;
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static void append(cli_labels *l, const char *text) {
    size_t len = strlen(text);
    if (l->len + len < sizeof l->text) {
        memcpy(l->text + l->len, text, len + 1);
        l->len += len;
    }
}

void cli_labels_add(cli_labels *l, const char *name, const char *value) {
    char clean[512];
    cli_text_clean(clean, sizeof clean, (seg_bytes){value, strlen(value)});
    /* The longest that it can become, with room for the end: half a label is no label. */
    if (l->len + strlen(name) + 2 * strlen(clean) + 8 > sizeof l->text) {
        return;
    }
    l->text[--l->len] = '\0'; /* the brace */
    append(l, l->len > 1 ? "," : "");
    append(l, name);
    append(l, "=\"");
    for (const char *from = clean; *from; from++) {
        char one[3] = {'\\', *from, '\0'};
        append(l, *from == '\\' || *from == '"' ? one : one + 1);
    }
    append(l, "\"}");
}

void cli_labels_init(cli_labels *l, const char *name_space) {
    strcpy(l->text, "{}");
    l->len = 2;
    cli_labels_add(l, "namespace", name_space);
}

/* ---- Sets ------------------------------------------------------------------------------------ */

static FILE *must(FILE *file) {
    if (!file) {
        fputs("segmenter: out of memory\n", stderr);
        exit(CLI_FAILURE);
    }
    return file;
}

cli_metrics *cli_metrics_new(void) {
    cli_metrics *m = cli_alloc(1, sizeof *m);
    m->refs = 1;
    return m;
}

static FILE *piece(cli_metrics *m, cli_metric which) {
    struct cli_metrics_piece *p = &m->pieces[which];
    if (!p->file) {
        p->file = must(open_memstream(&p->text, &p->len));
    }
    return p->file;
}

void cli_metrics_count(cli_metrics *m, cli_metric which, const cli_labels *l, uint64_t value) {
    if (value != SEG_UNKNOWN) {
        fprintf(piece(m, which), "%s%s %" PRIu64 "\n", cli_metric_rows[which].name, l->text, value);
    }
}

void cli_metrics_real(cli_metrics *m, cli_metric which, const cli_labels *l, double value) {
    if (!isnan(value)) {
        fprintf(piece(m, which), "%s%s %.9g\n", cli_metric_rows[which].name, l->text, value);
    }
}

/* A stream in memory fails only where there is no memory; half a text is worse than none. */
void cli_metrics_seal(cli_metrics *m) {
    for (size_t i = 0; i < CLI_N_METRICS; i++) {
        FILE *file = m->pieces[i].file;
        m->pieces[i].file = NULL;
        if (file && (ferror(file) != 0) + (fclose(file) != 0) > 0) {
            must(NULL);
        }
    }
}

size_t cli_metrics_parts(const cli_metrics *m, cli_metrics_format format,
                         struct iovec parts[CLI_METRICS_PARTS]) {
    static char end[] = "# EOF\n";
    size_t n = 0;
    for (size_t i = 0; i < CLI_N_METRICS; i++) {
        const struct cli_metrics_piece *p = &m->pieces[i];
        if (p->len > 0) {
            const char *head = heads[format][i];
            parts[n++] = (struct iovec){(void *)(uintptr_t)head, strlen(head)};
            parts[n++] = (struct iovec){p->text, p->len};
        }
    }
    if (format == CLI_METRICS_OPENMETRICS) {
        parts[n++] = (struct iovec){end, sizeof end - 1};
    }
    return n;
}

cli_metrics *cli_metrics_hold(cli_metrics *m) {
    m->refs++;
    return m;
}

void cli_metrics_drop(cli_metrics *m) {
    if (m && --m->refs == 0) {
        cli_metrics_seal(m);
        for (size_t i = 0; i < CLI_N_METRICS; i++) {
            free(m->pieces[i].text);
        }
        free(m);
    }
}
