/* check.c - segmenter check: looks at one thing, for monitors. Its exit codes are theirs.
 *
 * A check must end: whatever hangs (a name server, a server that is stopped, a pipe), SIGALRM ends the
 * process after --timeout, with a result that was written before. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "fill.h"
#include "group.h"
#include "letters.h"

/* One struct for all checks; each table sets what is its own. */
typedef struct check_opts {
    int format;
    int64_t timeout;
    const char *stream; /* of a group */
    const char *group;  /* of dead letters */
    int64_t lag_warn, lag_critical, age_warn, age_critical, members_min, window;
    int64_t fill_warn, fill_critical, messages_warn, messages_critical;
    int64_t round_trip_warn, round_trip_critical, memory_warn, memory_critical;
} check_opts;

/* What a check does once there is a client. An error is the end of it. */
typedef seg_status measure_fn(cli_check *c, seg_client *client, const check_opts *o,
                              seg_error *err);

/* ---- The end that is certain ----------------------------------------------------------------- */

static char *late_text;
static size_t late_len;
static volatile sig_atomic_t is_printing; /* the true result, to who does not read it */

static void too_late(int signal_number) {
    (void)signal_number;
    if (is_printing) {
        _exit(CLI_PROBE_UNKNOWN);
    }
    ssize_t n = write(STDOUT_FILENO, late_text, late_len);
    _exit(n == (ssize_t)late_len ? CLI_PROBE_CRITICAL : CLI_PROBE_UNKNOWN);
}

static void set_timer(int64_t ms) {
    struct itimerval timer = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void end_after(const cli_check *empty, const check_opts *o) {
    cli_check late = *empty;
    char span[24];
    cli_duration_print(span, o->timeout);
    cli_check_fail(&late, CLI_PROBE_CRITICAL, "not done within %s", span);
    FILE *memory = open_memstream(&late_text, &late_len);
    if (!memory) {
        cli_no_memory();
    }
    cli_check_print(memory, &late, (cli_check_format)o->format);
    if (fclose(memory) != 0) {
        cli_no_memory();
    }
    struct sigaction action = {.sa_handler = too_late};
    sigaction(SIGALRM, &action, NULL);
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarm_only, NULL); /* who starts us may have blocked it */
    set_timer(o->timeout);
}

/* ---- The end before the beginning ------------------------------------------------------------- */

static bool has_result; /* stdout has one */

static int format_of(int argc, char *const *words) {
    static const char option[] = "--format";
    static const char *const names[] = {"text", "nagios", "json", "prometheus"};
    const size_t len = sizeof option - 1;
    int format = CLI_CHECK_AS_TEXT;
    for (int i = 1; i < argc && strcmp(words[i], "--") != 0; i++) {
        const char *value = NULL;
        if (strncmp(words[i], option, len) == 0 && words[i][len] == '=') {
            value = words[i] + len + 1;
        } else if (strcmp(words[i], option) == 0 && i + 1 < argc) {
            value = words[i + 1];
        }
        for (size_t f = 0; value && f < CLI_COUNT(names); f++) {
            format = strcmp(value, names[f]) == 0 ? (int)f : format;
        }
    }
    return format;
}

/* What can be a label. */
static const char *name_or_null(const char *text) {
    return text && cli_name_ok(text) ? text : NULL;
}

void cli_check_say_unknown(const cli_run *run, int argc, char *const *words) {
    cli_check c = {.kind = "check"};
    int format = format_of(argc, words);
    if (has_result || format == CLI_CHECK_AS_TEXT) {
        return;
    }
    if (run) {
        const check_opts *o = run->opts;
        const char *arg = run->n_args > 0 ? name_or_null(run->args[0]) : NULL;
        c.kind = strchr(run->command->name, ' ') + 1;
        c.name_space = name_or_null(run->globals->name_space);
        bool of_group = strcmp(c.kind, "group") == 0;
        c.stream = of_group ? name_or_null(o->stream) : arg;
        c.group = of_group ? arg : name_or_null(o->group);
    }
    const char *fault = cli_first_fault();
    cli_check_fail(&c, CLI_PROBE_UNKNOWN, "%s", fault[0] ? fault : "the check was not done");
    cli_check_print(stdout, &c, (cli_check_format)format);
}

/* ---- All checks ------------------------------------------------------------------------------ */

/* A server that is away is critical whatever is looked at, as nothing works without it; so is what is
 * not there. Who may not look knows nothing. */
static cli_probe probe_of(const cli_check *c, seg_status status) {
    switch (status) {
    case SEG_ECONN:
    case SEG_ETIMEDOUT:
    case SEG_ENOENT:
    case SEG_ELOST:
    case SEG_EPROTO:
        return CLI_PROBE_CRITICAL;
    case SEG_EINVAL:
    case SEG_ENOMEM:
        return CLI_PROBE_UNKNOWN;
    default: /* a refusal: what `check connection` is there to find */
        return c->stream ? CLI_PROBE_UNKNOWN : CLI_PROBE_CRITICAL;
    }
}

static int run_check(const cli_run *run, cli_check *c, measure_fn *measure) {
    const check_opts *o = run->opts;
    seg_client *client = NULL;
    seg_error err;
    c->name_space = run->globals->name_space;
    end_after(c, o);
    /* A part of the time, so that the library can tell what it waited for. */
    seg_status status =
        cli_try_open(&client, run->globals, false, o->timeout - o->timeout / 5, &err);
    if (status == SEG_OK) {
        status = measure(c, client, o, &err);
    }
    is_printing = 1;
    has_result = true;
    if (status != SEG_OK) {
        cli_check_fail(c, probe_of(c, status), "%s",
                       err.text[0] ? err.text : seg_status_text(status));
    }
    seg_client_close(client);
    cli_check_print(stdout, c, (cli_check_format)o->format);
    fflush(stdout); /* while the timer runs */
    set_timer(0);
    free(late_text);
    return (int)cli_check_status(c);
}

static bool in_order(const char *name, int64_t warn, int64_t critical) {
    if (warn >= 0 && critical >= 0 && warn > critical) {
        cli_usage("--%s-warn is more than --%s-critical: a warning comes first", name, name);
        return false;
    }
    return true;
}

#define FORMAT_OPTION                                                                              \
    {                                                                                              \
        .name = "format", .type = CLI_CHOICE, .arg = CLI_CHECK_FORMATS,                            \
        .at = offsetof(check_opts, format), .fallback = "text",                                    \
        .text = "how to write the result: for people, a line for Nagios and its like, an object, " \
                "a file for node_exporter"                                                         \
    }
#define TIMEOUT_OPTION                                                                             \
    {                                                                                              \
        .name = "timeout", .type = CLI_DURATION, .arg = "DURATION",                                \
        .at = offsetof(check_opts, timeout), .min = 100, .max = 3600000, .fallback = "10s",        \
        .text = "what is not done by then is critical"                                             \
    }
#define LIMIT(option, kind, placeholder, member, top, usual, says)                                 \
    {                                                                                              \
        .name = option, .type = kind, .arg = placeholder, .at = offsetof(check_opts, member),      \
        .min = 0, .max = top, .fallback = usual, .text = says                                      \
    }

#define CHECK(variable, does, ...)                                                                 \
    .opts = variable##_table, .n_opts = CLI_COUNT(variable##_table),                               \
    .opts_size = sizeof(check_opts), .probe = true, .run = does, __VA_ARGS__

/* ---- connection ------------------------------------------------------------------------------ */

static const cli_opt connection_table[] = {
    LIMIT("round-trip-warn", CLI_DURATION, "DURATION", round_trip_warn, INT64_MAX / 1000, NULL,
          "a request and its answer may take so long"),
    LIMIT("round-trip-critical", CLI_DURATION, "DURATION", round_trip_critical, INT64_MAX / 1000,
          NULL, "the same, critical"),
    LIMIT("memory-warn", CLI_NUMBER, "PERCENT", memory_warn, 100, NULL,
          "the server may use so much of its maxmemory; without a maxmemory that is never passed"),
    LIMIT("memory-critical", CLI_NUMBER, "PERCENT", memory_critical, 100, NULL,
          "the same, critical"),
    FORMAT_OPTION,
    TIMEOUT_OPTION,
};

/* NAN: unknown. */
static double number_of(const char *text) {
    int64_t value;
    return text && cli_number_parse(text, &value) ? (double)value : NAN;
}

static seg_status measure_connection(cli_check *c, seg_client *client, const check_opts *o,
                                     seg_error *err) {
    seg_server_info *s = NULL;
    seg_status status = seg_server_describe(&s, client, err);
    if (status != SEG_OK) {
        return status;
    }
    const char *user = seg_server_info_user(s), *role = seg_server_info_get(s, "role");
    int64_t us = seg_server_info_round_trip(s);
    double most = number_of(seg_server_info_get(s, "maxmemory"));
    double used = number_of(seg_server_info_get(s, "used_memory"));
    snprintf(c->about, sizeof c->about, "%s, user %s", seg_client_server(client),
             user ? user : "unknown");
    if (role && strcmp(role, "master") != 0) {
        cli_check_fail(c, CLI_PROBE_CRITICAL, "the server is a read-only replica");
    }
    cli_check_add(c, (cli_check_value){"round_trip", "round trip", CLI_UNIT_US,
                                       us < 0 ? NAN : (double)us, o->round_trip_warn,
                                       o->round_trip_critical, -1,
                                       "segmenter_server_round_trip_seconds",
                                       "A request and its answer, the quickest of three."});
    if (!(most <= 0)) { /* unknown, or there is a limit */
        cli_check_add(c, (cli_check_value){"memory", "memory", CLI_UNIT_PERCENT, 100 * used / most,
                                           o->memory_warn, o->memory_critical, -1,
                                           "segmenter_server_memory_ratio",
                                           "Memory in use, of maxmemory."});
    }
    seg_server_info_free(s);
    return SEG_OK;
}

static int run_connection(const cli_run *run) {
    const check_opts *o = run->opts;
    cli_check c = {.kind = "connection"};
    if (!in_order("round-trip", o->round_trip_warn, o->round_trip_critical) ||
        !in_order("memory", o->memory_warn, o->memory_critical)) {
        return CLI_PROBE_UNKNOWN;
    }
    return run_check(run, &c, measure_connection);
}

const cli_command cli_check_connection = {
    CHECK(connection, run_connection, .name = "check connection", .args = "",
          .brief = "See whether the server is there and lets us in",
          .about = "Connect, and look whether the server is one that can be used: its version, its "
                   "role, its memory, the user's rights to begin with. Whatever keeps us out is "
                   "critical. 'segmenter doctor' looks closer."),
};

/* ---- stream ---------------------------------------------------------------------------------- */

static const cli_opt stream_table[] = {
    LIMIT("fill-warn", CLI_NUMBER, "PERCENT", fill_warn, 100, "80",
          "so much of a partition's bound may be unread; 100: never warn"),
    LIMIT("fill-critical", CLI_NUMBER, "PERCENT", fill_critical, 100, "95", "the same, critical"),
    FORMAT_OPTION,
    TIMEOUT_OPTION,
};

static void count_damaged(cli_check *c, const seg_stream_info *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < seg_stream_info_partitions(s); i++) {
        n += seg_stream_info_partition(s, i)->status != SEG_OK;
    }
    if (n > 0) {
        cli_check_fail(c, CLI_PROBE_CRITICAL, "%" PRIu32 " of %" PRIu32 " partitions damaged", n,
                       seg_stream_info_partitions(s));
    }
}

static double count_of(uint64_t value) {
    return value == SEG_UNKNOWN ? NAN : (double)value;
}

static seg_status measure_stream(cli_check *c, seg_client *client, const check_opts *o,
                                 seg_error *err) {
    seg_stream_info *s = NULL;
    cli_fill fill;
    seg_status status = seg_stream_describe(&s, client, c->stream, err);
    if (status != SEG_OK) {
        return status;
    }
    count_damaged(c, s);
    status = cli_fill_of(&fill, client, s, err);
    if (status == SEG_OK && fill.n_damaged == 1) {
        cli_check_fail(c, CLI_PROBE_CRITICAL, "group %s is damaged", fill.damaged);
    } else if (status == SEG_OK && fill.n_damaged > 1) {
        cli_check_fail(c, CLI_PROBE_CRITICAL, "group %s and %" PRIu64 " more are damaged",
                       fill.damaged, fill.n_damaged - 1);
    }
    if (status == SEG_OK) {
        cli_check_add(c, (cli_check_value){"messages", "messages", CLI_UNIT_COUNT,
                                           count_of(seg_stream_info_messages(s)), -1, -1, -1,
                                           "segmenter_stream_messages",
                                           "Messages that the stream keeps."});
        cli_check_add(c, (cli_check_value){"fill", "unread", CLI_UNIT_PERCENT, fill.percent,
                                           o->fill_warn, o->fill_critical, -1,
                                           "segmenter_stream_fill_ratio",
                                           "Unread messages of the fullest partition, of its "
                                           "bound."});
        cli_check_add(c, (cli_check_value){"groups", "groups", CLI_UNIT_COUNT, (double)fill.groups,
                                           -1, -1, -1, "segmenter_stream_groups",
                                           "Groups of the stream."});
        if (isnan(fill.percent)) {
            snprintf(c->about, sizeof c->about, "unknown: partition %" PRIu32, fill.partition);
        } else if (fill.group[0]) {
            snprintf(c->about, sizeof c->about, "slowest: group %s in partition %" PRIu32,
                     fill.group, fill.partition);
        } else {
            snprintf(c->about, sizeof c->about, "no %sgroup reads it",
                     fill.n_damaged ? "other " : "");
        }
    }
    seg_stream_info_free(s);
    return status;
}

static int run_stream(const cli_run *run) {
    const check_opts *o = run->opts;
    cli_check c = {.kind = "stream", .stream = run->args[0]};
    return in_order("fill", o->fill_warn, o->fill_critical) ? run_check(run, &c, measure_stream)
                                                            : CLI_PROBE_UNKNOWN;
}

const cli_command cli_check_stream = {
    CHECK(stream, run_stream, .name = "check stream", .args = "STREAM", .min_args = 1,
          .max_args = 1, .brief = "See whether a stream is whole and has room",
          .about = "Look whether the stream is there, whether a partition is damaged, and how much "
                   "of a partition's bound is still to be read by its slowest group (all that it "
                   "keeps, where there is no group). At 100 % a stream with the policy block stops "
                   "its producers, one with reject fails them, and one with drop-oldest loses what "
                   "was not read. A stream that is not there is critical."),
};

/* ---- group ----------------------------------------------------------------------------------- */

static const cli_opt group_table[] = {
    {.name = "stream",
     .letter = 's',
     .type = CLI_NAME,
     .arg = "STREAM",
     .at = offsetof(check_opts, stream),
     .required = true,
     .text = "the group's stream"},
    LIMIT("lag-warn", CLI_NUMBER, "N", lag_warn, INT64_MAX, NULL,
          "so many messages may wait, of all partitions"),
    LIMIT("lag-critical", CLI_NUMBER, "N", lag_critical, INT64_MAX, NULL, "the same, critical"),
    LIMIT("age-warn", CLI_DURATION, "DURATION", age_warn, INT64_MAX, "1m",
          "a message may wait for so long; what is stalled is told from what is slow by it too"),
    LIMIT("age-critical", CLI_DURATION, "DURATION", age_critical, INT64_MAX, NULL,
          "the same, critical"),
    LIMIT("members-min", CLI_NUMBER, "N", members_min, INT64_MAX, NULL,
          "fewer live members are critical"),
    LIMIT(
        "window", CLI_DURATION, "DURATION", window, 3600000, NULL,
        "look twice, so far apart, to see what stands still; 0: once (default 1s, or a quarter of "
        "--timeout where that is less)"),
    FORMAT_OPTION,
    TIMEOUT_OPTION,
};

/* Between a member's end and the next owner a partition is nobody's for a moment: that alone is a
 * warning. One that was so before as well, or that was looked at once, is orphaned. */
static bool just_orphaned(const cli_look *now) {
    if (!now->before) {
        return false;
    }
    cli_look before = {
        .now = now->before, .now_ms = now->now_ms - now->between_ms, .age_warn = now->age_warn};
    return cli_judge(&before) != CLI_HEALTH_ORPHANED;
}

static const struct {
    cli_probe status;
    const char *says;
} bad[] = {
    [CLI_HEALTH_STALLED] = {CLI_PROBE_CRITICAL, "stalled: messages wait, and none is acknowledged"},
    [CLI_HEALTH_REWOUND] = {CLI_PROBE_WARNING,
                            "rewound: the group went back, by a seek or as the server lost data"},
    [CLI_HEALTH_ORPHANED] = {CLI_PROBE_CRITICAL, "orphaned: messages wait that no member owns"},
    [CLI_HEALTH_DAMAGED] = {CLI_PROBE_CRITICAL,
                            "damaged: data is missing, and the lag is unknown"}};

/* The partitions of one kind, in one sentence. That a message waits for long is judged by its age, and
 * that one is tried again is no fault. */
static void judge_partitions(cli_check *c, const cli_group_looks *looks, cli_health kind) {
    uint32_t total = seg_group_info_partitions(looks->now), *list = cli_alloc(total, sizeof *list);
    size_t n = 0;
    bool fresh = true;
    for (uint32_t i = 0; i < total; i++) {
        cli_look look = cli_look_at(looks, i);
        if (cli_judge(&look) == kind) {
            list[n++] = i;
            fresh = fresh && kind == CLI_HEALTH_ORPHANED && just_orphaned(&look);
        }
    }
    if (n > 0) {
        char ranges[200];
        cli_print_ranges(ranges, sizeof ranges, list, n);
        cli_check_fail(c, fresh ? CLI_PROBE_WARNING : bad[kind].status, "partition%s %s %s",
                       n > 1 ? "s" : "", ranges, bad[kind].says);
    }
    free(list);
}

static seg_status measure_group(cli_check *c, seg_client *client, const check_opts *o,
                                seg_error *err) {
    cli_group_looks looks;
    int64_t usual = o->timeout < 4000 ? o->timeout / 4 : 1000;
    seg_status status = cli_group_try_look(&looks, client, c->stream, c->group,
                                           o->window < 0 ? usual : o->window, o->age_warn, err);
    if (status != SEG_OK) {
        return status;
    }
    double lag = count_of(seg_group_info_lag(looks.now));
    int64_t ms = cli_group_age(&looks);
    double age = lag == 0 ? 0 : isnan(lag) || ms < 0 ? NAN : (double)ms;
    for (cli_health kind = CLI_HEALTH_DAMAGED; kind >= CLI_HEALTH_STALLED; kind--) {
        judge_partitions(c, &looks, kind);
    }
    cli_check_add(c, (cli_check_value){"lag", "lag", CLI_UNIT_COUNT, lag, o->lag_warn,
                                       o->lag_critical, -1, "segmenter_group_lag_messages",
                                       "Messages that the group has not acknowledged."});
    cli_check_add(c, (cli_check_value){"age", "oldest", CLI_UNIT_MS, age, o->age_warn,
                                       o->age_critical, -1, "segmenter_group_lag_seconds",
                                       "Age of the oldest message that the group has not "
                                       "acknowledged."});
    cli_check_add(c, (cli_check_value){"members", "members", CLI_UNIT_COUNT,
                                       (double)seg_group_info_members(looks.now), -1, -1,
                                       o->members_min, "segmenter_group_members",
                                       "Live members of the group."});
    cli_group_looks_fini(&looks);
    return SEG_OK;
}

static int run_group(const cli_run *run) {
    const check_opts *o = run->opts;
    cli_check c = {.kind = "group", .stream = o->stream, .group = run->args[0]};
    if (!in_order("lag", o->lag_warn, o->lag_critical) ||
        !in_order("age", o->age_warn, o->age_critical)) {
        return CLI_PROBE_UNKNOWN;
    }
    if (o->window >= o->timeout) {
        cli_usage("--window is not less than --timeout: the check would never be done");
        return CLI_PROBE_UNKNOWN;
    }
    return run_check(run, &c, measure_group);
}

const cli_command cli_check_group = {
    CHECK(group, run_group, .name = "check group", .args = "GROUP", .min_args = 1, .max_args = 1,
          .brief = "See whether a group reads, and fast enough",
          .about = "Look at a group's lag, at the age of the oldest message that it has not "
                   "acknowledged, and at its live members. Whatever the thresholds are, it is "
                   "critical where a partition is damaged, where messages wait that no live member "
                   "owns, where those that wait for longer than --age-warn do not move, and where "
                   "there is no such stream or group; and a warning where the group went back. A "
                   "lag that cannot be told is unknown, never 0."),
};

/* ---- dlq ------------------------------------------------------------------------------------- */

static const cli_opt dlq_table[] = {
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(check_opts, group),
     .required = true,
     .text = "the group whose dead letters they are"},
    LIMIT("messages-warn", CLI_NUMBER, "N", messages_warn, INT64_MAX, "0",
          "so many dead letters may wait"),
    LIMIT("messages-critical", CLI_NUMBER, "N", messages_critical, INT64_MAX, NULL,
          "the same, critical"),
    FORMAT_OPTION,
    TIMEOUT_OPTION,
};

/* There never were dead letters. But of a name that is misspelt there are none either. */
static seg_status look_for_group(cli_check *c, seg_client *client, seg_error *err) {
    seg_names *names = NULL;
    seg_status status = seg_group_list(&names, client, c->stream, err);
    if (status != SEG_OK) {
        return status;
    }
    bool found = false;
    for (size_t i = 0; i < seg_names_count(names) && !found; i++) {
        found = strcmp(seg_names_at(names, i), c->group) == 0;
    }
    seg_names_free(names);
    if (!found) {
        cli_check_fail(c, CLI_PROBE_CRITICAL, "there is no group \"%s\" of stream \"%s\"", c->group,
                       c->stream);
    }
    return SEG_OK;
}

static seg_status measure_dlq(cli_check *c, seg_client *client, const check_opts *o,
                              seg_error *err) {
    uint64_t left;
    bool ever;
    seg_status status = cli_letters_left(&left, &ever, client, c->stream, c->group, err);
    if (status == SEG_OK && !ever) {
        status = look_for_group(c, client, err);
    }
    if (status == SEG_OK && c->n_faults == 0) {
        if (left == SEG_UNKNOWN) {
            cli_check_fail(c, CLI_PROBE_CRITICAL, "the dead letters are damaged");
        }
        cli_check_add(c, (cli_check_value){"messages", "dead letters", CLI_UNIT_COUNT,
                                           count_of(left), o->messages_warn, o->messages_critical,
                                           -1, "segmenter_dead_letters",
                                           "Dead letters that were neither replayed nor "
                                           "dropped."});
    }
    return status;
}

static int run_dlq(const cli_run *run) {
    const check_opts *o = run->opts;
    cli_check c = {.kind = "dlq", .stream = run->args[0], .group = o->group};
    return in_order("messages", o->messages_warn, o->messages_critical)
               ? run_check(run, &c, measure_dlq)
               : CLI_PROBE_UNKNOWN;
}

const cli_command cli_check_dlq = {
    CHECK(dlq, run_dlq, .name = "check dlq", .args = "STREAM", .min_args = 1, .max_args = 1,
          .brief = "See whether dead letters wait",
          .about =
              "Count the messages of the stream that the group could not handle, and that were "
              "neither sent again nor dropped. As long as the first of them never was, there "
              "are 0. No such stream or group is critical."),
};
