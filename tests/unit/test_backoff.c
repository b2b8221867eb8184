/* test_backoff.c - waits grow, are jittered, and stay within their bounds. */
#include "core/backoff.h"

#include "test.h"

TEST(doubles_up_to_the_maximum_and_starts_over) {
    sg_rng rng = {test_seed()};
    sg_backoff b;
    sg_backoff_init(&b, 50, 2000);
    for (int round = 0; round < 2; round++) {
        int64_t full = 50;
        for (int i = 0; i < 200; i++) {
            int64_t wait = sg_backoff_next(&b, &rng);
            CHECK_GE(wait, full / 2);
            CHECK_LE(wait, full);
            full = full * 2 < 2000 ? full * 2 : 2000;
        }
        CHECK_EQ(b.tries, 200);
        sg_backoff_reset(&b);
        CHECK_EQ(b.tries, 0);
    }
}

TEST(is_jittered_over_the_whole_upper_half) {
    sg_rng rng = {test_seed()};
    sg_backoff b;
    sg_backoff_init(&b, 10, 10);
    bool seen[11] = {false};
    for (int i = 0; i < 5000; i++)
        seen[sg_backoff_next(&b, &rng)] = true;
    for (int i = 0; i <= 10; i++)
        CHECK_EQ(seen[i], i >= 5);
}

TEST(survives_any_bounds) {
    static const int64_t values[] = {INT64_MIN, -1, 0, 1, 2, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof values / sizeof values[0] };
    sg_rng rng = {test_seed()};
    for (int i = 0; i < N * N; i++) {
        sg_backoff b;
        sg_backoff_init(&b, values[i / N], values[i % N]);
        for (int k = 0; k < 200; k++) {
            int64_t wait = sg_backoff_next(&b, &rng);
            CHECK_GE(wait, 0);
            CHECK_LE(wait, b.max);
        }
        b.tries = UINT32_MAX;
        CHECK_GE(sg_backoff_next(&b, &rng), b.max / 2);
    }
}
