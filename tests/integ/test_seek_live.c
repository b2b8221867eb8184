/* Moving a group while it has members, and while things go wrong. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/random.h"
#include "proxy.h"
#include "seek_rig.h"

/* ---- Active groups -------------------------------------------------------------------------- */

TEST(an_active_group_is_not_moved_by_accident) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 10);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    rig_ack(k, b.in->d, 4);
    rig_commit(k);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_START, 0), &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "live members (1)");
    seg_seek_options o = to(SEG_SEEK_START, 0);
    o.execute = false;
    seg_seek_plan_free(must_seek(b.c, "g", o)); /* looking is allowed */
    rig_ack(k, b.in->d + 4, 6);                 /* and it was not hurt */
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_START, 0)));
    CHECK_EQ(rig_lag(b.c, "s", "g"), 10);
    tear_down(&b);
}

static seg_seek_options live(seg_seek_to where, int64_t value) {
    seg_seek_options o = to(where, value);
    o.while_active = true;
    return o;
}

TEST(an_idle_consumer_goes_on_from_the_new_place) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 20);
    CHECK_EQ(rig_poll(k, b.in, 10, 50), 0);
    int64_t start = test_now_ms();
    seg_seek_plan *plan = must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 4));
    CHECK_EQ(seg_seek_plan_at(plan, 0)->before, 10);
    CHECK_EQ(seg_seek_plan_at(plan, 1)->after, 4);
    seg_seek_plan_free(plan);
    rig_drain(k, b.in, 32);                /* 4 to 9 of both */
    CHECK_LT(test_now_ms() - start, 2000); /* it was woken: its next heartbeat is later */
    for (size_t i = 20; i < 32; i++) {
        CHECK_GE(b.in->d[i].id.offset, 4);
        CHECK_GT(b.in->d[i].epoch, b.in->d[0].epoch);
        CHECK_EQ(b.in->d[i].attempt, 1);
    }
    seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_BY, -1)));
    rig_drain(k, b.in, 34);
    CHECK_EQ(b.in->d[33].id.offset, 9);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What it held is no longer its: acknowledging that is refused, and moves nothing. */
TEST(a_busy_consumer_goes_on_from_the_new_place) {
    bench b = set_up(1);
    seg_error err;
    rig_put(b.p, (rig_run){.partitions = 1, .count = 100});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = SEG_FOREVER});
    rig_take(k, b.in, 100);
    rig_ack(k, b.in->d, 50);
    rig_commit(k);
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 20)), 50, 20);
    WAIT_FOR(RIG_MS, rig_poll(k, b.in, 1, 20) > 0);
    CHECK_EQ(b.in->d[100].id.offset, 20);
    CHECK_STATUS(seg_ack(k, b.in->d + 60, 1, &err), SEG_EFENCED, &err);
    rig_take(k, b.in, 180);
    rig_check_run(b.in, 100, 80, 20);
    rig_ack(k, b.in->d + 100, 10);
    rig_commit(k);
    CHECK_EQ(committed(&b, "g", 0), 30);
    /* And on: what is in between is passed over. */
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 90)), 30, 90);
    rig_drain(k, b.in, 190);
    rig_check_run(b.in, 180, 10, 90);
    rig_put(b.p, (rig_run){.partitions = 1, .first = 100, .count = 5});
    rig_drain(k, b.in, 195);
    rig_check_run(b.in, 190, 5, 100);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Its acknowledgement is on its way when the group is moved: it does not count. */
TEST(an_acknowledgement_of_before_comes_too_late) {
    bench b = set_up(1);
    seg_error err;
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    proxy *way = proxy_start(server_socket(b.s));
    seg_client_options co;
    seg_client *far = NULL;
    SEG_INIT(&co);
    co.url = proxy_url(way);
    CHECK_OK(seg_client_open(&far, &co, &err), &err);
    seg_consumer *k = rig_consumer(far, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    proxy_hold(way, PROXY_REQUESTS);
    rig_ack(k, b.in->d, 10);
    WAIT_FOR(RIG_MS, proxy_held(way, PROXY_REQUESTS) > 0);
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 3)), 0, 3);
    proxy_pass(way, PROXY_REQUESTS);
    proxy_release(way);
    rig_take(k, b.in, 17);
    rig_check_run(b.in, 10, 7, 3);
    CHECK_EQ(committed(&b, "g", 0), 3);
    rig_ack(k, b.in->d + 10, 7);
    WAIT_FOR(RIG_MS, committed(&b, "g", 0) == 10);
    seg_consumer_close(k);
    seg_client_close(far);
    proxy_stop(way);
    tear_down(&b);
}

TEST(partitions_that_are_not_moved_are_not_disturbed) {
    static const uint32_t named[] = {1};
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 20);
    uint64_t epoch = rig_cursor(b.c, "s", "g", 0).epoch;
    seg_seek_options o = live(SEG_SEEK_OFFSET, 8);
    o.partitions = named;
    o.n_partitions = 1;
    seg_seek_plan_free(must_seek(b.c, "g", o));
    rig_take(k, b.in, 22);
    for (size_t i = 0; i < 20; i++) {
        if (b.in->d[i].partition == 0) {
            rig_ack(k, b.in->d + i, 1);
        }
    }
    rig_ack(k, b.in->d + 20, 2);
    seg_consumer_commit(k, RIG_MS, NULL); /* may tell that a partition moved */
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).epoch, epoch);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The one who moves dies after the cursors have moved, before it told anybody. */
TEST(without_a_finish_owners_find_it_out) {
    bench b = set_up(1);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    uint64_t epoch = b.in->d[0].epoch + 1;
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, epoch);
    /* What group_seek begin and cursor_seek write. */
    server_do(b.s, "HSET sg:{default/s}:group:g epoch %s", text);
    server_do(b.s, "HSET sg:{default/s/0}:cursors g:epoch %s g:owner %s g:since %s", text, "",
              text);
    server_do(b.s, "ZADD sg:{default/s/0}:committed 5 g");
    /* Its commit is refused; the one that announces what may be delivered may have been before. */
    seg_status acked = seg_ack(k, b.in->d, 1, NULL);
    CHECK(acked == SEG_OK || acked == SEG_EFENCED);
    rig_take(k, b.in, 15);
    rig_check_run(b.in, 10, 5, 5);
    CHECK_GT(b.in->d[10].epoch, epoch);
    rig_ack(k, b.in->d + 10, 5);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct reader {
    pthread_t thread;
    seg_consumer *k;
    atomic_bool *stop;
    atomic_int *round;
    atomic_uchar *seen; /* by number: the last round in which it was acknowledged */
} reader;

static void *run_reader(void *arg) {
    reader *r = arg;
    seg_error err;
    while (!atomic_load(r->stop)) {
        rig_inbox *in = calloc(1, sizeof *in);
        CHECK(in != NULL);
        size_t n = rig_poll(r->k, in, 50, 20);
        int round = atomic_load(r->round);
        for (size_t i = 0; i < n; i++) {
            seg_status s = seg_ack(r->k, in->d + i, 1, &err);
            if (s == SEG_OK) {
                atomic_store(&r->seen[in->number[i]], (unsigned char)round);
            } else {
                CHECK_STATUS(s, SEG_EFENCED, &err);
            }
        }
        free(in);
    }
    return NULL;
}

/* Members work, messages come, and the group is moved back again and again: after each move every
 * message is handled again, whatever was in hand. */
TEST_DEADLINE(moved_again_and_again_under_load, 120) {
    enum { MEMBERS = 3, PARTITIONS = 4, EACH = 400, ROUNDS = 6 };
    bench b = set_up(PARTITIONS);
    reader r[MEMBERS];
    atomic_bool stop = false;
    atomic_int round = 0;
    static atomic_uchar seen[EACH * (ROUNDS + 1)];
    for (int i = 0; i < MEMBERS; i++) {
        r[i] = (reader){.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"}),
                        .stop = &stop,
                        .round = &round,
                        .seen = seen};
        CHECK_EQ(pthread_create(&r[i].thread, NULL, run_reader, &r[i]), 0);
    }
    for (unsigned n = 0; n < ROUNDS; n++) {
        rig_spread(b.p, PARTITIONS, n * EACH, EACH);
        seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_START, 0)));
        atomic_store(&round, (int)n + 1);
    }
    for (unsigned i = 0; i < ROUNDS * EACH; i++) {
        WAIT_FOR(RIG_MS, atomic_load(&seen[i]) > 0);
    }
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    atomic_store(&round, ROUNDS + 1);
    seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_START, 0)));
    for (unsigned i = 0; i < ROUNDS * EACH; i++) {
        WAIT_FOR(RIG_MS, atomic_load(&seen[i]) == ROUNDS + 1);
    }
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    atomic_store(&stop, true);
    for (int i = 0; i < MEMBERS; i++) {
        pthread_join(r[i].thread, NULL);
        seg_consumer_close(r[i].k);
    }
    tear_down(&b);
}

/* ---- Trouble -------------------------------------------------------------------------------- */

/* Whatever answer is lost, and with it all that is sent behind: "on by three" is three, once. */
TEST_DEADLINE(a_connection_that_breaks_anywhere, 120) {
    bench b = set_up(2);
    seg_error err;
    seg_client_options co;
    seg_client *far = NULL;
    rig_spread(b.p, 2, 0, 2000);
    make_group(&b);
    proxy *way = proxy_start(server_socket(b.s));
    SEG_INIT(&co);
    co.url = proxy_url(way);
    CHECK_OK(seg_client_open(&far, &co, &err), &err);
    uint64_t at = 0;
    sg_rng rng = {test_seed()};
    for (size_t i = 0; i < 24; i++) {
        if (i % 2 == 0) {
            proxy_cut_after(way, PROXY_REPLIES, sg_rng_below(&rng, 500));
        } else {
            proxy_cut_after(way, PROXY_REQUESTS, sg_rng_below(&rng, 2500));
        }
        seg_seek_plan *plan = must_seek(far, "g", to(SEG_SEEK_BY, i % 2 == 0 ? 3 : -1));
        uint64_t then = i % 2 == 0 ? at + 3 : at - 1;
        for (uint32_t p = 0; p < 2; p++) {
            CHECK_EQ(seg_seek_plan_at(plan, p)->before, at);
            CHECK_EQ(seg_seek_plan_at(plan, p)->after, then);
            CHECK_EQ(committed(&b, "g", p), then);
        }
        seg_seek_plan_free(plan);
        at = then;
    }
    seg_client_close(far);
    proxy_stop(way);
    tear_down(&b);
}

/* No answer in time: it says so, and the same call again finishes it. */
TEST(a_server_that_does_not_answer) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    seg_client *c = rig_client_within(b.s, 300);
    server_pause(b.s);
    CHECK_STATUS(try_seek(c, "g", to(SEG_SEEK_END, 0), &err), SEG_ETIMEDOUT, &err);
    server_resume(b.s);
    seg_client_close(c);
    proxy *way = proxy_start(server_socket(b.s));
    seg_client_options co;
    SEG_INIT(&co);
    co.url = proxy_url(way);
    co.command_timeout = 300;
    CHECK_OK(seg_client_open(&c, &co, &err), &err);
    seg_status s = SEG_OK;
    for (size_t bytes = 0; s != SEG_EUNKNOWN; bytes += 60) { /* let it come further and further */
        CHECK_LT(bytes, 4000);
        proxy_cut_after(way, PROXY_REPLIES, bytes);
        proxy_refuse(way, false);
        WAIT_FOR(RIG_MS, try_seek(c, "none", to(SEG_SEEK_BY, 0), NULL) == SEG_ENOENT);
        proxy_cut_after(way, PROXY_REPLIES, bytes);
        proxy_refuse(way, true);
        s = try_seek(c, "g", to(SEG_SEEK_END, 0), &err);
    }
    proxy_refuse(way, false);
    seg_client_close(c);
    proxy_stop(way);
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_END, 0)));
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

/* A coordinator that a failover has set back: its epochs are raised above what the cursors know. */
TEST(a_coordinator_that_fell_back) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    server_do(b.s, "HSET sg:{default/s}:group:g epoch 1");
    server_do(b.s, "HSET sg:{default/s/0}:cursors g:epoch 70");
    server_do(b.s, "HSET sg:{default/s/1}:cursors g:epoch 90");
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_OFFSET, 5)));
    CHECK_EQ(committed(&b, "g", 0), 5);
    CHECK_EQ(committed(&b, "g", 1), 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 10);
    CHECK_GT(b.in->d[0].epoch, 90);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(what_is_not_there) {
    bench b = set_up(1);
    seg_error err;
    seg_seek_plan *plan = NULL;
    seg_seek_options o = to(SEG_SEEK_START, 0);
    CHECK_STATUS(seg_group_seek(&plan, b.c, "none", "g", &o, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "none");
    rig_put(b.p, (rig_run){.partitions = 1, .count = 5});
    make_group(&b);
    /* A part of the stream is missing. */
    server_do(b.s, "RENAME sg:{default/s/0}:log aside");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, "partition 0");
    server_do(b.s, "RENAME aside sg:{default/s/0}:log");
    server_do(b.s, "RENAME sg:{default/s/0}:log sg:{default/s/0}:log2");
    server_do(b.s, "SET sg:{default/s/0}:log x");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_EPROTO, &err);
    server_do(b.s, "RENAME sg:{default/s/0}:log2 sg:{default/s/0}:log");
    CHECK_OK(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), &err);
    /* Its group, while that is being deleted. */
    server_do(b.s, "HSET sg:{default/s}:group:g phase deleting");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_EEXIST, &err);
    server_do(b.s, "HSET sg:{default/s}:group:g phase ready");
    CHECK_OK(seg_stream_delete(b.c, "s", &err), &err);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_TIME, 5), &err), SEG_ENOENT, &err);
    tear_down(&b);
}

/* One partition cannot be moved, the other one was: that is neither done nor not done. */
TEST(half_a_move_is_told_as_such) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    /* Reading is allowed everywhere, writing not in partition 1. */
    const char *acl[] = {"ACL",
                         "SETUSER",
                         "default",
                         "resetkeys",
                         "~sg:{default/s}:*",
                         "~sg:{default/s/0}:*",
                         "(+eval +evalsha +hmget +exists +xlen +zscore ~*)"};
    redisReply *reply = server_cmd_argv(b.s, 7, acl, NULL);
    CHECK_STR(reply->str, "OK");
    freeReplyObject(reply);
    seg_status s = try_seek(b.c, "g", to(SEG_SEEK_OFFSET, 4), &err);
    server_do(b.s, "ACL SETUSER default ~*");
    CHECK_STATUS(s, SEG_EUNKNOWN, &err);
    CHECK_CONTAINS(err.text, "only 1 of 2");
    CHECK_CONTAINS(err.text, "partition 1");
    CHECK_EQ(committed(&b, "g", 0), 4);
    CHECK_EQ(committed(&b, "g", 1), 0);
    CHECK_OK(try_seek(b.c, "g", to(SEG_SEEK_OFFSET, 4), &err), &err);
    CHECK_EQ(committed(&b, "g", 1), 4);
    tear_down(&b);
}

/* Memory runs out anywhere: it says so and nothing has moved, or it is done. */
TEST_DEADLINE(memory_runs_out_anywhere, 120) {
    bench b = set_up(2);
    seg_error err;
    uint64_t n = 0, at[2] = {0, 0};
    bool untouched = false;
    for (int64_t i = 0; i < 40; i++) {
        put_times(&b, (uint32_t)i % 2, 1, &(int64_t){1000 + i / 2});
    }
    make_group(&b);
    while (!untouched) {
        CHECK_LT(++n, 500);
        uint64_t place = n % 20;
        bool by_time = n / 20 % 2 == 0;
        seg_seek_options o = by_time ? to(SEG_SEEK_TIME, (int64_t)(1000 + place))
                                     : to(SEG_SEEK_OFFSET, (int64_t)place);
        seg_seek_plan *plan = NULL;
        sg_alloc_fail_at(n, 0);
        seg_status s = seg_group_seek(&plan, b.c, "s", "g", &o, &err);
        untouched = sg_alloc_fail_at(0, 0) < n;
        CHECK(s == SEG_OK || s == SEG_ENOMEM || s == SEG_ECONN);
        seg_seek_plan_free(plan);
        for (uint32_t p = 0; p < 2; p++) {
            at[p] = s == SEG_OK ? place : at[p];
            CHECK_EQ(committed(&b, "g", p), at[p]);
        }
    }
    CHECK_GT(n, 20);
    tear_down(&b);
}

TEST(options_that_make_no_sense) {
    static const uint32_t twice[] = {1, 0, 1}, far[] = {0, 2};
    bench b = set_up(2);
    seg_error err;
    seg_seek_plan *plan = NULL;
    seg_seek_options o = to(0, 0);
    CHECK_STATUS(seg_group_seek(NULL, b.c, "s", "g", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_seek(&plan, NULL, "s", "g", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_seek(&plan, b.c, "s", "g", NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "to is 0");
    CHECK_STATUS(try_seek(b.c, "g", to((seg_seek_to)9, 0), &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_OFFSET, -1), &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "value is -1");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_TIME, -1), &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g/h", to(SEG_SEEK_END, 0), &err), SEG_EINVAL, &err);
    o = to(SEG_SEEK_END, 0);
    o.n_partitions = 1;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    o.partitions = twice;
    o.n_partitions = 0;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    o.n_partitions = 3;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "partition 1 is named twice");
    o.partitions = far;
    o.n_partitions = 2;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "no partition 2");
    o.n_partitions = 4097;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_EQ(server_int(b.s, "EXISTS sg:{default/s}:group:g"), 0);
    tear_down(&b);
}
