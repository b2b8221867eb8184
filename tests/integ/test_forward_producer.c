/* Forwarded messages: whatever breaks, and whoever repeats them, each is stored once, in order. */
#include "forward_rig.h"

/* ---- In peace -------------------------------------------------------------------------------- */

static void send_thrice(seg_codec codec) {
    rig r = rig_new(3);
    r.producer_options.max_batch = 2048;
    r.producer_options.codec = codec;
    rig_open(&r);
    book *b = book_new();
    for (int round = 0; round < 3; round++)
        for (unsigned n = 0; n < 500; n++)
            for (unsigned i = 0; i < n % 4 && i < INDEXES; i++)
                forward(b, r.producer, first_owner, n, i);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), b->count);
    CHECK_EQ(check(&r, b), b->count / 3);
    CHECK_EQ(stats_of(r.producer).stored, b->count);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    book_free(b);
    rig_close(&r);
}

TEST(each_is_stored_once_however_often_it_is_sent) {
    send_thrice(test_codec());
}

TEST(each_is_stored_once_with_lz4) {
    send_thrice(SEG_LZ4);
}

TEST(each_is_stored_once_with_zstd) {
    send_thrice(SEG_ZSTD);
}

/* Two attempts of one delivery in one batch, and two owners of one input. */
TEST(repeated_at_once) {
    rig r = rig_new(1);
    r.producer_options.linger = 60000;
    rig_open(&r);
    book *b = book_new();
    owner next = first_owner;
    next.epoch++;
    forward_all(b, r.producer, first_owner, 0, 10);
    forward_all(b, r.producer, first_owner, 0, 10);
    forward_all(b, r.producer, next, 0, 20);
    forward_all(b, r.producer, first_owner, 20, 30);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 40);
    CHECK_EQ(count(b, SEG_EFENCED), 10);
    CHECK_EQ(check(&r, b), 20);
    book_free(b);
    rig_close(&r);
}

/* Otherwise they would take turns over the partitions, and only the one that has it knows it. */
TEST(without_a_key_the_repetition_finds_it) {
    rig r = rig_new(4);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    other o = other_open(&r);
    book *b = book_new();
    b->keyless = b->unordered = true;
    forward_all(b, r.producer, first_owner, 0, 1000);
    settle(b, r.producer);
    for (unsigned n = 1100; n-- > 0;)
        forward(b, o.producer, first_owner, n, 0);
    settle(b, o.producer);
    CHECK_EQ(count(b, SEG_OK), 2100);
    CHECK_EQ(check(&r, b), 1100);
    for (uint32_t p = 0; p < 4; p++)
        CHECK_GT(log_each(r.server, "default", "s", p, NULL, NULL), 100);
    other_close(&o);
    book_free(b);
    rig_close(&r);
}

TEST(in_order_with_plain_ones) {
    rig r = rig_new(2);
    r.proxied = true;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    uint64_t seed = test_seed();
    for (unsigned n = 0; n < 2000; n++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if ((seed >> 33) % 3 == 0)
            send_plain(b, r.producer, n);
        else
            forward(b, r.producer, first_owner, n, 0);
        if (n % 400 == 399) {
            push(r.producer);
            proxy_cut_after(r.proxy, PROXY_REPLIES, (seed >> 40) % 400);
        }
    }
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 2000);
    CHECK_EQ(check(&r, b), 2000);
    book_free(b);
    rig_close(&r);
}

TEST(another_output_in_the_same_place) {
    rig r = rig_new(1);
    r.producer_options.linger = 60000;
    rig_open(&r);
    book *b = book_new();
    seg_error err;
    forward_all(b, r.producer, first_owner, 0, 10);
    settle(b, r.producer);
    sg_forward_id id = {.input = "f.0123.0", .epoch = 5, .offset = 4};
    seg_record wrong = record_of("k4", "something else");
    forward_all(b, r.producer, first_owner, 0, 4);
    CHECK_OK(sg_producer_forward(r.producer, &wrong, &id, true, on_forwarded, note(b, 4, 0), &err),
             &err);
    forward_all(b, r.producer, first_owner, 5, 15);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 24);
    CHECK_EQ(count(b, SEG_EPROTO), 1);
    err = last_error(b);
    CHECK_CONTAINS(err.text, "offset 4 of \"f.0123.0\" differs");
    CHECK_CONTAINS(err.text, "same outputs");
    CHECK_EQ(check(&r, b), 15);
    CHECK_EQ(stats_of(r.producer).failed, 1);
    book_free(b);
    rig_close(&r);
}

/* The timestamp is no part of what an output says. */
TEST(what_makes_an_output_the_same) {
    seg_bytes headers[2] = {{"name", 4}, {"value", 5}}, shifted[2] = {{"namev", 5}, {"alue", 4}};
    seg_record a = record_of("key", "value"), again = a;
    uint32_t crc = sg_forward_crc(&a);
    again.timestamp = 77;
    CHECK_EQ(sg_forward_crc(&again), crc);
    again = record_of("keyv", "alue");
    CHECK_NE(sg_forward_crc(&again), crc);
    again = a;
    again.headers = headers;
    again.n_headers = 1;
    CHECK_NE(sg_forward_crc(&again), crc);
    crc = sg_forward_crc(&again);
    again.headers = shifted;
    CHECK_NE(sg_forward_crc(&again), crc);
}

/* ---- Owners ---------------------------------------------------------------------------------- */

/* Partition 0 of the input has moved on, 1 has not: one batch of the old owner's holds both. */
TEST(a_zombie_is_fenced) {
    rig r = rig_new(2);
    r.producer_options.linger = 60000;
    rig_open(&r);
    other o = other_open(&r);
    book *b = book_new();
    const owner old[] = {{"f.0123.0", 5, 0}, {"f.0123.1", 5, 0}}, next = {"f.0123.0", 6, 0};
    forward_all(b, o.producer, next, 100, 108);
    settle(b, o.producer);
    for (unsigned n = 200; n < 300; n++)
        forward(b, r.producer, old[n % 2], n, 0);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_EFENCED), 50);
    CHECK_EQ(count(b, SEG_OK), 58);
    seg_error err = last_error(b);
    CHECK_CONTAINS(err.text, "epoch 5");
    CHECK_CONTAINS(err.text, "\"f.0123.0\"");
    CHECK_EQ(check(&r, b), 58);
    /* All of a batch is fenced: nothing stands in the way of what comes behind it. */
    for (unsigned n = 300; n < 310; n++)
        forward(b, r.producer, old[0], n, 0);
    for (unsigned n = 310; n < 318; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_EFENCED), 60);
    CHECK_EQ(check(&r, b), 66);
    other_close(&o);
    book_free(b);
    rig_close(&r);
}

/* ---- Cuts ------------------------------------------------------------------------------------ */

/* Several lanes, repetitions among the new ones, broken anywhere. */
static void cut_a_stream(proxy_way way, size_t span) {
    rig r = rig_new(3);
    r.proxied = true;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 8; round++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        proxy_cut_after(r.proxy, way, (seed >> 33) % span);
        forward_all(b, r.producer, first_owner, round > 0 ? 150 * round - 70 : 0,
                    150 * round + 150);
        settle(b, r.producer);
    }
    CHECK_EQ(count(b, SEG_OK), b->count);
    CHECK_EQ(check(&r, b), 1200);
    book_free(b);
    rig_close(&r);
}

TEST(cut_while_batches_go) {
    cut_a_stream(PROXY_REQUESTS, 25000);
}

TEST(cut_while_answers_come) {
    cut_a_stream(PROXY_REPLIES, 800);
}

/* An answer is lost at each of its bytes: stored, and found to be. */
TEST(cut_within_a_reply) {
    enum { STEPS = 30 };
    book *b = book_new();
    rig r = rig_new(1);
    r.proxied = true;
    rig_open(&r);
    forward(b, r.producer, first_owner, 0, 0);
    settle(b, r.producer);
    size_t before = proxy_passed(r.proxy, PROXY_REPLIES);
    forward(b, r.producer, first_owner, 1, 0);
    settle(b, r.producer);
    size_t size = proxy_passed(r.proxy, PROXY_REPLIES) - before;
    for (unsigned i = 0; i < STEPS; i++) {
        other o = {NULL, NULL};
        seg_error err;
        CHECK_OK(seg_client_open(&o.client, &r.client_options, &err), &err);
        CHECK_OK(seg_producer_open(&o.producer, o.client, "s", NULL, &err), &err);
        proxy_cut_after(r.proxy, PROXY_REPLIES, (size - 1) * i / STEPS);
        forward(b, o.producer, first_owner, 2 + i, 0);
        settle(b, o.producer);
        CHECK(proxy_has_cut(r.proxy));
        other_close(&o);
    }
    CHECK_EQ(count(b, SEG_OK), STEPS + 2);
    CHECK_EQ(check(&r, b), STEPS + 2);
    book_free(b);
    rig_close(&r);
}

/* ---- Late copies ----------------------------------------------------------------------------- */

/* A producer whose requests stay on the way, and are sent again on the next connection. */
static rig late_rig(void) {
    rig r = rig_new(1);
    r.proxied = true;
    r.client_options.command_timeout = 200;
    r.producer_options.linger = 60000;
    rig_open(&r);
    return r;
}

/* A batch of which the server holds `from` to `to` already. Its first copy is late, and comes
 * before the next messages, or behind them. */
static void late_copy(unsigned from, unsigned to, bool before) {
    rig r = late_rig();
    other o = other_open(&r);
    book *b = book_new();
    b->unordered = to > from + 1; /* another one sends the later ones first */
    send_plain(b, r.producer, 0);
    settle(b, r.producer);
    forward_all(b, o.producer, first_owner, from, to);
    settle(b, o.producer);
    proxy_hold(r.proxy, PROXY_REQUESTS);
    forward_all(b, r.producer, first_owner, 10, 30);
    settle(b, r.producer);
    CHECK_GT(proxy_held(r.proxy, PROXY_REQUESTS), 0);
    size_t stored = check(&r, b);
    if (before)
        proxy_release(r.proxy);
    for (unsigned n = 40; n < 60; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    CHECK_EQ(check(&r, b), stored + 20);
    proxy_release(r.proxy);
    CHECK_EQ(check(&r, b), stored + 20);
    forward_all(b, r.producer, first_owner, 60, 80);
    for (unsigned n = 80; n < 100; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), b->count);
    CHECK_EQ(check(&r, b), stored + 60);
    other_close(&o);
    book_free(b);
    rig_close(&r);
}

TEST(late_and_nothing_was_held) {
    late_copy(10, 10, false);
    late_copy(10, 10, true);
}

TEST(late_and_a_part_was_held) {
    late_copy(12, 13, false);
    late_copy(12, 29, true);
}

TEST(late_and_all_was_held) {
    late_copy(10, 30, false);
    late_copy(10, 30, true);
}

/* The producer is gone, and another one does its work again, all of it committed. The late copy of
 * the first is of an owner who is none any more, or below what was committed. */
TEST(late_after_another_producer) {
    for (unsigned epoch = 5; epoch < 7; epoch++) {
        rig r = late_rig();
        other o = other_open(&r);
        book *b = book_new();
        proxy_hold(r.proxy, PROXY_REQUESTS);
        proxy_refuse(r.proxy, true);
        forward_all(b, r.producer, first_owner, 0, 20);
        push(r.producer);
        WAIT_FOR(PATIENCE, stats_of(r.producer).retries > 0);
        seg_producer_close(r.producer);
        r.producer = NULL;
        CHECK_EQ(count(b, SEG_EUNKNOWN), 20);
        owner next = {first_owner.input, epoch, 0};
        forward_all(b, o.producer, next, 0, 20);
        settle(b, o.producer);
        next.base = 20;
        forward_all(b, o.producer, next, 20, 30);
        settle(b, o.producer);
        proxy_refuse(r.proxy, false);
        proxy_release(r.proxy);
        CHECK_EQ(check(&r, b), 30);
        forward_all(b, o.producer, next, 30, 40);
        settle(b, o.producer);
        CHECK_EQ(check(&r, b), 40);
        other_close(&o);
        book_free(b);
        rig_close(&r);
    }
}

/* ---- No room, no time ------------------------------------------------------------------------ */

static void make_room(rig *r, unsigned bound) {
    server_do(r->server, "HSET sg:{default/s/0}:state bound %u", bound);
}

/* It waits for room as long as that takes, also where others are refused at once. Behind it, the
 * others' delivery timeout holds. */
static void wait_for_room(seg_on_full policy) {
    rig r = rig_new(1);
    r.stream_options.max_messages = 100;
    r.stream_options.on_full = policy;
    r.producer_options.delivery_timeout = 300;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    forward_all(b, r.producer, first_owner, 0, 150);
    for (unsigned n = 150; n < 200; n++)
        send_plain(b, r.producer, n);
    forward_all(b, r.producer, first_owner, 200, 300);
    WAIT_FOR(PATIENCE, waiting_when_polled(b, r.producer) == 150);
    CHECK_EQ(count(b, SEG_EFULL), 50);
    WAIT_FOR(PATIENCE, stats_of(r.producer).full >= 20);
    CHECK_EQ(count(b, SEG_OK), 100); /* to the last place */
    CHECK_EQ(waiting(b), 150);
    make_room(&r, 180);
    WAIT_FOR(PATIENCE, count(b, SEG_OK) == 180);
    make_room(&r, 1000);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 250);
    CHECK_EQ(check(&r, b), 250);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    book_free(b);
    rig_close(&r);
}

TEST(full_and_blocking) {
    wait_for_room(SEG_BLOCK);
}

TEST(full_and_rejecting) {
    wait_for_room(SEG_FAIL);
}

/* Cut to the room that is left, after an answer was lost: the parts are copies of the whole. */
TEST(full_for_what_may_be_stored_already) {
    rig r = late_rig();
    book *b = book_new();
    for (unsigned n = 0; n < 30; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    make_room(&r, 40);
    proxy_hold(r.proxy, PROXY_REQUESTS);
    forward_all(b, r.producer, first_owner, 30, 55);
    push(r.producer);
    WAIT_FOR(PATIENCE, count(b, SEG_OK) == 40);
    WAIT_FOR(PATIENCE, stats_of(r.producer).full > 1);
    make_room(&r, 1000);
    proxy_release(r.proxy);
    settle(b, r.producer);
    for (unsigned n = 55; n < 80; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 80);
    CHECK_EQ(check(&r, b), 80);
    book_free(b);
    rig_close(&r);
}

/* The server does not answer for longer than the delivery timeout, which ends all others. */
TEST(knows_no_delivery_timeout) {
    rig r = rig_new(1);
    r.client_options.command_timeout = 100;
    r.client_options.connect_timeout = 100;
    r.producer_options.delivery_timeout = 400;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    forward_all(b, r.producer, first_owner, 0, 10);
    settle(b, r.producer);
    server_pause(r.server);
    for (unsigned n = 10; n < 200; n++) {
        if (n % 20 < 10)
            send_plain(b, r.producer, n);
        else
            forward(b, r.producer, first_owner, n, 0);
    }
    WAIT_FOR(PATIENCE, waiting_when_polled(b, r.producer) == 100);
    server_resume(r.server);
    settle(b, r.producer);
    CHECK_GT(count(b, SEG_ETIMEDOUT), 0);
    CHECK_EQ(count(b, SEG_OK), 110);
    check(&r, b);
    book_free(b);
    rig_close(&r);
}

/* A plain message's deadline is watched although only a forwarded one is under way. */
TEST(a_deadline_behind_one_that_has_none) {
    rig r = rig_new(1);
    r.client_options.command_timeout = 60000;
    r.producer_options.delivery_timeout = 300;
    rig_open(&r);
    book *b = book_new();
    server_pause(r.server);
    forward(b, r.producer, first_owner, 0, 0);
    WAIT_FOR(PATIENCE, stats_of(r.producer).batches == 1);
    text t;
    seg_error err;
    seg_record record = make(b, 8, 0, &t);
    int64_t start = test_now_ms();
    CHECK_STATUS(seg_send(r.producer, &record, NULL, &err), SEG_ETIMEDOUT, &err);
    CHECK_LT(test_now_ms() - start, 20000); /* not the command timeout */
    CHECK_EQ(waiting(b), 1);
    server_resume(r.server);
    settle(b, r.producer);
    CHECK_EQ(check(&r, b), 1);
    book_free(b);
    rig_close(&r);
}

typedef struct resumer {
    pthread_t thread;
    rig *r;
    book *b;
} resumer;

static void *forward_more(void *arg) {
    resumer *s = arg;
    forward_all(s->b, s->r->producer, first_owner, 1000, 1200);
    return NULL;
}

TEST(a_full_queue_is_waited_for_or_not) {
    rig r = rig_new(1);
    r.producer_options.max_queued = 64 * 1024;
    rig_open(&r);
    book *b = book_new();
    seg_error err;
    unsigned n = 0;
    server_pause(r.server);
    while (try_forward(b, r.producer, first_owner, n, 0, false, &err) == SEG_OK)
        CHECK_LT(++n, 1000);
    CHECK_STATUS(err.status, SEG_EFULL, &err);
    CHECK_GT(stats_of(r.producer).queued_bytes, 60 * 1024);
    resumer s = {.r = &r, .b = b};
    CHECK_EQ(pthread_create(&s.thread, NULL, forward_more, &s), 0);
    server_resume(r.server);
    CHECK_EQ(pthread_join(s.thread, NULL), 0);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), n + 200);
    CHECK_EQ(check(&r, b), n + 200);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    book_free(b);
    rig_close(&r);
}
