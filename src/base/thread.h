/* thread.h - mutex, condition on the monotonic clock, thread. Thin: pthreads with the errors that
 * cannot happen turned into abort(). */
#ifndef SG_BASE_THREAD_H
#define SG_BASE_THREAD_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct sg_mutex {
    pthread_mutex_t m;
} sg_mutex;
typedef struct sg_cond {
    pthread_cond_t c; /* waits on CLOCK_MONOTONIC */
} sg_cond;

bool sg_mutex_init(sg_mutex *m);
void sg_mutex_fini(sg_mutex *m);
void sg_mutex_lock(sg_mutex *m);
bool sg_mutex_try(sg_mutex *m); /* false: somebody has it */
void sg_mutex_unlock(sg_mutex *m);

bool sg_cond_init(sg_cond *c);
void sg_cond_fini(sg_cond *c);
/* Wait at most `ms` (SEG_FOREVER's value, INT64_MAX: no limit; longer than a day is cut to a day:
 * callers loop on their own condition and deadline). Returns false on time-out. */
bool sg_cond_wait(sg_cond *c, sg_mutex *m, int64_t ms);
void sg_cond_signal(sg_cond *c);
void sg_cond_broadcast(sg_cond *c);

/* All signals are blocked in the new thread but those that a fault raises in it, whose handlers
 * (crash reporters, sanitizers) still have to run. `name` shows in ps and debuggers, 15 bytes at
 * most. */
bool sg_thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg);
#endif
