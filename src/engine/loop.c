#include "engine/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

/* Actors wake each other; after so many rounds the sockets get their turn again. */
#define ROUNDS_MAX 8

/* A call that waits for its turn, on its caller's stack. */
typedef struct call {
    sg_node node;
    void (*fn)(void *arg);
    void *arg;
    bool done;
} call;

/* What poll was asked of a connection. */
typedef struct asked {
    uint64_t life;
    short events;
} asked;

/* The arrays that poll works with: [0] is the event, behind it are the connections. */
typedef struct polled {
    struct pollfd *fds;
    asked *asked;
} polled;

struct sg_loop {
    pthread_t thread;
    int event;             /* eventfd: somebody wants the attention of whoever sits in poll */
    atomic_bool signalled; /* the event is raised and not yet seen */
    atomic_bool nudged;    /* an actor was woken while nobody sat */
    atomic_bool stopping;
    sg_seat seat;
    bool served; /* the loop's own thread: it has woken somebody who could have sat here */

    sg_mutex lock; /* guards calls; taken with or without the state */
    sg_cond called;
    sg_list calls;

    sg_mutex state; /* guards all below, and all that actors and connections have for themselves */
    sg_list actors;
    sg_node *next_actor; /* of the round under way, so that an actor may be removed in it */
    sg_conn **conns;
    size_t n_conns, room;
    uint64_t changes; /* of conns */
    polled at, spare; /* in use by whoever sits; larger ones for the next time, or NULL */
    bool polling;     /* somebody waits in poll, */
    int64_t until;    /* until then */
};

/* The loop whose state this thread holds. It looks at what was woken before it waits, so it need not
 * wake itself. */
static _Thread_local const sg_loop *this_loop;

static void hold(sg_loop *l) {
    sg_mutex_lock(&l->state);
    this_loop = l;
}

static void let_go(sg_loop *l) {
    this_loop = NULL;
    sg_mutex_unlock(&l->state);
}

/* ---- waking ------------------------------------------------------------------------------- */

static void raise_event(sg_loop *l) {
    uint64_t one = 1;
    int saved = errno;
    if (!atomic_exchange(&l->signalled, true))
        while (write(l->event, &one, sizeof one) < 0 && errno == EINTR)
            continue;
    errno = saved;
    sg_seat_poke(&l->seat);
}

void sg_loop_wake(sg_actor *a) {
    if (!atomic_exchange(&a->woken, true) && a->loop != this_loop)
        raise_event(a->loop);
}

/* First said, then looked: who sits down later looks at what was said. */
void sg_loop_nudge(sg_actor *a) {
    sg_loop *l = a->loop;
    if (atomic_exchange(&a->woken, true) || l == this_loop)
        return;
    atomic_store(&l->nudged, true);
    if (sg_seat_taken(&l->seat))
        raise_event(l);
}

void sg_loop_wake_all(sg_loop *l) {
    for (sg_node *n = l->actors.head.next; n != &l->actors.head; n = n->next)
        atomic_store(&SG_OF(n, sg_actor, node)->woken, true);
}

/* ---- actors and connections (state held) -------------------------------------------------- */

void sg_loop_add(sg_loop *l, sg_actor *a) {
    a->loop = l;
    a->due = INT64_MIN;
    sg_list_push(&l->actors, &a->node);
}

void sg_loop_remove(sg_actor *a) {
    if (a->loop != NULL && a->loop->next_actor == &a->node)
        a->loop->next_actor = a->node.next;
    sg_list_remove(&a->node);
}

static void free_polled(polled *p) {
    sg_free(p->fds);
    sg_free(p->asked);
    *p = (polled){NULL, NULL};
}

/* Room for another connection. Somebody may be in poll, so that its arrays stay as they are. */
static bool make_room(sg_loop *l) {
    size_t room = l->room == 0 ? 8 : 2 * l->room;
    if (l->n_conns < l->room)
        return true;
    polled more = {sg_calloc(room + 1, sizeof *more.fds), sg_calloc(room + 1, sizeof *more.asked)};
    sg_conn **conns = more.fds != NULL && more.asked != NULL
                          ? sg_reallocarray(l->conns, room, sizeof *conns)
                          : NULL;
    if (conns == NULL) {
        free_polled(&more);
        return false;
    }
    free_polled(&l->spare);
    l->spare = more;
    l->conns = conns;
    l->room = room;
    return true;
}

bool sg_loop_attach(sg_loop *l, sg_conn *c) {
    if (!make_room(l))
        return false;
    l->conns[l->n_conns++] = c;
    l->changes++;
    return true;
}

void sg_loop_detach(sg_loop *l, sg_conn *c) {
    for (size_t i = 0; i < l->n_conns; i++)
        if (l->conns[i] == c) {
            l->conns[i] = l->conns[--l->n_conns];
            l->changes++;
            return;
        }
}

/* Returns when the first actor is due. */
static int64_t run_actors(sg_loop *l) {
    int64_t due = INT64_MAX;
    bool again = true;
    for (int round = 0; again && round < ROUNDS_MAX; round++) {
        int64_t now = sg_clock_ms();
        again = false;
        due = INT64_MAX;
        for (sg_node *n = l->actors.head.next; n != &l->actors.head; n = l->next_actor) {
            sg_actor *a = SG_OF(n, sg_actor, node);
            l->next_actor = n->next;
            if (atomic_exchange(&a->woken, false) || a->due <= now) {
                int64_t next = a->run(a->arg, now);
                if (l->next_actor != n->next && !sg_node_linked(n))
                    continue; /* it has removed itself */
                a->due = next;
                again = true;
            }
            if (sg_node_linked(n) && a->due < due)
                due = a->due;
        }
    }
    l->next_actor = NULL;
    return due;
}

static bool any_woken(const sg_loop *l) {
    for (sg_node *n = l->actors.head.next; n != &l->actors.head; n = n->next)
        if (atomic_load(&SG_OF(n, sg_actor, node)->woken))
            return true;
    return false;
}

/* When something is due: an actor, or a connection. */
static int64_t earliest(const sg_loop *l, int64_t due) {
    for (size_t i = 0; i < l->n_conns; i++) {
        int64_t d = sg_conn_deadline(l->conns[i]);
        due = d < due ? d : due;
    }
    return any_woken(l) ? INT64_MIN : due;
}

static void run_calls(sg_loop *l) {
    sg_mutex_lock(&l->lock);
    for (sg_node *n; (n = sg_list_pop(&l->calls)) != NULL;) {
        call *k = SG_OF(n, call, node);
        sg_mutex_unlock(&l->lock);
        k->fn(k->arg);
        sg_mutex_lock(&l->lock);
        k->done = true;
        sg_cond_broadcast(&l->called);
    }
    sg_mutex_unlock(&l->lock);
}

/* All that can be done without waiting. Returns when there is more. */
static int64_t work(sg_loop *l) {
    atomic_store(&l->nudged, false);
    run_calls(l);
    int64_t due = run_actors(l), now = sg_clock_ms();
    for (size_t i = 0; i < l->n_conns; i++)
        sg_conn_flush(l->conns[i], now);
    return earliest(l, due);
}

/* ---- poll --------------------------------------------------------------------------------- */

static void prepare(sg_loop *l) {
    if (l->spare.fds != NULL) {
        free_polled(&l->at);
        l->at = l->spare;
        l->spare = (polled){NULL, NULL};
    }
    l->at.fds[0] = (struct pollfd){.fd = l->event, .events = POLLIN};
    for (size_t i = 0; i < l->n_conns; i++) {
        short events = sg_conn_events(l->conns[i]);
        l->at.fds[i + 1] = (struct pollfd){.fd = sg_conn_fd(l->conns[i]), .events = events};
        l->at.asked[i] = (asked){sg_conn_life(l->conns[i]), events};
    }
}

static void take_event(sg_loop *l) {
    uint64_t count;
    /* First take the event, then look: what is raised in between raises it again. */
    while (read(l->event, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    atomic_store(&l->signalled, false);
}

static int timeout_of(int64_t until) {
    if (until == INT64_MAX)
        return -1;
    int64_t left = until == INT64_MIN ? 0 : until - sg_clock_ms();
    return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* State held, and given up while waiting: others may work meanwhile. Whatever they did to a connection
 * has its own life: what poll says of an earlier one is nothing. (Whoever closed a socket may have got its
 * number for another one.) */
static void wait_for_sockets(sg_loop *l, int64_t until) {
    prepare(l);
    size_t n = l->n_conns;
    uint64_t changes = l->changes;
    polled at = l->at;
    l->polling = true;
    l->until = until;
    let_go(l);
    int ready = poll(at.fds, (nfds_t)(n + 1), timeout_of(until));
    hold(l);
    l->polling = false;
    if (ready < 0)
        return; /* EINTR, or no memory: the next round tries again */
    if (at.fds[0].revents != 0)
        take_event(l);
    int64_t now = sg_clock_ms();
    for (size_t i = 0; i < n && l->changes == changes; i++)
        if (at.fds[i + 1].revents != 0 && sg_conn_life(l->conns[i]) == at.asked[i].life)
            sg_conn_ready(l->conns[i], at.fds[i + 1].revents, now);
    now = sg_clock_ms();
    for (size_t i = 0; i < l->n_conns; i++)
        if (sg_conn_deadline(l->conns[i]) <= now)
            sg_conn_tick(l->conns[i], now);
}

/* Whoever sits in poll has to look again: for more sockets, or other events, or not so long. */
static bool is_outdated(const sg_loop *l, int64_t due, uint64_t changes) {
    if (!l->polling)
        return false;
    if (due < l->until || l->changes != changes)
        return true;
    for (size_t i = 0; i < l->n_conns; i++)
        if (sg_conn_life(l->conns[i]) != l->at.asked[i].life ||
            sg_conn_events(l->conns[i]) != l->at.asked[i].events)
            return true;
    return false;
}

/* ---- other threads ------------------------------------------------------------------------- */

void sg_loop_call(sg_loop *l, void (*fn)(void *arg), void *arg) {
    if (l == this_loop) {
        fn(arg);
        return;
    }
    if (sg_mutex_try(&l->state)) {
        this_loop = l;
        fn(arg);
        let_go(l);
        raise_event(l);
        return;
    }
    /* Whoever is at work has the state nearly all the time when there is much to do: to wait for it could
     * take for ever. */
    call k = {.fn = fn, .arg = arg};
    sg_mutex_lock(&l->lock);
    sg_list_push(&l->calls, &k.node);
    raise_event(l);
    while (!k.done)
        sg_cond_wait(&l->called, &l->lock, INT64_MAX);
    sg_mutex_unlock(&l->lock);
}

void sg_loop_work(sg_actor *a, bool stays) {
    sg_loop *l = a->loop;
    atomic_store(&a->woken, true);
    if (l == this_loop)
        return;
    if (!sg_mutex_try(&l->state)) {
        raise_event(l);
        return;
    }
    this_loop = l;
    uint64_t changes = l->changes;
    bool outdated = is_outdated(l, work(l), changes);
    let_go(l);
    if (outdated)
        raise_event(l);
    else if (!stays)
        sg_seat_poke(&l->seat);
}

void sg_loop_await(sg_loop *l, sg_wait *w, sg_cond *cond, sg_mutex *lock, int64_t ms) {
    sg_seat_wait(&l->seat, w);
    if (this_loop != NULL || !sg_seat_take(&l->seat)) {
        sg_cond_wait(cond, lock, ms);
        sg_seat_served(&l->seat, w);
        return;
    }
    sg_seat_served(&l->seat, w);
    int64_t until = sg_clock_after(sg_clock_ms(), ms);
    sg_mutex_unlock(lock);
    hold(l);
    int64_t due = work(l);
    wait_for_sockets(l, due < until ? due : until);
    let_go(l);
    sg_seat_leave(&l->seat, atomic_load(&l->signalled));
    sg_mutex_lock(lock);
}

void sg_loop_served(sg_loop *l, sg_wait *w) {
    if (w->on && sg_seat_served(&l->seat, w) && this_loop == l)
        l->served = true;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static bool is_urgent(void *arg) {
    const sg_loop *l = arg;
    return atomic_load(&l->signalled) || atomic_load(&l->nudged) || atomic_load(&l->stopping);
}

static void *loop_main(void *arg) {
    sg_loop *l = arg;
    while (!atomic_load(&l->stopping)) {
        hold(l);
        l->served = false;
        wait_for_sockets(l, work(l));
        bool served = l->served;
        let_go(l);
        if (served && sg_seat_yield(&l->seat))
            sg_seat_return(&l->seat, is_urgent, l);
    }
    return NULL;
}

sg_loop *sg_loop_open(void) {
    sg_loop *l = sg_calloc(1, sizeof *l);
    if (l == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    sg_list_init(&l->actors);
    l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->event < 0)
        goto fail_event;
    if (!sg_seat_open(&l->seat))
        goto fail_seat;
    if (!sg_mutex_init(&l->lock))
        goto fail_lock;
    if (!sg_cond_init(&l->called))
        goto fail_called;
    sg_list_init(&l->calls);
    if (!sg_mutex_init(&l->state))
        goto fail_state;
    if (!make_room(l)) {
        errno = ENOMEM;
        goto fail_room;
    }
    if (!sg_thread_start(&l->thread, "segmenter", loop_main, l))
        goto fail_thread;
    return l;
fail_thread:
    free_polled(&l->spare);
    sg_free(l->conns);
fail_room:
    sg_mutex_fini(&l->state);
fail_state:
    sg_cond_fini(&l->called);
fail_called:
    sg_mutex_fini(&l->lock);
fail_lock:
    sg_seat_close(&l->seat);
fail_seat:
    close(l->event);
fail_event:
    sg_free(l);
    return NULL;
}

void sg_loop_close(sg_loop *l) {
    if (l == NULL)
        return;
    atomic_store(&l->stopping, true);
    raise_event(l);
    pthread_join(l->thread, NULL);
    close(l->event);
    sg_seat_close(&l->seat);
    sg_cond_fini(&l->called);
    sg_mutex_fini(&l->lock);
    sg_mutex_fini(&l->state);
    free_polled(&l->at);
    free_polled(&l->spare);
    sg_free(l->conns);
    sg_free(l);
}
