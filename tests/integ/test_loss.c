/* The server comes back with older data than it had acknowledged. Who knows of what is gone is told,
 * no offset stands for two messages, and all go on.
 *
 * A snapshot is what the server comes back with: what was stored after it is lost. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy.h"
#include "rig.h"

typedef struct told {
    size_t n;
    seg_loss of[16];
} told;

static void note_loss(const seg_loss *loss, void *arg) {
    told *t = arg;
    CHECK_LT(t->n, 16);
    t->of[t->n++] = *loss;
}

static void check_loss(const told *t, seg_loss_what what, uint64_t first, uint64_t end) {
    CHECK_EQ(t->n, 1);
    CHECK_EQ(t->of[0].what, what);
    CHECK_EQ(t->of[0].partition, 0);
    CHECK_EQ(t->of[0].era, 1);
    CHECK_EQ(t->of[0].first, first);
    CHECK_EQ(t->of[0].end, end);
}

/* A server, a client, the stream "s" of one partition, a producer that is told. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    told by_producer, by_consumer;
    rig_inbox *in;
} bench;

static seg_producer *open_producer(seg_client *c, told *t) {
    seg_producer_options o;
    seg_error err;
    seg_producer *p;
    SEG_INIT(&o);
    o.on_loss = t != NULL ? note_loss : NULL;
    o.loss_arg = t;
    CHECK_OK(seg_producer_open(&p, c, "s", &o, &err), &err);
    return p;
}

static bench *set_up(void) {
    bench *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->s = server_start(NULL);
    b->c = rig_client(b->s);
    rig_stream(b->c, "s", 1);
    b->p = open_producer(b->c, &b->by_producer);
    b->in = calloc(1, sizeof *b->in);
    CHECK(b->in != NULL);
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
    free(b);
}

static void snapshot(const bench *b) {
    server_do(b->s, "SAVE");
}

static void go_back(const bench *b) {
    server_kill9(b->s);
    server_restart(b->s);
}

static seg_status send_number(seg_producer *p, unsigned number, seg_position *where) {
    char value[16];
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.key = (seg_bytes){"k", 1};
    r.value = (seg_bytes){value, (size_t)snprintf(value, sizeof value, "%u", number)};
    return seg_send(p, &r, where, &err);
}

static void send_run(seg_producer *p, unsigned first, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(send_number(p, first + i, NULL), SEG_OK);
}

static bool hears(seg_producer *p, const told *t) {
    CHECK_EQ(seg_producer_poll(p, 0, NULL), SEG_OK);
    return t->n > 0;
}

static seg_consumer *join(bench *b, seg_client *c) {
    return rig_consumer(c, "s",
                        &(rig_join){.group = "g", .on_loss = note_loss, .arg = &b->by_consumer});
}

/* ---- Producers ------------------------------------------------------------------------------ */

TEST(a_producer_is_told_and_goes_on) {
    bench *b = set_up();
    seg_position where;
    send_run(b->p, 0, 10);
    snapshot(b);
    send_run(b->p, 10, 5);
    go_back(b);
    CHECK_EQ(send_number(b->p, 100, &where), SEG_OK);
    CHECK_EQ(where.id.offset, 10);
    CHECK_GT(where.id.era, 1700000000000);
    WAIT_FOR(RIG_MS, hears(b->p, &b->by_producer));
    check_loss(&b->by_producer, SEG_LOST_MESSAGES, 10, 15);
    CHECK_EQ(send_number(b->p, 101, &where), SEG_OK);
    CHECK_EQ(where.id.offset, 11);
    CHECK_EQ(b->by_producer.n, 1);
    tear_down(b);
}

static void keep_dump(const bench *b, const char *from, const char *to) {
    char old[256], new[256];
    snprintf(old, sizeof old, "%s/%s", server_dir(b->s), from);
    snprintf(new, sizeof new, "%s/%s", server_dir(b->s), to);
    CHECK_EQ(rename(old, new), 0);
}

/* A server's end was lost, and another's that took its place; then the first comes back, with what
 * only it had. The log is longer than before, and all that the second had is gone. */
TEST(the_first_server_comes_back) {
    bench *b = set_up();
    told t = {.n = 0};
    send_run(b->p, 0, 10);
    snapshot(b);
    keep_dump(b, "dump.rdb", "second.rdb");
    send_run(b->p, 10, 10);
    snapshot(b);
    keep_dump(b, "dump.rdb", "first.rdb");
    keep_dump(b, "second.rdb", "dump.rdb");
    go_back(b);
    seg_producer *p = open_producer(b->c, &t);
    seg_consumer *k = join(b, b->c);
    send_run(p, 100, 5);
    rig_take(k, b->in, 15);
    rig_check_run(b->in, 10, 5, 100);
    uint64_t era = b->in->d[14].id.era;
    b->by_consumer.n = 0;
    keep_dump(b, "first.rdb", "dump.rdb");
    go_back(b);
    WAIT_FOR(RIG_MS, hears(p, &t));
    CHECK_EQ(t.n, 1);
    CHECK_EQ(t.of[0].era, era);
    CHECK_EQ(t.of[0].first, 10);
    CHECK_EQ(t.of[0].end, 15);
    CHECK_EQ(send_number(p, 200, NULL), SEG_OK);
    seg_consumer_close(k);
    seg_producer_close(p);
    tear_down(b);
}

/* It has nothing to send, and hears of it all the same. */
TEST(an_idle_producer_is_told) {
    bench *b = set_up();
    send_run(b->p, 0, 10);
    snapshot(b);
    send_run(b->p, 10, 5);
    go_back(b);
    WAIT_FOR(RIG_MS, hears(b->p, &b->by_producer));
    check_loss(&b->by_producer, SEG_LOST_MESSAGES, 10, 15);
    tear_down(b);
}

/* Others have filled the place of what was lost before it comes back. */
TEST(a_producer_is_told_though_the_log_has_grown) {
    bench *b = set_up();
    proxy *x = proxy_start(server_socket(b->s));
    seg_client_options o;
    seg_error err;
    seg_client *c;
    told t = {.n = 0};
    SEG_INIT(&o);
    o.url = proxy_url(x);
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_producer *p = open_producer(c, &t);
    send_run(p, 0, 10);
    snapshot(b);
    send_run(p, 10, 5);
    proxy_refuse(x, true);
    go_back(b);
    send_run(b->p, 100, 20);
    proxy_refuse(x, false);
    WAIT_FOR(RIG_MS, hears(p, &t));
    check_loss(&t, SEG_LOST_MESSAGES, 10, 15);
    send_run(p, 15, 1);
    CHECK_EQ(b->by_producer.n, 0); /* it had sent nothing before */
    seg_producer_close(p);
    seg_client_close(c);
    proxy_stop(x);
    tear_down(b);
}

TEST(without_a_callback_one_send_is_elost) {
    bench *b = set_up();
    seg_producer *p = open_producer(b->c, NULL);
    send_run(p, 0, 10);
    snapshot(b);
    send_run(p, 10, 5);
    go_back(b);
    CHECK_EQ(send_number(p, 100, NULL), SEG_ELOST);
    seg_position where;
    CHECK_EQ(send_number(p, 101, &where), SEG_OK);
    CHECK_EQ(where.id.offset, 10);
    seg_producer_close(p);
    tear_down(b);
}

/* Each partition has lost something: each is told of, one send after the other. */
TEST(without_a_callback_each_partition_is_told_of) {
    bench *b = set_up();
    seg_error err;
    seg_producer_stats stats;
    seg_producer_options o;
    seg_producer *p;
    rig_stream(b->c, "wide", 3);
    SEG_INIT(&o);
    CHECK_OK(seg_producer_open(&p, b->c, "wide", &o, &err), &err);
    seg_consumer *k = rig_consumer(b->c, "wide", &(rig_join){.group = "g"});
    snapshot(b);
    seg_record r;
    SEG_INIT(&r);
    r.value = (seg_bytes){"x", 1};
    for (unsigned i = 0; i < 9; i++)
        CHECK_OK(seg_send(p, &r, NULL, &err), &err);
    rig_take(k, b->in, 9);
    go_back(b);
    SEG_INIT(&stats);
    WAIT_FOR(RIG_MS, (seg_producer_get_stats(p, &stats), stats.losses == 3));
    for (unsigned i = 0; i < 3; i++)
        CHECK_STATUS(seg_send(p, &r, NULL, &err), SEG_ELOST, &err);
    CHECK_OK(seg_send(p, &r, NULL, &err), &err);
    unsigned heard = 0;
    WAIT_FOR(RIG_MS, rig_stats(k).losses == 3);
    for (seg_batch *batch; heard < 3;) {
        seg_status s = seg_consumer_poll(&batch, k, 10, 0, &err);
        if (s == SEG_ELOST)
            heard++;
        else
            FAIL("poll said %d after %u losses", (int)s, heard);
    }
    b->in->n = 0;
    rig_take(k, b->in, 1);
    seg_consumer_close(k);
    seg_producer_close(p);
    tear_down(b);
}

/* A restart that loses nothing is nothing to hear of. */
TEST(a_restart_that_loses_nothing) {
    bench *b = set_up();
    seg_consumer *k = join(b, b->c);
    for (unsigned round = 0; round < 3; round++) {
        send_run(b->p, 10 * round, 10);
        rig_drain(k, b->in, 10 * round + 10);
        snapshot(b);
        go_back(b);
    }
    send_run(b->p, 30, 10);
    rig_drain(k, b->in, 40);
    rig_check_run(b->in, 0, 40, 0);
    CHECK_EQ(b->by_producer.n, 0);
    CHECK_EQ(b->by_consumer.n, 0);
    CHECK_GT(b->in->d[39].id.era, b->in->d[29].id.era);
    seg_consumer_close(k);
    tear_down(b);
}

/* ---- Consumers ------------------------------------------------------------------------------ */

/* What was read and is gone is told before anything else comes; what comes then is all that is
 * there. What is still in hand of the old messages cannot settle the new ones. */
TEST(a_consumer_is_told_though_the_log_has_grown) {
    bench *b = set_up();
    proxy *x = proxy_start(server_socket(b->s));
    seg_client_options o;
    seg_error err;
    seg_client *c;
    SEG_INIT(&o);
    o.url = proxy_url(x);
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_consumer *k = join(b, c);
    send_run(b->p, 0, 10);
    rig_take(k, b->in, 10);
    rig_ack(k, b->in->d, 8);
    rig_commit(k);
    snapshot(b);
    send_run(b->p, 10, 5);
    rig_take(k, b->in, 15);
    seg_delivery old = b->in->d[12];
    proxy_refuse(x, true);
    go_back(b);
    send_run(b->p, 100, 20);
    proxy_refuse(x, false);
    b->in->n = 0;
    rig_take(k, b->in, 22);
    check_loss(&b->by_consumer, SEG_LOST_MESSAGES, 10, 15);
    rig_check_run(b->in, 0, 2, 8);
    rig_check_run(b->in, 2, 20, 100);
    CHECK_STATUS(seg_ack(k, &old, 1, &err), SEG_EFENCED, &err);
    CHECK_EQ(b->in->d[4].id.offset, old.id.offset);
    CHECK_GT(b->in->d[4].id.era, old.id.era);
    rig_ack(k, b->in->d, 22);
    rig_commit(k);
    seg_consumer_close(k);
    seg_client_close(c);
    proxy_stop(x);
    tear_down(b);
}

TEST(lost_acknowledgements_are_told) {
    bench *b = set_up();
    seg_consumer *k = join(b, b->c);
    send_run(b->p, 0, 10);
    rig_take(k, b->in, 10);
    rig_ack(k, b->in->d, 4);
    rig_commit(k);
    snapshot(b);
    rig_ack(k, b->in->d + 4, 4);
    rig_commit(k);
    go_back(b);
    b->in->n = 0;
    rig_take(k, b->in, 6);
    check_loss(&b->by_consumer, SEG_LOST_ACKS, 4, 8);
    rig_check_run(b->in, 0, 6, 4);
    seg_consumer_close(k);
    tear_down(b);
}

/* The poll says it once, and then goes on. */
TEST(without_a_callback_one_poll_is_elost) {
    bench *b = set_up();
    seg_error err;
    seg_consumer *k = rig_consumer(b->c, "s", &(rig_join){.group = "g"});
    send_run(b->p, 0, 5);
    snapshot(b);
    send_run(b->p, 5, 5);
    rig_take(k, b->in, 10);
    go_back(b);
    rig_expect_end(k, SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, "offset 5 now, and was known up to 10");
    b->in->n = 0;
    rig_take(k, b->in, 5);
    CHECK_EQ(rig_stats(k).losses, 1);
    seg_consumer_close(k);
    tear_down(b);
}

static seg_verdict count_one(const seg_message *m, seg_settlement *how, void *arg) {
    unsigned *n = arg;
    (void)m;
    (void)how;
    __atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
    return SEG_ACK;
}

typedef struct runner {
    seg_consumer *k;
    unsigned handled;
    seg_status status;
} runner;

static void *run(void *arg) {
    runner *r = arg;
    seg_run_options o;
    SEG_INIT(&o);
    o.handler = count_one;
    o.arg = &r->handled;
    r->status = seg_consumer_run(r->k, &o, NULL);
    return NULL;
}

TEST(without_a_callback_one_run_is_elost) {
    bench *b = set_up();
    runner r = {.k = rig_consumer(b->c, "s", &(rig_join){.group = "g"})};
    pthread_t thread;
    uint64_t ended = 0;
    send_run(b->p, 0, 5);
    snapshot(b);
    CHECK_EQ(pthread_create(&thread, NULL, run, &r), 0);
    send_run(b->p, 5, 5);
    WAIT_FOR(RIG_MS, __atomic_load_n(&r.handled, __ATOMIC_SEQ_CST) == 10);
    go_back(b);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(r.status, SEG_ELOST);
    while (rig_stats(r.k).losses > ++ended) { /* of acknowledgements, where some were stored */
        CHECK_EQ(pthread_create(&thread, NULL, run, &r), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(r.status, SEG_ELOST);
    }
    CHECK_EQ(pthread_create(&thread, NULL, run, &r), 0);
    send_run(b->p, 100, 5);
    WAIT_FOR(RIG_MS, rig_lag(b->c, "s", "g") == 0);
    seg_consumer_stop(r.k);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(r.status, SEG_OK);
    seg_consumer_close(r.k);
    tear_down(b);
}

/* ---- All else that goes by offsets -------------------------------------------------------------- */

/* Four eras in one log: a new group reads all of it, wherever it begins. */
TEST(a_log_of_many_eras_is_one_log) {
    bench *b = set_up();
    seg_error err;
    for (unsigned era = 0; era < 4; era++) {
        send_run(b->p, 10 * era, 10);
        snapshot(b);
        send_run(b->p, 1000, 3); /* is lost */
        go_back(b);
        b->by_producer.n = 0;
    }
    send_run(b->p, 40, 10);
    for (unsigned from = 0; from < 50; from += 7) {
        char group[16];
        snprintf(group, sizeof group, "g%u", from);
        seg_consumer *k = rig_consumer(
            b->c, "s", &(rig_join){.group = group, .start = SEG_AT_OFFSET, .start_at = from});
        b->in->n = 0;
        rig_drain(k, b->in, 50 - from);
        rig_check_run(b->in, 0, 50 - from, from);
        for (size_t i = 1; i < b->in->n; i++)
            CHECK_GE(b->in->d[i].id.era, b->in->d[i - 1].id.era);
        seg_consumer_close(k);
    }
    /* And back, by offset and by time. */
    seg_seek_options seek;
    SEG_INIT(&seek);
    seek.to = SEG_SEEK_TIME;
    seek.value = 1;
    seek.execute = true;
    seg_seek_plan *plan;
    CHECK_OK(seg_group_seek(&plan, b->c, "s", "g0", &seek, &err), &err);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->after, 0);
    seg_seek_plan_free(plan);
    seg_consumer *k = rig_consumer(b->c, "s", &(rig_join){.group = "g0"});
    b->in->n = 0;
    rig_drain(k, b->in, 50);
    rig_check_run(b->in, 0, 50, 0);
    seg_consumer_close(k);
    tear_down(b);
}

/* It comes back when its lease has run out and others own its partition: it is told all the same. */
TEST(a_former_owner_is_told) {
    bench *b = set_up();
    proxy *x = proxy_start(server_socket(b->s));
    seg_client_options o;
    seg_error err;
    seg_client *c;
    told other = {.n = 0};
    SEG_INIT(&o);
    o.url = proxy_url(x);
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_consumer *k = rig_consumer(
        c, "s",
        &(rig_join){
            .group = "g", .session_timeout = 300, .on_loss = note_loss, .arg = &b->by_consumer});
    send_run(b->p, 0, 10);
    rig_take(k, b->in, 10);
    rig_ack(k, b->in->d, 10);
    rig_commit(k);
    snapshot(b);
    send_run(b->p, 10, 5);
    rig_take(k, b->in, 15);
    rig_ack(k, b->in->d + 10, 5);
    rig_commit(k);
    proxy_refuse(x, true);
    go_back(b);
    send_run(b->p, 100, 20);
    seg_consumer *next = rig_consumer(
        b->c, "s",
        &(rig_join){.group = "g", .session_timeout = 300, .on_loss = note_loss, .arg = &other});
    b->in->n = 0;
    rig_drain(next, b->in, 20);
    rig_check_run(b->in, 0, 20, 100);
    proxy_refuse(x, false);
    WAIT_FOR(RIG_MS, (rig_poll(k, b->in, 1, 10), b->by_consumer.n > 0));
    check_loss(&b->by_consumer, SEG_LOST_MESSAGES, 10, 15);
    CHECK_EQ(other.n, 0);
    seg_consumer_close(k);
    seg_consumer_close(next);
    seg_client_close(c);
    proxy_stop(x);
    tear_down(b);
}

/* It loses what it had read, and of what is left some that it had acknowledged: both are told. */
TEST(messages_and_acknowledgements_are_lost_together) {
    bench *b = set_up();
    seg_consumer *k = join(b, b->c);
    send_run(b->p, 0, 10);
    rig_take(k, b->in, 10);
    rig_ack(k, b->in->d, 4);
    rig_commit(k);
    snapshot(b);
    send_run(b->p, 10, 5);
    rig_take(k, b->in, 15);
    rig_ack(k, b->in->d + 4, 8);
    rig_commit(k);
    go_back(b);
    b->in->n = 0;
    rig_take(k, b->in, 6);
    rig_check_run(b->in, 0, 6, 4);
    CHECK_EQ(b->by_consumer.n, 2);
    CHECK_EQ(b->by_consumer.of[0].what, SEG_LOST_MESSAGES);
    CHECK_EQ(b->by_consumer.of[0].first, 10);
    CHECK_EQ(b->by_consumer.of[0].end, 15);
    CHECK_EQ(b->by_consumer.of[1].what, SEG_LOST_ACKS);
    CHECK_EQ(b->by_consumer.of[1].first, 4);
    CHECK_EQ(b->by_consumer.of[1].end, 10);
    seg_consumer_close(k);
    tear_down(b);
}
