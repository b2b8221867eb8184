/* test_batch.c - the record batch: round trips, the documented bytes, and hostile ones. */
#include "core/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/random.h"
#include "test.h"

#define BYTES(literal)                                                                             \
    { literal, sizeof(literal) - 1 }

/* ---- Random records ----------------------------------------------------------------------- */

enum { MAX_RECORDS = 20, MAX_PAIRS = 4 };

typedef struct sample {
    seg_record records[MAX_RECORDS];
    seg_bytes headers[MAX_RECORDS][2 * MAX_PAIRS];
    size_t n;
} sample;

static uint8_t pool[1 << 16]; /* all random bytes are views into it */

static seg_bytes random_bytes(sg_rng *rng) {
    static const size_t limits[] = {1, 2, 10, 127, 130, 400, 17000};
    size_t len = sg_rng_below(rng, limits[sg_rng_below(rng, 7)]);
    return (seg_bytes){len > 0 ? pool + sg_rng_below(rng, sizeof pool - len) : NULL, len};
}

static int64_t random_time(sg_rng *rng) {
    switch (sg_rng_below(rng, 4)) {
    case 0:
        return (int64_t)sg_rng_next(rng); /* any, also before 1970 */
    case 1:
        return sg_rng_below(rng, 2) ? INT64_MAX : INT64_MIN;
    default:
        return 1700000000000 + (int64_t)sg_rng_below(rng, 1000);
    }
}

static void random_sample(sg_rng *rng, sample *s) {
    for (size_t i = 0; i < sizeof pool; i += 8) {
        uint64_t v = sg_rng_next(rng);
        memcpy(pool + i, &v, 8);
    }
    s->n = 1 + sg_rng_below(rng, MAX_RECORDS);
    for (size_t i = 0; i < s->n; i++) {
        seg_record *r = &s->records[i];
        SEG_INIT(r);
        r->key = random_bytes(rng);
        r->value = random_bytes(rng);
        r->timestamp = random_time(rng);
        r->n_headers = sg_rng_below(rng, MAX_PAIRS + 1);
        r->headers = s->headers[i];
        for (size_t k = 0; k < 2 * r->n_headers; k++)
            s->headers[i][k] = random_bytes(rng);
    }
}

static void write_sample(sg_batch_writer *w, const sample *s, size_t max) {
    sg_batch_writer_init(w, max, NULL);
    CHECK_EQ(sg_batch_size(w), 0);
    for (size_t i = 0; i < s->n; i++) {
        size_t before = sg_batch_size(w) > 0 ? sg_batch_size(w) : SG_BATCH_HEADER;
        size_t size = sg_batch_record_size(&s->records[i], s->records[0].timestamp);
        CHECK(sg_batch_add(w, &s->records[i]));
        CHECK_EQ(sg_batch_size(w), before + size);
    }
    sg_batch_seal(w, 0);
    CHECK_EQ(w->count, s->n);
}

static void check_record(const sg_record_view *v, const seg_record *r) {
    CHECK_MEM(v->key.data, v->key.len, r->key.data, r->key.len);
    CHECK_MEM(v->value.data, v->value.len, r->value.data, r->value.len);
    CHECK_EQ(v->timestamp, r->timestamp);
    CHECK_EQ(v->n_headers, r->n_headers);
    seg_bytes rest = v->headers, name, value;
    for (size_t i = 0; i < r->n_headers; i++) {
        CHECK(sg_header_next(&rest, &name, &value));
        CHECK_MEM(name.data, name.len, r->headers[2 * i].data, r->headers[2 * i].len);
        CHECK_MEM(value.data, value.len, r->headers[2 * i + 1].data, r->headers[2 * i + 1].len);
    }
    CHECK(!sg_header_next(&rest, NULL, NULL));
}

static void check_reads_back(const sg_batch_writer *w, const sample *s) {
    sg_batch_reader r;
    sg_record_view v;
    CHECK(sg_batch_open(&r, w->buf.data, w->buf.len, 0, NULL));
    CHECK_EQ(r.count, s->n);
    for (size_t i = 0; i < s->n; i++) {
        CHECK_EQ(sg_batch_next(&r, &v), 1);
        check_record(&v, &s->records[i]);
    }
    CHECK_EQ(sg_batch_next(&r, &v), 0);
    CHECK_EQ(sg_batch_next(&r, &v), 0);
}

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

/* The three records of docs/protocol.md. */
static void example(sample *s) {
    memset(s, 0, sizeof *s);
    s->n = 3;
    s->headers[0][0] = (seg_bytes)BYTES("type");
    s->headers[0][1] = (seg_bytes)BYTES("order");
    s->records[0] = (seg_record){.key = BYTES("user-7"),
                                 .value = BYTES("hello"),
                                 .headers = s->headers[0],
                                 .n_headers = 1,
                                 .timestamp = 1700000000000};
    s->records[1] = (seg_record){.value = BYTES("{}"), .timestamp = 1699999999999};
    s->records[2] = (seg_record){.key = BYTES("user-7"), .timestamp = 1700000000250};
}

/* Read the document's block that starts with "```hex". */
static size_t read_documented(uint8_t *out, size_t max) {
    const char *root = getenv("SEGMENTER_SOURCE_DIR");
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/docs/protocol.md", root != NULL ? root : ".");
    FILE *f = fopen(path, "r");
    if (f == NULL)
        FAIL("%s cannot be read", path);
    while (fgets(line, sizeof line, f) != NULL && strcmp(line, "```hex\n") != 0)
        continue;
    size_t n = 0;
    unsigned byte;
    while (n < max && fscanf(f, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    fclose(f);
    return n;
}

TEST(the_documented_example_is_true) {
    uint8_t documented[256];
    size_t len = read_documented(documented, sizeof documented);
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

/* Open and walk `len` bytes, copied to a block of exactly their size so that a sanitizer sees a
 * read past them. Returns whether all of it was accepted. */
static bool accepts(const uint8_t *bytes, size_t len) {
    uint8_t *copy = sg_memdup(bytes, len);
    sg_batch_reader r;
    const char *why = NULL;
    int more = -1;
    if (sg_batch_open(&r, copy, len, 0, &why)) {
        CHECK(why == NULL);
        CHECK_LE(r.count, len / 4);
        sg_record_view v;
        uint64_t sum = 0;
        while ((more = sg_batch_next(&r, &v)) == 1) {
            seg_bytes rest = v.headers;
            uint32_t pairs = 0;
            while (sg_header_next(&rest, NULL, NULL))
                pairs++;
            CHECK_EQ(pairs, v.n_headers);
            sum += v.key.len + v.value.len + v.headers.len;
        }
        CHECK_LE(sum, len);
    } else {
        CHECK(why != NULL && strlen(why) > 0);
        CHECK(!sg_batch_open(&r, copy, len, 0, NULL));
    }
    sg_free(copy);
    return more == 0;
}

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

static void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Make size and CRC right again, as somebody would who means harm. */
static void forge(uint8_t *p, size_t len) {
    put32(p + 16, (uint32_t)(len - SG_BATCH_HEADER));
    put32(p + 20, sg_crc32c(sg_crc32c(0, p, 20), p + SG_BATCH_HEADER, len - SG_BATCH_HEADER));
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
    CHECK_CONTAINS(header_fault(3, 1), "codec");
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
