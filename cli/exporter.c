/* exporter.c - segmenter exporter: what a group of Prometheus's scrapers asks for.
 *
 *     scraper ──> http.c ──┐                        ┌── collector.c ──> the server
 *     scraper ──> http.c ──┤  this loop  ──(a job)──┤   (a thread)
 *     signals, watchdog ───┘             <──(done)──┘
 *
 * The loop never waits for the server. Scrapes that come while a collection is under way wait for that one;
 * those that come within --interval of the last one get its values; and none waits for longer than
 * --timeout: then it is told that the server is down. While nobody scrapes, or the server is away, one
 * command now and then keeps /readyz true. */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector.h"
#include "http.h"
#include "listen.h"
#include "listing.h"
#include "notify.h"
#include "signals.h"

enum {
    PROBE_EVERY_US = 2000000, /* while nobody scrapes */
    WAITING_MAX = 256,        /* as many as http.c has connections */
    STOP_MS = 1000            /* for the collector to end */
};

typedef struct exporter_opts {
    const char *listen;
    int64_t interval, timeout;
    cli_list streams;
    int64_t describe, partitions;
    bool once, list;
} exporter_opts;

static const cli_opt table[] = {
    {.name = "listen",
     .type = CLI_TEXT,
     .arg = "ADDRESS",
     .at = offsetof(exporter_opts, listen),
     .fallback = "127.0.0.1:9464",
     .text = "HOST:PORT, [HOST]:PORT, or :PORT for every address; port 0: the system chooses"},
    {.name = "interval",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(exporter_opts, interval),
     .max = 3600000,
     .fallback = "1s",
     .text = "a scrape that comes sooner after the last one gets the same values"},
    {.name = "timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(exporter_opts, timeout),
     .min = 100,
     .max = 600000,
     .fallback = "8s",
     .text =
         "a scrape is answered after so long, with segmenter_up 0 where the server is not done"},
    {.name = "stream",
     .letter = 's',
     .type = CLI_LIST,
     .arg = "STREAM",
     .at = offsetof(exporter_opts, streams),
     .text = "only this stream and its groups; may be given again"},
    {.name = "describe",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(exporter_opts, describe),
     .max = 1000000,
     .fallback = "1000",
     .text = "look closely at the N groups with most lag: age, fill, in flight, attempts"},
    {.name = "partitions",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(exporter_opts, partitions),
     .max = 10000000,
     .fallback = "0",
     .text = "also metrics of single partitions, of N at most, those of a group counted again"},
    {.name = "once",
     .type = CLI_FLAG,
     .at = offsetof(exporter_opts, once),
     .text = "write the metrics to stdout, and end"},
    {.name = "list",
     .type = CLI_FLAG,
     .at = offsetof(exporter_opts, list),
     .text = "list the metrics that there are, and end"},
};

typedef struct waiting {
    cli_http_call *call;
    cli_metrics_format format;
    int64_t deadline_us;
} waiting;

typedef struct exporter {
    const cli_run *run;
    const exporter_opts *opts;
    cli_http *http;
    cli_collector *collector;
    cli_collector_job job; /* under way */
    bool overran;          /* it takes longer than the timeout, and nobody waits for it any more */
    int64_t job_us;        /* when it began */
    int64_t told_us;       /* when the server was last heard of, or its absence */
    cli_metrics *last;     /* of the last collection, or what stands for it; NULL: there was none */
    int64_t last_us;
    waiting waiting[WAITING_MAX];
    size_t n_waiting;
    uint64_t collections, failures;
    bool ready, told; /* `told`: people know which */
    char reason[600]; /* why not */
    int code;
    bool over;
} exporter;

/* ---- Sets ------------------------------------------------------------------------------------ */

/* What is known without the server. `took` 0: nothing was collected. */
static void put_own(cli_metrics *m, const char *name_space, bool up, double took) {
    cli_labels l;
    cli_labels_init(&l, name_space);
    cli_metrics_count(m, CLI_METRIC_UP, &l, up);
    cli_metrics_real(m, CLI_METRIC_DURATION, &l, took > 0 ? took : NAN);
    cli_labels_add(&l, "version", seg_version());
    cli_metrics_count(m, CLI_METRIC_EXPORTER, &l, 1);
}

/* Makes it the last one. NULL: the server is down. */
static void finish(exporter *x, cli_metrics *m, int64_t took_us) {
    const char *name_space = x->run->globals->name_space;
    bool up = m;
    x->collections++;
    x->failures += !up;
    m = m ? m : cli_metrics_new();
    cli_labels l;
    cli_labels_init(&l, name_space);
    put_own(m, name_space, up, (double)took_us / 1e6);
    cli_metrics_count(m, CLI_METRIC_COLLECTIONS, &l, x->collections);
    cli_metrics_count(m, CLI_METRIC_FAILURES, &l, x->failures);
    cli_metrics_seal(m);
    cli_metrics_drop(x->last);
    x->last = m;
    x->last_us = cli_now_us();
}

static void let_go(void *arg) {
    cli_metrics_drop(arg);
}

static void send_last(exporter *x, cli_http_call *call, cli_metrics_format format) {
    struct iovec parts[CLI_METRICS_PARTS];
    size_t n = cli_metrics_parts(x->last, format, parts);
    cli_http_reply_parts(call, cli_metrics_content_type(format), parts, n, let_go,
                         cli_metrics_hold(x->last));
}

/* ---- Readiness ------------------------------------------------------------------------------- */

/* Tells people where it changes; `reason` NULL: ready. */
static void set_ready(exporter *x, const char *reason) {
    bool ready = !reason;
    x->told_us = cli_now_us();
    if (reason) {
        cli_mask_passwords(x->reason, sizeof x->reason, reason);
    }
    if (x->told && x->ready == ready) {
        return;
    }
    x->ready = ready;
    if (ready) {
        if (x->told) {
            cli_note("the server is back");
        }
        cli_notify_status("the server answers");
    } else {
        cli_note("the server is away: %s; trying again", x->reason);
        cli_notify_status("the server is away: %s", x->reason);
    }
    x->told = true;
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

static void begin(exporter *x, cli_collector_job job) {
    x->job = job;
    x->job_us = cli_now_us();
    x->overran = false;
    cli_collector_ask(x->collector, job);
}

static void answer_all(exporter *x) {
    for (size_t i = 0; i < x->n_waiting; i++) {
        send_last(x, x->waiting[i].call, x->waiting[i].format);
    }
    x->n_waiting = 0;
}

/* A wrong URL is no server that is away: it will never be right. */
static void check_fatal(exporter *x, const seg_error *err) {
    if (err->status == SEG_EINVAL) {
        x->code = cli_error(err);
        x->over = true;
    }
}

static void on_done(exporter *x) {
    cli_collected result;
    if (!cli_collector_take(x->collector, &result)) {
        return;
    }
    bool good = result.err.status == SEG_OK;
    if (result.job == CLI_JOB_COLLECT) {
        finish(x, result.metrics, result.took_us);
        answer_all(x);
    }
    x->job = CLI_JOB_NONE;
    check_fatal(x, &result.err);
    if (!x->over) {
        set_ready(x, good ? NULL : result.err.text);
    }
}

/* The collector hangs: whoever waits is told so, and it goes on trying. */
static void look_at_time(exporter *x) {
    int64_t now = cli_now_us();
    if (x->job != CLI_JOB_NONE && !x->overran && now - x->job_us >= x->opts->timeout * 1000) {
        char limit[24];
        cli_duration_print(limit, x->opts->timeout);
        char *why = cli_format("no answer within %s", limit);
        set_ready(x, why);
        free(why);
        x->overran = true;
    }
    /* The first one waits longest. Where the server is known to be away nobody waits: the probes will
     * find it. */
    bool late = x->n_waiting > 0 && now >= x->waiting[0].deadline_us;
    if (late || (x->n_waiting > 0 && x->told && !x->ready)) {
        finish(x, NULL, 0);
        answer_all(x);
    }
    if (x->job == CLI_JOB_NONE && x->n_waiting > 0) {
        begin(x, CLI_JOB_COLLECT);
    } else if (x->job == CLI_JOB_NONE && now - x->told_us >= PROBE_EVERY_US) {
        begin(x, CLI_JOB_PROBE);
    }
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Ms. */
static int64_t wait_of(const exporter *x) {
    int64_t wait = earlier(cli_http_wait(x->http), cli_notify_wait());
    int64_t next = x->job == CLI_JOB_NONE ? x->told_us + PROBE_EVERY_US
                   : x->overran           ? INT64_MAX
                                          : x->job_us + x->opts->timeout * 1000;
    next = x->n_waiting > 0 ? earlier(next, x->waiting[0].deadline_us) : next;
    int64_t left = (next - cli_now_us()) / 1000 + 1;
    return earlier(wait, left > 0 ? left : 0);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static const char plain[] = "text/plain; charset=utf-8";

static void on_metrics(exporter *x, cli_http_call *call, const char *accept) {
    cli_metrics_format format = cli_metrics_accepted(accept);
    bool fresh = x->last && cli_now_us() - x->last_us < x->opts->interval * 1000;
    if (fresh) {
        send_last(x, call, format);
    } else if (x->n_waiting == WAITING_MAX) {
        cli_http_reply(call, 503, plain, "too many scrapes at once\n");
    } else {
        x->waiting[x->n_waiting++] =
            (waiting){call, format, cli_now_us() + x->opts->timeout * 1000};
    }
}

static void on_ready(const exporter *x, cli_http_call *call) {
    if (x->ready) {
        cli_http_reply(call, 200, plain, "ready\n");
    } else {
        char *text = cli_format("%s\n", x->reason);
        cli_http_reply(call, 503, plain, text);
        free(text);
    }
}

static const char page[] = "<!DOCTYPE html>\n"
                           "<html lang=\"en\"><title>segmenter exporter</title>\n"
                           "<h1>segmenter exporter</h1>\n"
                           "<ul>\n"
                           "<li><a href=\"metrics\">metrics</a>\n"
                           "<li><a href=\"readyz\">readyz</a>: does the server answer?\n"
                           "<li><a href=\"livez\">livez</a>: does the exporter?\n"
                           "</ul></html>\n";

static void on_request(void *arg, cli_http_call *call, const char *path, const char *accept) {
    exporter *x = arg;
    if (strcmp(path, "/metrics") == 0) {
        on_metrics(x, call, accept);
    } else if (strcmp(path, "/livez") == 0) {
        cli_http_reply(call, 200, plain, "alive\n");
    } else if (strcmp(path, "/readyz") == 0) {
        on_ready(x, call);
    } else if (strcmp(path, "/") == 0) {
        cli_http_reply(call, 200, "text/html; charset=utf-8", page);
    } else {
        cli_http_reply(call, 404, plain, "there are /metrics, /readyz and /livez\n");
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void loop(exporter *x) {
    struct pollfd fds[] = {
        {.fd = cli_http_fd(x->http), .events = POLLIN},
        {.fd = cli_collector_fd(x->collector), .events = POLLIN},
        {.fd = cli_signal_fd(), .events = POLLIN},
    };
    begin(x, CLI_JOB_PROBE);
    while (!x->over && !cli_signal_caught()) {
        cli_notify_alive();
        poll(fds, CLI_COUNT(fds), (int)wait_of(x));
        cli_http_turn(x->http);
        on_done(x);
        look_at_time(x);
    }
    cli_notify_stopping();
}

/* Nobody is left without an answer. Returns whether all could be freed. */
static bool end(exporter *x) {
    for (size_t i = 0; i < x->n_waiting; i++) {
        cli_http_reply(x->waiting[i].call, 503, plain, "the exporter ends\n");
    }
    x->n_waiting = 0;
    cli_http_stop(x->http);
    cli_metrics_drop(x->last);
    x->last = NULL;
    return cli_collector_stop(x->collector, STOP_MS);
}

static cli_collect_plan plan_of(const cli_run *run) {
    const exporter_opts *o = run->opts;
    return (cli_collect_plan){.name_space = run->globals->name_space,
                              .streams = &o->streams,
                              .missing = cli_alloc(o->streams.n, sizeof(bool)),
                              .describe = (uint64_t)o->describe,
                              .partitions = (uint64_t)o->partitions,
                              .look_us = o->timeout * 1000 / 2};
}

static int start(exporter *x, const cli_collect_plan *plan) {
    cli_listen socket;
    int code = cli_listen_open(&socket, x->opts->listen);
    if (code != CLI_OK) {
        return code;
    }
    x->http = cli_http_start(socket.fd, on_request, x);
    if (!x->http) {
        return CLI_FAILURE;
    }
    /* Half of it, so that who waits hears what is wrong rather than that it took too long. */
    x->collector = cli_collector_start(plan, x->run->globals, x->opts->timeout / 2);
    if (!x->collector) {
        cli_http_stop(x->http);
        return CLI_FAILURE;
    }
    if (!socket.loopback) {
        cli_note("whoever reaches %s can read the metrics: there is no password and no TLS; see "
                 "the manual on a proxy before it",
                 socket.address);
    }
    printf("http://%s/metrics\n", socket.address);
    return CLI_OK;
}

static int serve(const cli_run *run) {
    cli_collect_plan plan = plan_of(run);
    exporter *x = cli_alloc(1, sizeof *x);
    *x = (exporter){.run = run, .opts = run->opts, .reason = "the server was not asked yet"};
    cli_notify_init();
    cli_signals_catch();
    int code = start(x, &plan);
    if (code == CLI_OK) {
        if (!cli_flush_stdout()) {
            x->over = true;
            x->code = CLI_FAILURE;
        }
        cli_notify_ready();
        loop(x);
        code = x->code;
        if (!end(x)) {
            /* A thread of ours waits for a server that does not answer; nothing is lost with it. */
            _exit(cli_close_stdout(code));
        }
    }
    cli_notify_fini();
    free(plan.missing);
    free(x);
    return code;
}

/* ---- Once, and the list ---------------------------------------------------------------------- */

static void print_parts(const cli_metrics *m) {
    struct iovec parts[CLI_METRICS_PARTS];
    size_t n = cli_metrics_parts(m, CLI_METRICS_TEXT, parts);
    for (size_t i = 0; i < n; i++) {
        fwrite(parts[i].iov_base, 1, parts[i].iov_len, stdout);
    }
}

static int collect_once(const cli_run *run) {
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    cli_collect_plan plan = plan_of(run);
    seg_error err;
    int64_t start_us = cli_now_us();
    cli_metrics *m = cli_metrics_new();
    if (cli_collect(m, client, &plan, &err) == SEG_OK) {
        put_own(m, run->globals->name_space, true, (double)(cli_now_us() - start_us) / 1e6);
        cli_metrics_seal(m);
        print_parts(m);
    } else {
        code = cli_error(&err);
    }
    cli_metrics_drop(m);
    free(plan.missing);
    seg_client_close(client);
    return code;
}

static const cli_column columns[] = {
    {"METRIC", "metric", CLI_COLUMN_TEXT, 0, 0, "its name"},
    {"TYPE", "type", CLI_COLUMN_TEXT, 0, 0, "gauge or counter"},
    {"LABELS", "labels", CLI_COLUMN_TEXT, 0, 0, "beside namespace, which all have"},
    {"HELP", "help", CLI_COLUMN_TEXT, 0, 0, "what it says"},
};

static int list_metrics(const cli_run *run) {
    cli_listing l;
    cli_listing_init(&l, run);
    for (size_t i = 0; i < CLI_N_METRICS; i++) {
        cli_put_text(&l, cli_metric_rows[i].name);
        cli_put_text(&l, cli_metric_rows[i].type);
        cli_put_text(&l, cli_metric_rows[i].labels);
        cli_put_text(&l, cli_metric_rows[i].text);
    }
    cli_listing_end(&l);
    return CLI_OK;
}

static bool is_listing(const cli_output *o) {
    return o->json || o->csv || o->columns || o->sort;
}

static int run_exporter(const cli_run *run) {
    const exporter_opts *o = run->opts;
    if (o->once && o->list) {
        return cli_usage("--once and --list exclude each other");
    }
    if (!o->list && is_listing(run->output)) {
        return cli_usage("--json, --csv, --columns and --sort are for --list: metrics are text");
    }
    for (size_t i = 0; i < o->streams.n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(o->streams.items[i], o->streams.items[k]) == 0) {
                return cli_usage("--stream %s is given twice", o->streams.items[i]);
            }
        }
    }
    for (size_t i = 0; i < o->streams.n; i++) {
        if (!cli_name_ok(o->streams.items[i])) {
            return cli_usage(
                "--stream takes 1 to 200 of the characters A-Z a-z 0-9 . _ -, not '%s'",
                o->streams.items[i]);
        }
    }
    return o->list ? list_metrics(run) : o->once ? collect_once(run) : serve(run);
}

const cli_command cli_exporter = {
    .name = "exporter",
    .args = "",
    .brief = "Serve metrics of streams and groups to Prometheus",
    .about =
        "Serve the metrics of the namespace's streams and groups over HTTP, until SIGINT or "
        "SIGTERM:\n"
        "  /metrics  for Prometheus, as text or OpenMetrics\n"
        "  /readyz   200 while the server answers, otherwise 503 and why\n"
        "  /livez    200\n"
        "The server is asked when a scrape comes. While it is away, segmenter_up is 0 and "
        "everything else "
        "is missing; so is each value that is not known. The address is printed first. There is no "
        "password and no TLS.\n\n"
        "With --once the metrics go to stdout, for a textfile collector. --json, --csv, --columns "
        "and "
        "--sort are for --list.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(exporter_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_exporter,
};
