/* fuzz_batch.c - record batches: bytes as they are, bytes under a header that is right (a CRC is
 * never guessed), and records that are written, split and read again. */
#include "core/batch.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "fuzz.h"

#define SEED 0x5ea1u

/* ---- Records ------------------------------------------------------------------------------ */

typedef struct records {
    seg_record *all;
    size_t n, room;
} records;

static void records_free(records *r) {
    for (size_t i = 0; i < r->n; i++)
        free((void *)(uintptr_t)r->all[i].headers);
    free(r->all);
}

static seg_record *records_add(records *r) {
    if (r->n == r->room) {
        r->room = r->room > 0 ? 2 * r->room : 16;
        r->all = realloc(r->all, r->room * sizeof *r->all);
        FUZZ_CHECK(r->all != NULL);
    }
    r->all[r->n] = (seg_record){.size = sizeof(seg_record)};
    return &r->all[r->n++];
}

static bool same_bytes(seg_bytes a, seg_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check_same(const seg_record *a, const seg_record *b) {
    FUZZ_CHECK(a->timestamp == b->timestamp);
    FUZZ_CHECK(same_bytes(a->key, b->key) && same_bytes(a->value, b->value));
    FUZZ_CHECK(a->n_headers == b->n_headers);
    for (size_t i = 0; i < 2 * a->n_headers; i++)
        FUZZ_CHECK(same_bytes(a->headers[i], b->headers[i]));
}

/* ---- Reading ------------------------------------------------------------------------------ */

static void check_inside(seg_bytes b, const uint8_t *data, size_t len) {
    const uint8_t *at = b.data;
    FUZZ_CHECK(at >= data && at <= data + len && b.len <= (size_t)(data + len - at));
}

static void keep_headers(const sg_record_view *v, seg_record *r, const uint8_t *data, size_t len) {
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

/* False where the bytes are no batch, to its end; `out` may then have its first records. */
static bool read_batch(const uint8_t *data, size_t len, uint32_t seed, records *out) {
    sg_batch_reader reader;
    sg_record_view v;
    const char *why = NULL;
    int more;
    sg_alloc_fail_at(0, 0);
    if (!sg_batch_open(&reader, data, len, seed, &why)) {
        FUZZ_CHECK(why != NULL && why[0] != '\0');
        return false;
    }
    FUZZ_CHECK(reader.count >= 1 && reader.count <= (len - SG_BATCH_HEADER) / 4);
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
    FUZZ_CHECK(sg_alloc_fail_at(0, 0) == 0);
    return more == 0;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static void write_all(const records *r, sg_batch_writer *w, uint32_t seed) {
    for (size_t i = 0; i < r->n; i++) {
        int64_t base = i == 0 ? r->all[0].timestamp : w->base_ts;
        size_t before = i == 0 ? SG_BATCH_HEADER : sg_batch_size(w);
        FUZZ_CHECK(sg_batch_add(w, &r->all[i]));
        FUZZ_CHECK(sg_batch_size(w) == before + sg_batch_record_size(&r->all[i], base));
    }
    sg_batch_seal(w, seed);
}

/* What is written is read as the same, and written again as the same bytes. */
static void check_round_trip(const records *r, uint32_t seed) {
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

static void check_split(const records *r, uint32_t seed, uint32_t n) {
    sg_batch_writer head, tail;
    records parts[2] = {{0}, {0}};
    sg_batch_writer_init(&head, SIZE_MAX, NULL);
    sg_batch_writer_init(&tail, SIZE_MAX, NULL);
    write_all(r, &head, seed);
    FUZZ_CHECK(sg_batch_split(&head, n, &tail));
    sg_batch_seal(&head, seed);
    sg_batch_seal(&tail, seed);
    FUZZ_CHECK(read_batch(head.buf.data, head.buf.len, seed, &parts[0]) && parts[0].n == n);
    FUZZ_CHECK(read_batch(tail.buf.data, tail.buf.len, seed, &parts[1]));
    FUZZ_CHECK(parts[1].n == r->n - n);
    for (size_t i = 0; i < r->n; i++)
        check_same(&r->all[i], i < n ? &parts[0].all[i] : &parts[1].all[i - n]);
    records_free(&parts[0]);
    records_free(&parts[1]);
    sg_batch_writer_fini(&head);
    sg_batch_writer_fini(&tail);
}

/* ---- Inputs ------------------------------------------------------------------------------- */

static void check_read(const uint8_t *data, size_t len, uint32_t seed, uint8_t choice) {
    records r = {0};
    bool whole = read_batch(data, len, seed, &r);
    if (whole)
        check_round_trip(&r, seed);
    if (whole && r.n > 1)
        check_split(&r, seed, 1 + (uint32_t)(choice % (r.n - 1)));
    records_free(&r);
}

/* Under a header in which all but the count is right. */
static void mend(uint8_t *data, size_t len) {
    uint32_t size = (uint32_t)(len - SG_BATCH_HEADER);
    memcpy(data, "SB\1\0", 4);
    for (unsigned i = 0; i < 4; i++)
        data[16 + i] = (uint8_t)(size >> (8 * i));
    uint32_t crc = sg_crc32c(SEED, data, 20);
    crc = sg_crc32c(crc, data + SG_BATCH_HEADER, size);
    FUZZ_CHECK(crc == sg_crc32c_portable(sg_crc32c_portable(SEED, data, 20), data + 24, size));
    for (unsigned i = 0; i < 4; i++)
        data[20 + i] = (uint8_t)(crc >> (8 * i));
}

static seg_bytes take_bytes(fuzz_input *in) {
    fuzz_input part = fuzz_take(in, fuzz_byte(in));
    return (seg_bytes){part.at, part.len};
}

/* Records as the input has them, until it ends. */
static void make_records(fuzz_input *in, records *out) {
    while (in->len > 0) {
        seg_record *r = records_add(out);
        uint8_t what = fuzz_byte(in);
        r->timestamp = (int64_t)fuzz_number(in, (what & 1) != 0 ? 8 : 1);
        r->key = take_bytes(in);
        r->value = take_bytes(in);
        r->n_headers = what >> 6;
        seg_bytes *pairs = fuzz_alloc(2 * r->n_headers * sizeof *pairs);
        for (size_t i = 0; i < 2 * r->n_headers; i++)
            pairs[i] = take_bytes(in);
        r->headers = pairs;
    }
}

/* A ceiling refuses a record as a whole, and the batch is as it was. */
static void check_ceiling(const records *r, size_t max) {
    sg_batch_writer w;
    size_t taken = 0;
    sg_batch_writer_init(&w, max, NULL);
    while (taken < r->n && sg_batch_add(&w, &r->all[taken]))
        taken++;
    FUZZ_CHECK(w.count == taken && sg_batch_size(&w) <= max);
    sg_batch_seal(&w, SEED);
    records again = {0};
    if (taken > 0) {
        FUZZ_CHECK(read_batch(w.buf.data, w.buf.len, SEED, &again) && again.n == taken);
        for (size_t i = 0; i < taken; i++)
            check_same(&r->all[i], &again.all[i]);
    }
    records_free(&again);
    sg_batch_writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t mode = fuzz_byte(&in), choice = fuzz_byte(&in);
    if (mode % 3 == 2) {
        records r = {0};
        make_records(&in, &r);
        if (r.n > 0)
            check_round_trip(&r, choice);
        if (r.n > 1)
            check_split(&r, choice, 1 + (uint32_t)(choice % (r.n - 1)));
        check_ceiling(&r, (size_t)choice * 8);
        records_free(&r);
        return 0;
    }
    uint8_t *bytes = fuzz_copy(in);
    if (mode % 3 == 1 && in.len >= SG_BATCH_HEADER)
        mend(bytes, in.len);
    check_read(bytes, in.len, SEED, choice);
    free(bytes);
    return 0;
}
