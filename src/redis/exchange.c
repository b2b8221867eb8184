/* exchange.c - requests out, answers in: what is under way on a connection that is up.
 *
 * When is an answer overdue? Answers come in order, so only the oldest request matters, and its
 * time does not run while the server owes us nothing: it begins (`since`) at the latest of
 *
 *   - its being queued with nothing before it,
 *   - the answer before it: a blocking read ahead of it may have taken long, and did no wrong,
 *   - the socket's taking bytes while its own last byte was not sent: a large request over a slow
 *     line. Bytes of later requests do not count: a stopped server's kernel takes those for long,
 *   - the arrival of each PARTIAL_STEP bytes of it: a large answer over a slow line. Fewer do not
 *     count, so that nobody keeps us waiting by a byte now and then. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "redis/conn_impl.h"

#define PARTIAL_STEP (64 * 1024)

/* ---- Time --------------------------------------------------------------------------------- */

static void restart_clock(sg_conn *c, int64_t now) {
    c->since = now;
    c->partial = 0;
}

void sg_exchange_heard(sg_conn *c, size_t bytes, int64_t now) {
    c->heard_at = now;
    c->partial += bytes;
    if (c->phase == SG_CONN_UP && c->partial >= PARTIAL_STEP)
        restart_clock(c, now);
}

void sg_exchange_sent(sg_conn *c, uint64_t from, int64_t now) {
    const sg_request *head = sg_requests_head(&c->requests);
    if (head != NULL && from < head->end)
        c->since = now;
}

int64_t sg_exchange_deadline(const sg_conn *c) {
    const sg_request *head = sg_requests_head(&c->requests);
    if (head == NULL)
        return INT64_MAX;
    return sg_clock_after(sg_clock_after(c->since, c->o.command_timeout), head->wait);
}

/* ---- Requests out ------------------------------------------------------------------------- */

/* The entries that the next bytes may be of. */
static sg_entries *awaited(const sg_conn *c) {
    const sg_request *head = sg_requests_head(&c->requests);
    return c->phase == SG_CONN_UP && head != NULL ? head->into : NULL;
}

bool sg_exchange_ends_in_entries(const sg_conn *c) {
    const sg_request *last = sg_requests_last(&c->requests);
    return last != NULL && last->into != NULL;
}

/* Each request and its answer: for who asks why something takes so long. Names, sizes and times only; a
 * password, a key or a message never. */
static bool logs_requests(const sg_conn *c) {
    return sg_log_wants(c->o.log, SEG_LOG_DEBUG);
}

static void log_request(sg_conn *c, const sg_request *r, const char *end) {
    if (r->began != 0 && logs_requests(c))
        sg_log_write(c->o.log, SEG_LOG_DEBUG, "request", "%s: %s, %zu bytes, %.3f ms, %s",
                     c->o.purpose, r->name, r->bytes, (double)(sg_clock_us() - r->began) / 1000,
                     end);
}

bool sg_conn_begin(sg_conn *c) {
    c->building = c->phase == SG_CONN_UP && !sg_exchange_ends_in_entries(c) &&
                  sg_requests_reserve(&c->requests);
    c->failed = false;
    c->answers = c->args_left = 0;
    c->from = sg_out_end(&c->out);
    c->name[0] = '\0';
    return c->building;
}

void sg_conn_name(sg_conn *c, const char *name) {
    if (logs_requests(c))
        snprintf(c->name, sizeof c->name, "%s", name);
}

void sg_conn_command(sg_conn *c, size_t argc) {
    if (!c->building)
        return;
    c->failed = c->failed || c->args_left != 0 || argc == 0 || !sg_out_command(&c->out, argc);
    c->answers++;
    c->args_left = argc;
}

void sg_conn_arg(sg_conn *c, const void *data, size_t len) {
    if (!c->building)
        return;
    c->failed = c->failed || c->args_left == 0 || !sg_out_arg(&c->out, data, len);
    c->args_left--;
    if (c->name[0] == '\0' && len < sizeof c->name && logs_requests(c))
        snprintf(c->name, sizeof c->name, "%.*s", (int)len, (const char *)data);
}

void sg_conn_arg_there(sg_conn *c, const void *data, size_t len) {
    if (!c->building)
        return;
    c->failed = c->failed || c->args_left == 0 || !sg_out_arg_there(&c->out, data, len);
    c->args_left--;
}

void sg_conn_arg_str(sg_conn *c, const char *s) {
    sg_conn_arg(c, s, strlen(s));
}

void sg_conn_arg_u64(sg_conn *c, uint64_t v) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    sg_conn_arg(c, digits, (size_t)n);
}

static bool end_request(sg_conn *c, sg_request r) {
    if (!c->building)
        return false;
    c->building = false;
    if (c->failed || c->args_left != 0 || c->answers == 0) {
        sg_out_rewind(&c->out, c->from);
        return false;
    }
    if (c->requests.count == 0)
        restart_clock(c, sg_clock_ms());
    r.answers = c->answers;
    r.end = sg_out_end(&c->out);
    if (logs_requests(c)) {
        memcpy(r.name, c->name, sizeof r.name);
        r.began = sg_clock_us();
        r.bytes = (size_t)(r.end - c->from);
    }
    sg_requests_push(&c->requests, r);
    sg_counter_add(&c->counts->requests, 1);
    sg_counter_add(&c->counts->under_way, 1);
    if (r.kind != SG_REQUEST_USER)
        c->internal++;
    return true;
}

bool sg_conn_end(sg_conn *c, sg_result_fn *fn, void *arg, int64_t wait) {
    return end_request(c, (sg_request){.fn = fn, .arg = arg, .wait = wait});
}

/* A PING of ours may be unanswered, as one is sent when nothing was asked for long. */
static bool alone(const sg_conn *c) {
    const sg_request *head = sg_requests_head(&c->requests);
    return head == NULL || (head->kind == SG_REQUEST_PING && c->requests.count == 1);
}

bool sg_conn_end_entries(sg_conn *c, sg_entries *into, sg_result_fn *fn, void *arg, int64_t wait) {
    c->failed = c->failed || !alone(c) || c->answers != 1;
    return end_request(c, (sg_request){.into = into, .fn = fn, .arg = arg, .wait = wait});
}

size_t sg_conn_pending(const sg_conn *c) {
    return c->requests.count - c->internal;
}

size_t sg_conn_unsent(const sg_conn *c) {
    return sg_out_unsent(&c->out);
}

bool sg_conn_subscribe(sg_conn *c, const char *channel, bool on) {
    sg_conn_begin(c);
    sg_conn_command(c, 2);
    sg_conn_arg_str(c, on ? "SSUBSCRIBE" : "SUNSUBSCRIBE");
    sg_conn_arg_str(c, channel);
    return end_request(c, (sg_request){.kind = on ? SG_REQUEST_SUBSCRIBE : SG_REQUEST_UNSUBSCRIBE});
}

bool sg_exchange_ping(sg_conn *c) {
    sg_conn_begin(c);
    sg_conn_command(c, 1);
    sg_conn_arg_str(c, "PING");
    return end_request(c, (sg_request){.kind = SG_REQUEST_PING});
}

/* ---- Answers in --------------------------------------------------------------------------- */

static sg_request pop(sg_conn *c, int64_t now) {
    sg_request r = sg_requests_pop(&c->requests);
    sg_counter_sub(&c->counts->under_way, 1);
    if (r.kind != SG_REQUEST_USER)
        c->internal--;
    restart_clock(c, now);
    log_request(c, &r, r.refusal == NULL ? "answered" : "refused");
    return r;
}

static void finish(sg_conn *c, const sg_request *r, sg_reply *answer) {
    const char *refusal = sg_reply_error(r->refusal);
    sg_result result = {.status = SEG_OK, .reply = answer};
    if (refusal != NULL)
        result =
            (sg_result){.status = sg_reply_error_status(refusal), .reply = answer, .text = refusal};
    if (refusal != NULL)
        sg_counter_add(&c->counts->refusals, 1);
    if (refusal != NULL && strncmp(refusal, "READONLY ", 9) == 0)
        c->demoted = true;
    if (r->kind == SG_REQUEST_USER)
        r->fn(r->arg, &result);
    else if (r->kind != SG_REQUEST_PING && refusal != NULL)
        c->o.on_push(c->o.arg, r->refusal);
}

/* The last answer before the request was sent: a refusal, or nonsense. Its bytes are let go of now.
 * False: no memory. */
static bool let_go(sg_conn *c, const sg_request *head) {
    return head->answers != 1 || head->end <= c->out.total || sg_out_keep(&c->out, head->end);
}

static sg_taken take_answer(sg_conn *c, sg_reply *r, int64_t now) {
    sg_request *head = sg_requests_head(&c->requests);
    if (head == NULL)
        return SG_UNASKED;
    if (head->into != NULL && sg_reply_error(r) == NULL)
        return SG_UNFIT;
    if (!let_go(c, head))
        return SG_NO_ROOM;
    bool kept = head->refusal == NULL && sg_reply_error(r) != NULL;
    if (kept)
        head->refusal = r;
    if (--head->answers > 0) {
        restart_clock(c, now);
        if (!kept)
            sg_reply_free(r);
        return SG_TAKEN;
    }
    sg_request done = pop(c, now);
    finish(c, &done, r);
    if (!kept)
        sg_reply_free(r);
    sg_reply_free(done.refusal);
    return SG_TAKEN;
}

static bool is_push(const sg_reply *r) {
    static const char *const words[] = {"smessage",     "message",     "pmessage",
                                        "ssubscribe",   "subscribe",   "psubscribe",
                                        "sunsubscribe", "unsubscribe", "punsubscribe"};
    const sg_reply *first = sg_reply_at(r, 0);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (sg_reply_is(first, words[i]))
            return true;
    }
    return false;
}

/* A push that confirms a (un)subscription is the answer to that request as well. The server also
 * unsubscribes by itself (a slot that moves away), so it need not be. */
static void take_push(sg_conn *c, sg_reply *r, int64_t now) {
    const sg_request *head = sg_requests_head(&c->requests);
    const sg_reply *word = sg_reply_at(r, 0);
    if (head != NULL &&
        ((head->kind == SG_REQUEST_SUBSCRIBE && sg_reply_is(word, "ssubscribe")) ||
         (head->kind == SG_REQUEST_UNSUBSCRIBE && sg_reply_is(word, "sunsubscribe"))))
        pop(c, now);
    c->o.on_push(c->o.arg, r);
    sg_reply_free(r);
}

sg_taken sg_exchange_answer(sg_conn *c, sg_reply *r, int64_t now) {
    if (c->o.on_push == NULL || !is_push(r))
        return take_answer(c, r, now);
    take_push(c, r, now);
    return SG_TAKEN;
}

size_t sg_exchange_place(const sg_conn *c, uint8_t **to, size_t *about) {
    const sg_entries *e = awaited(c);
    *about = e != NULL ? e->last_value : 0;
    return e != NULL ? sg_entries_place(e, to) : 0;
}

void sg_exchange_placed(sg_conn *c, size_t n) {
    if (n > 0)
        sg_entries_placed(awaited(c), n);
}

sg_entries_state sg_exchange_entries(sg_conn *c, const uint8_t *data, size_t n, size_t *used,
                                     const char **fault, int64_t now) {
    sg_entries *e = awaited(c);
    *used = 0;
    if (e == NULL)
        return SG_ENTRIES_OTHER;
    sg_entries_state state = sg_entries_feed(e, data, n, used);
    *fault = e->fault;
    if (state != SG_ENTRIES_DONE)
        return state;
    if (!let_go(c, sg_requests_head(&c->requests)))
        return SG_ENTRIES_BROKEN;
    sg_request done = pop(c, now);
    done.fn(done.arg, &(sg_result){.status = SEG_OK});
    return state;
}

void sg_exchange_lost(sg_conn *c, const char *why) {
    /* Out of the connection first: a callback may look at it. */
    sg_requests lost = c->requests;
    c->requests = (sg_requests){0};
    sg_counter_sub(&c->counts->under_way, lost.count);
    sg_counter_add(&c->counts->lost, lost.count);
    c->internal = 0;
    while (lost.count > 0) {
        sg_request r = sg_requests_pop(&lost);
        log_request(c, &r, "lost");
        if (r.kind == SG_REQUEST_USER)
            r.fn(r.arg, &(sg_result){.status = SEG_ECONN, .lost = true, .text = why});
        sg_reply_free(r.refusal);
    }
    sg_requests_fini(&lost);
}
