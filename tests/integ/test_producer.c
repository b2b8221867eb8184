/* The producer on a server that works: what is stored, what is told, what is refused. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/batch.h"
#include "producer_rig.h"

/* ---- What is stored ------------------------------------------------------------------------- */

TEST(sync_sends_are_dense_and_in_order) {
    rig r = rig_new(4);
    rig_open(&r);
    ledger *l = ledger_new(10);
    seg_error err;
    for (unsigned i = 0; i < 200; i++)
        CHECK_OK(ledger_send(l, r.producer, i % 10, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 200);
    CHECK_EQ(stats_of(r.producer).stored, 200);
    CHECK_EQ(stats_of(r.producer).queued, 0);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    ledger_free(l);
    rig_close(&r);
}

TEST(async_sends_are_batched_dense_and_in_order) {
    rig r = rig_new(4);
    rig_open(&r);
    ledger *l = ledger_new(64);
    seg_error err;
    for (unsigned i = 0; i < 20000; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 64, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_waiting(l), 0);
    CHECK_EQ(ledger_count(l, SEG_OK), 20000);
    CHECK_EQ(rig_check(&r, l), 20000);
    seg_producer_stats s = stats_of(r.producer);
    CHECK_EQ(s.stored, 20000);
    CHECK_EQ(s.failed + s.retries + s.full + s.queued + s.queued_bytes, 0);
    CHECK_LT(s.batches, 5000);
    ledger_free(l);
    rig_close(&r);
}

static void take_copy(const log_message *m, void *arg) {
    log_message *out = arg;
    *out = *m;
    out->key.data = m->key.len > 0 ? memcpy(malloc(m->key.len), m->key.data, m->key.len) : NULL;
    out->value.data =
        m->value.len > 0 ? memcpy(malloc(m->value.len), m->value.data, m->value.len) : NULL;
    out->headers.data =
        m->headers.len > 0 ? memcpy(malloc(m->headers.len), m->headers.data, m->headers.len) : NULL;
}

static void free_copy(const log_message *m) {
    free((void *)(uintptr_t)m->key.data);
    free((void *)(uintptr_t)m->value.data);
    free((void *)(uintptr_t)m->headers.data);
}

/* Send it to the stream's only partition and compare all of it with what is in the log. */
static void check_round_trip(rig *r, const seg_record *rec) {
    seg_position where;
    seg_error err;
    log_message m;
    seg_bytes name, value;
    server_do(r->server, "XTRIM sg:{default/s/0}:log MAXLEN 0");
    CHECK_OK(seg_send(r->producer, rec, &where, &err), &err);
    CHECK_EQ(where.partition, 0);
    CHECK_EQ(where.id.era, 1);
    server_do(r->server, "HSET sg:{default/s/0}:state first %d", (int)where.id.offset);
    CHECK_EQ(log_each(r->server, "default", "s", 0, take_copy, &m), 1);
    CHECK_EQ(m.offset, where.id.offset);
    CHECK_MEM(m.key.data, m.key.len, rec->key.data, rec->key.len);
    CHECK_MEM(m.value.data, m.value.len, rec->value.data, rec->value.len);
    if (rec->timestamp != 0)
        CHECK_EQ(m.timestamp, rec->timestamp);
    seg_bytes headers = m.headers;
    for (size_t i = 0; i < rec->n_headers; i++) {
        CHECK(sg_header_next(&headers, &name, &value));
        CHECK_MEM(name.data, name.len, rec->headers[2 * i].data, rec->headers[2 * i].len);
        CHECK_MEM(value.data, value.len, rec->headers[2 * i + 1].data, rec->headers[2 * i + 1].len);
    }
    CHECK(!sg_header_next(&headers, &name, &value));
    free_copy(&m);
}

TEST(every_part_of_a_message_arrives) {
    rig r = rig_new(1);
    rig_open(&r);
    check_round_trip(&r, &(seg_record){.size = sizeof(seg_record)}); /* all of it empty */
    seg_record rec = record_of("key", "value");
    rec.timestamp = 1700000000000;
    check_round_trip(&r, &rec);
    rec.timestamp = INT64_MAX;
    check_round_trip(&r, &rec);
    rec.timestamp = 1;
    rec.key = rec.value = (seg_bytes){"\0\r\n$-1\r\n\xff\xfe", 10};
    check_round_trip(&r, &rec);
    const seg_bytes headers[] = {{"name", 4}, {"value", 5},  {"name", 4}, {"", 0},
                                 {"", 0},     {"\0\xff", 2}, {"", 0},     {"", 0}};
    rec.headers = headers;
    rec.n_headers = 4;
    check_round_trip(&r, &rec);
    rec.key = (seg_bytes){NULL, 0};
    check_round_trip(&r, &rec);
    rig_close(&r);
}

TEST(a_timestamp_of_zero_is_now) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_record rec = record_of("k", "v");
    seg_error err;
    struct timespec before, after;
    log_message m;
    clock_gettime(CLOCK_REALTIME, &before);
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    clock_gettime(CLOCK_REALTIME, &after);
    CHECK_EQ(log_each(r.server, "default", "s", 0, take_copy, &m), 1);
    CHECK_GE(m.timestamp, (int64_t)before.tv_sec * 1000 + before.tv_nsec / 1000000);
    CHECK_LE(m.timestamp, (int64_t)after.tv_sec * 1000 + after.tv_nsec / 1000000);
    free_copy(&m);
    rig_close(&r);
}

TEST(the_largest_and_what_is_larger) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    size_t mib = 1024 * 1024;
    char *big = malloc(mib + 1);
    CHECK(big != NULL);
    for (size_t i = 0; i <= mib; i++)
        big[i] = (char)(i * 31 >> 4);
    seg_record rec;
    SEG_INIT(&rec);
    rec.key = (seg_bytes){big, 64 * 1024};
    rec.value = (seg_bytes){"v", 1};
    check_round_trip(&r, &rec);
    rec.key.len++;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "65537");
    rec.key.len = 0;
    rec.value = (seg_bytes){big, mib};
    check_round_trip(&r, &rec);
    rec.value.len++;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "max_message");
    rec.value.len = mib - 10;
    const seg_bytes headers[] = {{"12345", 5}, {"12345", 5}};
    rec.headers = headers;
    rec.n_headers = 1;
    check_round_trip(&r, &rec);
    rec.value.len++;
    CHECK_STATUS(seg_send_async(r.producer, &rec, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "max_message");
    CHECK_EQ(stats_of(r.producer).queued, 0);
    free(big);
    rig_close(&r);
}

TEST(max_message_can_be_raised) {
    rig r = rig_new(1);
    r.producer_options.max_message = 16 * 1024 * 1024;
    rig_open(&r);
    seg_record rec;
    SEG_INIT(&rec);
    rec.value.len = r.producer_options.max_message;
    char *big = calloc(1, rec.value.len);
    rec.value.data = big;
    check_round_trip(&r, &rec);
    free(big);
    rig_close(&r);
}

/* Nothing of the caller's has to outlive the call. */
TEST(inputs_are_copied) {
    rig r = rig_new(1);
    r.producer_options.linger = 60000;
    rig_open(&r);
    seg_error err;
    char key[] = "key", value[] = "value", name[] = "name", text[] = "text";
    seg_bytes headers[] = {{name, 4}, {text, 4}}, n, v;
    seg_record rec = record_of(key, value);
    rec.headers = headers;
    rec.n_headers = 1;
    CHECK_OK(seg_send_async(r.producer, &rec, NULL, NULL, &err), &err);
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    memset(name, 'x', 4);
    memset(text, 'x', 4);
    memset(headers, 0, sizeof headers);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    log_message m;
    CHECK_EQ(log_each(r.server, "default", "s", 0, take_copy, &m), 1);
    CHECK_MEM(m.key.data, m.key.len, "key", 3);
    CHECK_MEM(m.value.data, m.value.len, "value", 5);
    CHECK(sg_header_next(&m.headers, &n, &v));
    CHECK_MEM(n.data, n.len, "name", 4);
    CHECK_MEM(v.data, v.len, "text", 4);
    m.headers.data = (const char *)m.headers.data - 10;
    free_copy(&m);
    rig_close(&r);
}

TEST(malformed_records_are_refused) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_record rec = record_of("k", "v");
    rec.timestamp = -1;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    rec = record_of("k", "v");
    rec.key.data = NULL;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    rec = record_of("k", "v");
    rec.value.data = NULL;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    rec = record_of("k", "v");
    rec.n_headers = 1;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    const seg_bytes headers[] = {{"n", 1}, {NULL, 3}};
    rec.headers = headers;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    rec = record_of("k", "v");
    rec.size = 0;
    CHECK_STATUS(seg_send(r.producer, &rec, NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_send(r.producer, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_send(NULL, &rec, NULL, NULL), SEG_EINVAL, NULL);
    CHECK_EQ(log_each(r.server, "default", "s", 0, NULL, NULL), 0);
    rig_close(&r);
}

/* ---- Which partition ------------------------------------------------------------------------ */

TEST(a_key_has_its_partition) {
    rig r = rig_new(7);
    rig_open(&r);
    seg_error err;
    char key[16];
    for (int i = 0; i < 100; i++) {
        seg_position where;
        snprintf(key, sizeof key, "key-%d", i);
        seg_record rec = record_of(key, "v");
        CHECK_OK(seg_send(r.producer, &rec, &where, &err), &err);
        CHECK_EQ(where.partition, seg_partition_of(rec.key, 7));
    }
    CHECK_EQ(log_each_partition(r.server, "default", "s", NULL, NULL), 100);
    rig_close(&r);
}

/* Batch by batch: with sends one at a time, one by one. */
TEST(messages_without_a_key_take_turns) {
    rig r = rig_new(4);
    rig_open(&r);
    seg_error err;
    seg_record rec = record_of("", "v");
    for (int i = 0; i < 40; i++)
        CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    for (uint32_t p = 0; p < 4; p++)
        CHECK_EQ(log_each(r.server, "default", "s", p, NULL, NULL), 10);
    rig_close(&r);
}

/* Under load each partition gets its share: a full batch hands the turn on as well. */
TEST(messages_without_a_key_spread_under_load) {
    rig r = rig_new(4);
    r.producer_options.max_batch = 16 * 1024;
    rig_open(&r);
    seg_error err;
    static char value[1000];
    seg_record rec = record_of("", "");
    rec.value = (seg_bytes){value, sizeof value};
    server_pause(r.server);
    for (int i = 0; i < 4000; i++)
        CHECK_OK(seg_send_async(r.producer, &rec, NULL, NULL, &err), &err);
    server_resume(r.server);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(log_each_partition(r.server, "default", "s", NULL, NULL), 4000);
    for (uint32_t p = 0; p < 4; p++)
        CHECK_GE(log_each(r.server, "default", "s", p, NULL, NULL), 900);
    rig_close(&r);
}

/* ---- Batching ------------------------------------------------------------------------------- */

static void on_count(seg_status status, const seg_position *where, const seg_error *err,
                     void *arg) {
    (void)where;
    CHECK_OK(status, err);
    ++*(int *)arg;
}

TEST(a_batch_lingers_until_its_time) {
    rig r = rig_new(1);
    r.producer_options.linger = 300;
    rig_open(&r);
    seg_error err;
    int done = 0;
    seg_record rec = record_of("k", "v");
    int64_t start = test_now_ms();
    for (int i = 0; i < 10; i++)
        CHECK_OK(seg_send_async(r.producer, &rec, on_count, &done, &err), &err);
    CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
    CHECK_GE(test_now_ms() - start, 299);
    CHECK_EQ(done, 10);
    CHECK_EQ(stats_of(r.producer).batches, 1);
    rig_close(&r);
}

TEST(a_flush_does_not_linger) {
    rig r = rig_new(1);
    r.producer_options.linger = 3600000;
    rig_open(&r);
    seg_error err;
    int done = 0;
    seg_record rec = record_of("k", "v");
    for (int i = 0; i < 10; i++)
        CHECK_OK(seg_send_async(r.producer, &rec, on_count, &done, &err), &err);
    CHECK_OK(seg_producer_poll(r.producer, 0, &err), &err);
    CHECK_EQ(done, 0);
    CHECK_STATUS(seg_producer_flush(r.producer, 0, &err), SEG_ETIMEDOUT, &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(done, 10);
    CHECK_EQ(log_each(r.server, "default", "s", 0, NULL, NULL), 10);
    rig_close(&r);
}

/* What a flush found is sent, also where it does not wait for the outcome. */
TEST(a_flush_that_does_not_wait_sends_all_the_same) {
    rig r = rig_new(1);
    r.producer_options.linger = SEG_FOREVER;
    r.producer_options.delivery_timeout = SEG_FOREVER;
    rig_open(&r);
    seg_error err;
    int done = 0;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_send_async(r.producer, &rec, on_count, &done, &err), &err);
    seg_status s = seg_producer_flush(r.producer, 0, &err);
    CHECK(s == SEG_OK || s == SEG_ETIMEDOUT);
    CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(done, 1);
    rig_close(&r);
}

/* A batch that is full goes, whatever the linger. */
TEST(a_full_batch_does_not_linger) {
    rig r = rig_new(1);
    r.producer_options.linger = 3600000;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    for (int i = 0; i < 20; i++)
        CHECK_OK(ledger_send_async(l, r.producer, 0, 300, &err), &err);
    while (ledger_count(l, SEG_OK) < 18)
        CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(rig_check(&r, l), 20);
    /* A message larger than a batch travels alone. */
    CHECK_OK(ledger_send_async(l, r.producer, 0, 300, &err), &err);
    CHECK_OK(ledger_send_async(l, r.producer, 0, 5000, &err), &err);
    CHECK_OK(ledger_send_async(l, r.producer, 0, 300, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(rig_check(&r, l), 23);
    ledger_free(l);
    rig_close(&r);
}

TEST(flush_and_poll_with_nothing_to_do) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    int64_t start = test_now_ms();
    CHECK_OK(seg_producer_flush(r.producer, SEG_FOREVER, &err), &err);
    CHECK_OK(seg_producer_poll(r.producer, SEG_FOREVER, &err), &err);
    CHECK_OK(seg_producer_poll(r.producer, 0, &err), &err);
    CHECK_LT(test_now_ms() - start, 5000);
    CHECK_STATUS(seg_producer_poll(NULL, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_producer_flush(NULL, 0, &err), SEG_EINVAL, &err);
    rig_close(&r);
}

/* ---- Callbacks and threads ------------------------------------------------------------------ */

typedef struct inner {
    seg_producer *p;
    seg_status poll, flush, send;
    int calls;
} inner;

static void call_from_callback(seg_status status, const seg_position *where, const seg_error *err,
                               void *arg) {
    inner *in = arg;
    seg_record rec = record_of("k", "from a callback");
    (void)where;
    CHECK_OK(status, err);
    if (in->calls++ > 0)
        return;
    in->poll = seg_producer_poll(in->p, 0, NULL);
    in->flush = seg_producer_flush(in->p, 0, NULL);
    in->send = seg_send_async(in->p, &rec, call_from_callback, in, NULL);
    rec.value = (seg_bytes){"sync", 4};
    CHECK_EQ(seg_send(in->p, &rec, NULL, NULL), SEG_OK);
}

TEST(a_callback_may_send_but_not_poll) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    inner in = {.p = r.producer};
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_send_async(r.producer, &rec, call_from_callback, &in, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_STATUS(in.poll, SEG_EBUSY, NULL);
    CHECK_STATUS(in.flush, SEG_EBUSY, NULL);
    CHECK_STATUS(in.send, SEG_OK, NULL);
    while (in.calls < 2)
        CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(log_each(r.server, "default", "s", 0, NULL, NULL), 3);
    rig_close(&r);
}

/* Until it has polled once, since the other's short polls may be in its way at first. */
static void *poll_for_long(void *arg) {
    seg_producer *p = arg;
    WAIT_FOR(PATIENCE, seg_producer_poll(p, PATIENCE, NULL) == SEG_OK);
    return NULL;
}

TEST(two_threads_cannot_poll) {
    rig r = rig_new(1);
    rig_open(&r);
    pthread_t t;
    seg_error err;
    seg_record rec = record_of("k", "v");
    int done = 0;
    server_pause(r.server);
    CHECK_OK(seg_send_async(r.producer, &rec, on_count, &done, &err), &err);
    CHECK_EQ(pthread_create(&t, NULL, poll_for_long, r.producer), 0);
    WAIT_FOR(PATIENCE, seg_producer_poll(r.producer, 0, NULL) == SEG_EBUSY);
    CHECK_STATUS(seg_producer_flush(r.producer, 0, &err), SEG_EBUSY, &err);
    server_resume(r.server);
    CHECK_EQ(pthread_join(t, NULL), 0);
    CHECK_EQ(done, 1);
    CHECK_OK(seg_producer_poll(r.producer, 0, &err), &err);
    rig_close(&r);
}

typedef struct sender {
    pthread_t thread;
    rig *r;
    ledger *l;
    unsigned key;
    bool async;
} sender;

static void *send_many(void *arg) {
    sender *s = arg;
    seg_error err;
    for (int i = 0; i < 300; i++) {
        unsigned key = s->key + (unsigned)i % 2;
        seg_status status = s->async ? ledger_send_async(s->l, s->r->producer, key, 50, &err)
                                     : ledger_send(s->l, s->r->producer, key, 50, &err);
        CHECK_OK(status, &err);
    }
    return NULL;
}

TEST(many_threads_send_at_once) {
    rig r = rig_new(3);
    rig_open(&r);
    enum { THREADS = 12 };
    sender s[THREADS];
    ledger *l = ledger_new(2 * THREADS);
    seg_error err;
    for (unsigned i = 0; i < THREADS; i++) {
        s[i] = (sender){.r = &r, .l = l, .key = 2 * i, .async = i % 2 == 1};
        CHECK_EQ(pthread_create(&s[i].thread, NULL, send_many, &s[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(s[i].thread, NULL), 0);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(rig_check(&r, l), 300 * THREADS);
    CHECK_EQ(ledger_count(l, SEG_OK), 300 * THREADS);
    ledger_free(l);
    rig_close(&r);
}

/* ---- Open and close ------------------------------------------------------------------------- */

TEST(open_refuses) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_producer *p = NULL;
    CHECK_STATUS(seg_producer_open(&p, r.client, "none", NULL, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "\"none\"");
    CHECK_STATUS(seg_producer_open(&p, r.client, "a b", NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_producer_open(&p, r.client, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_producer_open(&p, NULL, "s", NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_producer_open(NULL, r.client, "s", NULL, &err), SEG_EINVAL, &err);
    seg_producer_options o, bad[7];
    SEG_INIT(&o);
    for (size_t i = 0; i < 7; i++)
        bad[i] = o;
    bad[0].max_batch = 1023;
    bad[1].max_batch = 64 * 1024 * 1024 + 1;
    bad[2].max_message = 64 * 1024 * 1024 + 1;
    bad[3].linger = -1;
    bad[4].delivery_timeout = -1;
    bad[5].size = 0;
    bad[6].codec = (seg_codec)3;
    for (size_t i = 0; i < 7; i++)
        CHECK_STATUS(seg_producer_open(&p, r.client, "s", &bad[i], &err), SEG_EINVAL, &err);
    CHECK_PTR(p, NULL);
    rig_close(&r);
    seg_producer_close(NULL);
}

/* What was never sent is certainly not done, and its callbacks run in close. */
TEST(close_with_messages_unsent) {
    rig r = rig_new(2);
    r.producer_options.linger = 3600000;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    for (unsigned i = 0; i < 100; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 8, 20, &err), &err);
    seg_producer_close(r.producer);
    CHECK_EQ(ledger_count(l, SEG_ECLOSED), 100);
    r.producer = NULL;
    CHECK_EQ(rig_check(&r, l), 0);
    ledger_free(l);
    rig_close(&r);
}

/* Under way: unknown, and so it is in the log or not, but each key's order holds. */
TEST(close_with_messages_under_way) {
    rig r = rig_new(2);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    server_pause(r.server);
    for (unsigned i = 0; i < 500; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 8, 100, &err), &err);
    WAIT_FOR(PATIENCE, stats_of(r.producer).batches == 10); /* five for each partition */
    int64_t start = test_now_ms();
    seg_producer_close(r.producer);
    CHECK_LT(test_now_ms() - start, 5000);
    r.producer = NULL;
    CHECK_GT(ledger_count(l, SEG_EUNKNOWN), 0);
    CHECK_GT(ledger_count(l, SEG_ECLOSED), 0);
    CHECK_EQ(ledger_count(l, SEG_EUNKNOWN) + ledger_count(l, SEG_ECLOSED), 500);
    server_resume(r.server);
    /* The stopped server runs what it was sent; this client's next answer comes after it. */
    seg_names *names = NULL;
    CHECK_OK(seg_stream_list(&names, r.client, &err), &err);
    seg_names_free(names);
    CHECK_EQ(rig_check(&r, l), ledger_count(l, SEG_EUNKNOWN));
    ledger_free(l);
    rig_close(&r);
}
