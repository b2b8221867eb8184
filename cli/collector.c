/* collector.c - see collector.h. */
#include "collector.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct cli_collector {
    cli_collect_plan plan;
    const cli_globals *globals;
    int64_t timeout;
    seg_client *client; /* the thread's; NULL: not connected yet */
    int wake;           /* a job is done, or the thread has ended */
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    cli_collector_job job;
    bool done, ended;
    cli_collected result;
};

static void ring(cli_collector *c) {
    ssize_t n = write(c->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)n; /* it fails only where it is readable already */
}

/* ---- The thread ------------------------------------------------------------------------------ */

static seg_status connect_client(cli_collector *c, seg_error *err) {
    return c->client ? SEG_OK : cli_try_open(&c->client, c->globals, false, c->timeout, err);
}

static seg_status probe(cli_collector *c, seg_error *err) {
    seg_names *names;
    seg_status status = seg_stream_list(&names, c->client, err);
    if (status == SEG_OK) {
        seg_names_free(names);
    }
    return status;
}

static void work(cli_collector *c, cli_collector_job job, cli_collected *out) {
    int64_t start = cli_now_us();
    *out = (cli_collected){.job = job};
    seg_status status = connect_client(c, &out->err);
    if (status == SEG_OK && job == CLI_JOB_PROBE) {
        status = probe(c, &out->err);
    } else if (status == SEG_OK) {
        out->metrics = cli_metrics_new();
        status = cli_collect(out->metrics, c->client, &c->plan, &out->err);
        if (status != SEG_OK) {
            cli_metrics_drop(out->metrics);
            out->metrics = NULL;
        }
    }
    if (status == SEG_OK) {
        out->err.status = SEG_OK;
    }
    out->took_us = cli_now_us() - start;
}

static void *run(void *arg) {
    cli_collector *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stop)) {
        if (c->job == CLI_JOB_NONE || c->done) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        cli_collected result;
        cli_collector_job job = c->job;
        pthread_mutex_unlock(&c->lock);
        work(c, job, &result);
        pthread_mutex_lock(&c->lock);
        c->result = result;
        c->done = true;
        ring(c);
    }
    c->ended = true;
    pthread_mutex_unlock(&c->lock);
    ring(c);
    return NULL;
}

/* ---- Its owner ------------------------------------------------------------------------------- */

cli_collector *cli_collector_start(const cli_collect_plan *plan, const cli_globals *globals,
                                   int64_t timeout) {
    cli_collector *c = cli_alloc(1, sizeof *c);
    c->plan = *plan;
    c->plan.stop = &c->stop;
    c->globals = globals;
    c->timeout = timeout;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    int error = c->wake < 0 ? errno : pthread_create(&c->thread, NULL, run, c);
    if (error) {
        cli_failure("cannot start a thread: %s", strerror(error));
        if (c->wake >= 0) {
            close(c->wake);
        }
        pthread_cond_destroy(&c->changed);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
    }
    return c;
}

void cli_collector_ask(cli_collector *c, cli_collector_job job) {
    pthread_mutex_lock(&c->lock);
    c->job = job;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

int cli_collector_fd(const cli_collector *c) {
    return c->wake;
}

bool cli_collector_take(cli_collector *c, cli_collected *out) {
    uint64_t count;
    ssize_t n = read(c->wake, &count, sizeof count);
    (void)n;
    pthread_mutex_lock(&c->lock);
    bool done = c->done;
    if (done) {
        *out = c->result;
        c->done = false;
        c->job = CLI_JOB_NONE;
    }
    pthread_mutex_unlock(&c->lock);
    return done;
}

static bool has_ended(cli_collector *c) {
    pthread_mutex_lock(&c->lock);
    bool ended = c->ended;
    pthread_mutex_unlock(&c->lock);
    return ended;
}

bool cli_collector_stop(cli_collector *c, int64_t patience) {
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    int64_t deadline = cli_now_us() + patience * 1000;
    while (!has_ended(c)) {
        int64_t left = deadline - cli_now_us();
        if (left <= 0) {
            return false;
        }
        struct pollfd fd = {.fd = c->wake, .events = POLLIN};
        poll(&fd, 1, (int)(left / 1000 + 1));
        uint64_t count;
        ssize_t n = read(c->wake, &count, sizeof count);
        (void)n;
    }
    pthread_join(c->thread, NULL);
    if (c->done) {
        cli_metrics_drop(c->result.metrics);
    }
    seg_client_close(c->client);
    close(c->wake);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return true;
}
