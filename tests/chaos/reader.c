/* reader.c - a consumer with all that is written down of it. See worker.h. */
#include <string.h>

#include "worker.h"

enum { COMMIT_MS = 3000 };

history_record reader_record(const reader *r, unsigned kind) {
    return (history_record){
        .kind = (uint16_t)kind, .stream = r->w->in, .group = r->w->of_group, .member = r->member};
}

void work_lost(const work_loss *l) {
    history_event(l->w->h, &(history_record){.kind = HISTORY_LOSS,
                                             .stream = l->stream,
                                             .producer = l->producer,
                                             .group = l->group,
                                             .member = l->member,
                                             .partition = HISTORY_ALL,
                                             .what = HISTORY_LOST_MESSAGES,
                                             .end = UINT64_MAX});
}

void work_on_loss(const seg_loss *loss, void *arg) {
    const work_loss *l = arg;
    history_event(l->w->h,
                  &(history_record){.kind = HISTORY_LOSS,
                                    .stream = l->stream,
                                    .producer = l->producer,
                                    .group = l->group,
                                    .member = l->member,
                                    .partition = loss->partition,
                                    .era = loss->era,
                                    .first = loss->first,
                                    .end = loss->end,
                                    .what = loss->what == SEG_LOST_ACKS ? HISTORY_LOST_ACKS
                                                                        : HISTORY_LOST_MESSAGES});
}

static void on_rebalance(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    static const unsigned kinds[] = {[SEG_ASSIGNED] = HISTORY_ASSIGNED,
                                     [SEG_REVOKED] = HISTORY_REVOKED,
                                     [SEG_LOST] = HISTORY_LOST};
    reader *r = arg;
    for (size_t i = 0; i < n; i++) {
        history_record e = reader_record(r, kinds[what]);
        e.partition = partitions[i];
        history_event(r->w->h, &e);
    }
}

static void on_overtaken(uint32_t partition, seg_id first, uint64_t count, void *arg) {
    reader *r = arg;
    history_record e = reader_record(r, HISTORY_OVERTAKEN);
    e.partition = partition;
    e.era = first.era;
    e.first = first.offset;
    e.end = first.offset + count;
    history_event(r->w->h, &e);
}

bool reader_open(reader *r, work *w, seg_client *c, bool handlers) {
    seg_consumer_options o;
    seg_error err;
    *r = (reader){.w = w};
    SEG_INIT(&o);
    o.group = w->group;
    o.session_timeout = w->session;
    o.ack_timeout = SEG_FOREVER;
    o.drain_timeout = 1000 + (int64_t)work_chance(w, 2000);
    o.max_prefetch = (size_t)256 * 1024;
    o.max_in_flight = 2000;
    o.retry_delay = 20;
    o.on_rebalance = on_rebalance;
    o.rebalance_arg = r;
    o.on_overtaken = on_overtaken;
    o.overtaken_arg = r;
    r->loss = (work_loss){.w = w, .stream = w->in, .group = w->of_group};
    o.on_loss = w->bare == 0 ? work_on_loss : NULL;
    o.loss_arg = &r->loss;
    history_record j = reader_record(r, HISTORY_JOIN);
    j.flags = handlers ? HISTORY_HANDLERS : 0;
    history_invoke(w->h, &j);
    seg_status s = seg_consumer_open(&r->consumer, c, w->stream, &o, &err);
    if (s == SEG_OK)
        j.member = r->member = r->loss.member =
            history_name(w->h, seg_consumer_member(r->consumer));
    history_done(w->h, &j, history_outcome(s), s);
    if (s == SEG_OK)
        return true;
    reader_ended(r, s, &err);
    return false;
}

void reader_close(reader *r) {
    history_record e = reader_record(r, HISTORY_LEAVE);
    if (r->consumer == NULL)
        return;
    history_invoke(r->w->h, &e);
    seg_consumer_close(r->consumer);
    history_done(r->w->h, &e, HISTORY_OK, SEG_OK);
    r->consumer = NULL;
}

bool reader_goes_on(reader *r, seg_status s, const seg_error *err) {
    bool goes_on = s == SEG_ELOST && r->w->bare != 0 && !r->lost;
    r->lost = s == SEG_ELOST;
    if (goes_on) {
        work_say(r->w, "told", s, err);
        work_lost(&r->loss);
    }
    return goes_on;
}

void reader_ended(reader *r, seg_status s, const seg_error *err) {
    work_say(r->w, "consumer", s, err);
    if (s == SEG_ELOST)
        work_lost(&r->loss);
}

void reader_delivered(reader *r, const seg_message *m, value *v, uint64_t polled) {
    seg_delivery d = seg_message_delivery(m);
    seg_bytes bytes = seg_message_value(m), key = seg_message_key(m);
    char expected[32];
    history_record e = reader_record(r, HISTORY_DELIVERED);
    if (!value_read(v, bytes))
        work_broken(r->w, "delivered", "bytes that nobody sent");
    seg_bytes of_value = value_key(v->key, expected);
    if (key.len != of_value.len || memcmp(key.data, of_value.data, key.len) != 0)
        work_broken(r->w, "delivered", "a value with the key of another");
    e.partition = d.partition;
    e.epoch = d.epoch;
    e.era = d.id.era;
    e.offset = d.id.offset;
    e.attempt = d.attempt;
    e.producer = history_name(r->w->h, v->producer);
    e.key = v->key;
    e.sequence = v->sequence;
    e.index = v->index;
    e.crc = history_crc(bytes.data, bytes.len);
    e.first = polled;
    history_event(r->w->h, &e);
}

history_record reader_settling(const reader *r, const seg_delivery *d, seg_verdict verdict) {
    history_record e = reader_record(r, HISTORY_SETTLE);
    e.partition = d->partition;
    e.epoch = d->epoch;
    e.era = d->id.era;
    e.offset = d->id.offset;
    e.what = (uint8_t)verdict;
    history_invoke(r->w->h, &e);
    return e;
}

seg_status reader_settle(reader *r, const seg_delivery *d, seg_verdict verdict) {
    seg_error err;
    history_record e = reader_settling(r, d, verdict);
    seg_status s = seg_settle(r->consumer, d, 1, verdict, NULL, &err);
    history_done(r->w->h, &e, history_outcome(s), s);
    if (s == SEG_EINVAL)
        work_broken(r->w, "settle", err.text);
    return s;
}

void reader_commit(reader *r) {
    history_record e = reader_record(r, HISTORY_COMMIT);
    history_invoke(r->w->h, &e);
    seg_status s = seg_consumer_commit(r->consumer, COMMIT_MS, NULL);
    history_done(r->w->h, &e, s == SEG_OK ? HISTORY_OK : HISTORY_UNKNOWN, s);
}
