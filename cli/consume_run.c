/* consume_run.c - consume with a command that handles the messages (--exec, --exec-stream).
 *
 *     main       seg_consumer_run ──> workers: handler ──> exec.c or exec_stream.c
 *     watcher    -e and --idle-exit: asks, and stops the run
 *     usher      the signals, and the service manager's watchdog
 *
 * The first signal stops the run: no command is started any more, and those running are waited for.
 * The second one kills them. It is the usher that does that, and nothing else, because it must not be
 * late: the watcher may be waiting for a server that does not answer.
 *
 * -n counts messages that are finished: acknowledged, rejected, or failed for the last time. A handler
 * that could make them too many waits until those under way are known to be, or not. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consume.h"
#include "exec.h"
#include "exec_stream.h"
#include "notify.h"
#include "process.h"
#include "signals.h"

typedef struct run {
    cli_consuming *c;
    cli_exec exec;
    cli_exec_stream *stream; /* NULL: exec */
    int quit[2];             /* the usher ends when [1] is closed */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    bool stopping; /* no message is begun any more */
    bool over;     /* the run has returned */
    uint64_t under_way, finished, begun;
    uint64_t acked, retried, rejected;
    int64_t active_us; /* when a message was begun or done last */
} run;

/* ---- Stopping -------------------------------------------------------------------------------- */

/* With the lock. */
static void stop_locked(run *r) {
    r->stopping = true;
    pthread_cond_broadcast(&r->changed);
    seg_consumer_stop(r->c->consumer);
}

static bool counted_out(const run *r) {
    return r->c->opts->count > 0 && r->finished >= (uint64_t)r->c->opts->count;
}

/* Wait for a change until then, cli_now_us(); INT64_MAX: however long. With the lock. */
static void await_change(run *r, int64_t deadline_us) {
    if (deadline_us == INT64_MAX) {
        pthread_cond_wait(&r->changed, &r->lock);
        return;
    }
    struct timespec at = {.tv_sec = (time_t)(deadline_us / 1000000),
                          .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    pthread_cond_timedwait(&r->changed, &r->lock, &at);
}

static bool pause_run(void *arg, int64_t ms) {
    run *r = arg;
    int64_t deadline = cli_now_us() + ms * 1000;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping && cli_now_us() < deadline) {
        await_change(r, deadline);
    }
    bool go_on = !r->stopping;
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

/* ---- Handling -------------------------------------------------------------------------------- */

/* May a message be begun? Waits while that depends on those under way. */
static bool begin(run *r) {
    uint64_t count = (uint64_t)r->c->opts->count;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping && r->c->opts->count > 0 && r->finished + r->under_way >= count) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    bool go = !r->stopping && !cli_signal_caught();
    if (go) {
        r->under_way++;
        r->begun++;
        r->active_us = cli_now_us();
    }
    pthread_mutex_unlock(&r->lock);
    return go;
}

static void done(run *r, const cli_outcome *outcome, uint32_t attempt) {
    bool last = r->c->max_attempts > 0 && attempt >= r->c->max_attempts;
    pthread_mutex_lock(&r->lock);
    r->under_way--;
    r->active_us = cli_now_us();
    r->acked += outcome->verdict == SEG_ACK;
    r->retried += outcome->verdict == SEG_RETRY;
    r->rejected += outcome->verdict == SEG_REJECT;
    r->finished += outcome->verdict == SEG_ACK || outcome->verdict == SEG_REJECT ||
                   (outcome->verdict == SEG_RETRY && last);
    cli_end_stir(&r->c->end);
    if (counted_out(r)) {
        stop_locked(r);
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static seg_verdict on_message(const seg_message *m, seg_settlement *how, void *arg) {
    /* The reason is read after we returned, on the same thread and before its next message. */
    static _Thread_local cli_outcome outcome;
    run *r = arg;
    if (!begin(r)) {
        return SEG_RELEASE;
    }
    if (r->stream) {
        cli_exec_stream_message(r->stream, m, &outcome);
    } else {
        cli_exec_message(&r->exec, m, &outcome);
    }
    seg_delivery d = seg_message_delivery(m);
    done(r, &outcome, d.attempt);
    if (r->c->verbose && (outcome.verdict == SEG_RETRY || outcome.verdict == SEG_REJECT)) {
        cli_note("partition %" PRIu32 ", offset %" PRIu64 ", attempt %" PRIu32 ": %s: %s",
                 d.partition, d.id.offset, d.attempt,
                 outcome.verdict == SEG_REJECT ? "rejected" : "failed",
                 outcome.reason[0] ? outcome.reason : "without a reason");
    }
    how->delay = outcome.delay;
    how->reason = outcome.reason[0] ? outcome.reason : NULL;
    return outcome.verdict;
}

/* ---- The watcher ----------------------------------------------------------------------------- */

/* Has nothing arrived for so long, and is nothing on its way? With the lock. `at` is when to look
 * again. */
static bool idle_out(const run *r, int64_t *at) {
    int64_t idle = r->c->opts->idle_exit;
    if (idle <= 0 || r->under_way > 0) {
        *at = INT64_MAX; /* done() wakes us */
        return false;
    }
    int64_t now = cli_now_us();
    int64_t due = idle < (INT64_MAX - r->active_us) / 1000 ? r->active_us + idle * 1000 : INT64_MAX;
    if (now < due) {
        *at = due;
        return false;
    }
    seg_consumer_stats stats;
    SEG_INIT(&stats);
    seg_consumer_get_stats(r->c->consumer, &stats);
    *at = now + 1000 * (idle < 1000 ? idle : 1000);
    return stats.parked == 0;
}

static void *watch(void *arg) {
    run *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->over && !r->stopping) {
        int64_t look;
        if (idle_out(r, &look)) {
            stop_locked(r);
            break;
        }
        int64_t wait = cli_end_wait(&r->c->end);
        int64_t end = wait == SEG_FOREVER ? INT64_MAX : cli_now_us() + wait * 1000;
        await_change(r, end < look ? end : look);
        bool busy = r->under_way > 0;
        if (r->over || r->stopping || !r->c->end.marks) {
            continue;
        }
        cli_end probe = r->c->end;
        pthread_mutex_unlock(&r->lock);
        bool reached = cli_end_reached(&probe, busy);
        pthread_mutex_lock(&r->lock);
        r->c->end.checked_us = probe.checked_us;
        r->c->end.check_ms = probe.check_ms;
        if (reached) {
            stop_locked(r);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- The usher ------------------------------------------------------------------------------- */

/* The run waits inside the library, and a command may run for as long as it likes: neither can ping.
 * What hangs where it must not holds one of two locks, so the ping comes behind both. */
static void ping(run *r) {
    seg_consumer_stats stats;
    SEG_INIT(&stats);
    pthread_mutex_lock(&r->lock);
    pthread_mutex_unlock(&r->lock);
    seg_consumer_get_stats(r->c->consumer, &stats);
    cli_notify_alive();
}

/* Ms to poll(). */
static int ping_wait(void) {
    int64_t wait = cli_notify_wait();
    return wait > INT32_MAX ? -1 : (int)wait;
}

static void on_first_signal(run *r) {
    cli_notify_stopping();
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_broadcast(&r->changed);
    uint64_t under_way = r->under_way;
    pthread_mutex_unlock(&r->lock);
    if (under_way > 0) {
        cli_note("waiting for %" PRIu64 " command%s to end; a second signal kills %s", under_way,
                 under_way == 1 ? "" : "s", under_way == 1 ? "it" : "them");
    }
}

/* Does not return. */
static void on_second_signal(int fd) {
    unsigned char number = SIGTERM;
    ssize_t n = read(fd, &number, 1);
    (void)n;
    cli_processes_kill();
    signal(number, SIG_DFL);
    kill(getpid(), number);
    for (;;) {
        pause();
    }
}

static void *usher(void *arg) {
    run *r = arg;
    struct pollfd fds[] = {
        {.fd = r->quit[0], .events = POLLIN},
        {.fd = cli_signals_second(), .events = POLLIN},
        {.fd = cli_signal_fd(), .events = POLLIN},
    };
    for (;;) {
        ping(r);
        if (poll(fds, CLI_COUNT(fds), ping_wait()) < 0) {
            continue;
        }
        if (fds[1].revents) {
            on_second_signal(fds[1].fd);
        }
        if (fds[2].revents) {
            on_first_signal(r);
            fds[2].fd = -1;
        }
        if (fds[0].revents) {
            return NULL;
        }
    }
}

/* ---- The run --------------------------------------------------------------------------------- */

void cli_consume_run_prepare(void) {
    /* Who is ignored by us is ignored by the system, and its end never told: not to be inherited. */
    signal(SIGCHLD, SIG_DFL);
    /* A limit on the size of files holds for those in memory too: one message's fault, not our end. */
    signal(SIGXFSZ, SIG_IGN);
    cli_signals_second();
}

static void start_run(run *r) {
    const cli_consume_opts *o = r->c->opts;
    int64_t timeout = r->c->ack_timeout;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&r->lock, NULL);
    r->active_us = cli_now_us();
    r->exec = (cli_exec){o->exec, &r->c->origin, o->ack_timeout >= 0 ? timeout : 0};
    if (o->exec_stream) {
        cli_exec_stream_plan plan = {.command = o->exec_stream,
                                     .origin = &r->c->origin,
                                     .timeout = timeout,
                                     .workers = (size_t)(o->workers >= 0 ? o->workers : 1),
                                     .pause = pause_run,
                                     .arg = r};
        r->stream = cli_exec_stream_new(&plan);
    }
}

static int run_consumer(run *r) {
    seg_run_options opts;
    SEG_INIT(&opts);
    opts.handler = on_message;
    opts.arg = r;
    opts.workers = (uint32_t)(r->c->opts->workers >= 0 ? r->c->opts->workers : 1);
    seg_error err;
    if (seg_consumer_run(r->c->consumer, &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    return CLI_OK;
}

static int run_with_watcher(run *r) {
    pthread_t watcher;
    bool watched = r->c->end.marks || r->c->opts->idle_exit > 0;
    if (watched && pthread_create(&watcher, NULL, watch, r) != 0) {
        return cli_failure("cannot start a thread");
    }
    int code = run_consumer(r);
    pthread_mutex_lock(&r->lock);
    r->over = r->stopping = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (watched) {
        pthread_join(watcher, NULL);
    }
    return code;
}

/* What was given up is said in any case: a command that is not there would else empty a stream in silence. */
static void report(const run *r) {
    seg_consumer_stats stats;
    SEG_INIT(&stats);
    seg_consumer_get_stats(r->c->consumer, &stats);
    if (stats.dead_lettered > 0) {
        cli_note("%" PRIu64 " dead letter%s; see segmenter dlq ls %s -g %s", stats.dead_lettered,
                 stats.dead_lettered == 1 ? "" : "s", r->c->origin.stream, r->c->origin.group);
    }
    if (!r->c->verbose) {
        return;
    }
    cli_note("%" PRIu64 " acknowledged, %" PRIu64 " failed, %" PRIu64 " rejected, %" PRIu64
             " dead-lettered",
             r->acked, r->retried, r->rejected, stats.dead_lettered);
}

int cli_consume_run(cli_consuming *c) {
    run r = {.c = c};
    const cli_consume_opts *o = c->opts;
    pthread_t guard;
    if (pipe2(r.quit, O_CLOEXEC) != 0) {
        return cli_failure("cannot open a pipe: %s", strerror(errno));
    }
    start_run(&r);
    int code;
    if (pthread_create(&guard, NULL, usher, &r) != 0) {
        code = cli_failure("cannot start a thread");
        cli_exec_stream_free(r.stream);
        close(r.quit[1]);
    } else {
        code = run_with_watcher(&r);
        cli_exec_stream_free(r.stream);
        report(&r);
        close(r.quit[1]);
        pthread_join(guard, NULL);
    }
    close(r.quit[0]);
    pthread_cond_destroy(&r.changed);
    pthread_mutex_destroy(&r.lock);
    bool counts = o->count > 0 || o->to_end || o->idle_exit > 0;
    return code == CLI_OK && counts && r.begun == 0 && !cli_signal_caught() ? CLI_NOTHING : code;
}
