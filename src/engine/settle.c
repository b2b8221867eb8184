/* A consumer's application side: the fate of what was delivered. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

#define NO_MEMORY_MS 100 /* until what found no memory is tried again */

/* ---- one message (lock held) -------------------------------------------------------------- */

void sg_consumer_forget(sg_holding *h) {
    size_t at = 0;
    uint64_t offset;
    void *value;
    while (sg_map_next(&h->reasons, &at, &offset, &value))
        sg_free(value);
    at = 0;
    while (sg_map_next(&h->outputs, &at, &offset, &value))
        sg_free(value);
    /* Letters are on their way; they find out that the holding is gone. */
}

static void keep_reason(sg_holding *h, uint64_t offset, const char *reason) {
    if (reason == NULL || *reason == '\0')
        return;
    size_t len = strnlen(reason, SG_REASON_TEXT_MAX);
    char *copy = sg_alloc(len + 1);
    if (copy == NULL)
        return; /* only a text for people */
    memcpy(copy, reason, len);
    copy[len] = '\0';
    sg_free(sg_map_remove(&h->reasons, offset));
    if (!sg_map_put(&h->reasons, offset, copy))
        sg_free(copy);
}

void sg_consumer_close_outputs(sg_holding *h, uint64_t offset) {
    sg_outputs *o = h->outputs.count > 0 ? sg_map_remove(&h->outputs, offset) : NULL;
    if (o != NULL && o->acked)
        h->awaited--;
    sg_free(o);
}

void sg_consumer_leave_outputs(sg_holding *h, uint64_t offset) {
    sg_outputs *o = h->outputs.count > 0 ? sg_map_get(&h->outputs, offset) : NULL;
    if (o == NULL)
        return;
    if (o->acked)
        h->awaited--;
    *o = (sg_outputs){.serial = o->serial + 1,
                      .left = o->left + o->pending,
                      .failed = o->failed || o->fault.status != SEG_OK};
    if (o->left == 0 && !o->failed)
        sg_consumer_close_outputs(h, offset);
}

static void note_ack(seg_consumer *c, sg_holding *h) {
    h->last_ack = c->ack_clock;
    sg_holding_trim(h);
    sg_consumer_todo(c, h);
}

sg_window_ack_result sg_consumer_settled(seg_consumer *c, sg_holding *h, uint64_t offset) {
    sg_window_ack_result r = sg_holding_ack(h, offset);
    if (r != SG_ACK_NEW)
        return r;
    if (h->reasons.count > 0)
        sg_free(sg_map_remove(&h->reasons, offset));
    sg_consumer_close_outputs(h, offset);
    note_ack(c, h);
    return r;
}

/* Doubles from attempt to attempt, less up to a half, so that what failed together does not come
 * back together. */
static int64_t backoff(seg_consumer *c, uint32_t attempt) {
    int64_t delay = c->retry_delay;
    for (uint32_t i = 1; i < attempt && delay < c->retry_delay_max; i++)
        delay = delay > c->retry_delay_max / 2 ? c->retry_delay_max : 2 * delay;
    if (delay > c->retry_delay_max)
        delay = c->retry_delay_max;
    return delay - (int64_t)sg_rng_below(&c->rng, (uint64_t)delay / 2 + 1);
}

void sg_consumer_failed(seg_consumer *c, sg_holding *h, uint64_t offset, uint32_t attempt,
                        int64_t delay, const char *why) {
    int64_t now = sg_clock_ms();
    if (c->max_attempts > 0 && attempt >= c->max_attempts) {
        if (!sg_consumer_bury(c, h, offset, why)) {
            /* Its deadline brings it back here. */
            sg_window_extend(h->window, offset, sg_clock_after(now, NO_MEMORY_MS));
            c->next_expiry = now < c->next_expiry ? now : c->next_expiry;
        }
        return;
    }
    if (delay == 0)
        delay = backoff(c, attempt);
    int64_t due = sg_clock_after(now, delay < 0 ? 0 : delay);
    if (!sg_holding_again(h, offset, true, due, sg_clock_wall_ms())) {
        /* No memory: its deadline brings it back here. */
        due = sg_clock_after(now, NO_MEMORY_MS);
        sg_window_extend(h->window, offset, due);
    }
    sg_consumer_leave_outputs(h, offset);
    if (due < c->next_expiry)
        c->next_expiry = due;
    sg_consumer_todo(c, h);
}

/* ---- verdicts (lock held) ----------------------------------------------------------------- */

/* An acknowledgement whose outputs are not all stored waits for them; if one has failed, it has
 * too. A late one, of a delivery that is not in hand any more, is final only if all that it sent
 * is stored. */
typedef enum wait { WAIT_NOT, WAIT_YES, WAIT_REFUSE } wait;

static wait await_outputs(seg_consumer *c, sg_holding *h, const seg_delivery *d) {
    sg_outputs *o = sg_map_get(&h->outputs, d->id.offset);
    if (o == NULL)
        return WAIT_NOT;
    if (!sg_window_in_hand(h->window, d->id.offset, d->attempt))
        return WAIT_REFUSE;
    bool failed = o->fault.status != SEG_OK || (o->attempt == 0 && o->failed);
    if (failed) {
        if (o->fault.status != SEG_OK)
            keep_reason(h, d->id.offset, o->fault.text);
        sg_consumer_failed(c, h, d->id.offset, d->attempt, 0, SG_REASON_ATTEMPTS);
        c->acks_lost = true;
        return WAIT_YES;
    }
    if (o->pending + o->left == 0)
        return WAIT_NOT;
    if (!o->acked) {
        /* The outputs are queued in order, and are tried until they are stored: those of the
         * next message of this key can only come behind them. */
        o->acked = true;
        h->awaited++;
        sg_holding_let_go(h, d->id.offset);
        o->let_go = true;
    }
    return WAIT_YES;
}

static seg_status acknowledge(seg_consumer *c, sg_holding *h, const seg_delivery *d) {
    wait w = h->outputs.count > 0 ? await_outputs(c, h, d) : WAIT_NOT;
    if (w != WAIT_NOT)
        return w == WAIT_YES ? SEG_OK : SEG_EFENCED;
    if (h->letters.count > 0 && sg_map_get(&h->letters, d->id.offset) != NULL)
        return SEG_EFENCED; /* it failed before, and is on its way to the dead letters */
    if (h->strict && sg_window_in_flight_at(h->window, d->id.offset) &&
        !sg_window_in_hand(h->window, d->id.offset, d->attempt))
        return SEG_EFENCED; /* late: another handler has it, and its lane must not be freed */
    sg_window_ack_result r = sg_consumer_settled(c, h, d->id.offset);
    c->stats.acked += r == SG_ACK_NEW ? 1 : 0;
    return r == SG_ACK_NEVER ? SEG_EINVAL : SEG_OK;
}

static seg_status reject(seg_consumer *c, sg_holding *h, const seg_delivery *d,
                         const seg_settlement *how) {
    uint64_t offset = d->id.offset;
    const sg_outputs *o = sg_map_get(&h->outputs, offset);
    if (sg_window_acked(h->window, offset) || sg_map_get(&h->letters, offset) != NULL ||
        (o != NULL && o->acked))
        return SEG_OK; /* it was settled before */
    /* It is final, so it also counts for one that waits to be delivered again. */
    if (!sg_lanes_has(h->lanes, offset) && !sg_window_in_hand(h->window, offset, d->attempt))
        return SEG_EFENCED;
    keep_reason(h, offset, how->reason);
    if (!sg_consumer_bury(c, h, offset, SG_REASON_REJECTED))
        return SEG_ENOMEM;
    c->stats.rejected++;
    return SEG_OK;
}

static seg_status give_back(seg_consumer *c, sg_holding *h, const seg_delivery *d,
                            seg_verdict verdict, const seg_settlement *how) {
    int64_t now = sg_clock_ms();
    if (!sg_window_in_hand(h->window, d->id.offset, d->attempt))
        return SEG_EFENCED;
    const sg_outputs *o = sg_map_get(&h->outputs, d->id.offset);
    if (o != NULL && o->acked)
        return SEG_EFENCED; /* it was settled before */
    if (verdict == SEG_EXTEND && sg_window_deadline_at(h->window, d->id.offset) == INT64_MAX)
        return SEG_OK; /* a handler has it, and all the time it wants */
    if (verdict == SEG_EXTEND || verdict == SEG_DEFER) {
        int64_t deadline = sg_clock_after(now, how->delay > 0 ? how->delay : c->ack_timeout);
        sg_window_extend(h->window, d->id.offset, deadline);
        if (deadline < c->next_expiry)
            c->next_expiry = deadline;
        return SEG_OK;
    }
    if (verdict == SEG_RETRY) {
        keep_reason(h, d->id.offset, how->reason);
        c->stats.retried++;
        sg_consumer_failed(c, h, d->id.offset, d->attempt, how->delay, SG_REASON_ATTEMPTS);
        return SEG_OK;
    }
    if (!sg_holding_again(h, d->id.offset, false, now, 0))
        return SEG_ENOMEM;
    sg_consumer_leave_outputs(h, d->id.offset);
    c->next_expiry = now < c->next_expiry ? now : c->next_expiry;
    sg_consumer_todo(c, h);
    return SEG_OK;
}

seg_status sg_consumer_settle(seg_consumer *c, const seg_delivery *d, seg_verdict verdict,
                              const seg_settlement *how) {
    sg_holding *h = sg_consumer_holding(c, d->partition, d->epoch);
    if (h == NULL || h->window == NULL)
        return d->partition < c->stream.partitions && d->epoch != 0 ? SEG_EFENCED : SEG_EINVAL;
    if (d->id.era != sg_eras_of(&h->eras, d->id.offset))
        return SEG_EINVAL;
    if (verdict == SEG_ACK)
        return acknowledge(c, h, d);
    if (sg_window_fate_of(h->window, d->id.offset) != SG_SKIP)
        return SEG_EINVAL;
    return verdict == SEG_REJECT ? reject(c, h, d, how) : give_back(c, h, d, verdict, how);
}

/* ---- many --------------------------------------------------------------------------------- */

typedef struct faults {
    seg_delivery invalid, fenced;
    size_t n_invalid, n_fenced;
    bool memory;
} faults;

/* Lock held. */
static void settle_next(seg_consumer *c, const seg_delivery *d, seg_verdict verdict,
                        const seg_settlement *how, faults *f) {
    seg_status s = sg_consumer_settle(c, d, verdict, how);
    if (s == SEG_EINVAL && f->n_invalid++ == 0)
        f->invalid = *d;
    if (s == SEG_EFENCED && f->n_fenced++ == 0)
        f->fenced = *d;
    f->memory = f->memory || s == SEG_ENOMEM;
}

/* Lock held. */
static seg_status settle_end(seg_consumer *c, const faults *f, seg_error *err) {
    sg_loop_nudge(&c->actor);
    /* A poll on another thread may wait for the window to move on, a worker for the lane. */
    if (c->polling && !c->running)
        sg_consumer_changed(c);
    else if (c->idle > 0)
        sg_cond_signal(&c->work);
    sg_consumer_signal(c);
    if (f->n_invalid > 0)
        return sg_fail(err, SEG_EINVAL,
                       "partition %u, offset %llu was never delivered to this consumer",
                       f->invalid.partition, (unsigned long long)f->invalid.id.offset);
    if (f->n_fenced > 0 && sg_consumer_holding(c, f->fenced.partition, f->fenced.epoch) != NULL)
        return sg_fail(
            err, SEG_EFENCED,
            "partition %u, offset %llu is not in hand any more: its ack timeout ran out, or it "
            "was settled before",
            f->fenced.partition, (unsigned long long)f->fenced.id.offset);
    if (f->n_fenced > 0)
        return sg_fail(err, SEG_EFENCED,
                       "partition %u is no longer owned by this consumer (under epoch "
                       "%llu): %zu messages will be delivered again by its next owner",
                       f->fenced.partition, (unsigned long long)f->fenced.epoch, f->n_fenced);
    return f->memory ? sg_fail_nomem(err) : SEG_OK;
}

seg_status seg_ack(seg_consumer *c, const seg_delivery *d, size_t n, seg_error *err) {
    return seg_settle(c, d, n, SEG_ACK, NULL, err);
}

static seg_status check(seg_consumer *c, seg_verdict verdict, const seg_settlement *given,
                        seg_settlement *how, seg_error *err) {
    char name[201];
    seg_status s = sg_options_copy(how, sizeof *how, given, "settlement", err);
    if (s != SEG_OK)
        return s;
    if (verdict < SEG_ACK || verdict >= SEG_DEFER)
        return sg_fail(err, SEG_EINVAL, "verdict %d is none of those to settle with", (int)verdict);
    if (verdict == SEG_REJECT && !sg_dlq_name(name, c->stream.name, c->group.name))
        return sg_fail(
            err, SEG_EINVAL,
            "the dead letters of stream \"%.60s\" and group \"%.60s\" would have a name of more "
            "than 200 characters: use shorter names",
            c->stream.name, c->group.name);
    return SEG_OK;
}

seg_status seg_settle(seg_consumer *c, const seg_delivery *d, size_t n, seg_verdict verdict,
                      const seg_settlement *given, seg_error *err) {
    faults f = {.n_invalid = 0};
    seg_settlement how = {.size = sizeof how};
    if (c == NULL || (d == NULL && n > 0))
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the consumer" : "d");
    seg_status s = check(c, verdict, given, &how, err);
    if (s != SEG_OK)
        return s;
    sg_mutex_lock(&c->lock);
    c->ack_clock++;
    for (size_t i = 0; i < n; i++)
        settle_next(c, &d[i], verdict, &how, &f);
    s = settle_end(c, &f, err);
    sg_mutex_unlock(&c->lock);
    return s;
}

/* How many messages from the i-th on are of one partition and era, one after the other. */
static uint32_t run_at(const seg_batch *b, size_t i) {
    const seg_message *first = seg_batch_at(b, i);
    uint32_t n = 1;
    for (; n < seg_batch_count(b) - i; n++) {
        const seg_delivery *d = &first[n].delivery;
        if (d->id.offset != first->delivery.id.offset + n || d->id.era != first->delivery.id.era ||
            d->partition != first->delivery.partition || d->epoch != first->delivery.epoch)
            break;
    }
    return n;
}

/* Lock held. Acknowledge as many of them at once as can be; returns how many. */
static uint32_t ack_run(seg_consumer *c, const seg_delivery *d, uint32_t n) {
    sg_holding *h = sg_consumer_holding(c, d->partition, d->epoch);
    if (h == NULL || h->window == NULL || d->id.era != sg_eras_of(&h->eras, d->id.offset) ||
        d->id.era != sg_eras_of(&h->eras, d->id.offset + n - 1))
        return 0;
    uint32_t done = sg_holding_ack_run(h, d->id.offset, n);
    c->stats.acked += done;
    if (done > 0)
        note_ack(c, h);
    return done;
}

seg_status seg_ack_batch(seg_consumer *c, const seg_batch *b, seg_error *err) {
    faults f = {.n_invalid = 0};
    seg_settlement how = {.size = sizeof how};
    if (c == NULL || b == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the consumer" : "the batch");
    sg_mutex_lock(&c->lock);
    c->ack_clock++;
    for (size_t i = 0; i < seg_batch_count(b);) {
        const seg_delivery *d = &seg_batch_at(b, i)->delivery;
        uint32_t n = run_at(b, i), done = ack_run(c, d, n);
        for (; done < n; done++)
            settle_next(c, &seg_batch_at(b, i + done)->delivery, SEG_ACK, &how, &f);
        i += n;
    }
    seg_status s = settle_end(c, &f, err);
    sg_mutex_unlock(&c->lock);
    return s;
}
