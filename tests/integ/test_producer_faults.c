/* The producer while connections break, the server dies, forgets its scripts or memory runs out:
 * what was acknowledged is there once, what was certainly not done is not, order holds. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "producer_rig.h"

/* ---- Cuts ----------------------------------------------------------------------------------- */

static rig cut_rig(uint32_t partitions) {
    rig r = rig_new(partitions);
    r.proxied = true;
    rig_open(&r);
    return r;
}

/* Bytes of one request for a message of 20 bytes, or of its reply. */
static size_t measure(rig *r, ledger *l, proxy_way way) {
    seg_error err;
    CHECK_OK(ledger_send(l, r->producer, 0, 20, &err), &err);
    size_t before = proxy_passed(r->proxy, way);
    CHECK_OK(ledger_send(l, r->producer, 0, 20, &err), &err);
    return proxy_passed(r->proxy, way) - before;
}

/* A client and producer of their own: a client waits longer each time before it connects again. */
static seg_status send_by_another(rig *r, ledger *l, proxy_way way, size_t at, uint64_t *retries) {
    seg_client *c = NULL;
    seg_producer *p = NULL;
    seg_error err;
    CHECK_OK(seg_client_open(&c, &r->client_options, &err), &err);
    CHECK_OK(seg_producer_open(&p, c, "s", NULL, &err), &err);
    proxy_cut_after(r->proxy, way, at);
    seg_status s = ledger_send(l, p, 0, 20, NULL);
    CHECK_EQ(stats_of(p).failed, 0);
    *retries += stats_of(p).retries > 0 ? 1 : 0;
    seg_producer_close(p);
    seg_client_close(c);
    return s;
}

/* One send for each place at which the connection can break, `steps` of them, the first byte and
 * the last included. */
static void cut_everywhere(proxy_way way, size_t steps) {
    rig r = cut_rig(1);
    ledger *l = ledger_new(1);
    size_t size = measure(&r, l, way);
    uint64_t retries = 0;
    for (size_t i = 0; i <= steps; i++) {
        CHECK_STATUS(send_by_another(&r, l, way, (size - 1) * i / steps, &retries), SEG_OK, NULL);
        CHECK(proxy_has_cut(r.proxy));
    }
    /* All but those where another of the client's connections was heard first. */
    CHECK_GE(retries, steps - steps / 4);
    CHECK_EQ(rig_check(&r, l), steps + 3);
    ledger_free(l);
    rig_close(&r);
}

/* The request never arrives whole. */
TEST(cut_within_a_request) {
    cut_everywhere(PROXY_REQUESTS, 40);
}

/* It is executed, and the answer does not arrive: the retry is recognised. */
TEST(cut_within_a_reply) {
    cut_everywhere(PROXY_REPLIES, 40);
}

static size_t random_below(uint64_t *state, size_t n) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*state >> 33) % n;
}

/* Several batches under way in several partitions, cut anywhere. */
static void cut_a_stream_of_batches(proxy_way way, size_t span) {
    rig r = rig_new(3);
    r.proxied = true;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(16);
    seg_error err;
    uint64_t seed = test_seed();
    for (int round = 0; round < 8; round++) {
        proxy_cut_after(r.proxy, way, random_below(&seed, span));
        for (unsigned i = 0; i < 150; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, random_below(&seed, 300), &err),
                     &err);
        ledger_settle(l, r.producer, PATIENCE);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), 1200);
    CHECK_EQ(rig_check(&r, l), 1200);
    ledger_free(l);
    rig_close(&r);
}

TEST(cut_while_batches_go) {
    cut_a_stream_of_batches(PROXY_REQUESTS, 25000);
}

TEST(cut_while_answers_come) {
    cut_a_stream_of_batches(PROXY_REPLIES, 800);
}

TEST(one_byte_at_a_time) {
    rig r = cut_rig(2);
    ledger *l = ledger_new(4);
    seg_error err;
    proxy_bytewise(r.proxy, PROXY_REQUESTS, true);
    proxy_bytewise(r.proxy, PROXY_REPLIES, true);
    for (unsigned i = 0; i < 8; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 30, &err), &err);
    ledger_settle(l, r.producer, PATIENCE);
    CHECK_EQ(rig_check(&r, l), 8);
    ledger_free(l);
    rig_close(&r);
}

/* Answers that take long are waited for: behind the first, the next ones are under way. */
TEST(a_slow_line_delays_and_breaks_nothing) {
    rig r = cut_rig(1);
    ledger *l = ledger_new(4);
    seg_error err;
    proxy_delay(r.proxy, PROXY_REPLIES, 30);
    proxy_delay(r.proxy, PROXY_REQUESTS, 30);
    for (unsigned i = 0; i < 2000; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 200, &err), &err);
    ledger_settle(l, r.producer, PATIENCE);
    CHECK_EQ(rig_check(&r, l), 2000);
    CHECK_EQ(stats_of(r.producer).retries, 0);
    CHECK_EQ(proxy_accepted(r.proxy), 1);
    ledger_free(l);
    rig_close(&r);
}

/* ---- Black holes ---------------------------------------------------------------------------- */

/* The connection takes requests and nothing comes back: given up after the command timeout, and the
 * next connection works. */
static void black_hole(proxy_way way) {
    rig r = rig_new(2);
    r.proxied = true;
    r.client_options.command_timeout = 300;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    for (int round = 0; round < 3; round++) {
        proxy_hold(r.proxy, way);
        for (unsigned i = 0; i < 50; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 4, 50, &err), &err);
        ledger_settle(l, r.producer, PATIENCE);
        proxy_release(r.proxy);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), 150);
    CHECK_EQ(rig_check(&r, l), 150);
    ledger_free(l);
    rig_close(&r);
}

TEST(black_hole_for_requests) {
    black_hole(PROXY_REQUESTS);
}

TEST(black_hole_for_replies) {
    black_hole(PROXY_REPLIES);
}

/* ---- The server dies ------------------------------------------------------------------------ */

/* appendfsync always: an answer means that it is on the disk, so nothing that was acknowledged may
 * be missing after a kill -9, and a retry of what was lost with the answer is recognised. */
TEST(killed_and_restarted_with_a_durable_server) {
    const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    rig r = rig_new(3);
    r.server_args = args;
    r.producer_options.max_batch = 2048;
    rig_open(&r);
    ledger *l = ledger_new(16);
    seg_error err;
    for (int round = 0; round < 4; round++) {
        size_t before = ledger_count(l, SEG_OK);
        for (unsigned i = 0; i < 400; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, 100, &err), &err);
        while (ledger_count(l, SEG_OK) < before + 50)
            CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
        server_kill9(r.server);
        server_restart(r.server);
        ledger_settle(l, r.producer, PATIENCE);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), 1600);
    CHECK_EQ(rig_check(&r, l), 1600);
    ledger_free(l);
    rig_close(&r);
}

/* Without persistence the stream is gone after a restart: said, and nothing hangs. */
TEST(restarted_without_its_data) {
    rig r = rig_new(1);
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    server_kill9(r.server);
    server_restart(r.server);
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "\"s\"");
    /* From then on at once, and to every call. */
    CHECK_STATUS(ledger_send_async(l, r.producer, 0, 20, &err), SEG_ENOENT, &err);
    CHECK_OK(seg_producer_flush(r.producer, PATIENCE, &err), &err);
    ledger_free(l);
    rig_close(&r);
}

/* ---- Forgotten scripts and killed clients --------------------------------------------------- */

typedef struct flusher {
    pthread_t thread;
    server *server;
    atomic_bool stop;
    int times;
} flusher;

static void *flush_scripts(void *arg) {
    flusher *f = arg;
    while (!atomic_load(&f->stop)) {
        server_do(f->server, "SCRIPT FLUSH");
        f->times++;
    }
    return NULL;
}

TEST(scripts_are_flushed_all_the_time) {
    rig r = rig_new(3);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(16);
    seg_error err;
    flusher f = {.server = r.server};
    CHECK_EQ(pthread_create(&f.thread, NULL, flush_scripts, &f), 0);
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 100; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, 100, &err), &err);
        ledger_settle(l, r.producer, PATIENCE);
    }
    atomic_store(&f.stop, true);
    CHECK_EQ(pthread_join(f.thread, NULL), 0);
    CHECK_GT(f.times, 1);
    CHECK_EQ(ledger_count(l, SEG_OK), 2000);
    CHECK_EQ(rig_check(&r, l), 2000);
    ledger_free(l);
    rig_close(&r);
}

TEST(clients_are_killed_again_and_again) {
    rig r = rig_new(3);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(16);
    seg_error err;
    for (size_t round = 1; round <= 8; round++) {
        for (unsigned i = 0; i < 200; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, 100, &err), &err);
        while (ledger_count(l, SEG_OK) < 200 * (round - 1) + 20)
            CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
        server_do(r.server, "CLIENT KILL TYPE normal SKIPME yes");
        ledger_settle(l, r.producer, PATIENCE);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), 1600);
    CHECK_EQ(rig_check(&r, l), 1600);
    ledger_free(l);
    rig_close(&r);
}

/* ---- Allocation ----------------------------------------------------------------------------- */

/* Fail the n-th allocation of one synchronous send, for every n until none is left to fail: each
 * send is stored, or says honestly that it is not. Allocations of the loop thread count as well. */
static void fail_allocations(int forever) {
    rig r = rig_new(2);
    r.producer_options.delivery_timeout = 500;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    uint64_t most = forever ? 12 : 60;
    for (uint64_t n = 1; n <= most; n++) {
        sg_alloc_fail_at(n, forever);
        seg_status s = ledger_send(l, r.producer, (unsigned)n % 4, 200, &err);
        sg_alloc_fail_at(0, 0);
        CHECK(s == SEG_OK || s == SEG_ENOMEM || s == SEG_ETIMEDOUT || s == SEG_EUNKNOWN ||
              s == SEG_ECONN);
    }
    CHECK_GT(ledger_count(l, SEG_OK), 0);
    WAIT_FOR(PATIENCE, ledger_send(l, r.producer, 0, 20, &err) == SEG_OK);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

TEST(one_allocation_fails) {
    fail_allocations(0);
}

TEST(all_allocations_fail_from_one_on) {
    fail_allocations(1);
}

/* The same for opening and closing. */
TEST(allocations_fail_while_it_opens) {
    rig r = rig_new(2);
    r.client_options.command_timeout = 500;
    rig_open(&r);
    seg_error err;
    uint64_t n = 0;
    bool opened_untouched = false;
    while (!opened_untouched) {
        CHECK_LT(++n, 500);
        seg_producer *p = NULL;
        sg_alloc_fail_at(n, 0);
        seg_status s = seg_producer_open(&p, r.client, "s", NULL, &err);
        /* As many as before the failing one, or more, were made: was it among them? */
        opened_untouched = sg_alloc_fail_at(0, 0) < n;
        CHECK_EQ(s == SEG_OK, p != NULL);
        if (s != SEG_OK)
            CHECK(s == SEG_ENOMEM || s == SEG_ECONN || s == SEG_ETIMEDOUT);
        seg_producer_close(p);
    }
    rig_close(&r);
}
