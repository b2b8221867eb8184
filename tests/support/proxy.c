/* proxy.c - see proxy.h. One thread polls all sockets; the tests' calls set the orders under the
 * lock, wake it, and wait for the round in which they are carried out. */
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"

enum { MAX_PAIRS = 1024, CHUNK = 64 * 1024, WAIT_MS = 20000, NO_CUT = -1 };

/* The bytes that came one way and are still to be passed on. */
typedef struct flow {
    char *data;
    size_t len, room;
    int64_t due; /* not to be passed before */
    bool held;
    bool ended;    /* its source is closed */
    bool finished; /* and its target was told */
} flow;

/* An accepted connection and ours to the server; -1: closed. */
typedef struct pair {
    int fds[2]; /* where requests come from, where replies come from */
    flow flows[2];
} pair;

struct proxy {
    char path[64], url[80], target[96];
    int listener, event;
    pthread_t thread;
    struct pollfd fds[2 + 2 * MAX_PAIRS]; /* the thread's own */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t round; /* a round has begun */
    uint64_t asked, done; /* orders given, orders carried out */
    bool stopping, refusing, cutting;
    bool hold_new[2], bytewise[2];
    int64_t delay[2], jitter[2];
    uint64_t chance; /* the jitter's */
    proxy_way cut_way;
    int64_t cut_left;       /* bytes before the ordered cut; NO_CUT */
    const char *falsify[2]; /* what, and with what; NULL: nothing */
    proxy_way falsify_way;
    size_t accepted, passed[2];
    pair pairs[MAX_PAIRS];
    size_t n_pairs;
};

/* ---- One pair (lock held) ------------------------------------------------------------------- */

static void close_end(pair *l, int side) {
    if (l->fds[side] >= 0)
        close(l->fds[side]);
    l->fds[side] = -1;
}

static void drop_pair(proxy *p, size_t i) {
    pair *l = &p->pairs[i];
    close_end(l, 0);
    close_end(l, 1);
    free(l->flows[0].data);
    free(l->flows[1].data);
    *l = p->pairs[--p->n_pairs];
}

static void drop_all(proxy *p) {
    while (p->n_pairs > 0)
        drop_pair(p, p->n_pairs - 1);
}

static bool may_pass(const pair *l, int way, int64_t now) {
    const flow *f = &l->flows[way];
    return f->len > 0 && !f->held && f->due <= now && l->fds[1 - way] >= 0;
}

static int64_t jitter(proxy *p, int way) {
    p->chance = p->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return p->jitter[way] > 0 ? (int64_t)((p->chance >> 33) % (uint64_t)p->jitter[way]) : 0;
}

static void falsify(proxy *p, char *data, size_t n) {
    size_t len = strlen(p->falsify[0]);
    char *at = memmem(data, n, p->falsify[0], len);
    if (at == NULL)
        return;
    memcpy(at, p->falsify[1], len);
    p->falsify[0] = p->falsify[1] = NULL;
}

static void take(proxy *p, pair *l, int way, int64_t now) {
    flow *f = &l->flows[way];
    if (f->room - f->len < CHUNK) {
        f->room = 2 * f->room + CHUNK;
        f->data = realloc(f->data, f->room);
        CHECK(f->data != NULL);
    }
    ssize_t n = read(l->fds[way], f->data + f->len, f->room - f->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        f->ended = true;
        return;
    }
    if (p->falsify[0] != NULL && (int)p->falsify_way == way)
        falsify(p, f->data + f->len, (size_t)n);
    if (f->len == 0)
        f->due = now + p->delay[way] + jitter(p, way);
    f->len += (size_t)n;
}

/* False: it was the byte at which to cut. */
static bool pass(proxy *p, pair *l, int way) {
    flow *f = &l->flows[way];
    bool counted = p->cut_left != NO_CUT && (int)p->cut_way == way;
    size_t n = p->bytewise[way] ? 1 : f->len;
    if (counted && (uint64_t)p->cut_left < n)
        n = (size_t)p->cut_left;
    ssize_t sent = n > 0 ? send(l->fds[1 - way], f->data, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (sent < 0) { /* nobody takes it any more */
        f->len = 0;
        return true;
    }
    f->len -= (size_t)sent;
    memmove(f->data, f->data + sent, f->len);
    p->passed[way] += (size_t)sent;
    if (!counted)
        return true;
    p->cut_left -= sent;
    return p->cut_left > 0 || f->len == 0;
}

/* A side that has closed: tell the other once all of it has been passed on. The server gets the end
 * of the requests and answers with its own, when it has executed them. True: the pair is over. */
static bool settle(pair *l) {
    for (int way = 0; way < 2; way++) {
        flow *f = &l->flows[way];
        if (l->fds[1 - way] < 0)
            f->len = 0;
        if (!f->ended || f->len > 0 || f->held || f->finished)
            continue;
        f->finished = true;
        if (l->fds[1 - way] >= 0)
            shutdown(l->fds[1 - way], SHUT_WR);
    }
    if (l->flows[PROXY_REQUESTS].ended)
        close_end(l, 0);
    return l->flows[PROXY_REPLIES].finished;
}

/* ---- The thread ----------------------------------------------------------------------------- */

static int connect_to(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static void accept_one(proxy *p) {
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    p->accepted++;
    int server = p->refusing || p->n_pairs == MAX_PAIRS ? -1 : connect_to(p->target);
    if (server < 0) {
        close(client);
        return;
    }
    pair *l = &p->pairs[p->n_pairs++];
    *l = (pair){.fds = {client, server}};
    for (int way = 0; way < 2; way++) {
        fcntl(l->fds[way], F_SETFL, O_NONBLOCK);
        l->flows[way].held = p->hold_new[way];
    }
}

/* What to poll: the event, the listener, then both ends of each pair. */
static size_t poll_set(const proxy *p, struct pollfd *fds, int *timeout) {
    int64_t now = test_now_ms();
    fds[0] = (struct pollfd){.fd = p->event, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    *timeout = -1;
    for (size_t i = 0; i < p->n_pairs; i++) {
        const pair *l = &p->pairs[i];
        for (int way = 0; way < 2; way++) {
            const flow *f = &l->flows[way];
            struct pollfd *from = &fds[2 + 2 * i + (size_t)way];
            *from = (struct pollfd){.fd = l->flows[way].ended ? -1 : l->fds[way], .events = POLLIN};
            if (may_pass(l, 1 - way, now)) {
                from->fd = l->fds[way];
                from->events = (short)(f->ended ? POLLOUT : POLLIN | POLLOUT);
            }
            if (f->len > 0 && !f->held && f->due > now && (*timeout < 0 || f->due - now < *timeout))
                *timeout = (int)(f->due - now);
        }
    }
    return 2 + 2 * p->n_pairs;
}

static void serve_pairs(proxy *p, const struct pollfd *fds, size_t n) {
    int64_t now = test_now_ms();
    for (size_t i = 0; i < n; i++)
        for (int way = 0; way < 2; way++)
            if ((fds[2 * i + (size_t)way].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
                !p->pairs[i].flows[way].ended)
                take(p, &p->pairs[i], way, now);
    for (size_t i = 0; i < n; i++)
        for (int way = 0; way < 2; way++)
            if (may_pass(&p->pairs[i], way, now) && !pass(p, &p->pairs[i], way)) {
                p->cut_left = NO_CUT;
                drop_all(p);
                return;
            }
    for (size_t i = n; i-- > 0;)
        if (settle(&p->pairs[i]))
            drop_pair(p, i);
}

static void *run(void *arg) {
    proxy *p = arg;
    struct pollfd *fds = p->fds;
    int timeout;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        if (p->cutting)
            drop_all(p);
        p->cutting = false;
        p->done = p->asked;
        pthread_cond_broadcast(&p->round);
        size_t n_pairs = p->n_pairs, n = poll_set(p, fds, &timeout);
        pthread_mutex_unlock(&p->lock);
        poll(fds, (nfds_t)n, timeout);
        pthread_mutex_lock(&p->lock);
        uint64_t count;
        if (fds[0].revents != 0 && read(p->event, &count, sizeof count) < 0)
            CHECK_EQ(errno, EAGAIN);
        serve_pairs(p, fds + 2, n_pairs);
        if (fds[1].revents != 0)
            accept_one(p);
    }
    drop_all(p);
    p->done = p->asked;
    pthread_cond_broadcast(&p->round);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- Orders --------------------------------------------------------------------------------- */

static void wake(proxy *p) {
    uint64_t one = 1;
    CHECK_EQ(write(p->event, &one, sizeof one), sizeof one);
}

static proxy *begin(proxy *p) {
    pthread_mutex_lock(&p->lock);
    return p;
}

/* Give up the lock once the thread has seen what was changed under it. A round that is in poll now
 * may still serve by the old orders, so it is not the one that counts. */
static void end(proxy *p) {
    uint64_t mine = ++p->asked;
    wake(p);
    while (p->done < mine)
        pthread_cond_wait(&p->round, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

proxy *proxy_start(const char *server_socket) {
    static int count;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    proxy *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    snprintf(p->path, sizeof p->path, "%s/p%d", test_dir(), count++);
    snprintf(p->url, sizeof p->url, "unix://%s", p->path);
    snprintf(p->target, sizeof p->target, "%s", server_socket);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", p->path);
    p->cut_left = NO_CUT;
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(p->listener >= 0);
    CHECK_EQ(bind(p->listener, (struct sockaddr *)(void *)&a, sizeof a), 0);
    CHECK_EQ(listen(p->listener, 64), 0);
    p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(p->event >= 0);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->round, NULL);
    CHECK_EQ(pthread_create(&p->thread, NULL, run, p), 0);
    return p;
}

void proxy_stop(proxy *p) {
    if (p == NULL)
        return;
    begin(p)->stopping = true;
    end(p);
    pthread_join(p->thread, NULL);
    close(p->listener);
    close(p->event);
    unlink(p->path);
    pthread_cond_destroy(&p->round);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const char *proxy_url(const proxy *p) {
    return p->url;
}

void proxy_cut(proxy *p) {
    begin(p)->cutting = true;
    end(p);
}

void proxy_cut_after(proxy *p, proxy_way way, size_t bytes) {
    begin(p)->cut_way = way;
    p->cut_left = (int64_t)bytes;
    end(p);
}

bool proxy_has_cut(proxy *p) {
    bool cut = begin(p)->cut_left == NO_CUT;
    end(p);
    return cut;
}

void proxy_falsify(proxy *p, proxy_way way, const char *what, const char *with) {
    CHECK_EQ(strlen(what), strlen(with));
    begin(p)->falsify_way = way;
    p->falsify[0] = what;
    p->falsify[1] = with;
    end(p);
}

bool proxy_has_falsified(proxy *p) {
    bool has = begin(p)->falsify[0] == NULL;
    end(p);
    return has;
}

void proxy_refuse(proxy *p, bool on) {
    begin(p)->refusing = on;
    end(p);
}

void proxy_hold(proxy *p, proxy_way way) {
    begin(p);
    for (size_t i = 0; i < p->n_pairs; i++)
        p->pairs[i].flows[way].held = true;
    end(p);
}

void proxy_hold_all(proxy *p, proxy_way way) {
    begin(p)->hold_new[way] = true;
    for (size_t i = 0; i < p->n_pairs; i++)
        p->pairs[i].flows[way].held = true;
    end(p);
}

/* Lock held. */
static void hold_no_more(proxy *p, proxy_way way) {
    p->hold_new[way] = false;
    for (size_t i = 0; i < p->n_pairs; i++)
        p->pairs[i].flows[way].held = false;
}

void proxy_pass(proxy *p, proxy_way way) {
    hold_no_more(begin(p), way);
    end(p);
}

/* Lock held. Connections whose client has gone: the server has not taken all of it yet. */
static size_t orphans(const proxy *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_pairs; i++)
        n += p->pairs[i].fds[0] < 0;
    return n;
}

void proxy_release(proxy *p) {
    hold_no_more(begin(p), PROXY_REQUESTS);
    hold_no_more(p, PROXY_REPLIES);
    end(p);
    struct test_wait w = test_wait_start(WAIT_MS);
    for (bool over = false; !over;) {
        over = orphans(begin(p)) == 0;
        end(p);
        if (!over && !test_wait_more(&w))
            FAIL("the server did not take the late requests within %d ms", WAIT_MS);
    }
}

size_t proxy_held(proxy *p, proxy_way way) {
    size_t sum = 0;
    begin(p);
    for (size_t i = 0; i < p->n_pairs; i++)
        sum += p->pairs[i].flows[way].len;
    end(p);
    return sum;
}

void proxy_delay(proxy *p, proxy_way way, int64_t ms) {
    begin(p)->delay[way] = ms;
    end(p);
}

void proxy_jitter(proxy *p, proxy_way way, int64_t ms) {
    begin(p)->jitter[way] = ms;
    end(p);
}

void proxy_retarget(proxy *p, const char *server_socket) {
    begin(p);
    snprintf(p->target, sizeof p->target, "%s", server_socket);
    end(p);
}

void proxy_bytewise(proxy *p, proxy_way way, bool on) {
    begin(p)->bytewise[way] = on;
    end(p);
}

size_t proxy_accepted(proxy *p) {
    size_t n = begin(p)->accepted;
    end(p);
    return n;
}

size_t proxy_open(proxy *p) {
    size_t n = begin(p)->n_pairs - orphans(p);
    end(p);
    return n;
}

size_t proxy_passed(proxy *p, proxy_way way) {
    size_t n = begin(p)->passed[way];
    end(p);
    return n;
}
