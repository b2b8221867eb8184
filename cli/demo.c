/* demo.c - segmenter demo: the main job, shown and checked on a private server.
 *
 * Three consumers read what the demo sends; one more joins; one is killed. What happens next hangs
 * on what was seen, not on the time: on a slow machine the demo takes longer, and fails only where
 * nothing moves for STALL_MS. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "demo.h"
#include "private.h"
#include "signals.h"

enum {
    FIRST_CONSUMERS = 3,
    VICTIM = 1, /* index of the consumer that is killed */
    STEP_MS = 5,
    BURST = 1000,      /* messages sent in one step at most */
    JOIN_PERCENT = 30, /* of the messages are sent when the fourth consumer joins, */
    KILL_PERCENT = 55, /* when the second is killed, */
    HOLD_PERCENT = 80, /* and when sending waits for that to have happened */
    STALL_MS = 60000,
    LOOK_MS = 100, /* between two looks at the group */
    STOP_MS = 15000,
    EVENTS_AT_ONCE = 512
};

typedef struct demo_opts {
    int64_t messages;
    int64_t keys;
    int64_t rate;
} demo_opts;

static const cli_opt table[] = {
    {.name = "messages",
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(demo_opts, messages),
     .min = 1000,
     .max = 10000000,
     .fallback = "100000",
     .text = "messages to send"},
    {.name = "keys",
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(demo_opts, keys),
     .min = 1,
     .max = 100000,
     .fallback = "1000",
     .text = "keys that they have"},
    {.name = "rate",
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(demo_opts, rate),
     .min = 100,
     .max = 1000000,
     .fallback = "5000",
     .text = "messages to send in a second"},
};

typedef struct worker {
    char name[8];
    pid_t pid; /* 0: not started, or gone */
    int fd;    /* its events; -1 at their end */
    char partial[sizeof(demo_event)];
    size_t n_partial;
} worker;

typedef struct demo {
    const demo_opts *opts;
    const cli_globals *globals;
    cli_private server;
    seg_client *client;
    seg_producer *producer;
    seg_group_info *group; /* the latest look */
    worker workers[DEMO_CONSUMERS];
    demo_check check;
    demo_view view;
    int64_t started_us, looked_us, moved_us;
    int64_t sending_us; /* when sending began */
    uint64_t moved;     /* messages handled then: nothing moves where this stays */
    uint64_t sent, stored, failed;
    seg_error first; /* why the first send failed */
    bool joined, killed, told_takeover;
} demo;

static int64_t elapsed(const demo *d) {
    return cli_now_us() - d->started_us;
}

/* ---- Consumers ------------------------------------------------------------------------------- */

static int start_worker(demo *d, uint32_t number) {
    worker *w = &d->workers[number];
    int pipe_fds[2];
    char keys[24];
    snprintf(w->name, sizeof w->name, "c%" PRIu32, number + 1);
    snprintf(keys, sizeof keys, "%" PRId64, d->opts->keys);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return cli_failure("cannot create a pipe: %s", strerror(errno));
    }
    char *argv[] = {"segmenter", "demo-consumer", "--url",  d->server.url, "--namespace", "default",
                    "--name",    w->name,         "--keys", keys,          NULL};
    w->pid = cli_child_start("/proc/self/exe", argv, pipe_fds[1], SIGKILL);
    int error = errno;
    close(pipe_fds[1]);
    if (w->pid < 0) {
        w->pid = 0;
        close(pipe_fds[0]);
        return cli_failure("cannot start a consumer: %s", strerror(error));
    }
    w->fd = pipe_fds[0];
    fcntl(w->fd, F_SETFL, O_NONBLOCK);
    return CLI_OK;
}

/* Take in what one consumer wrote. An event that a SIGKILL cut off in the middle never happened. */
static void read_events(demo *d, uint32_t number) {
    worker *w = &d->workers[number];
    char buffer[EVENTS_AT_ONCE * sizeof(demo_event)];
    while (w->fd >= 0) {
        memcpy(buffer, w->partial, w->n_partial);
        ssize_t n = read(w->fd, buffer + w->n_partial, sizeof buffer - w->n_partial);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            close(w->fd);
            w->fd = -1;
            return;
        }
        size_t len = w->n_partial + (size_t)n, at = 0;
        for (; len - at >= sizeof(demo_event); at += sizeof(demo_event)) {
            demo_event event;
            memcpy(&event, buffer + at, sizeof event);
            event.member = number;
            demo_check_add(&d->check, &event);
        }
        w->n_partial = len - at;
        memcpy(w->partial, buffer + at, w->n_partial);
    }
}

static int check_workers(demo *d) {
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        worker *w = &d->workers[i];
        int status;
        if (w->pid > 0 && cli_child_ended(w->pid, &status)) {
            w->pid = 0;
            return cli_failure("consumer %s ended by itself", w->name);
        }
    }
    return CLI_OK;
}

/* How many partitions the member `name` owned at the latest look; `set` (may be NULL): which. */
static size_t owned(const demo *d, const char *name, bool *set) {
    size_t count = 0;
    for (uint32_t i = 0; d->group && i < seg_group_info_partitions(d->group); i++) {
        const char *owner = seg_group_info_partition(d->group, i)->owner;
        bool own = owner && strcmp(owner, name) == 0;
        count += own;
        if (set) {
            set[i] = own;
        }
    }
    return count;
}

/* Do the first `n` consumers own something, and together all? */
static bool all_own(const demo *d, uint32_t n) {
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t count = owned(d, d->workers[i].name, NULL);
        if (count == 0) {
            return false;
        }
        total += count;
    }
    return total == DEMO_PARTITIONS;
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    demo *d = arg;
    (void)where;
    if (status == SEG_OK) {
        d->stored++;
    } else if (d->failed++ == 0) {
        d->first = *err;
    }
}

/* Messages that should have been sent by now. */
static uint64_t due(const demo *d) {
    uint64_t messages = (uint64_t)d->opts->messages;
    uint64_t hold = d->killed ? messages : messages * HOLD_PERCENT / 100;
    int64_t passed = cli_now_us() - d->sending_us;
    uint64_t by_rate = (uint64_t)((double)passed / 1e6 * (double)d->opts->rate);
    uint64_t by_burst = d->sent + BURST;
    uint64_t count = by_rate < hold ? by_rate : hold;
    return count < by_burst ? count : by_burst;
}

static int send_due(demo *d) {
    uint32_t keys = (uint32_t)d->opts->keys;
    seg_error err;
    for (uint64_t count = due(d); d->sent < count;) {
        char key[16], value[DEMO_VALUE_SIZE + 1];
        uint32_t message = (uint32_t)d->sent;
        size_t key_len = demo_key(key, message, keys);
        demo_value(value, message, keys);
        seg_record r;
        SEG_INIT(&r);
        r.key = (seg_bytes){key, key_len};
        r.value = (seg_bytes){value, DEMO_VALUE_SIZE};
        seg_status status = seg_send_async(d->producer, &r, on_sent, d, &err);
        if (status == SEG_EFULL) {
            break; /* the rest in the next step, after the callbacks */
        }
        if (status != SEG_OK) {
            return cli_error(&err);
        }
        d->sent++;
    }
    if (seg_producer_poll(d->producer, 0, &err) != SEG_OK) {
        return cli_error(&err);
    }
    return d->failed ? cli_failure("a message could not be sent: %s", d->first.text) : CLI_OK;
}

/* ---- One step -------------------------------------------------------------------------------- */

static void wait_events(demo *d) {
    struct pollfd fds[DEMO_CONSUMERS + 1];
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        fds[i] = (struct pollfd){.fd = d->workers[i].fd, .events = POLLIN};
    }
    int signal_fd = cli_signal_caught() ? -1 : cli_signal_fd();
    fds[DEMO_CONSUMERS] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    poll(fds, DEMO_CONSUMERS + 1, STEP_MS);
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        read_events(d, i);
    }
}

static void look(demo *d) {
    seg_group_info *group;
    d->looked_us = cli_now_us();
    if (seg_group_describe(&group, d->client, DEMO_STREAM, DEMO_GROUP, NULL) == SEG_OK) {
        seg_group_info_free(d->group);
        d->group = group;
    }
}

static void show(demo *d) {
    int64_t now = cli_now_us();
    if (d->check.takeover_us >= 0 && !d->told_takeover) {
        d->told_takeover = true;
        demo_view_event(&d->view, now - d->started_us,
                        "its partitions were taken over after %" PRId64 " ms",
                        d->check.takeover_us / 1000);
    }
    if (demo_view_due(&d->view, now)) {
        demo_status status = {now - d->started_us, d->sent, &d->check, d->group};
        demo_view_draw(&d->view, now, &status);
    }
}

/* What every phase does all the time. */
static int step(demo *d) {
    wait_events(d);
    int64_t now = cli_now_us();
    if (cli_signal_caught()) {
        return cli_failure("interrupted");
    }
    if (now - d->looked_us >= LOOK_MS * 1000) {
        look(d);
    }
    show(d);
    if (d->check.distinct + d->sent != d->moved || !d->moved_us) {
        d->moved = d->check.distinct + d->sent;
        d->moved_us = now;
    } else if (now - d->moved_us > STALL_MS * INT64_C(1000)) {
        return cli_failure("nothing moved for %d s: %" PRIu64 " messages sent, %" PRIu64 " handled",
                           STALL_MS / 1000, d->sent, d->check.distinct);
    }
    return check_workers(d);
}

/* ---- What happens on the way ----------------------------------------------------------------- */

static int join(demo *d) {
    d->joined = true;
    int code = start_worker(d, FIRST_CONSUMERS);
    if (code == CLI_OK) {
        demo_view_event(&d->view, elapsed(d), "consumer %s joins",
                        d->workers[FIRST_CONSUMERS].name);
    }
    return code;
}

static void kill_one(demo *d) {
    worker *w = &d->workers[VICTIM];
    look(d);
    if (owned(d, w->name, d->check.taken) == 0) {
        return; /* later, when there is something to take over */
    }
    d->killed = true;
    d->check.killed = VICTIM;
    d->check.killed_us = cli_now_us();
    kill(w->pid, SIGKILL);
    waitpid(w->pid, NULL, 0);
    w->pid = 0;
    char list[64] = "";
    for (uint32_t i = 0, n = 0; i < DEMO_PARTITIONS; i++) {
        if (d->check.taken[i]) {
            n += (uint32_t)snprintf(list + n, sizeof list - n, "%s%" PRIu32, n ? "," : "", i);
        }
    }
    demo_view_event(&d->view, elapsed(d), "consumer %s is killed; it held partitions %s", w->name,
                    list);
}

static int advance(demo *d) {
    uint64_t percent = d->sent * 100 / (uint64_t)d->opts->messages;
    if (!d->joined && percent >= JOIN_PERCENT) {
        return join(d);
    }
    if (d->joined && !d->killed && percent >= KILL_PERCENT && all_own(d, DEMO_CONSUMERS)) {
        kill_one(d);
    }
    return CLI_OK;
}

static bool is_complete(const demo *d) {
    return d->check.distinct == (uint64_t)d->opts->messages && d->stored == d->sent &&
           d->check.takeover_us >= 0 && d->group && seg_group_info_lag(d->group) == 0;
}

static int run_phases(demo *d) {
    int code = CLI_OK;
    while (code == CLI_OK && !all_own(d, FIRST_CONSUMERS)) {
        code = step(d);
    }
    if (code == CLI_OK) {
        demo_view_event(&d->view, elapsed(d), "consumers c1, c2 and c3 share %d partitions",
                        DEMO_PARTITIONS);
    }
    d->sending_us = cli_now_us();
    while (code == CLI_OK && !is_complete(d)) {
        code = send_due(d);
        if (code == CLI_OK) {
            code = step(d);
        }
        if (code == CLI_OK) {
            code = advance(d);
        }
    }
    return code;
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static int open_all(demo *d) {
    int code = cli_private_start(&d->server, NULL, getenv("SEGMENTER_SERVER"));
    if (code != CLI_OK) {
        return code;
    }
    cli_globals globals = *d->globals;
    globals.url = d->server.url;
    globals.name_space = "default";
    code = cli_open(&d->client, &globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_stream_options stream;
    SEG_INIT(&stream);
    stream.partitions = DEMO_PARTITIONS;
    stream.max_messages = (uint64_t)d->opts->messages;
    seg_error err;
    if (seg_stream_create(d->client, DEMO_STREAM, &stream, &err) != SEG_OK ||
        seg_producer_open(&d->producer, d->client, DEMO_STREAM, NULL, &err) != SEG_OK) {
        return cli_error(&err);
    }
    printf("a private %s, a stream of %d partitions, %" PRId64 " messages of %" PRId64
           " keys at %" PRId64 "/s\n",
           seg_client_server(d->client), DEMO_PARTITIONS, d->opts->messages, d->opts->keys,
           d->opts->rate);
    for (uint32_t i = 0; code == CLI_OK && i < FIRST_CONSUMERS; i++) {
        code = start_worker(d, i);
    }
    return code;
}

static bool any_open(const demo *d) {
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        if (d->workers[i].fd >= 0) {
            return true;
        }
    }
    return false;
}

/* End the consumers, and take in the last they have to say: one that waits for room in its pipe
 * would never see the end. */
static int stop_workers(demo *d) {
    int code = CLI_OK;
    int64_t deadline = cli_now_us() + STOP_MS * INT64_C(1000);
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        if (d->workers[i].pid > 0) {
            kill(d->workers[i].pid, SIGTERM);
        }
    }
    while (any_open(d) && cli_now_us() < deadline) {
        wait_events(d);
    }
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        worker *w = &d->workers[i];
        if (w->pid > 0) {
            int status = cli_child_reap(w->pid, deadline);
            w->pid = 0;
            if (status != 0) {
                code = cli_failure("consumer %s did not leave cleanly", w->name);
            }
        }
        if (w->fd >= 0) {
            close(w->fd);
            w->fd = -1;
        }
    }
    return code;
}

static void close_all(demo *d) {
    seg_group_info_free(d->group);
    seg_producer_close(d->producer);
    seg_client_close(d->client);
    cli_private_stop(&d->server);
    demo_check_fini(&d->check);
}

static int judge(demo *d) {
    demo_result r = demo_check_finish(&d->check);
    if (r.corrupt) {
        cli_note("%" PRIu64 " messages came that were not sent, or from a wrong partition",
                 r.corrupt);
    }
    printf("demo: %" PRId64 " messages, %" PRId64 " keys, %" PRIu64 " lost, %" PRIu64
           " duplicated, %" PRIu64 " out of order, takeover %" PRId64 " ms\n",
           d->opts->messages, d->opts->keys, r.lost, r.duplicated, r.out_of_order,
           d->check.takeover_us < 0 ? -1 : d->check.takeover_us / 1000);
    bool good = !r.lost && !r.duplicated && !r.out_of_order && !r.corrupt;
    return good && d->check.takeover_us >= 0 ? CLI_OK : CLI_FAILURE;
}

static int run_demo(const cli_run *run) {
    demo d = {.opts = run->opts, .globals = run->globals, .started_us = cli_now_us()};
    for (uint32_t i = 0; i < DEMO_CONSUMERS; i++) {
        d.workers[i].fd = -1;
    }
    d.server = (cli_private){.pid = -1, .lock_fd = -1};
    demo_check_init(&d.check, (uint32_t)d.opts->messages, (uint32_t)d.opts->keys);
    demo_view_init(&d.view);
    cli_signals_catch();
    int code = open_all(&d);
    bool ran = code == CLI_OK;
    if (ran) {
        code = run_phases(&d);
    }
    int stopped = stop_workers(&d);
    code = code == CLI_OK ? stopped : code;
    if (ran && !cli_signal_caught()) {
        int judged = judge(&d);
        code = code == CLI_OK ? judged : code;
    }
    close_all(&d);
    return code;
}

const cli_command cli_demo = {
    .name = "demo",
    .args = "",
    .brief = "Show partitions, a join, a crash and a takeover",
    .about = "Start a private server (as segmenter server does), send keyed messages at a steady "
             "rate to three consumers, add a fourth, kill one, and show partitions, owners and lag "
             "meanwhile. Each consumer is a process and reports every message; all are checked:\n"
             "  lost          never handled\n"
             "  duplicated    handled again after its acknowledgement was committed\n"
             "  out of order  handled before an earlier message of its key\n"
             "  redelivered   the killed consumer had handled but not yet committed it\n"
             "Exits with 0 only if nothing was lost, duplicated or out of order.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(demo_opts),
    .run = run_demo,
};
