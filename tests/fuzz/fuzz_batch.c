/* fuzz_batch.c - record batches: bytes as they are, bytes under a header that is right (a CRC is
 * never guessed), and records that are written, split and read again. */
#include "fuzz_records.h"

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
        mend(bytes, in.len, SEG_PLAIN, (uint32_t)(in.len - SG_BATCH_HEADER));
    check_read(bytes, in.len, SEED, choice);
    free(bytes);
    return 0;
}
