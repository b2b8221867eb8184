#include "engine/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/thread.h"

/* Actors wake each other; after so many rounds the sockets get their turn again. */
#define ROUNDS_MAX 8

typedef struct call {
    sg_node node;
    void (*fn)(void *arg);
    void *arg;
    bool done;
} call;

struct sg_loop {
    pthread_t thread;
    int event;             /* eventfd: somebody wants the loop's attention */
    atomic_bool signalled; /* the event is raised and not yet seen */

    sg_mutex lock; /* guards calls, stopping */
    sg_cond done;  /* a call has returned */
    sg_list calls;
    bool stopping;

    /* Loop thread only. */
    sg_list actors;
    sg_node *next_actor; /* of the round under way, so that an actor may be removed in it */
    sg_conn **conns;
    struct pollfd *fds; /* one more than conns: the event */
    size_t n_conns, room;
};

/* The loop whose thread this is. It looks at what was woken before it waits, so it need not wake
 * itself. */
static _Thread_local const sg_loop *this_loop;

static void raise_event(sg_loop *l) {
    uint64_t one = 1;
    int saved = errno;
    if (atomic_exchange(&l->signalled, true))
        return;
    while (write(l->event, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

void sg_loop_wake(sg_actor *a) {
    if (!atomic_exchange(&a->woken, true) && a->loop != this_loop)
        raise_event(a->loop);
}

void sg_loop_wake_all(sg_loop *l) {
    for (sg_node *n = l->actors.head.next; n != &l->actors.head; n = n->next)
        atomic_store(&SG_OF(n, sg_actor, node)->woken, true);
}

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

bool sg_loop_attach(sg_loop *l, sg_conn *c) {
    if (l->n_conns == l->room) {
        size_t room = l->room == 0 ? 8 : 2 * l->room;
        sg_conn **conns = sg_reallocarray(l->conns, room, sizeof *conns);
        if (conns == NULL)
            return false;
        l->conns = conns;
        struct pollfd *fds = sg_reallocarray(l->fds, room + 1, sizeof *fds);
        if (fds == NULL)
            return false;
        l->fds = fds;
        l->room = room;
    }
    l->conns[l->n_conns++] = c;
    return true;
}

void sg_loop_detach(sg_loop *l, sg_conn *c) {
    for (size_t i = 0; i < l->n_conns; i++)
        if (l->conns[i] == c) {
            l->conns[i] = l->conns[--l->n_conns];
            return;
        }
}

static bool run_calls(sg_loop *l) {
    bool stopping;
    sg_mutex_lock(&l->lock);
    for (sg_node *n; (n = sg_list_pop(&l->calls)) != NULL;) {
        call *k = SG_OF(n, call, node);
        sg_mutex_unlock(&l->lock);
        k->fn(k->arg);
        sg_mutex_lock(&l->lock);
        k->done = true;
        sg_cond_broadcast(&l->done);
    }
    stopping = l->stopping;
    sg_mutex_unlock(&l->lock);
    return !stopping;
}

void sg_loop_call(sg_loop *l, void (*fn)(void *arg), void *arg) {
    call k = {.fn = fn, .arg = arg};
    if (l == this_loop) {
        fn(arg);
        return;
    }
    sg_mutex_lock(&l->lock);
    sg_list_push(&l->calls, &k.node);
    raise_event(l);
    while (!k.done)
        sg_cond_wait(&l->done, &l->lock, INT64_MAX);
    sg_mutex_unlock(&l->lock);
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

static int poll_timeout(const sg_loop *l, int64_t due) {
    for (size_t i = 0; i < l->n_conns; i++) {
        int64_t d = sg_conn_deadline(l->conns[i]);
        if (d < due)
            due = d;
    }
    for (sg_node *n = l->actors.head.next; n != &l->actors.head; n = n->next)
        if (atomic_load(&SG_OF(n, sg_actor, node)->woken))
            return 0;
    if (due == INT64_MAX)
        return -1;
    int64_t left = due - sg_clock_ms();
    return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void poll_sockets(sg_loop *l, int timeout) {
    size_t n = l->n_conns;
    struct pollfd alone, *fds = l->fds != NULL ? l->fds : &alone;
    fds[0] = (struct pollfd){.fd = l->event, .events = POLLIN};
    for (size_t i = 0; i < n; i++)
        fds[i + 1] =
            (struct pollfd){.fd = sg_conn_fd(l->conns[i]), .events = sg_conn_events(l->conns[i])};
    if (poll(fds, (nfds_t)(n + 1), timeout) < 0)
        return; /* EINTR, or no memory: the next round tries again */
    if (fds[0].revents != 0) {
        uint64_t count;
        /* First take the event, then look: what is raised in between raises it again. */
        while (read(l->event, &count, sizeof count) < 0 && errno == EINTR)
            continue;
        atomic_store(&l->signalled, false);
    }
    int64_t now = sg_clock_ms();
    for (size_t i = 0; i < n; i++)
        if (fds[i + 1].revents != 0)
            sg_conn_ready(l->conns[i], fds[i + 1].revents, now);
    now = sg_clock_ms();
    for (size_t i = 0; i < n; i++)
        if (sg_conn_deadline(l->conns[i]) <= now)
            sg_conn_tick(l->conns[i], now);
}

/* Calls that attach and detach connections run only at the top of a round, so that the list of
 * connections stands still while it is polled. */
static void *loop_main(void *arg) {
    sg_loop *l = arg;
    this_loop = l;
    while (run_calls(l)) {
        int64_t due = run_actors(l);
        int64_t now = sg_clock_ms();
        for (size_t i = 0; i < l->n_conns; i++)
            sg_conn_flush(l->conns[i], now);
        poll_sockets(l, poll_timeout(l, due));
    }
    return NULL;
}

sg_loop *sg_loop_open(void) {
    sg_loop *l = sg_calloc(1, sizeof *l);
    if (l == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    sg_list_init(&l->calls);
    sg_list_init(&l->actors);
    l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->event < 0)
        goto fail_event;
    if (!sg_mutex_init(&l->lock))
        goto fail_lock;
    if (!sg_cond_init(&l->done))
        goto fail_cond;
    if (!sg_thread_start(&l->thread, "segmenter", loop_main, l))
        goto fail_thread;
    return l;
fail_thread:
    sg_cond_fini(&l->done);
fail_cond:
    sg_mutex_fini(&l->lock);
fail_lock:
    close(l->event);
fail_event:
    sg_free(l);
    return NULL;
}

void sg_loop_close(sg_loop *l) {
    if (l == NULL)
        return;
    sg_mutex_lock(&l->lock);
    l->stopping = true;
    raise_event(l);
    sg_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    close(l->event);
    sg_cond_fini(&l->done);
    sg_mutex_fini(&l->lock);
    sg_free(l->conns);
    sg_free(l->fds);
    sg_free(l);
}
