/* memory_rig.h - fail the n-th allocation of an operation, for every n, once and from there on.
 *
 *     sweep_init(&s, false);
 *     while (sweep_more(&s)) {
 *         ... prepare ...
 *         sweep_arm(&s);
 *         seg_status status = seg_something(s.client, &err);
 *         sweep_disarm(&s);
 *         sweep_judge(&s, status, CHANGES, &err);
 *         ... what it said is true, and the handles work ...
 *     }
 *     sweep_end(&s);
 *
 * The first half fails one allocation, and with time enough to try again nothing but success or
 * SEG_ENOMEM is honest. The second half leaves no memory at all: until the call has returned, whose
 * time limit is short then; or, where the sweep is relieved, for some milliseconds, and again only
 * success and SEG_ENOMEM are honest. With SEGMENTER_TEST_SWEEP=N only every N-th fails; which ones
 * depends on the seed.
 *
 * Allocations of the loop thread count as well as the caller's, and so do those of the parser of
 * answers: hiredis allocates by itself, so its constructors are replaced by ones that ask first. */
#ifndef SG_TEST_MEMORY_RIG_H
#define SG_TEST_MEMORY_RIG_H

#include <dlfcn.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "rig.h"

enum { SWEEP_MOST = 4000 };

/* ---- The parser's allocations --------------------------------------------------------------- */

static redisReplyObjectFunctions *real_functions;

static inline bool memory_left(void) {
    void *p = sg_alloc(1);
    sg_free(p);
    return p != NULL;
}

static inline void *new_string(const redisReadTask *t, char *s, size_t n) {
    return memory_left() ? real_functions->createString(t, s, n) : NULL;
}

static inline void *new_integer(const redisReadTask *t, long long v) {
    return memory_left() ? real_functions->createInteger(t, v) : NULL;
}

static inline void *new_nil(const redisReadTask *t) {
    return memory_left() ? real_functions->createNil(t) : NULL;
}

/* The number of elements is an int in some versions of the library and a size_t in others. */
#if HIREDIS_MAJOR == 0
static inline void *new_array(const redisReadTask *t, int n) {
#else
static inline void *new_array(const redisReadTask *t, size_t n) {
#endif
    return memory_left() ? real_functions->createArray(t, n) : NULL;
}

static redisReplyObjectFunctions functions;
static redisReader *(*real_create)(void);
static pthread_once_t functions_once = PTHREAD_ONCE_INIT;

static inline void make_functions(void) {
    *(void **)&real_create = dlsym(RTLD_NEXT, "redisReaderCreate");
    redisReader *example = real_create();
    real_functions = example->fn;
    redisReaderFree(example);
    functions = *real_functions;
    functions.createString = new_string;
    functions.createArray = new_array;
    functions.createInteger = new_integer;
    functions.createNil = new_nil;
}

/* In the place of the library's own. */
redisReader *redisReaderCreate(void);
redisReader *redisReaderCreate(void) {
    pthread_once(&functions_once, make_functions);
    redisReader *r = memory_left() ? real_create() : NULL;
    if (r != NULL) {
        r->fn = &functions;
    }
    return r;
}

/* ---- The sweep ------------------------------------------------------------------------------ */

/* What the operation does: asks, changes something on the server (so that it can be unknown whether
 * it did), or has a time limit of its own besides (so that it can run out without memory). */
typedef enum asks { ASKS, CHANGES, WAITS } asks;

typedef struct sweep {
    server *server;
    seg_client *calm;    /* for the test's own questions */
    seg_client *client;  /* for what is tested; another one in each round */
    int64_t timeout;     /* of its commands, in the second half */
    bool forever;        /* the second half */
    uint64_t n, step;    /* the allocation that fails; and from there to the next one that does */
    uint64_t reached[2]; /* rounds of each half in which one did */
    uint64_t told, unknown; /* rounds that ended with SEG_ENOMEM, SEG_EUNKNOWN */
    bool hit;               /* in the latest round */
    bool late;              /* it timed out, so this round is done again */
    unsigned lates;
    unsigned round; /* over both halves */

    bool relieved; /* in the second half memory comes back after RELIEF_MS */
    pthread_t relief;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool armed;
    uint64_t made; /* allocations, by a relief */
} sweep;

enum { SWEEP_CALM_MS = 30000, SWEEP_SHORT_MS = 60, SWEEP_LATES = 20, RELIEF_MS = 15 };

static inline void sweep_init(sweep *s, bool relieved) {
    const char *step = getenv("SEGMENTER_TEST_SWEEP");
    *s = (sweep){.server = server_start(NULL),
                 .step = step && atoi(step) > 0 ? (uint64_t)atoi(step) : 1,
                 .hit = true,
                 .relieved = relieved,
                 .timeout = relieved ? SWEEP_CALM_MS : SWEEP_SHORT_MS,
                 .lock = PTHREAD_MUTEX_INITIALIZER,
                 .changed = PTHREAD_COND_INITIALIZER};
    s->calm = rig_client_within(s->server, SWEEP_CALM_MS);
}

/* A client that was starved may be waiting to connect again. */
static inline bool works(seg_client *c) {
    seg_names *names = NULL;
    seg_error err;
    seg_status status = seg_stream_list(&names, c, &err);
    seg_names_free(names);
    return status == SEG_OK;
}

static inline bool sweep_more(sweep *s) {
    if (!s->hit && s->forever) {
        return false;
    }
    if (!s->hit) {
        s->forever = true;
        s->n = 0;
    }
    s->round++;
    s->n += s->late ? 0 : s->n == 0 ? 1 + test_seed() % s->step : s->step;
    s->late = false;
    CHECK_LT(s->n, SWEEP_MOST);
    /* A new one, as one waits the longer to connect the more often it has failed. */
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(s->server);
    o.connect_timeout = SWEEP_CALM_MS;
    o.command_timeout = s->forever ? s->timeout : SWEEP_CALM_MS;
    seg_client_close(s->client);
    CHECK_OK(seg_client_open(&s->client, &o, &err), &err);
    return true;
}

/* Lock held. */
static inline void give_memory_back(sweep *s) {
    if (s->armed) {
        s->made = sg_alloc_fail_at(0, 0);
    }
    s->armed = false;
}

static inline void *relieve(void *arg) {
    sweep *s = arg;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += RELIEF_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->lock);
    while (s->armed && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0) {
        continue;
    }
    give_memory_back(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static inline void sweep_arm(sweep *s) {
    s->armed = true;
    sg_alloc_fail_at(s->n, s->forever);
    if (s->forever && s->relieved) {
        CHECK_EQ(pthread_create(&s->relief, NULL, relieve, s), 0);
    }
}

/* Once the operation has returned; true where an allocation has failed. */
static inline bool sweep_disarm(sweep *s) {
    pthread_mutex_lock(&s->lock);
    give_memory_back(s);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->forever && s->relieved) {
        pthread_join(s->relief, NULL);
    }
    s->hit = s->made >= s->n;
    s->reached[s->forever] += s->hit;
    return s->hit;
}

/* What it says may only be this. Where the machine was so busy that the short timeout ran out, the
 * round is done again. */
static inline void sweep_judge(sweep *s, seg_status status, asks what, const seg_error *err) {
    s->told += status == SEG_ENOMEM;
    s->unknown += status == SEG_EUNKNOWN;
    if (status == SEG_OK || (s->hit && status == SEG_ENOMEM) ||
        (s->hit && s->forever && what != ASKS && status == SEG_EUNKNOWN) ||
        (s->hit && s->forever && what == WAITS && status == SEG_ETIMEDOUT)) {
        return;
    }
    bool slow = status == SEG_ETIMEDOUT || (what != ASKS && status == SEG_EUNKNOWN);
    s->late = s->forever && slow && s->lates++ < SWEEP_LATES;
    s->hit = s->hit || s->late;
    if (!s->late) {
        FAIL("allocation %llu%s failed%s: %s: %s", (unsigned long long)s->n,
             s->forever ? " and all after it" : "", s->hit ? "" : " not", test_status_name(status),
             err->text);
    }
}

static inline void sweep_end(sweep *s) {
    printf("%llu allocations failed once, %llu from there on; %llu calls said ENOMEM, %llu "
           "EUNKNOWN\n",
           (unsigned long long)s->reached[0], (unsigned long long)s->reached[1],
           (unsigned long long)s->told, (unsigned long long)s->unknown);
    if (s->step == 1) {
        CHECK_GT(s->reached[0], 1);
        CHECK_GT(s->reached[1], 0);
    }
    seg_client_close(s->client);
    seg_client_close(s->calm);
    server_stop(s->server);
}

/* A name for this round. */
static inline const char *sweep_name(const sweep *s, char out[24]) {
    snprintf(out, 24, "r%u", s->round);
    return out;
}

#endif
