/* check_print.c - see check.h. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "check.h"
#include "json.h"
#include "listing.h"

/* ---- Judging --------------------------------------------------------------------------------- */

/* A threshold as the value is. */
static double threshold(const cli_check_value *v, int64_t t) {
    return v->unit == CLI_UNIT_US ? (double)t * 1000 : (double)t;
}

static bool is_judged(const cli_check_value *v) {
    return v->warn >= 0 || v->critical >= 0 || v->least >= 0;
}

cli_probe cli_check_judge(const cli_check_value *v) {
    if (isnan(v->value)) {
        return CLI_PROBE_UNKNOWN;
    }
    if ((v->critical >= 0 && v->value > threshold(v, v->critical)) ||
        (v->least >= 0 && v->value < threshold(v, v->least))) {
        return CLI_PROBE_CRITICAL;
    }
    return v->warn >= 0 && v->value > threshold(v, v->warn) ? CLI_PROBE_WARNING : CLI_PROBE_OK;
}

static const char *word_of(cli_probe status) {
    static const char *const words[] = {
#define X(name, code, word, text) word,
        CLI_PROBE_MAP(X)
#undef X
    };
    return words[status];
}

/* Which of two is worse: something that is wrong for certain comes before what is not known. */
static int weight(cli_probe status) {
    static const int weights[] = {[CLI_PROBE_OK] = 0,
                                  [CLI_PROBE_UNKNOWN] = 1,
                                  [CLI_PROBE_WARNING] = 2,
                                  [CLI_PROBE_CRITICAL] = 3};
    return weights[status];
}

cli_probe cli_check_status(const cli_check *c) {
    cli_probe worst = CLI_PROBE_OK;
    for (size_t i = 0; i < c->n_faults; i++) {
        worst = weight(c->faults[i].status) > weight(worst) ? c->faults[i].status : worst;
    }
    return worst;
}

void cli_check_fail(cli_check *c, cli_probe status, const char *format, ...) {
    cli_check_fault fault = {.status = status};
    char text[CLI_CHECK_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_report_text(fault.text, sizeof fault.text, text);
    if (c->n_faults == CLI_CHECK_FAULTS) {
        return; /* there are fewer kinds of them */
    }
    size_t at = c->n_faults++;
    while (at > 0 && weight(c->faults[at - 1].status) < weight(status)) {
        c->faults[at] = c->faults[at - 1];
        at--;
    }
    c->faults[at] = fault;
}

/* ---- Values as text -------------------------------------------------------------------------- */

/* Digits without an exponent, and no more of them than tell something. */
static void print_number(char out[40], double value) {
    int digits = value == floor(value) ? 0 : fabs(value) < 1 ? 6 : 3;
    snprintf(out, 40, "%.*f", digits, value);
    if (digits) {
        size_t len = strlen(out);
        while (out[len - 1] == '0') {
            out[--len] = '\0';
        }
        if (out[len - 1] == '.') {
            out[len - 1] = '\0';
        }
    }
}

/* For people. */
static void print_value(char out[40], const cli_check_value *v, double value) {
    switch (v->unit) {
    case CLI_UNIT_COUNT:
        print_number(out, value);
        break;
    case CLI_UNIT_PERCENT:
        snprintf(out, 40, "%.*f%%", value == floor(value) ? 0 : 1, value);
        break;
    case CLI_UNIT_MS:
        if (value == 0) {
            strcpy(out, "0s");
        } else {
            cli_print_span(out, 40, (int64_t)value);
        }
        break;
    case CLI_UNIT_US:
        if (value < 1000) {
            snprintf(out, 40, "%.0fus", value);
        } else {
            cli_print_span(out, 40, (int64_t)value / 1000);
        }
        break;
    }
}

static void print_threshold(char out[40], const cli_check_value *v, int64_t t) {
    if (t < 0) {
        strcpy(out, "-");
    } else if (v->unit == CLI_UNIT_MS || v->unit == CLI_UNIT_US) {
        cli_duration_print(out, t);
    } else {
        print_value(out, v, threshold(v, t));
    }
}

/* In base units: seconds, and for Prometheus ratios. */
static double in_base(const cli_check_value *v, double value, bool ratio) {
    return v->unit == CLI_UNIT_MS                 ? value / 1e3
           : v->unit == CLI_UNIT_US               ? value / 1e6
           : v->unit == CLI_UNIT_PERCENT && ratio ? value / 100
                                                  : value;
}

void cli_check_add(cli_check *c, cli_check_value v) {
    c->values[c->n_values++] = v;
    cli_probe status = cli_check_judge(&v);
    char now[40], limit[40];
    if (status == CLI_PROBE_OK) {
        return;
    }
    if (isnan(v.value)) {
        if (is_judged(&v)) {
            cli_check_fail(c, status, "%s is unknown", v.word);
        }
        return;
    }
    bool low = v.least >= 0 && v.value < threshold(&v, v.least);
    print_value(now, &v, v.value);
    print_threshold(limit, &v, low ? v.least : status == CLI_PROBE_CRITICAL ? v.critical : v.warn);
    cli_check_fail(c, status, "%s is %s, %s than %s", v.word, now, low ? "less" : "more", limit);
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void print_subject(FILE *out, const cli_check *c) {
    if (c->group && c->stream) {
        bool itself = strcmp(c->kind, "group") == 0;
        fprintf(out, "%sgroup %s of stream %s", itself ? "" : "dead letters of ", c->group,
                c->stream);
    } else if (c->stream) {
        fprintf(out, "%s %s", c->kind, c->stream);
    } else {
        fputs(c->kind, out);
    }
}

static void print_faults(FILE *out, const cli_check *c) {
    for (size_t i = 0; i < c->n_faults; i++) {
        fprintf(out, "%s%s", i ? "; " : "", c->faults[i].text);
    }
}

static void print_table(FILE *out, const cli_check *c) {
    static const char *const headings[] = {"VALUE", "NOW", "WARNING", "CRITICAL", "STATUS"};
    static const cli_colour colours[] = {CLI_GREEN, CLI_YELLOW, CLI_RED, CLI_RED};
    cli_table table;
    cli_table_init(&table, "lrrrl", headings);
    for (size_t i = 0; i < c->n_values; i++) {
        const cli_check_value *v = &c->values[i];
        cli_probe status = cli_check_judge(v);
        char now[40] = "-", warn[40], critical[40];
        if (!isnan(v->value)) {
            print_value(now, v, v->value);
        }
        print_threshold(warn, v, v->warn);
        print_threshold(critical, v, v->least >= 0 ? v->least : v->critical);
        cli_table_add(&table, "%s", v->name);
        cli_table_add(&table, "%s", now);
        cli_table_add(&table, "%s", warn);
        cli_table_add(&table, "%s%s", v->least >= 0 ? "<" : "", critical);
        cli_table_add(&table, "%s", word_of(status));
        cli_table_colour(&table, colours[status]);
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

static void print_text(FILE *out, const cli_check *c) {
    fprintf(out, "%s: ", word_of(cli_check_status(c)));
    print_subject(out, c);
    if (c->n_faults) {
        fputs(": ", out);
        print_faults(out, c);
    }
    if (c->about[0]) {
        fprintf(out, " (%s)", c->about);
    }
    fputc('\n', out);
    if (c->n_values) {
        print_table(out, c);
    }
}

/* ---- Nagios ---------------------------------------------------------------------------------- */

static void print_upper(FILE *out, const char *text) {
    for (; *text; text++) {
        fputc(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text, out);
    }
}

/* 'label'=value[unit];warn;critical;min;max */
static void print_perfdata(FILE *out, const cli_check_value *v) {
    char text[40];
    const char *unit = v->unit == CLI_UNIT_COUNT ? "" : v->unit == CLI_UNIT_PERCENT ? "%" : "s";
    fprintf(out, " %s=", v->name);
    if (isnan(v->value)) {
        fputs("U", out);
    } else {
        print_number(text, in_base(v, v->value, false));
        fprintf(out, "%s%s", text, unit);
    }
    fputc(';', out);
    if (v->warn >= 0) {
        print_number(text, in_base(v, threshold(v, v->warn), false));
        fputs(text, out);
    }
    fputc(';', out);
    if (v->least >= 0) {
        fprintf(out, "%" PRId64 ":", v->least);
    } else if (v->critical >= 0) {
        print_number(text, in_base(v, threshold(v, v->critical), false));
        fputs(text, out);
    }
    fputs(";0", out);
    if (v->unit == CLI_UNIT_PERCENT) {
        fputs(";100", out);
    }
}

/* What stands behind a '|' would be taken for performance data. */
static void print_unpiped(FILE *out, const char *text) {
    for (; *text; text++) {
        fputc(*text == '|' ? '/' : *text, out);
    }
}

static void print_nagios(FILE *out, const cli_check *c) {
    fputs("SEGMENTER ", out);
    print_upper(out, c->kind);
    fputc(' ', out);
    print_upper(out, word_of(cli_check_status(c)));
    fputs(" - ", out);
    for (size_t i = 0; i < c->n_faults; i++) {
        fputs(i ? "; " : "", out);
        print_unpiped(out, c->faults[i].text);
    }
    fputs(c->n_faults && c->n_values ? " - " : "", out);
    for (size_t i = 0; i < c->n_values; i++) {
        char now[40] = "unknown";
        if (!isnan(c->values[i].value)) {
            print_value(now, &c->values[i], c->values[i].value);
        }
        fprintf(out, "%s%s %s", i ? ", " : "", c->values[i].word, now);
    }
    fputs(c->n_values ? " |" : "", out);
    for (size_t i = 0; i < c->n_values; i++) {
        print_perfdata(out, &c->values[i]);
    }
    fputc('\n', out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static const char *unit_name(cli_check_unit unit) {
    static const char *const names[] = {"count", "ms", "us", "percent"};
    return names[unit];
}

static void add_real(json_t *object, const char *name, double value) {
    if (isnan(value)) {
        cli_json_add(object, name, json_null());
    } else if (value == floor(value) && fabs(value) < 1e15) {
        cli_json_add(object, name, json_integer((json_int_t)value));
    } else {
        cli_json_real(object, name, value);
    }
}

static void add_threshold(json_t *object, const char *name, const cli_check_value *v, int64_t t) {
    if (t < 0) {
        cli_json_add(object, name, json_null());
    } else {
        add_real(object, name, threshold(v, t));
    }
}

static void print_json(FILE *out, const cli_check *c) {
    json_t *object = cli_json_object(), *faults = json_array(), *values = json_array();
    cli_json_text(object, "check", c->kind);
    cli_json_text(object, "namespace", c->name_space);
    cli_json_text(object, "stream", c->stream);
    cli_json_text(object, "group", c->group);
    cli_json_text(object, "status", word_of(cli_check_status(c)));
    cli_json_number(object, "code", cli_check_status(c));
    for (size_t i = 0; i < c->n_faults; i++) {
        json_t *one = json_object();
        cli_json_text(one, "status", word_of(c->faults[i].status));
        cli_json_text(one, "message", c->faults[i].text);
        json_array_append_new(faults, one);
    }
    for (size_t i = 0; i < c->n_values; i++) {
        const cli_check_value *v = &c->values[i];
        json_t *one = json_object();
        cli_json_text(one, "name", v->name);
        add_real(one, "value", v->value);
        cli_json_text(one, "unit", unit_name(v->unit));
        add_threshold(one, "warning", v, v->warn);
        add_threshold(one, "critical", v, v->critical);
        add_threshold(one, "least", v, v->least);
        cli_json_text(one, "status", word_of(cli_check_judge(v)));
        json_array_append_new(values, one);
    }
    cli_json_add(object, "faults", faults);
    cli_json_add(object, "values", values);
    cli_json_print(out, object);
}

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void print_sample(FILE *out, const cli_check *c, const char *metric, const char *help,
                         bool with_kind, double value) {
    char text[40];
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s{", metric, help, metric, metric);
    const struct {
        const char *name, *value; /* names need no escapes */
    } labels[] = {{"check", with_kind ? c->kind : NULL},
                  {"namespace", c->name_space},
                  {"stream", c->stream},
                  {"group", c->group}};
    const char *comma = "";
    for (size_t i = 0; i < CLI_COUNT(labels); i++) {
        if (labels[i].value) {
            fprintf(out, "%s%s=\"%s\"", comma, labels[i].name, labels[i].value);
            comma = ",";
        }
    }
    print_number(text, value);
    fprintf(out, "} %s\n", text);
}

static void print_prometheus(FILE *out, const cli_check *c) {
    for (size_t i = 0; i < c->n_values; i++) {
        const cli_check_value *v = &c->values[i];
        if (v->metric && !isnan(v->value)) {
            print_sample(out, c, v->metric, v->help, false, in_base(v, v->value, true));
        }
    }
    print_sample(out, c, "segmenter_check_status",
                 "What segmenter check found: 0 ok, 1 warning, 2 critical, 3 unknown.", true,
                 cli_check_status(c));
}

void cli_check_print(FILE *out, const cli_check *c, cli_check_format format) {
    switch (format) {
    case CLI_CHECK_AS_TEXT:
        print_text(out, c);
        break;
    case CLI_CHECK_AS_NAGIOS:
        print_nagios(out, c);
        break;
    case CLI_CHECK_AS_JSON:
        print_json(out, c);
        break;
    case CLI_CHECK_AS_PROMETHEUS:
        print_prometheus(out, c);
        break;
    }
}
