/* Dead letters: sent somewhere else, or dropped (engine/dlq.h draws how). */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/consumer.h"
#include "engine/dlq.h"

#define MEMBER      "dlq" /* always the same, so that a newer one replaces an older one */
#define SESSION_MS  5000
#define IN_HAND_MAX 65536
#define PARKED_MAX  ((size_t)256 * 1024 * 1024)
#define MESSAGE_MAX ((size_t)64 * 1024 * 1024)
#define POLL_MAX    256
#define POLL_MS     100
#define LOOK_MS     50

/* One letter on its way. */
typedef struct item {
    seg_dlq *q;
    seg_delivery delivery;
    sg_forward_id id;
    sg_block *block;
    sg_letter_facts facts;
    bool under_way; /* guarded by the handle's lock, as the two below */
    seg_status status;
    seg_error err;
} item;

/* One call of seg_dlq_replay or seg_dlq_drop. */
typedef struct move {
    seg_dlq *q;
    const char *to; /* NULL: nowhere, they are dropped */
    seg_producer *producer;
    seg_position *at; /* sorted, each once */
    size_t n, done;
    seg_stream_info *ends;
    int64_t patience; /* ms without any progress */
    bool anew;        /* the next call needs another epoch */
    size_t n_items;
    item items[SG_INTENT_MAX]; /* of one chunk, in one partition */
} move;

/* ---- faults ------------------------------------------------------------------------------- */

/* What the consumer's fault means to whoever moves letters. */
static seg_status consumer_fault(seg_status s, seg_error *err) {
    if (s == SEG_EFENCED)
        return sg_fail(
            err, SEG_EEXIST,
            "somebody else has begun to replay or drop these dead letters: wait until that is "
            "done, and do it again");
    return s;
}

/* ---- taking part in the group ------------------------------------------------------------- */

void sg_dlq_stop_moving(seg_dlq *q) {
    seg_consumer_close(q->consumer);
    q->consumer = NULL;
}

/* SEG_OK while it is not over. */
static seg_status fault_of(seg_consumer *c) {
    sg_mutex_lock(&c->lock);
    seg_status s = c->fault.status;
    sg_mutex_unlock(&c->lock);
    return s;
}

static void pause_for(seg_dlq *q, int64_t ms) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), ms);
    sg_mutex_lock(&q->lock);
    for (int64_t left = ms; left > 0; left = deadline - sg_clock_ms())
        sg_cond_wait(&q->changed, &q->lock, left);
    sg_mutex_unlock(&q->lock);
}

static bool is_one_of_us(const seg_group_info *g) {
    return seg_group_info_members(g) == 1 && strcmp(seg_group_info_member(g, 0), MEMBER) == 0;
}

/* Nobody may be at it. One of us who died has a lease that still runs for a while: that is waited
 * for. */
static seg_status wait_alone(seg_dlq *q, seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), SESSION_MS + 1000);
    for (;;) {
        seg_group_info *g;
        seg_status s = seg_group_describe(&g, q->client, q->stream.name, q->group.name, err);
        if (s != SEG_OK)
            return s;
        bool alone = seg_group_info_members(g) == 0;
        bool hope = is_one_of_us(g) && sg_clock_ms() < deadline;
        seg_group_info_free(g);
        if (alone)
            return SEG_OK;
        if (!hope)
            return sg_fail(
                err, SEG_EEXIST,
                "somebody else replays or drops these dead letters (group \"%s\" of stream "
                "\"%s\" has live members): wait until that is done",
                q->group.name, q->stream.name);
        pause_for(q, LOOK_MS);
    }
}

/* Wait until every partition is ours, and its cursor known. */
static seg_status wait_owned(seg_consumer *c, int64_t wait, seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    seg_status s = SEG_ETIMEDOUT;
    sg_mutex_lock(&c->lock);
    for (;;) {
        size_t active = 0;
        for (size_t i = 0; i < c->n_owned; i++)
            active += c->owned[i]->state == SG_ACTIVE ? 1 : 0;
        int64_t left = deadline - sg_clock_ms();
        if (c->fault.status != SEG_OK)
            s = sg_fail(err, c->fault.status, "%s", c->fault.text);
        else if (active == c->stream.partitions)
            s = SEG_OK;
        if (s != SEG_ETIMEDOUT || left <= 0)
            break;
        sg_cond_wait(&c->changed, &c->lock, left);
    }
    sg_mutex_unlock(&c->lock);
    if (s == SEG_ETIMEDOUT)
        sg_fail(err, s, "the dead letters' partitions did not come in time");
    return consumer_fault(s, err);
}

static seg_status join(seg_dlq *q, seg_error *err) {
    seg_consumer_options o;
    SEG_INIT(&o);
    o.group = SG_DLQ_GROUP;
    o.name = MEMBER;
    o.session_timeout = SESSION_MS;
    o.ack_timeout = SEG_FOREVER;
    o.max_poll_interval = SEG_FOREVER;
    o.ordering = SEG_UNORDERED;
    o.max_in_flight = IN_HAND_MAX;
    o.max_parked = PARKED_MAX;
    seg_status s = seg_consumer_open(&q->consumer, q->client, q->stream.name, &o, err);
    if (s != SEG_OK)
        return consumer_fault(s, err);
    if (strcmp(q->consumer->stream.inc, q->stream.inc) != 0)
        return sg_fail(err, SEG_ENOENT,
                       "stream \"%s\" was deleted and created anew: open its dead letters again",
                       q->stream.name);
    return SEG_OK;
}

/* Begin, or go on. */
static seg_status take_over(seg_dlq *q, seg_error *err) {
    seg_status s = q->consumer != NULL ? fault_of(q->consumer) : SEG_OK;
    if (s != SEG_OK)
        sg_dlq_stop_moving(q);
    if (s == SEG_EFENCED) /* told now, where nobody was told before; the next call begins anew */
        return consumer_fault(s, err);
    if (q->consumer == NULL &&
        ((s = wait_alone(q, err)) != SEG_OK || (s = join(q, err)) != SEG_OK)) {
        sg_dlq_stop_moving(q);
        return s;
    }
    return wait_owned(q->consumer, q->client->command_timeout, err);
}

/* A partition was lost in between. */
static seg_status interrupted(seg_dlq *q, seg_status s, seg_error *err) {
    if (s != SEG_EFENCED)
        return s;
    if (fault_of(q->consumer) != SEG_OK)
        return consumer_fault(s, err);
    return sg_fail(
        err, SEG_ETIMEDOUT,
        "the dead letters' partition was lost for a moment, as the server did not hear of us "
        "in time: do it again");
}

/* ---- getting hold of them ----------------------------------------------------------------- */

typedef enum whereabouts { GONE, IN_HAND, TO_COME } whereabouts;

/* Lock held. */
static whereabouts look(const sg_holding *h, uint64_t offset, uint32_t *attempt) {
    if (sg_window_acked(h->window, offset))
        return GONE;
    *attempt = sg_window_failures(h->window, offset).count + 1;
    if (!sg_window_in_hand(h->window, offset, *attempt))
        return TO_COME;
    return sg_holding_block(h, offset) != NULL ? IN_HAND : GONE;
}

/* Lock held. The partition, under the epoch in which its note was looked at; NULL where that is
 * over. */
static sg_holding *holding(const move *m, uint32_t partition) {
    sg_holding *h = sg_consumer_holding(m->q->consumer, partition, m->q->epochs[partition]);
    return h != NULL && h->window != NULL && h->state == SG_ACTIVE ? h : NULL;
}

typedef struct view {
    bool lost, held;
    size_t to_come;
    uint64_t committed;
} view;

static view look_at(move *m, uint32_t partition, const uint64_t *offsets, size_t n) {
    seg_consumer *c = m->q->consumer;
    view v = {.lost = true};
    sg_mutex_lock(&c->lock);
    const sg_holding *h = holding(m, partition);
    if (h != NULL) {
        uint32_t attempt;
        v = (view){.held = h->held, .committed = sg_window_committed(h->window)};
        for (size_t i = 0; i < n; i++)
            v.to_come += look(h, offsets[i], &attempt) == TO_COME ? 1 : 0;
    }
    sg_mutex_unlock(&c->lock);
    return v;
}

static seg_status take_more(seg_consumer *c, size_t *n, seg_error *err) {
    seg_batch *b;
    seg_status s = seg_consumer_poll(&b, c, POLL_MAX, POLL_MS, err);
    if (s != SEG_OK)
        return consumer_fault(s, err);
    *n = seg_batch_count(b);
    seg_batch_free(b);
    return SEG_OK;
}

/* Poll until all of them were delivered, or turn out to be settled or not there. Those between them
 * stay in hand. */
static seg_status get_hold(move *m, uint32_t partition, const uint64_t *offsets, size_t n,
                           seg_error *err) {
    int64_t since = sg_clock_ms();
    for (;;) {
        view v = look_at(m, partition, offsets, n);
        size_t came = 0;
        if (v.lost)
            return interrupted(m->q, SEG_EFENCED, err);
        if (v.to_come == 0)
            return SEG_OK;
        seg_status s = take_more(m->q->consumer, &came, err);
        if (s != SEG_OK)
            return s;
        int64_t now = sg_clock_ms();
        if (came > 0)
            since = now;
        else if (look_at(m, partition, offsets, n).held) /* as that poll has found it */
            return sg_fail(
                err, SEG_EFULL,
                "partition %u: there are too many dead letters from offset %llu up to offset "
                "%llu to keep them all meanwhile (at most %d, and %zu MiB): replay or drop the "
                "older ones first",
                partition, (unsigned long long)v.committed, (unsigned long long)offsets[n - 1],
                IN_HAND_MAX, PARKED_MAX / 1024 / 1024);
        else if (now - since > m->patience)
            return sg_fail(err, SEG_ETIMEDOUT,
                           "partition %u: the dead letters did not come from the server in time",
                           partition);
    }
}

/* Those in hand that are letters of ours become the items. */
static seg_status choose(move *m, uint32_t partition, const uint64_t *offsets, size_t n,
                         seg_error *err) {
    seg_consumer *c = m->q->consumer;
    sg_mutex_lock(&c->lock);
    sg_holding *h = holding(m, partition);
    for (size_t i = 0; h != NULL && i < n; i++) {
        item *t = &m->items[m->n_items];
        uint32_t attempt;
        if (look(h, offsets[i], &attempt) != IN_HAND)
            continue;
        sg_block *b = sg_holding_block(h, offsets[i]);
        *t = (item){.q = m->q, .block = b};
        sg_record_view v;
        sg_block_record(b, offsets[i], &v);
        if (!sg_letter_read(&v, &t->facts) || !sg_dlq_owns(m->q, &t->facts))
            continue;
        t->delivery = (seg_delivery){
            {sg_eras_of(&h->eras, offsets[i]), offsets[i]}, h->epoch, partition, attempt};
        sg_consumer_identify(c, h, offsets[i], "r.", &t->id);
        sg_block_ref(b);
        m->n_items++;
    }
    sg_mutex_unlock(&c->lock);
    return h != NULL ? SEG_OK : interrupted(m->q, SEG_EFENCED, err);
}

static void let_go(move *m) {
    for (size_t i = 0; i < m->n_items; i++)
        sg_block_unref(m->items[i].block);
    m->n_items = 0;
}

/* ---- the note ----------------------------------------------------------------------------- */

static seg_status store(move *m, uint32_t partition, seg_error *err) {
    seg_dlq *q = m->q;
    return interrupted(
        q, sg_consumer_wait_stored(q->consumer, partition, q->epochs[partition], m->patience, err),
        err);
}

static seg_status set_note(move *m, uint32_t partition, seg_bytes note, seg_error *err) {
    seg_dlq *q = m->q;
    return interrupted(
        q, sg_consumer_set_note(q->consumer, partition, q->epochs[partition], note, err), err);
}

static seg_status clear_note(move *m, uint32_t partition, seg_error *err) {
    return set_note(m, partition, (seg_bytes){NULL, 0}, err);
}

/* The intent is stored before the first of its letters is sent. */
static seg_status announce(move *m, uint32_t partition, seg_error *err) {
    sg_intent intent = {.era = m->items[0].delivery.id.era};
    sg_buf note;
    sg_buf_init(&note, SIZE_MAX);
    strcpy(intent.target, m->to);
    for (size_t i = 0; i < m->n_items; i++)
        intent.offsets[intent.n++] = m->items[i].delivery.id.offset;
    seg_status s = sg_intent_write(&intent, &note)
                       ? set_note(m, partition, (seg_bytes){note.data, note.len}, err)
                       : sg_fail_nomem(err);
    sg_buf_fini(&note);
    return s == SEG_OK ? store(m, partition, err) : s;
}

/* ---- sending ------------------------------------------------------------------------------ */

/* On the loop thread, the producer's lock held. */
static void on_outcome(void *arg, seg_status status, const seg_error *err) {
    item *t = arg;
    seg_dlq *q = t->q;
    sg_mutex_lock(&q->lock);
    t->under_way = false;
    t->status = status;
    if (status != SEG_OK)
        t->err = *err;
    q->pending--;
    sg_cond_broadcast(&q->changed);
    sg_mutex_unlock(&q->lock);
}

/* The message as it was. */
static bool make_record(const item *t, seg_record *r, seg_bytes **pairs) {
    sg_record_view v;
    sg_block_record(t->block, t->delivery.id.offset, &v);
    seg_bytes rest = t->facts.headers, name, value;
    size_t n = 0;
    *pairs = sg_calloc(2 * (size_t)t->facts.n_headers + 1, sizeof **pairs);
    if (*pairs == NULL)
        return false;
    while (n < 2 * (size_t)t->facts.n_headers && sg_header_next(&rest, &name, &value)) {
        (*pairs)[n++] = name;
        (*pairs)[n++] = value;
    }
    *r = (seg_record){.size = sizeof *r,
                      .key = v.key,
                      .value = v.value,
                      .headers = *pairs,
                      .n_headers = n / 2,
                      .timestamp = v.timestamp};
    return true;
}

static seg_status send_one(move *m, seg_producer *p, item *t) {
    seg_dlq *q = m->q;
    seg_record r;
    seg_bytes *pairs;
    if (!make_record(t, &r, &pairs))
        return sg_fail_nomem(&t->err);
    sg_mutex_lock(&q->lock);
    t->under_way = true;
    q->pending++;
    sg_mutex_unlock(&q->lock);
    seg_error err;
    seg_status s = sg_producer_forward(p, &r, &t->id, true, on_outcome, t, &err);
    if (s != SEG_OK) {
        sg_mutex_lock(&q->lock);
        t->under_way = false;
        t->err = err;
        q->pending--;
        sg_mutex_unlock(&q->lock);
    }
    sg_free(pairs);
    return s;
}

/* Nothing was stored for too long. */
static seg_status stuck(const move *m, const seg_producer *p, const char *to, seg_error *err) {
    seg_producer_stats stats;
    SEG_INIT(&stats);
    seg_producer_get_stats(p, &stats);
    if (stats.full > 0)
        return sg_fail(
            err, SEG_EFULL,
            "stream \"%.200s\" is full, and took nothing for %lld ms: what was begun stays "
            "to be finished by the next replay or drop",
            to, (long long)m->patience);
    return sg_fail(
        err, SEG_ETIMEDOUT,
        "stream \"%.200s\" took nothing for %lld ms: what was begun stays to be finished by "
        "the next replay or drop",
        to, (long long)m->patience);
}

/* Wait for all outcomes, as long as some come. */
static bool wait_outcomes(move *m) {
    seg_dlq *q = m->q;
    sg_mutex_lock(&q->lock);
    size_t before = q->pending;
    int64_t deadline = sg_clock_after(sg_clock_ms(), m->patience);
    while (q->pending > 0) {
        int64_t left = deadline - sg_clock_ms();
        if (left <= 0)
            break;
        sg_cond_wait(&q->changed, &q->lock, left);
        if (q->pending < before) {
            before = q->pending;
            deadline = sg_clock_after(sg_clock_ms(), m->patience);
        }
    }
    bool all = q->pending == 0;
    sg_mutex_unlock(&q->lock);
    return all;
}

/* The first letter that was not stored, as a fault of the whole. */
static seg_status judge(move *m, const char *to, seg_error *err) {
    for (size_t i = 0; i < m->n_items; i++) {
        const item *t = &m->items[i];
        if (t->status == SEG_OK || t->status == SEG_EINVAL)
            continue;
        if (t->status == SEG_EFENCED) {
            m->anew = true; /* the target has seen a later epoch than ours */
            return interrupted(m->q, SEG_EFENCED, err);
        }
        return sg_fail(err, t->status, "dead letter %u:%llu, on its way to stream \"%.100s\": %s",
                       t->delivery.partition, (unsigned long long)t->delivery.id.offset, to,
                       t->err.text);
    }
    return SEG_OK;
}

/* Send all items. Each has a status in the end; EINVAL: no stream takes such a message, so it is
 * not moved, which is no reason not to finish the others. The producer is closed, and NULL, where
 * it has to be given up. */
static seg_status send_all(move *m, seg_producer **p, const char *to, seg_error *err) {
    seg_status s = SEG_OK;
    for (size_t i = 0; i < m->n_items; i++) {
        item *t = &m->items[i];
        t->status = SEG_ECLOSED; /* what is not even begun */
        sg_fail(&t->err, SEG_ECLOSED, "it was not sent");
    }
    for (size_t i = 0; i < m->n_items && (s == SEG_OK || s == SEG_EINVAL); i++) {
        s = send_one(m, *p, &m->items[i]);
        if (s != SEG_OK)
            m->items[i].status = s;
    }
    bool full = s == SEG_EFULL || !wait_outcomes(m);
    if (full)
        s = stuck(m, *p, to, err);
    else
        s = judge(m, to, err);
    if (s != SEG_OK) {
        seg_producer_close(*p); /* every outcome comes in here, at the latest */
        *p = NULL;
    }
    return s;
}

/* ---- acknowledging ------------------------------------------------------------------------ */

/* Those that are stored, or to be dropped. */
static seg_status acknowledge(move *m, size_t *n, seg_error *err) {
    seg_delivery d[SG_INTENT_MAX];
    *n = 0;
    for (size_t i = 0; i < m->n_items; i++)
        if (m->items[i].status == SEG_OK)
            d[(*n)++] = m->items[i].delivery;
    return interrupted(m->q, seg_ack(m->q->consumer, d, *n, err), err);
}

static bool is_wanted(const move *m, const item *t);

static void count_done(move *m) {
    for (size_t i = 0; i < m->n_items; i++)
        m->done += m->items[i].status == SEG_OK && is_wanted(m, &m->items[i]) ? 1 : 0;
}

/* The end of a chunk whose letters were sent, with `sent` as the outcome. The note goes after the
 * acknowledgements, see dlq.h; where something is still to be sent it stays. */
static seg_status conclude(move *m, uint32_t partition, seg_status sent, bool counts,
                           seg_error *err) {
    seg_error later;
    size_t n;
    seg_status s = acknowledge(m, &n, &later);
    if (s == SEG_OK && sent == SEG_OK)
        s = clear_note(m, partition, &later);
    if (s == SEG_OK && (n > 0 || sent == SEG_OK))
        s = store(m, partition, &later);
    if (s == SEG_OK && counts)
        count_done(m);
    if (sent != SEG_OK || s == SEG_OK)
        return sent;
    return sg_fail(err, s, "%s", later.text);
}

/* A letter that no stream takes is told, once everything else is done. */
static seg_status refused(const move *m, seg_error *err) {
    for (size_t i = 0; i < m->n_items; i++) {
        const item *t = &m->items[i];
        if (t->status == SEG_EINVAL)
            return sg_fail(err, SEG_EPROTO, "dead letter %u:%llu cannot be sent (%s): drop it",
                           t->delivery.partition, (unsigned long long)t->delivery.id.offset,
                           t->err.text);
    }
    return SEG_OK;
}

/* ---- what an earlier replay has left ------------------------------------------------------ */

/* Nothing past the log's end is waited for. */
static size_t cut_to_log(const move *m, uint32_t partition, const uint64_t *offsets, size_t n) {
    const seg_stream_partition *end = seg_stream_info_partition(m->ends, partition);
    while (n > 0 && (end == NULL || offsets[n - 1] >= end->next))
        n--;
    return n;
}

static seg_status open_producer(move *m, const char *to, seg_producer **out, seg_error *err) {
    seg_producer_options o;
    SEG_INIT(&o);
    o.max_message = MESSAGE_MAX;
    o.delivery_timeout = m->patience;
    return seg_producer_open(out, m->q->client, to, &o, err);
}

static seg_status finish_one(move *m, uint32_t partition, const sg_intent *intent, seg_error *err) {
    size_t n = cut_to_log(m, partition, intent->offsets, intent->n);
    bool counts = m->to != NULL && strcmp(m->to, intent->target) == 0;
    seg_producer *p = NULL;
    seg_error why;
    seg_status s = open_producer(m, intent->target, &p, &why);
    if (s == SEG_ENOENT) {
        /* Whatever was stored there is gone with it, so all that is not acknowledged is
         * here alone. */
        s = clear_note(m, partition, err);
        return s == SEG_OK ? store(m, partition, err) : s;
    }
    if (s != SEG_OK)
        return sg_fail(err, s, "a replay to stream \"%.100s\" was interrupted, and comes first: %s",
                       intent->target, why.text);
    if ((s = get_hold(m, partition, intent->offsets, n, err)) == SEG_OK &&
        (s = choose(m, partition, intent->offsets, n, err)) == SEG_OK)
        s = conclude(m, partition, send_all(m, &p, intent->target, err), counts, err);
    let_go(m);
    seg_producer_close(p);
    return s;
}

static seg_status finish(move *m, uint32_t partition, seg_error *err) {
    seg_dlq *q = m->q;
    sg_intent intent;
    sg_buf note;
    sg_buf_init(&note, SIZE_MAX);
    seg_status s = interrupted(
        q, sg_consumer_get_note(q->consumer, partition, &q->epochs[partition], &note, err), err);
    if (s == SEG_OK && !sg_intent_read((seg_bytes){note.data, note.len}, &intent))
        s = sg_fail(
            err, SEG_EPROTO,
            "partition %u: an interrupted replay has left a note that makes no sense, or is of a "
            "newer version",
            partition);
    if (s == SEG_OK && intent.n > 0)
        s = finish_one(m, partition, &intent, err);
    sg_buf_fini(&note);
    return s;
}

/* ---- one call ----------------------------------------------------------------------------- */

static int compare(const void *left, const void *right) {
    const seg_position *a = left, *b = right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    if (a->id.era != b->id.era)
        return a->id.era < b->id.era ? -1 : 1;
    return a->id.offset < b->id.offset ? -1 : a->id.offset > b->id.offset;
}

static bool is_wanted(const move *m, const item *t) {
    seg_position at = {t->delivery.id, t->delivery.partition};
    return m->n > 0 && bsearch(&at, m->at, m->n, sizeof at, compare) != NULL;
}

static bool sort_positions(move *m, const seg_position *at, size_t n) {
    m->at = sg_reallocarray(NULL, n > 0 ? n : 1, sizeof *at);
    if (m->at == NULL)
        return false;
    if (n > 0) {
        memcpy(m->at, at, n * sizeof *at);
        qsort(m->at, n, sizeof *at, compare);
    }
    for (size_t i = 0; i < n; i++)
        if (m->n == 0 || compare(&m->at[i], &m->at[m->n - 1]) != 0)
            m->at[m->n++] = m->at[i];
    return true;
}

/* The next positions of one partition that its log can have, from `*i` on. */
static size_t next_chunk(const move *m, size_t *i, uint32_t *partition, uint64_t *offsets) {
    size_t n = 0;
    while (*i < m->n && n < SG_INTENT_MAX) {
        const seg_position *at = &m->at[*i];
        const seg_stream_partition *end = seg_stream_info_partition(m->ends, at->partition);
        if (n > 0 && at->partition != *partition)
            break;
        *partition = at->partition;
        if (end != NULL && at->id.era <= end->era && at->id.offset < end->next)
            offsets[n++] = at->id.offset;
        ++*i;
    }
    return n;
}

static seg_status move_chunk(move *m, uint32_t partition, const uint64_t *offsets, size_t n,
                             seg_error *err) {
    seg_status s;
    size_t acked;
    if ((s = get_hold(m, partition, offsets, n, err)) != SEG_OK ||
        (s = choose(m, partition, offsets, n, err)) != SEG_OK || m->n_items == 0)
        return s;
    if (m->to != NULL) {
        if ((s = announce(m, partition, err)) != SEG_OK)
            return s;
        s = conclude(m, partition, send_all(m, &m->producer, m->to, err), true, err);
        return s == SEG_OK ? refused(m, err) : s;
    }
    if ((s = acknowledge(m, &acked, err)) != SEG_OK || (s = store(m, partition, err)) != SEG_OK)
        return s;
    count_done(m);
    return SEG_OK;
}

static seg_status look_at_ends(move *m, seg_error *err) {
    const char *name = m->q->stream.name;
    seg_status s = seg_stream_describe(&m->ends, m->q->client, name, err);
    for (uint32_t p = 0; s == SEG_OK && p < seg_stream_info_partitions(m->ends); p++)
        if (seg_stream_info_partition(m->ends, p)->status != SEG_OK)
            s = sg_fail(err, SEG_ELOST,
                        "partition %u of \"%s\" is damaged: the server lost a part of it", p, name);
    return s;
}

static seg_status run(move *m, seg_error *err) {
    seg_dlq *q = m->q;
    uint64_t offsets[SG_INTENT_MAX];
    uint32_t partition = 0;
    seg_status s;
    if (m->to != NULL && (s = open_producer(m, m->to, &m->producer, err)) != SEG_OK)
        return s;
    if ((s = take_over(q, err)) != SEG_OK || (s = look_at_ends(m, err)) != SEG_OK)
        return s;
    for (uint32_t p = 0; p < q->stream.partitions; p++)
        if ((s = finish(m, p, err)) != SEG_OK)
            return s;
    for (size_t i = 0; i < m->n;) {
        size_t n = next_chunk(m, &i, &partition, offsets);
        s = n > 0 ? move_chunk(m, partition, offsets, n, err) : SEG_OK;
        let_go(m);
        if (s != SEG_OK)
            return s;
    }
    return SEG_OK;
}

static seg_status move_letters(seg_dlq *q, const seg_position *at, size_t n, const char *to,
                               size_t *done, seg_error *err) {
    seg_status s = sg_dlq_enter(q, err);
    if (s != SEG_OK)
        return s;
    move *m = sg_calloc(1, sizeof *m);
    if (m == NULL || !sort_positions(m, at, n)) {
        s = sg_fail_nomem(err);
    } else {
        m->q = q;
        m->to = to;
        m->patience = sg_clock_after(q->client->command_timeout, q->client->command_timeout);
        s = run(m, err);
        if (q->consumer != NULL && (m->anew || fault_of(q->consumer) != SEG_OK))
            sg_dlq_stop_moving(q); /* the next call begins anew */
        sg_dlq_reread(q);
        seg_producer_close(m->producer);
        seg_stream_info_free(m->ends);
        *done = m->done;
    }
    if (m != NULL)
        sg_free(m->at);
    sg_free(m);
    sg_dlq_leave(q);
    return s;
}

static seg_status check(const seg_dlq *q, const seg_position *at, size_t n, size_t *done,
                        seg_error *err) {
    if (done != NULL)
        *done = 0;
    if (q == NULL || done == NULL || (at == NULL && n > 0))
        return sg_fail(err, SEG_EINVAL, "%s is NULL",
                       q == NULL      ? "the dead letters"
                       : done == NULL ? "done"
                                      : "at");
    return SEG_OK;
}

seg_status seg_dlq_replay(seg_dlq *q, const seg_position *at, size_t n, const char *to,
                          size_t *done, seg_error *err) {
    seg_status s = check(q, at, n, done, err);
    if (s != SEG_OK)
        return s;
    if (to == NULL)
        to = q->origin.name;
    if ((s = sg_name_check("stream", to, err)) != SEG_OK)
        return s;
    if (strcmp(to, q->stream.name) == 0)
        return sg_fail(
            err, SEG_EINVAL,
            "stream \"%s\" holds the dead letters themselves: replay them to another one", to);
    return move_letters(q, at, n, to, done, err);
}

seg_status seg_dlq_drop(seg_dlq *q, const seg_position *at, size_t n, size_t *done,
                        seg_error *err) {
    seg_status s = check(q, at, n, done, err);
    return s == SEG_OK ? move_letters(q, at, n, NULL, done, err) : s;
}
