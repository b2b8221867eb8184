/* bench_idle.c - segmenter bench idle: what it costs that a consumer is there and nothing happens. The
 * baseline is the server with nobody connected, whose own housekeeping is not ours. */
#include <math.h>
#include <stdlib.h>

#include "bench.h"

static const cli_opt table[] = {
    BENCH_NUMBER("partitions", partitions, 1, 4096, "256", "partitions of the stream"),
    {.name = "duration",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(bench_opts, duration),
     .min = 100,
     .max = 3600000,
     .fallback = "5s",
     .text = "how long each run looks"},
    BENCH_SESSION_TIMEOUT("10s", "as in consume: the heartbeats hang on it"),
    BENCH_RUNS,
    BENCH_NO_BASELINE,
    BENCH_JSON_LINES,
};

enum {
    WAIT_MS = 500,
    QUIET_MS = 500 /* after joining, until nothing of it goes on */
};

typedef struct job {
    bench b;
    bench_report report;
} job;

/* Let the time pass as an application does that waits for messages; as nobody, where `consumer` is
 * NULL. */
static int wait_out(bench *b, seg_consumer *consumer, int64_t ms) {
    int64_t end = cli_now_us() + ms * 1000;
    for (;;) {
        int64_t left = (end - cli_now_us()) / 1000;
        if (bench_interrupted() != CLI_OK) {
            return CLI_FAILURE;
        }
        if (left <= 0) {
            return CLI_OK;
        }
        int64_t step = left < WAIT_MS ? left : WAIT_MS;
        seg_batch *batch = NULL;
        seg_error err;
        if (!consumer) {
            bench_sleep_until(bench_now_ns() + step * 1000000);
        } else if (seg_consumer_poll(&batch, consumer, 1, step, &err) != SEG_OK) {
            return cli_error(&err);
        }
        size_t n = seg_batch_count(batch);
        seg_batch_free(batch);
        if (n > 0) {
            return cli_failure("a message came, though none was sent to '%s'", b->id);
        }
    }
}

static bench_sample sample(double value) {
    return (bench_sample){.value = value, .server_us = NAN, .client_us = NAN};
}

static int measure(job *j, seg_consumer *consumer, bench_add_fn *add, double *server_cpu) {
    bench *b = &j->b;
    bench_usage before, after;
    int code = wait_out(b, consumer, QUIET_MS);
    if (code == CLI_OK && !bench_usage_take(&before, b->control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        code = wait_out(b, consumer, b->opts->duration);
    }
    if (code == CLI_OK && !bench_usage_take(&after, b->control)) {
        code = CLI_FAILURE;
    }
    if (code == CLI_OK) {
        double us = (double)(after.at_us - before.at_us);
        *server_cpu = (double)(after.server_us - before.server_us) / us * 100;
        double client_cpu = (double)(after.client_us - before.client_us) / us * 100;
        double commands = (double)(after.commands - before.commands - 1) / us * 1e6; /* less INFO */
        add(&j->report, b, "idle_server_cpu", "%", sample(*server_cpu));
        add(&j->report, b, "idle_client_cpu", "%", sample(client_cpu));
        add(&j->report, b, "idle_commands", "1/s", sample(commands));
    }
    return code;
}

static int run_ours(job *j, double *server_cpu) {
    bench *b = &j->b;
    seg_client *client;
    seg_consumer *consumer = NULL;
    seg_consumer_options opts;
    SEG_INIT(&opts);
    opts.group = "idle";
    opts.session_timeout = b->opts->session_timeout;
    int code = cli_open(&client, &b->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    if (seg_consumer_open(&consumer, client, b->id, &opts, &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        code = bench_await_partitions(b, consumer);
    }
    if (code == CLI_OK) {
        code = measure(j, consumer, bench_report_ours, server_cpu);
    }
    seg_consumer_close(consumer);
    seg_client_close(client);
    return code;
}

/* With not even our client for what is not measured. */
static int run_baseline(job *j, double ours) {
    bench *b = &j->b;
    double theirs;
    bench_usage quiet;
    seg_client_close(b->client);
    b->client = NULL;
    int code = bench_settle(b, &quiet);
    if (code == CLI_OK) {
        code = measure(j, NULL, bench_report_baseline, &theirs);
    }
    if (code == CLI_OK) {
        bench_report_ours(&j->report, b, "idle_server_cpu_added", "%", sample(ours - theirs));
    }
    int opened = cli_open(&b->client, &b->globals, false);
    return code == CLI_OK ? opened : code;
}

static int run_idle(const cli_run *run) {
    const bench_opts *o = run->opts;
    job j = {0};
    double server_cpu;
    int code = bench_begin(&j.b, run);
    if (code == CLI_OK) {
        code = bench_stream_create(&j.b, 1000);
    }
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        code = run_ours(&j, &server_cpu);
        if (code == CLI_OK && !o->no_baseline) {
            code = run_baseline(&j, server_cpu);
        }
    }
    if (code == CLI_OK) {
        bench_report_print(&j.report, &j.b, "idle");
    }
    bench_report_fini(&j.report);
    return bench_end(&j.b, code);
}

const cli_command cli_bench_idle = {
    .name = "bench idle",
    .args = "",
    .brief = "Measure what an idle consumer costs",
    .about =
        "Let a consumer that owns all partitions wait for messages that do not come, and say "
        "what the server and this process spend meanwhile, in per cent of one core; and beside "
        "it what the same server spends while nobody is connected." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_idle,
};
