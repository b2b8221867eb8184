/* test_tries.c - attempts, within a window and from one owner to the next: by example, from hostile
 * bytes, and without memory. test_tries_model.c plays owners and their deaths at random. */
#include "core/window.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

enum { SPAN_MAX = 65536, NEVER = 0 };

static const int64_t WALL = INT64_C(1700000000123); /* 1700000000 is "\x80\xe2\xcf\xaa\6" */
#define SECONDS "\x80\xe2\xcf\xaa\6"

static void check_tries_of(const sg_window *w, const void *expected, size_t len) {
    sg_buf tries;
    sg_buf_init(&tries, 1u << 21);
    CHECK(sg_window_tries(w, &tries));
    CHECK_MEM(tries.data, tries.len, expected, len);
    CHECK(sg_tries_check(tries.data, tries.len));
    sg_buf_fini(&tries);
}

static void check_failures(const sg_window *w, uint64_t offset, uint32_t count, bool alone,
                           int64_t first, int64_t last) {
    sg_failures f = sg_window_failures(w, offset);
    CHECK_EQ(f.count, count);
    CHECK_EQ(f.alone, alone);
    CHECK_EQ(f.first, first);
    CHECK_EQ(f.last, last);
}

static sg_window *loaded(uint64_t committed, uint32_t capacity, const void *tries, size_t len) {
    sg_window *w = sg_window_new(committed, capacity);
    CHECK(sg_window_load_tries(w, tries, len));
    return w;
}

/* ---- By example: in one window ------------------------------------------------------------ */

TEST(what_failed_waits_and_counts) {
    sg_window *w = sg_window_new(10, 4);
    CHECK_EQ(sg_window_deliver(w, 10, 100), 1);
    CHECK_EQ(sg_window_deliver(w, 11, INT64_MAX), 1);
    CHECK(sg_window_in_hand(w, 10, 1) && !sg_window_in_hand(w, 10, 2));
    CHECK_EQ(sg_window_version(w), 0);
    check_tries_of(w, "", 0);
    CHECK(sg_window_fail(w, 10, WALL));
    CHECK_EQ(sg_window_version(w), 1);
    CHECK(sg_window_waits(w, 10) && !sg_window_waits(w, 11) && !sg_window_waits(w, 12));
    CHECK(!sg_window_in_hand(w, 10, 1) && !sg_window_in_hand(w, 10, 2));
    CHECK_EQ(sg_window_fate_of(w, 10), SG_SKIP);
    CHECK_EQ(sg_window_in_flight(w), 1);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    check_failures(w, 10, 1, false, WALL, WALL);
    CHECK(!sg_window_fail(w, 10, WALL)); /* it waits: only once */
    CHECK(!sg_window_release(w, 10) && !sg_window_extend(w, 10, 5));
    CHECK(!sg_window_fail(w, 12, WALL) && !sg_window_release(w, 9));
    CHECK_EQ(sg_window_deliver(w, 10, 200), 2);
    CHECK(sg_window_in_hand(w, 10, 2) && !sg_window_in_hand(w, 10, 1));
    CHECK(sg_window_marked(w, 10)); /* by the delivery, late */
    CHECK_EQ(sg_window_version(w), 2);
    CHECK(sg_window_fail(w, 10, WALL + 5000));
    check_failures(w, 10, 2, false, WALL, WALL + 5000);
    CHECK(!sg_window_marked(w, 10));
    CHECK_EQ(sg_window_ack(w, 10), SG_ACK_NEW); /* as it waits: dead-lettered */
    CHECK_EQ(sg_window_committed(w), 11);
    check_failures(w, 10, 0, false, NEVER, NEVER);
    CHECK_EQ(sg_window_ack(w, 10), SG_ACK_OLD);
    check_tries_of(w, "", 0);
    sg_window_free(w);
}

TEST(what_was_released_does_not_count) {
    sg_window *w = sg_window_new(0, 4);
    CHECK_EQ(sg_window_deliver(w, 0, 100), 1);
    CHECK(sg_window_release(w, 0));
    CHECK(sg_window_waits(w, 0));
    CHECK_EQ(sg_window_in_flight(w), 0);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    check_failures(w, 0, 0, false, NEVER, NEVER);
    check_tries_of(w, "\0\1\0\0\0", 5); /* it is not in hand */
    CHECK(sg_window_mark(w, 0, false));
    check_tries_of(w, "\0\1\1\0\0", 5);
    CHECK_EQ(sg_window_deliver(w, 0, 100), 1);
    CHECK(sg_window_fail(w, 0, WALL));
    CHECK(sg_window_mark(w, 0, true));
    CHECK_EQ(sg_window_deliver(w, 0, 100), 2);
    CHECK(sg_window_release(w, 0));
    check_failures(w, 0, 1, false, WALL, WALL);
    CHECK(!sg_window_marked(w, 0));
    CHECK_EQ(sg_window_deliver(w, 0, 100), 2);
    sg_window_free(w);
}

TEST(marks_are_stored_and_taken_off) {
    sg_window *w = sg_window_new(0, 3);
    sg_window_deliver(w, 0, 1);
    sg_window_fail(w, 0, WALL);
    check_tries_of(w, "\0\1\4" SECONDS "\0", 9);
    uint64_t version = sg_window_version(w);
    CHECK(sg_window_mark(w, 0, false));
    check_tries_of(w, "\0\1\5" SECONDS "\0", 9);
    CHECK_EQ(sg_window_version(w), version + 1);
    CHECK(sg_window_mark(w, 0, false)); /* again: nothing new */
    CHECK_EQ(sg_window_version(w), version + 1);
    CHECK(sg_window_mark(w, 0, true));
    check_tries_of(w, "\0\1\7" SECONDS "\0", 9);
    CHECK_EQ(sg_window_version(w), version + 2);
    sg_window_unmark(w, 0);
    sg_window_unmark(w, 0);
    sg_window_unmark(w, 1);
    CHECK_EQ(sg_window_version(w), version + 3);
    check_tries_of(w, "\0\1\4" SECONDS "\0", 9);
    CHECK(sg_window_mark(w, 0, true));
    version = sg_window_version(w);
    CHECK_EQ(sg_window_deliver(w, 0, 1), 2); /* as the mark said */
    CHECK_EQ(sg_window_version(w), version);
    sg_window_unmark(w, 0); /* it is out */
    check_tries_of(w, "\0\1\7" SECONDS "\0", 9);
    CHECK_EQ(sg_window_version(w), version);
    CHECK(!sg_window_mark(w, 3, false)); /* past the capacity */
    CHECK(sg_window_skip(w, 1, 2));
    CHECK(!sg_window_mark(w, 1, false)); /* settled */
    CHECK(!sg_window_marked(w, 1) && !sg_window_marked(w, 2));
    CHECK_EQ(sg_window_ack(w, 0), SG_ACK_NEW);
    CHECK(!sg_window_mark(w, 0, false));
    check_tries_of(w, "", 0);
    sg_window_free(w);
}

TEST(another_deadline) {
    sg_window *w = sg_window_new(0, 8);
    uint64_t o;
    for (uint64_t k = 0; k < 3; k++)
        sg_window_deliver(w, k, 10);
    sg_alloc_fail_at(1, 1); /* none of it may need memory */
    CHECK(sg_window_extend(w, 0, 30));
    CHECK(sg_window_extend(w, 1, INT64_MAX));
    CHECK(sg_window_expire(w, 10, &o));
    CHECK_EQ(o, 2);
    CHECK(sg_window_extend(w, 2, 20)); /* it has a deadline again, out of order */
    CHECK(sg_window_extend(w, 1, 20));
    static const uint64_t order[] = {1, 2, 0};
    for (int k = 0; k < 3; k++) {
        CHECK(sg_window_expire(w, INT64_MAX, &o));
        CHECK_EQ(o, order[k]);
    }
    sg_alloc_fail_at(0, 0);
    CHECK(!sg_window_expire(w, INT64_MAX, &o));
    CHECK(sg_window_fail(w, 2, WALL));
    CHECK(!sg_window_extend(w, 2, 20) && !sg_window_extend(w, 5, 20));
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    sg_window_free(w);
}

/* One that has no deadline is not in the way of those that have: nor does it ever expire. */
TEST(without_a_deadline) {
    sg_window *w = sg_window_new(0, 8);
    uint64_t o = 77;
    CHECK_EQ(sg_window_deliver(w, 0, INT64_MAX), 1);
    CHECK(!sg_window_expire(w, INT64_MAX, &o));
    CHECK_EQ(sg_window_deliver(w, 1, 10), 1);
    CHECK_EQ(sg_window_deadline(w), 10);
    CHECK_EQ(sg_window_ack(w, 0), SG_ACK_NEW);
    CHECK(sg_window_expire(w, INT64_MAX, &o));
    CHECK_EQ(o, 1);
    sg_window_free(w);
}

TEST(clocks_and_counts_at_their_ends) {
    sg_window *w = sg_window_new(0, 8);
    for (uint64_t o = 0; o < 5; o++)
        sg_window_deliver(w, o, 1);
    CHECK(sg_window_fail(w, 0, INT64_MIN));
    CHECK(sg_window_fail(w, 1, INT64_MAX));
    check_failures(w, 0, 1, false, NEVER, NEVER);
    sg_window_deliver(w, 0, 1);
    CHECK(sg_window_fail(w, 0, WALL)); /* the first whose time is known */
    check_failures(w, 0, 2, false, WALL, WALL);
    sg_window_deliver(w, 0, 1);
    CHECK(sg_window_fail(w, 0, WALL - 60000)); /* the clock was set back */
    check_failures(w, 0, 3, false, WALL, WALL);
    for (int i = 0; i < (1 << 20) + 5; i++)
        CHECK_GT(sg_window_deliver(w, 2, 1), 0);
    check_failures(w, 2, (1u << 20) - 1, false, NEVER, NEVER);
    CHECK_EQ(sg_window_deliver(w, 2, 1), 1u << 20);
    CHECK(sg_window_in_hand(w, 2, 1u << 20));
    sg_buf tries;
    sg_buf_init(&tries, 100);
    CHECK(sg_window_tries(w, &tries));
    sg_window *next = loaded(0, 8, tries.data, tries.len);
    int64_t latest = ((INT64_C(1) << 40) - 1) * 1000;
    check_failures(next, 1, 1, false, latest, latest);
    CHECK(sg_window_raise(next, 0, INT64_MAX));
    check_failures(next, 2, (1u << 20) - 1, false, INT64_MAX / 1000 * 1000,
                   INT64_MAX / 1000 * 1000);
    sg_buf_clear(&tries);
    CHECK(sg_window_tries(next, &tries));
    CHECK(sg_tries_check(tries.data, tries.len));
    sg_buf_fini(&tries);
    sg_window_free(next);
    sg_window_free(w);
}

/* ---- By example: from one owner to the next ------------------------------------------------ */

/* Equal in seconds is equal; what is acknowledged between them does not part them, what is not
 * known does. */
TEST(runs_are_as_long_as_can_be) {
    sg_window *w = sg_window_new(100, 32);
    for (uint64_t o = 100; o < 112; o++)
        sg_window_deliver(w, o, 1);
    sg_window_fail(w, 101, WALL);
    sg_window_fail(w, 102, WALL + 800);
    sg_window_ack(w, 103);
    CHECK(sg_window_skip(w, 112, 114));
    sg_window_fail(w, 104, WALL);
    /* 105 is in flight */
    sg_window_fail(w, 106, WALL);
    sg_window_fail(w, 107, WALL + 1000);
    sg_window_ack(w, 108);
    check_tries_of(w, "\1\4\4" SECONDS "\0\1\1\4" SECONDS "\0\0\1\4\x81\xe2\xcf\xaa\6\0", 27);
    sg_window_deliver(w, 107, 1);
    sg_window_fail(w, 107, WALL + 130000);
    check_tries_of(w, "\1\4\4" SECONDS "\0\1\1\4" SECONDS "\0\0\1\x08\x81\xe2\xcf\xaa\6\x81\1", 28);
    sg_window_free(w);
}

TEST(a_crash_raises_what_may_have_been_in_hand) {
    /* 20 failed twice and is out alone, 21 failed once, 22 was released, 23 is out with others, 24
     * and 25 were delivered, 26 is acknowledged, 27 is below high, 28 is not, 29 is out. */
    sg_window *w = loaded(20, 16, "\0\1\x0b\5\1\0\1\4\3\0\0\1\0\0\0\0\1\5\2\2\5\1\5\7\0", 25);
    CHECK(sg_window_load(w, "\6\1", 2));
    uint64_t version = sg_window_version(w);
    CHECK(sg_window_raise(w, 28, 9999));
    CHECK_GT(sg_window_version(w), version);
    check_failures(w, 20, 3, true, 5000, 9000);
    check_failures(w, 21, 1, false, 3000, 3000);
    check_failures(w, 22, 0, false, NEVER, NEVER);
    check_failures(w, 23, 2, false, 2000, 9000);
    check_failures(w, 24, 1, false, 9000, 9000);
    check_failures(w, 25, 1, false, 9000, 9000);
    check_failures(w, 26, 0, false, NEVER, NEVER);
    check_failures(w, 27, 1, false, 9000, 9000);
    check_failures(w, 28, 0, false, NEVER, NEVER);
    check_failures(w, 29, 2, false, 7000, 9000);
    for (uint64_t o = 20; o < 30; o++)
        CHECK(!sg_window_marked(w, o));
    check_tries_of(w, "\0\1\x0e\5\4\0\1\4\3\0\1\1\x08\2\7\0\4\4\x09\0\1\1\x08\7\2", 25);
    /* The same bytes, and no crash: all is as it was. */
    sg_window *next = loaded(20, 16, "\0\1\x0e\5\4", 5);
    check_failures(next, 20, 3, true, 5000, 9000);
    CHECK_EQ(sg_window_fate_of(next, 20), SG_DELIVER); /* like any other until it is delivered */
    CHECK(sg_window_mark(next, 20, false));
    CHECK_EQ(sg_window_fate_of(next, 20), SG_SKIP);
    CHECK(sg_window_waits(next, 20));
    check_tries_of(next, "\0\1\x0d\5\4", 5);
    CHECK(sg_window_raise(next, 0, 9999)); /* slots are ours, not the last owner's */
    check_failures(next, 20, 3, true, 5000, 9000);
    sg_window_unmark(next, 20);
    check_tries_of(next, "\0\1\x0e\5\4", 5);
    CHECK_EQ(sg_window_deliver(next, 20, 1), 4);
    CHECK(sg_window_fail(next, 20, 11000)); /* so it does not kill: not always, at least */
    check_failures(next, 20, 4, false, 5000, 11000);
    sg_window_free(next);
    sg_window_free(w);
}

/* It is delivered as any other for the first time: `high` has to stand for it again. */
TEST(a_release_is_forgotten_by_the_next_owner) {
    for (int raised = 0; raised < 2; raised++) {
        sg_window *w = loaded(0, 8, "\0\2\0\0\0", 5);
        if (raised)
            CHECK(sg_window_raise(w, 2, WALL));
        check_failures(w, 0, 0, false, NEVER, NEVER);
        check_tries_of(w, "", 0);
        uint64_t version = sg_window_version(w);
        CHECK_EQ(sg_window_deliver(w, 0, 1), 1);
        CHECK_EQ(sg_window_version(w), version);
        check_tries_of(w, "", 0);
        CHECK(sg_window_mark(w, 1, false));
        check_tries_of(w, "\1\1\1\0\0", 5);
        sg_window_free(w);
    }
}

TEST(any_high) {
    static const struct {
        uint64_t high, to; /* raised up to */
    } some[] = {{0, 1000},      {999, 1000},    {1000, 1000},      {1001, 1001},
                {66536, 66536}, {66537, 66536}, {1u << 30, 66536}, {UINT64_MAX, 66536}};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        sg_window *w = sg_window_new(1000, 10);
        CHECK(sg_window_raise(w, some[i].high, 5000));
        CHECK_EQ(sg_window_version(w), some[i].to > 1000);
        for (uint64_t o = 1000; o<67000; o += o> 1010 && o < 66500 ? 1000 : 1)
            CHECK_EQ(sg_window_failures(w, o).count, o < some[i].to);
        uint64_t o = some[i].to > 1000 ? some[i].to - 1 : 1000, found;
        CHECK_EQ(sg_window_failed(w, o, 1, &found), some[i].to > 1000);
        CHECK(!sg_window_failed(w, some[i].to, 1, &found));
        CHECK(!sg_window_failed(w, 0, 2, &found));
        sg_window_free(w);
    }
}

TEST(handing_over_says_that_nothing_is_out) {
    sg_window *w = sg_window_new(0, 16);
    for (uint64_t o = 0; o < 6; o++)
        sg_window_deliver(w, o, 1);
    sg_window_fail(w, 1, 3000);
    sg_window_mark(w, 1, true); /* and not delivered */
    sg_window_fail(w, 2, 4000);
    sg_window_mark(w, 2, true);
    sg_window_deliver(w, 2, 1);
    sg_window_release(w, 3);
    sg_window_release(w, 4);
    sg_window_mark(w, 4, false);
    sg_window_ack(w, 5);
    sg_buf tries;
    sg_buf_init(&tries, 100);
    CHECK(sg_window_tries_final(w, 8000, &tries));
    CHECK_MEM(tries.data, tries.len, "\0\1\4\x08\0\0\1\4\3\0\0\1\x08\4\4", 15);
    check_failures(w, 2, 1, false, 4000, 4000); /* nothing happened to the window */
    CHECK(sg_window_in_hand(w, 2, 2) && sg_window_marked(w, 1));
    sg_buf_fini(&tries);
    sg_window_free(w);
}

TEST(what_failed_is_found_in_order) {
    /* 0-2 failed once, 5-64 three times, 70 seven times, 71 never */
    sg_window *w = loaded(0, 8, "\0\3\4\1\0\2\x3c\x0c\1\0\5\1\x1c\1\0\0\1\0\0\0", 20);
    uint64_t o = 99;
    CHECK(sg_window_failed(w, 0, 0, &o) && o == 0);
    CHECK(sg_window_failed(w, 0, 2, &o) && o == 5);
    CHECK(sg_window_failed(w, 6, 2, &o) && o == 6); /* past the capacity, soon */
    CHECK(sg_window_failed(w, 65, 1, &o) && o == 70);
    CHECK(!sg_window_failed(w, 71, 1, &o));
    CHECK(!sg_window_failed(w, 0, 8, &o));
    CHECK_EQ(sg_window_deliver(w, 5, 1), 4);
    CHECK(sg_window_failed(w, 0, 2, &o) && o == 6);
    CHECK(sg_window_fail(w, 5, WALL));
    CHECK(sg_window_failed(w, 0, 4, &o) && o == 5);
    CHECK(sg_window_skip(w, 6, 64));
    CHECK(sg_window_failed(w, 6, 2, &o) && o == 64);
    CHECK_EQ(sg_window_ack(w, 5), SG_ACK_NEW);
    CHECK(sg_window_failed(w, 0, 2, &o) && o == 64);
    CHECK(sg_window_skip(w, 0, 1000)); /* nothing is left */
    CHECK_EQ(sg_window_committed(w), 1000);
    CHECK(!sg_window_failed(w, 0, 0, &o));
    check_tries_of(w, "", 0);
    sg_window_free(w);
}

/* Skipped over while it waits: it holds committed, as what is in flight does. */
TEST(skips_around_what_waits) {
    sg_window *w = sg_window_new(0, 8);
    sg_window_deliver(w, 2, 1);
    sg_window_fail(w, 2, WALL);
    CHECK(sg_window_mark(w, 4, false));
    CHECK(sg_window_skip(w, 0, 100));
    CHECK_EQ(sg_window_committed(w), 2);
    CHECK_EQ(sg_window_ack(w, 2), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), 4);
    CHECK_EQ(sg_window_ack(w, 4), SG_ACK_NEW); /* marked is enough */
    CHECK_EQ(sg_window_committed(w), 100);
    sg_window_free(w);
}

/* ---- Bytes -------------------------------------------------------------------------------- */

#define MANY_SECONDS "\xff\xff\xff\xff\xff\x1f" /* 2^40 - 1 */

TEST(malformed_tries_load_nothing) {
    static const struct {
        const char *bytes;
        size_t len;
        bool good;
    } some[] = {
        {"\0\1\4\1\1", 5, true},
        {"\0\1\4\1", 4, false},                                        /* cut short */
        {"\0\1\4\1\1\0", 6, false},                                    /* and after a whole one */
        {"\0\1\4\1\x80", 5, false},                                    /* in a varint */
        {"\0\0\4\1\1", 5, false},                                      /* an empty run */
        {"\0\x80\x80\4\4\1\1", 7, true},                               /* 65536 offsets */
        {"\0\x81\x80\4\4\1\1", 7, false},                              /* one more */
        {"\1\x80\x80\4\4\1\1", 7, false},                              /* the same by the gap */
        {"\xff\xff\3\1\4\1\1", 7, true},                               /* the last one alone */
        {"\xff\xff\3\1\4\1\1\0\1\4\1\1", 12, false},                   /* and one behind it */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1\4\1\1", 14, false}, /* 2^64 - 1, wrapping */
        {"\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\4\1\1", 14, false},
        {"\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\4\1\1", 14, false}, /* over 64 bits */
        {"\0\1\xff\xff\xff\1\1\1", 8, true},                           /* 2^20 - 1 failures, OUT */
        {"\0\1\x80\x80\x80\2\1\1", 8, false},                          /* 2^20 */
        {"\0\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1\1", 14, false},
        {"\0\1\4" MANY_SECONDS "\0", 10, true},
        {"\0\1\4" MANY_SECONDS "\1", 10, false},
        {"\0\1\4\0" MANY_SECONDS, 10, true},
        {"\0\1\4\1" MANY_SECONDS, 10, false},
        {"\0\1\4\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 14, false}, /* wrapping, were it added */
    };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        sg_window *w = sg_window_new(7, 16);
        void *exact = sg_memdup(some[i].bytes, some[i].len);
        CHECK_EQ(sg_tries_check(exact, some[i].len), some[i].good);
        CHECK_EQ(sg_window_load_tries(w, exact, some[i].len), some[i].good);
        CHECK_EQ(sg_window_version(w), some[i].good);
        if (some[i].good)
            check_tries_of(w, exact, some[i].len);
        else
            check_tries_of(w, "", 0);
        sg_free(exact);
        sg_window_free(w);
    }
    CHECK(sg_tries_check(NULL, 0));
    sg_window *w = loaded(0, 1, NULL, 0);
    CHECK_EQ(sg_window_version(w), 0);
    sg_window_free(w);
}

/* Load bytes that came from wherever, and do with them what can be done; returns whether they
 * load. */
static bool survive(const uint8_t *bytes, size_t len, sg_rng *rng) {
    uint64_t base = UINT64_C(1) << 50, found, at = 0;
    void *exact = sg_memdup(bytes, len);
    sg_window *w = sg_window_new(base, 16);
    bool ok = sg_tries_check(exact, len);
    CHECK_EQ(sg_window_load_tries(w, exact, len), ok);
    CHECK_EQ(sg_window_version(w), ok && len > 0);
    sg_free(exact);
    if (sg_rng_below(rng, 2) == 0)
        CHECK(sg_window_load(w, "\1\2\3\4", 4));
    CHECK(sg_window_raise(w, base + sg_rng_below(rng, 30), WALL));
    for (int i = 0; i < 10; i++) {
        uint64_t o = base + sg_rng_below(rng, 20);
        uint32_t count = sg_window_failures(w, o).count;
        if (count > 0 && sg_window_mark(w, o, true) && sg_window_waits(w, o))
            CHECK_EQ(sg_window_deliver(w, o, 1), count + 1);
    }
    for (int i = 0; i < 10 && sg_window_failed(w, at, 1, &found); i++, at = found + 1)
        CHECK_LT(found - base, SPAN_MAX);
    sg_buf tries, again;
    sg_buf_init(&tries, 1u << 21);
    sg_buf_init(&again, 1u << 21);
    CHECK(sg_window_tries(w, &tries));
    CHECK(sg_tries_check(tries.data, tries.len));
    sg_window *next = loaded(base, 16, tries.data, tries.len);
    CHECK(sg_window_tries(next, &again)); /* what was stored once stays as it is */
    CHECK_MEM(again.data, again.len, tries.data, tries.len);
    sg_buf_fini(&tries);
    sg_buf_fini(&again);
    sg_window_free(next);
    sg_window_free(w);
    return ok;
}

TEST(random_tries_are_survived) {
    sg_rng rng = {test_seed()};
    int accepted = 0;
    for (int i = 0; i < (test_sanitized() ? 30000 : 200000); i++) {
        uint8_t bytes[24];
        size_t len = sg_rng_below(&rng, sizeof bytes + 1);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)(sg_rng_next(&rng) & (sg_rng_below(&rng, 8) ? 0x1f : 0xff));
        accepted += survive(bytes, len, &rng);
    }
    CHECK_GT(accepted, 1000);
}

TEST(damaged_tries_are_survived) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < (test_sanitized() ? 200 : 1000); i++) {
        sg_window *w = sg_window_new(0, 64);
        sg_buf tries;
        sg_buf_init(&tries, 1000);
        for (uint64_t o = 0; o < 20; o++) {
            sg_window_deliver(w, o, 1);
            if (sg_rng_below(&rng, 3) > 0)
                sg_window_fail(w, o, WALL + (int64_t)sg_rng_below(&rng, 3000));
            if (sg_rng_below(&rng, 3) == 0)
                sg_window_mark(w, o, sg_rng_below(&rng, 2) == 0);
        }
        CHECK(sg_window_tries(w, &tries));
        CHECK(survive(tries.data, tries.len, &rng));
        for (size_t len = 0; len < tries.len; len++)
            survive(tries.data, len, &rng);
        for (size_t k = 0; k < tries.len; k++) {
            uint8_t whole = tries.data[k];
            tries.data[k] ^= (uint8_t)(1u << sg_rng_below(&rng, 8));
            survive(tries.data, tries.len, &rng);
            tries.data[k] = whole;
        }
        sg_buf_fini(&tries);
        sg_window_free(w);
    }
}

/* Every offset of the largest window with an entry of its own: the longest tries there are. */
TEST(the_longest_tries) {
    enum { N = SPAN_MAX };
    uint64_t base = UINT32_MAX - 1000u, o = base, n = 0;
    sg_window *w = sg_window_new(base, N);
    for (uint64_t k = 0; k < N; k++) {
        CHECK_EQ(sg_window_deliver(w, base + k, 1), 1);
        CHECK(sg_window_fail(w, base + k, 1000 * (int64_t)(k + 1)));
    }
    sg_buf tries, again;
    sg_buf_init(&tries, 10u * N);
    sg_buf_init(&again, 10u * N);
    CHECK(sg_window_tries(w, &tries));
    sg_window *next = loaded(base, 100, tries.data, tries.len);
    CHECK(sg_window_tries(next, &again));
    CHECK_MEM(again.data, again.len, tries.data, tries.len);
    CHECK(sg_window_raise(next, UINT64_MAX, WALL));
    for (; sg_window_failed(next, o, 1, &o); o++, n++)
        CHECK_EQ(sg_window_failures(next, o).first, 1000 * (int64_t)(n + 1));
    CHECK_EQ(n, N);
    for (uint64_t k = 0; k < N; k++) {
        CHECK_EQ(sg_window_deliver(next, base + k, 1), 2);
        CHECK_EQ(sg_window_ack(next, base + k), SG_ACK_NEW);
    }
    CHECK(!sg_window_failed(next, 0, 1, &o));
    sg_buf_fini(&tries);
    sg_buf_fini(&again);
    sg_window_free(next);
    sg_window_free(w);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static void load_in_spite(sg_window *w, const sg_buf *tries, uint64_t high, int *failed) {
    for (; !sg_window_load_tries(w, tries->data, tries->len); ++*failed) {
        CHECK_EQ(sg_window_failures(w, 1).count, 0);
        CHECK_EQ(sg_window_version(w), 0);
    }
    for (; !sg_window_raise(w, high, WALL); ++*failed) {
        CHECK_EQ(sg_window_failures(w, 1).count, 1);
        CHECK_EQ(sg_window_version(w), 1);
    }
}

/* Every kind of allocation, each tried again where it fails; returns the failures. */
static int work_through_failures(sg_window *w) {
    int failed = 0;
    for (uint64_t o = 0; o < 100; o++)
        for (; !sg_window_mark(w, o, false); failed++)
            CHECK_EQ(sg_window_fate_of(w, o), SG_DELIVER);
    for (uint64_t o = 0; o < 100; o++) {
        CHECK_EQ(sg_window_deliver(w, o, 100 - (int64_t)o),
                 1); /* out of order: the heap is there */
        if (o % 2 == 1)
            CHECK(sg_window_fail(w, o, WALL));
    }
    sg_buf tries;
    sg_buf_init(&tries, 10000);
    CHECK(sg_buf_byte(&tries, 77) || ++failed);
    size_t before = tries.len;
    for (; !sg_window_tries(w, &tries); failed++)
        CHECK_EQ(tries.len, before);
    tries.len = before;
    for (; !sg_window_tries_final(w, WALL, &tries); failed++)
        CHECK_EQ(tries.len, before);
    tries.len = before;
    while (!sg_window_tries(w, &tries))
        failed++;
    sg_buf_drop(&tries, before);
    sg_window *next;
    while ((next = sg_window_new(0, 200)) == NULL)
        failed++;
    load_in_spite(next, &tries, 150, &failed);
    CHECK_EQ(sg_window_failures(next, 0).count, 1);
    CHECK_EQ(sg_window_failures(next, 149).count, 1);
    CHECK_EQ(sg_window_failures(next, 150).count, 0);
    while (sg_window_deliver(next, 120, 1) == 0)
        failed++;
    CHECK(sg_window_in_hand(next, 120, 2));
    sg_window_free(next);
    sg_buf_fini(&tries);
    return failed;
}

TEST(memory_failures_change_nothing) {
    for (uint64_t n = 1;; n++) {
        sg_window *w = sg_window_new(0, 128);
        sg_alloc_fail_at(n, 0);
        int failed = work_through_failures(w);
        sg_alloc_fail_at(0, 0);
        CHECK_EQ(sg_window_in_flight(w), 50);
        sg_window_free(w);
        if (failed == 0) {
            CHECK_GT(n, 8);
            break;
        }
        CHECK_EQ(failed, 1);
    }
}
