/* The dead letters: what comes there, how often, and what happens when they cannot be stored. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "letters_rig.h"

/* ---- Dead letters --------------------------------------------------------------------------- */

/* Let every delivery fail, until `n` dead letters are stored. */
static void fail_all(bench *b, seg_consumer *k, size_t n, const char *reason) {
    int64_t end = test_now_ms() + RIG_MS;
    while (rig_messages(b->c, "s.g.dlq") < n) {
        size_t from = b->in->n;
        rig_poll(k, b->in, 100, 20);
        for (size_t i = from; i < b->in->n && reason != NULL; i++) {
            rig_settle_as(k, &b->in->d[i], SEG_RETRY, -1, reason);
        }
        CHECK_LT(test_now_ms(), end);
    }
}

TEST(a_dead_letter_is_the_message_and_what_became_of_it) {
    bench b = set_up(4);
    seg_error err;
    char key[24];
    seg_record r;
    seg_position at;
    const seg_bytes headers[] = {{"a", 1}, {"1", 1}, {"sg-reason", 9}, {"mine", 4}};
    SEG_INIT(&r);
    rig_key(key, 3, 4);
    r.key = (seg_bytes){key, strlen(key)};
    r.value = (seg_bytes){"4711 and more", 13};
    r.headers = headers;
    r.n_headers = 2;
    r.timestamp = 1234567;
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, b.c, "s", NULL, &err), &err);
    CHECK_OK(seg_send(p, &r, NULL, &err), &err);
    CHECK_OK(seg_send(p, &r, &at, &err), &err);
    seg_producer_close(p);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_attempts = 2});
    rig_take(k, b.in, 2);
    rig_ack(k, b.in->d, 1);
    rig_settle_as(k, &b.in->d[1], SEG_RETRY, 1100, "first");
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[2], SEG_RETRY, 0, "second");
    wait_letters(&b, 1);
    const rig_letter *l = b.letters;
    CHECK_EQ(l->number, 4711);
    CHECK_EQ(l->bytes, 13);
    CHECK_STR(l->key, key);
    CHECK_EQ(l->timestamp, 1234567);
    CHECK_EQ(l->own_headers, 2);
    CHECK_STR(l->stream, "s");
    CHECK_STR(l->group, "g");
    CHECK_EQ(l->partition, 3);
    CHECK_EQ(l->era, at.id.era);
    CHECK_EQ(l->offset, 1);
    CHECK_EQ(l->attempts, 2);
    CHECK_STR(l->reason, "max-attempts");
    CHECK_STR(l->error, "second");
    CHECK_GE(l->last_failed - l->first_failed, 1000);
    CHECK_LE(l->last_failed - l->first_failed, 20000);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(max_attempts_counts_retries_and_ack_timeouts) {
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 3);
    seg_consumer *k =
        rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_attempts = 3, .ack_timeout = 150});
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[0], SEG_RETRY, -1, "tried");
    fail_all(&b, k, 3, NULL); /* from now on their time runs out */
    CHECK_EQ(letters_of(&b), 3);
    for (unsigned i = 0; i < 3; i++) {
        const rig_letter *l = letter_of(&b, 3, i);
        CHECK_EQ(l->attempts, 3);
        CHECK_STR(l->reason, "ack-timeout");
        CHECK_STR(l->error, i == 0 ? "tried" : "");
        CHECK_EQ(last_of(b.in, i)->attempt, 3);
    }
    CHECK_EQ(b.in->n, 9);
    /* A late verdict: it failed, and that is final. */
    CHECK_STATUS(rig_verdict(k, last_of(b.in, 0), SEG_RETRY, 0, NULL), SEG_EFENCED, NULL);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_poll(k, b.in, 10, 300), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_reason_may_be_any_text) {
    enum { N = 5 };
    static char hostile[300], full[300], endless[5000];
    bench b = set_up(1);
    for (int i = 1; i < 256; i++) {
        hostile[i - 1] = (char)i;
    }
    memset(full, 'f', 255);
    memset(endless, 'e', sizeof endless - 1);
    const char *const reasons[N] = {hostile, full, endless, "", NULL};
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, N);
    for (size_t i = 0; i < N; i++) {
        rig_settle_as(k, &b.in->d[i], SEG_REJECT, 0, reasons[i]);
    }
    wait_letters(&b, N);
    endless[255] = '\0';
    for (unsigned i = 0; i < N; i++) {
        CHECK_STR(letter_of(&b, N, i)->error, reasons[i] != NULL ? reasons[i] : "");
    }
    seg_consumer_close(k);
    tear_down(&b);
}

static void make_dlq(bench *b, uint32_t partitions, uint64_t max_messages, seg_on_full on_full) {
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = partitions;
    o.max_messages = max_messages;
    o.on_full = on_full;
    CHECK_OK(seg_stream_create(b->c, "s.g.dlq", &o, &err), &err);
}

static void reject_all(bench *b, seg_consumer *k, size_t want) {
    size_t from = b->in->n;
    rig_take(k, b->in, want);
    CHECK_OK(seg_settle(k, b->in->d + from, want - from, SEG_REJECT, NULL, NULL), NULL);
}

/* Its messages wait, unsettled; all else goes on. Once there is room they arrive, each once. */
TEST(full_dead_letters_hold_up_nothing_else) {
    bench b = set_up(1);
    rig_inbox *got = calloc(1, sizeof *got);
    CHECK(got != NULL);
    make_dlq(&b, 1, 2, SEG_BLOCK);
    rig_put_keys(b.p, (const char *const[]){"k"}, 1, 0, 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    reject_all(&b, k, 5);
    WAIT_FOR(RIG_MS, rig_stats(k).dead_lettered == 2);
    rig_put_keys(b.p, (const char *const[]){"k", ""}, 2, 5, 20);
    rig_take(k, b.in, 25);
    rig_ack(k, b.in->d + 5, 20);
    CHECK_STATUS(seg_consumer_commit(k, 500, NULL), SEG_ETIMEDOUT, NULL);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).committed, 2);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).acked, 20);
    /* What is handled there makes room. */
    seg_consumer *d = rig_consumer(b.c, "s.g.dlq", &(rig_join){.group = "dlq"});
    rig_drain(d, got, 2);
    rig_drain(d, got, 4);
    rig_drain(d, got, 5);
    rig_check_run(got, 0, 5, 0);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_stats(k).dead_lettered, 5);
    seg_consumer_close(d);
    seg_consumer_close(k);
    free(got);
    tear_down(&b);
}

/* Closing does not wait for room, and the next owner does not lose what waited for it. */
TEST(full_dead_letters_survive_their_consumer) {
    bench b = set_up(1);
    make_dlq(&b, 1, 2, SEG_FAIL);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_attempts = 2});
    fail_all(&b, k, 2, "bad");
    WAIT_FOR(RIG_MS, rig_stats(k).dead_lettered == 2);
    int64_t start = test_now_ms();
    seg_consumer_close(k);
    CHECK_LT(test_now_ms() - start, 15000);
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_attempts = 2});
    b.in->n = 0;
    seg_consumer *d = rig_consumer(b.c, "s.g.dlq", &(rig_join){.group = "dlq"});
    rig_inbox *got = calloc(1, sizeof *got);
    CHECK(got != NULL);
    int64_t end = test_now_ms() + RIG_MS;
    while (got->n < 5 || rig_lag(b.c, "s", "g") > 0) {
        size_t from = got->n, at = b.in->n;
        rig_poll(d, got, 10, 20);
        rig_ack(d, got->d + from, got->n - from);
        rig_poll(k, b.in, 10, 20);
        for (size_t i = at; i < b.in->n; i++) {
            CHECK_GE(b.in->d[i].attempt, 3);
            rig_settle_as(k, &b.in->d[i], SEG_RETRY, -1, "bad");
        }
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_EQ(got->n, 5);
    for (unsigned i = 0; i < 5; i++) {
        last_of(got, i);
    }
    seg_consumer_close(d);
    seg_consumer_close(k);
    free(got);
    tear_down(&b);
}

TEST(deleted_dead_letters_are_made_anew) {
    bench b = set_up(1);
    seg_error err;
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 10);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = 5});
    reject_all(&b, k, 5);
    wait_letters(&b, 5);
    CHECK_OK(seg_stream_delete(b.c, "s.g.dlq", &err), &err);
    reject_all(&b, k, 10);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    wait_letters(&b, 5);
    for (unsigned i = 5; i < 10; i++) {
        letter_of(&b, 5, i);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(dead_letters_may_have_settings_of_their_own) {
    enum { N = 50 };
    bench b = set_up(2);
    seg_stream_info *info = NULL;
    make_dlq(&b, 3, 1000, SEG_DROP_OLDEST);
    rig_spread(b.p, 2, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    reject_all(&b, k, N);
    wait_letters(&b, N);
    for (unsigned i = 0; i < N; i++) {
        CHECK_EQ(letter_of(&b, N, i)->partition, i % 2);
    }
    CHECK_OK(seg_stream_describe(&info, b.c, "s.g.dlq", NULL), NULL);
    CHECK_EQ(seg_stream_info_partitions(info), 3);
    CHECK_EQ(seg_stream_info_max_messages(info), 1000);
    seg_stream_info_free(info);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_name_that_is_too_long_for_dead_letters_is_said_at_once) {
    bench b = set_up(1);
    char group[201] = "";
    seg_error err;
    memset(group, 'g', 195); /* "s." and ".dlq" make 201 */
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 1);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = group});
    rig_take(k, b.in, 1);
    CHECK_STATUS(seg_settle(k, b.in->d, 1, SEG_REJECT, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "200 characters");
    rig_settle_as(k, b.in->d, SEG_RETRY, -1, NULL); /* it is still in hand */
    rig_take(k, b.in, 2);
    seg_consumer_close(k);
    group[194] = '\0'; /* exactly 200 */
    k = rig_consumer(b.c, "s", &(rig_join){.group = group});
    rig_take(k, b.in, 3);
    rig_settle_as(k, &b.in->d[2], SEG_REJECT, 0, NULL);
    rig_commit(k);
    CHECK_EQ(rig_letters(b.c, "s", group, b.letters, LETTERS), 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Once ----------------------------------------------------------------------------------- */

/* Everything is rejected by whoever has it, while partitions go to and fro between two. */
TEST(letters_under_way_while_partitions_move_are_stored_once) {
    enum { N = 3000, PARTITIONS = 4 };
    bench b = set_up(PARTITIONS);
    rig_join join = {.group = "g", .drain_timeout = -1, .max_in_flight = 64};
    seg_consumer *k = rig_consumer(b.c, "s", &join), *other = NULL;
    rig_spread(b.p, PARTITIONS, 0, N);
    int64_t end = test_now_ms() + RIG_MS;
    for (unsigned round = 0; rig_lag(b.c, "s", "g") > 0; round++) {
        seg_consumer *const both[] = {k, other};
        for (size_t i = 0; i < 2 && both[i] != NULL; i++) {
            b.in->n = 0;
            rig_poll(both[i], b.in, 200, 5);
            seg_status s = seg_settle(both[i], b.in->d, b.in->n, SEG_REJECT, NULL, NULL);
            CHECK(s == SEG_OK || s == SEG_EFENCED);
        }
        if (round % 3 == 1 && other == NULL) {
            other = rig_consumer(b.c, "s", &join);
        } else if (round % 3 == 0) {
            seg_consumer_close(other);
            other = NULL;
        }
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_GE(rig_stats(k).rebalances, 3 * PARTITIONS);
    CHECK_EQ(letters_of(&b), N);
    static bool seen[N];
    for (size_t i = 0; i < N; i++) {
        CHECK_STR(b.letters[i].reason, "rejected");
        CHECK(!seen[b.letters[i].number]);
        seen[b.letters[i].number] = true;
    }
    seg_consumer_close(other);
    seg_consumer_close(k);
    tear_down(&b);
}

enum { FATES = 400, TRIES = 3 };

typedef struct life {
    bench *b;
    atomic_uint *seen, *handled; /* by number, in shared memory */
} life;

/* Odd numbers fail always, even ones never. What it says it has handled is stored before. */
static void odd_ones_fail(void *arg) {
    life *l = arg;
    bench *b = l->b;
    b->c = rig_client(b->s);
    seg_consumer *k = rig_consumer(
        b->c, "s",
        &(rig_join){.group = "g", .instance = "i", .max_attempts = TRIES, .retry_delay = 1});
    for (;;) {
        b->in->n = 0;
        rig_poll(k, b->in, 10, 100);
        for (size_t i = 0; i < b->in->n; i++) {
            unsigned number = b->in->number[i];
            atomic_fetch_add(&l->seen[number], 1);
            if (number % 2 == 1) {
                rig_settle_as(k, &b->in->d[i], SEG_RETRY, 0, "odd");
            } else {
                rig_ack(k, &b->in->d[i], 1);
            }
        }
        if (b->in->n > 0 && seg_consumer_commit(k, RIG_MS, NULL) == SEG_OK) {
            for (size_t i = 0; i < b->in->n; i++) {
                atomic_fetch_add(&l->handled[b->in->number[i]], 1);
            }
        }
    }
}

/* Killed at any moment, again and again: each message is acknowledged or a dead letter in the end,
 * each letter is there once. An even one may only be there where it was alone in hand at each of
 * several deaths, which looks as if it had caused them. */
TEST_DEADLINE(letters_are_stored_once_however_often_their_consumer_dies, 90) {
    bench b = set_up(2);
    life l = {&b, rig_shared(FATES * sizeof *l.seen), rig_shared(FATES * sizeof *l.handled)};
    uint64_t random = test_seed();
    unsigned in_letters[FATES] = {0};
    rig_spread(b.p, 2, 0, FATES);
    disconnect(&b);
    /* At first it dies early, later it lives longer and longer, so that there is an end. */
    for (int64_t span = 30, deaths = 0; deaths < 25; span += 10, deaths++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        pid_t child = rig_fork(odd_ones_fail, &l);
        int64_t until = test_now_ms() + span / 2 + (int64_t)((random >> 33) % (uint64_t)span);
        WAIT_FOR(RIG_MS, test_now_ms() >= until);
        rig_kill(child);
    }
    pid_t last = rig_fork(odd_ones_fail, &l);
    connect_bench(&b);
    WAIT_FOR(40000, rig_lag(b.c, "s", "g") == 0);
    rig_kill(last);
    size_t n = letters_of(&b);
    CHECK_GE(n, FATES / 2);
    for (size_t i = 0; i < n; i++) {
        const rig_letter *one = &b.letters[i];
        CHECK_EQ(in_letters[one->number]++, 0);
        CHECK_GE(one->attempts, TRIES);
        if (one->number % 2 == 0 || strcmp(one->reason, "max-attempts") != 0) {
            CHECK_STR(one->reason, "crashed");
        }
    }
    for (unsigned i = 0; i < FATES; i++) {
        CHECK(in_letters[i] == 1 || (i % 2 == 0 && atomic_load(&l.seen[i]) > 0));
        CHECK(i % 2 == 1 || in_letters[i] == 0 || atomic_load(&l.handled[i]) == 0);
    }
    tear_down(&b);
}

/* ---- The server is away --------------------------------------------------------------------- */

/* Connections break again and again while letters and their commits are under way. */
TEST(letters_are_stored_once_however_often_connections_break) {
    enum { N = 1000 };
    bench b = set_up(2);
    static bool seen[N];
    rig_spread(b.p, 2, 0, N);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_in_flight = 30});
    int64_t end = test_now_ms() + RIG_MS;
    uint64_t stored = 0, cut_at = 0;
    unsigned cuts = 0;
    while ((stored = rig_stats(k).dead_lettered) < N) {
        b.in->n = 0;
        rig_poll(k, b.in, 100, 5);
        CHECK_OK(seg_settle(k, b.in->d, b.in->n, SEG_REJECT, NULL, NULL), NULL);
        if (stored >= cut_at) { /* it gets further each time, so there is an end */
            server_do(b.s, "CLIENT KILL TYPE normal SKIPME yes");
            cut_at = stored + 50;
            cuts++;
        }
        CHECK_LT(test_now_ms(), end);
    }
    CHECK_GE(cuts, 10);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(letters_of(&b), N);
    for (size_t i = 0; i < N; i++) {
        CHECK(!seen[b.letters[i].number]);
        seen[b.letters[i].number] = true;
    }
    seg_consumer_close(k);
    tear_down(&b);
}

/* Nothing answers when the first letter needs its stream. */
TEST(close_ends_though_dead_letters_wait_for_the_server) {
    enum { TIMEOUT = 700 };
    bench b = set_up(1);
    rig_put_keys(b.p, (const char *const[]){""}, 1, 0, 5);
    disconnect(&b);
    b.c = rig_client_within(b.s, TIMEOUT);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "one"});
    rig_take(k, b.in, 5);
    server_pause(b.s);
    CHECK_OK(seg_settle(k, b.in->d, 5, SEG_REJECT, NULL, NULL), NULL);
    int64_t start = test_now_ms();
    seg_consumer_close(k);
    CHECK_LT(test_now_ms() - start, TIMEOUT + 2000);
    server_resume(b.s);
    disconnect(&b);
    connect_bench(&b);
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "one"});
    b.in->n = 0;
    rig_take(k, b.in, 5);
    CHECK_OK(seg_settle(k, b.in->d, 5, SEG_REJECT, NULL, NULL), NULL);
    rig_commit(k);
    CHECK_EQ(letters_of(&b), 5);
    seg_consumer_close(k);
    tear_down(&b);
}

/* As many headers as a message can have: the letter has ten more. */
TEST(the_largest_messages_have_room_for_a_letter) {
    enum { HEADERS = 65535 };
    bench b = set_up(1);
    seg_record r;
    seg_error err;
    seg_bytes *headers = calloc(2 * (size_t)HEADERS, sizeof *headers);
    CHECK(headers != NULL);
    for (size_t i = 0; i < 2 * (size_t)HEADERS; i++) {
        headers[i] = (seg_bytes){"h", 1};
    }
    SEG_INIT(&r);
    r.value = (seg_bytes){"7", 1};
    r.headers = headers;
    r.n_headers = HEADERS;
    CHECK_OK(seg_send_async(b.p, &r, NULL, NULL, &err), &err);
    rig_flush(b.p);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    reject_all(&b, k, 1);
    CHECK_OK(seg_consumer_commit(k, 5000, &err), &err);
    CHECK_EQ(letters_of(&b), 1);
    CHECK_EQ(b.letters[0].own_headers, HEADERS);
    seg_consumer_close(k);
    free(headers);
    tear_down(&b);
}
