/* entries_rig.h - what the tests of XREAD's answers share: an answer that is made at random together
 * with what has to be read from it, and the ways to feed it. */
#ifndef SG_TEST_ENTRIES_RIG_H
#define SG_TEST_ENTRIES_RIG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/random.h"
#include "redis/entries.h"
#include "test.h"

enum { ASKED = 5, MOST = 6, SHOWN_MAX = 1 << 22 };

static const sg_fetch_from asked[ASKED] = {
    {"a", 1, 0}, {"bb", 1, 0}, {"ccc", 1, 0}, {"cc", 1, 0}, {"e", 1, 0}};

/* ---- What was read ------------------------------------------------------------------------ */

static inline void show_entry(sg_buf *out, size_t from, uint64_t era, uint64_t offset,
                              const void *value, size_t len, const char *why) {
    CHECK(sg_buf_printf(out, "%zu %" PRIu64 "-%" PRIu64, from, era, offset));
    if (why == NULL)
        CHECK(sg_buf_printf(out, " %zu:%08x\n", len, (unsigned)sg_crc32c(0, value, len)));
    else
        CHECK(sg_buf_printf(out, " %s\n", why));
}

static inline void show_all(sg_buf *out, const sg_entries *e) {
    sg_buf_clear(out);
    for (size_t i = 0; i < e->count; i++) {
        const sg_entry *x = &e->list[i];
        CHECK_EQ(x->block == NULL, x->why != NULL);
        show_entry(out, x->from, x->era, x->offset,
                   x->block != NULL ? sg_block_room(x->block) : NULL,
                   x->block != NULL ? x->block->len : 0, x->why);
    }
}

static inline void check_shows(const sg_entries *e, const sg_buf *expected) {
    sg_buf shown;
    sg_buf_init(&shown, SHOWN_MAX);
    show_all(&shown, e);
    CHECK_MEM(shown.data, shown.len, expected->data, expected->len);
    sg_buf_fini(&shown);
}

/* ---- Feeding ------------------------------------------------------------------------------ */

/* A piece, in a block of just its size. While more is wanted, all of it was used. */
static inline sg_entries_state feed_piece(sg_entries *e, const void *data, size_t n, size_t *used) {
    uint8_t *copy = n > 0 ? sg_memdup(data, n) : NULL;
    sg_entries_state state = sg_entries_feed(e, copy, n, used);
    CHECK_LE(*used, n);
    if (state == SG_ENTRIES_MORE)
        CHECK_EQ(*used, n);
    if (state == SG_ENTRIES_BROKEN)
        CHECK(e->fault != NULL && e->fault[0] != '\0');
    sg_free(copy);
    return state;
}

/* The first `cut` bytes, then `step` at a time (0: the rest). `*used`: of all. */
static inline sg_entries_state feed_steps(sg_entries *e, const uint8_t *data, size_t n, size_t cut,
                                          size_t step, size_t *used) {
    size_t at = 0, piece = cut, m;
    sg_entries_state state = SG_ENTRIES_MORE;
    while (state == SG_ENTRIES_MORE && at < n) {
        piece = piece == 0 || piece > n - at ? n - at : piece;
        state = feed_piece(e, data + at, piece, &m);
        at += m;
        piece = step;
    }
    *used = at;
    return state;
}

/* Cut at random, and what is in the middle of a value put into its place, or not. */
static inline sg_entries_state feed_random(sg_entries *e, const uint8_t *data, size_t n,
                                           sg_rng *rng, size_t *used) {
    static const size_t most[] = {1, 3, 20, 500, 100000};
    size_t at = 0, m;
    sg_entries_state state = SG_ENTRIES_MORE;
    uint64_t how = sg_rng_below(rng, 5);
    while (state == SG_ENTRIES_MORE && at < n) {
        uint8_t *to;
        size_t piece = sg_rng_below(rng, most[how] + 1), room = sg_entries_place(e, &to);
        piece = piece < n - at ? piece : n - at;
        if (room > 0 && sg_rng_below(rng, 2) > 0) {
            m = piece < room ? piece : room;
            memcpy(to, data + at, m);
            sg_entries_placed(e, m);
        } else {
            state = feed_piece(e, data + at, piece, &m);
        }
        at += m;
    }
    *used = at;
    return state;
}

/* ---- Answers ------------------------------------------------------------------------------ */

/* An answer, and what has to be read from it. */
typedef struct sample {
    sg_buf bytes, shown;
    size_t entries;
} sample;

static inline void sample_init(sample *s) {
    sg_buf_init(&s->bytes, SHOWN_MAX);
    sg_buf_init(&s->shown, SHOWN_MAX);
    s->entries = 0;
}

static inline void sample_fini(sample *s) {
    sg_buf_fini(&s->bytes);
    sg_buf_fini(&s->shown);
}

static inline void put_head(sg_buf *out, char type, size_t n) {
    CHECK(sg_buf_printf(out, "%c%zu\r\n", type, n));
}

static inline void put_string(sg_buf *out, const void *data, size_t n) {
    put_head(out, '$', n);
    CHECK(n == 0 || sg_buf_append(out, data, n));
    CHECK(sg_buf_str(out, "\r\n"));
}

static inline void put_text(sg_buf *out, const char *text) {
    put_string(out, text, strlen(text));
}

static inline void put_id(sg_buf *out, uint64_t era, uint64_t offset) {
    char id[48];
    snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, era, offset);
    put_text(out, id);
}

static inline void put_entry(sample *s, size_t from, uint64_t era, uint64_t offset,
                             const void *value, size_t len) {
    put_head(&s->bytes, '*', 2);
    put_id(&s->bytes, era, offset);
    put_head(&s->bytes, '*', 2);
    put_text(&s->bytes, "b");
    put_string(&s->bytes, value, len);
    show_entry(&s->shown, from, era, offset, value, len, NULL);
    s->entries++;
}

/* Values that are full of what may be taken for heads. */
static inline void fill(sg_rng *rng, uint8_t *value, size_t len) {
    static const char some[] = "\r\n*$-12b\r\n";
    for (size_t i = 0; i < len; i++)
        value[i] = sg_rng_below(rng, 2) > 0 ? (uint8_t)some[sg_rng_below(rng, sizeof some - 1)]
                                            : (uint8_t)sg_rng_next(rng);
}

/* All is as it has to be but the ID. */
static inline void put_strange(sg_rng *rng, sample *s, size_t from) {
    static const char *const ids[] = {"",
                                      "5",
                                      "1-",
                                      "-1",
                                      "1-2-3",
                                      "x-1",
                                      "1-x",
                                      "18446744073709551616-1",
                                      "11111111111111111111-222222222222222222222", /* of 42 */
                                      "11111111111111111111-2222222222222222222222"};
    put_head(&s->bytes, '*', 2);
    put_text(&s->bytes, ids[sg_rng_below(rng, sizeof ids / sizeof ids[0])]);
    put_head(&s->bytes, '*', 2);
    put_text(&s->bytes, "b");
    put_text(&s->bytes, "value");
    show_entry(&s->shown, from, 0, UINT64_MAX, "value", 5, NULL);
    s->entries++;
}

/* All is as it has to be but the fields. */
static inline void put_foreign(sg_rng *rng, sample *s, size_t from) {
    static const char *const names[] = {"", "bb", "c", "B", "a long name that is none of ours"};
    uint64_t n = sg_rng_below(rng, 6);
    put_head(&s->bytes, '*', 2);
    put_text(&s->bytes, "7-9");
    if (n == 5)
        CHECK(sg_buf_str(&s->bytes, "*-1\r\n"));
    else
        put_head(&s->bytes, '*', n);
    for (uint64_t i = 0; i < n && n < 5; i++) {
        bool b = n != 2 && sg_rng_below(rng, 2) > 0;
        put_text(&s->bytes, b ? "b" : names[sg_rng_below(rng, 5)]);
    }
    show_entry(&s->shown, from, 7, 9, NULL, 0, "its fields");
    s->entries++;
}

static inline void put_some(sg_rng *rng, sample *s, size_t from) {
    static const size_t sizes[] = {1, 2, 30, 200, 5000, 40000};
    static uint8_t value[40000];
    uint64_t what = sg_rng_below(rng, 8);
    if (what == 0) {
        put_strange(rng, s, from);
    } else if (what == 1) {
        put_foreign(rng, s, from);
    } else {
        size_t len = sg_rng_below(rng, sizes[sg_rng_below(rng, 6)]);
        fill(rng, value, len);
        uint64_t offset = sg_rng_below(rng, 8) > 0 ? sg_rng_below(rng, 1000) : UINT64_MAX - 1;
        put_entry(s, from, sg_rng_next(rng) >> sg_rng_below(rng, 64), offset, value, len);
    }
}

static inline void sample_make(sg_rng *rng, sample *s) {
    bool with[ASKED];
    size_t n = 0;
    sg_buf_clear(&s->bytes);
    sg_buf_clear(&s->shown);
    s->entries = 0;
    for (size_t i = 0; i < ASKED; i++) {
        with[i] = sg_rng_below(rng, 3) > 0;
        n += with[i];
    }
    if (n == 0) /* one there is */
        with[n++] = true;
    put_head(&s->bytes, '*', n);
    for (size_t i = 0; i < ASKED; i++) {
        if (!with[i])
            continue;
        size_t entries = sg_rng_below(rng, MOST + 1);
        put_head(&s->bytes, '*', 2);
        put_text(&s->bytes, asked[i].key);
        put_head(&s->bytes, '*', entries);
        for (size_t k = 0; k < entries; k++)
            put_some(rng, s, i);
    }
}

#endif
