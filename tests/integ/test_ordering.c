/* What waits for whom: the later messages of a key while an earlier one waits for its retry,
 * nothing else; the bounds of what is held meanwhile; and all of it at random. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* A server, a client, the stream "s", a producer and an empty inbox. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
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

/* `count` batches of one message each. */
static void put_singly(seg_producer *p, const char *const keys[], size_t n_keys, unsigned first,
                       unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        rig_queue(p, keys[i % n_keys], first + i, 0);
        rig_flush(p);
    }
}

/* Poll until `in` holds `want`; these are the numbers that came since `from`, in order. */
static void expect(seg_consumer *k, rig_inbox *in, const unsigned numbers[], size_t n) {
    size_t from = in->n;
    rig_take(k, in, from + n);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(in->number[from + i], numbers[i]);
    }
}

#define EXPECT(k, in, ...)                                                                         \
    expect(k, in, (const unsigned[]){__VA_ARGS__},                                                 \
           sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

/* ---- By key --------------------------------------------------------------------------------- */

/* 0 of key a fails. Of what comes behind it, key a waits, b and the ones without a key go on; then
 * a's come in order, the failed one first. Over batches and entries. */
static void check_by_key(bool singly, size_t max) {
    bench b = set_up(1);
    const char *const keys[] = {"a", "b", ""};
    (singly ? put_singly : rig_put_keys)(b.p, keys, 3, 0, 1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 1);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 500, NULL);
    (singly ? put_singly : rig_put_keys)(b.p, (const char *const[]){"b", "", "a"}, 3, 1, 8);
    static const unsigned others[] = {1, 2, 4, 5, 7, 8}, own[] = {0, 3, 6};
    int64_t end = test_now_ms() + RIG_MS;
    while (b.in->n < 10) {
        rig_poll(k, b.in, max, 1000);
        CHECK_LT(test_now_ms(), end);
    }
    for (size_t i = 0; i < 6; i++) {
        CHECK_EQ(b.in->number[1 + i], others[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(b.in->number[7 + i], own[i]);
        CHECK_EQ(b.in->d[7 + i].attempt, i == 0 ? 2 : 1);
    }
    rig_ack(k, b.in->d + 1, 9);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(later_messages_of_a_failed_key_wait) {
    check_by_key(false, 100);
}

TEST(later_messages_of_a_failed_key_wait_one_by_one) {
    check_by_key(false, 1);
}

TEST(later_messages_of_a_failed_key_wait_over_entries) {
    check_by_key(true, 100);
}

TEST(later_messages_of_a_failed_key_wait_over_entries_one_by_one) {
    check_by_key(true, 1);
}

/* Those without a key wait for nothing, not even when they failed themselves. */
TEST(messages_without_a_key_wait_for_nothing) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 3);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 60000, NULL);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 60000, NULL);
    rig_put_keys(b.p, (const char *const[]){"", "a"}, 2, 3, 6);
    EXPECT(k, b.in, 3, 4, 5, 6, 7, 8);
    CHECK_EQ(rig_stats(k).parked, 2);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The one that is in hand holds up nobody. The later ones that are released come behind it. */
TEST(what_is_released_after_a_retry_comes_again_in_order) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    EXPECT(k, b.in, 0, 1, 2, 3, 4);
    rig_ack(k, b.in->d, 1);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 200, NULL);
    rig_settle_as(k, &b.in->d[4], SEG_RELEASE, 0, NULL);
    rig_settle_as(k, &b.in->d[2], SEG_RELEASE, 0, NULL);
    rig_settle_as(k, &b.in->d[3], SEG_RETRY, -1, NULL); /* due before, and still not its turn */
    EXPECT(k, b.in, 1, 2, 3, 4);
    static const uint32_t attempts[] = {2, 1, 2, 1};
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(b.in->d[5 + i].attempt, attempts[i]);
    }
    rig_ack(k, b.in->d + 5, 4);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* A dead letter and an acknowledgement free their key like a success. */
TEST(a_key_goes_on_when_its_first_is_settled) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){"a", "b"}, 2, 0, 2);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    EXPECT(k, b.in, 0, 1);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 60000, NULL);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 60000, NULL);
    rig_put_keys(b.p, (const char *const[]){"a", "b", "c"}, 3, 2, 6);
    EXPECT(k, b.in, 4, 7);
    CHECK_EQ(rig_stats(k).parked, 6);
    rig_ack(k, &b.in->d[0], 1);
    EXPECT(k, b.in, 2, 5);
    rig_settle_as(k, &b.in->d[1], SEG_REJECT, 0, NULL);
    EXPECT(k, b.in, 3, 6);
    rig_ack(k, b.in->d + 2, 6);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_stats(k).parked, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* An ack timeout is a failure like another one: its key waits, and so do those that time out behind
 * it; all others go on. */
TEST(an_ack_timeout_blocks_its_key_alike) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){"a", "b"}, 2, 0, 4);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = 300});
    EXPECT(k, b.in, 0, 1, 2, 3);
    rig_ack(k, &b.in->d[1], 1);
    rig_ack(k, &b.in->d[3], 1);
    rig_commit(k);
    WAIT_FOR(RIG_MS, rig_stats(k).parked == 2);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 4, 2);
    EXPECT(k, b.in, 0, 2, 4, 5);
    rig_ack(k, b.in->d + 4, 4);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The failed one's key is far behind what was fetched when it failed: it is passed by as long as
 * there is room, also for keys that nobody has seen before. */
TEST(other_keys_go_on_beyond_what_was_fetched) {
    enum { N = 3000, BYTES = 300 };
    bench b = set_up(1);
    char key[24];
    rig_queue(b.p, "a", 0, 0);
    rig_flush(b.p);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_prefetch = 64 * 1024});
    rig_take(k, b.in, 1);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 60000, NULL);
    for (unsigned i = 1; i <= N; i++) {
        snprintf(key, sizeof key, "%u", i);
        rig_queue(b.p, i % 10 == 0 ? "a" : key, i, BYTES);
    }
    rig_flush(b.p);
    rig_take(k, b.in, 1 + N - N / 10);
    for (size_t i = 2; i < b.in->n; i++) {
        CHECK_GT(b.in->number[i], b.in->number[i - 1]);
        CHECK_NE(b.in->number[i] % 10, 0);
    }
    rig_ack(k, b.in->d + 1, b.in->n - 1);
    CHECK_EQ(rig_stats(k).parked, 1 + N / 10);
    size_t from = b.in->n;
    rig_ack(k, b.in->d, 1); /* done by other means */
    rig_take(k, b.in, 1 + N);
    for (size_t i = from; i < b.in->n; i++) {
        CHECK_EQ(b.in->number[i], 10 * (i - from + 1));
    }
    rig_ack(k, b.in->d + from, b.in->n - from);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The next owner keeps the order too: what failed comes first of its key. */
TEST(a_hand_over_keeps_the_order_of_a_failed_key) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){"a", "b"}, 2, 0, 8);
    rig_join join = {.group = "g", .max_in_flight = 4};
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    EXPECT(k, b.in, 0, 1, 2, 3);
    rig_settle_as(k, &b.in->d[2], SEG_RETRY, 60000, NULL);
    rig_ack(k, &b.in->d[3], 1);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 60000, NULL);
    seg_consumer_close(k);
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    size_t from = b.in->n;
    rig_take(k, b.in, from + 7);
    unsigned a = 0, next_b[] = {1, 5, 7}, at = 0;
    for (size_t i = from; i < b.in->n; i++) {
        if (b.in->number[i] % 2 == 0) {
            CHECK_EQ(b.in->number[i], a);
            CHECK_EQ(b.in->d[i].attempt, a <= 2 ? 2 : 1);
            a += 2;
        } else {
            CHECK_EQ(b.in->number[i], next_b[at++]);
        }
    }
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- By partition, and not at all ----------------------------------------------------------- */

TEST(by_partition_all_later_messages_wait) {
    bench b = set_up(2);
    char key[2][24];
    const char *const keys[] = {rig_key(key[0], 0, 2), rig_key(key[1], 1, 2)};
    rig_put_keys(b.p, keys, 2, 0, 2);
    seg_consumer *k =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .ordering = SEG_BY_PARTITION});
    rig_take(k, b.in, 2);
    const seg_delivery *failed = b.in->d[0].partition == 0 ? &b.in->d[0] : &b.in->d[1];
    rig_settle_as(k, failed, SEG_RETRY, 700, NULL);
    rig_put_keys(b.p, keys, 2, 2, 6);
    EXPECT(k, b.in, 3, 5, 7);
    EXPECT(k, b.in, 0, 2, 4, 6);
    CHECK_EQ(b.in->d[5].attempt, 2);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(unordered_nothing_waits) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 0, 3);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ordering = SEG_UNORDERED});
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, 500, NULL);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, -1, NULL);
    EXPECT(k, b.in, 1);
    rig_put_keys(b.p, (const char *const[]){"a"}, 1, 3, 3);
    EXPECT(k, b.in, 3, 4, 5);
    EXPECT(k, b.in, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Bounds --------------------------------------------------------------------------------- */

/* One message stays unsettled and the rest is acknowledged: its partition stops at the bound and
 * says so, the other one goes on, and all goes on when it is settled. */
TEST(max_in_flight_holds_one_partition) {
    enum { BOUND = 100, N = 1000 };
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = BOUND});
    const seg_delivery *stuck = NULL;
    size_t from = 0;
    int64_t end = test_now_ms() + RIG_MS;
    while (b.in->n < N / 2 + BOUND) {
        rig_poll(k, b.in, 50, 200);
        for (; from < b.in->n; from++) {
            if (b.in->d[from].partition == 1 && b.in->d[from].id.offset == 0) {
                stuck = &b.in->d[from];
            } else {
                rig_ack(k, &b.in->d[from], 1);
            }
        }
        CHECK_LT(test_now_ms(), end);
    }
    CHECK(stuck != NULL);
    CHECK_EQ(rig_poll(k, b.in, 50, 100), 0);
    CHECK_EQ(rig_stats(k).blocked, 1);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).committed, 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).acked, BOUND - 1);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).lag, 0);
    rig_settle_as(k, stuck, SEG_RETRY, -1, NULL); /* it waits: no way around it either */
    rig_take(k, b.in, N / 2 + BOUND + 1);
    CHECK_EQ(rig_stats(k).blocked, 1);
    rig_ack(k, &b.in->d[b.in->n - 1], 1);
    while (b.in->n < N + 1) {
        from = b.in->n;
        CHECK_GT(rig_poll(k, b.in, 50, 5000), 0);
        rig_ack(k, b.in->d + from, b.in->n - from);
    }
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_stats(k).blocked, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

static void put_large(seg_producer *p, uint32_t partition, unsigned first, unsigned count,
                      size_t bytes) {
    char key[24];
    for (unsigned i = 0; i < count; i++) {
        rig_queue(p, rig_key(key, partition, 2), first + i, bytes);
    }
    rig_flush(p);
}

/* A stuck key's later messages are many and large: no more of them is kept than max_parked. The
 * other partition passes four times as much meanwhile. */
TEST(max_parked_bounds_what_waits_behind_a_stuck_key) {
    enum { PARKED = 256 * 1024, BYTES = 8 * 1024, STUCK = 200, OTHERS = 128 };
    bench b = set_up(2);
    put_large(b.p, 0, 0, 1, BYTES);
    seg_consumer *k = rig_consumer(
        b.c, "s", &(rig_join){.group = "g", .max_parked = PARKED, .max_prefetch = 64 * 1024});
    rig_take(k, b.in, 1);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, INT64_MAX, NULL);
    put_large(b.p, 0, 1000, STUCK, BYTES);
    uint64_t most = 0;
    for (unsigned i = 0; i < OTHERS; i++) {
        size_t from = b.in->n;
        put_large(b.p, 1, 2000 + i, 1, BYTES);
        rig_take(k, b.in, from + 1);
        CHECK_EQ(b.in->d[from].partition, 1);
        rig_ack(k, b.in->d + from, 1);
        seg_consumer_stats st = rig_stats(k);
        most = st.parked_bytes > most ? st.parked_bytes : most;
        CHECK_LE(st.prefetched_bytes, 4 * 64 * 1024);
    }
    WAIT_FOR(RIG_MS, rig_poll(k, b.in, 1, 1) == 0 && rig_stats(k).blocked == 1);
    most = rig_stats(k).parked_bytes > most ? rig_stats(k).parked_bytes : most;
    CHECK_LE(most, PARKED / 2 + 3 * 64 * 1024); /* its share, and the batches begun */
    CHECK_GE(most, PARKED / 2);
    size_t from = b.in->n;
    rig_ack(k, &b.in->d[0], 1);
    while (b.in->n < from + STUCK) {
        size_t at = b.in->n;
        CHECK_GT(rig_poll(k, b.in, 50, 5000), 0);
        rig_ack(k, b.in->d + at, b.in->n - at);
    }
    rig_check_run(b.in, from, STUCK, 1000);
    rig_commit(k);
    CHECK_EQ(rig_stats(k).blocked, 0);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Settled blocks between unsettled ones are given back: a stuck message does not cost what comes
 * after it. */
TEST(what_is_settled_behind_a_stuck_message_is_given_back) {
    enum { PARKED = 128 * 1024, BYTES = 8 * 1024, N = 400 };
    bench b = set_up(1);
    put_large(b.p, 0, 0, 1, BYTES);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_parked = PARKED});
    rig_take(k, b.in, 1);
    put_large(b.p, 0, 1, N, BYTES);
    while (b.in->n < N + 1) {
        size_t at = b.in->n;
        CHECK_GT(rig_poll(k, b.in, 20, 5000), 0);
        rig_ack(k, b.in->d + at, b.in->n - at);
        CHECK_LE(rig_stats(k).parked_bytes, PARKED + 2 * 64 * 1024);
    }
    rig_ack(k, b.in->d, 1);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- At random ------------------------------------------------------------------------------ */

/* Messages 0 .. CROWD-1; number % SLOTS is the key, and the last slot has none. */
enum { CROWD = 8200, SLOTS = 41, PARTITIONS = 4, MEMBERS = 3 };

typedef enum fate { NOT_SEEN = 0, IN_HAND, WAITS, DONE } fate;

/* In shared memory, by number. */
typedef struct record {
    _Atomic uint64_t delivered_epoch; /* the largest */
    _Atomic uint64_t stored_epoch;    /* under which its acknowledgement was answered */
    atomic_uint retries;              /* accepted */
    atomic_bool acked;                /* somebody has called for it */
} record;

typedef struct life {
    const server *s;
    record *records;
    atomic_bool *calm; /* from now on everything is acknowledged, until nothing is left */
    atomic_bool *leave;
    uint64_t random;
} life;

/* What a member knows of one message, under the epoch of its last delivery. */
typedef struct known {
    fate fate;
    seg_delivery d;
} known;

typedef struct reader {
    life *l;
    seg_client *c;
    seg_consumer *k;
    known known[CROWD];
    unsigned newest[SLOTS]; /* of a key, delivered under `epoch`; only grows */
    uint64_t epoch[SLOTS];
    unsigned hand[CROWD];
    size_t n_hand;
} reader;

static unsigned dice(life *l, unsigned sides) {
    l->random = l->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((l->random >> 33) % sides);
}

/* No earlier one of its key waits, and what comes for the first time under an epoch comes in
 * order. */
static void check_order(reader *r, unsigned number, const seg_delivery *d) {
    const known *own = &r->known[number];
    unsigned slot = number % SLOTS;
    bool again = own->fate != NOT_SEEN && own->d.epoch == d->epoch;
    if (again && own->fate != WAITS) {
        FAIL("%u comes again: fate %d, attempt %u, then %u", number, (int)own->fate, own->d.attempt,
             d->attempt);
    }
    if (slot == SLOTS - 1) {
        return;
    }
    for (unsigned e = slot; e < number; e += SLOTS) {
        if (r->known[e].fate == WAITS && r->known[e].d.epoch == d->epoch) {
            FAIL("%u comes while %u waits (attempts %u, %u)", number, e, d->attempt,
                 r->known[e].d.attempt);
        }
    }
    if (!again && r->epoch[slot] == d->epoch) {
        CHECK_GT(number, r->newest[slot]);
    }
    if (!again) {
        r->newest[slot] = number;
        r->epoch[slot] = d->epoch;
    }
}

static void receive(reader *r, const seg_message *m) {
    unsigned number = rig_number(m);
    seg_delivery d = seg_message_delivery(m);
    record *shared = &r->l->records[number];
    uint64_t largest = atomic_load(&shared->delivered_epoch);
    while (d.epoch > largest &&
           !atomic_compare_exchange_weak(&shared->delivered_epoch, &largest, d.epoch)) {
    }
    check_order(r, number, &d);
    CHECK_GT(d.attempt, atomic_load(&shared->retries));
    r->known[number] = (known){IN_HAND, d};
    r->hand[r->n_hand++] = number;
}

/* True where it stays in hand. */
static bool decide(reader *r, unsigned number) {
    known *own = &r->known[number];
    record *shared = &r->l->records[number];
    unsigned throw =
        atomic_load(r->l->calm) ? 0 : dice(r->l, 100); /* few are done, so that it lasts */
    seg_status s;
    if (throw >= 85) {
        return true;
    }
    if (throw < 5) {
        atomic_store(&shared->acked, true);
        s = seg_ack(r->k, &own->d, 1, NULL);
        own->fate = DONE;
    } else if (throw < 40) {
        s = rig_verdict(r->k, &own->d, SEG_RELEASE, 0, NULL);
        own->fate = WAITS;
    } else {
        s = rig_verdict(r->k, &own->d, SEG_RETRY, (int64_t)dice(r->l, 30) - 5, "at random");
        atomic_fetch_add(&shared->retries, s == SEG_OK ? 1 : 0);
        own->fate = WAITS;
    }
    CHECK(s == SEG_OK || s == SEG_EFENCED);
    own->fate = s == SEG_OK ? own->fate : NOT_SEEN; /* its epoch is over */
    return false;
}

static void decide_all(reader *r) {
    unsigned done[CROWD];
    size_t kept = 0, n_done = 0;
    for (size_t i = 0; i < r->n_hand; i++) {
        unsigned number = r->hand[i];
        if (decide(r, number)) {
            r->hand[kept++] = number;
        } else if (r->known[number].fate == DONE) {
            done[n_done++] = number;
        }
    }
    r->n_hand = kept;
    if (n_done > 0 && seg_consumer_commit(r->k, RIG_MS, NULL) == SEG_OK) {
        for (size_t i = 0; i < n_done; i++) {
            atomic_store(&r->l->records[done[i]].stored_epoch, r->known[done[i]].d.epoch);
        }
    }
}

static void live(void *arg) {
    life *l = arg;
    reader *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->l = l;
    r->c = rig_client(l->s);
    r->k = rig_consumer(r->c, "s",
                        &(rig_join){.group = "g",
                                    .session_timeout = 300,
                                    .retry_delay = 5,
                                    .retry_delay_max = 30,
                                    .drain_timeout = (int64_t)dice(l, 3) * 50 - 50,
                                    .max_in_flight = 20 + dice(l, 200)});
    while (!atomic_load(l->leave)) {
        seg_batch *b = NULL;
        seg_error err;
        CHECK_OK(seg_consumer_poll(&b, r->k, 1 + dice(l, 20), 10, &err), &err);
        for (size_t i = 0; i < seg_batch_count(b); i++) {
            receive(r, seg_batch_at(b, i));
        }
        bool idle = seg_batch_count(b) == 0 && r->n_hand == 0;
        seg_batch_free(b);
        decide_all(r);
        if (idle && atomic_load(l->calm) && rig_lag(r->c, "s", "g") == 0) {
            break;
        }
    }
    seg_consumer_close(r->k);
    seg_client_close(r->c);
    free(r);
}

static void fill(const server *s) {
    char key[24];
    seg_client *c = rig_client(s);
    rig_stream(c, "s", PARTITIONS);
    seg_producer *p = rig_producer(c, "s");
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(key, sizeof key, "key-%u", i % SLOTS);
        rig_queue(p, i % SLOTS == SLOTS - 1 ? "" : key, i, 0);
        if (i % 100 == 99) {
            rig_flush(p);
        }
    }
    rig_flush(p);
    seg_producer_close(p);
    seg_client_close(c);
}

static void check_records(const server *s, record *records) {
    seg_client *c = rig_client(s);
    CHECK_EQ(rig_lag(c, "s", "g"), 0);
    seg_client_close(c);
    for (unsigned i = 0; i < CROWD; i++) {
        const record *r = &records[i];
        CHECK(atomic_load(&r->acked));
        CHECK(atomic_load(&r->delivered_epoch) > 0);
        if (atomic_load(&r->stored_epoch) > 0) { /* not delivered to anybody after that */
            CHECK_LE(atomic_load(&r->delivered_epoch), atomic_load(&r->stored_epoch));
        }
    }
}

/* Members join, leave and are killed, and settle at random what they get. */
TEST_DEADLINE(keys_stay_in_order_whatever_happens, 90) {
    server *s = server_start(NULL);
    life lives[MEMBERS];
    pid_t children[MEMBERS];
    atomic_bool *flags = rig_shared((1 + MEMBERS) * sizeof *flags);
    life all = {.s = s, .records = rig_shared(CROWD * sizeof *all.records), .random = test_seed()};
    fill(s);
    for (unsigned i = 0; i < MEMBERS; i++) {
        lives[i] = (life){s, all.records, &flags[0], &flags[1 + i], test_seed() + i};
        children[i] = rig_fork(live, &lives[i]);
    }
    for (unsigned round = 0; round < 25; round++) {
        unsigned i = dice(&all, MEMBERS);
        int64_t until = test_now_ms() + 20 + dice(&all, 300);
        WAIT_FOR(RIG_MS, test_now_ms() >= until);
        if (dice(&all, 3) > 0) {
            rig_kill(children[i]);
        } else {
            atomic_store(lives[i].leave, true);
            CHECK_EQ(rig_wait(children[i]), 0);
            atomic_store(lives[i].leave, false);
        }
        lives[i].random += round;
        children[i] = rig_fork(live, &lives[i]);
    }
    unsigned left = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        left += !atomic_load(&all.records[i].acked);
    }
    printf("%u of %d messages are left\n", left, CROWD);
    atomic_store(&flags[0], true);
    for (unsigned i = 0; i < MEMBERS; i++) {
        CHECK_EQ(rig_wait(children[i]), 0);
    }
    check_records(s, all.records);
    server_stop(s);
}

/* ---- At random, with handlers --------------------------------------------------------------- */

/* A process of handlers, and in shared memory by number: how often it has succeeded. */
typedef struct shift {
    const server *s;
    atomic_uint *effects;
    seg_client *c;
    seg_consumer *k;
    unsigned round;
} shift;

/* Of a key, all before this one have succeeded: whoever handled them, and died since then. */
static seg_verdict in_turn(const seg_message *m, seg_settlement *how, void *arg) {
    shift *me = arg;
    static atomic_uint calls; /* not only the attempt: what is released has the same one again */
    unsigned number = rig_number(m);
    unsigned throw = (number * 2654435761u ^ atomic_fetch_add(&calls, 1) * 2246822519u) >> 8;
    if (number % SLOTS != SLOTS - 1) {
        for (unsigned e = number % SLOTS; e < number; e += SLOTS) {
            if (atomic_load(&me->effects[e]) == 0) {
                FAIL("%u is handled before %u", number, e);
            }
        }
    }
    int64_t until = test_now_ms() + throw % 6;
    WAIT_FOR(RIG_MS, test_now_ms() >= until);
    how->delay = throw % 4;
    if (throw / 16 % 10 == 0) {
        return SEG_RETRY;
    }
    if (throw / 16 % 10 == 1) {
        return SEG_RELEASE;
    }
    atomic_fetch_add(&me->effects[number], 1);
    return SEG_ACK;
}

static void *stop_at_the_end(void *arg) {
    shift *me = arg;
    WAIT_FOR(2 * RIG_MS, rig_lag(me->c, "s", "g") == 0);
    seg_consumer_stop(me->k);
    return NULL;
}

static void work_a_shift(void *arg) {
    shift *me = arg;
    pthread_t watch;
    seg_run_options o;
    seg_error err;
    me->c = rig_client(me->s);
    me->k = rig_consumer(me->c, "s",
                         &(rig_join){.group = "g",
                                     .session_timeout = 300,
                                     .retry_delay = 2,
                                     .retry_delay_max = 10,
                                     .drain_timeout = me->round % 2 == 0 ? -1 : 50});
    SEG_INIT(&o);
    o.handler = in_turn;
    o.arg = me;
    o.workers = 4;
    CHECK_EQ(pthread_create(&watch, NULL, stop_at_the_end, me), 0);
    CHECK_OK(seg_consumer_run(me->k, &o, &err), &err);
    CHECK_EQ(pthread_join(watch, NULL), 0);
    seg_consumer_close(me->k);
    seg_client_close(me->c);
}

/* Two processes of handlers that are killed again and again. */
TEST_DEADLINE(handlers_keep_keys_in_order_whatever_happens, 90) {
    server *s = server_start(NULL);
    pid_t children[2];
    life dices = {.random = test_seed()};
    shift me = {.s = s, .effects = rig_shared(CROWD * sizeof *me.effects)};
    fill(s);
    children[0] = rig_fork(work_a_shift, &me);
    children[1] = rig_fork(work_a_shift, &me);
    for (me.round = 1; me.round <= 12; me.round++) {
        unsigned i = dice(&dices, 2);
        int64_t until = test_now_ms() + 50 + dice(&dices, 300);
        WAIT_FOR(RIG_MS, test_now_ms() >= until);
        rig_kill(children[i]);
        children[i] = rig_fork(work_a_shift, &me);
    }
    CHECK_EQ(rig_wait(children[0]), 0);
    CHECK_EQ(rig_wait(children[1]), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK_GT(atomic_load(&me.effects[i]), 0);
    }
    server_stop(s);
}
