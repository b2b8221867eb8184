/* ledger.c - see ledger.h. */
#include "ledger.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/batch.h"
#include "status.h"
#include "test.h"

enum { NUMBER_DIGITS = 12, PAGE = 500 };

typedef struct note {
    ledger *owner;
    unsigned key;
    bool queued; /* a callback was promised */
    int calls;   /* of it */
    bool told;   /* the outcome is known */
    seg_status status;
    seg_position where;
    int found; /* in the logs, by the check */
} note;

struct ledger {
    unsigned keys;
    bool may_drop;
    pthread_mutex_t lock; /* guards all below */
    note **notes;
    size_t n, room;
    size_t waiting;
    seg_error last_error;

    uint64_t *last_of_key; /* the check's: number of the latest message of a key, plus one */
};

ledger *ledger_new(unsigned keys) {
    ledger *l = calloc(1, sizeof *l);
    CHECK(l != NULL);
    l->keys = keys;
    l->last_of_key = calloc(keys, sizeof *l->last_of_key);
    CHECK(l->last_of_key != NULL);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void ledger_free(ledger *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->notes[i]);
    free(l->notes);
    free(l->last_of_key);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void ledger_may_drop(ledger *l) {
    l->may_drop = true;
}

/* ---- Sending -------------------------------------------------------------------------------- */

static note *new_note(ledger *l, unsigned key, size_t *number) {
    note *n = calloc(1, sizeof *n);
    CHECK(n != NULL);
    CHECK_LT(key, l->keys);
    n->owner = l;
    n->key = key;
    pthread_mutex_lock(&l->lock);
    if (l->n == l->room) {
        l->room = l->room == 0 ? 64 : 2 * l->room;
        l->notes = realloc(l->notes, l->room * sizeof(note *));
        CHECK(l->notes != NULL);
    }
    *number = l->n;
    l->notes[l->n++] = n;
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* A record whose value is the number, padded with a byte that depends on it. To be freed: the
 * value's data. */
static seg_record make_record(size_t number, unsigned key, size_t size, char key_text[16]) {
    seg_record r;
    SEG_INIT(&r);
    if (size < NUMBER_DIGITS)
        size = NUMBER_DIGITS;
    char *value = malloc(size + 1);
    CHECK(value != NULL);
    memset(value, 'a' + (int)(number % 26), size);
    char digits[NUMBER_DIGITS + 10];
    snprintf(digits, sizeof digits, "%0*zu", NUMBER_DIGITS, number);
    memcpy(value, digits, NUMBER_DIGITS);
    int n = snprintf(key_text, 16, "k%u", key);
    r.key = (seg_bytes){key_text, (size_t)n};
    r.value = (seg_bytes){value, size};
    return r;
}

/* Lock held. */
static void tell(note *n, seg_status status, const seg_position *where, const seg_error *err) {
    n->told = true;
    n->status = status;
    if (where != NULL)
        n->where = *where;
    if (status != SEG_OK && err != NULL)
        n->owner->last_error = *err;
}

seg_status ledger_send(ledger *l, seg_producer *p, unsigned key, size_t size, seg_error *err) {
    size_t number;
    char key_text[16];
    seg_error e = {.status = SEG_OK};
    seg_position where = {{0, 0}, 0};
    note *n = new_note(l, key, &number);
    seg_record r = make_record(number, key, size, key_text);
    seg_status status = seg_send(p, &r, &where, &e);
    free((void *)(uintptr_t)r.value.data);
    pthread_mutex_lock(&l->lock);
    tell(n, status, &where, &e);
    pthread_mutex_unlock(&l->lock);
    if (status != SEG_OK)
        CHECK_STATUS(e.status, status, &e); /* both tell the same */
    if (status != SEG_OK && err != NULL)
        *err = e;
    return status;
}

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    note *n = arg;
    CHECK_EQ(where != NULL, status == SEG_OK);
    CHECK_EQ(err != NULL, status != SEG_OK);
    if (err != NULL)
        CHECK_STATUS(err->status, status, err);
    pthread_mutex_lock(&n->owner->lock);
    n->calls++;
    n->owner->waiting--;
    tell(n, status, where, err);
    pthread_mutex_unlock(&n->owner->lock);
}

seg_status ledger_send_async(ledger *l, seg_producer *p, unsigned key, size_t size,
                             seg_error *err) {
    size_t number;
    char key_text[16];
    seg_error e = {.status = SEG_OK};
    note *n = new_note(l, key, &number);
    seg_record r = make_record(number, key, size, key_text);
    /* Before: another thread that polls may run the callback before the call returns here. */
    pthread_mutex_lock(&l->lock);
    n->queued = true;
    l->waiting++;
    pthread_mutex_unlock(&l->lock);
    seg_status status = seg_send_async(p, &r, on_sent, n, &e);
    free((void *)(uintptr_t)r.value.data);
    if (status != SEG_OK) {
        pthread_mutex_lock(&l->lock);
        n->queued = false;
        l->waiting--;
        tell(n, status, NULL, &e);
        pthread_mutex_unlock(&l->lock);
        CHECK_STATUS(e.status, status, &e);
        if (err != NULL)
            *err = e;
    }
    return status;
}

/* ---- Questions ------------------------------------------------------------------------------ */

size_t ledger_sent(ledger *l) {
    pthread_mutex_lock(&l->lock);
    size_t n = l->n;
    pthread_mutex_unlock(&l->lock);
    return n;
}

size_t ledger_count(ledger *l, seg_status outcome) {
    size_t count = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n; i++)
        count += l->notes[i]->told && l->notes[i]->status == outcome;
    pthread_mutex_unlock(&l->lock);
    return count;
}

size_t ledger_waiting(ledger *l) {
    pthread_mutex_lock(&l->lock);
    size_t n = l->waiting;
    pthread_mutex_unlock(&l->lock);
    return n;
}

seg_error ledger_last_error(ledger *l) {
    pthread_mutex_lock(&l->lock);
    seg_error e = l->last_error;
    pthread_mutex_unlock(&l->lock);
    return e;
}

void ledger_settle(ledger *l, seg_producer *p, int64_t deadline_ms) {
    int64_t end = test_now_ms() + deadline_ms;
    seg_error err;
    while (ledger_waiting(l) > 0) {
        int64_t left = end - test_now_ms();
        if (left <= 0)
            FAIL("%zu of %zu messages have no outcome after %" PRId64 " ms", ledger_waiting(l),
                 ledger_sent(l), deadline_ms);
        CHECK_OK(seg_producer_poll(p, left < 100 ? left : 100, &err), &err);
    }
}

/* ---- The raw log ---------------------------------------------------------------------------- */

typedef struct log_reader {
    const char *stream;
    uint32_t partition;
    uint32_t seed; /* of the batches' CRC */
    sg_codecs codecs;
    uint64_t next; /* offset */
    bool begun;
    size_t count;
    log_message_fn *fn;
    void *arg;
    uint64_t era; /* of the last entry */
} log_reader;

static void read_entry(log_reader *l, const redisReply *entry) {
    uint64_t era, last;
    sg_batch_reader batch;
    sg_record_view v;
    const char *why;
    void *own;
    const redisReply *id = entry->element[0], *fields = entry->element[1];
    CHECK_EQ(sscanf(id->str, "%" SCNu64 "-%" SCNu64, &era, &last), 2);
    CHECK_GE(era, l->era);
    l->era = era;
    CHECK_EQ(fields->elements, 2);
    CHECK_STR(fields->element[0]->str, "b");
    const redisReply *data = fields->element[1];
    if (!sg_batch_load(&batch, data->str, data->len, l->seed, &l->codecs, &own, &why))
        FAIL("%s/%u, entry %s: no batch: %s", l->stream, l->partition, id->str, why);
    CHECK_LE(batch.count, last + 1);
    uint64_t offset = last + 1 - batch.count;
    if (l->begun && offset != l->next)
        FAIL("%s/%u, entry %s of %u messages: expected the next to have offset %" PRIu64, l->stream,
             l->partition, id->str, batch.count, l->next);
    l->begun = true;
    for (uint32_t n = batch.count; sg_batch_next(&batch, &v) == 1; offset++, l->count++) {
        log_message m = {l->partition, offset,      era, v.key,      v.value,
                         v.headers,    v.timestamp, n,   batch.codec};
        if (l->fn != NULL)
            l->fn(&m, l->arg);
    }
    sg_free(own);
    l->next = offset;
    CHECK_EQ(l->next, last + 1);
}

static uint64_t state_number(server *s, const char *key, const char *field) {
    char *text = server_str(s, "HGET %s %s", key, field);
    if (text == NULL)
        FAIL("%s has no field %s", key, field);
    uint64_t n = strtoull(text, NULL, 10);
    free(text);
    return n;
}

size_t log_each(server *s, const char *ns, const char *stream, uint32_t partition,
                log_message_fn *fn, void *arg) {
    log_reader l = {.stream = stream, .partition = partition, .fn = fn, .arg = arg};
    char log[900], state[900], from[64] = "-";
    snprintf(log, sizeof log, "sg:{%s/%s/%u}:log", ns, stream, partition);
    snprintf(state, sizeof state, "sg:{%s/%s/%u}:state", ns, stream, partition);
    char *incarnation = server_str(s, "HGET %s inc", state);
    CHECK(incarnation != NULL);
    l.seed = sg_batch_seed(incarnation);
    free(incarnation);
    for (bool more = true; more;) {
        redisReply *r = server_cmd(s, "XRANGE %s %s + COUNT %d", log, from, (int)PAGE);
        CHECK_EQ(r->type, REDIS_REPLY_ARRAY);
        for (size_t i = 0; i < r->elements; i++)
            read_entry(&l, r->element[i]);
        more = r->elements == PAGE;
        if (more)
            snprintf(from, sizeof from, "(%s", r->element[r->elements - 1]->element[0]->str);
        freeReplyObject(r);
    }
    sg_codecs_fini(&l.codecs);
    uint64_t first = state_number(s, state, "first"), next = state_number(s, state, "next");
    CHECK_EQ(l.begun ? l.next : next, next);
    /* XTRIM takes whole entries: one that straddles `first` stays. */
    CHECK_LE(next - first, l.count);
    return l.count;
}

size_t log_each_partition(server *s, const char *ns, const char *stream, log_message_fn *fn,
                          void *arg) {
    char meta[900];
    size_t count = 0;
    snprintf(meta, sizeof meta, "sg:{%s/%s}:meta", ns, stream);
    uint64_t partitions = state_number(s, meta, "partitions");
    for (uint32_t p = 0; p < partitions; p++)
        count += log_each(s, ns, stream, p, fn, arg);
    return count;
}

void log_stray(server *s, const char *ns, const char *stream, uint32_t partition, const char *id,
               const char *field, const void *value, size_t size) {
    char log[900];
    snprintf(log, sizeof log, "sg:{%s/%s/%u}:log", ns, stream, partition);
    redisReply *last = server_cmd(s, "XREVRANGE %s + - COUNT 1", log);
    CHECK_EQ(last->type, REDIS_REPLY_ARRAY);
    server_do(s, "XSETID %s %s", log,
              last->elements > 0 ? last->element[0]->element[0]->str : "0-0");
    freeReplyObject(last);
    server_do(s, "XADD %s %s %s %b", log, id, field, value, size);
}

static void check_sealed(server *s, const char *ns, const char *stream) {
    char key[900];
    snprintf(key, sizeof key, "sg:{%s/%s}:meta", ns, stream);
    uint64_t partitions = state_number(s, key, "partitions");
    for (uint64_t p = 0; p < partitions; p++) {
        snprintf(key, sizeof key, "sg:{%s/%s/%" PRIu64 "}:log", ns, stream, p);
        redisReply *info = server_cmd(s, "XINFO STREAM %s", key);
        const char *last_id = NULL;
        for (size_t i = 0; i + 1 < info->elements; i += 2)
            if (strcmp(info->element[i]->str, "last-generated-id") == 0)
                last_id = info->element[i + 1]->str;
        CHECK_STR(last_id, "18446744073709551615-18446744073709551615");
        freeReplyObject(info);
    }
}

/* ---- The check ------------------------------------------------------------------------------ */

static void check_message(const log_message *m, void *arg) {
    ledger *l = arg;
    char key[16], digits[NUMBER_DIGITS + 1];
    CHECK_GE(m->value.len, NUMBER_DIGITS);
    memcpy(digits, m->value.data, NUMBER_DIGITS);
    digits[NUMBER_DIGITS] = '\0';
    size_t number = strtoull(digits, NULL, 10);
    CHECK_LT(number, l->n);
    note *n = l->notes[number];
    if (n->found++ > 0)
        FAIL("message %zu is stored twice, the second time in partition %u at %" PRIu64
             ": its outcome was %s",
             number, m->partition, m->offset, test_status_name(n->status));
    if (n->status == SEG_OK && (n->where.partition != m->partition ||
                                n->where.id.offset != m->offset || n->where.id.era != m->era))
        FAIL("message %zu is in partition %u at %" PRIu64 ", was told to be in %u at %" PRIu64,
             number, m->partition, m->offset, n->where.partition, n->where.id.offset);
    if (n->status != SEG_OK && n->status != SEG_EUNKNOWN)
        FAIL("message %zu is in partition %u at %" PRIu64 ", but its outcome was %s: not done",
             number, m->partition, m->offset, test_status_name(n->status));
    for (size_t i = NUMBER_DIGITS; i < m->value.len; i++)
        CHECK_EQ(((const char *)m->value.data)[i], 'a' + (int)(number % 26));
    snprintf(key, sizeof key, "k%u", n->key);
    CHECK_MEM(m->key.data, m->key.len, key, strlen(key));
    if (l->last_of_key[n->key] > number)
        FAIL("key %s: message %" PRIu64 " is stored before message %zu, which was sent before it",
             key, l->last_of_key[n->key] - 1, number);
    l->last_of_key[n->key] = number + 1;
}

static void check_note(const ledger *l, size_t number, uint64_t first) {
    const note *n = l->notes[number];
    if (n->queued && n->calls != 1)
        FAIL("message %zu: its callback ran %d times", number, n->calls);
    if (!n->told)
        FAIL("message %zu has no outcome", number);
    if (n->status == SEG_OK && n->found == 0 && (!l->may_drop || n->where.id.offset >= first))
        FAIL("message %zu was acknowledged, in partition %u at %" PRIu64 ", and is not there",
             number, n->where.partition, n->where.id.offset);
}

size_t ledger_check(ledger *l, server *s, const char *ns, const char *stream) {
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->keys; i++)
        l->last_of_key[i] = 0;
    for (size_t i = 0; i < l->n; i++)
        l->notes[i]->found = 0;
    size_t count = log_each_partition(s, ns, stream, check_message, l);
    check_sealed(s, ns, stream);
    for (size_t i = 0; i < l->n; i++) {
        uint64_t first = 0;
        if (l->may_drop && l->notes[i]->told && l->notes[i]->status == SEG_OK) {
            char state[900];
            snprintf(state, sizeof state, "sg:{%s/%s/%u}:state", ns, stream,
                     l->notes[i]->where.partition);
            first = state_number(s, state, "first");
        }
        check_note(l, i, first);
    }
    pthread_mutex_unlock(&l->lock);
    return count;
}
