/* A producer's descriptor: readable exactly while there are callbacks to run. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "producer_rig.h"

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_GE(poll(&p, 1, 0), 0);
    CHECK_EQ(p.revents & ~POLLIN, 0);
    return p.revents != 0;
}

/* Returns the index of the only one that is readable, once there is one. */
static size_t wait_for_one(const int fds[], size_t n) {
    struct pollfd p[8];
    size_t found = n;
    CHECK_LE(n, 8);
    for (size_t i = 0; i < n; i++)
        p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    CHECK_EQ(poll(p, n, PATIENCE), 1);
    for (size_t i = 0; i < n; i++)
        if (p[i].revents != 0)
            found = i;
    return found;
}

typedef struct tally {
    atomic_uint calls, failed;
} tally;

static void count(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    tally *t = arg;
    (void)where, (void)err;
    atomic_fetch_add(&t->calls, 1);
    if (status != SEG_OK)
        atomic_fetch_add(&t->failed, 1);
}

static void send(seg_producer *p, tally *t) {
    seg_record r = record_of("key", "value");
    seg_error err;
    CHECK_OK(seg_send_async(p, &r, t != NULL ? count : NULL, t, &err), &err);
}

static void run(seg_producer *p) {
    seg_error err;
    CHECK_OK(seg_producer_poll(p, 0, &err), &err);
}

TEST(readable_while_callbacks_wait) {
    rig r = rig_new(1);
    rig_open(&r);
    tally t = {0};
    int fd = seg_producer_fd(r.producer);
    CHECK_GE(fd, 0);
    CHECK_EQ(seg_producer_fd(r.producer), fd);
    CHECK(!readable(fd));
    for (unsigned i = 1; i <= 20; i++) {
        send(r.producer, &t);
        CHECK_EQ(wait_for_one(&fd, 1), 0);
        CHECK_EQ(atomic_load(&t.calls), i - 1);
        CHECK(readable(fd)); /* until somebody runs them */
        run(r.producer);
        CHECK_EQ(atomic_load(&t.calls), i);
        CHECK(!readable(fd));
    }
    rig_close(&r);
}

/* What nobody wants to be told of wakes nobody. */
TEST(not_for_what_has_no_callback) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_record record = record_of("key", "value");
    int fd = seg_producer_fd(r.producer);
    send(r.producer, NULL);
    CHECK_OK(seg_send(r.producer, &record, NULL, &err), &err);
    CHECK_EQ(stats_of(r.producer).stored, 2);
    CHECK(!readable(fd));
    rig_close(&r);
}

TEST(asked_for_when_callbacks_wait_already) {
    rig r = rig_new(1);
    rig_open(&r);
    tally t = {0};
    send(r.producer, &t);
    WAIT_FOR(PATIENCE, stats_of(r.producer).queued == 0);
    int fd = seg_producer_fd(r.producer);
    CHECK(readable(fd));
    run(r.producer);
    CHECK(!readable(fd));
    rig_close(&r);
}

/* A flush runs them too, and only failures are news as well. */
TEST(failures_and_flushes) {
    rig r = rig_new(1);
    r.client_options.command_timeout = 60000;
    r.producer_options.delivery_timeout = 200;
    rig_open(&r);
    tally t = {0};
    seg_error err;
    int fd = seg_producer_fd(r.producer);
    server_pause(r.server);
    send(r.producer, &t);
    CHECK_EQ(wait_for_one(&fd, 1), 0);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK(!readable(fd));
    CHECK_EQ(atomic_load(&t.failed), 1);
    server_resume(r.server);
    rig_close(&r);
}

TEST(several_producers_in_one_poll) {
    enum { N = 4 };
    rig r = rig_new(2);
    rig_open(&r);
    seg_producer *p[N];
    tally t[N] = {{0}};
    int fds[N];
    for (size_t i = 0; i < N; i++) {
        p[i] = rig_producer(&r);
        fds[i] = seg_producer_fd(p[i]);
        CHECK_GE(fds[i], 0);
        CHECK(i == 0 || fds[i] != fds[i - 1]);
    }
    for (size_t i = 0; i < 3 * N; i++) {
        size_t who = 5 * i % N;
        send(p[who], &t[who]);
        CHECK_EQ(wait_for_one(fds, N), who);
        run(p[who]);
        CHECK(!readable(fds[who]));
    }
    for (size_t i = 0; i < N; i++) {
        CHECK_EQ(atomic_load(&t[i].calls), 3);
        seg_producer_close(p[i]);
    }
    rig_close(&r);
}

/* The client is gone: what was under way has an outcome, and that is news. */
TEST(after_the_client_was_closed) {
    rig r = rig_new(1);
    rig_open(&r);
    tally t = {0};
    int fd = seg_producer_fd(r.producer);
    server_pause(r.server);
    for (int i = 0; i < 10; i++)
        send(r.producer, &t);
    CHECK(!readable(fd));
    seg_client_close(r.client);
    r.client = NULL;
    CHECK_EQ(wait_for_one(&fd, 1), 0);
    while (atomic_load(&t.calls) < 10) {
        CHECK_EQ(wait_for_one(&fd, 1), 0);
        run(r.producer);
    }
    CHECK(!readable(fd));
    CHECK_EQ(atomic_load(&t.failed), 10);
    server_resume(r.server);
    rig_close(&r);
}

TEST(closed_with_the_producer) {
    rig r = rig_new(1);
    rig_open(&r);
    tally t = {0};
    int fd = seg_producer_fd(r.producer);
    server_pause(r.server); /* an answer is outstanding, and outlives it */
    send(r.producer, &t);
    WAIT_FOR(PATIENCE, stats_of(r.producer).batches == 1);
    seg_producer_close(r.producer);
    r.producer = NULL;
    CHECK_EQ(atomic_load(&t.calls), 1);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK_EQ(errno, EBADF);
    server_resume(r.server);
    rig_close(&r);
}

TEST(no_producer_no_descriptor) {
    CHECK_EQ(seg_producer_fd(NULL), -1);
}

typedef struct sender {
    pthread_t thread;
    seg_producer *producer;
    tally *tally;
} sender;

enum { SENDERS = 3, EACH = 1500 };

static void *send_all(void *arg) {
    sender *s = arg;
    for (int i = 0; i < EACH; i++) {
        send(s->producer, s->tally);
        if (i % 100 == 0)
            CHECK_GE(seg_producer_fd(s->producer), 0);
    }
    return NULL;
}

/* An event loop that waits for nothing but the descriptor misses nothing. */
TEST(an_event_loop_hears_of_everything) {
    rig r = rig_new(3);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    sender s[SENDERS];
    tally t = {0};
    int fd = seg_producer_fd(r.producer);
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (sender){.producer = r.producer, .tally = &t};
        CHECK_EQ(pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
    }
    while (atomic_load(&t.calls) < SENDERS * EACH) {
        CHECK_EQ(wait_for_one(&fd, 1), 0);
        run(r.producer);
    }
    CHECK(!readable(fd));
    for (int i = 0; i < SENDERS; i++)
        CHECK_EQ(pthread_join(s[i].thread, NULL), 0);
    CHECK_EQ(atomic_load(&t.failed), 0);
    rig_close(&r);
}
