/* How a partition changes hands when its owner does not hand it over: killed, stopped past its
 * lease, replaced by a consumer of its name, or gone with the server away. */
#include <signal.h>
#include <stdlib.h>

#include "member.h"
#include "rig.h"

/* Two forked members "m0" and "m1" of the group "g" on the stream "s"; none has joined. */
typedef struct pair {
    server *s;
    seg_client *c;
    seg_producer *p;
    member *m[2];
    uint32_t partitions;
} pair;

static pair set_up(uint32_t partitions, member_plan plan) {
    static const char *const names[] = {"m0", "m1"};
    pair t = {.s = server_start(NULL), .partitions = partitions};
    plan.url = server_url(t.s);
    plan.stream = "s";
    plan.group = "g";
    for (size_t i = 0; i < 2; i++) {
        member_plan own = plan;
        own.name = plan.name ? plan.name : names[i];
        t.m[i] = member_new(&own);
        member_fork(t.m[i]);
    }
    t.c = rig_client(t.s);
    rig_stream(t.c, "s", partitions);
    t.p = rig_producer(t.c, "s");
    return t;
}

static void tear_down(pair *t) {
    seg_producer_close(t->p);
    seg_client_close(t->c);
    server_stop(t->s);
}

/* The first event of that kind at or after `from`; NULL where there is none yet. */
static const member_event *event_since(const member *m, member_kind kind, size_t from) {
    for (size_t i = from; i < member_events(m); i++) {
        if (member_event_at(m, i)->kind == kind) {
            return member_event_at(m, i);
        }
    }
    return NULL;
}

/* ---- Killed --------------------------------------------------------------------------------- */

TEST(a_killed_member_is_replaced_when_its_lease_runs_out) {
    enum { SESSION = 1000, LATE = 1500 };
    pair t = set_up(2, (member_plan){.session_timeout = SESSION});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, members_balanced(t.m, 2, 2));
    rig_spread(t.p, 2, 0, 20);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 10);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_COMMITTED) == 10);
    size_t from = member_events(t.m[1]);
    int64_t killed = test_now_ms();
    member_signal(t.m[0], SIGKILL);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_COMMITTED) == 20);
    const member_event *first = event_since(t.m[1], MEMBER_DELIVERED, from);
    CHECK(first != NULL);
    /* Not before: the lease was renewed within the last quarter of it. */
    CHECK_GE(first->at_ms - killed, SESSION / 2);
    CHECK_LE(first->at_ms - killed, SESSION + LATE);
    CHECK_EQ(first->attempt, 2); /* it died with the first */
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 2, 20);
    tear_down(&t);
}

/* Killed in the middle of batches, with a part acknowledged in a random order: the next owner gets
 * exactly the rest (members_check), in order. */
TEST(what_a_killed_member_had_committed_is_not_seen_again) {
    pair t = set_up(2, (member_plan){.session_timeout = 400, .random = true, .max = 7});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    for (unsigned i = 0; i < 10; i++) {
        rig_spread(t.p, 2, i * 60, 60);
    }
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 600);
    member_hold(t.m[0], false); /* a random part of the 600 */
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_COMMITTED) > 0);
    member_hold(t.m[0], true);
    member_signal(t.m[0], SIGKILL);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 2, 600);
    tear_down(&t);
}

/* It dies while it drains a partition that was on its way to the other: both go over. */
TEST(a_member_killed_while_it_drains_is_replaced) {
    pair t = set_up(2, (member_plan){.session_timeout = 500, .drain_timeout = 60000});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 2, 0, 20);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 20);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_REVOKED) == 1);
    CHECK_EQ(member_owns(t.m[1]), 0);
    member_signal(t.m[0], SIGKILL);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    WAIT_FOR(RIG_MS, member_owns(t.m[1]) == 2);
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 2, 20);
    tear_down(&t);
}

/* Nobody is left to see the lease run out: whoever comes later does. */
TEST(a_group_that_died_as_a_whole_is_taken_over) {
    enum { SESSION = 600 };
    pair t = set_up(3, (member_plan){.session_timeout = SESSION});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 3, 0, 30);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 30);
    member_signal(t.m[0], SIGKILL);
    int64_t start = test_now_ms();
    WAIT_FOR(RIG_MS, test_now_ms() - start > 2 * SESSION);
    start = test_now_ms();
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_LT(test_now_ms() - start, SESSION + 1500);
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 3, 30);
    tear_down(&t);
}

/* A restart under the same name, well within a session timeout of a minute: it gets its partitions
 * back at once. */
TEST(a_restart_under_the_same_name_gets_its_partitions_at_once) {
    pair t = set_up(3, (member_plan){.session_timeout = 60000, .name = "instance"});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 3, 0, 30);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 30);
    member_signal(t.m[0], SIGKILL);
    int64_t start = test_now_ms();
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_COMMITTED) == 30);
    CHECK_LT(test_now_ms() - start, 10000);
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 3, 30);
    tear_down(&t);
}

/* ---- Stopped -------------------------------------------------------------------------------- */

/* The zombie: stopped with 5 messages in its hands and more fetched ahead. While it sleeps, its
 * lease runs out and the other handles everything. When it wakes, its acknowledgements are fenced
 * and change nothing, it hands out nothing of what it had fetched, and it joins again. */
TEST(a_zombie_is_fenced_and_joins_again) {
    pair t = set_up(1, (member_plan){.session_timeout = 600, .max_in_flight = 5});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    WAIT_FOR(RIG_MS, member_owns(t.m[0]) == 1);
    rig_put(t.p, (rig_run){.partitions = 1, .count = 40});
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 5);
    member_signal(t.m[0], SIGSTOP);
    /* The other one holds what it gets: were the zombie's acknowledgements to count, the lag would
     * show it. */
    member_hold(t.m[1], true);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_DELIVERED) == 5);
    size_t from = member_events(t.m[0]);
    member_hold(t.m[0], false);
    member_signal(t.m[0], SIGCONT);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_FENCED) == 5);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_LOST) == 1);
    WAIT_FOR(RIG_MS, member_active(t.m[0]));
    CHECK_EQ(rig_lag(t.c, "s", "g"), 40);
    CHECK_EQ(rig_cursor(t.c, "s", "g", 0).acked, 0);
    CHECK(event_since(t.m[0], MEMBER_DELIVERED, from) == NULL);
    CHECK(event_since(t.m[0], MEMBER_COMMITTED, 0) == NULL);
    /* It is a member again: it takes over when the other leaves. */
    CHECK_OK(member_leave(t.m[1]), NULL);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_OK(member_leave(t.m[0]), NULL);
    members_check(t.m, 2, 1, 40);
    tear_down(&t);
}

/* Alone in its group nobody takes its place: it goes on where it was. */
TEST(a_member_that_slept_alone_goes_on) {
    pair t = set_up(2, (member_plan){.session_timeout = 300});
    member_go(t.m[0]);
    rig_spread(t.p, 2, 0, 20);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_COMMITTED) == 20);
    member_signal(t.m[0], SIGSTOP);
    int64_t start = test_now_ms();
    rig_spread(t.p, 2, 20, 20);
    WAIT_FOR(RIG_MS, test_now_ms() - start > 600);
    CHECK_EQ(member_count(t.m[0], MEMBER_DELIVERED), 20);
    member_signal(t.m[0], SIGCONT);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_OK(member_leave(t.m[0]), NULL);
    members_check(t.m, 1, 2, 40);
    tear_down(&t);
}

/* ---- Leaving -------------------------------------------------------------------------------- */

/* Close does not wait for what is unacknowledged, nor the next owner for any timeout. */
TEST(a_clean_close_hands_back_at_once) {
    pair t = set_up(4, (member_plan){.session_timeout = 60000, .drain_timeout = 60000});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 4, 0, 40);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 40);
    CHECK_OK(member_leave(t.m[0]), NULL);
    CHECK_LT(member_left_ms(t.m[0]) - member_closing_ms(t.m[0]), 4000);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_COMMITTED) == 40);
    CHECK_LT(test_now_ms() - member_left_ms(t.m[0]), 10000);
    CHECK_OK(member_leave(t.m[1]), NULL);
    members_check(t.m, 2, 4, 40);
    tear_down(&t);
}

typedef struct heard {
    unsigned assigned, revoked, lost;
} heard;

static void hear(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    heard *h = arg;
    for (size_t i = 1; i < n; i++) {
        CHECK_NE(partitions[i], partitions[i - 1]);
    }
    h->assigned += what == SEG_ASSIGNED ? (unsigned)n : 0;
    h->revoked += what == SEG_REVOKED ? (unsigned)n : 0;
    h->lost += what == SEG_LOST ? (unsigned)n : 0;
}

/* What is handed back is revoked; only what somebody else has taken is lost. */
TEST(a_clean_close_tells_of_revoked_partitions) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    heard h = {0};
    rig_stream(c, "s", 3);
    seg_consumer *k = rig_consumer(
        c, "s", &(rig_join){.group = "g", .on_rebalance = hear, .arg = &h, .drain_timeout = 60000});
    rig_settle(k, 3);
    CHECK_EQ(h.assigned, 3);
    seg_consumer_close(k);
    CHECK_EQ(h.revoked, 3);
    CHECK_EQ(h.lost, 0);
    seg_client_close(c);
    server_stop(s);
}

static void check_close_without_server(bool killed) {
    enum { TIMEOUT = 700 };
    server *s = server_start(NULL);
    seg_client *c = rig_client_within(s, TIMEOUT);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_stream(c, "s", 2);
    seg_producer *p = rig_producer(c, "s");
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g"});
    rig_spread(p, 2, 0, 10);
    rig_take(k, in, 10);
    if (killed) {
        server_kill9(s);
    } else {
        server_pause(s);
    }
    rig_ack(k, in->d, 10);
    int64_t start = test_now_ms();
    seg_consumer_close(k);
    CHECK_LT(test_now_ms() - start, TIMEOUT + 3000);
    seg_producer_close(p);
    seg_client_close(c);
    CHECK_LT(test_now_ms() - start, TIMEOUT + 4000);
    if (!killed) {
        server_resume(s);
    }
    free(in);
    server_stop(s);
}

TEST(close_ends_with_the_server_stopped) {
    check_close_without_server(false);
}

TEST(close_ends_with_the_server_dead) {
    check_close_without_server(true);
}

/* ---- Replaced ------------------------------------------------------------------------------- */

TEST(a_newer_consumer_of_a_name_replaces_the_older) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    seg_error err;
    heard h = {0};
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_stream(c, "s", 2);
    seg_producer *p = rig_producer(c, "s");
    rig_join same = {
        .group = "g", .name = "one", .session_timeout = 60000, .on_rebalance = hear, .arg = &h};
    seg_consumer *old = rig_consumer(c, "s", &same);
    rig_spread(p, 2, 0, 10);
    rig_take(old, in, 10);
    rig_ack(old, in->d, 1);
    rig_commit(old);
    CHECK_EQ(h.assigned, 2);
    seg_consumer *new =
        rig_consumer(c, "s", &(rig_join){.group = "g", .name = "one", .session_timeout = 60000});
    int64_t start = test_now_ms();
    rig_expect_end(old, SEG_EFENCED, &err);
    CHECK_CONTAINS(err.text, "one");
    CHECK_LT(test_now_ms() - start, 5000);
    CHECK_EQ(h.lost, 2);
    CHECK(!seg_consumer_active(old));
    CHECK_EQ(seg_consumer_assignment(old, NULL, 0), 0);
    CHECK_STATUS(seg_ack(old, in->d + 1, 9, &err), SEG_EFENCED, &err);
    CHECK_STATUS(seg_ack(old, in->d + 1, 1, &err), SEG_EFENCED, &err);
    in->n = 0;
    rig_drain(new, in, 9);
    for (size_t i = 0; i < 9; i++) {
        CHECK_EQ(in->d[i].attempt, 2);
    }
    CHECK_EQ(rig_lag(c, "s", "g"), 0);
    seg_consumer_close(old); /* does not put the new one out */
    rig_spread(p, 2, 10, 2);
    rig_drain(new, in, 11);
    seg_consumer_close(new);
    seg_producer_close(p);
    seg_client_close(c);
    free(in);
    server_stop(s);
}

/* An acknowledgement that was accepted here and then overtaken by a new owner: commit says so. */
TEST(commit_tells_when_a_partition_moved_before_it) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    seg_error err;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_stream(c, "s", 1);
    seg_producer *p = rig_producer(c, "s");
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    rig_put(p, (rig_run){.partitions = 1, .count = 4});
    rig_take(k, in, 4);
    /* Somebody else acquires it, behind the coordinator's back. */
    server_do(s, "HSET sg:{default/s/0}:cursors g:epoch %llu",
              (unsigned long long)in->d[0].epoch + 5);
    rig_ack(k, in->d, 2);
    CHECK_STATUS(seg_consumer_commit(k, RIG_MS, &err), SEG_EFENCED, &err);
    CHECK_STATUS(seg_ack(k, in->d + 2, 1, &err), SEG_EFENCED, &err);
    CHECK_EQ(rig_lag(c, "s", "g"), 4);
    /* Its own coordinator still means it: under a later epoch, it gets all four again. */
    rig_take(k, in, 8);
    CHECK_GT(in->d[4].epoch, in->d[0].epoch + 5);
    rig_ack(k, in->d + 4, 4);
    rig_commit(k);
    CHECK_EQ(rig_lag(c, "s", "g"), 0);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_client_close(c);
    free(in);
    server_stop(s);
}
