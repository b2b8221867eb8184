/* fuzz_codec.c - compressed record batches: bytes that should decompress, such bytes under a header
 * that is right, and records that are compressed and read again. */
#include "fuzz_records.h"

#define SIZE_MOST (1u << 18) /* larger ones only take longer */

static sg_codec_outcome decompress(seg_codec codec, uint8_t *out, size_t size, fuzz_input in) {
    sg_codecs codecs;
    sg_codecs_init(&codecs);
    sg_codec_outcome outcome = sg_codec_decompress(&codecs, codec, out, size, in.at, in.len);
    sg_codecs_fini(&codecs);
    FUZZ_CHECK(outcome != SG_CODEC_NO_MEMORY);
    return outcome;
}

/* What is compressed never takes more than there is room for, and no part of it is enough. */
static void check_compress(seg_codec codec, const uint8_t *data, size_t len, size_t cut) {
    sg_codecs codecs;
    sg_codecs_init(&codecs);
    uint8_t *out = fuzz_alloc(len), *back = fuzz_alloc(len);
    size_t used = len > 0 ? sg_codec_compress(&codecs, codec, out, len - 1, data, len) : 0;
    FUZZ_CHECK(used < len || len == 0);
    if (used > 0) {
        fuzz_input all = {out, used}, part = {out, cut % used};
        FUZZ_CHECK(decompress(codec, back, len, all) == SG_CODEC_DONE);
        FUZZ_CHECK(memcmp(back, data, len) == 0);
        FUZZ_CHECK(decompress(codec, back, len, part) == SG_CODEC_DAMAGED);
    }
    free(out);
    free(back);
    sg_codecs_fini(&codecs);
}

static void check_decompress(seg_codec codec, size_t size, fuzz_input in) {
    uint8_t *bytes = fuzz_copy(in), *out = fuzz_alloc(size), *again = fuzz_alloc(size);
    in.at = bytes;
    sg_codec_outcome outcome = decompress(codec, out, size, in);
    FUZZ_CHECK(decompress(codec, again, size, in) == outcome);
    if (outcome == SG_CODEC_DONE)
        check_compress(codec, out, size, size / 2);
    free(bytes);
    free(out);
    free(again);
}

/* Records that were read are packed, and read as the same. */
static void check_pack(const records *r, seg_codec codec) {
    sg_batch_writer w;
    sg_codecs codecs;
    records again = {0};
    sg_batch_writer_init(&w, SIZE_MAX, NULL);
    sg_codecs_init(&codecs);
    write_all(r, &w, SEED);
    sg_batch_pack(&w, SEED, codec, &codecs);
    seg_bytes b = sg_batch_bytes(&w);
    FUZZ_CHECK(b.len == w.buf.len ? w.packed.len == 0 : b.len < w.buf.len);
    FUZZ_CHECK(read_batch(b.data, b.len, SEED, &again) && again.n == r->n);
    for (size_t i = 0; i < r->n; i++)
        check_same(&r->all[i], &again.all[i]);
    records_free(&again);
    sg_codecs_fini(&codecs);
    sg_batch_writer_fini(&w);
}

static void check_batch(seg_codec codec, size_t size, fuzz_input in) {
    records r = {0};
    if (in.len < SG_BATCH_HEADER)
        return;
    uint8_t *bytes = fuzz_copy(in);
    mend(bytes, in.len, codec, (uint32_t)size);
    if (read_batch(bytes, in.len, SEED, &r)) {
        check_round_trip(&r, SEED);
        check_pack(&r, SEG_LZ4);
        check_pack(&r, SEG_ZSTD);
    }
    records_free(&r);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t mode = fuzz_byte(&in);
    seg_codec codec = mode & 4 ? SEG_ZSTD : SEG_LZ4;
    size_t size = (size_t)fuzz_number(&in, 3) % SIZE_MOST;
    switch (mode & 3) {
    case 0:
        check_decompress(codec, size, in);
        break;
    case 1:
        check_compress(codec, in.at, in.len, size);
        break;
    default:
        check_batch(codec, size, in);
    }
    return 0;
}
