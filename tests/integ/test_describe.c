/* What a stream and a group look like to an operator: true in every state that they can be in, also
 * where the server lost a part of them. */
#include <pthread.h>
#include <stdatomic.h>

#include "seek_rig.h"

static seg_group_info *describe(seg_client *c) {
    seg_group_info *g = NULL;
    seg_error err;
    CHECK_OK(seg_group_describe(&g, c, "s", "g", &err), &err);
    return g;
}

static seg_consumer *consumer(const bench *b) {
    return rig_consumer(b->c, "s", &(rig_join){.group = "g", .name = "x"});
}

/* ---- a partition in a group --------------------------------------------------------------- */

TEST(nothing_was_delivered_yet) {
    static const int64_t times[] = {1700000000123, 1700000000500};
    bench b = set_up(1);
    make_group(&b);
    seg_group_partition p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.status, SEG_OK);
    CHECK_EQ(p.oldest_ms, 0);
    put_times(&b, 0, 2, times);
    p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.lag, 2);
    CHECK_EQ(p.first, 0);
    CHECK_EQ(p.next, 2);
    CHECK_EQ(p.in_flight, 0);
    CHECK_EQ(p.attempts, 0);
    CHECK_EQ(p.moved, 0);
    CHECK_EQ(p.oldest_ms, times[0]);
    tear_down(&b);
}

/* In the middle of a batch the age is the batch's; once it is done, that of the next one. */
TEST(the_age_of_the_oldest_batch) {
    static const int64_t one[] = {1000, 2000, 3000}, two[] = {7000, 6000};
    bench b = set_up(1);
    put_times(&b, 0, 3, one);
    put_times(&b, 0, 2, two);
    seg_consumer *k = consumer(&b);
    static const int64_t expected[] = {1000, 1000, 1000, 7000, 7000, 0};
    rig_take(k, b.in, 5);
    for (size_t i = 0; i <= 5; i++) {
        seg_group_partition p = rig_cursor(b.c, "s", "g", 0);
        CHECK_EQ(p.committed, i);
        CHECK_EQ(p.lag, 5 - i);
        CHECK_EQ(p.in_flight, 5 - i);
        CHECK_EQ(p.attempts, i < 5);
        CHECK_EQ(p.oldest_ms, expected[i]);
        if (i < 5) {
            rig_ack(k, &b.in->d[i], 1);
            rig_commit(k);
        }
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(what_was_acknowledged_out_of_order_is_not_in_flight) {
    bench b = set_up(1);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    seg_consumer *k = consumer(&b);
    rig_take(k, b.in, 10);
    rig_ack(k, &b.in->d[2], 3);
    rig_ack(k, &b.in->d[8], 1);
    rig_commit(k);
    seg_group_partition p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.committed, 0);
    CHECK_EQ(p.lag, 10);
    CHECK_EQ(p.acked, 4);
    CHECK_EQ(p.in_flight, 6);
    CHECK_EQ(p.attempts, 1);
    seg_consumer_close(k); /* gives back what it had: handled or not, it was delivered once */
    p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.acked, 4);
    CHECK_EQ(p.in_flight, 0);
    CHECK_EQ(p.owner != NULL, false);
    tear_down(&b);
}

TEST(attempts_are_counted) {
    bench b = set_up(1);
    static const char *const keys[] = {"a", "b", "c"};
    rig_put_keys(b.p, keys, 3, 0, 3);
    seg_consumer *k = consumer(&b);
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 60000, "later");
    rig_commit(k);
    seg_group_partition p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.attempts, 1);
    CHECK_EQ(p.in_flight, 2); /* what waits is in nobody's hands */
    rig_settle_as(k, &b.in->d[2], SEG_RETRY, 1, "now");
    rig_take(k, b.in, 4);
    CHECK_EQ(b.in->d[3].id.offset, 2);
    rig_commit(k);
    p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.attempts, 2); /* the second is under way */
    CHECK_EQ(p.in_flight, 2);
    rig_ack(k, &b.in->d[3], 1);
    rig_ack(k, &b.in->d[0], 1);
    rig_commit(k);
    p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.committed, 1);
    CHECK_EQ(p.attempts, 1); /* of what is acknowledged nothing counts */
    CHECK_EQ(p.in_flight, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_seek_leaves_its_mark) {
    static const int64_t times[] = {1000, 2000, 3000, 4000};
    bench b = set_up(2);
    put_times(&b, 1, 4, times);
    seg_consumer *k = consumer(&b);
    rig_drain(k, b.in, 4);
    seg_consumer_close(k);
    seg_group_info *g = describe(b.c);
    uint64_t epoch = seg_group_info_epoch(g);
    CHECK_GE(epoch, 2); /* each partition was granted */
    CHECK_EQ(seg_group_info_partition(g, 1)->oldest_ms, 0);
    seg_group_info_free(g);
    seg_seek_options o = to(SEG_SEEK_OFFSET, 2);
    static const uint32_t only = 1;
    o.partitions = &only;
    o.n_partitions = 1;
    seg_seek_plan_free(must_seek(b.c, "g", o));
    g = describe(b.c);
    CHECK_GT(seg_group_info_epoch(g), epoch);
    CHECK_EQ(seg_group_info_partition(g, 0)->moved, 0);
    CHECK_EQ(seg_group_info_partition(g, 1)->moved, seg_group_info_epoch(g));
    CHECK_EQ(seg_group_info_partition(g, 1)->lag, 2);
    CHECK_EQ(seg_group_info_partition(g, 1)->oldest_ms, 1000);
    CHECK_EQ(seg_group_info_partition(g, 1)->in_flight, 0);
    seg_group_info_free(g);
    tear_down(&b);
}

TEST(members_are_told_with_their_leases) {
    bench b = set_up(2);
    seg_consumer *x =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "x", .session_timeout = 20000});
    rig_settle(x, 2);
    seg_consumer *y =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "y", .session_timeout = 40000});
    rig_settle(y, 0);
    seg_group_info *g = describe(b.c);
    CHECK_EQ(seg_group_info_members(g), 2);
    for (size_t i = 0; i < 2; i++) {
        int64_t session = i == 0 ? 20000 : 40000;
        CHECK_EQ(seg_group_info_session(g, i), session);
        CHECK_LE(seg_group_info_lease(g, i), session);
        CHECK_GT(seg_group_info_lease(g, i), 0);
    }
    CHECK_EQ(seg_group_info_session(g, 2), 0);
    CHECK_EQ(seg_group_info_lease(g, 2), 0);
    seg_group_info_free(g);
    seg_consumer_close(x);
    seg_consumer_close(y);
    tear_down(&b);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void check_lost(const seg_group_partition *p) {
    CHECK_EQ(p->status, SEG_ELOST);
    CHECK_EQ(p->lag, SEG_UNKNOWN);
    CHECK_EQ(p->committed, SEG_UNKNOWN);
    CHECK_EQ(p->first, SEG_UNKNOWN);
    CHECK_EQ(p->next, SEG_UNKNOWN);
    CHECK_EQ(p->acked, SEG_UNKNOWN);
    CHECK_EQ(p->in_flight, SEG_UNKNOWN);
    CHECK_EQ(p->moved, SEG_UNKNOWN);
    CHECK_EQ(p->attempts, 0);
    CHECK_EQ(p->oldest_ms, 0);
}

TEST(a_damaged_partition_hides_no_other) {
    static const struct {
        const char *ruin;
        bool stream; /* not only the group's place */
    } cases[] = {{"DEL sg:{default/s/1}:state", true},
                 {"SET sg:{default/s/1}:state x", true},
                 {"HDEL sg:{default/s/1}:state inc", true},
                 {"HDEL sg:{default/s/1}:state next", true},
                 {"HSET sg:{default/s/1}:state next x", true},
                 {"HSET sg:{default/s/1}:state first 99", true},
                 {"HSET sg:{default/s/1}:state eras x", true},
                 {"DEL sg:{default/s/1}:log", true},
                 {"SET sg:{default/s/1}:log x", true},
                 {"DEL sg:{default/s/1}:cursors", false},
                 {"SET sg:{default/s/1}:cursors x", false},
                 {"HSET sg:{default/s/1}:cursors g:gid other", false},
                 {"HSET sg:{default/s/1}:cursors g:acks x", false},
                 {"HSET sg:{default/s/1}:cursors g:tries x", false},
                 {"HSET sg:{default/s/1}:cursors g:high x", false},
                 {"DEL sg:{default/s/1}:committed", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b = set_up(3);
        seg_consumer *k = consumer(&b);
        rig_settle(k, 3);
        rig_spread(b.p, 3, 0, 9);
        WAIT_FOR(RIG_MS, rig_poll(k, b.in, 1, 100) > 0);
        server_do(b.s, cases[i].ruin);
        seg_group_info *g = describe(b.c);
        check_lost(seg_group_info_partition(g, 1));
        CHECK(seg_group_info_partition(g, 1)->epoch >
              0); /* its owner may have noticed by now, and left */
        for (uint32_t p = 0; p < 3; p += 2) {
            CHECK_EQ(seg_group_info_partition(g, p)->status, SEG_OK);
            CHECK_EQ(seg_group_info_partition(g, p)->lag, 3);
        }
        CHECK_EQ(seg_group_info_lag(g), SEG_UNKNOWN);
        seg_group_info_free(g);
        seg_stream_info *info = NULL;
        seg_error err;
        CHECK_OK(seg_stream_describe(&info, b.c, "s", &err), &err);
        CHECK_EQ(seg_stream_info_partition(info, 1)->status, cases[i].stream ? SEG_ELOST : SEG_OK);
        CHECK_EQ(seg_stream_info_partition(info, 1)->next, cases[i].stream ? SEG_UNKNOWN : 3);
        CHECK_EQ(seg_stream_info_partition(info, 2)->next, 3);
        CHECK_EQ(seg_stream_info_messages(info), cases[i].stream ? SEG_UNKNOWN : 9);
        seg_stream_info_free(info);
        seg_consumer_close(k);
        tear_down(&b);
    }
}

/* The server lost what it had acknowledged: nobody can say what is left, and it is not 0. */
TEST(a_place_past_the_end_has_no_lag) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 10);
    make_group(&b);
    server_do(b.s, "ZADD sg:{default/s/0}:committed 6 g");
    seg_group_info *g = describe(b.c);
    const seg_group_partition *p = seg_group_info_partition(g, 0);
    CHECK_EQ(p->status, SEG_OK);
    CHECK_EQ(p->committed, 6);
    CHECK_EQ(p->next, 5);
    CHECK_EQ(p->lag, SEG_UNKNOWN);
    CHECK_EQ(p->oldest_ms, 0);
    CHECK_EQ(seg_group_info_partition(g, 1)->lag, 5);
    CHECK_EQ(seg_group_info_lag(g), SEG_UNKNOWN);
    seg_group_info_free(g);
    server_do(b.s, "ZADD sg:{default/s/0}:committed 5 g");
    CHECK_EQ(rig_lag(b.c, "s", "g"), 5);
    tear_down(&b);
}

/* Streams and groups that come and go under one name, as fast as they can. */
typedef struct churn {
    const server *s;
    atomic_bool over;
    unsigned rounds;
} churn;

static void *churning(void *arg) {
    churn *c = arg;
    seg_client *client = rig_client(c->s);
    seg_error err;
    for (c->rounds = 0; c->rounds < 40; c->rounds++) {
        CHECK_OK(seg_stream_delete(client, "s", &err), &err);
        rig_stream(client, "s", 8);
        for (int i = 0; i < 3; i++) {
            seg_consumer_close(rig_consumer(client, "s", &(rig_join){.group = "g"}));
            CHECK_OK(seg_group_delete(client, "s", "g", &err), &err);
        }
    }
    seg_client_close(client);
    atomic_store(&c->over, true);
    return NULL;
}

/* What is deleted meanwhile is not there, or not yet; but never damaged. */
TEST_DEADLINE(what_is_deleted_meanwhile_is_not_damaged, 120) {
    bench b = set_up(8);
    churn c = {.s = b.s};
    pthread_t thread;
    seg_error err;
    CHECK_EQ(pthread_create(&thread, NULL, churning, &c), 0);
    while (!atomic_load(&c.over)) {
        seg_group_info *g = NULL;
        seg_stream_info *s = NULL;
        seg_groups *groups = NULL;
        seg_streams *streams = NULL;
        seg_status status = seg_group_describe(&g, b.c, "s", "g", &err);
        CHECK(status == SEG_OK || status == SEG_ENOENT);
        for (uint32_t p = 0; status == SEG_OK && p < 8; p++)
            CHECK_EQ(seg_group_info_partition(g, p)->status, SEG_OK);
        status = seg_stream_describe(&s, b.c, "s", &err);
        CHECK(status == SEG_OK || status == SEG_ENOENT);
        for (uint32_t p = 0; status == SEG_OK && p < 8; p++)
            CHECK_EQ(seg_stream_info_partition(s, p)->status, SEG_OK);
        status = seg_group_overview(&groups, b.c, "s", &err);
        CHECK(status == SEG_OK || status == SEG_ENOENT);
        for (size_t i = 0; i < seg_groups_count(groups); i++)
            CHECK_EQ(seg_groups_at(groups, i)->status, SEG_OK);
        CHECK_OK(seg_stream_overview(&streams, b.c, &err), &err);
        for (size_t i = 0; i < seg_streams_count(streams); i++)
            CHECK_EQ(seg_streams_at(streams, i)->status, SEG_OK);
        seg_group_info_free(g);
        seg_stream_info_free(s);
        seg_groups_free(groups);
        seg_streams_free(streams);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    tear_down(&b);
}

/* ---- a stream's partitions ---------------------------------------------------------------- */

TEST(a_partition_tells_its_slot_and_its_guests) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 4);
    seg_stream_info *info = NULL;
    seg_error err;
    CHECK_OK(seg_stream_describe(&info, b.c, "s", &err), &err);
    const seg_stream_partition *p = seg_stream_info_partition(info, 1);
    CHECK_EQ(p->status, SEG_OK);
    CHECK_EQ(p->producers, 1);
    CHECK_EQ(p->foreign, 0);
    CHECK_EQ(p->slot, 12710); /* CLUSTER KEYSLOT {default/s/1} */
    seg_stream_info_free(info);
    server_do(b.s, "XSETID sg:{default/s/1}:log 1-1"); /* somebody opens it, and writes */
    server_do(b.s, "XADD sg:{default/s/1}:log * a b");
    rig_spread(b.p, 2, 4, 2);
    CHECK_OK(seg_stream_describe(&info, b.c, "s", &err), &err);
    CHECK_EQ(seg_stream_info_partition(info, 0)->foreign, 0);
    CHECK_EQ(seg_stream_info_partition(info, 1)->foreign, 1);
    seg_stream_info_free(info);
    tear_down(&b);
}

/* ---- the proof ---------------------------------------------------------------------------- */

/* What is told to be left, what the server's own tools tell, and what a reader then gets, are the
 * same: of each partition, whatever happened to the group before. */
static void check_agree(const bench *b, bool native) {
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    size_t left = 0;
    uint64_t lag = 0;
    seg_group_info *g = describe(b->c);
    for (uint32_t p = 0; p < b->partitions; p++) {
        const seg_group_partition *part = seg_group_info_partition(g, p);
        CHECK_EQ(part->status, SEG_OK);
        if (native)
            CHECK_EQ(native_lag(b->s, p), part->lag);
        lag += part->lag;
        left += part->lag - part->acked;
    }
    CHECK_EQ(seg_group_info_lag(g), lag);
    seg_group_info_free(g);
    seg_groups *all = NULL;
    seg_error err;
    CHECK_OK(seg_group_overview(&all, b->c, "s", &err), &err);
    CHECK_EQ(seg_groups_at(all, 0)->lag, lag);
    seg_groups_free(all);
    seg_consumer *k = consumer(b);
    rig_take(k, in, left);
    rig_ack(k, in->d, in->n);
    rig_commit(k);
    /* That was all: with any more or fewer than these it would be otherwise. */
    WAIT_FOR(RIG_MS, rig_lag(b->c, "s", "g") == 0);
    for (uint32_t p = 0; p < b->partitions; p++)
        CHECK_EQ(native_lag(b->s, p), 0);
    CHECK_EQ(rig_poll(k, in, 1, 0), 0);
    seg_consumer_close(k);
    free(in);
}

TEST(the_lag_is_what_a_slow_reader_has_left) {
    bench b = set_up(3);
    make_group(&b);
    for (uint32_t p = 0; p < 3; p++)
        rig_put(b.p, (rig_run){.partition = p, .partitions = 3, .count = 20 + 10 * p});
    check_agree(&b, true);
    /* In the middle of batches. */
    for (uint32_t p = 0; p < 3; p++)
        rig_put(b.p, (rig_run){.partition = p, .partitions = 3, .count = 30});
    seg_consumer *k = consumer(&b);
    rig_take(k, b.in, 90);
    for (size_t i = 0; i < 90; i++)
        if (b.in->d[i].id.offset % 30 < 7 + b.in->d[i].partition)
            rig_ack(k, &b.in->d[i], 1);
    rig_commit(k);
    seg_consumer_close(k);
    check_agree(&b, true);
    tear_down(&b);
}

TEST(the_lag_is_what_is_left_with_holes) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 60);
    seg_consumer *k = consumer(&b);
    rig_take(k, b.in, 60);
    for (size_t i = 0; i < 60; i++)
        if (b.in->number[i] % 7 == 3 || b.in->number[i] < 4)
            rig_ack(k, &b.in->d[i], 1);
    rig_commit(k);
    seg_consumer_close(k);
    seg_group_info *g = describe(b.c);
    CHECK_GT(seg_group_info_partition(g, 0)->acked, 0);
    seg_group_info_free(g);
    check_agree(&b, true);
    tear_down(&b);
}

TEST(the_lag_is_what_is_left_after_seeks) {
    static const struct {
        seg_seek_to where;
        int64_t value;
    } seeks[] = {{SEG_SEEK_START, 0}, {SEG_SEEK_OFFSET, 13}, {SEG_SEEK_BY, -6}, {SEG_SEEK_END, 0}};
    bench b = set_up(2);
    make_group(&b);
    for (uint32_t p = 0; p < 2; p++)
        for (unsigned i = 0; i < 4; i++)
            rig_put(b.p, (rig_run){.partition = p, .partitions = 2, .count = 5});
    for (size_t i = 0; i < sizeof seeks / sizeof *seeks; i++) {
        seg_seek_plan_free(must_seek(b.c, "g", to(seeks[i].where, seeks[i].value)));
        check_agree(&b, true);
    }
    tear_down(&b);
}

/* A stream of 20 messages a partition, which trims all the time. */
static bench bounded(seg_on_full policy) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in), .partitions = 1};
    seg_stream_options o;
    seg_error err;
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    SEG_INIT(&o);
    o.partitions = 1;
    o.max_messages = 20;
    o.on_full = policy;
    CHECK_OK(seg_stream_create(b.c, "s", &o, &err), &err);
    b.p = rig_producer(b.c, "s");
    return b;
}

TEST(the_lag_is_what_is_left_after_trims) {
    bench b = bounded(SEG_BLOCK);
    seg_consumer *k = consumer(&b);
    for (unsigned i = 0; i < 12; i++) {
        rig_put(b.p, (rig_run){.partitions = 1, .first = 7 * i, .count = 7});
        rig_drain(k, b.in, 7 * (i + 1));
    }
    CHECK_GT(rig_cursor(b.c, "s", "g", 0).first, 0);
    rig_put(b.p, (rig_run){.partitions = 1, .first = 84, .count = 7});
    rig_take(k, b.in, 91);
    rig_ack(k, &b.in->d[84], 3);
    rig_commit(k);
    seg_consumer_close(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 4);
    check_agree(&b, true);
    tear_down(&b);
}

/* Dropped before it was read is nothing that is left. The server's own lag still counts that, until
 * the group has been told, and goes on behind it. */
TEST(the_lag_is_what_is_left_where_the_oldest_was_dropped) {
    bench b = bounded(SEG_DROP_OLDEST);
    seg_consumer *k = consumer(&b);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 7});
    rig_take(k, b.in, 7);
    rig_ack(k, b.in->d, 3);
    rig_commit(k);
    seg_consumer_close(k);
    for (unsigned i = 1; i < 12; i++)
        rig_put(b.p, (rig_run){.partitions = 1, .first = 7 * i, .count = 7});
    seg_group_partition p = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(p.committed, 3);
    CHECK_EQ(p.lag, p.next - p.first);
    CHECK_EQ(p.lag, 20);
    CHECK_GT(p.oldest_ms, 0);
    CHECK_EQ(native_lag(b.s, 0), 84 - 3);
    check_agree(&b, false);
    tear_down(&b);
}
