/* Consumers while the server stops, dies, drops connections or forgets its scripts: they come back
 * by themselves, lose nothing, and see nothing again that was committed. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "member.h"
#include "rig.h"

static const char *const durable[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static bench set_up(const char *const args[], uint32_t partitions, int64_t timeout) {
    bench b = {.s = server_start(args), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    b.c = rig_client_within(b.s, timeout);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

/* ---- The server stops, or dies -------------------------------------------------------------- */

/* While the lease cannot be renewed the consumer fences itself: it hands out nothing, though more
 * is fetched, and poll says nothing but that nothing came. */
TEST(a_stopped_server_is_waited_for) {
    bench b = set_up(NULL, 2, 600);
    seg_consumer *k = rig_consumer(
        b.c, "s",
        &(rig_join){
            .group = "g", .session_timeout = 800, .max_in_flight = 5, .ack_timeout = SEG_FOREVER});
    rig_spread(b.p, 2, 0, 40);
    rig_take(k, b.in, 10);
    CHECK(seg_consumer_active(k));
    server_pause(b.s);
    WAIT_FOR(RIG_MS, !seg_consumer_active(k));
    rig_ack(k, b.in->d, 10); /* makes room for those that are fetched already */
    CHECK_EQ(rig_poll(k, b.in, 100, 1000), 0);
    CHECK_EQ(rig_poll(k, b.in, 100, 0), 0);
    server_resume(b.s);
    WAIT_FOR(RIG_MS, seg_consumer_active(k));
    rig_commit(k);
    while (b.in->n < 40) {
        size_t from = b.in->n;
        rig_poll(k, b.in, 100, 1000);
        rig_ack(k, b.in->d + from, b.in->n - from);
    }
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    for (size_t i = 0; i < 40; i++) { /* once each: nobody else was there to take them */
        CHECK_EQ(b.in->d[i].attempt, 1);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

/* Acknowledged means on disk here: what was committed before the crash is not seen again after. */
TEST(a_server_that_was_killed_and_restarted_is_gone_on_with) {
    bench b = set_up(durable, 2, 2000);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    bool acked[300] = {false};
    size_t settled = 0;
    for (unsigned round = 0; round < 3; round++) {
        rig_spread(b.p, 2, round * 100, 100);
        size_t from = b.in->n;
        while (b.in->n < from + 50) {
            rig_poll(k, b.in, 50, 1000);
        }
        for (size_t i = b.in->n; i-- > from;) {
            if (!acked[b.in->number[i]] && i % 3 != 0) {
                rig_ack(k, b.in->d + i, 1);
                acked[b.in->number[i]] = true;
                settled++;
            }
        }
        rig_commit(k);
        server_kill9(b.s);
        rig_poll(k, b.in, 10, 0); /* no error, whatever it still has */
        server_restart(b.s);
        WAIT_FOR(RIG_MS, seg_consumer_active(k));
    }
    seg_consumer_close(k);
    b.in->n = 0;
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 300 - settled);
    for (size_t i = 0; i < b.in->n; i++) {
        CHECK(!acked[b.in->number[i]]);
        acked[b.in->number[i]] = true;
    }
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Trouble while messages flow ------------------------------------------------------------ */

enum { PARTITIONS = 4, MEMBERS = 3, TOTAL = 1200, STEP = 12 };

typedef struct storm {
    bench b;
    member *m[MEMBERS];
    pthread_t sender;
    atomic_bool sent;
} storm;

static void *run_sender(void *arg) {
    storm *st = arg;
    for (unsigned n = 0; n < TOTAL; n += STEP) {
        rig_spread(st->b.p, PARTITIONS, n, STEP);
    }
    atomic_store(&st->sent, true);
    return NULL;
}

static void start_storm(storm *st, const char *const args[]) {
    static const char *const names[MEMBERS] = {"m0", "m1", "m2"};
    *st = (storm){.b = set_up(args, PARTITIONS, 0)};
    for (size_t i = 0; i < MEMBERS; i++) {
        st->m[i] = member_new(&(member_plan){.url = server_url(st->b.s),
                                             .stream = "s",
                                             .group = "g",
                                             .name = names[i],
                                             .max = 20,
                                             .random = true});
        member_thread(st->m[i]);
        member_go(st->m[i]);
    }
    WAIT_FOR(RIG_MS, members_balanced(st->m, MEMBERS, PARTITIONS));
    CHECK_EQ(pthread_create(&st->sender, NULL, run_sender, st), 0);
}

static void end_storm(storm *st) {
    CHECK_EQ(pthread_join(st->sender, NULL), 0);
    WAIT_FOR(RIG_MS, rig_lag(st->b.c, "s", "g") == 0);
    for (size_t i = 0; i < MEMBERS; i++) {
        CHECK_OK(member_leave(st->m[i]), NULL);
    }
    members_check(st->m, MEMBERS, PARTITIONS, TOTAL);
    tear_down(&st->b);
}

static size_t committed(storm *st) {
    return members_count(st->m, MEMBERS, MEMBER_COMMITTED);
}

/* Again and again until the sender is through; each time a few more have come through, so that a
 * fault can slow the flow but not stop it. */
static void disturb(storm *st, const char *command) {
    while (!atomic_load(&st->sent)) {
        server_do(st->b.s, command);
        size_t now = committed(st);
        WAIT_FOR(RIG_MS, committed(st) > now + 5 || atomic_load(&st->sent));
    }
}

TEST(connections_are_killed_again_and_again) {
    storm st;
    start_storm(&st, NULL);
    disturb(&st, "CLIENT KILL TYPE normal");
    end_storm(&st);
}

TEST(wake_up_connections_are_killed_again_and_again) {
    storm st;
    start_storm(&st, NULL);
    disturb(&st, "CLIENT KILL TYPE pubsub");
    end_storm(&st);
}

TEST(scripts_are_flushed_again_and_again) {
    storm st;
    start_storm(&st, NULL);
    disturb(&st, "SCRIPT FLUSH");
    end_storm(&st);
}

TEST(a_server_is_restarted_while_messages_flow) {
    storm st;
    start_storm(&st, durable);
    for (unsigned n = 0; n < 3; n++) {
        size_t now = committed(&st);
        WAIT_FOR(RIG_MS, committed(&st) > now + 50 || atomic_load(&st.sent));
        server_kill9(st.b.s);
        server_restart(st.b.s);
    }
    end_storm(&st);
}

TEST(a_server_is_stopped_while_messages_flow) {
    storm st;
    start_storm(&st, NULL);
    for (unsigned n = 0; n < 3; n++) {
        size_t now = committed(&st);
        WAIT_FOR(RIG_MS, committed(&st) > now + 50 || atomic_load(&st.sent));
        server_pause(st.b.s);
        int64_t start = test_now_ms();
        WAIT_FOR(RIG_MS, test_now_ms() - start > 300);
        server_resume(st.b.s);
    }
    end_storm(&st);
}

/* ---- The client goes first ------------------------------------------------------------------ */

/* Its consumers are cut off: they say so, and can still be closed. */
TEST(a_closed_client_cuts_its_consumers_off) {
    bench b = set_up(NULL, 2, 0);
    seg_error err;
    seg_client *c = rig_client(b.s);
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g", .session_timeout = 400});
    rig_spread(b.p, 2, 0, 10);
    rig_take(k, b.in, 10);
    rig_ack(k, b.in->d, 4);
    rig_commit(k);
    seg_client_close(c);
    rig_expect_end(k, SEG_ECLOSED, &err);
    CHECK(!seg_consumer_active(k));
    /* Its lease runs out like that of any member that is gone. */
    seg_consumer *next = rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 400});
    b.in->n = 0;
    rig_drain(next, b.in, 6);
    seg_consumer_close(next);
    seg_consumer_close(k);
    tear_down(&b);
}
