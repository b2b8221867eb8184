/* test_status.c - the public functions that need no server. */
#include <segmenter/segmenter.h>
#include <stdio.h>
#include <string.h>

#include "core/partitioner.h"
#include "test.h"

TEST(version_is_one_whoever_is_asked) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", SEG_VERSION_MAJOR, SEG_VERSION_MINOR,
             SEG_VERSION_PATCH);
    CHECK_STR(seg_version(), SEG_VERSION_TEXT);
    CHECK_STR(seg_version(), text);
}

TEST(statuses_are_as_the_table_says) {
    int next = 0;
#define X(name, value, retriable, text)                                                            \
    CHECK_EQ(SEG_##name, next++); /* no value is left out */                                       \
    CHECK_STR(seg_status_name(SEG_##name), #name);                                                 \
    CHECK_STR(seg_status_text(SEG_##name), text);                                                  \
    CHECK_EQ(seg_status_retriable(SEG_##name), retriable);
    SEG_STATUS_MAP(X)
#undef X
    seg_status unknown[] = {(seg_status)next, (seg_status)999999};
    for (int i = 0; i < 2; i++) {
        CHECK_STR(seg_status_name(unknown[i]), "?");
        CHECK_STR(seg_status_text(unknown[i]), "unknown status");
        CHECK(!seg_status_retriable(unknown[i]));
    }
}

TEST(errors_have_the_frozen_layout) {
    CHECK_EQ(sizeof(seg_error), 512);
}

TEST(init_zeroes_and_sets_the_size) {
    seg_producer_options opts;
    memset(&opts, 0xff, sizeof opts);
    SEG_INIT(&opts);
    seg_producer_options expected = {.size = sizeof opts};
    CHECK_MEM(&opts, sizeof opts, &expected, sizeof expected);
    unsigned char small[sizeof(size_t)];
    memset(small, 0xff, sizeof small);
    seg_init(small, sizeof small - 1); /* no room for the size: only zeroed */
    for (size_t i = 0; i < sizeof small; i++)
        CHECK_EQ(small[i], i < sizeof small - 1 ? 0 : 0xff);
}

TEST(policies_have_names) {
    CHECK_STR(seg_on_full_name(SEG_BLOCK), "block");
    CHECK_STR(seg_on_full_name(SEG_FAIL), "reject");
    CHECK_STR(seg_on_full_name(SEG_DROP_OLDEST), "drop-oldest");
    CHECK(seg_on_full_name((seg_on_full)3) == NULL);
}

TEST(partition_is_fnv1a_modulo) {
    CHECK_EQ(seg_partition_of((seg_bytes){"foobar", 6}, 4096), 0xbf9cf968u % 4096);
    CHECK_EQ(seg_partition_of((seg_bytes){NULL, 0}, 7), 0x811c9dc5u % 7);
    CHECK_EQ(seg_partition_of((seg_bytes){"k", 1}, 1), 0);
    CHECK_EQ(seg_partition_of((seg_bytes){"k", 1}, 0), 0);
    CHECK_EQ(sg_partition_of("foobar", 6, 14), 0xbf9cf968u % 14);
}

TEST(numbered_keys_spread_evenly) {
    enum { KEYS = 100000, PARTITIONS = 16 };
    uint32_t count[PARTITIONS] = {0};
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "user-%d", i);
        count[sg_partition_of(key, (size_t)n, PARTITIONS)]++;
    }
    for (int i = 0; i < PARTITIONS; i++) {
        CHECK_GT(count[i], KEYS / PARTITIONS * 9 / 10);
        CHECK_LT(count[i], KEYS / PARTITIONS * 11 / 10);
    }
}
