/* member.c - see member.h.
 *
 *   test ──go pipe, flags──> member: poll, acknowledge, commit ──events──> shared memory ──> test
 *
 * Each member is the only writer of its events, and counts one only when it is whole. */
#include "member.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.h"
#include "test.h"

enum { MAX_EVENTS = 1 << 16, MAX_PENDING = 1 << 14, POLL_MS = 20, WAIT_MS = 25000 };

struct member {
    member_plan plan;
    pid_t pid;
    pthread_t thread;
    bool threaded;
    int go[2];
    uint64_t seed;

    atomic_bool hold, leave; /* the test's wishes */

    atomic_bool active, over;
    atomic_int status;
    _Atomic uint64_t owned;
    _Atomic int64_t closing_ms, left_ms;

    /* Of the loop alone. */
    seg_consumer *consumer;
    size_t n_pending;
    seg_delivery pending[MAX_PENDING];
    uint32_t pending_number[MAX_PENDING];

    atomic_size_t n_events;
    member_event events[MAX_EVENTS]; /* pages that are never touched cost nothing */
};

/* ---- Its record ----------------------------------------------------------------------------- */

static void note(member *m, member_kind kind, const seg_delivery *d, uint32_t number) {
    size_t at = atomic_load(&m->n_events);
    CHECK_LT(at, MAX_EVENTS);
    m->events[at] = (member_event){.at_ms = test_now_ms(),
                                   .epoch = d->epoch,
                                   .offset = d->id.offset,
                                   .partition = d->partition,
                                   .attempt = d->attempt,
                                   .number = number,
                                   .kind = kind};
    atomic_store(&m->n_events, at + 1);
}

static void on_rebalance(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    static const member_kind kinds[] = {
        [SEG_ASSIGNED] = MEMBER_ASSIGNED, [SEG_REVOKED] = MEMBER_REVOKED, [SEG_LOST] = MEMBER_LOST};
    for (size_t i = 0; i < n; i++) {
        note(arg, kinds[what], &(seg_delivery){.partition = partitions[i]}, 0);
    }
}

/* ---- Its loop ------------------------------------------------------------------------------- */

static void look_around(member *m) {
    uint32_t partitions[64];
    uint64_t bits = 0;
    size_t n = seg_consumer_assignment(m->consumer, partitions, 64);
    CHECK_LE(n, 64);
    for (size_t i = 0; i < n; i++) {
        bits |= UINT64_C(1) << partitions[i];
    }
    atomic_store(&m->owned, bits);
    atomic_store(&m->active, seg_consumer_active(m->consumer));
}

static void keep(member *m, const seg_batch *b) {
    for (size_t i = 0; i < seg_batch_count(b); i++) {
        const seg_message *one = seg_batch_at(b, i);
        seg_bytes v = seg_message_value(one);
        char text[16] = "";
        memcpy(text, v.data, v.len < sizeof text - 1 ? v.len : sizeof text - 1);
        CHECK_LT(m->n_pending, MAX_PENDING);
        m->pending[m->n_pending] = seg_message_delivery(one);
        m->pending_number[m->n_pending] = (uint32_t)strtoul(text, NULL, 10);
        note(m, MEMBER_DELIVERED, &m->pending[m->n_pending], m->pending_number[m->n_pending]);
        m->n_pending++;
    }
}

static uint64_t next_random(member *m) {
    m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return m->seed >> 33;
}

/* Puts some, at least one, in a random order in front, and returns how many. */
static size_t choose(member *m) {
    size_t n = 1 + next_random(m) % m->n_pending;
    for (size_t i = 0; i < n; i++) {
        size_t k = i + next_random(m) % (m->n_pending - i);
        seg_delivery d = m->pending[i];
        uint32_t number = m->pending_number[i];
        m->pending[i] = m->pending[k];
        m->pending_number[i] = m->pending_number[k];
        m->pending[k] = d;
        m->pending_number[k] = number;
    }
    return n;
}

/* Acknowledge one by one, so that it is known which were fenced. A commit that answers EFENCED
 * leaves open which of them are stored: they are noted neither as committed nor as not. */
static void settle(member *m) {
    if (m->n_pending == 0) {
        return;
    }
    seg_error err;
    size_t n = m->plan.random ? choose(m) : m->n_pending, acked = 0;
    for (size_t i = 0; i < n; i++) {
        note(m, MEMBER_ACKING, &m->pending[i], m->pending_number[i]);
        seg_status s = seg_ack(m->consumer, &m->pending[i], 1, &err);
        if (s == SEG_EFENCED) {
            note(m, MEMBER_FENCED, &m->pending[i], m->pending_number[i]);
            continue;
        }
        CHECK_OK(s, &err);
        m->pending[acked] = m->pending[i];
        m->pending_number[acked++] = m->pending_number[i];
    }
    seg_status s = seg_consumer_commit(m->consumer, WAIT_MS, &err);
    for (size_t i = 0; i < acked && (s == SEG_OK || s == SEG_EFENCED); i++) {
        note(m, s == SEG_OK ? MEMBER_COMMITTED : MEMBER_FENCED, &m->pending[i],
             m->pending_number[i]);
    }
    m->n_pending -= n;
    memmove(m->pending, m->pending + n, m->n_pending * sizeof *m->pending);
    memmove(m->pending_number, m->pending_number + n, m->n_pending * sizeof *m->pending_number);
}

static void consume(member *m) {
    seg_status s = SEG_OK;
    while (s == SEG_OK && !atomic_load(&m->leave)) {
        seg_batch *b = NULL;
        s = seg_consumer_poll(&b, m->consumer, m->plan.max ? m->plan.max : 50, POLL_MS, NULL);
        if (s != SEG_OK) {
            break;
        }
        keep(m, b);
        seg_batch_free(b);
        if (!atomic_load(&m->hold)) {
            settle(m);
        }
        look_around(m);
    }
    atomic_store(&m->status, (int)s);
    atomic_store(&m->owned, 0);
    atomic_store(&m->active, false);
    atomic_store(&m->over, true);
}

static seg_client *own_client(const member *m) {
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.url = m->plan.url;
    /* A test that kills connections may hit this one: opening does not try again by itself. */
    seg_status s = SEG_ECONN;
    WAIT_FOR(WAIT_MS, (s = seg_client_open(&c, &o, &err)) != SEG_ECONN);
    CHECK_OK(s, &err);
    return c;
}

static void live(member *m) {
    char byte;
    seg_consumer_options o;
    seg_error err;
    while (read(m->go[0], &byte, 1) != 1) {
        CHECK_EQ(errno, EINTR);
    }
    seg_client *c = m->plan.client ? m->plan.client : own_client(m);
    SEG_INIT(&o);
    o.group = m->plan.group;
    o.name = m->plan.name;
    o.session_timeout = m->plan.session_timeout;
    o.drain_timeout = m->plan.drain_timeout;
    o.max_in_flight = m->plan.max_in_flight;
    o.on_rebalance = on_rebalance;
    o.rebalance_arg = m;
    CHECK_OK(seg_consumer_open(&m->consumer, c, m->plan.stream, &o, &err), &err);
    consume(m);
    atomic_store(&m->closing_ms, test_now_ms());
    seg_consumer_close(m->consumer);
    atomic_store(&m->left_ms, test_now_ms());
    if (!m->plan.client) {
        seg_client_close(c);
    }
}

/* ---- Starting and ending -------------------------------------------------------------------- */

member *member_new(const member_plan *plan) {
    static uint64_t count;
    void *at = mmap(NULL, sizeof(member), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    member *m = at;
    m->plan = *plan;
    m->seed = test_seed() + ++count;
    CHECK_EQ(pipe(m->go), 0);
    return m;
}

void member_fork(member *m) {
    pid_t parent = getpid();
    pid_t pid = fork(); /* not m->pid, which the child sees too */
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            live(m);
        }
        _exit(0);
    }
    m->pid = pid;
}

static void *run_thread(void *arg) {
    live(arg);
    return NULL;
}

void member_thread(member *m) {
    m->threaded = true;
    CHECK_EQ(pthread_create(&m->thread, NULL, run_thread, m), 0);
}

void member_go(member *m) {
    CHECK_EQ(write(m->go[1], "g", 1), 1);
}

void member_hold(member *m, bool hold) {
    atomic_store(&m->hold, hold);
}

static void reap(member *m) {
    int how = 0;
    pid_t got;
    while ((got = waitpid(m->pid, &how, 0)) < 0 && errno == EINTR) {
    }
    CHECK_EQ(got, m->pid);
    CHECK(WIFSIGNALED(how) ? WTERMSIG(how) == SIGKILL : WEXITSTATUS(how) == 0);
    m->pid = 0;
}

seg_status member_leave(member *m) {
    atomic_store(&m->leave, true);
    if (m->threaded) {
        CHECK_EQ(pthread_join(m->thread, NULL), 0);
    } else if (m->pid != 0) {
        reap(m);
    }
    return member_status(m);
}

void member_signal(member *m, int signal) {
    CHECK(m->pid > 0);
    CHECK_EQ(kill(m->pid, signal), 0);
    if (signal == SIGKILL) {
        atomic_store(&m->owned, 0);
        atomic_store(&m->active, false);
        reap(m);
        atomic_store(&m->owned, 0); /* it may have written until then */
    }
}

/* ---- Questions ------------------------------------------------------------------------------ */

bool member_active(const member *m) {
    return atomic_load(&m->active);
}

bool member_over(const member *m) {
    return atomic_load(&m->over);
}

seg_status member_status(const member *m) {
    return (seg_status)atomic_load(&m->status);
}

uint64_t member_owned(const member *m) {
    return atomic_load(&m->owned);
}

unsigned member_owns(const member *m) {
    return (unsigned)__builtin_popcountll(member_owned(m));
}

int64_t member_left_ms(const member *m) {
    return atomic_load(&m->left_ms);
}

int64_t member_closing_ms(const member *m) {
    return atomic_load(&m->closing_ms);
}

size_t member_events(const member *m) {
    return atomic_load(&m->n_events);
}

const member_event *member_event_at(const member *m, size_t i) {
    return &m->events[i];
}

size_t member_count(const member *m, member_kind kind) {
    size_t n = 0, all = member_events(m);
    for (size_t i = 0; i < all; i++) {
        n += m->events[i].kind == kind;
    }
    return n;
}
