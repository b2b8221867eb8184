/* fuzz_records.h - what the targets of record batches share: reading one and checking what must hold of
 * every one, writing it again as the same, and a header around bytes (a CRC is never guessed). */
#ifndef SG_FUZZ_RECORDS_H
#define SG_FUZZ_RECORDS_H
#include "base/alloc.h"
#include "base/hash.h"
#include "core/batch.h"
#include "fuzz.h"

#define SEED 0x5ea1u

/* ---- Records ------------------------------------------------------------------------------ */

typedef struct records {
    seg_record *all;
    size_t n, room;
    uint8_t *own; /* what they are views into, where that is not the input */
} records;

static inline void records_free(records *r) {
    for (size_t i = 0; i < r->n; i++)
        free((void *)(uintptr_t)r->all[i].headers);
    free(r->all);
    free(r->own);
}

static inline seg_record *records_add(records *r) {
    if (r->n == r->room) {
        r->room = r->room > 0 ? 2 * r->room : 16;
        r->all = realloc(r->all, r->room * sizeof *r->all);
        FUZZ_CHECK(r->all != NULL);
    }
    r->all[r->n] = (seg_record){.size = sizeof(seg_record)};
    return &r->all[r->n++];
}

static inline bool same_bytes(seg_bytes a, seg_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline void check_same(const seg_record *a, const seg_record *b) {
    FUZZ_CHECK(a->timestamp == b->timestamp);
    FUZZ_CHECK(same_bytes(a->key, b->key) && same_bytes(a->value, b->value));
    FUZZ_CHECK(a->n_headers == b->n_headers);
    for (size_t i = 0; i < 2 * a->n_headers; i++)
        FUZZ_CHECK(same_bytes(a->headers[i], b->headers[i]));
}

/* ---- Reading ------------------------------------------------------------------------------ */

static inline void check_inside(seg_bytes b, const uint8_t *data, size_t len) {
    const uint8_t *at = b.data;
    FUZZ_CHECK(at >= data && at <= data + len && b.len <= (size_t)(data + len - at));
}

static inline void keep_headers(const sg_record_view *v, seg_record *r, const uint8_t *data,
                                size_t len) {
    seg_bytes *pairs = fuzz_alloc(2 * (size_t)v->n_headers * sizeof *pairs);
    seg_bytes rest = v->headers;
    for (uint32_t i = 0; i < v->n_headers; i++) {
        FUZZ_CHECK(sg_header_next(&rest, &pairs[2 * i], &pairs[2 * i + 1]));
        check_inside(pairs[2 * i], data, len);
        check_inside(pairs[2 * i + 1], data, len);
    }
    FUZZ_CHECK(!sg_header_next(&rest, NULL, NULL) && rest.len == 0);
    r->headers = pairs;
    r->n_headers = v->n_headers;
}

/* Into memory of just its size, with a margin that nobody may write to. */
static inline bool unpack(sg_batch_reader *reader, records *out) {
    enum { MARGIN = 64, FILL = 0xa5 };
    sg_codecs codecs;
    const char *why = NULL;
    out->own = fuzz_alloc((size_t)reader->size + MARGIN);
    memset(out->own + reader->size, FILL, MARGIN);
    sg_codecs_init(&codecs);
    bool ok = sg_batch_unpack(reader, &codecs, out->own, &why);
    sg_codecs_fini(&codecs);
    FUZZ_CHECK(ok || (why != NULL && why[0] != '\0'));
    for (size_t i = 0; i < MARGIN; i++)
        FUZZ_CHECK(out->own[reader->size + i] == FILL);
    return ok;
}

/* All at once, and each by where it begins: the same as one after the other. */
static inline void check_index(sg_batch_reader *reader, const records *r, bool whole) {
    const uint8_t *first = reader->at, *end = reader->end;
    uint32_t *starts = fuzz_alloc(reader->count * sizeof *starts);
    FUZZ_CHECK(sg_batch_index(reader, starts) == whole);
    for (size_t i = r->n; whole && i-- > 0;) {
        sg_record_view v;
        seg_record again = {.size = sizeof again};
        FUZZ_CHECK(starts[i] < (size_t)(end - first));
        FUZZ_CHECK(i == 0 ? starts[i] == 0 : starts[i] > starts[i - 1]);
        sg_batch_record(first + starts[i], end, reader->base_ts, &v);
        again.key = v.key;
        again.value = v.value;
        again.timestamp = v.timestamp;
        keep_headers(&v, &again, first, (size_t)(end - first));
        check_same(&r->all[i], &again);
        free((void *)(uintptr_t)again.headers);
    }
    free(starts);
}

/* False where the bytes are no batch, to its end; `out` may then have its first records. */
static inline bool read_batch(const uint8_t *data, size_t len, uint32_t seed, records *out) {
    sg_batch_reader reader;
    sg_record_view v;
    const char *why = NULL;
    int more;
    sg_alloc_fail_at(0, 0);
    if (!sg_batch_open(&reader, data, len, seed, &why)) {
        FUZZ_CHECK(why != NULL && why[0] != '\0');
        return false;
    }
    FUZZ_CHECK(reader.count >= 1 && reader.count <= reader.size / 4);
    FUZZ_CHECK(sg_batch_weight(data, len) == SG_BATCH_HEADER + (size_t)reader.size);
    FUZZ_CHECK(sg_alloc_fail_at(0, 0) == 0);
    if (reader.codec != SEG_PLAIN) {
        FUZZ_CHECK(sg_batch_next(&reader, &v) < 0); /* not yet */
        if (!unpack(&reader, out))
            return false;
        data = out->own;
        len = reader.size;
    }
    sg_batch_reader unread = reader;
    while ((more = sg_batch_next(&reader, &v)) > 0) {
        check_inside(v.key, data, len);
        check_inside(v.value, data, len);
        seg_record *r = records_add(out);
        r->key = v.key;
        r->value = v.value;
        r->timestamp = v.timestamp;
        keep_headers(&v, r, data, len);
    }
    FUZZ_CHECK(out->n <= reader.count && (more < 0 || out->n == reader.count));
    check_index(&unread, out, more == 0);
    return more == 0;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static inline void write_all(const records *r, sg_batch_writer *w, uint32_t seed) {
    for (size_t i = 0; i < r->n; i++) {
        int64_t base = i == 0 ? r->all[0].timestamp : w->base_ts;
        size_t before = i == 0 ? SG_BATCH_HEADER : sg_batch_size(w);
        FUZZ_CHECK(sg_batch_add(w, &r->all[i]));
        FUZZ_CHECK(sg_batch_size(w) == before + sg_batch_record_size(&r->all[i], base));
    }
    sg_batch_seal(w, seed);
}

/* What is written is read as the same, and written again as the same bytes. */
static inline void check_round_trip(const records *r, uint32_t seed) {
    sg_batch_writer first, second;
    records again = {0};
    sg_batch_writer_init(&first, SIZE_MAX, NULL);
    sg_batch_writer_init(&second, SIZE_MAX, NULL);
    write_all(r, &first, seed);
    FUZZ_CHECK(read_batch(first.buf.data, first.buf.len, seed, &again));
    FUZZ_CHECK(again.n == r->n);
    for (size_t i = 0; i < r->n; i++)
        check_same(&r->all[i], &again.all[i]);
    FUZZ_CHECK(
        !sg_batch_open(&(sg_batch_reader){0}, first.buf.data, first.buf.len, seed ^ 1, NULL));
    write_all(&again, &second, seed);
    FUZZ_CHECK(first.buf.len == second.buf.len &&
               memcmp(first.buf.data, second.buf.data, first.buf.len) == 0);
    records_free(&again);
    sg_batch_writer_fini(&first);
    sg_batch_writer_fini(&second);
}

/* ---- Inputs ------------------------------------------------------------------------------- */

/* Under a header in which all but the count is right. */
static inline void mend(uint8_t *data, size_t len, seg_codec codec, uint32_t size) {
    size_t body = len - SG_BATCH_HEADER;
    memcpy(data, "SB\1", 3);
    data[3] = (uint8_t)codec;
    for (unsigned i = 0; i < 4; i++)
        data[16 + i] = (uint8_t)(size >> (8 * i));
    uint32_t crc = sg_crc32c(SEED, data, 20);
    crc = sg_crc32c(crc, data + SG_BATCH_HEADER, body);
    FUZZ_CHECK(crc == sg_crc32c_portable(sg_crc32c_portable(SEED, data, 20), data + 24, body));
    for (unsigned i = 0; i < 4; i++)
        data[20 + i] = (uint8_t)(crc >> (8 * i));
}
#endif
