/* Pieces of memory that are kept for the next one who asks. */
#include "base/pool.h"

#include <string.h>

#include "base/alloc.h"
#include "test.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

TEST(pieces_are_as_large_as_asked_for) {
    static const size_t sizes[] = {0,        1,       100,     8 * KIB - 1, 8 * KIB, 8 * KIB + 1,
                                   64 * KIB, MIB + 1, 4 * MIB, 4 * MIB + 1, 9 * MIB};
    sg_pool *p = sg_pool_new(16 * MIB);
    CHECK(p != NULL);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint8_t *piece = sg_pool_take(p, sizes[i]);
            CHECK(piece != NULL);
            CHECK_LE(sizes[i], sg_pool_room(piece));
            memset(piece, 0xff, sg_pool_room(piece));
            sg_pool_give(piece);
        }
    sg_pool_give(NULL);
    sg_pool_free(p);
    sg_pool_free(NULL);
}

TEST(pieces_outlive_their_pool) {
    sg_pool *p = sg_pool_new(MIB);
    uint8_t *a = sg_pool_take(p, 20 * KIB), *b = sg_pool_take(p, 20 * KIB);
    sg_pool_give(a);
    sg_pool_free(p);
    memset(b, 1, 20 * KIB);
    sg_pool_give(b); /* and the pool goes: the leak checker would tell */
}

TEST(growing_keeps_what_is_there) {
    sg_pool *p = sg_pool_new(MIB);
    uint8_t *a = sg_pool_grow(p, NULL, 0, 10);
    memcpy(a, "0123456789", 10);
    for (size_t size = 20; size < 2 * MIB; size *= 3) {
        a = sg_pool_grow(p, a, 10, size);
        CHECK(a != NULL);
        CHECK(memcmp(a, "0123456789", 10) == 0);
        CHECK_LE(size, sg_pool_room(a));
    }
    sg_alloc_fail_at(1, 1);
    CHECK(sg_pool_grow(p, a, 10, 9 * MIB) == NULL);
    CHECK(sg_pool_take(p, 3 * MIB) == NULL);
    sg_alloc_fail_at(0, 0);
    CHECK(memcmp(a, "0123456789", 10) == 0);
    sg_pool_give(a);
    sg_pool_free(p);
}
