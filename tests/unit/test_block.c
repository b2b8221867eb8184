/* test_block.c - a batch in a reader's hands: each record by its offset, what is none, and memory. */
#include "core/block.h"

#include "batch_rig.h"

enum { SEED = 0x5eed };

static const seg_codec all_codecs[] = {SEG_PLAIN, SEG_LZ4, SEG_ZSTD};

/* A block of these bytes, not opened. */
static sg_block *block_of(sg_pool *p, seg_bytes bytes) {
    sg_block *b = sg_block_new(p, bytes.len);
    CHECK(b != NULL);
    CHECK_EQ(b->len, bytes.len);
    CHECK_EQ(b->count, 0);
    if (bytes.len > 0)
        memcpy(sg_block_room(b), bytes.data, bytes.len);
    return b;
}

/* Each record at its offset, in another order than that of the batch. */
static void check_block(const sg_block *b, const sample *s, uint64_t first) {
    CHECK_EQ(b->count, s->n);
    CHECK_EQ(b->first, first);
    for (size_t i = 0; i < s->n; i++) {
        size_t k = i * 23 % s->n; /* 23 has no factor in common with 1 .. 20 */
        sg_record_view v;
        sg_block_record(b, first + k, &v);
        check_record(&v, &s->records[k]);
    }
}

static void pack_sample(sg_batch_writer *w, const sample *s, seg_codec codec) {
    sg_batch_writer_init(w, 64u << 20, NULL);
    for (size_t i = 0; i < s->n; i++)
        CHECK(sg_batch_add(w, &s->records[i]));
    sg_batch_pack(w, SEED, codec, &codecs);
}

/* The documented records, one of them with a value that gets smaller. */
static void compressible(sample *s) {
    static char text[3000];
    example(s);
    memset(text, 'x', sizeof text);
    s->records[1].value = (seg_bytes){text, sizeof text};
}

TEST(each_record_is_found_by_its_offset) {
    sg_rng rng = {test_seed()};
    sg_pool *p = sg_pool_new(1 << 20);
    static sample s;
    int packed = 0;
    for (int i = 0; i < 400; i++) {
        random_sample(&rng, &s);
        memset(pool, 'x', sizeof pool / 2); /* so that some of it can be compressed */
        sg_batch_writer w;
        pack_sample(&w, &s, all_codecs[i % 3]);
        seg_bytes bytes = sg_batch_bytes(&w);
        uint64_t last = sg_rng_below(&rng, 4) > 0 ? s.n - 1 + sg_rng_below(&rng, 1000)
                                                  : UINT64_MAX - sg_rng_below(&rng, 3);
        const char *why = "not set";
        sg_block *b = sg_block_open(block_of(p, bytes), last, SEED, &codecs, p, &why);
        CHECK(b != NULL && why == NULL);
        CHECK_EQ(b->bytes, sg_batch_weight(bytes.data, bytes.len));
        packed += w.packed.len > 0;
        check_block(b, &s, last - (s.n - 1));
        sg_batch_writer_fini(&w); /* the block has its own */
        sg_block_ref(b);
        sg_block_unref(b);
        check_block(b, &s, last - (s.n - 1));
        sg_block_unref(b);
    }
    CHECK_GT(packed, 50);
    sg_block_unref(NULL);
    sg_pool_free(p);
}

/* ---- One to many -------------------------------------------------------------------------- */

static void write_numbers(sg_batch_writer *w, uint32_t n, seg_codec codec) {
    sg_batch_writer_init(w, 64u << 20, NULL);
    for (uint32_t i = 0; i < n; i++) {
        char value[40];
        seg_record r;
        SEG_INIT(&r);
        r.value.len = (size_t)snprintf(value, sizeof value, "number %u", (unsigned)i);
        r.value.data = value;
        r.key = (seg_bytes){"the same key for each of them", i % 30};
        r.timestamp = 1700000000000 - (int64_t)i;
        CHECK(sg_batch_add(w, &r));
    }
    sg_batch_pack(w, SEED, codec, &codecs);
}

/* A few have their places in the block itself, more have memory for them. */
static void check_count(uint32_t n, seg_codec codec) {
    sg_pool *p = sg_pool_new(0);
    sg_batch_writer w;
    const char *why;
    write_numbers(&w, n, codec);
    sg_block *b = block_of(p, sg_batch_bytes(&w));
    bool packed = w.packed.len > 0;
    sg_alloc_fail_at(0, 0);
    b = sg_block_open(b, 100000 + n - 1, SEED, &codecs, p, &why);
    uint64_t allocations = sg_alloc_fail_at(0, 0);
    CHECK(b != NULL);
    if (!packed)
        CHECK_EQ(allocations, n > 6);
    CHECK_EQ(b->count, n);
    CHECK_EQ(b->starts == b->few, n <= 6);
    for (uint32_t i = n; i-- > 0;) {
        sg_record_view v;
        char value[40];
        snprintf(value, sizeof value, "number %u", (unsigned)i);
        sg_block_record(b, 100000 + i, &v);
        CHECK_MEM(v.value.data, v.value.len, value, strlen(value));
        CHECK_EQ(v.key.len, i % 30);
        CHECK_EQ(v.timestamp, 1700000000000 - (int64_t)i);
    }
    sg_block_unref(b);
    sg_batch_writer_fini(&w);
    sg_pool_free(p);
}

TEST(one_record_to_many) {
    static const uint32_t counts[] = {1, 2, 5, 6, 7, 8, 100, SG_BATCH_COUNT_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (size_t k = 0; k < 3; k++)
            check_count(counts[i], all_codecs[k]);
    check_count(SG_BATCH_COUNT_MAX + 1, SEG_PLAIN); /* plain ones may have more */
}

/* ---- What is none ------------------------------------------------------------------------- */

static void check_refused(sg_pool *p, seg_bytes bytes, uint64_t last, uint32_t seed,
                          const char *fault) {
    const char *why = NULL;
    sg_block *b = block_of(p, bytes);
    sg_block_ref(b); /* ours, so that we see that the other one is let go of */
    CHECK(sg_block_open(b, last, seed, &codecs, p, &why) == NULL);
    CHECK(why != NULL);
    CHECK_CONTAINS(why, fault);
    CHECK_EQ(atomic_load(&b->references), 1);
    CHECK_MEM(sg_block_room(b), b->len, bytes.data, bytes.len);
    sg_block_unref(b);
}

TEST(what_is_no_batch_is_told) {
    sg_pool *p = sg_pool_new(0);
    check_refused(p, (seg_bytes){NULL, 0}, 9, SEED, "shorter");
    check_refused(p, (seg_bytes){"SB", 2}, 9, SEED, "shorter");
    for (size_t k = 0; k < 3; k++) {
        static sample s;
        sg_batch_writer w;
        const char *why;
        compressible(&s);
        pack_sample(&w, &s, all_codecs[k]);
        seg_bytes good = sg_batch_bytes(&w), cut = {good.data, good.len - 1};
        check_refused(p, good, 9, SEED + 1, "CRC"); /* of another stream */
        check_refused(p, cut, 9, SEED, k == 0 ? "length" : "CRC");
        /* Three messages want three offsets. */
        check_refused(p, good, 0, SEED, "more messages than offsets");
        check_refused(p, good, 1, SEED, "more messages than offsets");
        sg_block *b = sg_block_open(block_of(p, good), 2, SEED, &codecs, p, &why);
        CHECK(b != NULL);
        check_block(b, &s, 0);
        sg_block_unref(b);
        sg_batch_writer_fini(&w);
    }
    sg_pool_free(p);
}

/* A header and a CRC that are right, around records that are not. */
TEST(malformed_records_are_told) {
    static const struct {
        seg_bytes records;
        uint32_t count;
    } bad[] = {
        {BYTES("\0\0\0\0\0"), 1},               /* a byte too many */
        {BYTES("\0\5ab\0\0"), 1},               /* a key that is longer than all */
        {BYTES("\0\0\5ab\0"), 1},               /* a value */
        {BYTES("\0\0\0\1\0"), 1},               /* half of a header */
        {BYTES("\0\0\0\5\0\0\0\0"), 1},         /* more headers than bytes */
        {BYTES("\0\0\0\0\0\0\0\x80"), 2},       /* the second ends in the middle */
        {BYTES("\0\3abc\0\0\0\0"), 2},          /* one and a half */
        {BYTES("\0\0\0\0\0\0\0\0\0\0\0\0"), 2}, /* three, not two */
        {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\0"),
         1}, /* a varint without an end */
    };
    sg_pool *p = sg_pool_new(0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[64] = "SB\1";
        size_t len = SG_BATCH_HEADER + bad[i].records.len;
        memcpy(bytes + SG_BATCH_HEADER, bad[i].records.data, bad[i].records.len);
        put32(bytes + 4, bad[i].count);
        forge(bytes, len); /* of the seed 0 */
        check_refused(p, (seg_bytes){bytes, len}, 100, 0, "malformed records");
    }
    sg_pool_free(p);
}

TEST(damaged_compression_is_told) {
    sg_pool *p = sg_pool_new(0);
    static sample s;
    compressible(&s);
    for (size_t k = 1; k < 3; k++) {
        sg_batch_writer w;
        pack_sample(&w, &s, all_codecs[k]);
        CHECK_GT(w.packed.len, 0);
        w.packed.data[SG_BATCH_HEADER] ^= 0xff;
        w.packed.data[w.packed.len / 2] ^= 0xff;
        forge(w.packed.data, w.packed.len);
        check_refused(p, sg_batch_bytes(&w), 9, 0, "cannot be decompressed");
        sg_batch_writer_fini(&w);
    }
    sg_pool_free(p);
}

static void check_same_view(const sg_record_view *a, const sg_record_view *b) {
    CHECK_PTR(a->key.data, b->key.data);
    CHECK_EQ(a->key.len, b->key.len);
    CHECK_PTR(a->value.data, b->value.data);
    CHECK_EQ(a->value.len, b->value.len);
    CHECK_PTR(a->headers.data, b->headers.data);
    CHECK_EQ(a->headers.len, b->headers.len);
    CHECK_EQ(a->n_headers, b->n_headers);
    CHECK_EQ(a->timestamp, b->timestamp);
}

/* Whatever the bytes are: what sg_batch_next accepts, and the same views. */
TEST(forged_records_are_those_that_come_one_by_one) {
    sg_rng rng = {test_seed()};
    sg_pool *p = sg_pool_new(0);
    int good = 0;
    for (int i = 0; i < 30000; i++) {
        uint8_t bytes[60] = "SB\1";
        size_t len = SG_BATCH_HEADER + 4 + sg_rng_below(&rng, 32);
        put32(bytes + 4, 1 + (uint32_t)sg_rng_below(&rng, 3));
        for (size_t k = SG_BATCH_HEADER; k < len; k++)
            bytes[k] = (uint8_t)(sg_rng_next(&rng) & (i % 2 ? 0x03 : 0x87));
        forge(bytes, len);
        sg_batch_reader r;
        sg_record_view one, other;
        const char *why;
        sg_block *b = sg_block_open(block_of(p, (seg_bytes){bytes, len}), 50, 0, &codecs, p, &why);
        CHECK_EQ(b != NULL, accepts(bytes, len));
        if (b == NULL)
            continue;
        CHECK(sg_batch_open(&r, sg_block_room(b), b->len, 0, NULL));
        for (uint64_t o = b->first; sg_batch_next(&r, &one) == 1; o++) {
            sg_block_record(b, o, &other);
            check_same_view(&one, &other);
        }
        sg_block_unref(b);
        good++;
    }
    CHECK_GT(good, 20);
    sg_pool_free(p);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Fail each allocation in turn; returns how many there are. */
static uint64_t starve(sg_pool *p, seg_bytes bytes, uint64_t last, sg_block **out) {
    for (uint64_t n = 1;; n++) {
        const char *why = "not set";
        sg_block *b = block_of(p, bytes);
        sg_codecs own; /* what they allocate counts too */
        CHECK_LT(n, 100);
        sg_codecs_init(&own);
        sg_alloc_fail_at(n, 0);
        *out = sg_block_open(b, last, SEED, &own, p, &why);
        sg_alloc_fail_at(0, 0);
        sg_codecs_fini(&own);
        CHECK(why == NULL);
        if (*out != NULL)
            return n - 1;
    }
}

TEST(no_memory_is_no_fault_of_the_batch) {
    sg_pool *p = sg_pool_new(0);
    CHECK(sg_block_new(p, SIZE_MAX) == NULL);
    CHECK(sg_block_new(p, SIZE_MAX - sizeof(sg_block)) == NULL);
    sg_alloc_fail_at(1, 0);
    CHECK(sg_block_new(p, 100) == NULL);
    for (uint32_t n = 6; n <= 7; n++) {
        for (size_t k = 0; k < 3; k++) {
            static sample s;
            sg_batch_writer w;
            sg_block *b;
            compressible(&s);
            for (; s.n < n; s.n++)
                s.records[s.n] = s.records[0];
            pack_sample(&w, &s, all_codecs[k]);
            /* The places of more than a few; and the block in the clear. */
            CHECK_GE(starve(p, sg_batch_bytes(&w), 30, &b), (n > 6) + (k > 0));
            check_block(b, &s, 31 - n);
            sg_block_unref(b);
            sg_batch_writer_fini(&w);
        }
    }
    sg_pool_free(p);
}
