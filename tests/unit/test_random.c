/* test_random.c - ids and the seeded generator. */
#include "base/random.h"

#include <string.h>

#include "test.h"

TEST(ids_are_32_hex_digits_and_differ) {
    char a[33], b[33];
    memset(a, 'x', sizeof a);
    CHECK(sg_random_id(a));
    CHECK(sg_random_id(b));
    CHECK_EQ(strlen(a), 32);
    CHECK_EQ(strspn(a, "0123456789abcdef"), 32);
    CHECK(strcmp(a, b) != 0);
}

TEST(bytes_fill_all_and_no_more) {
    static uint8_t bytes[5000], seen[5000];
    memset(seen, 0, sizeof seen);
    for (int round = 0; round < 8; round++) { /* a byte stays 0 in all with 2^-64 */
        memset(bytes, 0, sizeof bytes);
        CHECK(sg_random_bytes(bytes, sizeof bytes - 1));
        CHECK_EQ(bytes[sizeof bytes - 1], 0);
        for (size_t i = 0; i < sizeof bytes; i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof bytes - 1; i++)
        CHECK_NE(seen[i], 0);
    CHECK(sg_random_bytes(NULL, 0));
}

TEST(generator_is_splitmix64) {
    sg_rng r = {1234567};
    CHECK_EQ(sg_rng_next(&r), UINT64_C(6457827717110365317));
    CHECK_EQ(sg_rng_next(&r), UINT64_C(3203168211198807973));
    CHECK_EQ(sg_rng_next(&r), UINT64_C(9817491932198370423));
}

TEST(below_reaches_all_and_nothing_else) {
    sg_rng r = {test_seed()};
    uint32_t count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = sg_rng_below(&r, 7);
        CHECK_LT(v, 7);
        count[v]++;
    }
    for (int i = 0; i < 7; i++) { /* 10000 expected, sigma 93 */
        CHECK_GT(count[i], 9000);
        CHECK_LT(count[i], 11000);
    }
    CHECK_EQ(sg_rng_below(&r, 1), 0);
    CHECK_LT(sg_rng_below(&r, UINT64_MAX), UINT64_MAX);
}
