/* test_thread.c - conditions, threads and the clocks. */
#include "base/thread.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "test.h"

typedef struct shared {
    sg_mutex lock;
    sg_cond changed, released;
    int value; /* lock */
} shared;

static void set_up(shared *s) {
    s->value = 0;
    CHECK(sg_mutex_init(&s->lock));
    CHECK(sg_cond_init(&s->changed));
    CHECK(sg_cond_init(&s->released));
}

static void tear_down(shared *s) {
    sg_cond_fini(&s->released);
    sg_cond_fini(&s->changed);
    sg_mutex_fini(&s->lock);
}

TEST(waits_end_in_time) {
    shared s;
    set_up(&s);
    sg_mutex_lock(&s.lock);
    CHECK(!sg_cond_wait(&s.changed, &s.lock, 0));
    CHECK(!sg_cond_wait(&s.changed, &s.lock, -5));
    int64_t before = sg_clock_ms();
    while (sg_cond_wait(&s.changed, &s.lock, 20)) /* true only where it woke for no reason */
        continue;
    CHECK_GE(sg_clock_ms() - before, 19);
    sg_mutex_unlock(&s.lock);
    tear_down(&s);
}

static void *count_down(void *arg) {
    shared *s = arg;
    sg_mutex_lock(&s->lock);
    s->value--;
    sg_cond_signal(&s->changed);
    while (s->value != -1)
        sg_cond_wait(&s->released, &s->lock, INT64_MAX);
    sg_mutex_unlock(&s->lock);
    return NULL;
}

TEST(signals_and_broadcasts_wake) {
    shared s;
    pthread_t threads[4];
    set_up(&s);
    s.value = 4;
    for (int i = 0; i < 4; i++)
        CHECK(sg_thread_start(&threads[i], "counter", count_down, &s));
    sg_mutex_lock(&s.lock);
    while (s.value > 0)
        CHECK(sg_cond_wait(&s.changed, &s.lock, INT64_MAX - 1)); /* cut to a day, not overflowing */
    s.value = -1;
    sg_cond_broadcast(&s.released);
    sg_mutex_unlock(&s.lock);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    tear_down(&s);
}

static void *read_mask(void *arg) {
    pthread_sigmask(SIG_BLOCK, NULL, arg);
    return NULL;
}

TEST(threads_leave_signals_to_the_application) {
    sigset_t inside, before, after;
    pthread_t t;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    CHECK(sg_thread_start(&t, "masked", read_mask, &inside));
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    CHECK_EQ(pthread_join(t, NULL), 0);
    static const int theirs[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1, SIGPIPE};
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++) {
        CHECK_EQ(sigismember(&inside, theirs[i]), 1);
        CHECK_EQ(sigismember(&after, theirs[i]), sigismember(&before, theirs[i]));
    }
    CHECK_EQ(sigismember(&inside, SIGSEGV), 0);
}

TEST(clocks_go_forward_and_saturate) {
    int64_t ms = sg_clock_ms(), us = sg_clock_us();
    CHECK_GT(ms, 0);
    CHECK_GE(us / 1000, ms);
    CHECK_GE(sg_clock_us(), us);
    CHECK_GT(sg_clock_wall_ms(), INT64_C(1600000000000));
    CHECK_EQ(sg_clock_after(100, 5), 105);
    CHECK_EQ(sg_clock_after(100, 0), 100);
    CHECK_EQ(sg_clock_after(100, -7), 100);
    CHECK_EQ(sg_clock_after(100, INT64_MAX), INT64_MAX);
    CHECK_EQ(sg_clock_after(100, INT64_MAX - 100), INT64_MAX);
    CHECK_EQ(sg_clock_after(100, INT64_MAX - 101), INT64_MAX - 1);
}
