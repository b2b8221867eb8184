/* conn.c - the connection's life: when to connect, when it is up, when it is over.
 *
 * One rule for all deadlines: look at the socket first, judge after. A process that was stopped or
 * starved for longer than a timeout finds its answers waiting there, and nobody was late. */
#include "redis/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "core/error.h"
#include "redis/conn_impl.h"

#define BACKOFF_FIRST 20
#define BACKOFF_MAX   1000
#define STEADY        1000          /* ms up after which a connection counts as one that worked */
#define READ_BUDGET   (1024 * 1024) /* for one call: other connections must get their turn */
#define LARGE         (16 * 1024)   /* entries whose bytes are worth receiving into their place */
#define BESIDE_LARGE  4096          /* so much at most of what follows them is copied */
#define HELLO_MAX     (1024 * 1024) /* more bytes than this are no answers to a handshake */

sg_conn *sg_conn_new(const sg_conn_options *o) {
    sg_conn *c = sg_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->o = *o;
    c->counts = o->counts != NULL ? o->counts : &c->own_counts;
    c->fd = -1;
    sg_url_show(o->url, c->where, sizeof c->where);
    sg_dial_init(&c->dial, o->url);
    sg_out_init(&c->out);
    sg_backoff_init(&c->backoff, BACKOFF_FIRST, BACKOFF_MAX);
    if (!sg_random_bytes(&c->rng.state, sizeof c->rng.state))
        c->rng.state = (uint64_t)sg_clock_us() ^ (uint64_t)(uintptr_t)c;
    return c;
}

/* Every trace of the socket goes; requests and the user's callbacks are the caller's to see to. */
static void close_socket(sg_conn *c) {
    if (c->fd >= 0)
        close(c->fd);
    if (c->phase == SG_CONN_UP)
        sg_counter_sub(&c->counts->up, 1);
    c->fd = -1;
    c->life++;
    c->broken = 0;
    c->demoted = false;
    c->told = 0;
    c->building = false;
    sg_dial_stop(&c->dial);
    sg_reader_fini(&c->reader);
    sg_out_clear(&c->out);
    c->phase = SG_CONN_WAITING;
}

void sg_conn_free(sg_conn *c) {
    if (c == NULL)
        return;
    close_socket(c);
    sg_exchange_lost(c, "the connection was closed");
    sg_dial_fini(&c->dial);
    sg_out_fini(&c->out);
    sg_requests_fini(&c->requests);
    sg_free(c);
}

/* ---- Down --------------------------------------------------------------------------------- */

/* True the first time that `text` is told. */
static bool first_told(sg_told *t, const char *text) {
    const size_t places = sizeof t->hashes / sizeof t->hashes[0];
    uint32_t hash = sg_fnv1a32(text, strlen(text));
    size_t known = t->count < places ? t->count : places;
    for (size_t i = 0; i < known; i++) {
        if (t->hashes[i] == hash)
            return false;
    }
    t->hashes[t->count++ % places] = hash;
    return true;
}

static void plan_retry(sg_conn *c, bool was_up, bool hopeless, int64_t now) {
    if (hopeless) {
        c->retry_at = now + BACKOFF_MAX / 2 + (int64_t)sg_rng_below(&c->rng, BACKOFF_MAX / 2);
    } else if (was_up && now - c->up_at > STEADY) {
        sg_backoff_reset(&c->backoff);
        c->retry_at = now;
    } else {
        c->retry_at = now + sg_backoff_next(&c->backoff, &c->rng);
    }
}

/* The attempt failed or the connection is over, for the reason `why`: to WAITING, and tell. */
static void go_down(sg_conn *c, const seg_error *why, bool hopeless, int64_t now) {
    const seg_error told = *why; /* it may be c->error, and callbacks may change that */
    bool was_up = c->phase == SG_CONN_UP;
    close_socket(c);
    if (!was_up)
        sg_counter_add(&c->counts->failures, 1);
    c->error = told;
    plan_retry(c, was_up, hopeless, now);
    if (was_up || first_told(&c->failures, told.text))
        sg_log_write(c->o.log, SEG_LOG_WARN, was_up ? "disconnected" : "connect-failed", "%s: %s",
                     c->o.purpose, told.text);
    sg_exchange_lost(c, told.text);
    bool tell_hopeless = hopeless && first_told(&c->hopeless, told.text);
    if (was_up || tell_hopeless)
        c->o.on_state(c->o.arg, false, tell_hopeless ? &told : NULL);
}

static void over(sg_conn *c, seg_status status, const char *what, int64_t now) {
    seg_error err;
    const char *during = c->phase == SG_CONN_HELLO ? " during the handshake" : "";
    if (c->phase == SG_CONN_HELLO && c->hello.remark[0] != '\0')
        sg_fail(&err, status, "'%s' %s%s; before, it said: %.200s", c->where, what, during,
                c->hello.remark);
    else
        sg_fail(&err, status, "'%s' %s%s", c->where, what, during);
    go_down(c, &err, false, now);
}

static void over_errno(sg_conn *c, int error, int64_t now) {
    char text[128], what[160];
    snprintf(what, sizeof what, "broke the connection (%s)", strerror_r(error, text, sizeof text));
    over(c, SEG_ECONN, what, now);
}

static void over_time(sg_conn *c, int64_t now) {
    const sg_request *head = sg_requests_head(&c->requests);
    int64_t limit = c->phase == SG_CONN_HELLO ? c->o.connect_timeout
                                              : sg_clock_after(c->o.command_timeout, head->wait);
    char what[64];
    snprintf(what, sizeof what, "did not answer within %lld ms", (long long)limit);
    over(c, SEG_ETIMEDOUT, what, now);
}

/* The bytes are no answers, or no answers to us. A server that was understood before is tried
 * again; one that never was does not speak our language. */
static void over_protocol(sg_conn *c, const char *what, int64_t now) {
    bool hello = c->phase == SG_CONN_HELLO;
    seg_error err;
    sg_fail(&err, SEG_ECONN, "'%s' does not speak the protocol%s: %.120s", c->where,
            hello ? " of Redis (or wants TLS)" : " any more", what);
    go_down(c, &err, hello && !c->ever_up, now);
}

static void over_memory(sg_conn *c, int64_t now) {
    seg_error err;
    sg_fail_nomem(&err);
    go_down(c, &err, false, now);
}

/* An answer to no request of ours; frees it. */
static void over_unasked(sg_conn *c, sg_reply *r, int64_t now) {
    const char *said = sg_reply_error(r);
    char what[160];
    snprintf(what, sizeof what, "answered what nobody had asked: %.100s",
             said != NULL ? said : sg_reply_text(r));
    sg_reply_free(r);
    over(c, SEG_ECONN, what, now);
}

void sg_conn_drop(sg_conn *c, const char *why) {
    if (c->phase == SG_CONN_WAITING)
        return;
    seg_error err;
    sg_fail(&err, SEG_ECONN, "dropped the connection to '%s': %s", c->where, why);
    go_down(c, &err, false, sg_clock_ms());
}

/* ---- Up ----------------------------------------------------------------------------------- */

static void go_up(sg_conn *c, int64_t now) {
    c->phase = SG_CONN_UP;
    sg_counter_add(&c->counts->up, 1);
    if (c->ever_up)
        sg_counter_add(&c->counts->reconnects, 1);
    c->ever_up = true;
    c->up_at = now;
    c->error = (seg_error){.status = SEG_OK};
    c->failures.count = c->hopeless.count = 0;
    memcpy(c->server, c->hello.server, sizeof c->server);
    sg_log_write(c->o.log, SEG_LOG_INFO, "connected", "%s: connected to '%s', %s", c->o.purpose,
                 c->where, c->server);
    c->o.on_state(c->o.arg, true, NULL);
}

static void take_hello(sg_conn *c, sg_reply *r, int64_t now) {
    seg_error err;
    sg_hello_outcome outcome = sg_hello_answer(&c->hello, r, &err);
    sg_reply_free(r);
    switch (outcome) {
    case SG_HELLO_MORE:
        return;
    case SG_HELLO_DONE:
        go_up(c, now);
        return;
    case SG_HELLO_RETRY:
        go_down(c, &err, false, now);
        return;
    case SG_HELLO_OTHER:
        /* After a failover it may well become the one that we want. */
        err.status = c->ever_up ? SEG_ECONN : SEG_ESERVER;
        go_down(c, &err, !c->ever_up, now);
        return;
    case SG_HELLO_HOPELESS:
        go_down(c, &err, true, now);
        return;
    }
}

/* ---- The socket --------------------------------------------------------------------------- */

static void send_queued(sg_conn *c, int64_t now) {
    if (c->fd < 0 || c->broken != 0 || sg_out_unsent(&c->out) == 0)
        return;
    uint64_t before = c->out.total;
    c->broken = sg_out_send(&c->out, c->fd, now);
    if (c->out.total > before) {
        sg_counter_add(&c->counts->bytes_out, c->out.total - before);
        sg_exchange_sent(c, before, now);
    }
}

/* Read the entries that are there, where an answer of such is to come. False: its end has not come, or
 * the connection is over. */
static bool take_entries(sg_conn *c, const char **fault, int64_t now) {
    const uint64_t life = c->life;
    for (;;) {
        size_t n, used;
        const uint8_t *rest = sg_reader_rest(&c->reader, &n);
        *fault = NULL;
        sg_entries_state state = sg_exchange_entries(c, rest, n, &used, fault, now);
        if (c->life != life)
            return false;
        sg_reader_pass(&c->reader, used);
        c->reader.by_line = sg_exchange_ends_in_entries(c);
        if (state == SG_ENTRIES_BROKEN && *fault == NULL)
            over_memory(c, now);
        if (state != SG_ENTRIES_DONE)
            return state == SG_ENTRIES_OTHER;
    }
}

static void hand_out(sg_conn *c, sg_reply *r, int64_t now) {
    switch (sg_exchange_answer(c, r, now)) {
    case SG_TAKEN:
        return;
    case SG_UNASKED:
        over_unasked(c, r, now);
        return;
    case SG_UNFIT:
        over_protocol(c, "an answer that is not in the form of an XREAD's", now);
        break;
    case SG_NO_ROOM:
        over_memory(c, now);
        break;
    }
    sg_reply_free(r);
}

/* Hand out the answers that are there whole. False: the connection is over. */
static bool take_answers(sg_conn *c, int64_t now) {
    const uint64_t life = c->life;
    const char *fault;
    sg_reply *r;
    while (take_entries(c, &fault, now) && (r = sg_reader_next(&c->reader, &fault)) != NULL) {
        if (c->phase == SG_CONN_HELLO)
            take_hello(c, r, now);
        else
            hand_out(c, r, now);
        if (c->life != life)
            return false;
    }
    if (c->life != life)
        return false;
    if (fault == NULL && c->phase == SG_CONN_HELLO && c->partial > HELLO_MAX)
        fault = "too much of an answer";
    if (fault != NULL && sg_reader_starved(&c->reader))
        over_memory(c, now);
    else if (fault != NULL)
        over_protocol(c, fault, now);
    return fault == NULL;
}

static void receive(sg_conn *c, int64_t now) {
    for (size_t got = 0; got < READ_BUDGET;) {
        uint8_t *place = NULL;
        size_t about, room = sg_exchange_place(c, &place, &about);
        size_t most = about >= LARGE ? BESIDE_LARGE : SIZE_MAX;
        ssize_t n = sg_reader_fill(&c->reader, c->fd, place, room, most);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            over_errno(c, errno, now);
            return;
        }
        if (n == 0) {
            over(c, SEG_ECONN, "closed the connection", now);
            return;
        }
        sg_counter_add(&c->counts->bytes_in, (uint64_t)n);
        size_t placed = (size_t)n < room ? (size_t)n : room;
        sg_exchange_placed(c, placed);
        sg_exchange_heard(c, (size_t)n, now);
        bool more = c->reader.brimful;
        if (!take_answers(c, now) || !more)
            return;
        got += (size_t)n;
    }
}

static void say_hello(sg_conn *c, int64_t now) {
    c->fd = sg_dial_take(&c->dial);
    c->phase = SG_CONN_HELLO;
    c->partial = 0;
    if (!sg_reader_init(&c->reader) || !sg_hello_ask(&c->hello, c->o.url, c->o.purpose, &c->out)) {
        over_memory(c, now);
        return;
    }
    send_queued(c, now);
}

static void go_on_dialing(sg_conn *c, sg_dial_state state, const seg_error *err, int64_t now) {
    if (state == SG_DIAL_DONE)
        say_hello(c, now);
    else if (state == SG_DIAL_FAILED)
        go_down(c, err, false, now);
}

static void start_dialing(sg_conn *c, int64_t now) {
    seg_error err;
    c->phase = SG_CONN_DIALING;
    c->attempt_deadline = sg_clock_after(now, c->o.connect_timeout);
    go_on_dialing(c, sg_dial_start(&c->dial, now, c->attempt_deadline, &err), &err, now);
}

static void step_dialing(sg_conn *c, int64_t now) {
    seg_error err;
    go_on_dialing(c, sg_dial_step(&c->dial, now, &err), &err, now);
}

/* ---- For the loop ------------------------------------------------------------------------- */

int sg_conn_fd(const sg_conn *c) {
    return c->phase == SG_CONN_DIALING ? sg_dial_fd(&c->dial) : c->fd;
}

short sg_conn_events(const sg_conn *c) {
    if (c->phase == SG_CONN_WAITING)
        return 0;
    if (c->phase == SG_CONN_DIALING)
        return sg_dial_events(&c->dial);
    bool sending = c->broken == 0 && sg_out_unsent(&c->out) > 0;
    return (short)(POLLIN | (sending ? POLLOUT : 0));
}

int64_t sg_conn_deadline(const sg_conn *c) {
    switch (c->phase) {
    case SG_CONN_WAITING:
        return c->retry_at;
    case SG_CONN_DIALING:
        return sg_dial_until(&c->dial);
    case SG_CONN_HELLO:
        return c->broken != 0 ? 0 : c->attempt_deadline;
    case SG_CONN_UP:
        break;
    }
    if (c->broken != 0 || c->demoted)
        return 0;
    return c->requests.count > 0 ? sg_exchange_deadline(c)
                                 : sg_clock_after(c->heard_at, c->o.command_timeout);
}

void sg_conn_ready(sg_conn *c, short revents, int64_t now) {
    if (c->phase == SG_CONN_WAITING || revents == 0)
        return;
    if (c->phase == SG_CONN_DIALING) {
        step_dialing(c, now);
        return;
    }
    if (revents & POLLOUT)
        send_queued(c, now);
    if (revents & ~POLLOUT)
        receive(c, now);
}

/* A server that owes nothing and says nothing: is it still there? */
static void ask_for_a_sign(sg_conn *c, int64_t now) {
    if (sg_exchange_ping(c))
        send_queued(c, now);
    else
        c->heard_at = now; /* no memory: again later */
}

/* Connected, and the deadline has come. */
static void judge(sg_conn *c, int64_t now) {
    const uint64_t life = c->life;
    struct pollfd p = {.fd = c->fd, .events = sg_conn_events(c)};
    if (poll(&p, 1, 0) > 0) {
        sg_conn_ready(c, p.revents, now);
        /* What came may be not all there is: the deadline has still come, so we are called again.
         */
        if (c->life != life || (p.revents & ~POLLOUT) != 0 || now < sg_conn_deadline(c))
            return;
    }
    if (c->demoted)
        over(c, SEG_ECONN, "has become a read-only replica", now);
    else if (c->broken != 0)
        over_errno(c, c->broken, now);
    else if (c->phase == SG_CONN_UP && c->requests.count == 0)
        ask_for_a_sign(c, now);
    else
        over_time(c, now);
}

void sg_conn_tick(sg_conn *c, int64_t now) {
    if (now < sg_conn_deadline(c))
        return;
    if (c->phase == SG_CONN_WAITING)
        start_dialing(c, now);
    else if (c->phase == SG_CONN_DIALING)
        step_dialing(c, now);
    else
        judge(c, now);
}

void sg_conn_flush(sg_conn *c, int64_t now) {
    send_queued(c, now);
}

uint64_t sg_conn_life(const sg_conn *c) {
    return c->life;
}

bool sg_conn_up(const sg_conn *c) {
    return c->phase == SG_CONN_UP;
}

const char *sg_conn_server(const sg_conn *c) {
    return c->server;
}

uint64_t sg_conn_client_id(const sg_conn *c) {
    return c->phase == SG_CONN_UP ? c->hello.client_id : 0;
}

uint32_t *sg_conn_told(sg_conn *c) {
    return &c->told;
}

const seg_error *sg_conn_last_error(const sg_conn *c) {
    return &c->error;
}
