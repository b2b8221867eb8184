/* test_codec.c - compressed record batches: round trips, the documented bytes, what does not shrink,
 * hostile bytes and sizes, and memory that is not there. */
#include "core/codec.h"

#include <zstd.h>

#include "batch_rig.h"

static const seg_codec all[] = {SEG_LZ4, SEG_ZSTD};
enum { CODECS = 2, MIB = 1 << 20 };

/* Bytes that compress: a few bits each. */
static void dull_pool(sg_rng *rng) {
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t) "segment "[sg_rng_next(rng) & 7];
}

/* The four records of docs/protocol.md that compress. */
static void doors(sample *s) {
    static const char *const values[] = {"door 12 opened", "door 12 closed"};
    memset(s, 0, sizeof *s);
    s->n = 4;
    for (size_t i = 0; i < s->n; i++)
        s->records[i] = (seg_record){.key = BYTES("door-12"),
                                     .value = {values[i % 2], 14},
                                     .timestamp = 1700000000000 + 1000 * (int64_t)i};
}

static seg_bytes pack(sg_batch_writer *w, const sample *s, seg_codec codec) {
    write_sample(w, s, 64u << 20);
    sg_batch_pack(w, 0, codec, &codecs);
    return sg_batch_bytes(w);
}

/* One record of bytes that do not compress. */
static void noise(sg_rng *rng, sample *s) {
    random_sample(rng, s);
    s->n = 1;
    s->records[0].key.len = s->records[0].n_headers = 0;
    s->records[0].value = (seg_bytes){pool, 1 + sg_rng_below(rng, sizeof pool)};
}

/* ---- Round trips -------------------------------------------------------------------------- */

TEST(round_trips) {
    sg_rng rng = {test_seed()};
    static sample s;
    unsigned packed[CODECS] = {0}, plain[CODECS] = {0};
    for (int i = 0; i < 300; i++) {
        sg_batch_writer w;
        seg_codec codec = all[i % CODECS];
        random_sample(&rng, &s);
        if (i % 8 < CODECS)
            noise(&rng, &s);
        else if (sg_rng_below(&rng, 4) > 0)
            dull_pool(&rng);
        seg_bytes b = pack(&w, &s, codec);
        const uint8_t *bytes = b.data;
        if (bytes[3] == SEG_PLAIN) {
            CHECK_EQ(b.len, w.buf.len);
            plain[i % CODECS]++;
        } else {
            CHECK_EQ(bytes[3], codec);
            CHECK_LT(b.len, w.buf.len);
            packed[i % CODECS]++;
        }
        CHECK_EQ(sg_batch_weight(b.data, b.len), w.buf.len);
        check_reads(b, &s);
        sg_batch_writer_fini(&w);
    }
    for (size_t k = 0; k < CODECS; k++) {
        CHECK_GT(packed[k], 20);
        CHECK_GT(plain[k], 30);
    }
}

TEST(names) {
    CHECK_STR(seg_codec_name(SEG_PLAIN), "plain");
    CHECK_STR(seg_codec_name(SEG_LZ4), "lz4");
    CHECK_STR(seg_codec_name(SEG_ZSTD), "zstd");
    CHECK(seg_codec_name((seg_codec)3) == NULL);
    CHECK(seg_codec_name((seg_codec)-1) == NULL);
}

/* It is as if there were no codec: the same bytes. */
TEST(what_does_not_shrink_is_stored_plain) {
    sg_rng rng = {test_seed()};
    static sample s;
    for (size_t n = 0; n < 300; n++) {
        sg_batch_writer w;
        noise(&rng, &s);
        s.records[0].value.len = n;
        pack(&w, &s, all[n % CODECS]);
        CHECK_EQ(w.packed.len, 0);
        CHECK_PTR(sg_batch_bytes(&w).data, w.buf.data);
        check_reads_back(&w, &s);
        sg_batch_writer_fini(&w);
    }
}

TEST(what_was_packed_may_change_and_is_packed_again) {
    sg_rng rng = {test_seed()};
    static sample s, head, tail;
    random_sample(&rng, &s);
    dull_pool(&rng);
    s.n = MAX_RECORDS;
    for (size_t i = 0; i < s.n; i++)
        s.records[i] = (seg_record){.value = {pool + 100 * i, 100}, .timestamp = (int64_t)i};
    for (uint32_t n = 1; n < s.n; n++) {
        sg_batch_writer w, rest;
        pack(&w, &s, all[n % CODECS]);
        CHECK_GT(w.packed.len, 0);
        sg_batch_writer_init(&rest, 64u << 20, NULL);
        CHECK(sg_batch_split(&w, n, &rest));
        sg_batch_pack(&w, 0, SEG_ZSTD, &codecs);
        sg_batch_pack(&rest, 0, SEG_LZ4, &codecs);
        head = tail = s;
        head.n = n;
        tail.n = s.n - n;
        memmove(tail.records, s.records + n, tail.n * sizeof *s.records);
        check_reads_back(&w, &head);
        check_reads_back(&rest, &tail);
        sg_batch_seal(&rest, 0);
        CHECK_PTR(sg_batch_bytes(&rest).data, rest.buf.data);
        check_reads_back(&rest, &tail);
        sg_batch_writer_fini(&w);
        sg_batch_writer_fini(&rest);
    }
}

/* ---- The document ------------------------------------------------------------------------- */

/* What a compressor makes of the same records is its own affair, and that of its version. */
TEST(the_documented_examples_are_true) {
    static sample s;
    doors(&s);
    for (unsigned k = 0; k < CODECS; k++) {
        uint8_t documented[256];
        sg_batch_writer w;
        size_t len = read_documented(2 + k, documented, sizeof documented);
        CHECK_EQ(len, k == 0 ? 81 : 85);
        CHECK_EQ(documented[3], all[k]);
        check_reads((seg_bytes){documented, len}, &s);
        seg_bytes b = pack(&w, &s, all[k]);
        CHECK_LT(b.len, w.buf.len);
        CHECK_MEM(b.data, 20, documented, 20);
        sg_batch_writer_fini(&w);
    }
}

/* ---- Hostile bytes ------------------------------------------------------------------------ */

TEST(no_changed_byte_is_accepted) {
    static sample s;
    doors(&s);
    for (size_t k = 0; k < CODECS; k++) {
        sg_batch_writer w;
        uint8_t bytes[200];
        seg_bytes b = pack(&w, &s, all[k]);
        memcpy(bytes, b.data, b.len);
        CHECK(accepts(bytes, b.len));
        for (size_t i = 0; i < b.len; i++)
            for (unsigned x = 1; x < 256; x++) {
                bytes[i] ^= (uint8_t)x;
                if (accepts(bytes, b.len))
                    FAIL("byte %zu, changed by %02x, was accepted", i, x);
                bytes[i] ^= (uint8_t)x;
            }
        for (size_t len = 0; len < sizeof bytes; len++)
            CHECK_EQ(accepts(bytes, len), len == b.len);
        sg_batch_writer_fini(&w);
    }
}

/* With a CRC that is right: each bit, and each end. What is accepted is records like any others. */
TEST(forged_bytes_are_survived) {
    sg_rng rng = {test_seed()};
    static sample s;
    for (int round = 0; round < 20; round++) {
        sg_batch_writer w;
        random_sample(&rng, &s);
        dull_pool(&rng);
        s.n = s.n > 4 ? 4 : s.n;
        if (round < 2)
            doors(&s);
        seg_bytes b = pack(&w, &s, all[round % CODECS]);
        size_t most = round < 2 ? 8 * b.len : 100;
        for (size_t i = 0; i < most; i++) {
            size_t bit = round < 2 ? i : sg_rng_below(&rng, 8 * b.len);
            uint8_t *copy = sg_memdup(b.data, b.len);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            forge(copy, b.len);
            accepts(copy, b.len);
            sg_free(copy);
        }
        for (size_t i = 0; i < 50; i++) {
            size_t len = SG_BATCH_HEADER + sg_rng_below(&rng, b.len - SG_BATCH_HEADER);
            uint8_t *copy = sg_memdup(b.data, len);
            forge(copy, len);
            CHECK_EQ(accepts(copy, len) && copy[3] != SEG_PLAIN, false);
            sg_free(copy);
        }
        sg_batch_writer_fini(&w);
    }
}

TEST(random_bytes_are_survived) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 50000; i++) {
        uint8_t bytes[96] = "SB\x01";
        size_t len = SG_BATCH_HEADER + sg_rng_below(&rng, sizeof bytes - SG_BATCH_HEADER);
        bytes[3] = (uint8_t)all[i % CODECS];
        put32(bytes + 4, 1 + (uint32_t)sg_rng_below(&rng, 3));
        put32(bytes + 16, (uint32_t)sg_rng_below(&rng, 200));
        for (size_t k = SG_BATCH_HEADER; k < len; k++)
            bytes[k] = (uint8_t)(sg_rng_next(&rng) & (i % 4 > 1 ? 0x17 : 0xff));
        if (i % 3 == 0 && len > SG_BATCH_HEADER + 6)
            memcpy(bytes + SG_BATCH_HEADER, "\x28\xb5\x2f\xfd\x20", 5);
        forge(bytes, len);
        accepts(bytes, len);
    }
}

/* What is told of one that is changed at one place, its CRC right. */
static const char *fault_of(seg_codec codec, size_t at, uint32_t value) {
    static uint8_t bytes[200];
    static const char *why;
    static sample s;
    sg_batch_reader r;
    sg_batch_writer w;
    void *own;
    doors(&s);
    seg_bytes b = pack(&w, &s, codec);
    memcpy(bytes, b.data, b.len);
    put32(bytes + at, value);
    forge(bytes, b.len);
    CHECK(!sg_batch_load(&r, bytes, b.len, 0, &codecs, &own, &why));
    CHECK(why != NULL);
    sg_free(own);
    sg_batch_writer_fini(&w);
    return why;
}

/* Before anything is allocated, where the header alone tells. */
TEST(sizes_are_bounded) {
    for (size_t k = 0; k < CODECS; k++) {
        sg_alloc_fail_at(0, 0);
        CHECK_CONTAINS(fault_of(all[k], 16, (uint32_t)SG_BATCH_SIZE_MAX + 1), "65 MiB");
        CHECK_CONTAINS(fault_of(all[k], 16, UINT32_MAX), "65 MiB");
        CHECK_CONTAINS(fault_of(all[k], 16, 3), "count");
        CHECK_CONTAINS(fault_of(all[k], 4, 0), "count");
        CHECK_CONTAINS(fault_of(all[k], 4, 26), "count");
        CHECK_CONTAINS(fault_of(all[k], 16, 104), "decompressed");
        CHECK_CONTAINS(fault_of(all[k], 16, 102), "decompressed");
        CHECK_CONTAINS(fault_of(all[k], 16, (uint32_t)SG_BATCH_SIZE_MAX), "decompressed");
    }
    uint8_t bytes[SG_BATCH_HEADER + 1] = "SB\x01\x01";
    sg_batch_reader r;
    const char *why;
    put32(bytes + 4, SG_BATCH_COUNT_MAX + 1);
    put32(bytes + 16, 4 * (SG_BATCH_COUNT_MAX + 1));
    CHECK(!sg_batch_open(&r, bytes, sizeof bytes, 0, &why));
    CHECK_CONTAINS(why, "65536 records");
    put32(bytes + 4, SG_BATCH_COUNT_MAX);
    CHECK(!sg_batch_open(&r, bytes, sizeof bytes, 0, &why));
    CHECK_CONTAINS(why, "CRC");
}

TEST(what_a_batch_weighs) {
    uint8_t bytes[40] = "SB\x01\x02";
    put32(bytes + 16, 1000);
    CHECK_EQ(sg_batch_weight(bytes, sizeof bytes), 1024);
    put32(bytes + 16, (uint32_t)SG_BATCH_SIZE_MAX);
    CHECK_EQ(sg_batch_weight(bytes, sizeof bytes), SG_BATCH_HEADER + SG_BATCH_SIZE_MAX);
    put32(bytes + 16, (uint32_t)SG_BATCH_SIZE_MAX + 1);
    CHECK_EQ(sg_batch_weight(bytes, sizeof bytes), sizeof bytes);
    put32(bytes + 16, 1000);
    bytes[3] = SEG_PLAIN;
    CHECK_EQ(sg_batch_weight(bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(sg_batch_weight(bytes, 23), 23);
    CHECK_EQ(sg_batch_weight("nothing of ours, but long enough", 32), 32);
    CHECK_EQ(sg_batch_weight(NULL, 0), 0);
    int64_t time = 5;
    CHECK(sg_batch_time(bytes, SG_BATCH_HEADER, &time));
    CHECK(!sg_batch_time(bytes, SG_BATCH_HEADER - 1, &time));
    CHECK(!sg_batch_time(NULL, 0, &time));
}

/* ---- Large ones --------------------------------------------------------------------------- */

/* The largest message, and that as a dead letter, in any of the ways in which its bytes may be cut
 * into headers, is no more than a compressed batch may hold. */
TEST(the_largest_message_may_be_compressed) {
    enum { PAIRS = 65535 + 10 };
    const size_t most = 64 * (size_t)MIB + 2048;
    seg_bytes *headers = sg_calloc(2 * PAIRS, sizeof *headers);
    static const size_t lengths[] = {0, 127, 128, 511, 16383, 16384, 65535};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        size_t left = most;
        for (size_t i = 0; i < 2 * PAIRS; i++) {
            headers[i].len = lengths[k] < left ? lengths[k] : left;
            left -= headers[i].len;
        }
        seg_record r = {.headers = headers, .n_headers = PAIRS, .timestamp = INT64_MAX};
        r.key.len = left < 65536 ? left : 65536;
        r.value.len = left - r.key.len;
        CHECK_LE(sg_batch_record_size(&r, INT64_MIN), SG_BATCH_SIZE_MAX);
    }
    sg_free(headers);
}

/* Highly compressible data is no attack. */
TEST(a_few_bytes_may_stand_for_many) {
    static sample s;
    void *zeros = sg_calloc(16 * MIB, 1);
    memset(&s, 0, sizeof s);
    s.n = 1;
    s.records[0].value = (seg_bytes){zeros, 16 * MIB};
    for (size_t k = 0; k < CODECS; k++) {
        sg_batch_writer w;
        seg_bytes b = pack(&w, &s, all[k]);
        CHECK_LT(b.len, k == 0 ? 70000 : 2000);
        check_reads(b, &s);
        sg_batch_writer_fini(&w);
    }
    sg_free(zeros);
}

TEST(more_records_than_a_compressed_batch_may_hold_are_stored_plain) {
    sg_batch_writer w;
    sg_batch_writer_init(&w, 64u << 20, NULL);
    seg_record r = {.timestamp = 1};
    for (uint32_t i = 0; i < SG_BATCH_COUNT_MAX; i++)
        CHECK(sg_batch_add(&w, &r));
    sg_batch_pack(&w, 0, SEG_LZ4, &codecs);
    CHECK(accepts(w.packed.data, w.packed.len));
    CHECK(sg_batch_add(&w, &r));
    sg_batch_pack(&w, 0, SEG_LZ4, &codecs);
    CHECK_EQ(w.packed.len, 0);
    CHECK(accepts(w.buf.data, w.buf.len));
    sg_batch_writer_fini(&w);
}

/* ---- Frames ------------------------------------------------------------------------------- */

enum { CONTENT = 3000 };
static uint8_t content[CONTENT], frame[2 * CONTENT];

static sg_codec_outcome unpack(const void *bytes, size_t n, size_t size) {
    uint8_t *copy = sg_memdup(bytes, n), *out = sg_alloc(size);
    sg_codec_outcome outcome = sg_codec_decompress(&codecs, SEG_ZSTD, out, size, copy, n);
    CHECK(outcome != SG_CODEC_DONE || memcmp(out, content, size) == 0);
    sg_free(copy);
    sg_free(out);
    return outcome;
}

/* What another implementation writes may differ from what ours does. */
TEST(a_frame_may_lack_its_size_and_have_a_checksum) {
    ZSTD_CCtx *c = ZSTD_createCCtx();
    for (int size = 0; size < 2; size++)
        for (int sum = 0; sum < 2; sum++) {
            ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, size);
            ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, sum);
            size_t n = ZSTD_compress2(c, frame, sizeof frame, content, CONTENT);
            CHECK_EQ(unpack(frame, n, CONTENT), SG_CODEC_DONE);
            CHECK_EQ(unpack(frame, n, CONTENT - 1), SG_CODEC_DAMAGED);
            CHECK_EQ(unpack(frame, n, CONTENT + 1), SG_CODEC_DAMAGED);
        }
    ZSTD_freeCCtx(c);
}

/* Nor may anything be but one frame. */
TEST(what_is_more_than_a_frame_is_refused) {
    size_t n = ZSTD_compress(frame, sizeof frame, content, CONTENT / 2, 1);
    CHECK_EQ(unpack(frame, n, CONTENT / 2), SG_CODEC_DONE);
    CHECK_EQ(unpack(frame, 0, CONTENT), SG_CODEC_DAMAGED);
    memcpy(frame + n, frame, n);
    CHECK_EQ(unpack(frame, 2 * n, CONTENT), SG_CODEC_DAMAGED);
    memcpy(frame + n, "\x50\x2a\x4d\x18\0\0\0\0", 8); /* to be skipped */
    CHECK_EQ(unpack(frame, n + 8, CONTENT / 2), SG_CODEC_DAMAGED);
    CHECK_EQ(unpack(frame + n, 8, CONTENT), SG_CODEC_DAMAGED);
    frame[n] = 0;
    CHECK_EQ(unpack(frame, n + 1, CONTENT / 2), SG_CODEC_DAMAGED);
    memcpy(frame, "\x27\xb5\x2f\xfd", 4); /* the format of 0.7 */
    CHECK_EQ(unpack(frame, n, CONTENT / 2), SG_CODEC_DAMAGED);
}

/* A window of 2 GiB, and one block: 3000 times the same byte. It takes no memory. */
TEST(a_window_takes_no_memory) {
    uint8_t bytes[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0xc3, 0x5d, 0x00, 0x00};
    sg_alloc_fail_at(0, 0);
    CHECK_EQ(unpack(bytes, sizeof bytes, CONTENT), SG_CODEC_DONE);
    bytes[4] = 0x01; /* and a dictionary, number 0xc3 */
    CHECK_NE(unpack(bytes, sizeof bytes, CONTENT), SG_CODEC_DONE);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Without it a batch goes plain, and is read later. */
TEST(without_memory_nothing_is_lost) {
    static sample s;
    doors(&s);
    for (size_t k = 0; k < CODECS; k++) {
        unsigned plain = 0, unread = 0;
        for (uint64_t n = 1; n < 6; n++) {
            sg_batch_writer w;
            sg_batch_reader r;
            const char *why;
            void *own;
            sg_codecs_fini(&codecs);
            write_sample(&w, &s, 1000);
            sg_alloc_fail_at(n, 0);
            sg_batch_pack(&w, 0, all[k], &codecs);
            sg_alloc_fail_at(0, 0);
            plain += w.packed.len == 0;
            check_reads_back(&w, &s);
            sg_batch_pack(&w, 0, all[k], &codecs);
            sg_codecs_fini(&codecs);
            seg_bytes b = sg_batch_bytes(&w);
            sg_alloc_fail_at(n, 0);
            bool read = sg_batch_load(&r, b.data, b.len, 0, &codecs, &own, &why);
            sg_alloc_fail_at(0, 0);
            sg_free(own);
            CHECK(why == NULL);
            unread += !read;
            check_reads(b, &s);
            sg_batch_writer_fini(&w);
        }
        CHECK_EQ(plain, 2); /* the buffer, the context */
        CHECK_EQ(unread, k == 0 ? 1 : 2);
    }
}

/* But for the bytes themselves, of which the second time gives some back. */
TEST(contexts_are_used_again) {
    static sample s;
    doors(&s);
    for (size_t k = 0; k < CODECS; k++)
        for (int i = 0; i < 10; i++) {
            sg_batch_writer w;
            write_sample(&w, &s, 1000);
            sg_alloc_fail_at(0, 0);
            sg_batch_pack(&w, 0, all[k], &codecs);
            CHECK_EQ(sg_alloc_fail_at(0, 0), i == 0 ? 3 : 2);
            check_reads_back(&w, &s);
            CHECK_EQ(sg_alloc_fail_at(0, 0), i == 0 && k == 1 ? 2 : 1);
            sg_batch_writer_fini(&w);
        }
}
