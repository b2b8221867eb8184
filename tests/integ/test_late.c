/* Zombies: requests that a server executes after the client that sent them has given them up. A
 * stopped server does it, and so does a network that delivers late. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer_rig.h"

/* A client that the server did not hear of yet, or the rig's. */
static seg_client *open_client(rig *r) {
    seg_client *c = NULL;
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(r->server);
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    return c;
}

/* ---- By the proxy: exactly this request is late --------------------------------------------- */

/* Held, lost with its connection, sent again on the next one, stored; then the first copy arrives:
 *
 *   A (generation 1, sequence 1) ── held ───────────────────────> server: duplicate
 *   A (generation 1, sequence 1) ───────────────> stored
 */
TEST(a_late_copy_of_what_was_stored) {
    rig r = rig_new(1);
    r.proxied = true;
    r.client_options.command_timeout = 200;
    rig_open(&r);
    ledger *l = ledger_new(2);
    seg_error err;
    proxy_hold(r.proxy, PROXY_REQUESTS);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    CHECK_GT(proxy_held(r.proxy, PROXY_REQUESTS), 0);
    CHECK_EQ(rig_check(&r, l), 1);
    proxy_release(r.proxy);
    CHECK_EQ(rig_check(&r, l), 1);
    CHECK_OK(ledger_send(l, r.producer, 1, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 2);
    ledger_free(l);
    rig_close(&r);
}

/* Hold the connection there is, refuse others, send until the delivery timeout: unknown. */
static void give_up(rig *r, ledger *l, unsigned messages) {
    seg_error err;
    proxy_hold(r->proxy, PROXY_REQUESTS);
    proxy_refuse(r->proxy, true);
    for (unsigned i = 0; i < messages; i++)
        CHECK_OK(ledger_send_async(l, r->producer, i % 4, 200, &err), &err);
    ledger_settle(l, r->producer, PATIENCE);
    CHECK_EQ(ledger_count(l, SEG_OK), 0);
    CHECK_GT(ledger_count(l, SEG_EUNKNOWN), 0);
    CHECK_GT(proxy_held(r->proxy, PROXY_REQUESTS), 0);
    proxy_refuse(r->proxy, false);
}

static rig late_rig(void) {
    rig r = rig_new(1);
    r.proxied = true;
    r.client_options.command_timeout = 200;
    r.producer_options.delivery_timeout = 500;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    return r;
}

/* Given up, and the producer went on with a newer generation: the late ones are refused, or they
 * would lie behind what was sent after them. */
TEST(late_after_a_newer_generation) {
    rig r = late_rig();
    ledger *l = ledger_new(4);
    seg_error err;
    give_up(&r, l, 40);
    WAIT_FOR(PATIENCE, ledger_send(l, r.producer, 0, 20, &err) == SEG_OK);
    size_t stored = rig_check(&r, l);
    proxy_release(r.proxy);
    CHECK_EQ(rig_check(&r, l), stored);
    for (unsigned i = 0; i < 4; i++)
        CHECK_OK(ledger_send(l, r.producer, i, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), stored + 4);
    ledger_free(l);
    rig_close(&r);
}

/* Late, but nothing was sent since: it may be stored, and what is sent then comes after it. */
TEST(late_and_nothing_since) {
    rig r = late_rig();
    ledger *l = ledger_new(4);
    seg_error err;
    give_up(&r, l, 40);
    proxy_release(r.proxy);
    rig_check(&r, l);
    for (unsigned i = 0; i < 4; i++)
        WAIT_FOR(PATIENCE, ledger_send(l, r.producer, i, 20, &err) == SEG_OK);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* The producer is closed, and another one of the stream has sent: the late message is stored
 * between whatever others, and takes no offset from them. */
TEST(late_after_another_producer) {
    rig r = late_rig();
    ledger *l = ledger_new(8);
    seg_error err;
    give_up(&r, l, 40);
    seg_producer_close(r.producer);
    r.producer = NULL;
    seg_client *c = open_client(&r);
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, c, "s", NULL, &err), &err);
    for (unsigned i = 0; i < 10; i++)
        CHECK_OK(ledger_send(l, p, 4 + i % 4, 20, &err), &err);
    size_t stored = rig_check(&r, l);
    CHECK_EQ(stored, 10);
    proxy_release(r.proxy);
    for (unsigned i = 0; i < 10; i++)
        CHECK_OK(ledger_send(l, p, 4 + i % 4, 20, &err), &err);
    CHECK_LE(rig_check(&r, l), 20 + ledger_count(l, SEG_EUNKNOWN));
    seg_producer_close(p);
    seg_client_close(c);
    ledger_free(l);
    rig_close(&r);
}

/* The stream was deleted and made anew: another incarnation, which the late message is not for. */
TEST(late_for_a_stream_that_was_made_anew) {
    rig r = late_rig();
    ledger *l = ledger_new(4);
    seg_error err;
    give_up(&r, l, 40);
    seg_client *c = open_client(&r);
    CHECK_OK(seg_stream_delete(c, "s", &err), &err);
    CHECK_OK(seg_stream_create(c, "s", &r.stream_options, &err), &err);
    proxy_release(r.proxy);
    CHECK_EQ(rig_check(&r, l), 0);
    /* Nothing has been left in a state in which it takes no messages. */
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, c, "s", NULL, &err), &err);
    CHECK_OK(ledger_send(l, p, 0, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 1);
    seg_producer_close(p);
    seg_client_close(c);
    ledger_free(l);
    rig_close(&r);
}

/* The first part of a transaction arrives late, its end never: nothing of it is done. */
TEST(late_and_only_in_part) {
    rig r = late_rig();
    ledger *l = ledger_new(4);
    seg_error err;
    proxy_cut_after(r.proxy, PROXY_REQUESTS, 400);
    proxy_refuse(r.proxy, true);
    CHECK_OK(ledger_send_async(l, r.producer, 0, 200, &err), &err);
    ledger_settle(l, r.producer, PATIENCE);
    CHECK(proxy_has_cut(r.proxy));
    CHECK_EQ(ledger_count(l, SEG_EUNKNOWN), 1);
    CHECK_EQ(rig_check(&r, l), 0);
    proxy_refuse(r.proxy, false);
    WAIT_FOR(PATIENCE, ledger_send(l, r.producer, 0, 20, &err) == SEG_OK);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}

/* ---- By a stopped server -------------------------------------------------------------------- */

/* It runs what a closed client had sent, once it runs again: before or after another's. */
TEST(a_stopped_server_runs_what_a_closed_client_sent) {
    rig r = rig_new(2);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(16);
    seg_error err;
    seg_client *other = open_client(&r);
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, other, "s", NULL, &err), &err);
    CHECK_OK(ledger_send(l, p, 8, 20, &err), &err);
    server_pause(r.server);
    for (unsigned i = 0; i < 100; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 8, 100, &err), &err);
    WAIT_FOR(PATIENCE, stats_of(r.producer).batches > 2);
    seg_producer_close(r.producer);
    seg_client_close(r.client);
    r.producer = NULL;
    r.client = NULL;
    CHECK_EQ(ledger_waiting(l), 0);
    CHECK_EQ(ledger_count(l, SEG_EUNKNOWN) + ledger_count(l, SEG_ECLOSED), 100);
    for (unsigned i = 0; i < 100; i++)
        CHECK_OK(ledger_send_async(l, p, 8 + i % 8, 100, &err), &err);
    server_resume(r.server);
    ledger_settle(l, p, PATIENCE);
    /* The closed client's connection is read to its end before it is gone. */
    WAIT_FOR(PATIENCE, server_info(r.server, "connected_clients") == 2);
    CHECK_EQ(ledger_count(l, SEG_OK), 101);
    CHECK_GE(rig_check(&r, l), 101);
    CHECK_OK(ledger_send(l, p, 8, 20, &err), &err);
    rig_check(&r, l);
    seg_producer_close(p);
    seg_client_close(other);
    ledger_free(l);
    rig_close(&r);
}

/* The same producer on new connections, each of which leaves its requests behind at the server. */
TEST(a_stopped_server_runs_what_the_same_producer_has_sent_again) {
    rig r = rig_new(2);
    r.client_options.command_timeout = 150;
    r.client_options.connect_timeout = 150;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(8);
    seg_error err;
    for (int round = 0; round < 3; round++) {
        uint64_t retries = stats_of(r.producer).retries;
        server_pause(r.server);
        for (unsigned i = 0; i < 100; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 8, 100, &err), &err);
        WAIT_FOR(PATIENCE, stats_of(r.producer).retries > retries);
        server_resume(r.server);
        ledger_settle(l, r.producer, PATIENCE);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), 300);
    CHECK_EQ(rig_check(&r, l), 300);
    ledger_free(l);
    rig_close(&r);
}

/* ---- Unknown ones, in a row ----------------------------------------------------------------- */

static long long stored(rig *r) {
    return server_int(r->server, "XLEN sg:{default/s/0}:log");
}

/* Two batches are stored and neither answer arrives. The first is given up at its deadline, and
 * with it the sequence that both belong to; the second must not be sent again under the next one,
 * since the server could not recognise it:
 *
 *   producer: A(gen 1, seq 1), B(gen 1, seq 2) ── answers lost ── A given up ── B(gen 2, seq 1)?
 *   server:   A, B stored                                                      B stored twice
 */
TEST(given_up_before_the_one_behind_it) {
    rig r = rig_new(1);
    r.proxied = true;
    r.client_options.command_timeout = 1800;
    r.producer_options.delivery_timeout = 3000;
    rig_open(&r);
    ledger *l = ledger_new(2);
    seg_error err;
    proxy_hold(r.proxy, PROXY_REPLIES);
    int64_t start = test_now_ms();
    CHECK_OK(ledger_send_async(l, r.producer, 0, 20, &err), &err);
    WAIT_FOR(PATIENCE, stored(&r) == 1);
    WAIT_FOR(PATIENCE, test_now_ms() >= start + 1400); /* their deadlines are to lie apart */
    CHECK_OK(ledger_send_async(l, r.producer, 1, 20, &err), &err);
    proxy_refuse(r.proxy, true);
    seg_status s = seg_producer_flush(r.producer, 200, &err); /* it gathers behind the first */
    CHECK_STATUS(s, SEG_ETIMEDOUT, &err);
    WAIT_FOR(PATIENCE, stored(&r) == 2);
    while (ledger_waiting(l) == 2)
        CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
    CHECK_GE(ledger_count(l, SEG_EUNKNOWN), 1);
    proxy_refuse(r.proxy, false);
    ledger_settle(l, r.producer, PATIENCE);
    WAIT_FOR(PATIENCE, ledger_send(l, r.producer, 0, 20, &err) == SEG_OK);
    proxy_release(r.proxy);
    CHECK_GE(rig_check(&r, l), 3);
    ledger_free(l);
    rig_close(&r);
}

/* ---- All of it ------------------------------------------------------------------------------ */

static size_t random_below(uint64_t *state, size_t n) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*state >> 33) % n;
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
        CHECK_OK(seg_producer_flush(r->producer, PATIENCE, &err), &err);
    }
}

/* Whatever order things break in, the ledger is right. The seed that a failure prints repeats it
 * closely: the choices, not the timing. */
TEST(everything_breaks_in_any_order) {
    rig r = rig_new(2);
    r.proxied = true;
    r.client_options.command_timeout = 100;
    r.client_options.connect_timeout = 100;
    r.producer_options.delivery_timeout = 400;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(8);
    uint64_t seed = test_seed();
    seg_error err;
    for (int round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 60; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 8, random_below(&seed, 300), &err), &err);
        if (random_below(&seed, 2) == 0)
            CHECK_OK(seg_producer_poll(r.producer, 20, &err), &err);
        do_harm(&r, &seed);
        CHECK_OK(seg_producer_poll(r.producer, 20, &err), &err);
    }
    proxy_release(r.proxy);
    ledger_settle(l, r.producer, PATIENCE);
    rig_check(&r, l);
    for (unsigned i = 0; i < 8; i++)
        WAIT_FOR(PATIENCE, ledger_send(l, r.producer, i, 20, &err) == SEG_OK);
    rig_check(&r, l);
    ledger_free(l);
    rig_close(&r);
}
