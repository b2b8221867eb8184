/* A consumer's loop side: its membership, and what is to do for its partitions. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/consumer.h"

/* A question that could not be asked is tried again after so long; a connection that comes up asks
 * at once. */
#define SYNC_RETRY_MS 100

/* ---- sync --------------------------------------------------------------------------------- */

/* A partition is ours: its cursor comes next. False: no memory. */
static bool granted(seg_consumer *c, uint32_t partition, uint64_t epoch) {
    sg_key key = sg_key_log(c->stream.ns, c->stream.name, partition);
    if (c->log_keys[partition] == NULL && (c->log_keys[partition] = sg_strdup(key.text)) == NULL)
        return false;
    if (c->holdings[partition] != NULL)
        sg_consumer_drop(c, c->holdings[partition], true);
    sg_holding *h = sg_holding_new(partition, epoch, c->log_keys[partition], &c->buffered);
    if (h == NULL)
        return false;
    h->ordering = c->ordering;
    h->strict = c->strict;
    h->index = c->n_owned;
    c->owned[c->n_owned++] = h;
    c->holdings[partition] = h;
    c->stats.rebalances++;
    sg_consumer_todo(c, h);
    return true;
}

/* It has to go: nothing more is delivered of it. */
static void revoked(seg_consumer *c, sg_holding *h, int64_t deadline) {
    h->state = SG_DRAINING;
    h->drain_deadline = deadline;
    sg_holding_drop_fresh(h);
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
                revoked(c, h, sg_clock_after(now, c->drain_timeout));
            break;
        case SG_PART_LOST:
            if (h != NULL) /* what we left by ourselves is handed back, not lost */
                sg_consumer_drop(c, h, c->resting || sg_member_over(c->member) != SG_END_LEFT);
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
        sg_consumer_may_pass(c, &err);
        return;
    } else if (sg_reply_is(word, "OK")) {
        c->stats.syncs++;
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
    } else if (sg_reply_is(word, "DAMAGED")) {
        sg_group_damaged(r->reply, &c->stream, c->group.name, &err);
        over(c, SG_END_OTHER, err.status, "%s", err.text);
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
    sg_consumer_changed(c);
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

/* ---- one round ---------------------------------------------------------------------------- */

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

/* Drained, or out of time: hand it back with the next sync. */
static void give_back(seg_consumer *c, sg_holding *h) {
    sg_member_released(c->member, h->partition, h->epoch);
    sg_consumer_drop(c, h, false);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* All of it is stored, and it says that it ends here. */
static bool is_final(const sg_holding *h) {
    return h->window == NULL ||
           (h->final_stored && !h->busy && sg_holding_version(h) == h->stored_version);
}

/* What is in flight may finish; then comes the last commit, and the partition is handed back: at
 * once, or with all the others when the member leaves. */
static int64_t drain(seg_consumer *c, sg_holding *h, int64_t now) {
    bool leaving = c->closing || c->resting;
    bool idle = h->window == NULL || ((leaving || sg_window_in_flight(h->window) == 0) &&
                                      h->letters.count + h->awaited == 0);
    if (h->window != NULL && !idle && now < h->drain_deadline) {
        if (sg_holding_dirty(h)) {
            sg_consumer_store(c, h, false);
            return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
        }
        return h->drain_deadline;
    }
    if (!is_final(h)) {
        sg_consumer_store(c, h, true);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (leaving)
        sg_list_remove(&h->todo);
    else
        give_back(c, h);
    return INT64_MAX;
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
        sg_consumer_acquire(c, h);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (h->window != NULL && !h->verified) {
        sg_consumer_verify(c, h);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    if (h->state == SG_DRAINING)
        return drain(c, h, now);
    if (sg_holding_dirty(h)) {
        sg_consumer_store(c, h, false);
        return h->busy ? INT64_MAX : now + SYNC_RETRY_MS;
    }
    sg_list_remove(&h->todo);
    return INT64_MAX;
}

/* Returns when the next is due. */
static int64_t expire(seg_consumer *c, sg_holding *h, int64_t now) {
    uint64_t offset;
    if (h->window == NULL || h->state != SG_ACTIVE)
        return INT64_MAX;
    while (sg_window_expire(h->window, now, &offset)) {
        uint32_t attempt = sg_window_failures(h->window, offset).count + 1;
        sg_consumer_failed(c, h, offset, attempt, -1, SG_REASON_TIMEOUT);
    }
    if (sg_holding_call(h, now) > 0)
        sg_consumer_todo(c, h);
    int64_t due = sg_lanes_due(h->lanes), deadline = sg_window_deadline(h->window);
    return due < deadline ? due : deadline;
}

int64_t sg_consumer_expire(seg_consumer *c, int64_t now) {
    if (now < c->next_expiry)
        return c->next_expiry;
    c->next_expiry = INT64_MAX;
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < c->n_owned; i++)
        next = earlier(next, expire(c, c->owned[i], now));
    c->next_expiry = next;
    if (c->next_expiry <= now) /* no memory for what is overdue */
        c->next_expiry = now + SYNC_RETRY_MS;
    return c->next_expiry;
}

/* Nothing is delivered any more; once everything settled is stored, say good-bye. A static
 * member that is closed does not: its partitions wait for its next life. */
static void wind_up(seg_consumer *c, int64_t now) {
    bool settled = true, fault = c->fault.status != SEG_OK;
    for (size_t i = 0; i < c->n_owned; i++) {
        sg_holding *h = c->owned[i];
        /* Also one whose acquire is under way: it would begin, and announce, behind our good-bye, and its
         * next owner would take what was delivered to nobody for what killed us. */
        bool fresh = h->state != SG_DRAINING;
        int64_t until = c->closing ? c->close_deadline - c->client->command_timeout / 2 : now;
        if (fresh)
            revoked(c, h, until);
        else if (h->state == SG_DRAINING && until < h->drain_deadline)
            h->drain_deadline = until; /* it had time of its own before */
        if (!is_final(h) && (fresh || !sg_node_linked(&h->todo))) {
            sg_consumer_todo(c, h);
            sg_loop_wake(&c->actor);
        }
        settled = settled && is_final(h);
    }
    if (!settled && !fault && !(c->closing && now >= c->close_deadline))
        return;
    if (c->is_static && !fault && !c->resting)
        c->left = true;
    else
        sg_member_leave(c->member);
    if (sg_member_over(c->member) != SG_END_NONE)
        c->left = true;
}

/* ---- an application that is stuck --------------------------------------------------------- */

/* How often it is looked at within max_poll_interval. */
#define LOOKS 8

/* Returns when to look again. */
static int64_t watch(seg_consumer *c, int64_t now) {
    int64_t step = c->max_poll_interval / LOOKS;
    if (c->max_poll_interval == SEG_FOREVER || c->resting || c->closing || !c->joined)
        return INT64_MAX;
    if (now < c->next_look)
        return c->next_look;
    c->next_look = sg_clock_after(now, step);
    bool waits_for_us = c->idle > 0 || (c->polling && !c->running);
    if (waits_for_us || !sg_consumer_deliverable(c, now))
        c->taken_at = now;
    if (now - c->taken_at < c->max_poll_interval)
        return c->next_look;
    sg_log_write(
        &c->client->log, SEG_LOG_WARN, "poll-timeout",
        "member %s of group %s on %s: the application took nothing for %lld ms, while messages "
        "wait: its partitions go to others until it polls again",
        c->name, c->group.name, c->stream.name, (long long)(now - c->taken_at));
    c->stats.poll_timeouts++;
    c->resting = true;
    return now;
}

void sg_consumer_came(seg_consumer *c, int64_t now) {
    c->taken_at = now;
    if (c->resting && !c->back) {
        c->back = true;
        sg_loop_wake(&c->actor);
    }
}

/* It has left, and the application is back: a new member, under a new nonce. With the old one, a
 * good-bye that a dead connection still holds would take it out of the group without its knowing. */
static void come_back(seg_consumer *c, int64_t now) {
    if (!c->resting || !c->back || c->syncing || c->closing ||
        sg_member_over(c->member) != SG_END_LEFT || !sg_random_id(c->nonce))
        return;
    sg_member_rejoin(c->member, now);
    c->resting = c->back = c->left = false;
}

/* ---- all of it ---------------------------------------------------------------------------- */

int64_t sg_coordinate(seg_consumer *c, int64_t now) {
    int64_t due = INT64_MAX;
    begin_life(c);
    if (c->fault.status == SEG_OK) {
        come_back(c, now);
        due = earlier(watch(c, now), sg_consumer_expire(c, now));
        if (c->isolate_until != 0 && now >= c->isolate_until)
            sg_consumer_changed(c); /* poll gives up what it waits for */
        else if (c->isolate_until != 0)
            due = earlier(due, c->isolate_until);
        due = earlier(due, sg_consumer_ask_parted(c, now));
        for (sg_node *n = c->todo.head.next, *next; n != &c->todo.head; n = next) {
            next = n->next;
            due = earlier(due, serve(c, SG_OF(n, sg_holding, todo), now));
        }
    }
    if ((c->closing || c->resting || c->fault.status != SEG_OK) && !c->left)
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
