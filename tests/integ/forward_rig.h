/* forward_rig.h - what the tests of forwarded messages share: a book of what was forwarded or sent
 * and of the outcomes, against what the logs really hold; and another client with a producer. */
#ifndef SG_TEST_FORWARD_RIG_H
#define SG_TEST_FORWARD_RIG_H
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "engine/producer.h"
#include "producer_rig.h"

/* ---- What is sent, and what must be in the logs ---------------------------------------------- */

enum { KEYS = 8, NUMBERS = 4096, INDEXES = 3 };

struct book;

/* One call, and its outcome. */
typedef struct call {
    struct book *book;
    unsigned n, index;
    int told;
    seg_status status;
    seg_error err;
} call;

/* A message is (n, index), the index-th output of the input's offset n; its key follows from n.
 * Plain ones take numbers too, with index 0. */
typedef struct book {
    pthread_mutex_t lock; /* guards all below */
    call *calls[16384];
    size_t count, waiting;
    bool keyless;
    bool unordered; /* order in the logs is not looked at */

    unsigned last[KEYS]; /* the check's: the latest message of each key, plus one */
    unsigned found[NUMBERS][INDEXES];
} book;

/* Who forwards. */
typedef struct owner {
    const char *input;
    uint64_t epoch, base;
} owner;

static const owner first_owner = {"f.0123.0", 5, 0};

static inline book *book_new(void) {
    book *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

static inline void book_free(book *b) {
    for (size_t i = 0; i < b->count; i++)
        free(b->calls[i]);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static inline void tell(call *c, seg_status status, const seg_error *err) {
    pthread_mutex_lock(&c->book->lock);
    CHECK_EQ(err != NULL, status != SEG_OK);
    CHECK_EQ(++c->told, 1);
    c->status = status;
    if (err != NULL) {
        CHECK_STATUS(err->status, status, err);
        c->err = *err;
    }
    c->book->waiting--;
    pthread_mutex_unlock(&c->book->lock);
}

static inline void on_forwarded(void *arg, seg_status status, const seg_error *err) {
    tell(arg, status, err);
}

static inline void on_sent(seg_status status, const seg_position *where, const seg_error *err,
                           void *arg) {
    (void)where;
    tell(arg, status, err);
}

static inline call *note(book *b, unsigned n, unsigned index) {
    call *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    CHECK_LT(n, NUMBERS);
    CHECK_LT(index, INDEXES);
    *c = (call){.book = b, .n = n, .index = index};
    pthread_mutex_lock(&b->lock);
    CHECK_LT(b->count, sizeof b->calls / sizeof *b->calls);
    b->calls[b->count++] = c;
    b->waiting++;
    pthread_mutex_unlock(&b->lock);
    return c;
}

/* The call was refused: no outcome will come. */
static inline void unnote(call *c) {
    pthread_mutex_lock(&c->book->lock);
    CHECK_EQ(c->told, 0);
    CHECK_PTR(c->book->calls[--c->book->count], c);
    c->book->waiting--;
    pthread_mutex_unlock(&c->book->lock);
    free(c);
}

typedef struct text {
    char key[16], value[400];
} text;

static inline seg_record make(const book *b, unsigned n, unsigned index, text *t) {
    snprintf(t->key, sizeof t->key, "k%u", n % KEYS);
    snprintf(t->value, sizeof t->value, "%u %u %*s", n, index, (int)(n * 7 % 300), "");
    seg_record r = record_of(b->keyless ? "" : t->key, t->value);
    r.timestamp = 1000 + n;
    return r;
}

static inline seg_status try_forward(book *b, seg_producer *p, owner o, unsigned n, unsigned index,
                                     bool wait, seg_error *err) {
    text t;
    seg_record r = make(b, n, index, &t);
    sg_forward_id id = {.epoch = o.epoch, .base = o.base, .offset = n, .index = index};
    snprintf(id.input, sizeof id.input, "%s", o.input);
    call *c = note(b, n, index);
    seg_status s = sg_producer_forward(p, &r, &id, wait, on_forwarded, c, err);
    if (s != SEG_OK)
        unnote(c);
    return s;
}

static inline void forward(book *b, seg_producer *p, owner o, unsigned n, unsigned index) {
    seg_error err;
    CHECK_OK(try_forward(b, p, o, n, index, true, &err), &err);
}

static inline void forward_all(book *b, seg_producer *p, owner o, unsigned from, unsigned to) {
    for (unsigned n = from; n < to; n++)
        forward(b, p, o, n, 0);
}

static inline void send_plain(book *b, seg_producer *p, unsigned n) {
    text t;
    seg_error err;
    seg_record r = make(b, n, 0, &t);
    CHECK_OK(seg_send_async(p, &r, on_sent, note(b, n, 0), &err), &err);
}

static inline size_t waiting(book *b) {
    pthread_mutex_lock(&b->lock);
    size_t n = b->waiting;
    pthread_mutex_unlock(&b->lock);
    return n;
}

static inline size_t count(book *b, seg_status status) {
    size_t n = 0;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++)
        n += b->calls[i]->told > 0 && b->calls[i]->status == status;
    pthread_mutex_unlock(&b->lock);
    return n;
}

static inline seg_error last_error(book *b) {
    seg_error err = {.status = SEG_OK};
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++)
        if (b->calls[i]->told > 0 && b->calls[i]->status != SEG_OK)
            err = b->calls[i]->err;
    pthread_mutex_unlock(&b->lock);
    return err;
}

/* Send what lingers, run callbacks until every call has its outcome. */
static inline void settle(book *b, seg_producer *p) {
    seg_error err;
    CHECK_OK(seg_producer_flush(p, PATIENCE, &err), &err);
    CHECK_EQ(waiting(b), 0);
}

/* Close the open batches and let them go, whatever becomes of them. */
static inline void push(seg_producer *p) {
    seg_error err;
    seg_status s = seg_producer_flush(p, 0, &err);
    CHECK(s == SEG_OK || s == SEG_ETIMEDOUT);
}

static inline size_t waiting_when_polled(book *b, seg_producer *p) {
    seg_error err;
    CHECK_OK(seg_producer_poll(p, 10, &err), &err);
    return waiting(b);
}

static inline void check_message(const log_message *m, void *arg) {
    book *b = arg;
    unsigned n, index, key;
    char value[32] = "";
    memcpy(value, m->value.data, m->value.len < 31 ? m->value.len : 31);
    CHECK_EQ(sscanf(value, "%u %u ", &n, &index), 2);
    CHECK(n < NUMBERS && index < INDEXES);
    if (b->found[n][index]++ > 0)
        FAIL("(%u, %u) is stored twice, the second time in partition %u at %" PRIu64, n, index,
             m->partition, m->offset);
    if (b->unordered)
        return;
    key = n % KEYS;
    CHECK_MEM(m->key.data, m->key.len, ((char[]){'k', (char)('0' + key)}), 2);
    if (b->last[key] > n * INDEXES + index)
        FAIL("key %u: (%u, %u) is stored behind message %u", key, n, index, b->last[key] - 1);
    b->last[key] = n * INDEXES + index + 1;
}

/* What was answered SEG_OK is there; what nobody was told OK or unknown of is not. Nothing is there
 * twice, each key is in order. Returns how many there are. */
static inline size_t check(rig *r, book *b) {
    pthread_mutex_lock(&b->lock);
    memset(b->found, 0, sizeof b->found);
    memset(b->last, 0, sizeof b->last);
    size_t all = log_each_partition(r->server, "default", "s", check_message, b);
    static bool may[NUMBERS][INDEXES];
    memset(may, 0, sizeof may);
    for (size_t i = 0; i < b->count; i++) {
        const call *c = b->calls[i];
        if (c->told > 0 && c->status == SEG_OK && b->found[c->n][c->index] == 0)
            FAIL("(%u, %u) was acknowledged, and is not there", c->n, c->index);
        if (c->told == 0 || c->status == SEG_OK || c->status == SEG_EUNKNOWN)
            may[c->n][c->index] = true;
    }
    for (unsigned n = 0; n < NUMBERS; n++)
        for (unsigned i = 0; i < INDEXES; i++)
            if (b->found[n][i] > 0 && !may[n][i])
                FAIL("(%u, %u) is there, though it was refused", n, i);
    pthread_mutex_unlock(&b->lock);
    return all;
}

/* Another client, straight to the server, with a producer that lingers until it is flushed. */
typedef struct other {
    seg_client *client;
    seg_producer *producer;
} other;

static inline other other_open(rig *r) {
    other o = {NULL, NULL};
    seg_client_options co;
    seg_producer_options po;
    seg_error err;
    SEG_INIT(&co);
    SEG_INIT(&po);
    co.url = server_url(r->server);
    po.linger = 60000;
    po.codec = test_codec();
    CHECK_OK(seg_client_open(&o.client, &co, &err), &err);
    CHECK_OK(seg_producer_open(&o.producer, o.client, "s", &po, &err), &err);
    return o;
}

static inline void other_close(other *o) {
    seg_producer_close(o->producer);
    seg_client_close(o->client);
}

#endif
