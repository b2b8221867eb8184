/* test_window.c - the window by example, and against a model that is too simple to be wrong. */
#include "core/window.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

/* ---- By example --------------------------------------------------------------------------- */

static void check_map_of(const sg_window *w, const void *expected, size_t len) {
    sg_buf map;
    uint64_t count;
    sg_buf_init(&map, 1u << 20);
    CHECK(sg_window_map(w, &map));
    CHECK_MEM(map.data, map.len, expected, len);
    CHECK(sg_ackmap_count(map.data, map.len, &count));
    CHECK_EQ(count, sg_window_beyond(w));
    sg_buf_fini(&map);
}

TEST(committed_moves_over_what_is_acknowledged) {
    sg_window *w = sg_window_new(100, 16);
    for (uint64_t o = 100; o < 106; o++)
        CHECK_EQ(sg_window_deliver(w, o, 1000), 1);
    CHECK_EQ(sg_window_in_flight(w), 6);
    CHECK_EQ(sg_window_ack(w, 101), SG_ACK_NEW);
    CHECK_EQ(sg_window_ack(w, 102), SG_ACK_NEW);
    CHECK_EQ(sg_window_ack(w, 104), SG_ACK_NEW);
    CHECK_EQ(sg_window_ack(w, 104), SG_ACK_OLD);
    CHECK_EQ(sg_window_ack(w, 99), SG_ACK_OLD);
    CHECK_EQ(sg_window_ack(w, 106), SG_ACK_NEVER);
    CHECK_EQ(sg_window_committed(w), 100);
    CHECK_EQ(sg_window_beyond(w), 3);
    CHECK(sg_window_acked(w, 104) && sg_window_acked(w, 99) && !sg_window_acked(w, 103));
    check_map_of(w, "\1\2\1\1", 4);
    CHECK_EQ(sg_window_ack(w, 100), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), 103);
    check_map_of(w, "\1\1", 2);
    CHECK_EQ(sg_window_ack(w, 105), SG_ACK_NEW);
    CHECK_EQ(sg_window_ack(w, 103), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), 106);
    CHECK_EQ(sg_window_in_flight(w), 0);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    check_map_of(w, "", 0);
    sg_window_free(w);
    sg_window_free(NULL);
}

TEST(capacity_holds) {
    sg_window *w = sg_window_new(0, 3);
    for (uint64_t o = 0; o < 3; o++) {
        CHECK_EQ(sg_window_fate_of(w, o), SG_DELIVER);
        CHECK_EQ(sg_window_deliver(w, o, 1), 1);
        CHECK_EQ(sg_window_fate_of(w, o), SG_SKIP);
    }
    CHECK_EQ(sg_window_fate_of(w, 3), SG_HOLD);
    CHECK_EQ(sg_window_deliver(w, 3, 1), 0);
    CHECK_EQ(sg_window_ack(w, 1), SG_ACK_NEW);
    CHECK_EQ(sg_window_deliver(w, 1, 1), 0); /* acknowledged: not again */
    CHECK_EQ(sg_window_fate_of(w, 3), SG_HOLD);
    CHECK_EQ(sg_window_ack(w, 0), SG_ACK_NEW);
    CHECK_EQ(sg_window_fate_of(w, 3), SG_DELIVER);
    CHECK_EQ(sg_window_fate_of(w, 4), SG_DELIVER);
    CHECK_EQ(sg_window_fate_of(w, 5), SG_HOLD);
    CHECK_EQ(sg_window_fate_of(w, 0), SG_SKIP);
    sg_window_free(w);
}

TEST(what_expires_comes_in_order_and_once) {
    sg_window *w = sg_window_new(0, 16);
    uint64_t o = 99;
    static const int64_t deadlines[] = {50, 10, 10, 30, 20}; /* 0 and 3 in order, the rest not */
    static const uint64_t order[] = {1, 2, 4, 3, 0};
    for (uint64_t k = 0; k < 5; k++)
        sg_window_deliver(w, k, deadlines[k]);
    CHECK(!sg_window_expire(w, 9, &o));
    CHECK_EQ(o, 99);
    for (int k = 0; k < 5; k++) {
        CHECK_EQ(sg_window_deadline(w), deadlines[order[k]]);
        CHECK(sg_window_expire(w, 50, &o));
        CHECK_EQ(o, order[k]);
    }
    CHECK(!sg_window_expire(w, INT64_MAX, &o));
    CHECK_EQ(sg_window_in_flight(w), 5); /* expired is not settled */
    CHECK_EQ(sg_window_deliver(w, 2, 60), 2);
    CHECK_EQ(sg_window_deliver(w, 2, 55), 3); /* and so moved */
    CHECK_EQ(sg_window_deadline(w), 55);
    CHECK_EQ(sg_window_ack(w, 4), SG_ACK_NEW);
    CHECK_EQ(sg_window_ack(w, 2), SG_ACK_NEW);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    CHECK_EQ(sg_window_in_flight(w), 3);
    sg_window_free(w);
}

TEST(skips_far_past_the_capacity) {
    sg_window *w = sg_window_new(10, 4);
    uint64_t version = sg_window_version(w);
    CHECK(sg_window_skip(w, 10, 1u << 30));
    CHECK_EQ(sg_window_committed(w), 1u << 30);
    CHECK_NE(sg_window_version(w), version);
    version = sg_window_version(w);
    CHECK(sg_window_skip(w, 10, 1u << 30));
    CHECK(sg_window_skip(w, 20, 10));
    CHECK_EQ(sg_window_version(w), version);
    sg_window_free(w);
}

/* The log was trimmed while messages were in flight: they stay, and committed with them. */
TEST(skips_around_what_is_in_flight) {
    const uint64_t far = UINT64_C(1) << 40;
    sg_window *w = sg_window_new(5, 8);
    sg_window_deliver(w, 6, 1);
    sg_window_deliver(w, 9, 1);
    sg_window_deliver(w, 10, 1);
    sg_window_ack(w, 10);
    CHECK(sg_window_skip(w, 5, far));
    CHECK_EQ(sg_window_committed(w), 6);
    CHECK_EQ(sg_window_beyond(w), UINT32_MAX);
    CHECK_EQ(sg_window_fate_of(w, 7), SG_SKIP);
    CHECK_EQ(sg_window_fate_of(w, far - 1), SG_SKIP);
    CHECK_EQ(sg_window_fate_of(w, far), SG_HOLD);
    CHECK(sg_window_skip(w, far + 1, far + 2));
    CHECK_EQ(sg_window_ack(w, 7), SG_ACK_OLD);
    CHECK_EQ(sg_window_ack(w, 9), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), 6);
    sg_buf map;
    uint64_t count;
    sg_buf_init(&map, 100);
    CHECK(sg_window_map(w, &map));
    CHECK(sg_ackmap_count(map.data, map.len, &count));
    CHECK_EQ(count, 65535); /* the map ends at 65536 offsets */
    sg_window *next = sg_window_new(6, 8);
    CHECK(sg_window_load(next, map.data, map.len));
    CHECK_EQ(sg_window_fate_of(next, 6), SG_DELIVER);
    CHECK_EQ(sg_window_fate_of(next, 6 + 65535), SG_SKIP);
    CHECK_EQ(sg_window_fate_of(next, 6 + 65536), SG_HOLD);
    sg_buf_fini(&map);
    sg_window_free(next);
    CHECK_EQ(sg_window_ack(w, 6), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), far);
    CHECK_EQ(sg_window_deliver(w, far, 1), 1);
    sg_window_ack(w, far);
    CHECK_EQ(sg_window_committed(w), far + 2);
    CHECK_EQ(sg_window_beyond(w), 0);
    sg_window_free(w);
}

TEST(loads_the_map_of_a_larger_window) {
    sg_buf map;
    sg_buf_init(&map, 100);
    sg_buf_varint(&map, 3);
    sg_buf_varint(&map, 2);
    sg_buf_varint(&map, 995);
    sg_buf_varint(&map, 64536);
    sg_window *w = sg_window_new(1000, 4);
    CHECK(sg_window_load(w, map.data, map.len));
    CHECK_EQ(sg_window_beyond(w), 64538);
    check_map_of(w, map.data, map.len);
    CHECK_EQ(sg_window_fate_of(w, 1003), SG_SKIP);
    CHECK_EQ(sg_window_fate_of(w, 1005), SG_HOLD);
    CHECK_EQ(sg_window_fate_of(w, 2000), SG_SKIP);
    CHECK_EQ(sg_window_ack(w, 2000), SG_ACK_OLD);
    CHECK_EQ(sg_window_ack(w, 1005), SG_ACK_NEVER);
    for (uint64_t o = 1000; o < 2000; o++) {
        if (o == 1003 || o == 1004)
            continue;
        CHECK_EQ(sg_window_deliver(w, o, 1), 1);
        CHECK_EQ(sg_window_ack(w, o), SG_ACK_NEW);
    }
    CHECK_EQ(sg_window_committed(w), 1000 + 65536);
    sg_buf_fini(&map);
    sg_window_free(w);
}

TEST(malformed_maps_load_nothing) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\1", 1},                                        /* a gap alone */
        {"\0\1", 2},                                      /* no gap: committed would have moved */
        {"\1\0", 2},                                      /* an empty run */
        {"\1\1\1", 3},                                    /* a pair cut short */
        {"\1\x80", 2},                                    /* a varint cut short */
        {"\1\x80\x80\4", 4},                              /* 1 + 65536 */
        {"\x80\x80\4\1", 4},                              /* 65536 + 1 */
        {"\1\1\1\xfd\xff\3\1\1", 8},                      /* 65536, and one more pair */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1", 11}, /* 2^64-1, wrapping to 0 */
        {"\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11}, /* the same in the run */
        {"\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\2", 11}, /* over 64 bits */
    };
    uint64_t count = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sg_window *w = sg_window_new(7, 16);
        CHECK(!sg_ackmap_count(bad[i].bytes, bad[i].len, &count));
        CHECK(!sg_window_load(w, bad[i].bytes, bad[i].len));
        CHECK_EQ(sg_window_beyond(w), 0);
        CHECK_EQ(sg_window_version(w), 0);
        sg_window_free(w);
    }
    CHECK_EQ(count, 77);
    CHECK(sg_ackmap_count("\1\1\1\xfd\xff\3", 6, &count)); /* 65536 exactly */
    CHECK_EQ(count, 65534);
    CHECK(sg_ackmap_count(NULL, 0, &count));
    CHECK_EQ(count, 0);
}

TEST(random_maps_are_survived) {
    sg_rng rng = {test_seed()};
    int accepted = 0;
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[16];
        size_t len = sg_rng_below(&rng, sizeof bytes + 1);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)(sg_rng_next(&rng) & (sg_rng_below(&rng, 3) ? 0x7f : 0xff));
        void *exact = sg_memdup(bytes, len);
        sg_window *w = sg_window_new(UINT64_C(1) << 50, 16);
        uint64_t count = 0;
        bool ok = sg_ackmap_count(exact, len, &count);
        CHECK_EQ(sg_window_load(w, exact, len), ok);
        CHECK_EQ(sg_window_beyond(w), count);
        CHECK_EQ(sg_window_version(w), ok && len > 0);
        accepted += ok;
        sg_window_free(w);
        sg_free(exact);
    }
    CHECK_GT(accepted, 1000);
}

TEST(an_idle_window_is_small) {
    sg_alloc_fail_at(0, 0);
    sg_window *w = sg_window_new(0, 65536);
    CHECK_EQ(sg_alloc_fail_at(0, 0), 1);
    for (uint64_t o = 0; o < 100000; o++) { /* one at a time: the ring stays at its first size */
        sg_window_deliver(w, o, (int64_t)o);
        sg_window_ack(w, o);
    }
    CHECK_EQ(sg_alloc_fail_at(0, 0), 1);
    sg_window_free(w);
}

/* The whole capacity, every deadline out of order, acknowledged in random order. */
TEST(the_largest_window) {
    enum { N = 65536 };
    static uint32_t order[N];
    sg_rng rng = {test_seed()};
    uint64_t base = UINT32_MAX - 1000u; /* offsets pass 2^32 on the way */
    sg_window *w = sg_window_new(base, N);
    for (uint32_t i = 0; i < N; i++) {
        order[i] = i;
        CHECK_EQ(sg_window_deliver(w, base + i, N - (int64_t)i), 1);
    }
    CHECK_EQ(sg_window_fate_of(w, base + N), SG_HOLD);
    uint64_t offset;
    for (uint64_t i = N; i-- > N / 2;) {
        CHECK(sg_window_expire(w, N, &offset));
        CHECK_EQ(offset, base + i);
    }
    for (uint32_t i = N - 1; i > 0; i--) {
        uint32_t k = (uint32_t)sg_rng_below(&rng, i + 1);
        uint32_t swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    for (uint32_t i = 0; i < N; i++)
        CHECK_EQ(sg_window_ack(w, base + order[i]), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), base + N);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    sg_window_free(w);
}

/* Every second offset of the largest window: the longest map there is, made in one go. */
TEST(the_longest_map) {
    enum { N = 65536 };
    sg_window *w = sg_window_new(0, N);
    for (uint64_t o = 0; o < N; o++)
        CHECK_EQ(sg_window_deliver(w, o, 1), 1);
    for (uint64_t o = 1; o < N; o += 2)
        CHECK_EQ(sg_window_ack(w, o), SG_ACK_NEW);
    sg_buf map;
    sg_buf_init(&map, N);
    CHECK(sg_window_map(w, &map));
    CHECK_EQ(map.len, N);
    sg_window *next = sg_window_new(0, 100);
    CHECK(sg_window_load(next, map.data, map.len));
    check_map_of(next, map.data, map.len);
    for (uint64_t o = 0; o < N; o += 2) {
        CHECK_EQ(sg_window_deliver(next, o, 1), 1);
        CHECK_EQ(sg_window_ack(next, o), SG_ACK_NEW);
    }
    CHECK_EQ(sg_window_committed(next), N);
    sg_buf_fini(&map);
    sg_window_free(next);
    sg_window_free(w);
}

/* ---- Runs --------------------------------------------------------------------------------- */

static void check_twins(sg_window *a, sg_window *b) {
    sg_buf says[2];
    sg_window *both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        sg_buf_init(&says[i], 1u << 20);
        CHECK(sg_window_map(both[i], &says[i]));
        CHECK(sg_window_tries(both[i], &says[i]));
    }
    CHECK_MEM(says[0].data, says[0].len, says[1].data, says[1].len);
    CHECK_EQ(sg_window_committed(a), sg_window_committed(b));
    CHECK_EQ(sg_window_in_flight(a), sg_window_in_flight(b));
    CHECK_EQ(sg_window_beyond(a), sg_window_beyond(b));
    CHECK_EQ(sg_window_deadline(a), sg_window_deadline(b));
    sg_buf_fini(&says[0]);
    sg_buf_fini(&says[1]);
}

/* Long runs in flight, with deadlines in order, out of order and none; among them what failed and was
 * delivered again, what waits, is acknowledged or was skipped. */
static void make_busy(sg_window *w, sg_rng rng, uint64_t base, uint64_t n) {
    for (uint64_t o = base; o < base + n; o++) {
        uint64_t what = sg_rng_below(&rng, 100);
        int64_t deadline = what % 5 == 0 ? (int64_t)sg_rng_below(&rng, 500) : (int64_t)(o - base);
        if (what == 0) {
            CHECK(sg_window_skip(w, o, o + 1));
            continue;
        }
        CHECK_EQ(sg_window_deliver(w, o, what == 7 ? INT64_MAX : deadline), 1);
        if (what > 95) {
            CHECK(sg_window_fail(w, o, 1000000 * (int64_t)what));
            CHECK_EQ(sg_window_deliver(w, o, deadline), 2);
        } else if (what == 1) {
            CHECK(sg_window_release(w, o));
        } else if (what == 2 && o > base) {
            CHECK_EQ(sg_window_ack(w, o), SG_ACK_NEW);
        }
    }
}

static uint32_t ack_singly(sg_window *w, uint64_t from, uint32_t n) {
    uint32_t done = 0;
    while (done < n && sg_window_in_flight_at(w, from + done)) {
        CHECK_EQ(sg_window_ack(w, from + done), SG_ACK_NEW);
        done++;
    }
    return done;
}

static void check_runs(sg_rng *rng, uint64_t n) {
    uint64_t base = sg_rng_next(rng) >> 11, offsets[2];
    sg_rng same = {sg_rng_next(rng)};
    sg_window *a = sg_window_new(base, (uint32_t)n), *b = sg_window_new(base, (uint32_t)n);
    make_busy(a, same, base, n);
    make_busy(b, same, base, n);
    check_twins(a, b);
    for (int i = 0; i < 60; i++) {
        uint64_t from = base + sg_rng_below(rng, n + 10);
        uint32_t length = (uint32_t)sg_rng_below(rng, 80);
        uint64_t version = sg_window_version(a);
        uint32_t done = sg_window_ack_run(a, from, length);
        CHECK_EQ(done, ack_singly(b, from, length));
        CHECK_EQ(sg_window_version(a) != version, done > 0);
        check_twins(a, b);
    }
    while (sg_window_expire(a, INT64_MAX - 1, &offsets[0])) { /* what is left, in the same order */
        CHECK(sg_window_expire(b, INT64_MAX - 1, &offsets[1]));
        CHECK_EQ(offsets[0], offsets[1]);
    }
    CHECK(!sg_window_expire(b, INT64_MAX - 1, &offsets[1]));
    sg_window_free(a);
    sg_window_free(b);
}

TEST(a_run_is_its_offsets_one_by_one) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 60; i++)
        check_runs(&rng, 1 + sg_rng_below(&rng, 700));
}

TEST(runs_end_where_nothing_is_in_flight) {
    sg_window *w = sg_window_new(100, 16);
    CHECK_EQ(sg_window_ack_run(w, 100, 5), 0); /* no ring yet */
    for (uint64_t o = 100; o < 110; o++)
        CHECK_EQ(sg_window_deliver(w, o, 1000), 1);
    uint64_t version = sg_window_version(w);
    CHECK_EQ(sg_window_ack_run(w, 100, 0), 0);
    CHECK_EQ(sg_window_ack_run(w, 99, 5), 0);
    CHECK_EQ(sg_window_ack_run(w, 110, 5), 0);
    CHECK_EQ(sg_window_ack_run(w, UINT64_MAX, 5), 0);
    CHECK_EQ(sg_window_ack_run(w, 100 + 65536, 5), 0); /* the same places of the ring */
    CHECK_EQ(sg_window_version(w), version);
    CHECK_EQ(sg_window_ack_run(w, 105, UINT32_MAX), 5);
    check_map_of(w, "\5\5", 2);
    CHECK_EQ(sg_window_ack_run(w, 102, 5), 3);
    CHECK_EQ(sg_window_committed(w), 100);
    CHECK(sg_window_release(w, 101));
    CHECK_EQ(sg_window_ack_run(w, 100, 5), 1); /* one that waits is not in flight */
    CHECK_EQ(sg_window_committed(w), 101);
    CHECK_EQ(sg_window_ack(w, 101), SG_ACK_NEW);
    CHECK_EQ(sg_window_committed(w), 110);
    CHECK_EQ(sg_window_deadline(w), INT64_MAX);
    sg_window_free(w);
}

/* ---- Against the model -------------------------------------------------------------------- */

enum { SPAN = 300 }; /* offsets of a sequence: base .. base + SPAN - 1 */

typedef enum model_state { UNSEEN, FLYING, SETTLED } model_state;

typedef struct model {
    uint64_t base;
    uint32_t capacity;
    size_t committed; /* index: base + committed is the offset */
    model_state state[SPAN];
    uint32_t attempt[SPAN];
    bool timed[SPAN];
    int64_t deadline[SPAN];
} model;

static void model_advance(model *m) {
    while (m->committed < SPAN && m->state[m->committed] == SETTLED)
        m->committed++;
}

static sg_window_fate model_fate(const model *m, size_t i) {
    if (i < m->committed || m->state[i] != UNSEEN)
        return SG_SKIP;
    return i - m->committed < m->capacity ? SG_DELIVER : SG_HOLD;
}

/* Index of what expires first; SPAN where nothing has a deadline. */
static size_t model_first(const model *m) {
    size_t first = SPAN;
    for (size_t i = m->committed; i < SPAN; i++)
        if (m->state[i] == FLYING && m->timed[i] &&
            (first == SPAN || m->deadline[i] < m->deadline[first]))
            first = i;
    return first;
}

static void model_map(const model *m, sg_buf *out) {
    sg_buf_clear(out);
    for (size_t i = m->committed; i < SPAN;) {
        size_t gap = i, run;
        while (gap < SPAN && m->state[gap] != SETTLED)
            gap++;
        for (run = gap; run < SPAN && m->state[run] == SETTLED;)
            run++;
        if (run > gap) {
            sg_buf_varint(out, gap - i);
            sg_buf_varint(out, run - gap);
        }
        i = run;
    }
}

/* The two under test, and what the last commit would have said. */
typedef struct pair {
    sg_window *w;
    model m;
    sg_rng *rng;
    int64_t now;
    uint64_t version;
    size_t said_committed;
    sg_buf said, map, expected; /* said: the map and the tries, one behind the other */
} pair;

static void check_commit(pair *p) {
    uint64_t version = sg_window_version(p->w);
    sg_buf_clear(&p->map);
    CHECK(sg_window_map(p->w, &p->map));
    model_map(&p->m, &p->expected);
    CHECK_MEM(p->map.data, p->map.len, p->expected.data, p->expected.len);
    CHECK(sg_window_tries(p->w, &p->map));
    bool same = p->said_committed == p->m.committed && p->said.len == p->map.len &&
                (p->map.len == 0 || memcmp(p->said.data, p->map.data, p->map.len) == 0);
    CHECK_EQ(version == p->version, same);
    p->version = version;
    p->said_committed = p->m.committed;
    sg_buf_clear(&p->said);
    CHECK(sg_buf_append(&p->said, p->map.data, p->map.len));
}

static void check_pair(pair *p) {
    const model *m = &p->m;
    uint32_t flying = 0, beyond = 0;
    for (size_t i = m->committed; i < SPAN; i++) {
        flying += m->state[i] == FLYING;
        beyond += m->state[i] == SETTLED;
        CHECK_EQ(sg_window_fate_of(p->w, m->base + i), model_fate(m, i));
        CHECK_EQ(sg_window_acked(p->w, m->base + i), m->state[i] == SETTLED);
    }
    CHECK_EQ(sg_window_committed(p->w), m->base + m->committed);
    CHECK_EQ(sg_window_in_flight(p->w), flying);
    CHECK_EQ(sg_window_beyond(p->w), beyond);
    size_t first = model_first(m);
    CHECK_EQ(sg_window_deadline(p->w), first == SPAN ? INT64_MAX : m->deadline[first]);
    check_commit(p);
}

/* An index from a little before committed to a little past the capacity. */
static size_t pick(pair *p) {
    size_t low = p->m.committed > 3 ? p->m.committed - 3 : 0;
    size_t i = low + sg_rng_below(p->rng, (uint64_t)p->m.capacity + 8);
    return i < SPAN ? i : SPAN - 1;
}

static int64_t pick_deadline(pair *p) {
    switch (sg_rng_below(p->rng, 8)) {
    case 0:
        return p->now + (int64_t)sg_rng_below(p->rng, 200); /* out of order, often */
    case 1:
        return INT64_MAX;
    default:
        return p->now + 100;
    }
}

static void deliver(pair *p, size_t i) {
    model *m = &p->m;
    int64_t deadline = pick_deadline(p);
    bool wanted = i >= m->committed && (m->state[i] == FLYING || model_fate(m, i) == SG_DELIVER);
    bool starve = sg_rng_below(p->rng, 8) == 0;
    if (starve)
        sg_alloc_fail_at(1, 1);
    uint32_t attempt = sg_window_deliver(p->w, m->base + i, deadline);
    sg_alloc_fail_at(0, 0);
    if (attempt == 0 && starve)
        return;
    CHECK_EQ(attempt, wanted ? m->attempt[i] + 1 : 0);
    if (!wanted)
        return;
    m->attempt[i]++;
    m->state[i] = FLYING;
    m->timed[i] = true;
    m->deadline[i] = deadline;
}

static void ack(pair *p, size_t i) {
    model *m = &p->m;
    sg_window_ack_result expected = m->state[i] == FLYING    ? SG_ACK_NEW
                                    : m->state[i] == SETTLED ? SG_ACK_OLD
                                                             : SG_ACK_NEVER;
    CHECK_EQ(sg_window_ack(p->w, m->base + i), expected);
    if (expected != SG_ACK_NEW)
        return;
    m->state[i] = SETTLED;
    model_advance(m);
}

/* One after the other, to the first that is not in flight. */
static void ack_run(pair *p, size_t from, uint32_t n) {
    model *m = &p->m;
    uint32_t expected = 0;
    for (size_t i = from; i < SPAN && expected < n && m->state[i] == FLYING; i++) {
        m->state[i] = SETTLED;
        expected++;
    }
    CHECK_EQ(sg_window_ack_run(p->w, m->base + from, n), expected);
    model_advance(m);
}

static void skip(pair *p, size_t from, size_t to) {
    model *m = &p->m;
    if (sg_rng_below(p->rng, 8) == 0) {
        sg_alloc_fail_at(1, 1);
        bool ok = sg_window_skip(p->w, m->base + from, m->base + to);
        sg_alloc_fail_at(0, 0);
        if (!ok) /* maybe a part: calling again does the rest */
            CHECK(sg_window_skip(p->w, m->base + from, m->base + to));
    } else {
        CHECK(sg_window_skip(p->w, m->base + from, m->base + to));
    }
    for (size_t i = from; i < to; i++)
        if (m->state[i] == UNSEEN)
            m->state[i] = SETTLED;
    model_advance(m);
}

static void expire(pair *p) {
    model *m = &p->m;
    uint64_t offset = 1;
    p->now += (int64_t)sg_rng_below(p->rng, 60);
    size_t first = model_first(m);
    bool expected = first < SPAN && m->deadline[first] <= p->now;
    CHECK_EQ(sg_window_expire(p->w, p->now, &offset), expected);
    if (!expected)
        return;
    CHECK_EQ(offset, m->base + first);
    m->timed[first] = false;
    if (sg_rng_below(p->rng, 4) > 0)
        deliver(p, first);
}

static uint32_t pick_capacity(sg_rng *rng) {
    static const uint32_t some[] = {1, 2, 3, 15, 16, 17, 64, 100, SPAN};
    return some[sg_rng_below(rng, sizeof some / sizeof some[0])];
}

/* A commit, and another owner that loads it: what was in flight is unseen for it. */
static void hand_over(pair *p) {
    model *m = &p->m;
    m->capacity = pick_capacity(p->rng);
    sg_window *next = sg_window_new(sg_window_committed(p->w), m->capacity);
    sg_buf_clear(&p->map);
    CHECK(sg_window_map(p->w, &p->map));
    CHECK(sg_window_load(next, p->map.data, p->map.len));
    sg_window_free(p->w);
    p->w = next;
    p->version = sg_window_version(next);
    p->said_committed = m->committed;
    sg_buf_clear(&p->said); /* it is not told the tries: test_tries.c is about them */
    CHECK(sg_buf_append(&p->said, p->map.data, p->map.len));
    for (size_t i = 0; i < SPAN; i++) {
        if (m->state[i] == FLYING)
            m->state[i] = UNSEEN;
        m->attempt[i] = 0;
    }
}

static void step(pair *p) {
    uint64_t what = sg_rng_below(p->rng, 100);
    size_t i = pick(p);
    if (what < 45) {
        deliver(p, i);
    } else if (what < 72) {
        ack(p, i);
    } else if (what < 80) {
        ack_run(p, i, (uint32_t)sg_rng_below(p->rng, 20));
    } else if (what < 92) {
        expire(p);
    } else if (what < 98) {
        size_t to = i + sg_rng_below(p->rng, 12);
        skip(p, i, to < SPAN ? to : SPAN);
    } else if (what < 99) {
        skip(p, p->m.committed, i > p->m.committed ? i : p->m.committed);
    } else {
        hand_over(p);
    }
}

static void run_sequence(sg_rng *rng) {
    static pair p;
    memset(&p, 0, sizeof p);
    p.rng = rng;
    p.m.base = sg_rng_next(rng) >> (11 + sg_rng_below(rng, 53)); /* below 2^53 */
    p.m.capacity = pick_capacity(rng);
    p.w = sg_window_new(p.m.base, p.m.capacity);
    sg_buf_init(&p.said, 1u << 20);
    sg_buf_init(&p.map, 1u << 20);
    sg_buf_init(&p.expected, 1u << 20);
    for (int i = 0; i < 300 && p.m.committed < SPAN; i++) {
        step(&p);
        check_pair(&p);
    }
    sg_window_free(p.w);
    sg_buf_fini(&p.said);
    sg_buf_fini(&p.map);
    sg_buf_fini(&p.expected);
}

TEST_DEADLINE(behaves_as_the_model, 300) {
    sg_rng rng = {test_seed()};
    int sequences = test_sanitized() ? 400 : 3000;
    for (int i = 0; i < sequences; i++)
        run_sequence(&rng);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Every kind of allocation, each tried again where it fails; returns the failures. */
static int work_through_failures(sg_window *w) {
    int failed = 0;
    for (uint64_t o = 0; o < 100; o++)
        while (sg_window_deliver(w, o, o % 3 == 0 ? 5 : 100 + (int64_t)o) == 0)
            failed++;
    for (uint64_t o = 200; o < 230; o += 3)
        while (!sg_window_skip(w, o, o + 1))
            failed++;
    for (uint64_t o = 1; o < 100; o += 2)
        CHECK_EQ(sg_window_ack(w, o), SG_ACK_NEW);
    sg_buf map;
    sg_buf_init(&map, 1000);
    while (!sg_window_map(w, &map)) {
        failed++;
        CHECK_EQ(map.len, 0);
    }
    sg_window *next;
    while ((next = sg_window_new(0, 10)) == NULL)
        failed++;
    while (!sg_window_load(next, map.data, map.len)) {
        failed++;
        CHECK_EQ(sg_window_beyond(next), 0);
    }
    CHECK_EQ(sg_window_beyond(next), 60);
    sg_window_free(next);
    sg_buf_fini(&map);
    return failed;
}

TEST(memory_failures_change_nothing) {
    for (uint64_t n = 1;; n++) {
        sg_window *w = sg_window_new(0, 128);
        sg_alloc_fail_at(n, 0);
        int failed = work_through_failures(w);
        sg_alloc_fail_at(0, 0);
        CHECK_EQ(sg_window_in_flight(w), 50);
        CHECK_EQ(sg_window_beyond(w), 60);
        sg_window_free(w);
        if (failed == 0) {
            CHECK_GT(n, 10);
            break;
        }
        CHECK_EQ(failed, 1);
    }
    sg_alloc_fail_at(1, 0);
    CHECK(sg_window_new(0, 1) == NULL);
}
