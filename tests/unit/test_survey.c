/* test_survey.c - what a stored cursor tells of what its group has in hand, against a model that goes
 * through it offset by offset. */
#include <string.h>

#include "base/random.h"
#include "core/window.h"
#include "test.h"

enum { SPAN = 200, AT = 1000 };

typedef struct model {
    bool acked[SPAN], entry[SPAN], out[SPAN];
    uint32_t failures[SPAN];
} model;

static seg_bytes bytes_of(const sg_buf *b) {
    return (seg_bytes){b->data, b->len};
}

static sg_survey expected(const model *m, uint64_t high) {
    sg_survey s = {0};
    uint32_t most = 0;
    for (uint64_t i = 0; i < SPAN; i++) {
        bool below = AT + i < high, out = m->entry[i] && m->out[i] && high > AT;
        s.acked += m->acked[i];
        if (m->acked[i])
            continue;
        s.in_flight += out || (below && !m->entry[i]);
        uint32_t attempts = m->entry[i] ? m->failures[i] + out : 0;
        most = attempts > most ? attempts : most;
    }
    s.in_flight += high > AT + SPAN ? high - AT - SPAN : 0;
    s.attempts = most == 0 && s.in_flight > 0 ? 1 : most;
    return s;
}

static void write_map(const model *m, sg_buf *out) {
    for (size_t i = 0, at = 0; i < SPAN;) {
        if (!m->acked[i]) {
            i++;
            continue;
        }
        size_t from = i;
        while (i < SPAN && m->acked[i])
            i++;
        CHECK(sg_buf_varint(out, from - at) && sg_buf_varint(out, i - from));
        at = i;
    }
}

static void write_tries(const model *m, sg_buf *out) {
    for (size_t i = 0, at = 0; i < SPAN;) {
        if (!m->entry[i]) {
            i++;
            continue;
        }
        size_t from = i;
        while (i < SPAN && m->entry[i] && m->failures[i] == m->failures[from] &&
               m->out[i] == m->out[from])
            i++;
        CHECK(sg_buf_varint(out, from - at) && sg_buf_varint(out, i - from) &&
              sg_buf_varint(out, m->failures[from] * 4 + m->out[from]) && sg_buf_varint(out, 5) &&
              sg_buf_varint(out, 0));
        at = i;
    }
}

static void check(const model *m, uint64_t high) {
    sg_buf map, tries;
    sg_survey s, e = expected(m, high);
    sg_buf_init(&map, 4096);
    sg_buf_init(&tries, 4096);
    write_map(m, &map);
    write_tries(m, &tries);
    CHECK(sg_survey_cursor(AT, high, bytes_of(&map), bytes_of(&tries), &s));
    CHECK_EQ(s.acked, e.acked);
    CHECK_EQ(s.in_flight, e.in_flight);
    CHECK_EQ(s.attempts, e.attempts);
    sg_buf_fini(&map);
    sg_buf_fini(&tries);
}

TEST(agrees_with_a_walk_over_all_offsets) {
    sg_rng rng = {test_seed()};
    for (int round = 0; round < 20000; round++) {
        model m = {.acked = {false}};
        uint64_t stay = 1 + sg_rng_below(&rng, 20); /* how long the runs are */
        bool acked = false, entry = false, out = false;
        uint32_t failures = 0;
        for (size_t i = 1; i < SPAN; i++) {
            if (sg_rng_below(&rng, stay) == 0)
                acked = sg_rng_below(&rng, 2);
            if (sg_rng_below(&rng, stay) == 0) {
                entry = sg_rng_below(&rng, 2);
                out = sg_rng_below(&rng, 2);
                failures = (uint32_t)sg_rng_below(&rng, 4);
            }
            m.acked[i] = acked;
            m.entry[i] = entry;
            m.out[i] = out;
            m.failures[i] = failures;
        }
        check(&m, AT - 5 + sg_rng_below(&rng, SPAN + 50));
    }
}

TEST(nothing_stored_is_nothing_in_hand) {
    const seg_bytes none = {NULL, 0};
    sg_survey s;
    CHECK(sg_survey_cursor(0, 0, none, none, &s));
    CHECK_EQ(s.acked + s.in_flight + s.attempts, 0);
    CHECK(sg_survey_cursor(7, 9, none, none, &s));
    CHECK_EQ(s.in_flight, 2);
    CHECK_EQ(s.attempts, 1);
    /* More than that is in nobody's window. */
    CHECK(sg_survey_cursor(7, UINT64_MAX, none, none, &s));
    CHECK_EQ(s.in_flight, 65536);
}

TEST(what_is_malformed_is_refused) {
    const seg_bytes none = {NULL, 0}, cut = {"\1", 1};
    sg_survey s = {.acked = 77};
    CHECK(!sg_survey_cursor(0, 9, cut, none, &s));
    CHECK(!sg_survey_cursor(0, 9, none, cut, &s));
    CHECK_EQ(s.acked, 77);
}
