/* loop.h - the client's background thread: it owns every connection and runs every actor. An actor
 * (a producer, a consumer, a question of an application thread) is code that runs on this thread
 * whenever it was woken, or its time has come; nothing else touches a connection.
 *
 *   application thread: change the actor's data under its lock, sg_loop_wake(actor)
 *   loop thread:        poll the sockets -> answers -> actors that are due -> flush the sockets
 *
 * The loop never blocks but in poll(2), so sg_loop_call is quick. */
#ifndef SG_ENGINE_LOOP_H
#define SG_ENGINE_LOOP_H
#include <stdatomic.h>

#include "base/list.h"
#include "redis/conn.h"

typedef struct sg_loop sg_loop;

typedef struct sg_actor {
    sg_node node; /* loop thread */
    sg_loop *loop;
    /* Do what there is to do; returns when to run next at the latest (sg_clock_ms, INT64_MAX: when
     * woken). */
    int64_t (*run)(void *arg, int64_t now);
    void *arg;
    int64_t due; /* loop thread */
    atomic_bool woken;
} sg_actor;

/* NULL: no thread or no descriptor to be had; errno tells. */
sg_loop *sg_loop_open(void);
/* Ends the thread and frees. No actor or connection may be left. Accepts NULL. */
void sg_loop_close(sg_loop *l);

/* Run fn(arg) on the loop thread and wait until it has returned. On the loop thread itself: at
 * once. */
void sg_loop_call(sg_loop *l, void (*fn)(void *arg), void *arg);

/* Let the actor run soon. Any thread; cheap when it was woken already. Async-signal-safe. */
void sg_loop_wake(sg_actor *a);

/* Loop thread only. */
void sg_loop_add(sg_loop *l, sg_actor *a);
void sg_loop_remove(sg_actor *a); /* its run is not called any more */
void sg_loop_wake_all(sg_loop *l);
bool sg_loop_attach(sg_loop *l, sg_conn *c); /* false: no memory */
void sg_loop_detach(sg_loop *l, sg_conn *c);
#endif
