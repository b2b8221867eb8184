/* bench_member.c - see bench_member.h. */
#include "bench_member.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "signals.h"

enum { AT_ONCE = 1000, WAIT_MS = 200, EVENTS_AT_ONCE = 256 };

/* ---- The log --------------------------------------------------------------------------------- */

void bench_log_init(bench_log *l, uint32_t partitions) {
    *l = (bench_log){.partitions = partitions};
    pthread_mutex_init(&l->lock, NULL);
    l->newest = cli_alloc(partitions, sizeof *l->newest);
    for (uint32_t i = 0; i < partitions; i++) {
        l->newest[i] = BENCH_NOBODY;
    }
}

void bench_log_fini(bench_log *l) {
    if (l->newest) {
        pthread_mutex_destroy(&l->lock);
    }
    free(l->events);
    free(l->newest);
    *l = (bench_log){0};
}

static void add_events(bench_log *l, const bench_event *events, size_t n) {
    pthread_mutex_lock(&l->lock);
    if (l->n + n > l->capacity) {
        l->capacity = 2 * (l->n + n);
        l->events = cli_grow(l->events, l->capacity, sizeof *l->events);
    }
    for (size_t i = 0; i < n; i++) {
        l->events[l->n++] = events[i];
        if (events[i].partition < l->partitions) {
            l->newest[events[i].partition] = events[i].member;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

static int compare(const void *a, const void *b) {
    const bench_event *x = a, *y = b;
    if (x->at_ns != y->at_ns) {
        return x->at_ns < y->at_ns ? -1 : 1;
    }
    return (x->offset > y->offset) - (x->offset < y->offset); /* of one batch */
}

bench_event *bench_log_take(bench_log *l, int64_t until_ns, size_t *n) {
    size_t kept = 0;
    *n = 0;
    pthread_mutex_lock(&l->lock);
    bench_event *taken = cli_alloc(l->n, sizeof *taken);
    for (size_t i = 0; i < l->n; i++) {
        if (l->events[i].at_ns <= until_ns) {
            taken[(*n)++] = l->events[i];
        } else {
            l->events[kept++] = l->events[i];
        }
    }
    l->n = kept;
    pthread_mutex_unlock(&l->lock);
    qsort(taken, *n, sizeof *taken, compare);
    return taken;
}

/* ---- Consuming ------------------------------------------------------------------------------- */

typedef bool take_fn(const bench_event *events, size_t n, void *arg);

static seg_status handle(seg_consumer *consumer, const seg_batch *batch, uint32_t number,
                         take_fn *take, void *arg, seg_error *err) {
    bench_event events[AT_ONCE];
    int64_t now = bench_now_ns();
    size_t n = seg_batch_count(batch);
    for (size_t i = 0; i < n; i++) {
        seg_delivery d = seg_message_delivery(seg_batch_at(batch, i));
        events[i] = (bench_event){now, d.id.offset, d.partition, number};
    }
    if (n > 0 && !take(events, n, arg)) {
        return SEG_ECLOSED;
    }
    /* EFENCED: a partition that was taken away. Whoever has it is given these again. */
    seg_status status = n > 0 ? seg_ack_batch(consumer, batch, err) : SEG_OK;
    return status == SEG_EFENCED ? SEG_OK : status;
}

/* Until it is stopped. */
static int consume(seg_consumer *consumer, uint32_t number, take_fn *take, void *arg) {
    for (;;) {
        seg_batch *batch;
        seg_error err;
        seg_status status = seg_consumer_poll(&batch, consumer, AT_ONCE, WAIT_MS, &err);
        if (status == SEG_OK) {
            status = handle(consumer, batch, number, take, arg, &err);
            seg_batch_free(batch);
        }
        if (status != SEG_OK) {
            return status == SEG_ECLOSED ? CLI_OK : cli_error(&err);
        }
    }
}

static int open_consumer(seg_consumer **out, seg_client *client, const char *stream,
                         uint32_t number, int64_t session_timeout) {
    char name[16];
    seg_consumer_options opts;
    SEG_INIT(&opts);
    bench_member_name(name, number);
    opts.group = BENCH_GROUP;
    opts.name = name;
    opts.session_timeout = session_timeout;
    seg_error err;
    return seg_consumer_open(out, client, stream, &opts, &err) == SEG_OK ? CLI_OK : cli_error(&err);
}

/* ---- Threads --------------------------------------------------------------------------------- */

void bench_member_name(char out[16], uint32_t number) {
    snprintf(out, 16, "m%" PRIu32, number);
}

uint32_t bench_member_number(const char *name) {
    int64_t number;
    return name && cli_number_parse(name + 1, &number) ? (uint32_t)number : BENCH_NOBODY;
}

static bool take_to_log(const bench_event *events, size_t n, void *arg) {
    add_events(arg, events, n);
    return true;
}

static void *run_thread(void *arg) {
    bench_member *m = arg;
    if (consume(m->consumer, m->number, take_to_log, m->log) != CLI_OK) {
        atomic_store(&m->log->failed, true);
    }
    return NULL;
}

static int start_thread(bench_member *m, void *(*run)(void *)) {
    int error = pthread_create(&m->thread, NULL, run, m);
    m->running = error == 0;
    return error ? cli_failure("cannot start a thread: %s", strerror(error)) : CLI_OK;
}

int bench_member_init(bench_member *m, const bench *b, bench_log *log, uint32_t number) {
    *m = (bench_member){.log = log, .number = number, .fd = -1};
    return cli_open(&m->client, &b->globals, false);
}

int bench_member_join(bench_member *m, const bench *b) {
    int code = open_consumer(&m->consumer, m->client, b->id, m->number, b->opts->session_timeout);
    return code == CLI_OK ? start_thread(m, run_thread) : code;
}

void bench_member_leave(bench_member *m) {
    if (m->consumer && m->running) {
        seg_consumer_stop(m->consumer);
    }
    if (m->pid > 0) {
        kill(m->pid, SIGKILL);
        waitpid(m->pid, NULL, 0);
        m->pid = 0;
    }
    if (m->running) {
        pthread_join(m->thread, NULL);
        m->running = false;
    }
    seg_consumer_close(m->consumer);
    m->consumer = NULL;
}

void bench_member_end(bench_member *m) {
    if (!m->log) {
        return;
    }
    bench_member_leave(m);
    seg_client_close(m->client);
    if (m->fd >= 0) {
        close(m->fd);
    }
    *m = (bench_member){0};
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* Take in what the process writes, until its end. An event that a SIGKILL cut off never happened. */
static void *run_reader(void *arg) {
    bench_member *m = arg;
    bench_event events[EVENTS_AT_ONCE];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(m->fd, (char *)events + len, sizeof events - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return NULL;
        }
        len += (size_t)n;
        size_t whole = len / sizeof *events;
        add_events(m->log, events, whole);
        len -= whole * sizeof *events;
        memmove(events, events + whole, len);
    }
}

int bench_member_spawn(bench_member *m, const bench *b, bench_log *log, uint32_t number) {
    char digits[16], timeout[24];
    int ends[2];
    *m = (bench_member){.log = log, .number = number, .fd = -1};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return cli_failure("cannot create a pipe: %s", strerror(errno));
    }
    snprintf(digits, sizeof digits, "%" PRIu32, number);
    cli_duration_print(timeout, b->opts->session_timeout);
    char *argv[] = {"segmenter", "bench-member",      b->id,   "--number",
                    digits,      "--session-timeout", timeout, NULL};
    m->pid = cli_child_start("/proc/self/exe", argv, ends[1], SIGKILL);
    int error = errno;
    close(ends[1]);
    m->fd = ends[0];
    if (m->pid < 0) {
        m->pid = 0;
        return cli_failure("cannot start a member: %s", strerror(error));
    }
    return start_thread(m, run_reader);
}

/* ---- The process ----------------------------------------------------------------------------- */

typedef struct member_opts {
    int64_t number;
    int64_t session_timeout;
} member_opts;

static const cli_opt table[] = {
    {.name = "number",
     .type = CLI_NUMBER,
     .arg = "NUMBER",
     .at = offsetof(member_opts, number),
     .max = UINT32_MAX - 1,
     .required = true,
     .text = "which member it is"},
    {.name = "session-timeout",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(member_opts, session_timeout),
     .min = 100,
     .max = 3600000,
     .fallback = "1s",
     .text = "as in consume"},
};

static bool take_to_stdout(const bench_event *events, size_t n, void *arg) {
    (void)arg;
    const char *at = (const char *)events;
    for (size_t len = n * sizeof *events; len > 0;) {
        ssize_t written = write(STDOUT_FILENO, at, len);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        at += written > 0 ? written : 0;
        len -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static int run_process(const cli_run *run) {
    const member_opts *o = run->opts;
    seg_client *client;
    seg_consumer *consumer;
    cli_signals_catch();
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    code = open_consumer(&consumer, client, run->args[0], (uint32_t)o->number, o->session_timeout);
    if (code == CLI_OK) {
        cli_signals_stop(consumer);
        code = consume(consumer, (uint32_t)o->number, take_to_stdout, NULL);
        cli_signals_stop(NULL);
        seg_consumer_close(consumer);
    }
    seg_client_close(client);
    return code;
}

const cli_command cli_bench_member = {
    .name = "bench-member",
    .args = "STREAM",
    .min_args = 1,
    .max_args = 1,
    .brief = "",
    .about = "A member that segmenter bench rebalance kills, and starts for that.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(member_opts),
    .hidden = true,
    .run = run_process,
};
