/* fuzz_window.c - what a cursor says of a partition: ack map and tries. What is taken is what a
 * reader of the documented bytes would take, and what a window then says of itself makes another
 * one that is the same. */
#include "core/window.h"

#include <segmenter/segmenter.h>

#include "fuzz.h"

enum { SPAN = 65536, LIVE = 96, CAPACITY = 64, WALL = 1700000000 };

/* ---- The ack map, read in the simplest way ------------------------------------------------ */

static bool read_number(fuzz_input *in, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (in->len == 0)
            return false;
        uint8_t c = fuzz_byte(in);
        if (shift == 63 && c > 1)
            return false;
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return true;
    }
    return false;
}

typedef struct run {
    uint64_t from, to;
} run;

/* The runs of acknowledged offsets, counted from committed; SIZE_MAX where it is malformed. */
static size_t simple_map(fuzz_input in, run *runs, uint64_t *count) {
    uint64_t at = 0, gap, length;
    size_t n = 0;
    *count = 0;
    while (in.len > 0) {
        if (!read_number(&in, &gap) || !read_number(&in, &length) || gap == 0 || length == 0 ||
            gap > SPAN || length > SPAN || at + gap + length > SPAN)
            return SIZE_MAX;
        runs[n++] = (run){at + gap, at + gap + length};
        at += gap + length;
        *count += length;
    }
    return n;
}

static void check_map(fuzz_input map, uint64_t committed) {
    run runs[256];
    uint64_t count = 99, expected;
    size_t n = simple_map(map, runs, &expected);
    bool good = n != SIZE_MAX;
    uint8_t *bytes = fuzz_copy(map);
    sg_window *w = sg_window_new(committed, CAPACITY);
    FUZZ_CHECK(w != NULL);
    FUZZ_CHECK(sg_ackmap_count(bytes, map.len, &count) == good);
    FUZZ_CHECK(sg_window_load(w, bytes, map.len) == good);
    FUZZ_CHECK(count == (good ? expected : 99));
    FUZZ_CHECK(sg_window_beyond(w) == (good ? expected : 0));
    FUZZ_CHECK(sg_window_committed(w) == committed && sg_window_in_flight(w) == 0);
    for (size_t i = 0; good && i < n; i++) {
        FUZZ_CHECK(!sg_window_acked(w, committed + runs[i].from - 1));
        FUZZ_CHECK(sg_window_acked(w, committed + runs[i].from));
        FUZZ_CHECK(sg_window_acked(w, committed + runs[i].to - 1));
        FUZZ_CHECK(!sg_window_acked(w, committed + runs[i].to));
    }
    sg_window_free(w);
    free(bytes);
}

/* ---- Two windows of the same -------------------------------------------------------------- */

/* NULL where the bytes are refused. */
static sg_window *load(uint64_t committed, seg_bytes map, seg_bytes tries) {
    sg_window *w = sg_window_new(committed, CAPACITY);
    FUZZ_CHECK(w != NULL);
    bool good = sg_tries_check(tries.data, tries.len);
    bool ok = sg_window_load(w, map.data, map.len);
    if (ok)
        FUZZ_CHECK(sg_window_load_tries(w, tries.data, tries.len) == good);
    if (ok && good)
        return w;
    sg_window_free(w);
    return NULL;
}

static bool same_time(int64_t a, int64_t b) {
    return a / 1000 == b / 1000;
}

/* What a commit of `w` says, read by its next owner, who says the same again. */
static void check_handed_on(const sg_window *w) {
    sg_buf map, tries, again;
    sg_buf_init(&map, SIZE_MAX);
    sg_buf_init(&tries, SIZE_MAX);
    sg_buf_init(&again, SIZE_MAX);
    uint64_t from = sg_window_committed(w);
    FUZZ_CHECK(sg_window_map(w, &map) && sg_window_tries(w, &tries));
    sg_window *next =
        load(from, (seg_bytes){map.data, map.len}, (seg_bytes){tries.data, tries.len});
    FUZZ_CHECK(next != NULL && sg_window_committed(next) == from);
    for (uint64_t o = from; o < from + 4 * LIVE; o++) {
        sg_failures a = sg_window_failures(w, o), b = sg_window_failures(next, o);
        FUZZ_CHECK(sg_window_acked(w, o) == sg_window_acked(next, o));
        FUZZ_CHECK(a.count == b.count);
        FUZZ_CHECK(a.alone == b.alone || sg_window_marked(w, o)); /* out again: not said any more */
        FUZZ_CHECK(a.count == 0 || (same_time(a.first, b.first) && same_time(a.last, b.last)));
    }
    FUZZ_CHECK(sg_window_map(next, &again));
    FUZZ_CHECK(again.len == map.len && (map.len == 0 || !memcmp(again.data, map.data, map.len)));
    sg_buf_clear(&again);
    FUZZ_CHECK(sg_window_tries(next, &again) && sg_tries_check(again.data, again.len));
    FUZZ_CHECK(again.len <= tries.len); /* what was only released is forgotten */
    sg_buf_clear(&again);
    FUZZ_CHECK(sg_window_tries_final(w, WALL, &again) && sg_tries_check(again.data, again.len));
    sg_window_free(next);
    sg_buf_fini(&map);
    sg_buf_fini(&tries);
    sg_buf_fini(&again);
}

/* A crash never takes a failure away, and adds one at most. `bare`: no tries said that something
 * below `high` was not in hand. */
static void check_raised(sg_window *w, uint64_t high, bool bare) {
    sg_failures before[LIVE];
    uint64_t from = sg_window_committed(w);
    for (uint64_t i = 0; i < LIVE; i++)
        before[i] = sg_window_failures(w, from + i);
    FUZZ_CHECK(sg_window_raise(w, high, (int64_t)WALL * 1000));
    for (uint64_t i = 0; i < LIVE; i++) {
        sg_failures after = sg_window_failures(w, from + i);
        FUZZ_CHECK(after.count >= before[i].count && after.count - before[i].count <= 1);
        if (bare)
            FUZZ_CHECK(after.count > 0 || sg_window_acked(w, from + i) || from + i >= high);
        FUZZ_CHECK(!sg_window_marked(w, from + i));
    }
}

/* ---- A life ------------------------------------------------------------------------------- */

static void act(sg_window *w, fuzz_input *in) {
    uint8_t what = fuzz_byte(in);
    uint64_t o = sg_window_committed(w) + fuzz_byte(in) % LIVE, found;
    switch (what % 10) {
    case 0:
    case 1:
        if (sg_window_deliver(w, o, what < 128 ? INT64_MAX : 10 + what % 16) > 0)
            FUZZ_CHECK(sg_window_in_flight_at(w, o) && sg_window_fate_of(w, o) == SG_SKIP);
        break;
    case 2:
        if (sg_window_fail(w, o, (int64_t)WALL * 1000 + what))
            FUZZ_CHECK(sg_window_waits(w, o) && sg_window_failures(w, o).count > 0);
        break;
    case 3:
        (void)sg_window_release(w, o);
        break;
    case 4:
        (void)sg_window_mark(w, o, what >= 128);
        break;
    case 5:
        sg_window_unmark(w, o);
        break;
    case 6:
        if (sg_window_expire(w, what, &found))
            FUZZ_CHECK(sg_window_in_flight_at(w, found));
        break;
    case 7:
        FUZZ_CHECK(sg_window_skip(w, o, o + what % 32));
        break;
    case 8:
        (void)sg_window_extend(w, o, what);
        break;
    default:
        if (sg_window_ack(w, o) == SG_ACK_NEW)
            FUZZ_CHECK(sg_window_acked(w, o) && !sg_window_in_flight_at(w, o));
    }
}

static void live(sg_window *w, fuzz_input in) {
    while (in.len > 0) {
        uint64_t before = sg_window_committed(w);
        act(w, &in);
        FUZZ_CHECK(sg_window_committed(w) >= before);
    }
    uint32_t flying = 0;
    for (uint64_t i = 0; i < CAPACITY; i++)
        flying += sg_window_in_flight_at(w, sg_window_committed(w) + i);
    FUZZ_CHECK(flying == sg_window_in_flight(w));
    FUZZ_CHECK(flying > 0 || sg_window_deadline(w) == INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint64_t committed = fuzz_number(&in, 2);
    uint64_t high = committed + fuzz_number(&in, 1);
    fuzz_input map = fuzz_take(&in, fuzz_byte(&in)), tries = fuzz_take(&in, fuzz_byte(&in));
    check_map(map, committed);
    uint8_t *map_bytes = fuzz_copy(map), *tries_bytes = fuzz_copy(tries);
    sg_window *w =
        load(committed, (seg_bytes){map_bytes, map.len}, (seg_bytes){tries_bytes, tries.len});
    if (w != NULL) {
        check_handed_on(w);
        check_raised(w, high, tries.len == 0);
        check_handed_on(w);
        live(w, in);
        check_handed_on(w);
    }
    sg_window_free(w);
    free(map_bytes);
    free(tries_bytes);
    return 0;
}
