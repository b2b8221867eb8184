/* A consumer's loop side: the cursors of its partitions: begun, compared, committed. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/consumer.h"

#define RETRY_MS 100

sg_errand *sg_errand_new(seg_consumer *c, uint32_t partition, uint64_t epoch, uint64_t number) {
    sg_errand *e = sg_alloc(sizeof *e);
    if (e != NULL)
        *e = (sg_errand){c, partition, epoch, number, {0, 0}};
    return e;
}

bool sg_consumer_enter(seg_consumer *c) {
    c->pending--;
    if (c->gone) {
        if (c->pending == 0)
            sg_consumer_unref(c);
        return false;
    }
    sg_mutex_lock(&c->lock);
    return true;
}

void sg_consumer_leave(seg_consumer *c) {
    sg_consumer_signal(c);
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
bool sg_consumer_may_pass(seg_consumer *c, const seg_error *err) {
    if (err->status == SEG_ECONN || err->status == SEG_EOOM || err->status == SEG_ENOMEM)
        return true;
    sg_consumer_fail(c, err);
    return false;
}

/* An errand that has come back. */
typedef struct visit {
    sg_errand errand;
    sg_cursor_answer answer;
    sg_holding *holding; /* no more busy; NULL where it is gone, or the connection was lost */
} visit;

/* First in a result function: takes the lock; frees the errand. False where the consumer is
 * gone. A holding whose answer was lost is simply served again. */
static bool arrive(visit *v, void *arg, const sg_result *r) {
    v->errand = *(sg_errand *)arg;
    sg_free(arg);
    sg_cursor_read_answer(r, &v->answer);
    if (!sg_consumer_enter(v->errand.consumer))
        return false;
    v->holding = sg_consumer_holding(v->errand.consumer, v->errand.partition, v->errand.epoch);
    if (v->holding != NULL) {
        v->holding->busy = false;
        sg_consumer_todo(v->errand.consumer, v->holding);
    }
    if (v->answer.lost)
        v->holding = NULL;
    return true;
}

/* Neither done nor an answer of its own: a part of the stream is missing, or the server refused. */
static void not_done(seg_consumer *c, sg_holding *h, const sg_cursor_answer *a) {
    seg_error err;
    sg_fail(&err, a->err.status, "partition %u: %s", h->partition, a->err.text);
    if (a->kind == SG_CURSOR_LOST)
        sg_consumer_verdict(c);
    else if (!sg_consumer_may_pass(c, &err))
        return;
    h->not_before = sg_clock_ms() + sg_backoff_next(&h->backoff, &c->client->rng);
}

/* ---- acquire ------------------------------------------------------------------------------ */

static void begin_holding(seg_consumer *c, sg_holding *h, sg_cursor_answer *a) {
    seg_error err;
    const char *damaged;
    uint64_t missed;
    if (a->committed > a->next) {
        sg_fail(&err, SEG_ELOST,
                "the server lost messages of partition %u: its log ends before offset %llu, "
                "group \"%s\" has acknowledged up to %llu; move it (segmenter group seek)",
                h->partition, (unsigned long long)a->next, c->group.name,
                (unsigned long long)a->committed);
        sg_consumer_fail(c, &err);
        return;
    }
    sg_eras eras = {NULL, 0};
    if (!sg_cursor_take_eras(a, &eras)) {
        not_done(c, h, a);
        return;
    }
    sg_place at = {.eras = &eras,
                   .committed = a->committed,
                   .first = a->first,
                   .since = a->since,
                   .high =
                       a->high < a->next ? a->high : a->next, /* it is announced ahead of the log */
                   .clean = a->clean,
                   .acks = a->acks,
                   .tries = a->tries,
                   .note = a->note};
    if (!sg_holding_begin(h, &at, c->max_in_flight, sg_clock_wall_ms(), &missed, &damaged)) {
        if (damaged != NULL) {
            sg_fail(&err, SEG_EPROTO,
                    "the cursor of partition %u is damaged: its %s cannot be read", h->partition,
                    damaged);
            sg_consumer_fail(c, &err);
        }
        sg_eras_fini(&eras);
        sg_holding_reset(h);
        h->not_before = sg_clock_ms() + RETRY_MS;
        return;
    }
    sg_consumer_carry(c, h);
    h->suspicious = h->suspicious && c->isolate_at > 0;
    c->suspicious = c->suspicious || h->suspicious;
    if (missed > 0)
        sg_consumer_overtaken(c, h, a->committed, missed);
    sg_consumer_notice(c, h->partition);
}

static void on_acquired(void *arg, const sg_result *r) {
    visit v;
    if (!arrive(&v, arg, r))
        return;
    seg_consumer *c = v.errand.consumer;
    if (v.holding == NULL) {
        /* gone meanwhile */
    } else if (v.answer.kind == SG_CURSOR_OK) {
        if (v.holding->state == SG_ACQUIRING)
            begin_holding(c, v.holding, &v.answer);
    } else if (v.answer.kind == SG_CURSOR_FENCED) {
        sg_member_stale(c->member, v.errand.partition, v.errand.epoch, v.answer.number);
        sg_consumer_drop(c, v.holding, false);
    } else {
        not_done(c, v.holding, &v.answer);
    }
    sg_consumer_leave(c);
}

void sg_consumer_acquire(seg_consumer *c, sg_holding *h) {
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

/* What was known of a partition when the server was asked. */
typedef struct known {
    uint32_t partition;
    uint64_t era, end;      /* read up to there, the last of that era */
    uint64_t stored, since; /* committed up to there, since that seek */
} known;

/* Tell what of it is gone; false: nothing. `messages`: some of those that were read. */
static bool tell_lost(seg_consumer *c, const known *k, const sg_eras *before,
                      const sg_cursor_answer *a, const sg_eras *eras, bool *messages) {
    uint64_t first = k->end, stored = k->stored;
    *messages = sg_eras_lost(eras, before, k->era, k->end, a->next, &first);
    if (*messages)
        sg_consumer_loss(c, &(seg_loss){SEG_LOST_MESSAGES, k->partition, k->era, first, k->end});
    stored = *messages && stored > first ? first : stored; /* of what is there still */
    bool acks = a->committed < stored && a->since == k->since;
    if (acks)
        sg_consumer_loss(c, &(seg_loss){SEG_LOST_ACKS, k->partition, k->era, a->committed, stored});
    return *messages || acks;
}

/* ---- loss -------------------------------------------------------------------------------- */

static void on_raised(void *arg, const sg_result *r) {
    sg_errand e = *(sg_errand *)arg;
    (void)r; /* if it was lost, whoever else knows of it, or appends next, has the era raised */
    sg_free(arg);
    if (sg_consumer_enter(e.consumer))
        sg_consumer_leave(e.consumer);
}

/* The log has not begun a new era since: make it, before what is lost has its offsets taken. */
static void have_raised(seg_consumer *c, const sg_holding *h) {
    sg_append probe = {.stream = &c->stream,
                       .partition = h->partition,
                       .producer = "loss",
                       .era = h->era,
                       .known = h->fetch_at};
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, 0);
    if (e != NULL && sg_append_send(c->client->commands, &probe, on_raised, e))
        c->pending++;
    else
        sg_free(e);
}

/* What we hold of it is of a log, or of a cursor, that is no more. The partition is given back and
 * comes again, to us or another, under a new epoch: so nothing that is still in hand can be taken for
 * what has its offset now. */
static void lose(seg_consumer *c, sg_holding *h) {
    h->verified = true;
    sg_member_released(c->member, h->partition, h->epoch);
    sg_consumer_drop(c, h, true);
}

/* A partition that was lost together with the connection: others go on with it, but only we can tell
 * that something of what we had is gone. */
typedef struct parting {
    sg_node node; /* in the consumer's while it is not asked about */
    seg_consumer *consumer;
    known known;
    sg_eras eras;
    int64_t not_before;
} parting;

static void free_parting(parting *was) {
    sg_eras_fini(&was->eras);
    sg_free(was);
}

/* No answer, or one that may pass: asked again. A server that has just come back may go again. */
static void on_parted(void *arg, const sg_result *r) {
    parting *was = arg;
    seg_consumer *c = was->consumer;
    sg_eras eras = {NULL, 0};
    sg_cursor_answer a;
    bool messages;
    sg_cursor_read_answer(r, &a);
    if (!sg_consumer_enter(c)) {
        free_parting(was);
        return;
    }
    if (!a.lost && a.kind == SG_CURSOR_OK && sg_cursor_take_eras(&a, &eras)) {
        tell_lost(c, &was->known, &was->eras, &a, &eras, &messages);
        sg_eras_fini(&eras);
        free_parting(was);
    } else if (a.lost || (a.kind == SG_CURSOR_REFUSED && seg_status_retriable(a.err.status))) {
        was->not_before = a.lost ? 0 : sg_clock_ms() + RETRY_MS;
        sg_list_push(&c->partings, &was->node);
    } else {
        free_parting(was);
    }
    sg_consumer_leave(c);
}

void sg_consumer_part(seg_consumer *c, sg_holding *h) {
    parting *was = sg_calloc(1, sizeof *was);
    if (was == NULL)
        return;
    *was = (parting){.consumer = c,
                     .known = {h->partition, h->era, h->fetch_at, h->stored_offset, h->since},
                     .eras = h->eras};
    h->eras = (sg_eras){NULL, 0};
    sg_list_push(&c->partings, &was->node);
    sg_loop_wake(&c->actor);
}

int64_t sg_consumer_ask_parted(seg_consumer *c, int64_t now) {
    int64_t due = INT64_MAX;
    if (!sg_conn_up(c->client->commands))
        return due;
    for (sg_node *n = c->partings.head.next, *next; n != &c->partings.head; n = next) {
        parting *was = SG_OF(n, parting, node);
        next = n->next;
        int64_t at = was->not_before;
        if (now >= at && sg_cursor_read_send(c->client->commands, &c->stream, c->group.name,
                                             was->known.partition, on_parted, was)) {
            c->pending++;
            sg_list_remove(&was->node);
            continue;
        }
        at = now >= at ? now + RETRY_MS : at;
        due = at < due ? at : due;
    }
    return due;
}

void sg_consumer_free_parted(seg_consumer *c) {
    for (sg_node *n; (n = sg_list_pop(&c->partings)) != NULL;)
        free_parting(SG_OF(n, parting, node));
}

/* ---- verify ------------------------------------------------------------------------------ */

static bool is_ours(const seg_consumer *c, seg_bytes nonce) {
    return nonce.len == strlen(c->nonce) && memcmp(nonce.data, c->nonce, nonce.len) == 0;
}

/* A new connection may lead to another server, or to the same one with older data (a failover, a
 * restart from a snapshot). Before anything more is delivered of a partition, its log and cursor
 * there are compared with what we know: what we read and what was stored must still be so. Only what
 * was read before the question: an XREAD, on a connection of its own, may have brought more since
 * than there was when the question was answered. */
static void compare(seg_consumer *c, sg_holding *h, seg_id read, sg_cursor_answer *a) {
    sg_eras eras = {NULL, 0};
    if (!sg_cursor_take_eras(a, &eras)) {
        not_done(c, h, a);
        return;
    }
    known k = {h->partition, read.era, read.offset, h->stored_offset, h->since};
    bool messages, lost = tell_lost(c, &k, &h->eras, a, &eras, &messages);
    if (!lost && !sg_eras_follow(&h->eras, &eras)) {
        sg_eras_fini(&eras);
        h->not_before = sg_clock_ms() + RETRY_MS;
        return;
    }
    sg_eras_fini(&eras);
    if (messages)
        have_raised(c, h);
    if (lost || a->epoch < h->epoch) { /* at least it has lost that we began */
        lose(c, h);
    } else if (a->epoch > h->epoch || (a->epoch == h->epoch && !is_ours(c, a->owner))) {
        /* Before the offsets: it may have been moved back, which is no loss. A server that lost our
         * acquire may have given the epoch to another. */
        lost_ownership(c, h);
    } else {
        h->verified = true;
        if (a->clean || a->high < h->announced) { /* announced, but to another server, it seems */
            h->announced = a->clean ? a->committed : a->high;
            h->touched++;
        }
    }
}

static void on_verified(void *arg, const sg_result *r) {
    visit v;
    if (!arrive(&v, arg, r))
        return;
    seg_consumer *c = v.errand.consumer;
    /* An answer of an earlier connection proves nothing of this one. */
    if (v.holding != NULL && v.errand.number == c->life) {
        if (v.answer.kind == SG_CURSOR_OK)
            compare(c, v.holding, v.errand.known, &v.answer);
        else
            not_done(c, v.holding, &v.answer);
    }
    sg_consumer_changed(c);
    sg_consumer_leave(c);
}

void sg_consumer_verify(seg_consumer *c, sg_holding *h) {
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, c->life);
    if (e != NULL)
        e->known = (seg_id){h->era, h->fetch_at};
    if (e == NULL || !sg_cursor_read_send(c->client->commands, &c->stream, c->group.name,
                                          h->partition, on_verified, e)) {
        sg_free(e);
        return;
    }
    c->pending++;
    h->busy = true;
}

/* ---- commit ------------------------------------------------------------------------------- */

static void on_committed(void *arg, const sg_result *r) {
    visit v;
    if (!arrive(&v, arg, r))
        return;
    seg_consumer *c = v.errand.consumer;
    sg_holding *h = v.holding;
    c->stats.commits += !v.answer.lost && v.answer.kind == SG_CURSOR_OK ? 1 : 0;
    if (h == NULL) {
        /* gone meanwhile */
    } else if (v.answer.kind == SG_CURSOR_OK) {
        h->stored_version = h->sending_version;
        h->stored_offset = h->sending_offset;
        h->stored_ack = h->sending_ack;
        h->final_stored = h->sending_final;
        sg_holding_announced(h);
        sg_backoff_reset(&h->backoff);
    } else if (v.answer.kind == SG_CURSOR_FENCED || v.answer.kind == SG_CURSOR_OLD) {
        /* OLD: the cursor is past what we hold. Whoever did that, we are not its owner. */
        lost_ownership(c, h);
    } else if (v.answer.kind == SG_CURSOR_AHEAD) {
        sg_consumer_loss(
            c, &(seg_loss){SEG_LOST_MESSAGES, h->partition, h->era, v.answer.number, h->fetch_at});
        have_raised(c, h);
        lose(c, h);
    } else {
        not_done(c, h, &v.answer);
    }
    sg_consumer_changed(c);
    sg_consumer_leave(c);
}

static bool say(const sg_holding *h, bool final, sg_buf *acks, sg_buf *tries) {
    return sg_window_map(h->window, acks) &&
           (final ? sg_window_tries_final(h->window, sg_clock_wall_ms(), tries)
                  : sg_window_tries(h->window, tries));
}

void sg_consumer_store(seg_consumer *c, sg_holding *h, bool final) {
    sg_buf acks, tries;
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, 0);
    sg_buf_init(&acks, SIZE_MAX);
    sg_buf_init(&tries, SIZE_MAX);
    h->sending_version = sg_holding_version(h);
    h->sending_ack = h->last_ack;
    h->sending_offset = sg_window_committed(h->window);
    h->sending_high = sg_holding_high(h);
    h->sending_final = final;
    sg_commit commit = {.stream = &c->stream,
                        .group = &c->group,
                        .partition = h->partition,
                        .epoch = h->epoch,
                        .seq = h->commit_seq + 1,
                        .committed = h->sending_offset,
                        .high = h->sending_high,
                        .clean = final,
                        .note = {h->note, h->note_len},
                        .nonce = c->nonce};
    if (e != NULL && say(h, final, &acks, &tries)) {
        commit.acks = (seg_bytes){acks.data, acks.len};
        commit.tries = (seg_bytes){tries.data, tries.len};
        if (sg_cursor_commit_send(c->client->commands, &commit, on_committed, e)) {
            c->pending++;
            h->commit_seq++;
            h->busy = true;
            e = NULL;
        }
    }
    sg_free(e);
    sg_buf_fini(&acks);
    sg_buf_fini(&tries);
}
