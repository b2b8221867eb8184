/* doctor.c - segmenter doctor: looks at everything, and says what to do. */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"

typedef struct doctor_opts {
    bool acl, acl_read_only;
} doctor_opts;

static const cli_opt table[] = {
    {.name = "acl",
     .type = CLI_FLAG,
     .at = offsetof(doctor_opts, acl),
     .text = "only print the command that makes a user NAME (segmenter) with the least rights for "
             "all that this command does in the namespace; needs no server"},
    {.name = "acl-read-only",
     .type = CLI_FLAG,
     .at = offsetof(doctor_opts, acl_read_only),
     .text = "the same for a user who only looks: lists, descriptions, checks"},
};

static const cli_column columns[] = {
    {"SEVERITY", "severity", CLI_COLUMN_TEXT, 0, 0, "ok, info, warning or error"},
    {"TOPIC", "topic", CLI_COLUMN_TEXT, 0, 0, "what it is about"},
    {"FINDING", "finding", CLI_COLUMN_TEXT, 0, 900, "what was found"},
    {"WHY", "why", CLI_COLUMN_TEXT, 0, 900, "why it matters"},
    {"ADVICE", "advice", CLI_COLUMN_TEXT, 0, 900, "what to do"},
};

static const char *const severities[] = {"ok", "info", "warning", "error"};

/* ---- Findings -------------------------------------------------------------------------------- */

/* Part of what is said here comes from a server. */
static char *said(const char *format, va_list args) {
    char text[2 * SEG_RULE_MAX];
    char *clean = cli_alloc(sizeof text, 1);
    vsnprintf(text, sizeof text, format, args);
    cli_report_text(clean, sizeof text, text);
    return clean;
}

void cli_find(cli_doctor *d, cli_severity severity, const char *topic, const char *format, ...) {
    if (d->n == d->capacity) {
        d->capacity = d->capacity ? 2 * d->capacity : 32;
        d->all = cli_grow(d->all, d->capacity, sizeof *d->all);
    }
    va_list args;
    va_start(args, format);
    d->all[d->n++] =
        (cli_finding){.severity = severity, .topic = topic, .finding = said(format, args)};
    va_end(args);
}

void cli_because(cli_doctor *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    d->all[d->n - 1].why = said(format, args);
    va_end(args);
}

void cli_advise(cli_doctor *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    d->all[d->n - 1].advice = said(format, args);
    va_end(args);
}

void cli_not_told(cli_doctor *d, const char *what) {
    char *longer = d->unknown ? cli_format("%s, %s", d->unknown, what) : cli_format("%s", what);
    free(d->unknown);
    d->unknown = longer;
}

static int64_t number_in(const char *text) {
    int64_t value;
    return text && cli_number_parse(text, &value) ? value : -1;
}

int64_t cli_told(const cli_doctor *d, const char *field) {
    return number_in(seg_server_info_get(d->server, field));
}

int64_t cli_told_setting(const cli_doctor *d, const char *setting) {
    return number_in(seg_server_info_config(d->server, setting));
}

static void doctor_fini(cli_doctor *d) {
    for (size_t i = 0; i < d->n; i++) {
        free(d->all[i].finding);
        free(d->all[i].why);
        free(d->all[i].advice);
    }
    free(d->all);
    free(d->unknown);
}

/* ---- Output ---------------------------------------------------------------------------------- */

static void print_severity(cli_severity severity) {
    static const char *const colours[] = {"\033[32m", "", "\033[33m", "\033[31m"};
    bool colour = cli_has_colours(stdout) && colours[severity][0];
    printf("%s%-7s%s  ", colour ? colours[severity] : "", severities[severity],
           colour ? "\033[0m" : "");
}

/* One way out a line. Commands are not broken into lines: they are there to be copied. */
static void print_advice(const char *text) {
    const char *before = "do:  ";
    for (const char *end; *text; text = end) {
        const char *next = strstr(text, "; ");
        end = next ? next + 2 : text + strlen(text);
        printf("%9s%s%.*s\n", "", before, (int)((next ? next : end) - text), text);
        before = "     ";
    }
}

static void print_for_people(const cli_finding *f) {
    print_severity(f->severity);
    char *line = cli_format("%s: %s", f->topic, f->finding);
    cli_wrap(stdout, line, 9);
    free(line);
    if (f->why) {
        printf("%9swhy: ", "");
        cli_wrap(stdout, f->why, 14);
    }
    if (f->advice) {
        print_advice(f->advice);
    }
}

static void print_findings(const cli_run *run, const cli_doctor *d) {
    const cli_output *o = run->output;
    bool people = !o->json && !o->csv && !o->columns && !o->sort;
    cli_listing l;
    if (!people) {
        cli_listing_init(&l, run);
    }
    for (int severity = CLI_ERROR; severity >= CLI_FINE; severity--) {
        for (size_t i = 0; i < d->n; i++) {
            const cli_finding *f = &d->all[i];
            if ((int)f->severity != severity) {
                continue;
            }
            if (people) {
                print_for_people(f);
                continue;
            }
            cli_put_text(&l, severities[severity]);
            cli_put_text(&l, f->topic);
            cli_put_text(&l, f->finding);
            cli_put_text(&l, f->why);
            cli_put_text(&l, f->advice);
        }
    }
    if (!people) {
        cli_listing_end(&l);
    }
}

static int conclude(const cli_doctor *d) {
    size_t counts[4] = {0};
    for (size_t i = 0; i < d->n; i++) {
        counts[d->all[i].severity]++;
    }
    if (counts[CLI_ERROR] + counts[CLI_WARNING] == 0) {
        return CLI_OK;
    }
    return cli_failure("found %zu error%s and %zu warning%s", counts[CLI_ERROR],
                       counts[CLI_ERROR] == 1 ? "" : "s", counts[CLI_WARNING],
                       counts[CLI_WARNING] == 1 ? "" : "s");
}

/* ---- The command ----------------------------------------------------------------------------- */

static int print_rule(const cli_run *run, const doctor_opts *o) {
    char rule[SEG_RULE_MAX];
    seg_error err;
    seg_rights which = o->acl_read_only ? SEG_RIGHTS_READ : SEG_RIGHTS_ALL;
    if (seg_rights_rule(rule, sizeof rule, run->globals->name_space, which, &err) != SEG_OK) {
        return cli_error(&err);
    }
    printf("ACL SETUSER %s on >PASSWORD %s\n", run->n_args ? run->args[0] : "segmenter", rule);
    cli_note(
        "put a password in the place of PASSWORD; ACL SAVE keeps the user where the server has "
        "an aclfile");
    return CLI_OK;
}

static seg_status examine(cli_doctor *d, seg_error *err) {
    seg_server_info *s = NULL;
    seg_status status = seg_server_describe(&s, d->client, err);
    if (status != SEG_OK) {
        return status;
    }
    d->server = s;
    cli_examine_server(d);
    cli_examine_disk(d);
    cli_examine_replicas(d);
    cli_examine_rights(d);
    status = cli_examine_streams(d, err);
    if (d->unknown) {
        cli_find(d, CLI_INFO, "server", "not told: %s", d->unknown);
        cli_because(d, "the user may not ask for it, or the server hides it; it was not looked at");
        cli_advise(d, "look again as a user who may run CONFIG GET and ACL DRYRUN");
    }
    seg_server_info_free(s);
    d->server = NULL;
    return status;
}

/* A server that the library refuses, for what it is, is a finding; one that is away, or does not let
 * us in, is none. */
static seg_status open_server(cli_doctor *d, seg_error *err) {
    seg_status status = cli_try_open(&d->client, d->globals, false, 0, err);
    if (status == SEG_ESERVER) {
        cli_find(d, CLI_ERROR, "server", "%s", err->text);
        cli_because(d, "the library does not work with this server as it is; nothing else was "
                       "looked at");
    }
    return status;
}

static int run_doctor(const cli_run *run) {
    const doctor_opts *o = run->opts;
    if (o->acl && o->acl_read_only) {
        return cli_usage("--acl and --acl-read-only exclude each other: each is a user's rights");
    }
    if (o->acl || o->acl_read_only) {
        const cli_output *out = run->output;
        return out->json || out->csv || out->columns || out->sort
                   ? cli_usage("--json, --csv, --columns and --sort are for findings: %s prints a "
                               "command",
                               o->acl ? "--acl" : "--acl-read-only")
                   : print_rule(run, o);
    }
    if (run->n_args) {
        return cli_usage("a NAME is only for --acl and --acl-read-only, not '%s'", run->args[0]);
    }
    cli_doctor d = {.globals = run->globals};
    seg_error err;
    seg_status status = open_server(&d, &err);
    if (status == SEG_OK) {
        status = examine(&d, &err);
    }
    int code = CLI_OK;
    if (d.n > 0) {
        print_findings(run, &d);
        code = conclude(&d);
    }
    if (status != SEG_OK && !(status == SEG_ESERVER && d.n == 1)) {
        code = cli_error(&err);
        code = status == SEG_ETIMEDOUT ? CLI_CONNECTION : code;
    }
    seg_client_close(d.client);
    doctor_fini(&d);
    return code;
}

const cli_command cli_doctor_command = {
    .name = "doctor",
    .args = "[NAME]",
    .max_args = 1,
    .brief = "Look at everything, and say what to do",
    .about =
        "Look at the server, its settings, its user's rights, and at what is stored there, and "
        "say of each finding how bad it is, why it matters, and what to do. It changes "
        "nothing. It exits with 0 where nothing is worse than info, and with 1 where there are "
        "warnings or errors. What the user may not ask is said to be unknown.\n\n"
        "With --acl it prints the command that makes a user with no more rights than needed; "
        "NAME is that user's name.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(doctor_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_doctor,
};
