/* How a group shares its partitions out while members come and go and messages flow: in one process
 * and in many. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "member.h"
#include "rig.h"

enum { MAX_MEMBERS = 10 };

/* ---- Static shares -------------------------------------------------------------------------- */

typedef struct shares {
    uint32_t partitions;
    size_t members;
    bool forked;
} shares;

/* A group with `members` members, all joined, all of its partitions owned. */
typedef struct troop {
    server *s;
    seg_client *c;
    seg_producer *p;
    member *m[MAX_MEMBERS];
    size_t n;
    uint32_t partitions;
    char names[MAX_MEMBERS][8];
} troop;

/* Processes must exist before the test has threads: forked here, they join when told to. */
static void muster(troop *t, shares how, member_plan plan) {
    *t = (troop){.s = server_start(NULL), .n = how.members, .partitions = how.partitions};
    plan.url = server_url(t->s);
    plan.stream = "s";
    plan.group = "g";
    for (size_t i = 0; i < t->n && how.forked; i++) {
        snprintf(t->names[i], sizeof t->names[i], "m%u", (unsigned)i % 100);
        plan.name = t->names[i];
        t->m[i] = member_new(&plan);
        member_fork(t->m[i]);
    }
    t->c = rig_client(t->s);
    rig_stream(t->c, "s", t->partitions);
    t->p = rig_producer(t->c, "s");
    for (size_t i = 0; i < t->n && !how.forked; i++) {
        snprintf(t->names[i], sizeof t->names[i], "m%u", (unsigned)i % 100);
        plan.name = t->names[i];
        plan.client = t->c;
        t->m[i] = member_new(&plan);
        member_thread(t->m[i]);
    }
}

static void dismiss(troop *t) {
    seg_producer_close(t->p);
    seg_client_close(t->c);
    server_stop(t->s);
}

static void check_shares(shares how) {
    troop t;
    muster(&t, how, (member_plan){.random = true});
    for (size_t i = 0; i < t.n; i++) {
        member_go(t.m[i]);
    }
    WAIT_FOR(RIG_MS, members_balanced(t.m, t.n, how.partitions));
    rig_spread(t.p, how.partitions, 0, 40 * how.partitions);
    WAIT_FOR(RIG_MS, members_settled(t.m, t.n, how.partitions) == 40 * how.partitions);
    /* They leave one after another: the rest takes over, the idle too. */
    for (size_t i = 0; i < t.n; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
        if (i + 1 < t.n) {
            WAIT_FOR(RIG_MS, members_balanced(t.m + i + 1, t.n - i - 1, how.partitions));
        }
    }
    CHECK_EQ(rig_lag(t.c, "s", "g"), 0);
    members_check(t.m, t.n, how.partitions, 40 * how.partitions);
    dismiss(&t);
}

TEST(fourteen_partitions_nine_threads) {
    check_shares((shares){14, 9, false});
}

TEST(fourteen_partitions_nine_processes) {
    check_shares((shares){14, 9, true});
}

TEST(five_partitions_four_threads) {
    check_shares((shares){5, 4, false});
}

TEST(five_partitions_four_processes) {
    check_shares((shares){5, 4, true});
}

TEST(two_partitions_three_threads) {
    check_shares((shares){2, 3, false});
}

TEST(two_partitions_three_processes) {
    check_shares((shares){2, 3, true});
}

/* ---- While messages flow -------------------------------------------------------------------- */

/* Sends a few messages again and again until it is told to stop. */
typedef struct flow {
    troop *t;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint sent;
} flow;

static void *run_flow(void *arg) {
    flow *f = arg;
    for (unsigned n = 0; !atomic_load(&f->stop); n += 3 * f->t->partitions / 2) {
        rig_spread(f->t->p, f->t->partitions, n, 3 * f->t->partitions / 2);
        atomic_store(&f->sent, n + 3 * f->t->partitions / 2);
        /* As quick as they are settled, or nearly: a test is no benchmark. */
        WAIT_FOR(RIG_MS, atomic_load(&f->stop) ||
                             members_count(f->t->m, f->t->n, MEMBER_COMMITTED) + 400 > n);
    }
    return NULL;
}

static void start_flow(flow *f, troop *t) {
    *f = (flow){.t = t};
    CHECK_EQ(pthread_create(&f->thread, NULL, run_flow, f), 0);
}

static unsigned end_flow(flow *f) {
    atomic_store(&f->stop, true);
    CHECK_EQ(pthread_join(f->thread, NULL), 0);
    return atomic_load(&f->sent);
}

/* Wait until a few more messages have gone through, so that each change happens under load. */
static void let_flow(troop *t) {
    size_t now = members_count(t->m, t->n, MEMBER_COMMITTED);
    WAIT_FOR(RIG_MS, members_count(t->m, t->n, MEMBER_COMMITTED) >= now + 100);
}

static void check_flow(shares how) {
    troop t;
    flow f;
    muster(&t, how, (member_plan){.random = true, .max = 20});
    member_go(t.m[0]);
    WAIT_FOR(RIG_MS, member_owns(t.m[0]) == how.partitions);
    start_flow(&f, &t);
    for (size_t i = 1; i < t.n; i++) {
        member_go(t.m[i]);
        WAIT_FOR(RIG_MS, members_balanced(t.m, i + 1, how.partitions));
        let_flow(&t);
    }
    for (size_t i = 0; i + 1 < t.n; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
        WAIT_FOR(RIG_MS, members_balanced(t.m + i + 1, t.n - i - 1, how.partitions));
        let_flow(&t);
    }
    unsigned total = end_flow(&f);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_OK(member_leave(t.m[t.n - 1]), NULL);
    members_check(t.m, t.n, how.partitions, total);
    /* They left cleanly and drained: nobody saw anything twice or was fenced. */
    CHECK_EQ(members_count(t.m, t.n, MEMBER_FENCED), 0);
    CHECK_EQ(members_count(t.m, t.n, MEMBER_LOST), 0);
    dismiss(&t);
}

TEST_DEADLINE(threads_come_and_go_while_messages_flow, 120) {
    check_flow((shares){7, 5, false});
}

TEST_DEADLINE(processes_come_and_go_while_messages_flow, 120) {
    check_flow((shares){7, 5, true});
}

/* The hardest: at random, some killed, some stopped past their lease, some leaving, some new. */
TEST_DEADLINE(processes_are_killed_and_stopped_while_messages_flow, 120) {
    shares how = {6, 8, true};
    troop t;
    flow f;
    muster(&t, how, (member_plan){.random = true, .max = 20, .session_timeout = 500});
    for (size_t i = 0; i < 3; i++) {
        member_go(t.m[i]);
    }
    WAIT_FOR(RIG_MS, members_balanced(t.m, 3, how.partitions));
    start_flow(&f, &t);
    let_flow(&t);
    member_signal(t.m[0], SIGKILL);
    member_go(t.m[3]);
    let_flow(&t);
    WAIT_FOR(RIG_MS, members_balanced(t.m + 1, 3, how.partitions));
    member_signal(t.m[1], SIGSTOP);
    member_go(t.m[4]);
    WAIT_FOR(RIG_MS, members_balanced(t.m + 2, 3, how.partitions));
    let_flow(&t);
    member_signal(t.m[1], SIGCONT);
    WAIT_FOR(RIG_MS, members_balanced(t.m + 1, 4, how.partitions));
    member_signal(t.m[2], SIGKILL);
    member_signal(t.m[3], SIGSTOP);
    member_go(t.m[5]);
    member_go(t.m[6]);
    let_flow(&t);
    CHECK_OK(member_leave(t.m[4]), NULL);
    member_signal(t.m[3], SIGCONT);
    member_go(t.m[7]);
    let_flow(&t);
    member *alive[] = {t.m[1], t.m[3], t.m[5], t.m[6], t.m[7]};
    WAIT_FOR(RIG_MS, members_balanced(alive, 5, how.partitions));
    unsigned total = end_flow(&f);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    for (size_t i = 0; i < 5; i++) {
        CHECK_OK(member_leave(alive[i]), NULL);
    }
    members_check(t.m, t.n, how.partitions, total);
    dismiss(&t);
}

/* The same without a plan: whatever the seed says, of what can happen to a member or a connection.
 * One member at least is left alone, so that messages flow. */
typedef enum fate { WAITING, RUNNING, STOPPED, OVER } fate;

static size_t with_fate(const fate *fates, size_t n, fate wanted) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += fates[i] == wanted;
    }
    return sum;
}

static void suffer(troop *t, fate *fates, unsigned dice) {
    size_t i = dice / 8 % t->n;
    bool needed = fates[i] == RUNNING && with_fate(fates, t->n, RUNNING) < 2;
    if (dice % 8 == 0) {
        server_do(t->s, dice % 16 ? "CLIENT KILL TYPE normal" : "CLIENT KILL TYPE pubsub");
    } else if (fates[i] == WAITING) {
        member_go(t->m[i]);
        fates[i] = RUNNING;
    } else if (fates[i] == STOPPED) {
        member_signal(t->m[i], SIGCONT);
        fates[i] = RUNNING;
    } else if (fates[i] == RUNNING && !needed) {
        if (dice % 8 < 4) {
            member_signal(t->m[i], SIGSTOP);
            fates[i] = STOPPED;
        } else if (dice % 8 == 4) {
            member_signal(t->m[i], SIGKILL);
            fates[i] = OVER;
        } else if (dice % 8 == 5) {
            CHECK_OK(member_leave(t->m[i]), NULL);
            fates[i] = OVER;
        }
    }
}

TEST_DEADLINE(anything_happens_while_messages_flow, 120) {
    enum { STEPS = 30 };
    shares how = {5, MAX_MEMBERS, true};
    fate fates[MAX_MEMBERS] = {RUNNING, RUNNING};
    uint64_t seed = test_seed();
    member *alive[MAX_MEMBERS];
    size_t n = 0;
    troop t;
    flow f;
    muster(&t, how, (member_plan){.random = true, .max = 20, .session_timeout = 300});
    member_go(t.m[0]);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, members_balanced(t.m, 2, how.partitions));
    start_flow(&f, &t);
    for (unsigned i = 0; i < STEPS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        suffer(&t, fates, (unsigned)(seed >> 40));
        size_t now = members_count(t.m, t.n, MEMBER_COMMITTED);
        WAIT_FOR(RIG_MS, members_count(t.m, t.n, MEMBER_COMMITTED) > now);
    }
    unsigned total = end_flow(&f);
    for (size_t i = 0; i < t.n; i++) {
        if (fates[i] == STOPPED) {
            member_signal(t.m[i], SIGCONT);
        }
        if (fates[i] == STOPPED || fates[i] == RUNNING) {
            alive[n++] = t.m[i];
        }
    }
    WAIT_FOR(RIG_MS, members_balanced(alive, n, how.partitions));
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    for (size_t i = 0; i < n; i++) {
        CHECK_OK(member_leave(alive[i]), NULL);
    }
    members_check(t.m, t.n, how.partitions, total);
    dismiss(&t);
}

/* ---- Who moves, who does not ---------------------------------------------------------------- */

/* One of four partitions has a message in flight. A second member comes: the partition that has to
 * go is held until that message is acknowledged; then it moves at once, not with a heartbeat. */
TEST(a_partition_moves_when_it_is_drained) {
    troop t;
    muster(&t, (shares){2, 2, false}, (member_plan){.session_timeout = 60000});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 2, 0, 2);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 2);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_REVOKED) == 1);
    WAIT_FOR(RIG_MS, member_active(t.m[1]));
    /* New messages of what is going wait for the new owner. */
    rig_spread(t.p, 2, 2, 2);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 3);
    CHECK_EQ(member_owns(t.m[1]), 0);
    CHECK_EQ(member_count(t.m[1], MEMBER_ASSIGNED), 0);
    int64_t start = test_now_ms();
    member_hold(t.m[0], false);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_COMMITTED) == 1);
    CHECK_LT(test_now_ms() - start, 5000); /* a heartbeat is 15 s */
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
    }
    CHECK_EQ(members_count(t.m, 2, MEMBER_FENCED), 0);
    CHECK_EQ(members_count(t.m, 2, MEMBER_DELIVERED), 4);
    members_check(t.m, 2, 2, 4);
    dismiss(&t);
}

/* It does not wait for ever: past the drain timeout it goes, and what was in flight is the next
 * owner's; acknowledging it is fenced and changes nothing. */
TEST(the_drain_timeout_ends_the_wait) {
    troop t;
    muster(&t, (shares){2, 2, false}, (member_plan){.drain_timeout = 300});
    member_hold(t.m[0], true);
    member_hold(t.m[1], true);
    member_go(t.m[0]);
    rig_spread(t.p, 2, 0, 2);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 2);
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[1], MEMBER_DELIVERED) == 1);
    int64_t revoked = 0, delivered = 0;
    for (size_t i = 0; i < member_events(t.m[0]); i++) {
        if (member_event_at(t.m[0], i)->kind == MEMBER_REVOKED) {
            revoked = member_event_at(t.m[0], i)->at_ms;
        }
    }
    for (size_t i = 0; i < member_events(t.m[1]); i++) {
        if (member_event_at(t.m[1], i)->kind == MEMBER_DELIVERED) {
            delivered = member_event_at(t.m[1], i)->at_ms;
        }
    }
    /* The callback runs up to a poll later than the wait begins. */
    CHECK_GE(delivered - revoked, 300 - 100);
    member_hold(t.m[0], false);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_FENCED) == 1);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_COMMITTED) == 1);
    CHECK_EQ(rig_lag(t.c, "s", "g"), 1);
    member_hold(t.m[1], false);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
    }
    members_check(t.m, 2, 2, 2);
    dismiss(&t);
}

/* What stays is neither revoked nor given a new epoch, and its messages keep coming while another
 * partition is stuck on its way out. */
TEST(partitions_that_stay_are_not_interrupted) {
    bool staying[4] = {false};
    troop t;
    muster(&t, (shares){4, 3, false}, (member_plan){.session_timeout = 60000});
    member_hold(t.m[0], true);
    member_go(t.m[0]);
    rig_spread(t.p, 4, 0, 4);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == 4);
    uint64_t epochs[4];
    for (uint32_t p = 0; p < 4; p++) {
        epochs[p] = rig_cursor(t.c, "s", "g", p).epoch;
    }
    member_go(t.m[1]);
    WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_REVOKED) == 2);
    WAIT_FOR(RIG_MS, member_owns(t.m[0]) == 2);
    uint64_t own = member_owned(t.m[0]);
    unsigned sent = 4, expect = 4;
    for (unsigned round = 0; round < 20; round++) {
        rig_spread(t.p, 4, sent, 4);
        sent += 4;
        expect += 2;
        WAIT_FOR(RIG_MS, member_count(t.m[0], MEMBER_DELIVERED) == expect);
        CHECK_EQ(member_owned(t.m[0]), own);
    }
    CHECK_EQ(member_count(t.m[1], MEMBER_DELIVERED), 0);
    for (uint32_t p = 0; p < 4; p++) {
        staying[p] = (own >> p & 1) != 0;
        if (staying[p]) {
            CHECK_EQ(rig_cursor(t.c, "s", "g", p).epoch, epochs[p]);
        }
    }
    member_hold(t.m[0], false);
    WAIT_FOR(RIG_MS, rig_lag(t.c, "s", "g") == 0);
    CHECK_EQ(member_count(t.m[0], MEMBER_REVOKED), 2);
    CHECK_EQ(member_count(t.m[0], MEMBER_ASSIGNED), 4);
    /* A third one takes one more from somebody, and only that. */
    member_go(t.m[2]);
    WAIT_FOR(RIG_MS, members_balanced(t.m, 3, 4));
    CHECK_EQ(members_count(t.m, 3, MEMBER_REVOKED), 3);
    CHECK_EQ(members_count(t.m, 3, MEMBER_ASSIGNED), 7);
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
    }
    members_check(t.m, 3, 4, sent);
    dismiss(&t);
}

/* With heartbeats 15 s apart, whatever happens at once happens by wake-ups. */
TEST(hand_overs_do_not_wait_for_heartbeats) {
    troop t;
    muster(&t, (shares){8, 4, false}, (member_plan){.session_timeout = 60000});
    int64_t start = test_now_ms();
    for (size_t i = 0; i < 4; i++) {
        member_go(t.m[i]);
        WAIT_FOR(RIG_MS, members_balanced(t.m, i + 1, 8));
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(member_leave(t.m[i]), NULL);
        WAIT_FOR(RIG_MS, members_balanced(t.m + i + 1, 3 - i, 8));
    }
    CHECK_LT(test_now_ms() - start, 5000);
    CHECK_OK(member_leave(t.m[3]), NULL);
    dismiss(&t);
}

/* Hundreds of partitions in one answer and in one hand-back. */
TEST_DEADLINE(a_thousand_partitions_are_shared_and_handed_back, 120) {
    enum { PARTITIONS = 1024 };
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_stream(c, "s", PARTITIONS);
    seg_producer *p = rig_producer(c, "s");
    seg_consumer *a = rig_consumer(c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    rig_settle(a, PARTITIONS);
    seg_consumer *b = rig_consumer(c, "s", &(rig_join){.group = "g", .session_timeout = 60000});
    rig_settle(a, PARTITIONS / 2);
    rig_settle(b, PARTITIONS / 2);
    rig_spread(p, PARTITIONS, 0, 2 * PARTITIONS);
    rig_drain(a, in, PARTITIONS);
    rig_drain(b, in, 2 * PARTITIONS);
    CHECK_EQ(rig_lag(c, "s", "g"), 0);
    seg_consumer_close(a);
    rig_settle(b, PARTITIONS);
    rig_spread(p, PARTITIONS, 0, PARTITIONS);
    rig_drain(b, in, 3 * PARTITIONS);
    seg_consumer_close(b);
    seg_producer_close(p);
    seg_client_close(c);
    free(in);
    server_stop(s);
}
