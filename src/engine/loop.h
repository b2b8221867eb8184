/* loop.h - a client's connections and actors, and the background thread that sees to them. An actor (a
 * producer, a consumer, a question of an application thread) is code that runs whenever it was woken, or
 * its time has come.
 *
 *   application thread: change the actor's data under its lock, sg_loop_wake(actor)
 *   the loop's thread:  poll the sockets -> answers -> actors that are due -> flush the sockets
 *
 * One lock, the state, guards the connections and all that actors have for themselves. Whoever holds it does the
 * loop's work: mostly the loop's thread, which gives it up only while it waits in poll(2). So an application
 * thread can do a piece of it at once, where that saves it from waking another thread and being woken: send
 * a message (sg_loop_work), and wait for the answer in the thread's place (sg_loop_await, seat.h). In this code
 * "loop thread" is whoever holds the state.
 *
 * Lock order: the state, then that of a producer or consumer. */
#ifndef SG_ENGINE_LOOP_H
#define SG_ENGINE_LOOP_H
#include <stdatomic.h>

#include "base/list.h"
#include "base/thread.h"
#include "engine/seat.h"
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

/* Run fn(arg) as the loop thread, which is never long at work. No other lock held. */
void sg_loop_call(sg_loop *l, void (*fn)(void *arg), void *arg);

/* Let the actor run soon. Any thread; cheap when it was woken already. Async-signal-safe. */
void sg_loop_wake(sg_actor *a);
/* The same, but where nobody sits (seat.h) it can wait: for the caller, who will sit there in a moment,
 * or for two ticks. */
void sg_loop_nudge(sg_actor *a);
/* Let the actor run now, on this thread, unless the loop thread is at work. `stays`: the caller will wait
 * for what comes of it. No lock held. */
void sg_loop_work(sg_actor *a, bool stays);

/* Wait, once, at most `ms`, for what somebody signals by `cond`: on that, or in the loop thread's place. The
 * caller looks whether it has come, and waits again. `lock` is held, and given up meanwhile. */
void sg_loop_await(sg_loop *l, sg_wait *w, sg_cond *cond, sg_mutex *lock, int64_t ms);
/* Before `cond` is signalled; `lock` is held. */
void sg_loop_served(sg_loop *l, sg_wait *w);

/* Loop thread only. */
void sg_loop_add(sg_loop *l, sg_actor *a);
void sg_loop_remove(sg_actor *a); /* its run is not called any more */
void sg_loop_wake_all(sg_loop *l);
bool sg_loop_attach(sg_loop *l, sg_conn *c); /* false: no memory */
void sg_loop_detach(sg_loop *l, sg_conn *c);
#endif
