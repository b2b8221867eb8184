/* test_batch.c - the record batch: round trips, the documented bytes, and hostile ones. */
#include "batch_rig.h"

TEST(round_trips) {
    sg_rng rng = {test_seed()};
    static sample s;
    for (int i = 0; i < 500; i++) {
        sg_batch_writer w;
        random_sample(&rng, &s);
        write_sample(&w, &s, 64u << 20);
        check_reads_back(&w, &s);
        sg_batch_writer_fini(&w);
    }
}

/* ---- The documented example --------------------------------------------------------------- */

TEST(the_documented_example_is_true) {
    uint8_t documented[256];
    size_t len = read_documented(1, documented, sizeof documented);
    CHECK_EQ(len, 67);
    sg_batch_writer w;
    static sample s;
    example(&s);
    write_sample(&w, &s, 1000);
    CHECK_MEM(w.buf.data, w.buf.len, documented, len);
    check_reads_back(&w, &s);
    sg_batch_writer_fini(&w);
}

/* ---- Limits ------------------------------------------------------------------------------- */

TEST(keeps_to_its_ceiling) {
    sg_batch_writer w;
    static sample s;
    example(&s);
    sg_batch_writer_init(&w, 20, NULL); /* no room even for the header */
    CHECK(!sg_batch_add(&w, &s.records[2]));
    CHECK_EQ(sg_batch_size(&w), 0);
    sg_batch_seal(&w, 0); /* of nothing: nothing */
    CHECK_EQ(w.buf.len, 0);
    sg_batch_writer_init(&w, 67, NULL);
    for (size_t i = 0; i < 3; i++)
        CHECK(sg_batch_add(&w, &s.records[i]));
    CHECK(!sg_batch_add(&w, &s.records[1]));
    CHECK_EQ(w.count, 3);
    sg_batch_seal(&w, 0);
    check_reads_back(&w, &s);
    sg_batch_writer_fini(&w);
    sg_batch_writer_fini(&w); /* as after init: allowed */
    CHECK(sg_batch_add(&w, &s.records[2]));
    sg_batch_writer_fini(&w);
}

TEST(absurd_lengths_do_not_overflow) {
    sg_batch_writer w;
    seg_record r = {.key = {"k", SIZE_MAX}, .value = {"v", SIZE_MAX}};
    CHECK_EQ(sg_batch_record_size(&r, 0), SIZE_MAX);
    sg_batch_writer_init(&w, SIZE_MAX, NULL);
    CHECK(!sg_batch_add(&w, &r));
    r.key.len = 0;
    r.value.len = SIZE_MAX - 30; /* the record alone fits a size_t, with the header it does not */
    CHECK(!sg_batch_add(&w, &r));
    CHECK_EQ(sg_batch_size(&w), 0);
    sg_batch_writer_fini(&w);
}

TEST(is_as_before_where_memory_fails) {
    static sample s;
    sg_rng rng = {test_seed()};
    for (int round = 0; round < 20; round++) {
        random_sample(&rng, &s);
        for (uint64_t n = 1; n < 40; n++) {
            sg_batch_writer w;
            sg_batch_writer_init(&w, 64u << 20, NULL);
            sg_alloc_fail_at(n, 0);
            for (size_t i = 0; i < s.n; i++) {
                size_t before = sg_batch_size(&w);
                if (!sg_batch_add(&w, &s.records[i])) {
                    CHECK_EQ(sg_batch_size(&w), before);
                    CHECK_EQ(w.count, i);
                    CHECK(sg_batch_add(&w, &s.records[i]));
                }
            }
            sg_alloc_fail_at(0, 0);
            sg_batch_seal(&w, 0);
            check_reads_back(&w, &s);
            sg_batch_writer_fini(&w);
        }
    }
}

/* ---- Hostile bytes ------------------------------------------------------------------------ */

TEST(no_changed_byte_is_accepted) {
    sg_batch_writer w;
    static sample s;
    example(&s);
    write_sample(&w, &s, 1000);
    CHECK(accepts(w.buf.data, w.buf.len));
    for (size_t i = 0; i < w.buf.len; i++)
        for (unsigned x = 1; x < 256; x++) {
            w.buf.data[i] ^= (uint8_t)x;
            if (accepts(w.buf.data, w.buf.len))
                FAIL("byte %zu, changed by %02x, was accepted", i, x);
            w.buf.data[i] ^= (uint8_t)x;
        }
    sg_batch_writer_fini(&w);
}

TEST(no_other_length_is_accepted) {
    sg_batch_writer w;
    static sample s;
    uint8_t longer[200] = {0};
    example(&s);
    write_sample(&w, &s, 1000);
    memcpy(longer, w.buf.data, w.buf.len);
    for (size_t len = 0; len < sizeof longer; len++)
        CHECK_EQ(accepts(longer, len), len == w.buf.len);
    sg_batch_reader r;
    CHECK(!sg_batch_open(&r, NULL, 0, 0, NULL));
    sg_batch_writer_fini(&w);
}

TEST(forged_bytes_are_survived) {
    sg_rng rng = {test_seed()};
    static sample s;
    int accepted = 0;
    for (int round = 0; round < 20; round++) {
        sg_batch_writer w;
        if (round == 0)
            example(&s);
        else
            random_sample(&rng, &s);
        write_sample(&w, &s, 64u << 20);
        for (int i = 0; i < 500; i++) {
            size_t cut = sg_rng_below(&rng, 4) > 0 ? 0 : sg_rng_below(&rng, w.buf.len - 24);
            size_t len = w.buf.len - cut;
            uint8_t *copy = sg_memdup(w.buf.data, len);
            for (uint64_t k = sg_rng_below(&rng, 4); k > 0; k--) {
                size_t at = SG_BATCH_HEADER + sg_rng_below(&rng, len - SG_BATCH_HEADER);
                copy[sg_rng_below(&rng, 8) > 0 ? at : 4 + at % 4] = (uint8_t)sg_rng_next(&rng);
            }
            forge(copy, len);
            accepted += accepts(copy, len);
            sg_free(copy);
        }
        sg_batch_writer_fini(&w);
    }
    CHECK_GT(accepted, 0); /* a changed byte of a value is a batch like any other */
}

TEST(random_bytes_are_survived) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 50000; i++) {
        uint8_t bytes[96] = "SB\x01";
        size_t len = SG_BATCH_HEADER + sg_rng_below(&rng, sizeof bytes - SG_BATCH_HEADER);
        put32(bytes + 4, 1 + (uint32_t)sg_rng_below(&rng, 3));
        for (size_t k = SG_BATCH_HEADER; k < len; k++) /* small ones make plausible lengths */
            bytes[k] = (uint8_t)(sg_rng_next(&rng) & (i % 2 ? 0x07 : 0xff));
        forge(bytes, len);
        accepts(bytes, len);
    }
}

/* What is told of one byte changed in the header, with size and CRC right. */
static const char *header_fault(size_t at, uint8_t value) {
    static uint8_t bytes[200];
    static const char *why;
    static sample s;
    sg_batch_reader r;
    sg_batch_writer w;
    example(&s);
    write_sample(&w, &s, sizeof bytes);
    memcpy(bytes, w.buf.data, w.buf.len);
    bytes[at] = value;
    forge(bytes, w.buf.len);
    CHECK(!sg_batch_open(&r, bytes, w.buf.len, 0, &why));
    sg_batch_writer_fini(&w);
    return why;
}

TEST(header_faults_are_told) {
    CHECK_CONTAINS(header_fault(1, 'C'), "\"SB\"");
    CHECK_CONTAINS(header_fault(2, 2), "version");
    CHECK_CONTAINS(header_fault(3, 3), "codec");
    CHECK_CONTAINS(header_fault(3, 0xff), "codec");
    CHECK_CONTAINS(header_fault(4, 0), "count");
    CHECK_CONTAINS(header_fault(4, 11), "count"); /* 43 bytes hold 10 records at most */
    CHECK_CONTAINS(header_fault(7, 0xff), "count");
}

/* However it is cut, the two halves read as the whole did. */
TEST(a_batch_is_cut_in_two) {
    enum { N = 7 };
    for (uint32_t n = 1; n < N; n++) {
        sg_batch_writer w, rest;
        sg_batch_writer_init(&w, 4096, NULL);
        sg_batch_writer_init(&rest, 4096, NULL);
        for (int i = 0; i < N; i++) {
            char value[3] = {(char)('a' + i), 0, (char)i};
            seg_record r;
            SEG_INIT(&r);
            r.key = (seg_bytes){"k", (size_t)(i % 2)};
            r.value = (seg_bytes){value, (size_t)i % 4};
            r.timestamp = 1000 + 7 * i;
            CHECK(sg_batch_add(&w, &r));
        }
        sg_batch_seal(&w, 5);
        CHECK(sg_batch_split(&w, n, &rest));
        sg_batch_seal(&w, 5);
        sg_batch_seal(&rest, 5);
        const sg_batch_writer *halves[] = {&w, &rest};
        int i = 0;
        for (size_t half = 0; half < 2; half++) {
            sg_batch_reader r;
            sg_record_view v;
            CHECK(sg_batch_open(&r, halves[half]->buf.data, halves[half]->buf.len, 5, NULL));
            CHECK_EQ(r.count, half == 0 ? n : N - n);
            for (; sg_batch_next(&r, &v) == 1; i++) {
                CHECK_EQ(v.timestamp, 1000 + 7 * i);
                CHECK_EQ(v.key.len, (size_t)(i % 2));
                CHECK_EQ(v.value.len, (size_t)i % 4);
            }
        }
        CHECK_EQ(i, N);
        sg_batch_writer_fini(&w);
        sg_batch_writer_fini(&rest);
    }
}
