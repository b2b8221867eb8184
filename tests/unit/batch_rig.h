/* batch_rig.h - what the tests of record batches share: records at random, the documented ones, and
 * bytes that somebody may have forged. */
#ifndef SG_TEST_BATCH_RIG_H
#define SG_TEST_BATCH_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/random.h"
#include "core/batch.h"
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

static inline seg_bytes random_bytes(sg_rng *rng) {
    static const size_t limits[] = {1, 2, 10, 127, 130, 400, 17000};
    size_t len = sg_rng_below(rng, limits[sg_rng_below(rng, 7)]);
    return (seg_bytes){len > 0 ? pool + sg_rng_below(rng, sizeof pool - len) : NULL, len};
}

static inline int64_t random_time(sg_rng *rng) {
    switch (sg_rng_below(rng, 4)) {
    case 0:
        return (int64_t)sg_rng_next(rng); /* any, also before 1970 */
    case 1:
        return sg_rng_below(rng, 2) ? INT64_MAX : INT64_MIN;
    default:
        return 1700000000000 + (int64_t)sg_rng_below(rng, 1000);
    }
}

static inline void random_sample(sg_rng *rng, sample *s) {
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

static inline void write_sample(sg_batch_writer *w, const sample *s, size_t max) {
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

static inline void check_record(const sg_record_view *v, const seg_record *r) {
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

static sg_codecs codecs; /* of all that is read, and so used again after whatever was tried */

static inline void check_reads(seg_bytes bytes, const sample *s) {
    sg_batch_reader r;
    sg_record_view v;
    const char *why;
    void *own;
    CHECK(sg_batch_load(&r, bytes.data, bytes.len, 0, &codecs, &own, &why));
    CHECK_EQ(r.count, s->n);
    for (size_t i = 0; i < s->n; i++) {
        CHECK_EQ(sg_batch_next(&r, &v), 1);
        check_record(&v, &s->records[i]);
    }
    CHECK_EQ(sg_batch_next(&r, &v), 0);
    CHECK_EQ(sg_batch_next(&r, &v), 0);
    sg_free(own);
}

static inline void check_reads_back(const sg_batch_writer *w, const sample *s) {
    check_reads(sg_batch_bytes(w), s);
}

/* ---- The document ------------------------------------------------------------------------- */

/* The three records of docs/protocol.md. */
static inline void example(sample *s) {
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

/* Read the document's block that starts with "```hex", the first, second ... of them. */
static inline size_t read_documented(unsigned which, uint8_t *out, size_t max) {
    const char *root = getenv("SEGMENTER_SOURCE_DIR");
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/docs/protocol.md", root != NULL ? root : ".");
    FILE *f = fopen(path, "r");
    if (f == NULL)
        FAIL("%s cannot be read", path);
    while (which > 0 && fgets(line, sizeof line, f) != NULL)
        which -= strcmp(line, "```hex\n") == 0;
    size_t n = 0;
    unsigned byte;
    while (n < max && fscanf(f, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    fclose(f);
    return n;
}

/* ---- Hostile bytes ------------------------------------------------------------------------ */

/* Open and walk `len` bytes, copied to a block of exactly their size so that a sanitizer sees a
 * read past them. Returns whether all of it was accepted. */
static inline bool accepts(const uint8_t *bytes, size_t len) {
    uint8_t *copy = sg_memdup(bytes, len);
    sg_batch_reader r;
    const char *why = NULL;
    void *own;
    int more = -1;
    if (sg_batch_load(&r, copy, len, 0, &codecs, &own, &why)) {
        CHECK(why == NULL);
        CHECK_LE(r.count, r.size / 4);
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
        CHECK_LE(sum, r.size);
    } else {
        CHECK(why != NULL && strlen(why) > 0);
    }
    sg_free(own);
    sg_free(copy);
    return more == 0;
}

static inline void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Make size (of a plain one) and CRC right again, as somebody would who means harm. */
static inline void forge(uint8_t *p, size_t len) {
    if (p[3] == SEG_PLAIN)
        put32(p + 16, (uint32_t)(len - SG_BATCH_HEADER));
    put32(p + 20, sg_crc32c(sg_crc32c(0, p, 20), p + SG_BATCH_HEADER, len - SG_BATCH_HEADER));
}

#endif
