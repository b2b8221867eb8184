/* A consumer's application side: outputs, each stored once for its input. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

/* One call of seg_forward, until its outcome. */
typedef struct output {
    seg_consumer *consumer;
    uint32_t partition;
    uint64_t epoch, offset, serial;
} output;

/* Group, partition, and how often the group was moved there: a replay after a seek is meant to
 * give outputs again. What is below the stored cursor comes to nobody any more; our own may be
 * further already. */
void sg_consumer_identify(const seg_consumer *c, const sg_holding *h, uint64_t offset,
                          const char *kind, sg_forward_id *out) {
    uint64_t era = sg_eras_of(&h->eras, offset);
    memset(out, 0, sizeof *out);
    int n = snprintf(out->input, sizeof out->input, "%s%s.%" PRIu32 ".%" PRIu64, kind, c->group.gid,
                     h->partition, h->since);
    /* What the input's server has lost had this offset too, and maybe outputs. */
    if (era > 1)
        snprintf(out->input + n, sizeof out->input - (size_t)n, ".%" PRIu64, era);
    out->epoch = h->epoch;
    out->base = h->stored_offset;
    out->offset = offset;
}

/* Lock held. The delivery's account; NULL: no memory. */
static sg_outputs *outputs_of(sg_holding *h, const seg_delivery *d) {
    sg_outputs *o = sg_map_get(&h->outputs, d->id.offset);
    if (o == NULL) {
        o = sg_calloc(1, sizeof *o);
        if (o == NULL || !sg_map_put(&h->outputs, d->id.offset, o)) {
            sg_free(o);
            return NULL;
        }
    }
    o->attempt = d->attempt;
    return o;
}

/* Lock held. The account of an output that has come back; NULL where the message is settled, or
 * gone. */
static sg_outputs *account(const output *u, sg_holding **h) {
    *h = sg_consumer_holding(u->consumer, u->partition, u->epoch);
    return *h != NULL ? sg_map_get(&(*h)->outputs, u->offset) : NULL;
}

/* Lock held. All outputs of an acknowledged message have an outcome. */
static void conclude(seg_consumer *c, sg_holding *h, const output *u, const sg_outputs *o) {
    if (o->fault.status != SEG_OK) {
        sg_consumer_failed(c, h, u->offset, o->attempt, 0, SG_REASON_ATTEMPTS);
        c->acks_lost = true;
        return;
    }
    c->stats.acked++;
    sg_consumer_settled(c, h, u->offset);
}

/* Lock held. One of the account's outputs has an outcome. */
static void count(seg_consumer *c, sg_holding *h, const output *u, sg_outputs *o, seg_status status,
                  const seg_error *err) {
    bool failed = status != SEG_OK;
    if (u->serial == o->serial) {
        o->pending--;
        if (failed && o->fault.status == SEG_OK)
            o->fault = *err;
    } else {
        o->left--;
        o->failed = o->failed || failed;
    }
    if (o->acked && o->pending + o->left == 0)
        conclude(c, h, u, o);
    else if (o->attempt == 0 && o->left == 0 && !o->failed)
        sg_consumer_close_outputs(h, u->offset);
}

/* On the loop thread of the producer's client, whose lock is held: it comes before the
 * consumer's. */
static void on_output(void *arg, seg_status status, const seg_error *err) {
    output u = *(output *)arg;
    seg_consumer *c = u.consumer;
    sg_holding *h;
    sg_free(arg);
    sg_mutex_lock(&c->lock);
    sg_outputs *o = account(&u, &h);
    c->stats.forwarded += status == SEG_OK ? 1 : 0;
    if (status == SEG_EPROTO && !c->detached)
        sg_log_write(&c->client->log, SEG_LOG_ERROR, "forward-differs",
                     "partition %u, offset %" PRIu64 ": %s", u.partition, u.offset, err->text);
    if (o != NULL) {
        count(c, h, &u, o, status, err);
        sg_consumer_changed(c);
        sg_consumer_signal(c);
    }
    if (!c->detached)
        sg_loop_wake(&c->actor);
    sg_mutex_unlock(&c->lock);
    sg_consumer_unref(c);
}

/* Lock held. Take the next index; fills `u`, the identity and the record's time. */
static seg_status begin(seg_consumer *c, const seg_delivery *d, output *u, sg_forward_id *id,
                        seg_record *r, seg_error *err) {
    sg_holding *h = sg_consumer_holding(c, d->partition, d->epoch);
    if (h == NULL || h->window == NULL || d->id.era != sg_eras_of(&h->eras, d->id.offset))
        return sg_fail(
            err, SEG_EFENCED,
            "partition %u is no longer owned by this consumer: its next owner sends what results "
            "from its messages",
            d->partition);
    const sg_block *b = sg_holding_block(h, d->id.offset);
    if (b == NULL || !sg_window_in_hand(h->window, d->id.offset, d->attempt))
        return sg_fail(err, SEG_EINVAL,
                       "partition %u, offset %" PRIu64
                       " is not in hand: forward before it is settled",
                       d->partition, d->id.offset);
    sg_outputs *o = outputs_of(h, d);
    if (o == NULL)
        return sg_fail_nomem(err);
    if (o->acked)
        return sg_fail(err, SEG_EINVAL,
                       "partition %u, offset %" PRIu64 " is settled: forward before that",
                       d->partition, d->id.offset);
    sg_consumer_identify(c, h, d->id.offset, "f.", id);
    id->index = o->issued++;
    o->pending++;
    if (r->timestamp == 0 && !r->exact_timestamp) {
        sg_record_view of;
        sg_block_record(b, d->id.offset, &of);
        /* 0 would be now, which is another one each time. */
        r->timestamp = of.timestamp > 0 ? of.timestamp : 1;
    }
    *u = (output){c, d->partition, d->epoch, d->id.offset, o->serial};
    atomic_fetch_add(&c->references, 1);
    return SEG_OK;
}

/* It was not taken: the next call has its index. */
static void undo(const output *u) {
    sg_holding *h;
    sg_mutex_lock(&u->consumer->lock);
    sg_outputs *o = account(u, &h);
    if (o != NULL && o->serial == u->serial) {
        o->issued--;
        o->pending--;
    } else if (o != NULL) {
        o->left--;
    }
    if (o != NULL && o->acked && o->pending + o->left == 0) { /* settled too early, but settled */
        conclude(u->consumer, h, u, o);
        sg_consumer_changed(u->consumer);
        sg_loop_wake(&u->consumer->actor);
    }
    sg_mutex_unlock(&u->consumer->lock);
    sg_consumer_unref(u->consumer);
}

seg_status seg_forward(seg_consumer *c, const seg_delivery *d, seg_producer *p,
                       const seg_record *given, seg_error *err) {
    seg_record r = {.size = sizeof r};
    sg_forward_id id;
    if (c == NULL || d == NULL || p == NULL || given == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL",
                       c == NULL   ? "the consumer"
                       : d == NULL ? "the delivery"
                       : p == NULL ? "the producer"
                                   : "the record");
    seg_status s = sg_options_copy(&r, sizeof r, given, "record", err);
    if (s != SEG_OK)
        return s;
    if (r.partition != NULL) /* a repetition has to find it, whoever makes it */
        return sg_fail(err, SEG_EINVAL,
                       "a partition is chosen for an output: it must follow from its key");
    output *u = sg_alloc(sizeof *u);
    if (u == NULL)
        return sg_fail_nomem(err);
    sg_mutex_lock(&c->lock);
    s = begin(c, d, u, &id, &r, err);
    sg_mutex_unlock(&c->lock);
    if (s != SEG_OK) {
        sg_free(u);
        return s;
    }
    output copy = *u; /* the outcome may come, and free it, before this returns */
    s = sg_producer_forward(p, &r, &id, true, on_output, u, err);
    if (s != SEG_OK) {
        undo(&copy);
        sg_free(u);
    }
    return s;
}
