/* thread.c - pthreads. What fails here after a successful init is a bug of ours (unlocking what is
 * not locked, destroying what is in use), and going on would only hide it. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)

static void must(int rc) {
    if (rc != 0)
        abort();
}

bool sg_mutex_init(sg_mutex *m) {
    return pthread_mutex_init(&m->m, NULL) == 0;
}

void sg_mutex_fini(sg_mutex *m) {
    must(pthread_mutex_destroy(&m->m));
}

void sg_mutex_lock(sg_mutex *m) {
    must(pthread_mutex_lock(&m->m));
}

bool sg_mutex_try(sg_mutex *m) {
    return pthread_mutex_trylock(&m->m) == 0;
}

void sg_mutex_unlock(sg_mutex *m) {
    must(pthread_mutex_unlock(&m->m));
}

bool sg_cond_init(sg_cond *c) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&c->c, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return ok;
}

void sg_cond_fini(sg_cond *c) {
    must(pthread_cond_destroy(&c->c));
}

static struct timespec monotonic_after(int64_t ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

bool sg_cond_wait(sg_cond *c, sg_mutex *m, int64_t ms) {
    if (ms == INT64_MAX) {
        must(pthread_cond_wait(&c->c, &m->m));
        return true;
    }
    if (ms < 0)
        ms = 0;
    struct timespec until = monotonic_after(ms < DAY_MS ? ms : DAY_MS);
    int rc = pthread_cond_timedwait(&c->c, &m->m, &until);
    if (rc == ETIMEDOUT)
        return false;
    must(rc);
    return true;
}

void sg_cond_signal(sg_cond *c) {
    must(pthread_cond_signal(&c->c));
}

void sg_cond_broadcast(sg_cond *c) {
    must(pthread_cond_broadcast(&c->c));
}

bool sg_thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t block, before;
    sigfillset(&block);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&block, faults[i]);
    /* A thread inherits its mask: set here, it never runs a moment without it. */
    must(pthread_sigmask(SIG_BLOCK, &block, &before));
    int rc = pthread_create(t, NULL, fn, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (rc != 0)
        return false;
    char shown[16]; /* the kernel's limit; longer names would be refused, not cut */
    snprintf(shown, sizeof shown, "%s", name);
    pthread_setname_np(*t, shown);
    return true;
}
