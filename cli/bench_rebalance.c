/* bench_rebalance.c - segmenter bench rebalance: how long a partition pauses while the group changes.
 *
 * Members read what comes to each partition at a steady rate. Each run: nothing happens, one more
 * joins, it leaves, a process joins, it is killed. Where a partition moves, the pause is the time from
 * the last delivery of the one to the first of the other. Where it stays, it is the longest pause
 * beyond what the rate makes, and beside it the same while nothing happens: what the machine does. */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench_gaps.h"
#include "child.h"
#include "signals.h"

static const cli_opt table[] = {
    BENCH_RATE("8000"),
    BENCH_SIZE,
    BENCH_NUMBER("partitions", partitions, 1, 4096, "16", "partitions of the stream"),
    BENCH_CLIENTS("3", "members that are there all the time"),
    BENCH_SESSION_TIMEOUT("1s", "how long it takes until a killed member is found out"),
    BENCH_NUMBER("runs", runs, 1, 1000, "25", "runs; the figures are of all of them"),
    BENCH_PAYLOAD,
    BENCH_BATCH_BYTES,
    BENCH_LINGER,
    BENCH_CODEC,
    BENCH_JSON_LINES,
};

enum {
    WINDOW_MS = 300,  /* after each change, in which partitions that stay are looked at */
    LOOK_MS = 10,     /* between two looks whether all is settled */
    SETTLED_MS = 100, /* that is waited on after it is */
    STUCK_MS = 60000,
    KEPT = 100000 /* messages that a partition holds */
};

typedef struct job {
    bench b;
    bench_report report;
    seg_client *client; /* the sender's */
    seg_producer *producer;
    char (*keys)[24]; /* one of each partition */
    bench_schedule schedule;
    pthread_t sender;
    bool sending;
    atomic_bool stop, sender_failed;
    uint64_t sent, stored; /* the sender's, until it has ended, */
    int64_t latest_ns;     /* and how late it was at most */
    bench_log log;
    bench_gaps gaps;
    bench_member *members; /* those that stay, and one that comes and goes */
    uint32_t n_present;    /* in the group */
    uint32_t next_number;
    cli_histogram join, leave, crash, stay, quiet;
} job;

/* ---- Sending --------------------------------------------------------------------------------- */

static void make_keys(job *j) {
    uint32_t partitions = (uint32_t)j->b.opts->partitions, found = 0;
    j->keys = cli_alloc(partitions, sizeof *j->keys);
    for (uint32_t i = 0; found < partitions; i++) {
        char key[24];
        snprintf(key, sizeof key, "key-%" PRIu32, i);
        uint32_t partition = seg_partition_of((seg_bytes){key, strlen(key)}, partitions);
        if (!j->keys[partition][0]) {
            memcpy(j->keys[partition], key, sizeof key);
            found++;
        }
    }
}

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    job *j = arg;
    (void)where;
    if (status == SEG_OK) {
        j->stored++;
    } else if (!atomic_exchange(&j->sender_failed, true)) {
        cli_note("a message could not be sent: %s", err->text);
    }
}

/* Where the schedule fell behind, because the machine did something else, it is made up for at once.
 * Such a pause looks like one of the partitions, so the longest is reported. */
static void *send_steadily(void *arg) {
    job *j = arg;
    const bench_load *load = &j->b.load;
    seg_record r;
    SEG_INIT(&r);
    while (!atomic_load(&j->stop)) {
        bench_sleep_until(bench_schedule_at(&j->schedule, j->sent));
        int64_t now = bench_now_ns(), late = now - bench_schedule_at(&j->schedule, j->sent);
        j->latest_ns = late > j->latest_ns ? late : j->latest_ns;
        uint64_t due = bench_schedule_due(&j->schedule, now);
        for (; j->sent < due; j->sent++) {
            const char *key = j->keys[j->sent % (uint64_t)j->b.opts->partitions];
            r.key = (seg_bytes){key, strlen(key)};
            r.value = bench_load_value(load, j->sent % load->n);
            if (seg_send_async(j->producer, &r, on_sent, j, NULL) != SEG_OK) {
                break; /* its queue is full: later */
            }
        }
        seg_producer_poll(j->producer, 0, NULL);
    }
    while (seg_producer_flush(j->producer, 100, NULL) == SEG_ETIMEDOUT && !cli_signal_caught()) {
    }
    return NULL;
}

static int start_sender(job *j) {
    seg_producer_options opts = bench_producer_options(&j->b);
    seg_error err;
    int code = cli_open(&j->client, &j->b.globals, false);
    if (code != CLI_OK) {
        return code;
    }
    if (seg_producer_open(&j->producer, j->client, j->b.id, &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    j->schedule = bench_schedule_from(bench_now_ns(), j->b.opts->rate);
    int error = pthread_create(&j->sender, NULL, send_steadily, j);
    j->sending = error == 0;
    return error ? cli_failure("cannot start a thread: %s", strerror(error)) : CLI_OK;
}

static void stop_sender(job *j) {
    atomic_store(&j->stop, true);
    if (j->sending) {
        pthread_join(j->sender, NULL);
        j->sending = false;
    }
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Who owns each partition; false where one has nobody, or somebody else than those who are there, or
 * one has more than his share. */
static bool read_owners(const job *j, uint32_t *owners) {
    seg_group_info *group;
    if (seg_group_describe(&group, j->b.client, j->b.id, BENCH_GROUP, NULL) != SEG_OK) {
        return false;
    }
    uint32_t n = j->gaps.partitions;
    size_t members = seg_group_info_members(group);
    bool good = members == j->n_present;
    for (size_t i = 0; good && i < members; i++) {
        size_t owned;
        seg_group_info_owned(group, i, &owned);
        good = owned >= n / j->n_present && owned <= (n + j->n_present - 1) / j->n_present;
    }
    for (uint32_t i = 0; good && i < n; i++) {
        owners[i] = bench_member_number(seg_group_info_partition(group, i)->owner);
        good = owners[i] != BENCH_NOBODY;
    }
    seg_group_info_free(group);
    return good;
}

/* Does each partition's newest delivery come from its owner? */
static bool is_settled(job *j, uint32_t *owners) {
    if (!read_owners(j, owners)) {
        return false;
    }
    pthread_mutex_lock(&j->log.lock);
    bool same = memcmp(owners, j->log.newest, j->gaps.partitions * sizeof *owners) == 0;
    pthread_mutex_unlock(&j->log.lock);
    return same;
}

static int check_alive(const job *j) {
    bool failed = atomic_load(&j->log.failed) || atomic_load(&j->sender_failed);
    return failed ? CLI_FAILURE : bench_interrupted();
}

/* Wait until all members have their share and deliver it. */
static int await_settled(job *j) {
    uint32_t *owners = cli_alloc(j->gaps.partitions, sizeof *owners);
    int64_t deadline = cli_now_us() + STUCK_MS * INT64_C(1000);
    int code = check_alive(j);
    while (code == CLI_OK && !is_settled(j, owners)) {
        cli_pause(LOOK_MS);
        code = check_alive(j);
        if (code == CLI_OK && cli_now_us() > deadline) {
            code = cli_failure("%" PRIu32 " members do not deliver all %" PRIu32
                               " partitions after %d s",
                               j->n_present, j->gaps.partitions, STUCK_MS / 1000);
        }
    }
    free(owners);
    return code;
}

/* ---- What happens ---------------------------------------------------------------------------- */

static bench_member *guest(job *j) {
    return &j->members[j->b.opts->clients];
}

static int do_nothing(job *j) {
    (void)j;
    return CLI_OK;
}

static int do_join(job *j) {
    j->n_present++;
    return bench_member_join(guest(j), &j->b);
}

static int do_spawn(job *j) {
    j->n_present++;
    return bench_member_spawn(guest(j), &j->b, &j->log, j->next_number++);
}

static int do_leave(job *j) {
    j->n_present--;
    bench_member_leave(guest(j));
    return CLI_OK;
}

/* Let one thing happen, wait until it is over, and look at the pauses that it made. */
static int observe(job *j, int (*happen)(job *j), cli_histogram *moved, cli_histogram *stayed,
                   bool may_repeat) {
    const bench_opts *o = j->b.opts;
    int64_t window = WINDOW_MS * INT64_C(1000000);
    int64_t interval = (int64_t)(1e9 * (double)o->partitions / (double)o->rate);
    bench_gaps_look(&j->gaps, &j->log, 0, 0, 0, NULL, NULL);
    uint64_t repeated = j->gaps.repeated;
    int64_t began = bench_now_ns();
    int code = happen(j);
    if (code == CLI_OK) {
        code = await_settled(j);
    }
    if (code != CLI_OK) {
        return code;
    }
    int64_t end = bench_now_ns() > began + window ? bench_now_ns() : began + window;
    bench_sleep_until(end + SETTLED_MS * INT64_C(1000000));
    bench_gaps_look(&j->gaps, &j->log, began, began + window, interval, moved, stayed);
    if (j->gaps.missing || (j->gaps.repeated > repeated && !may_repeat)) {
        return cli_failure("%" PRIu64 " messages were passed over, %" PRIu64
                           " came again though nobody had died",
                           j->gaps.missing, j->gaps.repeated - repeated);
    }
    return check_alive(j);
}

static int run_once(job *j) {
    int code = observe(j, do_nothing, NULL, &j->quiet, false);
    if (code == CLI_OK) {
        code = bench_member_init(guest(j), &j->b, &j->log, j->next_number++);
    }
    if (code == CLI_OK) {
        code = observe(j, do_join, &j->join, &j->stay, false);
    }
    if (code == CLI_OK) {
        code = observe(j, do_leave, &j->leave, &j->stay, false);
    }
    bench_member_end(guest(j));
    if (code == CLI_OK) {
        code = observe(j, do_spawn, &j->join, NULL, false);
    }
    if (code == CLI_OK) {
        code = observe(j, do_leave, &j->crash, NULL, true);
    }
    bench_member_end(guest(j));
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int begin(job *j) {
    bench *b = &j->b;
    /* Not by the command line, which others can read. No thread of ours runs yet. */
    setenv("SEGMENTER_URL", b->globals.url, 1);
    setenv("SEGMENTER_NAMESPACE", b->globals.name_space, 1);
    make_keys(j);
    bench_log_init(&j->log, (uint32_t)b->opts->partitions);
    bench_gaps_init(&j->gaps, (uint32_t)b->opts->partitions);
    j->members = cli_alloc((size_t)b->opts->clients + 1, sizeof *j->members);
    int code = bench_stream_create(b, KEPT);
    if (code == CLI_OK) {
        code = start_sender(j);
    }
    for (int64_t i = 0; code == CLI_OK && i < b->opts->clients; i++) {
        code = bench_member_init(&j->members[i], b, &j->log, j->next_number++);
        if (code == CLI_OK) {
            j->n_present++;
            code = bench_member_join(&j->members[i], b);
        }
    }
    return code == CLI_OK ? await_settled(j) : code;
}

/* Has everything come that was sent? */
static int check_all(job *j) {
    int64_t deadline = cli_now_us() + STUCK_MS * INT64_C(1000);
    stop_sender(j);
    for (;;) {
        bench_gaps_look(&j->gaps, &j->log, 0, 0, 0, NULL, NULL);
        if (bench_gaps_received(&j->gaps) == j->sent || check_alive(j) != CLI_OK) {
            return check_alive(j);
        }
        if (cli_now_us() > deadline) {
            return cli_failure("%" PRIu64 " messages came, %" PRIu64 " were sent",
                               bench_gaps_received(&j->gaps), j->sent);
        }
        cli_pause(LOOK_MS);
    }
}

static void report(job *j, const char *name, bench_add_fn *add, const cli_histogram *h) {
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
    for (size_t i = 0; i < CLI_COUNT(points); i++) {
        char full[64];
        snprintf(full, sizeof full, "rebalance_%s_gap_%s", name, points[i].name);
        add(&j->report, &j->b, full, "ms",
            (bench_sample){.value = cli_histogram_at(h, points[i].part) / 1e6,
                           .server_us = NAN,
                           .client_us = NAN});
    }
}

static void report_all(job *j) {
    report(j, "join", bench_report_ours, &j->join);
    report(j, "leave", bench_report_ours, &j->leave);
    report(j, "crash", bench_report_ours, &j->crash);
    report(j, "stay", bench_report_ours, &j->stay);
    report(j, "stay", bench_report_baseline, &j->quiet);
    bench_report_ours(&j->report, &j->b, "rebalance_sender_late_max", "ms",
                      (bench_sample){(double)j->latest_ns / 1e6, NAN, NAN});
    bench_report_print(&j->report, &j->b, "rebalance");
}

static void end(job *j) {
    stop_sender(j);
    for (int64_t i = 0; j->members && i <= j->b.opts->clients; i++) {
        bench_member_end(&j->members[i]);
    }
    seg_producer_close(j->producer);
    seg_client_close(j->client);
    bench_gaps_fini(&j->gaps);
    bench_log_fini(&j->log);
    free(j->members);
    free(j->keys);
}

static int run_rebalance(const cli_run *run) {
    const bench_opts *o = run->opts;
    job *j = cli_alloc(1, sizeof *j);
    int code = bench_begin(&j->b, run);
    if (code == CLI_OK) {
        code = begin(j);
    }
    for (int64_t i = 0; code == CLI_OK && i < o->runs; i++) {
        code = run_once(j);
    }
    if (code == CLI_OK) {
        code = check_all(j);
    }
    if (code == CLI_OK) {
        report_all(j);
    }
    end(j);
    bench_report_fini(&j->report);
    code = bench_end(&j->b, code);
    free(j);
    return code;
}

const cli_command cli_bench_rebalance = {
    .name = "bench rebalance",
    .args = "",
    .brief = "Measure the pauses when a group changes",
    .about =
        "Send to all partitions at a steady rate, let members join, leave and be killed, and say "
        "how "
        "long messages paused: \"gap\" is the time between the last delivery of the old owner and "
        "the first of the new one, \"stay\" what a partition that did not move paused longer than "
        "its messages are apart, and its baseline the same while nothing happens. All is of all "
        "runs together." BENCH_ABOUT,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(bench_opts),
    .run = run_rebalance,
};
