/* test_buf.c - the growing buffer and varints. */
#include "base/buf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

TEST(appends) {
    sg_buf b;
    sg_buf_init(&b, 1000);
    CHECK(b.data == NULL);
    CHECK(sg_buf_append(&b, NULL, 0));
    CHECK(sg_buf_str(&b, "one "));
    CHECK(sg_buf_byte(&b, '2'));
    CHECK(sg_buf_printf(&b, " %s %d", "three", 4));
    CHECK(sg_buf_varint(&b, 300));
    CHECK_MEM(b.data, b.len, "one 2 three 4\xac\x02", 15);
    sg_buf_fini(&b);
    CHECK(b.data == NULL);
    CHECK_EQ(b.len, 0);
    CHECK(sg_buf_str(&b, "as after init"));
    sg_buf_fini(&b);
}

TEST(keeps_to_its_ceiling) {
    sg_buf b;
    sg_buf_init(&b, 10);
    CHECK(sg_buf_str(&b, "12345678"));
    CHECK(!sg_buf_append(&b, "abc", 3));
    CHECK(!sg_buf_varint(&b, 1u << 20));
    CHECK(!sg_buf_printf(&b, "%d", 100));
    CHECK(!sg_buf_reserve(&b, 3));
    CHECK(!sg_buf_reserve(&b, SIZE_MAX));
    CHECK_MEM(b.data, b.len, "12345678", 8);
    CHECK(sg_buf_printf(&b, "%d", 99));
    CHECK(sg_buf_append(&b, NULL, 0));
    CHECK(sg_buf_reserve(&b, 0));
    CHECK(!sg_buf_byte(&b, 'x'));
    CHECK_MEM(b.data, b.len, "1234567899", 10);
    sg_buf_fini(&b);
}

TEST(drops_clears_and_hands_over) {
    sg_buf b;
    size_t len = 7;
    sg_buf_init(&b, 1000);
    sg_buf_drop(&b, 5); /* of nothing */
    CHECK(sg_buf_take(&b, &len) == NULL);
    CHECK_EQ(len, 0);
    CHECK(sg_buf_str(&b, "abcdef"));
    sg_buf_drop(&b, 0);
    sg_buf_drop(&b, 2);
    CHECK_MEM(b.data, b.len, "cdef", 4);
    uint8_t *data = sg_buf_take(&b, &len);
    CHECK_MEM(data, len, "cdef", 4);
    CHECK(b.data == NULL);
    sg_free(data);
    CHECK(sg_buf_str(&b, "xyz"));
    sg_buf_drop(&b, 100);
    CHECK_EQ(b.len, 0);
    CHECK(sg_buf_str(&b, "xyz"));
    sg_buf_clear(&b);
    CHECK_EQ(b.len, 0);
    sg_buf_fini(&b);
}

TEST(gives_back_what_is_not_used) {
    sg_buf b;
    sg_buf_init(&b, 1000);
    sg_buf_trim(&b);
    CHECK(b.data == NULL);
    CHECK(sg_buf_reserve(&b, 500));
    CHECK(sg_buf_str(&b, "few"));
    sg_alloc_fail_at(1, 0);
    sg_buf_trim(&b);
    CHECK_EQ(b.cap, 500);
    sg_buf_trim(&b);
    CHECK_EQ(b.cap, 3);
    CHECK(sg_buf_str(&b, " more"));
    CHECK_MEM(b.data, b.len, "few more", 8);
    sg_buf_fini(&b);
}

TEST(is_as_before_where_memory_fails) {
    sg_buf b;
    sg_buf_init(&b, 100000);
    CHECK(sg_buf_str(&b, "before"));
    static const char large[5000];
    sg_alloc_fail_at(1, 1);
    CHECK(!sg_buf_append(&b, large, sizeof large));
    CHECK(!sg_buf_printf(&b, "%5000d", 1));
    CHECK(!sg_buf_reserve(&b, sizeof large));
    sg_alloc_fail_at(0, 0);
    CHECK_MEM(b.data, b.len, "before", 6);
    sg_buf_fini(&b);
}

TEST(grows_seldom) {
    sg_buf b;
    sg_buf_init(&b, 1u << 20);
    sg_alloc_fail_at(0, 0);
    for (uint32_t i = 0; i < 1u << 20; i++)
        CHECK(sg_buf_byte(&b, (uint8_t)i));
    CHECK_LE(sg_alloc_fail_at(0, 0), 16);
    CHECK(!sg_buf_byte(&b, 0));
    CHECK_EQ(b.cap, b.max);
    sg_buf_fini(&b);
}

static void check_varint(uint64_t v) {
    uint8_t bytes[10];
    uint64_t back = ~v;
    size_t n = sg_varint_write(bytes, v);
    CHECK_EQ(n, sg_varint_size(v));
    CHECK_EQ(sg_varint_read(bytes, bytes + n, &back), n);
    CHECK_EQ(back, v);
    for (size_t cut = 0; cut < n; cut++)
        CHECK_EQ(sg_varint_read(bytes, bytes + cut, &back), 0);
}

TEST(varints_round_trip) {
    for (unsigned bit = 0; bit < 64; bit++) {
        check_varint((UINT64_C(1) << bit) - 1);
        check_varint(UINT64_C(1) << bit);
    }
    check_varint(UINT64_MAX);
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 100000; i++)
        check_varint(sg_rng_next(&rng) >> sg_rng_below(&rng, 64));
}

TEST(varints_over_64_bits_are_refused) {
    uint64_t v = 42;
    static const uint8_t max[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    static const uint8_t over[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2};
    static const uint8_t endless[] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0};
    CHECK_EQ(sg_varint_read(max, max + sizeof max, &v), 10);
    CHECK_EQ(v, UINT64_MAX);
    CHECK_EQ(sg_varint_read(over, over + sizeof over, &v), 0);
    CHECK_EQ(sg_varint_read(endless, endless + sizeof endless, &v), 0);
}

TEST(zigzag_round_trips) {
    static const int64_t some[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
    static const uint64_t zigzags[] = {0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        CHECK_EQ(sg_zigzag(some[i]), zigzags[i]);
        CHECK_EQ(sg_unzigzag(zigzags[i]), some[i]);
    }
}
