/* The bounds: of the stream (block, reject, drop-oldest), of the producer's queue, of the server's
 * memory; and the delivery timeout, which ends all waiting. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer_rig.h"

/* Read and acknowledge up to `max` messages of the stream as group "g". */
static void consume(rig *r, seg_consumer *c, size_t max) {
    seg_error err;
    (void)r;
    for (size_t n = 0; n < max;) {
        seg_batch *b = NULL;
        CHECK_OK(seg_consumer_poll(&b, c, max - n, PATIENCE, &err), &err);
        CHECK_GT(seg_batch_count(b), 0);
        n += seg_batch_count(b);
        CHECK_OK(seg_ack_batch(c, b, &err), &err);
        seg_batch_free(b);
    }
    CHECK_OK(seg_consumer_commit(c, PATIENCE, &err), &err);
}

static seg_consumer *open_consumer(rig *r) {
    seg_consumer *c = NULL;
    seg_consumer_options o;
    seg_error err;
    SEG_INIT(&o);
    o.group = "g";
    CHECK_OK(seg_consumer_open(&c, r->client, "s", &o, &err), &err);
    return c;
}

static void block(seg_codec codec, size_t max_batch) {
    rig r = rig_new(2);
    r.stream_options.max_messages = 100;
    r.producer_options.max_batch = max_batch;
    r.producer_options.codec = codec;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    for (unsigned i = 0; i < 1000; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 8, 20, &err), &err);
    WAIT_FOR(PATIENCE, stats_of(r.producer).full >= 2);
    CHECK_LE(stats_of(r.producer).stored, 200);
    CHECK_STATUS(seg_producer_flush(r.producer, 10, &err), SEG_ETIMEDOUT, &err);
    seg_consumer *c = open_consumer(&r);
    consume(&r, c, 1000);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_OK), 1000);
    CHECK_EQ(stats_of(r.producer).failed, 0);
    seg_consumer_close(c);
    ledger_may_drop(l); /* consumed ones make room */
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

TEST(block_waits_for_a_reader_and_loses_nothing) {
    block(test_codec(), 1024);
}

/* Batches are cut to the room that there is: of as many messages as a quarter of the partition. */
TEST(block_with_lz4) {
    block(SEG_LZ4, 64 * 1024);
}

TEST(block_with_zstd) {
    block(SEG_ZSTD, 64 * 1024);
}

TEST(block_ends_at_the_delivery_timeout) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 10;
    r.producer_options.delivery_timeout = 300;
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    while (ledger_send(l, r.producer, 0, 20, &err) == SEG_OK)
        CHECK_LE(ledger_sent(l), 10);
    CHECK_STATUS(err.status, SEG_EFULL, &err);
    CHECK_CONTAINS(err.text, "full");
    int64_t start = test_now_ms();
    for (int i = 0; i < 5; i++)
        CHECK_OK(ledger_send_async(l, r.producer, 0, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_GE(test_now_ms() - start, 250);
    CHECK_EQ(ledger_count(l, SEG_EFULL), 6);
    CHECK_EQ(rig_check(&r, l), 10);
    /* And with room again it goes on: nothing of what was given up stands in the way. */
    seg_consumer *c = open_consumer(&r);
    consume(&r, c, 10);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    seg_consumer_close(c);
    ledger_may_drop(l);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

TEST(reject_fails_at_once) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 100;
    r.stream_options.on_full = SEG_FAIL;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    for (unsigned i = 0; i < 100; i++)
        CHECK_OK(ledger_send(l, r.producer, i % 4, 20, &err), &err);
    int64_t start = test_now_ms();
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_EFULL, &err);
    CHECK_LT(test_now_ms() - start, 10000);
    for (unsigned i = 0; i < 500; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_EFULL), 501);
    CHECK_EQ(rig_check(&r, l), 100);
    seg_consumer *c = open_consumer(&r);
    consume(&r, c, 50);
    CHECK_OK(ledger_send(l, r.producer, 1, 20, &err), &err);
    seg_consumer_close(c);
    ledger_may_drop(l);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* Several batches under way when the first is refused: order holds among what is stored later. */
TEST(reject_keeps_order_among_batches_under_way) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 64;
    r.stream_options.on_full = SEG_FAIL;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    seg_consumer *c = open_consumer(&r);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 60; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 4, 50 + i * 7 % 90, &err), &err);
        if (round % 3 == 0)
            consume(&r, c, 10);
    }
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_OK) + ledger_count(l, SEG_EFULL), 1200);
    CHECK_GE(ledger_count(l, SEG_OK), 64);
    ledger_may_drop(l);
    rig_check(&r, l);
    seg_consumer_close(c);
    ledger_free(l);
    rig_close(&r);
}

TEST(drop_oldest_keeps_the_newest) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 100;
    r.stream_options.on_full = SEG_DROP_OLDEST;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    ledger_may_drop(l);
    for (unsigned i = 0; i < 2000; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_OK), 2000);
    /* Whole batches: the last 100 are there, and at most one batch more of a quarter of that. */
    size_t kept = rig_check(&r, l);
    CHECK_GE(kept, 100);
    CHECK_LE(kept, 125);
    seg_stream_info *info = NULL;
    CHECK_OK(seg_stream_describe(&info, r.client, "s", &err), &err);
    CHECK_EQ(seg_stream_info_partition(info, 0)->next, 2000);
    CHECK_EQ(seg_stream_info_partition(info, 0)->first, 1900);
    CHECK_EQ(seg_stream_info_messages(info), 100);
    seg_stream_info_free(info);
    ledger_free(l);
    rig_close(&r);
}

TEST(a_stream_of_one_message) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 1;
    r.stream_options.on_full = SEG_DROP_OLDEST;
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    ledger_may_drop(l);
    for (unsigned i = 0; i < 50; i++)
        CHECK_OK(ledger_send_async(l, r.producer, 0, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_OK), 50);
    CHECK_EQ(rig_check(&r, l), 1);
    ledger_free(l);
    rig_close(&r);
}

/* ---- The queue ------------------------------------------------------------------------------ */

TEST(a_full_queue_refuses_and_empties) {
    rig r = rig_new(2);
    r.producer_options.max_queued = 64 * 1024;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    seg_status s;
    server_pause(r.server);
    while ((s = ledger_send_async(l, r.producer, (unsigned)ledger_sent(l) % 8, 500, &err)) ==
           SEG_OK)
        CHECK_LT(ledger_sent(l), 200);
    CHECK_STATUS(s, SEG_EFULL, &err);
    CHECK_CONTAINS(err.text, "max_queued");
    CHECK_LE(stats_of(r.producer).queued_bytes, 64 * 1024);
    CHECK_GT(stats_of(r.producer).queued_bytes, 60 * 1024);
    server_resume(r.server);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    CHECK_OK(ledger_send_async(l, r.producer, 0, 500, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* Where each message begins a batch, which takes something as well: never more, whatever the bound. */
TEST(a_queue_of_many_batches_keeps_its_bound) {
    for (size_t most = 64 * 1024; most < 66 * 1024; most += 128) {
        rig r = rig_new(1);
        r.producer_options.max_queued = most;
        r.producer_options.max_batch = 1024;
        r.producer_options.linger = 60000;
        rig_open(&r);
        ledger *l = ledger_new(1);
        seg_error err;
        seg_status s;
        server_pause(r.server);
        while ((s = ledger_send_async(l, r.producer, 0, 900, &err)) == SEG_OK)
            CHECK_LE(stats_of(r.producer).queued_bytes, most);
        CHECK_STATUS(s, SEG_EFULL, &err);
        CHECK_GT(stats_of(r.producer).queued_bytes, most - 4096);
        server_resume(r.server);
        CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
        CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
        ledger_free(l);
        rig_close(&r);
    }
}

typedef struct sender {
    pthread_t thread;
    rig *r;
    ledger *l;
    unsigned key;
} sender;

static void *send_fifty(void *arg) {
    sender *s = arg;
    seg_error err;
    for (int i = 0; i < 50; i++)
        CHECK_OK(ledger_send(s->l, s->r->producer, s->key, 1000, &err), &err);
    return NULL;
}

/* Synchronous senders wait for room rather than fail; one message larger than the whole queue still
 * goes when it is alone. */
TEST(sync_senders_wait_for_room) {
    rig r = rig_new(2);
    r.producer_options.max_queued = 3000;
    rig_open(&r);
    enum { THREADS = 8 };
    sender s[THREADS];
    seg_error err;
    ledger *l = ledger_new(THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        s[i] = (sender){.r = &r, .l = l, .key = i};
        CHECK_EQ(pthread_create(&s[i].thread, NULL, send_fifty, &s[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(s[i].thread, NULL), 0);
    CHECK_OK(ledger_send(l, r.producer, 0, 50000, &err), &err);
    CHECK_EQ(rig_check(&r, l), 50 * THREADS + 1);
    ledger_free(l);
    rig_close(&r);
}

static void *send_one(void *arg) {
    sender *s = arg;
    seg_error err;
    CHECK_OK(ledger_send(s->l, s->r->producer, s->key, 500, &err), &err);
    return NULL;
}

static void nothing(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    (void)status, (void)where, (void)err, (void)arg;
}

/* Outcomes that nobody asks for take room as well; one poll makes it, and tells who waits for it. */
TEST(outcomes_that_are_not_polled_fill_the_queue) {
    rig r = rig_new(2);
    r.producer_options.max_queued = 64 * 1024;
    rig_open(&r);
    seg_error err;
    seg_record record;
    SEG_INIT(&record);
    record.key = (seg_bytes){"k", 1};
    seg_status status;
    size_t sent = 0, before;
    do { /* what is stored takes less room than what is not */
        before = sent;
        while ((status = seg_send_async(r.producer, &record, nothing, NULL, &err)) == SEG_OK)
            CHECK_LT(++sent, 100000);
        CHECK_STATUS(status, SEG_EFULL, &err);
        WAIT_FOR(PATIENCE, stats_of(r.producer).stored == sent);
    } while (sent > before);
    ledger *l = ledger_new(1);
    sender waiting = {.r = &r, .l = l};
    int64_t start = test_now_ms();
    CHECK_EQ(pthread_create(&waiting.thread, NULL, send_one, &waiting), 0);
    CHECK_OK(seg_producer_poll(r.producer, 0, &err), &err);
    CHECK_EQ(pthread_join(waiting.thread, NULL), 0);
    CHECK_LT(test_now_ms() - start, 20000); /* not the delivery timeout */
    CHECK_EQ(stats_of(r.producer).stored, sent + 1);
    ledger_free(l);
    rig_close(&r);
}

/* ---- The delivery timeout ------------------------------------------------------------------- */

/* With no connection nothing reaches the server: certainly not done. */
TEST(times_out_while_disconnected) {
    rig r = rig_new(1);
    r.proxied = true;
    r.producer_options.delivery_timeout = 300;
    rig_open(&r);
    ledger *l = ledger_new(2);
    seg_error err;
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    proxy_refuse(r.proxy, true);
    proxy_cut(r.proxy);
    /* It may not have noticed yet, and then an answer is lost: unknown is honest as well. The
     * second one finds it disconnected. */
    seg_status s = ledger_send(l, r.producer, 0, 20, &err);
    CHECK(s == SEG_ETIMEDOUT || s == SEG_ECONN || s == SEG_EUNKNOWN);
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_ETIMEDOUT, &err);
    for (int i = 0; i < 20; i++)
        CHECK_OK(ledger_send_async(l, r.producer, 1, 20, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_waiting(l), 0);
    proxy_refuse(r.proxy, false);
    r.producer_options.delivery_timeout = PATIENCE;
    seg_producer_close(r.producer);
    r.producer = rig_producer(&r);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* What was sent and not answered in time is unknown; what waited behind it was never sent. The
 * header promises the outcome by the delivery timeout, also where the command timeout is longer. */
TEST(times_out_while_the_server_is_stopped) {
    rig r = rig_new(1);
    r.client_options.command_timeout = 60000;
    r.producer_options.delivery_timeout = 500;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    server_pause(r.server);
    int64_t start = test_now_ms();
    for (unsigned i = 0; i < 200; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 50, &err), &err);
    ledger_settle(l, r.producer, 20000);
    CHECK_LT(test_now_ms() - start, 20000);
    CHECK_GT(ledger_count(l, SEG_EUNKNOWN), 0);
    CHECK_GT(ledger_count(l, SEG_ETIMEDOUT), 0);
    CHECK_EQ(ledger_count(l, SEG_EUNKNOWN) + ledger_count(l, SEG_ETIMEDOUT), 200);
    /* Also where all that is under way was given up: nobody else's deadline wakes the producer. */
    start = test_now_ms();
    seg_status s = ledger_send(l, r.producer, 0, 20, &err);
    CHECK(s == SEG_EUNKNOWN || s == SEG_ETIMEDOUT);
    CHECK_LT(test_now_ms() - start, 20000);
    server_resume(r.server);
    r.producer_options.delivery_timeout = PATIENCE;
    seg_producer *p = rig_producer(&r);
    CHECK_OK(ledger_send(l, p, 0, 20, &err), &err);
    seg_producer_close(p);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* The same producer goes on when the server does, and order holds. */
TEST(goes_on_after_a_timeout) {
    rig r = rig_new(1);
    r.client_options.command_timeout = 200;
    r.producer_options.delivery_timeout = 600;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    for (int round = 0; round < 2; round++) {
        server_pause(r.server);
        for (unsigned i = 0; i < 100; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 4, 50, &err), &err);
        ledger_settle(l, r.producer, 20000);
        server_resume(r.server);
        WAIT_FOR(PATIENCE, ledger_send(l, r.producer, 0, 20, &err) == SEG_OK);
        for (unsigned i = 0; i < 100; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 4, 50, &err), &err);
        ledger_settle(l, r.producer, 20000);
    }
    CHECK_GT(ledger_count(l, SEG_OK), 1);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* ---- The server's memory -------------------------------------------------------------------- */

TEST(out_of_memory_and_back) {
    rig r = rig_new(1);
    r.producer_options.delivery_timeout = 400;
    rig_open(&r);
    ledger *l = ledger_new(2);
    seg_error err;
    CHECK_OK(ledger_send(l, r.producer, 0, 1000, &err), &err);
    server_do(r.server, "CONFIG SET maxmemory 1");
    CHECK_STATUS(ledger_send(l, r.producer, 0, 1000, &err), SEG_EOOM, &err);
    for (unsigned i = 0; i < 20; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 2, 1000, &err), &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_EOOM), 21);
    server_do(r.server, "CONFIG SET maxmemory 0");
    CHECK_OK(ledger_send(l, r.producer, 1, 1000, &err), &err);
    CHECK_EQ(rig_check(&r, l), 2);
    ledger_free(l);
    rig_close(&r);
}

/* It waits as long as the delivery timeout lets it. */
TEST(out_of_memory_is_waited_for) {
    rig r = rig_new(2);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    server_do(r.server, "CONFIG SET maxmemory 1");
    for (unsigned i = 0; i < 300; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 8, 100, &err), &err);
    WAIT_FOR(PATIENCE, stats_of(r.producer).retries >= 4);
    CHECK_EQ(stats_of(r.producer).stored, 0);
    server_do(r.server, "CONFIG SET maxmemory 0");
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    CHECK_EQ(ledger_count(l, SEG_OK), 300);
    CHECK_EQ(rig_check(&r, l), 300);
    ledger_free(l);
    rig_close(&r);
}
