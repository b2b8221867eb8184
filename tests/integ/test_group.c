/* Groups as the application sees them: where they start, that they know nothing of each other, what
 * a description says, what deletion refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* A server, a client, the stream "s", and a producer of it. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    uint32_t partitions;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .partitions = partitions};
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
}

static rig_inbox *new_inbox(void) {
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    return in;
}

/* ---- Where a group starts ------------------------------------------------------------------- */

TEST(earliest_gets_what_was_there_before_it) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    rig_put(b.p, (rig_run){.partitions = 1, .count = 5});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_put(b.p, (rig_run){.partitions = 1, .first = 5, .count = 5});
    rig_take(k, in, 10);
    rig_check_run(in, 0, 10, 0);
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(in->d[i].id.era, 1);
        CHECK_EQ(in->d[i].id.offset, i);
        CHECK_EQ(in->d[i].attempt, 1);
        CHECK_GT(in->d[i].epoch, 0);
    }
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

TEST(latest_gets_only_what_comes_after_it) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    rig_put(b.p, (rig_run){.partitions = 1, .count = 5});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .start = SEG_LATEST});
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    rig_put(b.p, (rig_run){.partitions = 1, .first = 5, .count = 3});
    rig_take(k, in, 3);
    rig_check_run(in, 0, 3, 5);
    CHECK_EQ(in->d[0].id.offset, 5);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

/* The start is the group's, fixed by who creates it: a later consumer's wish changes nothing. */
TEST(a_group_that_exists_keeps_its_place) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    rig_put(b.p, (rig_run){.partitions = 1, .count = 4});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, 4);
    rig_ack(k, in->d, 2);
    rig_commit(k);
    seg_consumer_close(k);
    in->n = 0;
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .start = SEG_LATEST});
    rig_take(k, in, 2);
    rig_check_run(in, 0, 2, 2);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

TEST(a_stream_that_does_not_exist_is_enoent) {
    bench b = set_up(1);
    seg_consumer *k = NULL;
    seg_error err;
    CHECK_STATUS(rig_try_consumer(&k, b.c, "none", &(rig_join){.group = "g"}, &err), SEG_ENOENT,
                 &err);
    CHECK_PTR(k, NULL);
    CHECK_CONTAINS(err.text, "none");
    tear_down(&b);
}

/* ---- Groups are independent ----------------------------------------------------------------- */

TEST(groups_of_a_stream_know_nothing_of_each_other) {
    enum { GROUPS = 5, MESSAGES = 60 };
    bench b = set_up(3);
    rig_inbox *in = new_inbox();
    seg_consumer *k[GROUPS];
    char name[32];
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%d", i);
        k[i] = rig_consumer(b.c, "s", &(rig_join){.group = name});
    }
    rig_spread(b.p, 3, 0, MESSAGES);
    for (int i = 0; i < GROUPS; i++) {
        in->n = 0;
        rig_take(k[i], in, MESSAGES);
        rig_ack(k[i], in->d, (size_t)i * 10);
        rig_commit(k[i]);
    }
    seg_names *names = NULL;
    seg_error err;
    CHECK_OK(seg_group_list(&names, b.c, "s", &err), &err);
    CHECK_EQ(seg_names_count(names), GROUPS);
    for (int i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%d", i);
        CHECK_STR(seg_names_at(names, (size_t)i), name);
        uint64_t acked = 0;
        for (uint32_t p = 0; p < 3; p++) {
            seg_group_partition at = rig_cursor(b.c, "s", name, p);
            acked += at.committed + at.acked;
        }
        CHECK_EQ(acked, i * 10);
        seg_consumer_close(k[i]);
    }
    seg_names_free(names);
    free(in);
    tear_down(&b);
}

TEST(two_streams_in_one_client_with_one_group_name) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    rig_stream(b.c, "t", 1);
    seg_producer *q = rig_producer(b.c, "t");
    seg_consumer *s = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "m"});
    seg_consumer *t = rig_consumer(b.c, "t", &(rig_join){.group = "g", .name = "m"});
    rig_put(b.p, (rig_run){.partitions = 1, .first = 100, .count = 3});
    rig_put(q, (rig_run){.partitions = 1, .first = 200, .count = 3});
    rig_take(s, in, 3);
    rig_take(t, in, 6);
    rig_check_run(in, 0, 3, 100);
    rig_check_run(in, 3, 3, 200);
    seg_consumer_close(s);
    seg_consumer_close(t);
    seg_producer_close(q);
    free(in);
    tear_down(&b);
}

TEST(thirty_two_consumers_in_one_process) {
    enum { N = 32, EACH = 4 };
    bench b = set_up(N);
    rig_inbox *in = new_inbox();
    seg_consumer *k[N];
    for (int i = 0; i < N; i++) {
        k[i] = rig_consumer(b.c, "s", &(rig_join){.group = "g", .drain_timeout = -1});
    }
    bool settled = false;
    int64_t end = test_now_ms() + RIG_MS;
    while (!settled) {
        CHECK_LT(test_now_ms(), end);
        settled = true;
        for (int i = 0; i < N; i++) {
            CHECK_EQ(rig_poll(k[i], in, 10, 0), 0);
            settled = settled && seg_consumer_assignment(k[i], NULL, 0) == 1;
        }
    }
    rig_spread(b.p, N, 0, N * EACH);
    for (int i = 0; i < N; i++) {
        in->n = 0;
        rig_drain(k[i], in, EACH);
        for (unsigned j = 0; j < EACH; j++) {
            CHECK_EQ(in->number[j] % N, in->d[0].partition);
            CHECK_EQ(in->number[j] / N, j);
        }
    }
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    for (int i = 0; i < N; i++) {
        seg_consumer_close(k[i]);
    }
    free(in);
    tear_down(&b);
}

/* ---- Descriptions --------------------------------------------------------------------------- */

/* The lag of group "g" that the server itself computes for partition p. */
static long long native_lag(server *s, uint32_t p) {
    redisReply *r = server_cmd(s, "XINFO GROUPS sg:{default/s/%u}:log", p);
    long long lag = -1;
    for (size_t g = 0; g < r->elements; g++) {
        redisReply *one = r->element[g];
        bool ours = false;
        for (size_t i = 0; i + 1 < one->elements; i += 2) {
            const char *field = one->element[i]->str;
            ours = ours || (strcmp(field, "name") == 0 && !strcmp(one->element[i + 1]->str, "g"));
            if (ours && strcmp(field, "lag") == 0) {
                CHECK_EQ(one->element[i + 1]->type, REDIS_REPLY_INTEGER);
                lag = one->element[i + 1]->integer;
            }
        }
    }
    freeReplyObject(r);
    return lag;
}

TEST(lag_is_exact_in_the_middle_of_batches) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_EQ(native_lag(b.s, 0), 0);
    for (unsigned i = 0; i < 4; i++) { /* four entries of ten */
        rig_put(b.p, (rig_run){.partitions = 1, .first = 10 * i, .count = 10});
    }
    CHECK_EQ(server_int(b.s, "XLEN sg:{default/s/0}:log"), 4);
    CHECK_EQ(native_lag(b.s, 0), 40);
    rig_take(k, in, 40);
    for (size_t i = 0; i < 40; i++) {
        rig_ack(k, in->d + i, 1);
        rig_commit(k);
        seg_group_partition at = rig_cursor(b.c, "s", "g", 0);
        CHECK_EQ(at.committed, i + 1);
        CHECK_EQ(at.next, 40);
        CHECK_EQ(at.lag, 39 - i);
        CHECK_EQ(at.acked, 0);
        CHECK_EQ(native_lag(b.s, 0), 39 - i);
        CHECK_EQ(rig_lag(b.c, "s", "g"), 39 - i);
    }
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

/* What is acknowledged out of order is counted apart; the lag stands until the gap closes. */
TEST(out_of_order_acks_show_beside_the_lag) {
    bench b = set_up(1);
    rig_inbox *in = new_inbox();
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    rig_take(k, in, 10);
    for (size_t i = 1; i < 10; i += 2) {
        rig_ack(k, in->d + i, 1);
    }
    rig_commit(k);
    seg_group_partition at = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(at.committed, 0);
    CHECK_EQ(at.acked, 5);
    CHECK_EQ(at.lag, 10);
    CHECK_EQ(native_lag(b.s, 0), 10);
    rig_ack(k, in->d, 1);
    rig_commit(k);
    at = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(at.committed, 2);
    CHECK_EQ(at.acked, 4);
    CHECK_EQ(at.lag, 8);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

/* A group that begins late does not count what it never had to read. */
TEST(a_late_group_and_an_idle_one_have_exact_lags) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .start = SEG_LATEST});
    CHECK_EQ(native_lag(b.s, 0), 0);
    rig_spread(b.p, 2, 20, 6);
    CHECK_EQ(native_lag(b.s, 0), 3);
    CHECK_EQ(native_lag(b.s, 1), 3);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 6);
    seg_consumer_close(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 6);
    tear_down(&b);
}

TEST(a_description_names_members_and_owners) {
    bench b = set_up(3);
    char host[256] = "";
    seg_error err;
    seg_group_info *g = NULL;
    CHECK_EQ(gethostname(host, sizeof host - 1), 0);
    seg_consumer *x = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "x"});
    rig_settle(x, 3);
    seg_consumer *y = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "y"});
    rig_settle(x, 2);
    rig_settle(y, 1);
    CHECK_OK(seg_group_describe(&g, b.c, "s", "g", &err), &err);
    CHECK_STR(seg_group_info_name(g), "g");
    CHECK_STR(seg_group_info_stream(g), "s");
    CHECK_EQ(seg_group_info_partitions(g), 3);
    CHECK_EQ(seg_group_info_members(g), 2);
    CHECK_PTR(seg_group_info_partition(g, 3), NULL);
    uint64_t epochs[3];
    for (size_t i = 0; i < 2; i++) {
        const char *id = seg_group_info_member(g, i);
        seg_consumer *k = strcmp(id, "x") == 0 ? x : y;
        uint32_t own[3];
        size_t n = 0, m = seg_consumer_assignment(k, own, 3);
        const uint32_t *said = seg_group_info_owned(g, i, &n);
        CHECK_STR(id, seg_consumer_member(k));
        CHECK(strncmp(seg_group_info_host(g, i), host, 4) == 0);
        CHECK_MEM(said, n * sizeof *said, own, m * sizeof *own);
        for (size_t j = 0; j < n; j++) {
            CHECK_STR(seg_group_info_partition(g, said[j])->owner, id);
        }
    }
    for (uint32_t p = 0; p < 3; p++) {
        epochs[p] = seg_group_info_partition(g, p)->epoch;
        CHECK_GT(epochs[p], 0);
    }
    CHECK(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
    seg_group_info_free(g);
    seg_consumer_close(x);
    seg_consumer_close(y);
    CHECK_OK(seg_group_describe(&g, b.c, "s", "g", &err), &err);
    CHECK_EQ(seg_group_info_members(g), 0);
    for (uint32_t p = 0; p < 3; p++) {
        CHECK_PTR(seg_group_info_partition(g, p)->owner, NULL);
        CHECK_GE(seg_group_info_partition(g, p)->epoch, epochs[p]);
    }
    seg_group_info_free(g);
    tear_down(&b);
}

TEST(describing_what_is_not_there_is_enoent) {
    bench b = set_up(1);
    seg_group_info *g = NULL;
    seg_error err;
    CHECK_STATUS(seg_group_describe(&g, b.c, "s", "none", &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "none");
    CHECK_STATUS(seg_group_describe(&g, b.c, "nostream", "g", &err), SEG_ENOENT, &err);
    CHECK_PTR(g, NULL);
    tear_down(&b);
}

/* ---- Deletion ------------------------------------------------------------------------------- */

TEST(a_group_with_live_members_is_not_deleted) {
    bench b = set_up(2);
    rig_inbox *in = new_inbox();
    seg_error err;
    rig_spread(b.p, 2, 0, 4);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    CHECK_STATUS(seg_group_delete(b.c, "s", "g", &err), SEG_EEXIST, &err);
    rig_drain(k, in, 4); /* it was not hurt */
    seg_consumer_close(k);
    CHECK_OK(seg_group_delete(b.c, "s", "g", &err), &err);
    CHECK_STATUS(seg_group_delete(b.c, "s", "g", &err), SEG_ENOENT, &err);
    CHECK_EQ(server_int(b.s, "EXISTS sg:{default/s}:group:g sg:{default/s}:group:g:leases "
                             "sg:{default/s}:group:g:parts"),
             0);
    /* A new group of that name starts where it says, and gets everything. */
    in->n = 0;
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, 4);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

/* A log that is sealed makes Redis end every XREAD that waits for it, with no entries, when one of its native
 * groups goes. Who waits for another group goes on, and notices nothing. */
TEST(a_deleted_group_does_not_disturb_others) {
    enum { ROUNDS = 10 };
    bench b = set_up(2);
    seg_error err;
    rig_inbox *in = new_inbox();
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_spread(b.p, 2, 0, 10);
    rig_drain(k, in, 10);
    long long before = rig_calls(b.s, "xread");
    for (unsigned i = 1; i <= ROUNDS; i++) {
        seg_consumer_close(rig_consumer(b.c, "s", &(rig_join){.group = "other"}));
        WAIT_FOR(RIG_MS, server_info(b.s, "blocked_clients") == 1);
        CHECK_OK(seg_group_delete(b.c, "s", "other", &err), &err);
        CHECK_EQ(rig_poll(k, in, 10, 50), 0);
        rig_spread(b.p, 2, 10 * i, 10);
        rig_drain(k, in, 10 * i + 10);
    }
    CHECK_LE(rig_calls(b.s, "xread") - before, 12 * ROUNDS);
    CHECK_EQ(rig_stats(k).foreign, 0);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

/* Nobody reads for a deleted group any more: its place must not hold the stream's room. */
TEST(a_deleted_group_holds_no_room) {
    bench b = {.s = server_start(NULL)};
    seg_stream_options o;
    seg_error err;
    b.c = rig_client(b.s);
    SEG_INIT(&o);
    o.partitions = 1;
    o.max_messages = 10;
    o.on_full = SEG_FAIL;
    CHECK_OK(seg_stream_create(b.c, "s", &o, &err), &err);
    b.p = rig_producer(b.c, "s");
    rig_inbox *in = new_inbox();
    seg_consumer *slow = rig_consumer(b.c, "s", &(rig_join){.group = "slow"});
    seg_consumer *quick = rig_consumer(b.c, "s", &(rig_join){.group = "quick"});
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    rig_drain(quick, in, 10);
    seg_record r;
    SEG_INIT(&r);
    r.value = (seg_bytes){"x", 1};
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, b.c, "s", NULL, &err), &err);
    CHECK_STATUS(seg_send(p, &r, NULL, &err), SEG_EFULL, &err);
    seg_consumer_close(slow);
    CHECK_OK(seg_group_delete(b.c, "s", "slow", &err), &err);
    CHECK_OK(seg_send(p, &r, NULL, &err), &err);
    seg_consumer_close(quick);
    seg_producer_close(p);
    free(in);
    tear_down(&b);
}
