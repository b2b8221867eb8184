/* A consumer: open and close, and what both of its threads share. */
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
    sg_consumer_changed(c);
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
    sg_consumer_changed(c);
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

void sg_consumer_loss(seg_consumer *c, const seg_loss *loss) {
    sg_notice *n = &c->notices[loss->partition];
    seg_loss *of = loss->what == SEG_LOST_ACKS ? &n->lost_acks : &n->lost_messages;
    if (c->on_loss == NULL && of->end == 0)
        c->n_untold++;
    *of = sg_loss_join(of, loss);
    c->stats.losses++;
    sg_loss_log(&c->client->log, c->stream.name, loss);
    sg_consumer_notice(c, loss->partition);
}

/* What is not sent yet is left to the next owner; what is under way may still be stored, once. */
static void drop_letters(seg_consumer *c, sg_holding *h) {
    size_t at = 0;
    uint64_t offset;
    void *value;
    while (sg_map_next(&h->letters, &at, &offset, &value)) {
        sg_letter *l = value;
        if (!sg_node_linked(&l->node))
            continue;
        sg_list_remove(&l->node);
        c->letters.count--;
        sg_letter_free(l);
    }
}

void sg_consumer_drop(seg_consumer *c, sg_holding *h, bool lost) {
    sg_notice *n = &c->notices[h->partition];
    c->acks_lost = c->acks_lost || h->last_ack > h->stored_ack || h->awaited > 0;
    if (lost)
        n->lost = n->lost || n->epoch == h->epoch;
    if (lost && !h->verified && h->window != NULL)
        sg_consumer_part(c, h);
    c->owned[h->index] = c->owned[--c->n_owned];
    c->owned[h->index]->index = h->index;
    c->holdings[h->partition] = NULL;
    c->stats.rebalances++;
    sg_consumer_notice(c, h->partition);
    drop_letters(c, h);
    sg_consumer_forget(h);
    sg_holding_free(h);
    sg_consumer_changed(c);
}

/* ---- commit ------------------------------------------------------------------------------- */

/* Lock held. Is every acknowledgement up to `clock` stored? */
static bool stored(const seg_consumer *c, uint64_t clock) {
    for (size_t i = 0; i < c->n_owned; i++) {
        const sg_holding *h = c->owned[i];
        if (h->stored_ack < h->last_ack && h->stored_ack < clock)
            return false;
        if (h->letters.count + h->awaited > 0) /* settled, but not done yet */
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
        s = sg_fail(err, SEG_EFENCED,
                    "a partition was lost before all acknowledgements were stored, or what was "
                    "forwarded for one "
                    "could not be: those messages are delivered again");
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
    now.partitions = c->n_owned;
    for (size_t i = 0; i < c->n_owned; i++) {
        const sg_holding *h = c->owned[i];
        if (h->window == NULL)
            continue;
        now.in_flight += sg_window_in_flight(h->window);
        now.parked += sg_lanes_count(h->lanes) + h->letters.count;
        now.parked_bytes += sg_holding_parked(h);
        now.blocked += h->held ? 1 : 0;
    }
    sg_mutex_unlock(lock_of(c));
    memcpy((char *)out + sizeof size, (const char *)&now + sizeof size,
           (size < sizeof now ? size : sizeof now) - sizeof size);
}

void seg_consumer_stop(seg_consumer *c) {
    if (c == NULL)
        return;
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
    if (atomic_load(&c->stopping) || c->left) {
        sg_loop_served(c->client->loop, &c->wait);
        sg_cond_broadcast(&c->changed);
        sg_cond_broadcast(&c->work);
    }
    if (sg_event_is_open(&c->event)) {
        sg_consumer_signal(c);
        due = now < c->safe_until && c->safe_until < due ? c->safe_until : due;
    }
    sg_mutex_unlock(&c->lock);
    int64_t letters = sg_letters_run(c, now);
    return letters < due ? letters : due;
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
    sg_mutex_lock(&c->lock);
    c->detached = true;
    sg_mutex_unlock(&c->lock);
}

static void disown(void *arg) {
    seg_consumer *c = arg;
    c->gone = true;
    if (c->pending == 0)
        sg_consumer_unref(c);
}

static void free_consumer(seg_consumer *c) {
    while (c->holdings != NULL && c->n_owned > 0) {
        sg_holding *h = c->owned[--c->n_owned];
        sg_consumer_forget(h);
        sg_holding_free(h);
    }
    sg_consumer_free_parted(c);
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
    sg_entries_fini(&c->fetch.entries);
    sg_free(c->paused);
    sg_event_close(&c->event);
    sg_cond_fini(&c->work);
    sg_cond_fini(&c->changed);
    sg_mutex_fini(&c->lock);
    sg_free(c);
}

void sg_consumer_unref(seg_consumer *c) {
    if (atomic_fetch_sub(&c->references, 1) == 1)
        free_consumer(c);
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

static seg_status name_member(seg_consumer *c, const seg_consumer_options *o, seg_error *err) {
    const char *name = o->instance != NULL ? o->instance : o->name;
    if (!sg_random_id(c->nonce) || !sg_random_bytes(&c->rng, sizeof c->rng))
        return sg_fail_nomem(err);
    host_name(c->host, sizeof c->host);
    if (o->instance != NULL && o->name != NULL)
        return sg_fail(err, SEG_EINVAL, "both name and instance are set: an instance is a name");
    c->is_static = o->instance != NULL;
    if (name != NULL) {
        seg_status s = sg_name_check(c->is_static ? "instance" : "member", name, err);
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
    if ((unsigned)o->start > SEG_AT_TIME)
        return sg_fail(err, SEG_EINVAL, "start is %d: not one of seg_start", (int)o->start);
    if (o->start_at < 0)
        return sg_fail(err, SEG_EINVAL, "start_at is %lld: at least 0", (long long)o->start_at);
    if (o->retry_delay < 0 || o->retry_delay_max < 0)
        return sg_fail(err, SEG_EINVAL, "a retry delay is negative");
    if (o->max_poll_interval != 0 && o->max_poll_interval < 100)
        return sg_fail(err, SEG_EINVAL, "max_poll_interval is %lld ms: at least 100",
                       (long long)o->max_poll_interval);
    return SEG_OK;
}

/* Better now than when the first message has failed so often. */
static seg_status check_letters(const seg_consumer *c, seg_error *err) {
    char name[201];
    if (c->max_attempts == 0 || sg_dlq_name(name, c->stream.name, c->group.name))
        return SEG_OK;
    return sg_fail(
        err, SEG_EINVAL,
        "max_attempts is %u, but the dead letters of stream \"%.60s\" and group \"%.60s\" "
        "would have a name of more than 200 characters: use shorter names, or max_attempts 0",
        c->max_attempts, c->stream.name, c->group.name);
}

static seg_status check_limits(const seg_consumer_options *o, seg_error *err) {
    if ((unsigned)o->ordering > SEG_UNORDERED)
        return sg_fail(err, SEG_EINVAL, "ordering is %d: not one of seg_ordering",
                       (int)o->ordering);
    if (o->max_parked != 0 && o->max_parked < 64 * 1024)
        return sg_fail(err, SEG_EINVAL, "max_parked is %zu: at least 64 KiB", o->max_parked);
    if (o->max_prefetch != 0 && o->max_prefetch < 64 * 1024)
        return sg_fail(err, SEG_EINVAL, "max_prefetch is %zu: at least 64 KiB", o->max_prefetch);
    if (o->max_in_flight > 65536)
        return sg_fail(err, SEG_EINVAL, "max_in_flight is %u: at most 65536", o->max_in_flight);
    return SEG_OK;
}

static seg_status configure(seg_consumer *c, const seg_consumer_options *o, seg_error *err) {
    seg_status s = sg_name_check("group", o->group, err);
    if (s != SEG_OK || (s = name_member(c, o, err)) != SEG_OK ||
        (s = check_times(o, err)) != SEG_OK || (s = check_limits(o, err)) != SEG_OK)
        return s;
    strcpy(c->group.name, o->group);
    c->session_timeout = o->session_timeout != 0 ? o->session_timeout : 10000;
    c->ack_timeout = o->ack_timeout != 0 ? o->ack_timeout : 30000;
    c->drain_timeout = o->drain_timeout != 0 ? o->drain_timeout : 10000;
    c->max_prefetch = o->max_prefetch != 0 ? o->max_prefetch : 8u * 1024 * 1024;
    c->max_in_flight = o->max_in_flight != 0 ? o->max_in_flight : 16384;
    c->ordering = o->ordering;
    c->max_attempts = o->max_attempts;
    /* The last attempt at the latest, better earlier: those beside it get innocent failures. */
    c->isolate_at = c->max_attempts == 0 ? 0 : c->max_attempts > 3 ? 2 : 1;
    c->retry_delay = o->retry_delay != 0 ? o->retry_delay : 100;
    c->retry_delay_max = o->retry_delay_max != 0 ? o->retry_delay_max : 30000;
    c->max_poll_interval = o->max_poll_interval != 0 ? o->max_poll_interval : 300000;
    c->max_parked = o->max_parked != 0 ? o->max_parked : 64u * 1024 * 1024;
    c->on_rebalance = o->on_rebalance;
    c->rebalance_arg = o->rebalance_arg;
    c->on_overtaken = o->on_overtaken;
    c->overtaken_arg = o->overtaken_arg;
    c->on_loss = o->on_loss;
    c->loss_arg = o->loss_arg;
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
    sg_entries_init(&c->fetch.entries, c->client->pool);
    c->paused = sg_calloc(n, sizeof *c->paused);
    c->member = sg_member_new(c->session_timeout, n);
    return c->paused && c->log_keys && c->holdings && c->owned && c->notices && c->told &&
           c->telling && c->fetch.partitions && c->fetch.epochs && c->fetch.from && c->member;
}

static seg_consumer *consumer_new(seg_client *client) {
    seg_consumer *c = sg_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (!sg_mutex_init(&c->lock) || !sg_cond_init(&c->changed) || !sg_cond_init(&c->work)) {
        sg_free(c);
        return NULL;
    }
    atomic_init(&c->references, 1);
    sg_letters_init(&c->letters);
    sg_list_init(&c->todo);
    sg_list_init(&c->partings);
    c->client = client;
    c->actor.run = run;
    c->actor.arg = c;
    c->stats.size = sizeof c->stats;
    c->safe_until = INT64_MIN;
    c->next_expiry = INT64_MAX;
    c->taken_at = sg_clock_ms();
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
        (s = check_letters(c, err)) != SEG_OK ||
        (s = sg_stream_find(client, &c->stream, false, err)) != SEG_OK ||
        (s = sg_group_find(client, &c->stream, &c->group, (sg_start_at){o.start, o.start_at},
                           err)) != SEG_OK ||
        (s = make_room(c) ? SEG_OK : sg_fail_nomem(err)) != SEG_OK) {
        sg_consumer_unref(c);
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
    sg_cond_broadcast(&c->work);
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
    sg_consumer_tell_rest(
        c); /* before the letters: what is queued of them goes with its partition */
    sg_letters_close(c);
    sg_loop_call(client->loop, disown, c);
    sg_client_unref(client);
}
