/* A producer's loop side: batches to the server, and what becomes of them. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/producer.h"

/* The server forgets a producer after an hour (scripts/append.lua): begin anew well before. */
#define IDLE_MS  (30 * 60 * 1000)
#define RETRY_MS 100
/* Bytes that are sealed before others get their turn on this thread. */
#define SEAL_BYTES ((size_t)4 * 1024 * 1024)
/* Larger ones are not exact on the server. */
#define NUMBER_MAX ((UINT64_C(1) << 53) - 2)

/* ---- lanes (lock held) -------------------------------------------------------------------- */

/* What was numbered in the old generation and has no sure outcome cannot be sent under the new one:
 * it would be stored twice, if it is stored already. Forwarded ones have an identity: they can. */
void sg_lane_new_generation(sg_lane *lane) {
    lane->generation++;
    lane->next_seq = 1;
    lane->known_seq = 0;
    if (lane->n_flying > 0)
        lane->rewinding = true;
    for (sg_node *n = lane->ready.head.next, *next; n != &lane->ready.head; n = next) {
        sg_outbatch *b = SG_OF(n, sg_outbatch, node);
        next = n->next;
        if (b->unsure && !b->forwarding)
            sg_outbatch_fail(b, SEG_EUNKNOWN,
                             "a message before it was given up, so it could not be tried again");
    }
}

void sg_lane_give_up(sg_lane *lane, sg_outbatch *b, seg_status status, const char *text) {
    bool numbered = b->first_seq != 0 && b->generation == lane->generation;
    sg_outbatch_fail(b, status, text);
    if (numbered)
        sg_lane_new_generation(lane);
}

/* Back into ready, in order of creation: at most SG_FLIGHTS are ever out of place. */
static void requeue(sg_lane *lane, sg_outbatch *b) {
    sg_node *at = lane->ready.head.next;
    if (b->unsure && !b->forwarding && b->generation != lane->generation) {
        sg_outbatch_fail(b, SEG_EUNKNOWN,
                         "a message before it was given up, so it could not be tried again");
        return;
    }
    while (at != &lane->ready.head && SG_OF(at, sg_outbatch, node)->id < b->id)
        at = at->next;
    sg_list_insert_before(at, &b->node);
    if (lane->n_flying > 0)
        lane->rewinding = true;
}

static sg_outbatch *overdue(const sg_list *l, int64_t now) {
    sg_outbatch *b = sg_outbatch_mortal(l);
    return b != NULL && b->deadline <= now ? b : NULL;
}

/* A batch under way whose time is over has an unknown outcome; its request still counts as flying
 * until it is answered, or lost. */
static void expire(sg_lane *lane, int64_t now) {
    sg_outbatch *b;
    if (lane->open != NULL && lane->open->deadline <= now)
        sg_lane_close_open(lane);
    while ((b = overdue(&lane->flying, now)) != NULL) {
        b->unsure = true;
        sg_lane_give_up(lane, b, SEG_EUNKNOWN,
                        "no answer of the server within the delivery timeout");
    }
    while ((b = overdue(&lane->ready, now)) != NULL) {
        if (lane->refusal.status != SEG_OK)
            sg_lane_give_up(lane, b, lane->refusal.status, lane->refusal.text);
        else
            sg_lane_give_up(lane, b, SEG_ETIMEDOUT, "the delivery timeout has passed");
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static void verdict(void *arg, const sg_result *r) {
    seg_producer *p = arg;
    sg_stream_answer a;
    seg_error err;
    sg_stream_get_read(r, &p->stream, &a);
    sg_mutex_lock(&p->lock);
    p->pending--;
    p->asking = false;
    /* A refusal that may pass says nothing of the stream: the next LOST asks again. */
    if (!a.lost && !p->gone && p->fault.status == SEG_OK && !seg_status_retriable(a.status)) {
        sg_stream_verdict(&a, &p->stream, &err);
        p->fault = err;
        sg_producer_fail_all(p, err.status, err.text);
    }
    sg_mutex_unlock(&p->lock);
    if (p->gone && p->pending == 0)
        sg_producer_free(p);
    else if (!p->gone)
        sg_loop_wake(&p->actor);
}

void sg_producer_verdict(seg_producer *p) {
    if (p->asking || atomic_load(&p->client->closed))
        return;
    p->asking = sg_stream_get_send(p->client->commands, &p->stream, verdict, p);
    if (p->asking)
        p->pending++;
}

/* It was not stored now; it may be later. */
static void not_now(seg_producer *p, sg_lane *lane, sg_outbatch *b, const seg_error *why) {
    lane->refusal = *why;
    requeue(lane, b);
    lane->not_before = sg_clock_ms() + sg_backoff_next(&lane->backoff, &p->client->rng);
    p->stats.retries++;
}

static void refused(seg_producer *p, sg_lane *lane, sg_outbatch *b, const sg_append_answer *a) {
    b->unsure = b->unsure || a->unsure;
    if (a->err.status != SEG_ECONN && a->err.status != SEG_EOOM) {
        seg_error err;
        sg_fail(&err, a->err.status, "partition %u of stream \"%s\": %s", lane->partition,
                p->stream.name, a->err.text);
        sg_lane_give_up(lane, b, err.status, err.text);
    } else
        not_now(p, lane, b, &a->err);
}

/* What fits goes now, the rest when there is room: the numbers of the messages stay the same. Those
 * of a forwarded batch have to be the lane's last, so its rest has none until it is sent. */
static bool split(sg_lane *lane, sg_outbatch *b, uint64_t room) {
    sg_outbatch *rest;
    if ((b->unsure && !b->forwarding) || room == 0 || room >= b->writer.count ||
        (rest = sg_outbatch_split(b, (uint32_t)room)) == NULL)
        return false;
    if (b->forwarding) {
        lane->next_seq = rest->first_seq;
        rest->first_seq = 0;
    }
    requeue(lane, b);
    sg_list_insert_before(b->node.next, &rest->node);
    return true;
}

static void full(seg_producer *p, sg_lane *lane, sg_outbatch *b, const sg_append_answer *a) {
    p->stats.full++;
    if (b->forwarding && !lane->full_told)
        sg_log_write(
            &p->client->log, SEG_LOG_WARN, "full",
            "partition %u of stream \"%s\": %s; what is forwarded to it, and the messages that it "
            "results from, wait: let somebody read it (dead letters: segmenter dlq replay or drop)",
            lane->partition, p->stream.name, a->err.text);
    lane->full_told = lane->full_told || b->forwarding;
    if (split(lane, b, a->room))
        lane->refusal = a->err;
    else if (p->stream.on_full == SEG_FAIL && !b->forwarding)
        sg_lane_give_up(lane, b, SEG_EFULL, a->err.text);
    else
        not_now(p, lane, b, &a->err);
}

static void gap(seg_producer *p, sg_lane *lane, sg_outbatch *b, const seg_error *err) {
    bool head = lane->ready.head.next == &lane->ready.head ||
                SG_OF(lane->ready.head.next, sg_outbatch, node)->id > b->id;
    if (b->generation != lane->generation || (lane->rewinding && !head)) {
        requeue(lane, b); /* one before it did not make it: both are sent again */
        return;
    }
    if (!lane->gap_told) {
        lane->gap_told = true;
        sg_lane_doubt(lane);
        requeue(lane, b);
        return;
    }
    sg_log_write(&p->client->log, SEG_LOG_ERROR, "lost", "stream %s, partition %u: %s",
                 p->stream.name, lane->partition, err->text);
    sg_lane_give_up(lane, b, SEG_ELOST, err->text);
}

static bool hold(sg_outbatch *b, seg_bytes list, sg_held how) {
    uint32_t message;
    bool any = false;
    while (sg_numbers_next(&list, &message))
        any = sg_outbatch_hold(b, message, how) || any;
    return any;
}

/* Nothing of it was stored: what is held leaves, the rest goes anew. It flies alone, so its numbers
 * are the lane's last and can be taken back, but where a copy may still come (producer.h). */
static void held(seg_producer *p, sg_lane *lane, sg_outbatch *b, const sg_append_answer *a) {
    bool dups = hold(b, a->dups, SG_HELD_STORED);
    bool fenced = hold(b, a->fenced, SG_HELD_FENCED);
    bool differs = hold(b, a->differs, SG_HELD_DIFFERS);
    if (!dups && !fenced && !differs) {
        sg_lane_give_up(
            lane, b, SEG_EPROTO,
            "the server says that it holds messages of a batch, but names none of them");
        return;
    }
    if (b->unsure)
        sg_lane_new_generation(lane);
    else
        lane->next_seq = b->first_seq;
    b->first_seq = 0;
    if (sg_outbatch_let_go(b)) {
        p->stats.retries++;
        requeue(lane, b);
    }
}

/* The server knows nothing of this producer (it forgets those that were idle for an hour, and a
 * full stream can make a forwarded batch wait for longer), or a generation that there never was.
 * What has an identity can begin anew. False: it has none, or stored messages are lost. */
static bool begin_anew(seg_producer *p, sg_lane *lane, sg_outbatch *b, const sg_append_answer *a) {
    uint64_t after = a->kind == SG_APPEND_STALE ? a->number : 0;
    if (!b->forwarding || after > NUMBER_MAX || (a->kind == SG_APPEND_GAP && a->number > 0))
        return false;
    sg_log_write(&p->client->log, SEG_LOG_WARN, "forgotten",
                 "stream %s, partition %u: the server does not know where this producer was (%s); "
                 "it begins anew with messages that cannot be stored twice",
                 p->stream.name, lane->partition, a->err.text);
    if (after > lane->generation)
        lane->generation = after;
    sg_lane_new_generation(lane);
    not_now(p, lane, b, &a->err);
    return true;
}

static void answered(seg_producer *p, sg_lane *lane, sg_outbatch *b, const sg_append_answer *a) {
    sg_list_remove(&b->node);
    if (a->lost) {
        b->unsure = true;
        p->stats.retries++;
        requeue(lane, b);
        return;
    }
    switch (a->kind) {
    case SG_APPEND_STORED:
        p->stats.duplicates += a->duplicate ? 1 : 0;
        b->offset = a->offset;
        b->era = lane->eras.n > 0 && a->offset != UINT64_MAX ? sg_eras_of(&lane->eras, a->offset)
                                                             : sg_lane_era(lane);
        sg_lane_knows(lane, b);
        lane->refusal.status = SEG_OK;
        lane->full_told = false;
        sg_backoff_reset(&lane->backoff);
        sg_outbatch_done(b, SEG_OK, NULL);
        break;
    case SG_APPEND_FULL:
        full(p, lane, b, a);
        break;
    case SG_APPEND_GAP:
        if (!begin_anew(p, lane, b, a))
            gap(p, lane, b, &a->err);
        break;
    case SG_APPEND_STALE:
        if (!begin_anew(p, lane, b, a))
            sg_lane_give_up(lane, b, a->err.status, a->err.text);
        break;
    case SG_APPEND_ERA:
        sg_lane_doubt(lane);
        requeue(lane, b);
        break;
    case SG_APPEND_HELD:
        held(p, lane, b, a);
        break;
    case SG_APPEND_UNKNOWN:
        sg_append_unknown(p->client->commands);
        b->unsure = b->unsure || a->unsure;
        p->stats.retries++;
        requeue(lane, b);
        break;
    case SG_APPEND_LOST:
        not_now(p, lane, b, &a->err);
        sg_producer_verdict(p);
        break;
    case SG_APPEND_REFUSED:
        refused(p, lane, b, a);
        break;
    default:
        sg_lane_give_up(lane, b, a->err.status, a->err.text);
    }
}

static void on_appended(void *arg, const sg_result *r) {
    sg_outbatch *b = arg;
    seg_producer *p = b->producer;
    sg_append_answer a;
    sg_append_read(r, false, &a);
    sg_mutex_lock(&p->lock);
    p->pending--;
    b->in_request = false;
    p->lanes[b->partition].n_flying--;
    if (!b->over)
        answered(p, &p->lanes[b->partition], b, &a);
    else if (b->disposed) /* its time was over, or its producer was closed */
        sg_outbatch_dispose(b);
    else
        sg_outbatch_drop_bytes(b);
    sg_mutex_unlock(&p->lock);
    if (p->gone && p->pending == 0)
        sg_producer_free(p);
    else if (!p->gone)
        sg_loop_wake(&p->actor);
}

/* ---- sending (lock held) ------------------------------------------------------------------ */

static sg_forward_of *identities(const sg_outbatch *b) {
    sg_forward_of *all = sg_calloc(b->writer.count, sizeof *all);
    for (uint32_t i = 0; all != NULL && i < b->writer.count; i++) {
        const sg_forward_slot *f = &b->forwards[i];
        all[i] = (sg_forward_of){.input = f->id.input,
                                 .epoch = f->id.epoch,
                                 .base = f->id.base,
                                 .offset = f->id.offset,
                                 .index = f->id.index,
                                 .crc = f->crc};
    }
    return all;
}

/* The command itself. False: not connected, or no memory. */
static bool send_append(seg_producer *p, sg_append *a, sg_outbatch *b) {
    sg_forward_of *all = NULL;
    if (b->forwarding && (all = identities(b)) == NULL)
        return false;
    a->forwards = all;
    bool sent = sg_append_send(p->client->commands, a, on_appended, b);
    sg_free(all);
    return sent;
}

/* Checksum and compression. Those who send do not wait for it: the lock is given up meanwhile. What is in
 * ready is nobody's but this thread's. */
static void seal(seg_producer *p, sg_outbatch *b) {
    sg_mutex_unlock(&p->lock);
    sg_batch_pack(&b->writer, p->stream.seed, p->codec, &p->client->codecs);
    sg_mutex_lock(&p->lock);
    b->sealed = true;
    p->sealed += b->writer.buf.len;
}

static bool send_batch(seg_producer *p, sg_lane *lane, sg_outbatch *b, int64_t now) {
    if (lane->next_seq > 1 && lane->n_flying == 0 && b->first_seq == 0 &&
        now - lane->used > IDLE_MS)
        sg_lane_new_generation(lane);
    bool fresh = b->first_seq == 0 || b->generation != lane->generation;
    uint64_t seq = fresh ? lane->next_seq : b->first_seq;
    seg_bytes bytes = sg_batch_bytes(&b->writer);
    sg_append a = {.stream = &p->stream,
                   .partition = lane->partition,
                   .producer = p->id,
                   .era = sg_lane_era(lane),
                   .generation = lane->generation,
                   .first_seq = seq,
                   .count = b->writer.count,
                   .batch = bytes.data,
                   .batch_len = bytes.len};
    if (!send_append(p, &a, b))
        return false;
    if (fresh)
        lane->next_seq = seq + b->writer.count;
    b->generation = lane->generation;
    b->first_seq = seq;
    lane->used = now;
    lane->n_flying++;
    p->pending++;
    b->in_request = true;
    p->stats.batches++;
    p->stats.batch_bytes += bytes.len;
    sg_list_remove(&b->node);
    sg_list_push(&lane->flying, &b->node);
    return true;
}

/* What is next to send: a batch that is ready, or the open one where nothing is under way that it
 * could gather behind. NULL: nothing; `*due` is then when the open one has lingered enough. */
static sg_outbatch *next_batch(seg_producer *p, sg_lane *lane, int64_t now, int64_t *due) {
    sg_outbatch *b = lane->open;
    if (!sg_list_empty(&lane->ready))
        return SG_OF(sg_list_first(&lane->ready), sg_outbatch, node);
    if (b == NULL || lane->n_flying > 0)
        return NULL;
    int64_t enough = sg_clock_after(b->created, p->linger);
    if (now < enough) {
        *due = enough < *due ? enough : *due;
        return NULL;
    }
    sg_lane_close_open(lane);
    return b;
}

/* A forwarded batch flies alone: its numbers may have to be taken back. */
static bool may_fly(const sg_lane *lane, const sg_outbatch *b) {
    const sg_node *first = sg_list_first(&lane->flying);
    return lane->n_flying == 0 ||
           (!b->forwarding &&
            (first == NULL || !SG_OF(first, const sg_outbatch, node)->forwarding));
}

static int64_t earliest_deadline(const sg_lane *lane, int64_t due) {
    const sg_outbatch *soon[] = {sg_outbatch_mortal(&lane->flying),
                                 sg_outbatch_mortal(&lane->ready), lane->open};
    for (size_t i = 0; i < sizeof soon / sizeof *soon; i++)
        if (soon[i] != NULL && soon[i]->deadline < due)
            due = soon[i]->deadline;
    return due;
}

/* Returns when the lane wants to be looked at again. */
static int64_t serve(seg_producer *p, sg_lane *lane, int64_t now) {
    int64_t due = INT64_MAX;
    expire(lane, now);
    if (lane->n_flying == 0)
        lane->rewinding = false;
    if (lane->rewinding)
        return earliest_deadline(lane, due);
    if (now < lane->not_before)
        return earliest_deadline(lane, lane->not_before);
    if (lane->doubtful)
        return earliest_deadline(lane, sg_lane_probe(lane, now));
    /* After a refusal one feels its way: those behind it would only be gaps. */
    uint32_t most = lane->refusal.status != SEG_OK ? 1 : SG_FLIGHTS;
    while (lane->n_flying < most) {
        sg_outbatch *b = next_batch(p, lane, now, &due);
        if (b == NULL || !may_fly(lane, b))
            break;
        if (!b->sealed && p->sealed >= SEAL_BYTES)
            return now;
        if (!b->sealed)
            seal(p, b);
        if (!send_batch(p, lane, b, now)) /* not connected, or no memory */
            return earliest_deadline(lane, now + RETRY_MS);
    }
    return earliest_deadline(lane, due);
}

static int64_t serve_all(seg_producer *p, int64_t now) {
    int64_t due = INT64_MAX;
    for (sg_node *n = p->busy.head.next, *next; n != &p->busy.head; n = next) {
        sg_lane *lane = SG_OF(n, sg_lane, busy);
        next = n->next;
        int64_t d = serve(p, lane, now);
        if (d < due)
            due = d;
        if (lane->open == NULL && lane->n_flying == 0 && sg_list_empty(&lane->ready) &&
            !lane->doubtful)
            sg_list_remove(&lane->busy);
    }
    return due;
}

int64_t sg_producer_run(void *arg, int64_t now) {
    seg_producer *p = arg;
    int64_t due = INT64_MAX;
    p->sealed = 0;
    sg_mutex_lock(&p->lock);
    if (atomic_load(&p->client->closed) && p->fault.status == SEG_OK)
        sg_fail(&p->fault, SEG_ECLOSED, "the client is closed");
    if (p->fault.status != SEG_OK) {
        /* Also what has come back since, from under way. */
        sg_producer_fail_all(p, p->fault.status, p->fault.text);
    } else {
        sg_producer_doubt(p);
        due = serve_all(p, now);
    }
    sg_mutex_unlock(&p->lock);
    return due;
}
