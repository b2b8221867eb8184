#include "engine/letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/consumer.h"

#define RETRY_MS    100
#define MESSAGE_MAX ((size_t)64 * 1024 * 1024)
/* Of its own headers: names and numbers, the names of stream and group, an error. */
#define LETTER_BYTES 2048

const char *const sg_letter_names[SG_LETTER_COUNT] = {
#define X(name, text) text,
    SG_LETTER_HEADERS(X)
#undef X
};

bool sg_dlq_name(char out[201], const char *stream, const char *group) {
    int n = snprintf(out, 201, "%s.%s.dlq", stream, group);
    return n > 0 && n <= 200;
}

void sg_letters_init(sg_letters *l) {
    sg_list_init(&l->queue);
    sg_backoff_init(&l->backoff, RETRY_MS, 5000);
}

void sg_letter_free(sg_letter *l) {
    if (l == NULL)
        return;
    sg_block_unref(l->block);
    sg_free(l->error);
    sg_free(l);
}

/* ---- burying (lock held) ------------------------------------------------------------------ */

static sg_letter *letter_new(seg_consumer *c, sg_holding *h, uint64_t offset, const char *why) {
    sg_block *b = sg_holding_block(h, offset);
    sg_letter *l = b != NULL ? sg_calloc(1, sizeof *l) : NULL;
    if (l == NULL)
        return NULL;
    sg_block_ref(b);
    l->block = b;
    l->consumer = c;
    l->partition = h->partition;
    l->era = sg_eras_of(&h->eras, offset);
    l->offset = offset;
    l->why = why;
    sg_consumer_identify(c, h, offset, "d.", &l->id);
    /* Stored by an owner who died then, it has other times and attempts, but it is there. */
    l->id.unchecked = true;
    if (!sg_map_put(&h->letters, offset, l)) {
        sg_letter_free(l);
        return NULL;
    }
    return l;
}

/* Out of where it is, so that it comes to nobody any more. */
static void withdraw(sg_holding *h, uint64_t offset, int64_t wall) {
    if (sg_lanes_remove(h->lanes, offset)) {
        sg_window_unmark(h->window, offset);
        return;
    }
    if (sg_window_waits(h->window, offset) || sg_holding_bury(h, offset, wall))
        return;
    /* A suspect that was never delivered here: from now on it waits. */
    if (sg_window_mark(h->window, offset, false))
        sg_window_unmark(h->window, offset);
}

bool sg_consumer_bury(seg_consumer *c, sg_holding *h, uint64_t offset, const char *why) {
    int64_t wall = sg_clock_wall_ms();
    sg_letter *l = letter_new(c, h, offset, why);
    if (l == NULL)
        return false;
    withdraw(h, offset, wall);
    sg_failures f = sg_window_failures(h->window, offset);
    l->attempts = f.count > 0 ? f.count : 1;
    l->first = f.first != 0 ? f.first : wall;
    l->last = f.last != 0 ? f.last : wall;
    l->error = sg_map_remove(&h->reasons, offset);
    l->number = ++c->letters.born;
    sg_consumer_close_outputs(h, offset);
    sg_list_push(&c->letters.queue, &l->node);
    c->letters.count++;
    sg_consumer_todo(c, h);
    sg_loop_wake(&c->actor);
    return true;
}

/* ---- the stream of the dead letters ------------------------------------------------------- */

/* It is created when first needed, by a thread of its own, since that waits for the server. */
static seg_status open_producer(seg_consumer *c, seg_producer **out, seg_error *err) {
    char name[201];
    seg_stream_options so;
    seg_producer_options po;
    sg_stream s = {.partitions = 0};
    sg_group g = {.name = SG_DLQ_GROUP};
    seg_status status;
    if (!sg_dlq_name(name, c->stream.name, c->group.name))
        return sg_fail(err, SEG_EINVAL, "its name would be longer than 200 characters");
    SEG_INIT(&so);
    so.partitions = 1;
    so.max_messages = SG_DLQ_MESSAGES;
    so.accept_existing = true;
    SEG_INIT(&po);
    po.max_message = MESSAGE_MAX;
    if ((status = seg_stream_create(c->client, name, &so, err)) != SEG_OK ||
        (status = sg_stream_name(&s, c->client, name, err)) != SEG_OK ||
        (status = sg_stream_find(c->client, &s, false, err)) != SEG_OK ||
        (status = sg_group_find(c->client, &s, &g, (sg_start_at){SEG_EARLIEST, 0}, err)) != SEG_OK)
        return status;
    status = seg_producer_open(out, c->client, name, &po, err);
    if (status == SEG_OK) /* the largest message, and what makes it a letter */
        sg_producer_widen(*out, LETTER_BYTES, SG_LETTER_COUNT);
    return status;
}

static void tell_fault(seg_consumer *c, const char *what, const seg_error *err) {
    if (!c->letters.told)
        sg_log_write(&c->client->log, SEG_LOG_WARN, "dead-letters",
                     "group %s on %s: the dead letters cannot be %s, and their messages wait: %s",
                     c->group.name, c->stream.name, what, err->text);
    c->letters.told = true;
}

static void *opener(void *arg) {
    seg_consumer *c = arg;
    seg_producer *p = NULL;
    seg_error err;
    sg_mutex_lock(&c->lock);
    seg_producer *stale = c->letters.stale;
    c->letters.stale = NULL;
    sg_mutex_unlock(&c->lock);
    seg_producer_close(stale);
    seg_status s = open_producer(c, &p, &err);
    sg_mutex_lock(&c->lock);
    c->letters.producer = p;
    c->letters.state = s == SEG_OK ? SG_LETTERS_OPEN : SG_LETTERS_NONE;
    c->letters.not_before = 0;
    if (s != SEG_OK) {
        tell_fault(c, "opened", &err);
        c->letters.not_before = sg_clock_ms() + sg_backoff_next(&c->letters.backoff, &c->rng);
    }
    sg_loop_wake(&c->actor);
    sg_mutex_unlock(&c->lock);
    return NULL;
}

/* Lock held. */
static void start_opening(seg_consumer *c, int64_t now) {
    sg_letters *l = &c->letters;
    if (l->threaded)
        pthread_join(l->thread, NULL); /* it has ended, or is just about to */
    l->threaded = sg_thread_start(&l->thread, "seg-letters", opener, c);
    l->state = l->threaded ? SG_LETTERS_OPENING : SG_LETTERS_NONE;
    l->not_before = now + RETRY_MS;
}

/* ---- sending ------------------------------------------------------------------------------ */

/* Lock held. The producer is over: another one, on a stream that is made anew where it is gone. */
static void reopen(seg_consumer *c, seg_status why) {
    sg_letters *l = &c->letters;
    if (l->state != SG_LETTERS_OPEN || l->stale != NULL ||
        (why != SEG_ENOENT && why != SEG_ELOST && why != SEG_ECLOSED))
        return;
    l->stale = l->producer;
    l->producer = NULL;
    l->state = SG_LETTERS_NONE;
}

/* Lock held. */
static void try_again(seg_consumer *c, sg_letter *letter, const seg_error *err) {
    sg_letters *l = &c->letters;
    if (err->status != SEG_EFULL)
        tell_fault(c, "stored", err);
    reopen(c, err->status);
    sg_node *at = l->queue.head.next;
    while (at != &l->queue.head && (SG_OF(at, sg_letter, node)->number < letter->number ||
                                    err->status == SEG_EINVAL)) /* not in the others' way */
        at = at->next;
    sg_list_insert_before(at, &letter->node);
    l->not_before = sg_clock_ms() + sg_backoff_next(&l->backoff, &c->rng);
}

/* The outcome, on the loop thread. The producer's lock is held: it comes before the consumer's. */
static void on_buried(void *arg, seg_status status, const seg_error *err) {
    sg_letter *letter = arg;
    seg_consumer *c = letter->consumer;
    sg_mutex_lock(&c->lock);
    sg_holding *h = sg_consumer_holding(c, letter->partition, letter->id.epoch);
    if (status != SEG_OK && status != SEG_EFENCED && h != NULL) {
        try_again(c, letter, err);
    } else {
        /* Fenced, or given up: it is the next owner's, to whom its message comes again. */
        if (status == SEG_OK) {
            c->stats.dead_lettered++;
            c->letters.told = false;
            sg_backoff_reset(&c->letters.backoff);
        }
        if (h != NULL) {
            sg_map_remove(&h->letters, letter->offset);
            if (status == SEG_OK)
                sg_consumer_settled(c, h, letter->offset);
        }
        c->letters.count--;
        sg_letter_free(letter);
    }
    if (!c->detached)
        sg_loop_wake(&c->actor);
    sg_mutex_unlock(&c->lock);
    sg_consumer_unref(c);
}

typedef struct headers {
    seg_bytes *pairs;
    size_t n;
    char text[SG_LETTER_COUNT][24];
} headers;

static void add(headers *a, sg_letter_header which, const char *value) {
    a->pairs[a->n++] = (seg_bytes){sg_letter_names[which], strlen(sg_letter_names[which])};
    a->pairs[a->n++] = (seg_bytes){value, strlen(value)};
}

static void add_number(headers *a, sg_letter_header which, int64_t value) {
    snprintf(a->text[which], sizeof a->text[which], "%" PRId64, value);
    add(a, which, a->text[which]);
}

/* The message's own headers, then ours. */
static bool make_headers(const sg_letter *l, const sg_record_view *v, headers *a) {
    const seg_consumer *c = l->consumer;
    seg_bytes rest = v->headers, name, value;
    a->n = 0;
    a->pairs = sg_calloc(2 * ((size_t)v->n_headers + SG_LETTER_COUNT), sizeof *a->pairs);
    if (a->pairs == NULL)
        return false;
    while (sg_header_next(&rest, &name, &value)) {
        a->pairs[a->n++] = name;
        a->pairs[a->n++] = value;
    }
    add(a, SG_LETTER_STREAM, c->stream.name);
    add_number(a, SG_LETTER_PARTITION, l->partition);
    add_number(a, SG_LETTER_ERA, (int64_t)l->era);
    add_number(a, SG_LETTER_OFFSET, (int64_t)l->offset);
    add(a, SG_LETTER_GROUP, c->group.name);
    add_number(a, SG_LETTER_ATTEMPTS, l->attempts);
    add(a, SG_LETTER_REASON, l->why);
    add(a, SG_LETTER_ERROR, l->error != NULL ? l->error : "");
    add_number(a, SG_LETTER_FIRST, l->first);
    add_number(a, SG_LETTER_LAST, l->last);
    return true;
}

static seg_status send(seg_producer *p, sg_letter *l, seg_error *err) {
    sg_record_view v;
    headers a;
    sg_block_record(l->block, l->offset, &v);
    if (!make_headers(l, &v, &a))
        return sg_fail_nomem(err);
    seg_record r = {.size = sizeof r,
                    .key = v.key,
                    .value = v.value,
                    .headers = a.pairs,
                    .n_headers = a.n / 2,
                    .timestamp = v.timestamp > 0 ? v.timestamp : 1}; /* 0 would be now */
    seg_status s = sg_producer_forward(p, &r, &l->id, false, on_buried, l, err);
    sg_free(a.pairs);
    return s;
}

int64_t sg_letters_run(seg_consumer *c, int64_t now) {
    sg_letters *l = &c->letters;
    int64_t due = INT64_MAX;
    sg_mutex_lock(&c->lock);
    while (!sg_list_empty(&l->queue) && !c->detached && c->fault.status == SEG_OK) {
        if (now < l->not_before && l->state != SG_LETTERS_OPENING) {
            due = l->not_before;
            break;
        }
        if (l->state == SG_LETTERS_NONE && c->closing && l->told)
            break; /* it cannot be had now, and nobody waits for it any longer */
        if (l->state == SG_LETTERS_NONE)
            start_opening(c, now);
        if (l->state == SG_LETTERS_NONE)
            due = l->not_before; /* no thread to be had */
        if (l->state != SG_LETTERS_OPEN)
            break; /* its thread wakes us */
        sg_letter *letter = SG_OF(sg_list_pop(&l->queue), sg_letter, node);
        seg_producer *p = l->producer;
        atomic_fetch_add(&c->references, 1);
        sg_mutex_unlock(&c->lock); /* the producer's lock comes first */
        seg_error err;
        seg_status s = send(p, letter, &err);
        sg_mutex_lock(&c->lock);
        if (s != SEG_OK) {
            sg_consumer_unref(c); /* never the last: the caller has one */
            try_again(c, letter, &err);
        }
    }
    sg_mutex_unlock(&c->lock);
    return due;
}

void sg_letters_close(seg_consumer *c) {
    sg_letters *l = &c->letters;
    if (l->threaded)
        pthread_join(l->thread, NULL);
    l->threaded = false;
    seg_producer_close(l->producer); /* outcomes of what is under way come in here */
    seg_producer_close(l->stale);
    l->producer = l->stale = NULL;
}
