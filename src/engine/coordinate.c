/* A consumer's loop side: its membership, its cursors, its commits. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/consumer.h"

/* A question that could not be asked is tried again after so long; a connection that comes up asks
 * at once. */
#define SYNC_RETRY_MS 100

sg_errand *sg_errand_new(seg_consumer *c, uint32_t partition, uint64_t epoch, uint64_t number) {
    sg_errand *e = sg_alloc(sizeof *e);
    if (e != NULL)
        *e = (sg_errand){c, partition, epoch, number};
    return e;
}

bool sg_consumer_enter(seg_consumer *c) {
    c->pending--;
    if (c->gone) {
        if (c->pending == 0)
            sg_consumer_free(c);
        return false;
    }
    sg_mutex_lock(&c->lock);
    return true;
}

void sg_consumer_leave(seg_consumer *c) {
    sg_mutex_unlock(&c->lock);
    sg_loop_wake(&c->actor);
}

/* ---- what became of the stream ------------------------------------------------------------ */

static void on_verdict(void *arg, const sg_result *r) {
    seg_consumer *c = arg;
    sg_stream_answer a;
    seg_error err;
    sg_stream_get_read(r, &c->stream, &a);
    if (!sg_consumer_enter(c))
        return;
    c->asking = false;
    if (!a.lost && !seg_status_retriable(a.status)) {
        sg_stream_verdict(&a, &c->stream, &err);
        sg_consumer_fail(c, &err);
    }
    sg_consumer_leave(c);
}

void sg_consumer_verdict(seg_consumer *c) {
    if (c->asking || c->fault.status != SEG_OK)
        return;
    c->asking = sg_stream_get_send(c->client->commands, &c->stream, on_verdict, c);
    if (c->asking)
        c->pending++;
}

/* A refusal: true where it may pass by itself, and the caller tries again. */
static bool may_pass(seg_consumer *c, const seg_error *err) {
    if (err->status == SEG_ECONN || err->status == SEG_EOOM || err->status == SEG_ENOMEM)
        return true;
    sg_consumer_fail(c, err);
    return false;
}

/* ---- sync --------------------------------------------------------------------------------- */

/* A partition is ours: its cursor comes next. False: no memory. */
static bool granted(seg_consumer *c, uint32_t partition, uint64_t epoch) {
    sg_key key = sg_key_log(c->stream.ns, c->stream.name, partition);
    if (c->log_keys[partition] == NULL && (c->log_keys[partition] = sg_strdup(key.text)) == NULL)
        return false;
    if (c->holdings[partition] != NULL)
        sg_consumer_drop(c, c->holdings[partition], true);
    sg_holding *h = sg_holding_new(partition, epoch, c->log_keys[partition]);
    if (h == NULL)
        return false;
    h->index = c->n_owned;
    c->owned[c->n_owned++] = h;
    c->holdings[partition] = h;
    c->stats.rebalances++;
    sg_consumer_todo(c, h);
    return true;
}

/* It has to go: nothing more is delivered of it. */
static void revoked(seg_consumer *c, sg_holding *h, int64_t now) {
    size_t before = h->buffered;
    h->state = SG_DRAINING;
    h->drain_deadline = sg_clock_after(now, c->drain_timeout);
    sg_holding_drop_blocks(h);
    sg_consumer_buffered(c, h, before);
    sg_consumer_notice(c, h->partition);
    sg_consumer_todo(c, h);
}

static void take_changes(seg_consumer *c, int64_t now) {
    sg_member_change change;
    while (sg_member_change_next(c->member, &change)) {
        sg_holding *h = sg_consumer_holding(c, change.partition, change.epoch);
        switch (change.what) {
        case SG_PART_GRANTED:
            if (!granted(c, change.partition, change.epoch)) /* give it back, and it comes again */
                sg_member_released(c->member, change.partition, change.epoch);
            break;
        case SG_PART_REVOKED:
            if (h != NULL)
                revoked(c, h, now);
            break;
        case SG_PART_LOST:
            if (h != NULL) /* what we left by ourselves is handed back, not lost */
                sg_consumer_drop(c, h, sg_member_over(c->member) != SG_END_LEFT);
            break;
        }
    }
}

static sg_grant *read_grants(const sg_reply *list, size_t *n) {
    *n = sg_reply_count(list) / 3;
    sg_grant *grants = sg_calloc(*n > 0 ? *n : 1, sizeof *grants);
    for (size_t i = 0; grants != NULL && i < *n; i++) {
        uint64_t p = UINT32_MAX;
        sg_reply_u64(sg_reply_at(list, 3 * i), &p);
        sg_reply_u64(sg_reply_at(list, 3 * i + 1), &grants[i].epoch);
        grants[i].partition =
            p > UINT32_MAX ? UINT32_MAX : (uint32_t)p; /* out of range: not taken */
        grants[i].give = sg_reply_is(sg_reply_at(list, 3 * i + 2), "give");
    }
    return grants;
}

static void over(seg_consumer *c, sg_member_end why, seg_status status, const char *fmt,
                 const char *what) {
    seg_error err;
    sg_member_ended(c->member, why);
    sg_fail(&err, status, fmt, what);
    sg_consumer_fail(c, &err);
}

static void read_ok(seg_consumer *c, const sg_reply *reply, int64_t now) {
    uint64_t version = 0;
    int64_t deadline = -1;
    size_t n = 0;
    sg_grant *grants = NULL;
    const sg_reply *list = sg_reply_at(reply, 4);
    if (c->left) { /* the answer to our good-bye */
        sg_member_ended(c->member, SG_END_LEFT);
        return;
    }
    if (list != NULL && (grants = read_grants(list, &n)) == NULL) {
        sg_member_unanswered(c->member, now, SYNC_RETRY_MS);
        return;
    }
    sg_reply_u64(sg_reply_at(reply, 1), &version);
    sg_reply_i64(sg_reply_at(reply, 2), &deadline);
    sg_member_answered(c->member, now, version, deadline, list != NULL, grants, n);
    sg_free(grants);
    c->joined = true;
}

static void read_sync(seg_consumer *c, const sg_result *r, int64_t now) {
    const sg_reply *word = sg_reply_at(r->reply, 0);
    const char *what = sg_reply_text(sg_reply_at(r->reply, 1));
    seg_error err;
    if (r->lost) {
        sg_member_unanswered(c->member, now, SYNC_RETRY_MS);
    } else if (r->status != SEG_OK) {
        sg_fail(&err, r->status, "the server refused: %s", r->text);
        sg_member_unanswered(c->member, now, sg_backoff_next(&c->sync_backoff, &c->client->rng));
        may_pass(c, &err);
        return;
    } else if (sg_reply_is(word, "OK")) {
        read_ok(c, r->reply, now);
    } else if (sg_reply_is(word, "UNKNOWN")) {
        sg_log_write(&c->client->log, SEG_LOG_WARN, "expired",
                     "member %s of group %s was not heard of in "
                     "time: it joins again",
                     c->name, c->group.name);
        sg_member_expired(c->member, now);
    } else if (sg_reply_is(word, "REPLACED")) {
        over(c, SG_END_REPLACED, SEG_EFENCED, "a newer consumer took the member name \"%s\"",
             c->name);
    } else if (sg_reply_is(word, "GONE")) {
        over(c, SG_END_OTHER, SEG_ENOENT,
             strcmp(what, "group") == 0 ? "the %s was deleted"
                                        : "the %s was deleted (or the server was emptied)",
             what);
    } else if (sg_reply_is(word, "LOST")) {
        over(c, SG_END_OTHER, strcmp(what, "stream") == 0 ? SEG_ENOENT : SEG_ELOST,
             "the %s on the server is another one: deleted and created anew, or restored: open it "
             "again",
             what);
    } else {
        over(c, SG_END_OTHER, SEG_EPROTO, "the coordinator's answer makes no sense: \"%.40s\"",
             sg_reply_text(word));
    }
    sg_backoff_reset(&c->sync_backoff);
}

static void on_synced(void *arg, const sg_result *r) {
    seg_consumer *c = arg;
    int64_t now = sg_clock_ms();
    if (!sg_consumer_enter(c))
        return;
    c->syncing = false;
    if (sg_member_over(c->member) == SG_END_NONE)
        read_sync(c, r, now);
    if (sg_member_over(c->member) != SG_END_NONE)
        c->left = true;
    take_changes(c, now);
    c->safe_until = sg_member_safe_until(c->member);
    sg_cond_broadcast(&c->changed);
    sg_consumer_leave(c);
}

static void ask(seg_consumer *c, int64_t now) {
    sg_member_ask q;
    sg_handback *back = NULL;
    sg_member_ask_now(c->member, now, &q);
    if (q.n_released > 0 && (back = sg_calloc(q.n_released, sizeof *back)) == NULL) {
        sg_member_unanswered(c->member, now, SYNC_RETRY_MS);
        return;
    }
    for (size_t i = 0; i < q.n_released; i++)
        back[i] = (sg_handback){q.released[i], q.epochs[i]};
    sg_sync s = {.stream = &c->stream,
                 .group = &c->group,
                 .op = q.op == SG_MEMBER_JOIN   ? SG_SYNC_JOIN
                       : q.op == SG_MEMBER_BEAT ? SG_SYNC_BEAT
                                                : SG_SYNC_LEAVE,
                 .member = c->name,
                 .nonce = c->nonce,
                 .host = c->host,
                 .session_timeout = c->session_timeout,
                 .version = q.version,
                 .floor = q.floor,
                 .released = back,
                 .n_released = q.n_released};
    c->syncing = sg_sync_send(c->client->commands, &s, on_synced, c);
    if (c->syncing) {
        c->pending++;
        c->left = q.op == SG_MEMBER_LEAVE;
    } else {
        sg_member_unanswered(c->member, now, SYNC_RETRY_MS);
    }
    sg_free(back);
}

/* ---- acquire ------------------------------------------------------------------------------ */

static void begin_holding(seg_consumer *c, sg_holding *h, const sg_cursor_answer *a) {
    seg_error err;
    bool damaged;
    if (a->committed > a->next) {
        sg_fail(&err, SEG_ELOST,
                "the server lost messages of partition %u: its log ends before offset %llu, "
                "group \"%s\" has acknowledged up to %llu",
                h->partition, (unsigned long long)a->next, c->group.name,
                (unsigned long long)a->committed);
        sg_consumer_fail(c, &err);
        return;
    }
    if (!sg_holding_begin(h, a->era, a->committed, a->first, a->acks, c->max_in_flight, &damaged)) {
        if (damaged) {
            sg_fail(&err, SEG_EPROTO,
                    "the cursor of partition %u is damaged: its ack map cannot be read",
                    h->partition);
            sg_consumer_fail(c, &err);
        }
        sg_window_free(h->window);
        h->window = NULL;
        h->not_before = sg_clock_ms() + SYNC_RETRY_MS;
        return;
    }
    if (a->first > a->committed)
        sg_consumer_overtaken(c, h, a->committed, a->first - a->committed);
    sg_consumer_notice(c, h->partition);
}

/* The errand's holding, no more busy; NULL where it is gone. Frees the errand. */
static sg_holding *home(sg_errand *e) {
    sg_holding *h = sg_consumer_holding(e->consumer, e->partition, e->epoch);
    if (h != NULL) {
        h->busy = false;
        sg_consumer_todo(e->consumer, h);
    }
    return h;
}

static void retry_later(seg_consumer *c, sg_holding *h, bool lost) {
    if (!lost)
        h->not_before = sg_clock_ms() + sg_backoff_next(&h->backoff, &c->client->rng);
}

static void on_acquired(void *arg, const sg_result *r) {
    sg_errand e = *(sg_errand *)arg;
    seg_consumer *c = e.consumer;
    sg_cursor_answer a;
    sg_free(arg);
    sg_cursor_read_answer(r, &a);
    if (!sg_consumer_enter(c))
        return;
    sg_holding *h = home(&e);
    if (h != NULL && a.lost) {
        retry_later(c, h, true);
    } else if (h != NULL) {
        switch (a.kind) {
        case SG_CURSOR_OK:
            if (h->state == SG_ACQUIRING)
                begin_holding(c, h, &a);
            break;
        case SG_CURSOR_FENCED:
            sg_member_stale(c->member, e.partition, e.epoch, a.number);
            sg_consumer_drop(c, h, false);
            break;
        case SG_CURSOR_LOST:
            retry_later(c, h, false);
            sg_consumer_verdict(c);
            break;
        default:
            if (may_pass(c, &a.err))
                retry_later(c, h, false);
        }
    }
    sg_consumer_leave(c);
}

static void acquire(seg_consumer *c, sg_holding *h) {
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, 0);
    if (e == NULL || !sg_cursor_acquire_send(c->client->commands, &c->stream, &c->group,
                                             h->partition, h->epoch, c->nonce, on_acquired, e)) {
        sg_free(e);
        return;
    }
    c->pending++;
    h->busy = true;
}

/* Another owner has begun. */
static void lost_ownership(seg_consumer *c, sg_holding *h) {
    c->stats.fenced++;
    sg_member_released(c->member, h->partition, h->epoch);
    sg_consumer_drop(c, h, true);
}

/* ---- verify ------------------------------------------------------------------------------ */

/* A new connection may lead to another server, or to the same one with older data (a failover, a
 * restart from a snapshot). Before anything more is delivered of a partition, its log and cursor
 * there are compared with what we know: what we read and what was stored must still be so. */
static void compare(seg_consumer *c, sg_holding *h, const sg_cursor_answer *a) {
    seg_error err;
    if (a->next < h->fetch_at)
        sg_fail(&err, SEG_ELOST,
                "the server lost messages of partition %u: its log ends before offset %llu, and "
                "messages up to %llu were read",
                h->partition, (unsigned long long)a->next, (unsigned long long)h->fetch_at);
    else if (a->committed < h->stored_offset || a->epoch < h->epoch)
        sg_fail(&err, SEG_ELOST,
                "the server lost acknowledgements of partition %u: it has offset %llu of epoch "
                "%llu, and %llu of epoch %llu was stored",
                h->partition, (unsigned long long)a->committed, (unsigned long long)a->epoch,
                (unsigned long long)h->stored_offset, (unsigned long long)h->epoch);
    else if (a->epoch > h->epoch) {
        lost_ownership(c, h);
        return;
    } else {
        h->verified = true;
        return;
    }
    sg_consumer_fail(c, &err);
}

static void on_verified(void *arg, const sg_result *r) {
    sg_errand e = *(sg_errand *)arg;
    seg_consumer *c = e.consumer;
    sg_cursor_answer a;
    sg_free(arg);
    sg_cursor_read_answer(r, &a);
    if (!sg_consumer_enter(c))
        return;
    sg_holding *h = home(&e);
    if (h != NULL && !a.lost && e.number == c->life) {
        if (a.kind == SG_CURSOR_OK) {
            compare(c, h, &a);
        } else if (a.kind == SG_CURSOR_LOST) {
            retry_later(c, h, false);
            sg_consumer_verdict(c);
        } else if (may_pass(c, &a.err)) {
            retry_later(c, h, false);
        }
    }
    sg_cond_broadcast(&c->changed);
    sg_consumer_leave(c);
}

static void verify(seg_consumer *c, sg_holding *h) {
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, c->life);
    if (e == NULL || !sg_cursor_read_send(c->client->commands, &c->stream, c->group.name,
                                          h->partition, on_verified, e)) {
        sg_free(e);
        return;
    }
    c->pending++;
    h->busy = true;
}

/* Since the last look a connection has come up: everything is asked anew. */
static void begin_life(seg_consumer *c) {
    if (c->life == c->client->lives + c->fetch.lives)
        return;
    c->life = c->client->lives + c->fetch.lives;
    sg_member_recall(c->member);
    for (size_t i = 0; i < c->n_owned; i++) {
        c->owned[i]->verified = false;
        sg_consumer_todo(c, c->owned[i]);
    }
}

/* ---- commit ------------------------------------------------------------------------------- */

static void on_committed(void *arg, const sg_result *r) {
    sg_errand e = *(sg_errand *)arg;
    seg_consumer *c = e.consumer;
    sg_cursor_answer a;
    seg_error err;
    sg_free(arg);
    sg_cursor_read_answer(r, &a);
    if (!sg_consumer_enter(c))
        return;
    sg_holding *h = home(&e);
    if (h != NULL && a.lost) {
        retry_later(c, h, true);
    } else if (h != NULL) {
        switch (a.kind) {
        case SG_CURSOR_OK:
            h->stored_version = h->sending_version;
            h->stored_offset = h->sending_offset;
            h->stored_ack = h->sending_ack;
            sg_backoff_reset(&h->backoff);
            break;
        case SG_CURSOR_OLD: /* the cursor is past what we hold: whoever did that, we are not its
                               owner */
        case SG_CURSOR_FENCED:
            lost_ownership(c, h);
            break;
        case SG_CURSOR_AHEAD:
            sg_fail(&err, SEG_ELOST,
                    "the server lost messages of partition %u: its log ends before offset "
                    "%llu, which group \"%s\" has read past",
                    e.partition, (unsigned long long)a.number, c->group.name);
            sg_consumer_fail(c, &err);
            break;
        case SG_CURSOR_LOST:
            retry_later(c, h, false);
            sg_consumer_verdict(c);
            break;
        case SG_CURSOR_REFUSED:
            if (may_pass(c, &a.err))
                retry_later(c, h, false);
            break;
        }
    }
    sg_cond_broadcast(&c->changed);
    sg_consumer_leave(c);
}

static void commit(seg_consumer *c, sg_holding *h) {
    sg_buf map;
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, 0);
    sg_buf_init(&map, SIZE_MAX);
    h->sending_version = sg_window_version(h->window);
    h->sending_ack = h->last_ack;
    h->sending_offset = sg_window_committed(h->window);
    if (e != NULL && sg_window_map(h->window, &map) &&
        sg_cursor_commit_send(c->client->commands, &c->stream, &c->group, h->partition, h->epoch,
                              h->commit_seq + 1, sg_window_committed(h->window),
                              (seg_bytes){map.data, map.len}, on_committed, e)) {
        c->pending++;
        h->commit_seq++;
        h->busy = true;
        e = NULL;
    }
    sg_free(e);
    sg_buf_fini(&map);
}

/* ---- one round ---------------------------------------------------------------------------- */

/* Drained, or out of time: hand it back with the next sync. */
static void give_back(seg_consumer *c, sg_holding *h) {
    sg_member_released(c->member, h->partition, h->epoch);
    sg_consumer_drop(c, h, false);
}

/* Returns when to look at it again. */
static int64_t serve(seg_consumer *c, sg_holding *h, int64_t now) {
    if (h->busy)
        return INT64_MAX; /* its answer comes back here */
    if (now < h->not_before)
        return h->not_before;
    if (!sg_conn_up(c->client->commands))
        return INT64_MAX;
    if (h->state == SG_ACQUIRING) {
        acquire(c, h);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (h->window != NULL && !h->verified) {
        verify(c, h);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (sg_holding_dirty(h)) {
        commit(c, h);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (h->state == SG_DRAINING) {
        bool idle = h->window == NULL || sg_window_in_flight(h->window) == 0;
        if (!idle && !c->closing && now < h->drain_deadline)
            return h->drain_deadline;
        give_back(c, h);
        return INT64_MAX;
    }
    sg_list_remove(&h->todo);
    return INT64_MAX;
}

int64_t sg_consumer_expire(seg_consumer *c, int64_t now) {
    if (now < c->next_expiry)
        return c->next_expiry;
    c->next_expiry = INT64_MAX;
    for (size_t i = 0; i < c->n_owned; i++) {
        sg_holding *h = c->owned[i];
        if (sg_holding_expire(h, now) > 0)
            sg_cond_broadcast(&c->changed);
        if (h->window != NULL && h->state == SG_ACTIVE &&
            sg_window_deadline(h->window) < c->next_expiry)
            c->next_expiry = sg_window_deadline(h->window);
    }
    if (c->next_expiry <= now) /* no memory for what is overdue */
        c->next_expiry = now + SYNC_RETRY_MS;
    return c->next_expiry;
}

/* Closing: nothing is delivered any more; once everything acknowledged is stored, say good-bye. */
static void wind_up(seg_consumer *c, int64_t now) {
    bool settled = true;
    for (size_t i = 0; i < c->n_owned; i++) {
        sg_holding *h = c->owned[i];
        if (h->window != NULL && (h->busy || sg_holding_dirty(h)))
            settled = false;
    }
    if (settled || c->fault.status != SEG_OK || now >= c->close_deadline)
        sg_member_leave(c->member);
    if (sg_member_over(c->member) != SG_END_NONE)
        c->left = true;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t sg_coordinate(seg_consumer *c, int64_t now) {
    int64_t due = INT64_MAX;
    begin_life(c);
    if (c->fault.status == SEG_OK) {
        due = sg_consumer_expire(c, now);
        for (sg_node *n = c->todo.head.next, *next; n != &c->todo.head; n = next) {
            next = n->next;
            due = earlier(due, serve(c, SG_OF(n, sg_holding, todo), now));
        }
    }
    if (c->closing && !c->left)
        wind_up(c, now);
    if (!c->syncing && sg_member_over(c->member) == SG_END_NONE &&
        sg_member_due(c->member) <= now && sg_conn_up(c->client->commands))
        ask(c, now);
    if (c->closing)
        due = earlier(due, c->close_deadline);
    if (c->syncing || !sg_conn_up(c->client->commands))
        return due;
    return earlier(due, sg_member_due(c->member));
}
