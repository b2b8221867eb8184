/* test_map.c - the hash map by example, against an array, and without memory. */
#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

static char things[70000]; /* what the maps point to */

TEST(puts_gets_replaces_and_removes) {
    sg_map m;
    sg_map_init(&m);
    CHECK(sg_map_get(&m, 0) == NULL);
    CHECK(sg_map_remove(&m, 0) == NULL);
    CHECK(sg_map_put(&m, 0, &things[0]));
    CHECK(sg_map_put(&m, UINT64_MAX, &things[1]));
    CHECK(sg_map_put(&m, 1, &things[2]));
    CHECK_EQ(m.count, 3);
    CHECK_PTR(sg_map_get(&m, 0), &things[0]);
    CHECK_PTR(sg_map_get(&m, UINT64_MAX), &things[1]);
    CHECK(sg_map_get(&m, 2) == NULL);
    CHECK(sg_map_put(&m, 0, &things[3]));
    CHECK_EQ(m.count, 3);
    CHECK_PTR(sg_map_remove(&m, 0), &things[3]);
    CHECK(sg_map_remove(&m, 0) == NULL);
    CHECK(sg_map_get(&m, 0) == NULL);
    CHECK_EQ(m.count, 2);
    sg_map_fini(&m);
    CHECK(m.slots == NULL);
    CHECK_EQ(m.count, 0);
    CHECK(sg_map_get(&m, 1) == NULL);
    CHECK(sg_map_put(&m, 1, &things[4])); /* as after init */
    CHECK_PTR(sg_map_get(&m, 1), &things[4]);
    sg_map_fini(&m);
}

TEST(walks_over_each_once) {
    sg_map m = {0};
    bool seen[100] = {false};
    size_t at = 0, n = 0;
    uint64_t key;
    void *value;
    CHECK(!sg_map_next(&m, &at, &key, &value));
    for (uint64_t k = 0; k < 100; k++)
        CHECK(sg_map_put(&m, k << 40, &things[k]));
    for (at = 0; sg_map_next(&m, &at, &key, &value); n++) {
        CHECK_LT(key >> 40, 100);
        CHECK_PTR(value, &things[key >> 40]);
        CHECK(!seen[key >> 40]);
        seen[key >> 40] = true;
    }
    CHECK_EQ(n, 100);
    CHECK(!sg_map_next(&m, &at, &key, &value));
    sg_map_fini(&m);
}

/* Rows of keys that a poor hash puts into one place: `step` apart, each power of two. */
TEST(holds_many_keys_of_every_step_and_gives_memory_back) {
    for (unsigned shift = 0; shift < 64; shift++) {
        sg_map m = {0};
        uint64_t n = shift <= 47 ? 65536 : UINT64_C(1) << (64 - shift);
        n = test_sanitized() && n > 4096 ? 4096 : n;
        for (uint64_t k = 0; k < n; k++)
            CHECK(sg_map_put(&m, k << shift, &things[k]));
        CHECK_EQ(m.count, n);
        CHECK_GE(m.size, 2 * n);
        CHECK_LE(m.size, n > 8 ? 2 * n : 16);
        for (uint64_t k = 0; k < n; k++)
            CHECK_PTR(sg_map_get(&m, k << shift), &things[k]);
        for (uint64_t k = n; k-- > 0;) {
            CHECK_PTR(sg_map_remove(&m, k << shift), &things[k]);
            CHECK_LE(m.size, m.count > 1 ? 8 * m.count : 16);
        }
        CHECK_EQ(m.size, 16);
        sg_map_fini(&m);
    }
}

/* One that comes and goes at the edge of a size must not cost a new table each time. */
TEST(keeps_its_size_at_an_edge) {
    sg_map m = {0};
    for (uint64_t edge = 0; edge < 600; edge++) {
        CHECK(sg_map_put(&m, edge, &things[edge]));
        CHECK(sg_map_remove(&m, edge) != NULL);
        sg_alloc_fail_at(0, 0);
        for (uint64_t i = 0; i < 50; i++) {
            CHECK(sg_map_put(&m, 1000 + i, &things[0]));
            CHECK(sg_map_remove(&m, 1000 + i) != NULL);
        }
        CHECK_LE(sg_alloc_fail_at(0, 0), 1);
        CHECK(sg_map_put(&m, edge, &things[edge]));
    }
    sg_map_fini(&m);
}

/* ---- Against an array ---------------------------------------------------------------------- */

#define KEYS 300

static void check_all(const sg_map *m, uint64_t factor, void *const *model) {
    size_t count = 0, walked = 0, at = 0;
    uint64_t key;
    void *value;
    for (uint64_t k = 0; k < KEYS; k++) {
        CHECK_PTR(sg_map_get(m, k * factor), model[k]);
        count += model[k] != NULL;
    }
    while (sg_map_next(m, &at, &key, &value))
        walked++;
    CHECK_EQ(m->count, count);
    CHECK_EQ(walked, count);
    CHECK(m->size == 0 || (m->size & (m->size - 1)) == 0);
    CHECK_LE(2 * count, m->size);
}

static void random_step(sg_map *m, sg_rng *rng, uint64_t factor, bool fill, void **model) {
    uint64_t k = sg_rng_below(rng, KEYS);
    bool starve = sg_rng_below(rng, 8) == 0;
    if (starve)
        sg_alloc_fail_at(1, 1);
    if (sg_rng_below(rng, 100) < (fill ? 70 : 30)) {
        void *value = &things[sg_rng_below(rng, sizeof things)];
        bool ok = sg_map_put(m, k * factor, value);
        CHECK(ok || (starve && model[k] == NULL));
        model[k] = ok ? value : model[k];
    } else {
        CHECK_PTR(sg_map_remove(m, k * factor), model[k]);
        model[k] = NULL;
    }
    sg_alloc_fail_at(0, 0);
}

TEST(behaves_as_an_array) {
    sg_rng rng = {test_seed()};
    for (int sequence = 0; sequence < 20; sequence++) {
        void *model[KEYS] = {NULL};
        sg_map m;
        sg_map_init(&m);
        uint64_t factor = sg_rng_next(&rng) | 1; /* odd: the keys differ */
        for (int i = 0; i < 2000; i++) {
            random_step(&m, &rng, factor, i / 400 % 2 == 0, model);
            if (i % 10 == 0)
                check_all(&m, factor, model);
        }
        sg_map_fini(&m);
    }
}

/* ---- Memory ------------------------------------------------------------------------------- */

TEST(is_as_before_where_memory_fails) {
    sg_map m = {0};
    sg_alloc_fail_at(1, 1);
    CHECK(!sg_map_put(&m, 7, &things[7]));
    sg_alloc_fail_at(0, 0);
    CHECK(m.slots == NULL);
    CHECK_EQ(m.count, 0);
    for (uint64_t k = 0; k < 64; k++)
        CHECK(sg_map_put(&m, k, &things[k])); /* full: the next one makes it grow */
    sg_alloc_fail_at(1, 1);
    CHECK(!sg_map_put(&m, 64, &things[64]));
    CHECK(sg_map_put(&m, 63, &things[1000])); /* replaced without memory */
    CHECK(sg_map_get(&m, 64) == NULL);
    CHECK_EQ(m.count, 64);
    for (uint64_t k = 2; k < 64; k++) /* and removed: it stays too large */
        CHECK_PTR(sg_map_remove(&m, k), &things[k == 63 ? 1000 : k]);
    CHECK_EQ(m.size, 128);
    sg_alloc_fail_at(0, 0);
    CHECK_PTR(sg_map_remove(&m, 1), &things[1]);
    CHECK_EQ(m.size, 64);
    CHECK_PTR(sg_map_get(&m, 0), &things[0]);
    sg_map_fini(&m);
}

/* Two maps with the same keys put them in different places: nobody can know them in advance. */
TEST(places_depend_on_a_seed) {
    sg_map a = {0}, b = {0};
    int same = 0;
    for (uint64_t k = 0; k < 64; k++)
        CHECK(sg_map_put(&a, k, &things[k]) && sg_map_put(&b, k, &things[k]));
    size_t at_a = 0, at_b = 0;
    uint64_t key_a, key_b;
    void *value;
    while (sg_map_next(&a, &at_a, &key_a, &value) && sg_map_next(&b, &at_b, &key_b, &value))
        same += key_a == key_b;
    CHECK_LT(same, 32);
    sg_map_fini(&a);
    sg_map_fini(&b);
}
