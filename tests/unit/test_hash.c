/* test_hash.c - published vectors, and the two CRC-32C against each other. */
#include "base/hash.h"

#include <string.h>

#include "base/random.h"
#include "test.h"

TEST(fnv1a32_vectors) {
    CHECK_EQ(sg_fnv1a32(NULL, 0), 0x811c9dc5u);
    CHECK_EQ(sg_fnv1a32("a", 1), 0xe40c292cu);
    CHECK_EQ(sg_fnv1a32("foobar", 6), 0xbf9cf968u);
}

/* RFC 3720, appendix B.4, and the check value of the CRC catalogues. */
static void check_vectors(uint32_t (*crc32c)(uint32_t, const void *, size_t)) {
    uint8_t bytes[32];
    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
    CHECK_EQ(crc32c(0, NULL, 0), 0);
    memset(bytes, 0, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(31 - i);
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x113fdb5cu);
}

TEST(crc32c_vectors) {
    check_vectors(sg_crc32c);
}

TEST(crc32c_portable_vectors) {
    check_vectors(sg_crc32c_portable);
}

TEST(crc32c_is_one_whatever_computes_it_and_in_how_many_parts) {
    static uint8_t bytes[1024];
    sg_rng rng = {test_seed()};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)sg_rng_next(&rng);
    for (int i = 0; i < 20000; i++) {
        size_t from = sg_rng_below(&rng, 64);
        size_t len = sg_rng_below(&rng, i % 2 ? 40 : sizeof bytes - from);
        size_t cut = sg_rng_below(&rng, len + 1);
        uint32_t start = (uint32_t)sg_rng_next(&rng);
        uint32_t whole = sg_crc32c(start, bytes + from, len);
        CHECK_EQ(sg_crc32c_portable(start, bytes + from, len), whole);
        uint32_t part = sg_crc32c(start, bytes + from, cut);
        CHECK_EQ(sg_crc32c(part, bytes + from + cut, len - cut), whole);
    }
}
