/* Forwarded messages where things end: producers and clients closed, streams deleted, rights and
 * memory taken away, a server that forgets; and all of it in any order. */
#include "base/alloc.h"
#include "forward_rig.h"

/* ---- The end --------------------------------------------------------------------------------- */

/* Some are under way, some wait. Each is told once; what was not told unknown did not happen. */
static void end_with(bool client) {
    rig r = rig_new(2);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    forward_all(b, r.producer, first_owner, 0, 20);
    settle(b, r.producer);
    uint64_t stored = stats_of(r.producer).batches;
    server_pause(r.server);
    forward_all(b, r.producer, first_owner, 20, 400);
    for (unsigned n = 400; n < 440; n++)
        send_plain(b, r.producer, n);
    WAIT_FOR(PATIENCE, stats_of(r.producer).batches > stored);
    if (client) {
        seg_client_close(r.client);
        r.client = NULL;
        WAIT_FOR(PATIENCE, waiting_when_polled(b, r.producer) == 0);
        seg_error err;
        CHECK_STATUS(try_forward(b, r.producer, first_owner, 500, 0, true, &err), SEG_ECLOSED,
                     &err);
    }
    seg_producer_close(r.producer);
    r.producer = NULL;
    CHECK_EQ(waiting(b), 0);
    CHECK_EQ(count(b, SEG_OK), 20);
    CHECK_GT(count(b, SEG_EUNKNOWN), 0);
    CHECK_GT(count(b, SEG_ECLOSED), 0);
    server_resume(r.server);
    seg_client_close(r.client);
    r.client = NULL;
    /* The closed client's connection is read to its end before it is gone. */
    WAIT_FOR(PATIENCE, server_info(r.server, "connected_clients") == 1);
    check(&r, b);
    book_free(b);
    rig_close(&r);
}

TEST(the_producer_is_closed) {
    end_with(false);
}

TEST(the_client_is_closed) {
    end_with(true);
}

TEST(the_stream_is_deleted) {
    rig r = rig_new(2);
    rig_open(&r);
    other o = other_open(&r);
    book *b = book_new();
    seg_error err;
    CHECK_OK(seg_stream_delete(o.client, "s", &err), &err);
    /* What is taken before the producer has found out gets its outcome; after that nothing is taken. */
    unsigned taken = 0;
    while (taken < 100 && try_forward(b, r.producer, first_owner, taken, 0, true, &err) == SEG_OK)
        taken++;
    CHECK(taken > 0);
    WAIT_FOR(PATIENCE, waiting(b) == 0);
    CHECK_EQ(count(b, SEG_ENOENT), taken);
    CHECK_STATUS(try_forward(b, r.producer, first_owner, 100, 0, true, &err), SEG_ENOENT, &err);
    other_close(&o);
    book_free(b);
    rig_close(&r);
}

/* ---- A server that forgets ------------------------------------------------------------------- */

static const char state[] = "sg:{default/s/0}:state";

/* A producer with something stored, and its record on the server replaced. */
static rig forgetful_rig(book *b, const char *record) {
    rig r = rig_new(1);
    rig_open(&r);
    for (unsigned n = 0; n < 10; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    if (record == NULL)
        CHECK_EQ(server_int(r.server, "HDEL %s p:%s", state, r.producer->id), 1);
    else
        CHECK_EQ(server_int(r.server, "HSET %s p:%s %s", state, r.producer->id, record), 0);
    return r;
}

static void goes_on(const char *record) {
    book *b = book_new();
    rig r = forgetful_rig(b, record);
    forward_all(b, r.producer, first_owner, 10, 30);
    for (unsigned n = 30; n < 40; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 40);
    CHECK_EQ(check(&r, b), 40);
    book_free(b);
    rig_close(&r);
}

TEST(it_forgets_the_producer) {
    goes_on(NULL);
}

TEST(it_knows_a_later_generation) {
    goes_on("50 3 1000 3:2");
}

/* Less than it had acknowledged, though its log is whole. */
TEST(it_knows_less_of_the_producer) {
    goes_on("1 4 1000 4:3");
}

/* ---- Rights and memory ----------------------------------------------------------------------- */

TEST(a_missing_right) {
    rig r = rig_new(1);
    rig_open(&r);
    book *b = book_new();
    server_do(r.server, "ACL SETUSER default -zadd");
    forward_all(b, r.producer, first_owner, 0, 10);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_EACCES), 10);
    CHECK_CONTAINS(last_error(b).text, "partition 0");
    for (unsigned n = 10; n < 20; n++)
        send_plain(b, r.producer, n);
    settle(b, r.producer);
    server_do(r.server, "ACL SETUSER default +zadd");
    forward_all(b, r.producer, first_owner, 20, 30);
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), 20);
    CHECK_EQ(check(&r, b), 20);
    book_free(b);
    rig_close(&r);
}

TEST(the_server_is_out_of_memory) {
    rig r = rig_new(1);
    r.producer_options.delivery_timeout = 200;
    rig_open(&r);
    book *b = book_new();
    forward_all(b, r.producer, first_owner, 0, 10);
    settle(b, r.producer);
    server_do(r.server, "CONFIG SET maxmemory 1");
    forward_all(b, r.producer, first_owner, 5, 30);
    for (unsigned n = 30; n < 35; n++)
        send_plain(b, r.producer, n);
    WAIT_FOR(PATIENCE,
             waiting_when_polled(b, r.producer) == 20 || waiting_when_polled(b, r.producer) == 25);
    WAIT_FOR(PATIENCE, stats_of(r.producer).retries > 8);
    server_do(r.server, "CONFIG SET maxmemory 0");
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_EOOM), 5);
    CHECK_EQ(count(b, SEG_OK), 35);
    CHECK_EQ(check(&r, b), 30);
    book_free(b);
    rig_close(&r);
}

/* Fail each allocation, and all from one on: what was taken is stored, and told once. */
static void fail_allocations(bool forever) {
    rig r = rig_new(2);
    rig_open(&r);
    book *b = book_new();
    seg_error err;
    for (unsigned n = 1; n < 60; n++) {
        sg_alloc_fail_at(n % 30 + 1, forever);
        for (unsigned i = 0; i < INDEXES; i++) {
            seg_status s = try_forward(b, r.producer, first_owner, n, i, false, &err);
            CHECK(s == SEG_OK || s == SEG_ENOMEM);
        }
        sg_alloc_fail_at(0, 0);
        if (n % 3 == 0)
            settle(b, r.producer);
    }
    settle(b, r.producer);
    CHECK_EQ(count(b, SEG_OK), b->count);
    CHECK_EQ(check(&r, b), b->count);
    CHECK_EQ(stats_of(r.producer).queued_bytes, 0);
    book_free(b);
    rig_close(&r);
}

TEST(one_allocation_fails) {
    fail_allocations(false);
}

TEST(all_allocations_fail_from_one_on) {
    fail_allocations(true);
}

/* ---- All of it ------------------------------------------------------------------------------- */

static size_t random_below(uint64_t *seed, size_t n) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*seed >> 33) % n;
}

static void do_harm(rig *r, uint64_t *seed) {
    seg_error err;
    switch (random_below(seed, 9)) {
    case 0:
        proxy_cut(r->proxy);
        break;
    case 1:
        proxy_cut_after(r->proxy, PROXY_REQUESTS, random_below(seed, 10000));
        break;
    case 2:
        proxy_cut_after(r->proxy, PROXY_REPLIES, random_below(seed, 500));
        break;
    case 3:
        proxy_hold(r->proxy, PROXY_REQUESTS);
        break;
    case 4:
        proxy_hold(r->proxy, PROXY_REPLIES);
        break;
    case 5:
        proxy_release(r->proxy);
        break;
    case 6:
        server_pause(r->server);
        CHECK_OK(seg_producer_poll(r->producer, 120, &err), &err);
        server_resume(r->server);
        break;
    case 7:
        server_do(r->server, "CLIENT KILL TYPE normal SKIPME yes");
        break;
    default: /* a round in peace */
        CHECK(seg_producer_flush(r->producer, PATIENCE, &err) == SEG_OK);
    }
}

/* What its owner may commit: all outputs before it are stored. */
static unsigned committed(book *b) {
    static bool stored[NUMBERS];
    unsigned n = 0;
    memset(stored, 0, sizeof stored);
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++)
        if (b->calls[i]->told > 0 && b->calls[i]->status == SEG_OK)
            stored[b->calls[i]->n] = true;
    pthread_mutex_unlock(&b->lock);
    while (n < NUMBERS && stored[n])
        n++;
    return n;
}

/* The connection may be broken just now. */
static seg_producer *open_in_spite(rig *r) {
    seg_producer *p = NULL;
    seg_error err;
    WAIT_FOR(PATIENCE, seg_producer_open(&p, r->client, "s", &r->producer_options, &err) == SEG_OK);
    return p;
}

enum { ZOMBIES = 4 };

/* An input with an owner, who repeats what is not committed, loses the input to the next one with
 * all its calls under way, and goes on for a while without knowing. */
TEST_DEADLINE(everything_breaks_in_any_order, 120) {
    rig r = rig_new(2);
    r.proxied = true;
    r.client_options.command_timeout = 100;
    r.client_options.connect_timeout = 100;
    r.producer_options.delivery_timeout = 400;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    uint64_t seed = test_seed();
    seg_producer *zombies[ZOMBIES] = {NULL};
    owner now = first_owner, before = now;
    for (unsigned round = 0; round < 40; round++) {
        if (random_below(&seed, 4) == 0) {
            size_t at = random_below(&seed, ZOMBIES);
            seg_producer_close(zombies[at]);
            zombies[at] = r.producer;
            r.producer = open_in_spite(&r);
            before = now;
            now.epoch++;
            forward_all(b, zombies[at], before, (unsigned)before.base, (unsigned)before.base + 20);
        }
        now.base = committed(b);
        unsigned more = 10 + (unsigned)random_below(&seed, 60);
        forward_all(b, r.producer, now, (unsigned)now.base, (unsigned)now.base + more);
        do_harm(&r, &seed);
        seg_error err;
        CHECK_OK(seg_producer_poll(r.producer, 20, &err), &err);
    }
    proxy_release(r.proxy);
    WAIT_FOR(PATIENCE, waiting(b) == 0);
    check(&r, b);
    now.epoch++;
    now.base = committed(b);
    forward_all(b, r.producer, now, (unsigned)now.base, (unsigned)now.base + 200);
    settle(b, r.producer);
    CHECK_EQ(committed(b), now.base + 200);
    CHECK_EQ(check(&r, b), now.base + 200);
    for (size_t i = 0; i < ZOMBIES; i++)
        seg_producer_close(zombies[i]);
    book_free(b);
    rig_close(&r);
}
