/* A consumer: open and close, acknowledge, and what both of its threads share. */
#include "engine/consumer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"

/* ---- shared (lock held) ------------------------------------------------------------------- */

sg_holding *sg_consumer_holding(seg_consumer *c, uint32_t partition, uint64_t epoch) {
    sg_holding *h = partition < c->stream.partitions ? c->holdings[partition] : NULL;
    return h != NULL && h->epoch == epoch ? h : NULL;
}

void sg_consumer_fail(seg_consumer *c, const seg_error *err) {
    if (c->fault.status == SEG_OK) {
        c->fault = *err;
        sg_log_write(&c->client->log, SEG_LOG_ERROR, "consumer-failed",
                     "member %s of group %s on %s: %s", c->name, c->group.name, c->stream.name,
                     err->text);
    }
    c->safe_until = INT64_MIN;
    sg_cond_broadcast(&c->changed);
}

void sg_consumer_todo(seg_consumer *c, sg_holding *h) {
    if (!sg_node_linked(&h->todo))
        sg_list_push(&c->todo, &h->todo);
}

void sg_consumer_notice(seg_consumer *c, uint32_t partition) {
    if (c->notices[partition].pending)
        return;
    c->notices[partition].pending = true;
    c->told[c->n_told++] = partition;
    sg_cond_broadcast(&c->changed);
}

void sg_consumer_overtaken(seg_consumer *c, sg_holding *h, uint64_t first, uint64_t count) {
    sg_notice *n = &c->notices[h->partition];
    if (n->overtaken == 0) {
        n->overtaken_first = first;
        n->overtaken_era = h->era;
    }
    n->overtaken += count;
    c->stats.overtaken += count;
    sg_consumer_notice(c, h->partition);
}

void sg_consumer_buffered(seg_consumer *c, sg_holding *h, size_t before) {
    c->buffered = c->buffered - before + h->buffered;
}

void sg_consumer_drop(seg_consumer *c, sg_holding *h, bool lost) {
    sg_notice *n = &c->notices[h->partition];
    c->acks_lost = c->acks_lost || h->last_ack > h->stored_ack;
    if (lost)
        n->lost = n->lost || n->epoch == h->epoch;
    c->buffered -= h->buffered;
    c->owned[h->index] = c->owned[--c->n_owned];
    c->owned[h->index]->index = h->index;
    c->holdings[h->partition] = NULL;
    c->stats.rebalances++;
    sg_consumer_notice(c, h->partition);
    sg_holding_free(h);
    sg_cond_broadcast(&c->changed);
}

/* ---- acknowledging ------------------------------------------------------------------------ */

/* Lock held. SEG_OK, SEG_EFENCED or SEG_EINVAL. */
static seg_status ack_one(seg_consumer *c, const seg_delivery *d) {
    sg_holding *h = sg_consumer_holding(c, d->partition, d->epoch);
    if (h == NULL || h->window == NULL)
        return d->partition < c->stream.partitions && d->epoch != 0 ? SEG_EFENCED : SEG_EINVAL;
    if (d->id.era != h->era)
        return SEG_EINVAL;
    switch (sg_holding_ack(h, d->id.offset)) {
    case SG_ACK_NEVER:
        return SEG_EINVAL;
    case SG_ACK_OLD:
        return SEG_OK;
    case SG_ACK_NEW:
        break;
    }
    h->last_ack = c->ack_clock;
    c->stats.acked++;
    sg_holding_trim(h);
    sg_consumer_todo(c, h);
    return SEG_OK;
}

typedef struct ack_faults {
    seg_delivery invalid, fenced;
    size_t n_invalid, n_fenced;
} ack_faults;

/* Lock held. */
static void ack_next(seg_consumer *c, const seg_delivery *d, ack_faults *f) {
    seg_status s = ack_one(c, d);
    if (s == SEG_EINVAL && f->n_invalid++ == 0)
        f->invalid = *d;
    if (s == SEG_EFENCED && f->n_fenced++ == 0)
        f->fenced = *d;
}

/* Lock held. */
static seg_status ack_end(seg_consumer *c, const ack_faults *f, seg_error *err) {
    sg_loop_wake(&c->actor);
    /* A poll on another thread may wait for the window to move on. */
    if (c->polling)
        sg_cond_broadcast(&c->changed);
    if (f->n_invalid > 0)
        return sg_fail(err, SEG_EINVAL,
                       "partition %u, offset %llu was never delivered to this consumer",
                       f->invalid.partition, (unsigned long long)f->invalid.id.offset);
    if (f->n_fenced > 0)
        return sg_fail(err, SEG_EFENCED,
                       "partition %u is no longer owned by this consumer (under epoch "
                       "%llu): %zu messages will be delivered again by its next owner",
                       f->fenced.partition, (unsigned long long)f->fenced.epoch, f->n_fenced);
    return SEG_OK;
}

seg_status seg_ack(seg_consumer *c, const seg_delivery *d, size_t n, seg_error *err) {
    ack_faults f = {.n_invalid = 0};
    if (c == NULL || (d == NULL && n > 0))
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the consumer" : "d");
    sg_mutex_lock(&c->lock);
    c->ack_clock++;
    for (size_t i = 0; i < n; i++)
        ack_next(c, &d[i], &f);
    seg_status s = ack_end(c, &f, err);
    sg_mutex_unlock(&c->lock);
    return s;
}

seg_status seg_ack_batch(seg_consumer *c, const seg_batch *b, seg_error *err) {
    ack_faults f = {.n_invalid = 0};
    if (c == NULL || b == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the consumer" : "the batch");
    sg_mutex_lock(&c->lock);
    c->ack_clock++;
    for (size_t i = 0; i < seg_batch_count(b); i++)
        ack_next(c, &seg_batch_at(b, i)->delivery, &f);
    seg_status s = ack_end(c, &f, err);
    sg_mutex_unlock(&c->lock);
    return s;
}

/* Lock held. Is every acknowledgement up to `clock` stored? */
static bool stored(const seg_consumer *c, uint64_t clock) {
    for (size_t i = 0; i < c->n_owned; i++) {
        const sg_holding *h = c->owned[i];
        if (h->stored_ack < h->last_ack && h->stored_ack < clock)
            return false;
    }
    return true;
}

seg_status seg_consumer_commit(seg_consumer *c, int64_t wait, seg_error *err) {
    seg_status s = SEG_OK;
    if (c == NULL)
        return sg_fail(err, SEG_EINVAL, "the consumer is NULL");
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    sg_mutex_lock(&c->lock);
    uint64_t clock = c->ack_clock;
    while (!stored(c, clock) && !c->acks_lost && c->fault.status == SEG_OK) {
        int64_t left = deadline - sg_clock_ms();
        if (left <= 0)
            break;
        sg_cond_wait(&c->changed, &c->lock, left);
    }
    bool all = !c->acks_lost && stored(c, clock);
    if (!all && c->fault.status != SEG_OK)
        s = sg_fail(err, c->fault.status, "%s", c->fault.text);
    else if (c->acks_lost)
        s = sg_fail(
            err, SEG_EFENCED,
            "a partition was lost before all acknowledgements were stored: those messages are "
            "delivered again by its next owner");
    else if (!all)
        s = sg_fail(err, SEG_ETIMEDOUT, "not all acknowledgements are stored yet");
    c->acks_lost = c->acks_lost && c->fault.status != SEG_OK; /* told once, but a fault stays */
    sg_mutex_unlock(&c->lock);
    return s;
}

/* ---- questions ---------------------------------------------------------------------------- */

/* The lock of a consumer that is only looked at. */
static sg_mutex *lock_of(const seg_consumer *c) {
    return &((seg_consumer *)(uintptr_t)c)->lock;
}

bool seg_consumer_active(const seg_consumer *c) {
    sg_mutex_lock(lock_of(c));
    bool active =
        c->joined && c->fault.status == SEG_OK && !c->closing && sg_clock_ms() < c->safe_until;
    sg_mutex_unlock(lock_of(c));
    return active;
}

const char *seg_consumer_member(const seg_consumer *c) {
    return c->name;
}

size_t seg_consumer_assignment(const seg_consumer *c, uint32_t *out, size_t cap) {
    size_t n = 0;
    sg_mutex_lock(lock_of(c));
    for (uint32_t p = 0; p < c->stream.partitions; p++)
        if (c->holdings[p] != NULL && c->holdings[p]->state == SG_ACTIVE) {
            if (n < cap)
                out[n] = p;
            n++;
        }
    sg_mutex_unlock(lock_of(c));
    return n;
}

void seg_consumer_get_stats(const seg_consumer *c, seg_consumer_stats *out) {
    size_t size = out->size;
    seg_consumer_stats now;
    if (size <= sizeof size)
        return;
    sg_mutex_lock(lock_of(c));
    now = c->stats;
    now.prefetched_bytes = c->buffered;
    sg_mutex_unlock(lock_of(c));
    memcpy((char *)out + sizeof size, (const char *)&now + sizeof size,
           (size < sizeof now ? size : sizeof now) - sizeof size);
}

void seg_consumer_stop(seg_consumer *c) {
    atomic_store(&c->stopping, true);
    sg_loop_wake(&c->actor); /* which wakes a waiting poll: a condition cannot be signalled here */
}

/* ---- the loop thread's side of open and close --------------------------------------------- */

static int64_t run(void *arg, int64_t now) {
    seg_consumer *c = arg;
    int64_t due = INT64_MAX;
    sg_mutex_lock(&c->lock);
    if (atomic_load(&c->client->closed)) {
        seg_error err;
        if (c->fault.status == SEG_OK) {
            sg_fail(&err, SEG_ECLOSED, "the client is closed");
            sg_consumer_fail(c, &err);
        }
        c->left = true;
    } else {
        due = sg_coordinate(c, now);
        int64_t fetch = sg_fetch_run(c, now);
        due = fetch < due ? fetch : due;
    }
    if (atomic_load(&c->stopping) || c->left)
        sg_cond_broadcast(&c->changed);
    sg_mutex_unlock(&c->lock);
    return due;
}

static void on_wake(void *arg) {
    seg_consumer *c = arg;
    sg_member_wake(c->member);
    sg_loop_wake(&c->actor);
}

static void on_fetch_state(void *arg, bool up, const seg_error *fatal) {
    seg_consumer *c = arg;
    (void)fatal;
    c->fetch.lives += up ? 1 : 0;
    sg_loop_wake(&c->actor);
}

static void attach(void *arg) {
    seg_consumer *c = arg;
    if (atomic_load(&c->client->closed))
        return;
    c->fetch.conn = sg_client_connect(c->client, "fetch", on_fetch_state, c);
    if (c->fetch.conn == NULL)
        return;
    c->listener = (sg_listener){.channel = c->channel, .fn = on_wake, .arg = c};
    sg_client_listen(c->client, &c->listener);
    sg_loop_add(c->client->loop, &c->actor);
}

static void detach(void *arg) {
    seg_consumer *c = arg;
    sg_loop_remove(&c->actor);
    sg_client_unlisten(c->client, &c->listener);
    sg_client_disconnect(c->client, c->fetch.conn);
    c->fetch.conn = NULL;
}

static void disown(void *arg) {
    seg_consumer *c = arg;
    c->gone = true;
    if (c->pending == 0)
        sg_consumer_free(c);
}

void sg_consumer_free(seg_consumer *c) {
    while (c->holdings != NULL && c->n_owned > 0) {
        sg_holding *h = c->owned[--c->n_owned];
        sg_holding_free(h);
    }
    for (uint32_t p = 0; c->log_keys != NULL && p < c->stream.partitions; p++)
        sg_free(c->log_keys[p]);
    sg_member_free(c->member);
    sg_free(c->log_keys);
    sg_free(c->holdings);
    sg_free(c->owned);
    sg_free(c->notices);
    sg_free(c->told);
    sg_free(c->telling);
    sg_free(c->fetch.partitions);
    sg_free(c->fetch.epochs);
    sg_free(c->fetch.from);
    sg_cond_fini(&c->changed);
    sg_mutex_fini(&c->lock);
    sg_free(c);
}

/* ---- open --------------------------------------------------------------------------------- */

/* A host name cut down to what names may hold. */
static void host_name(char *out, size_t size) {
    if (gethostname(out, size) != 0)
        strcpy(out, "host");
    out[size - 1] = '\0';
    for (char *s = out; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '.' || *s == '-'))
            *s = '_';
}

static seg_status name_member(seg_consumer *c, const char *name, seg_error *err) {
    if (!sg_random_id(c->nonce))
        return sg_fail_nomem(err);
    host_name(c->host, sizeof c->host);
    if (name != NULL) {
        seg_status s = sg_name_check("member", name, err);
        if (s == SEG_OK)
            strcpy(c->name, name);
        return s;
    }
    snprintf(c->name, sizeof c->name, "%s-%ld-%.6s", c->host[0] != '\0' ? c->host : "host",
             (long)getpid(), c->nonce);
    return SEG_OK;
}

static seg_status check_times(const seg_consumer_options *o, seg_error *err) {
    if (o->session_timeout != 0 && (o->session_timeout < 100 || o->session_timeout > 3600000))
        return sg_fail(err, SEG_EINVAL, "session_timeout is %lld ms: 100 to 3600000",
                       (long long)o->session_timeout);
    if (o->ack_timeout != 0 && o->ack_timeout < 10)
        return sg_fail(err, SEG_EINVAL, "ack_timeout is %lld ms: at least 10",
                       (long long)o->ack_timeout);
    if ((unsigned)o->start > SEG_LATEST)
        return sg_fail(err, SEG_EINVAL, "start is %d: not SEG_EARLIEST or SEG_LATEST",
                       (int)o->start);
    if (o->max_prefetch != 0 && o->max_prefetch < 64 * 1024)
        return sg_fail(err, SEG_EINVAL, "max_prefetch is %zu: at least 64 KiB", o->max_prefetch);
    if (o->max_in_flight > 65536)
        return sg_fail(err, SEG_EINVAL, "max_in_flight is %u: at most 65536", o->max_in_flight);
    return SEG_OK;
}

static seg_status configure(seg_consumer *c, const seg_consumer_options *o, seg_error *err) {
    seg_status s = sg_name_check("group", o->group, err);
    if (s != SEG_OK || (s = name_member(c, o->name, err)) != SEG_OK ||
        (s = check_times(o, err)) != SEG_OK)
        return s;
    strcpy(c->group.name, o->group);
    c->session_timeout = o->session_timeout != 0 ? o->session_timeout : 10000;
    c->ack_timeout = o->ack_timeout != 0 ? o->ack_timeout : 30000;
    c->drain_timeout = o->drain_timeout != 0 ? o->drain_timeout : 10000;
    c->max_prefetch = o->max_prefetch != 0 ? o->max_prefetch : 8u * 1024 * 1024;
    c->max_in_flight = o->max_in_flight != 0 ? o->max_in_flight : 16384;
    c->on_rebalance = o->on_rebalance;
    c->rebalance_arg = o->rebalance_arg;
    c->on_overtaken = o->on_overtaken;
    c->overtaken_arg = o->overtaken_arg;
    return SEG_OK;
}

static bool make_room(seg_consumer *c) {
    uint32_t n = c->stream.partitions;
    sg_key wake = sg_key_wake(c->stream.ns, c->stream.name, c->group.name, c->name);
    memcpy(c->channel, wake.text, wake.len + 1);
    c->log_keys = sg_calloc(n, sizeof(char *));
    c->holdings = sg_calloc(n, sizeof(sg_holding *));
    c->owned = sg_calloc(n, sizeof(sg_holding *));
    c->notices = sg_calloc(n, sizeof *c->notices);
    c->told = sg_calloc(n, sizeof *c->told);
    c->telling = sg_calloc(n, sizeof *c->telling);
    c->fetch.partitions = sg_calloc(n, sizeof *c->fetch.partitions);
    c->fetch.epochs = sg_calloc(n, sizeof *c->fetch.epochs);
    c->fetch.from = sg_calloc(n, sizeof *c->fetch.from);
    c->member = sg_member_new(c->session_timeout, n);
    return c->log_keys && c->holdings && c->owned && c->notices && c->told && c->telling &&
           c->fetch.partitions && c->fetch.epochs && c->fetch.from && c->member;
}

static seg_consumer *consumer_new(seg_client *client) {
    seg_consumer *c = sg_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (!sg_mutex_init(&c->lock) || !sg_cond_init(&c->changed)) {
        sg_free(c);
        return NULL;
    }
    sg_list_init(&c->todo);
    c->client = client;
    c->actor.run = run;
    c->actor.arg = c;
    c->stats.size = sizeof c->stats;
    c->safe_until = INT64_MIN;
    c->next_expiry = INT64_MAX;
    sg_backoff_init(&c->sync_backoff, 20, 1000);
    sg_backoff_init(&c->fetch.backoff, 20, 1000);
    return c;
}

/* Wait until the coordinator knows the member. */
static seg_status wait_joined(seg_consumer *c, seg_error *err) {
    seg_status s = SEG_OK;
    int64_t deadline = sg_clock_after(sg_clock_ms(), c->client->command_timeout);
    sg_mutex_lock(&c->lock);
    while (!c->joined && c->fault.status == SEG_OK) {
        int64_t left = deadline - sg_clock_ms();
        if (left <= 0)
            break;
        sg_cond_wait(&c->changed, &c->lock, left);
    }
    if (c->fault.status != SEG_OK)
        s = sg_fail(err, c->fault.status, "%s", c->fault.text);
    else if (!c->joined)
        s = sg_fail(err, SEG_ETIMEDOUT,
                    "group \"%s\" could not be joined within the command timeout", c->group.name);
    sg_mutex_unlock(&c->lock);
    return s;
}

static seg_status join(seg_consumer *c, seg_error *err) {
    sg_loop_call(c->client->loop, attach, c);
    if (c->fetch.conn == NULL && !atomic_load(&c->client->closed))
        return sg_fail_nomem(err);
    return wait_joined(c, err);
}

seg_status seg_consumer_open(seg_consumer **out, seg_client *client, const char *stream,
                             const seg_consumer_options *opts, seg_error *err) {
    seg_consumer_options o = {.size = sizeof o};
    seg_status s;
    if (out == NULL || client == NULL || opts == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL",
                       out == NULL      ? "out"
                       : client == NULL ? "the client"
                                        : "opts");
    if ((s = sg_options_copy(&o, sizeof o, opts, "consumer options", err)) != SEG_OK)
        return s;
    seg_consumer *c = consumer_new(client);
    if (c == NULL)
        return sg_fail_nomem(err);
    if ((s = configure(c, &o, err)) != SEG_OK ||
        (s = sg_stream_name(&c->stream, client, stream, err)) != SEG_OK ||
        (s = sg_stream_find(client, &c->stream, false, err)) != SEG_OK ||
        (s = sg_group_find(client, &c->stream, &c->group, o.start, err)) != SEG_OK ||
        (s = make_room(c) ? SEG_OK : sg_fail_nomem(err)) != SEG_OK) {
        sg_consumer_free(c);
        return s;
    }
    sg_client_ref(client);
    if ((s = join(c, err)) != SEG_OK) {
        seg_consumer_close(c);
        return s;
    }
    *out = c;
    return SEG_OK;
}

/* ---- close -------------------------------------------------------------------------------- */

/* Lock held. Ask the loop thread to wind up, and wait for it as long as a command may take. */
static void say_goodbye(seg_consumer *c) {
    c->close_deadline = sg_clock_after(sg_clock_ms(), c->client->command_timeout);
    c->closing = true;
    sg_loop_wake(&c->actor);
    sg_cond_broadcast(&c->changed);
    while (!c->left || c->syncing) {
        int64_t left = c->close_deadline - sg_clock_ms();
        if (left <= 0 || atomic_load(&c->client->closed))
            break;
        sg_cond_wait(&c->changed, &c->lock, left);
    }
}

void seg_consumer_close(seg_consumer *c) {
    if (c == NULL)
        return;
    seg_client *client = c->client;
    sg_mutex_lock(&c->lock);
    if (c->fetch.conn != NULL)
        say_goodbye(c);
    sg_mutex_unlock(&c->lock);
    sg_loop_call(client->loop, detach, c);
    sg_consumer_tell_rest(c);
    sg_loop_call(client->loop, disown, c);
    sg_client_unref(client);
}
