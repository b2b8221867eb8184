/* codec.c - the only file that knows the compressors.
 *
 * What is decompressed goes in one step to where the caller has room for just that many bytes. So
 * neither library takes memory for it: LZ4 has no state, and Zstandard's decoder needs no window of
 * its own, however large a one the frame asks for.
 *
 * Memory. LZ4's state is ours. libzstd takes its contexts from malloc: the interface by which it
 * would take them from somebody else is not one of the stable ones, which a shared library may
 * count on. alloc.h is asked before a context is made, so that a test that fails allocations fails
 * these too. */
#include "core/codec.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"

/* Of 64 KiB of JSON or log lines the next levels make no less than this one, in up to three times the
 * time. */
#define ZSTD_LEVEL 1

void sg_codecs_init(sg_codecs *c) {
    *c = (sg_codecs){NULL, NULL, NULL};
}

void sg_codecs_fini(sg_codecs *c) {
    sg_free(c->lz4);
    ZSTD_freeCCtx(c->zstd);
    ZSTD_freeDCtx(c->zstd_in);
    sg_codecs_init(c);
}

static bool memory_left(void) {
    void *p = sg_alloc(1);
    sg_free(p);
    return p != NULL;
}

/* ---- LZ4: a block, without a frame --------------------------------------------------------- */

static size_t lz4_compress(sg_codecs *c, void *out, size_t cap, const void *in, size_t n) {
    if (n > LZ4_MAX_INPUT_SIZE)
        return 0;
    if (c->lz4 == NULL && (c->lz4 = sg_alloc((size_t)LZ4_sizeofState())) == NULL)
        return 0;
    int room = cap < LZ4_MAX_INPUT_SIZE ? (int)cap : LZ4_MAX_INPUT_SIZE;
    int used = LZ4_compress_fast_extState(c->lz4, in, out, (int)n, room, 1);
    return used > 0 ? (size_t)used : 0;
}

static sg_codec_outcome lz4_decompress(void *out, size_t size, const void *in, size_t n) {
    if (size > LZ4_MAX_INPUT_SIZE || n > LZ4_MAX_INPUT_SIZE)
        return SG_CODEC_DAMAGED;
    int made = LZ4_decompress_safe(in, out, (int)n, (int)size);
    return made >= 0 && (size_t)made == size ? SG_CODEC_DONE : SG_CODEC_DAMAGED;
}

/* ---- Zstandard: one frame ------------------------------------------------------------------ */

static bool zstd_ready(sg_codecs *c) {
    if (c->zstd != NULL)
        return true;
    if (!memory_left() || (c->zstd = ZSTD_createCCtx()) == NULL)
        return false;
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    return true;
}

static size_t zstd_compress(sg_codecs *c, void *out, size_t cap, const void *in, size_t n) {
    if (!zstd_ready(c))
        return 0;
    size_t used = ZSTD_compress2(c->zstd, out, cap, in, n);
    return ZSTD_isError(used) ? 0 : used;
}

/* The library would take more: the formats of its first years, frames that follow one another, and
 * others between them that it skips. */
static bool is_one_frame(const void *in, size_t n) {
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    return n > sizeof magic && memcmp(in, magic, sizeof magic) == 0 &&
           ZSTD_findFrameCompressedSize(in, n) == n;
}

static sg_codec_outcome zstd_decompress(sg_codecs *c, void *out, size_t size, const void *in,
                                        size_t n) {
    if (!is_one_frame(in, n))
        return SG_CODEC_DAMAGED;
    unsigned long long told = ZSTD_getFrameContentSize(in, n);
    if (told != size && told != ZSTD_CONTENTSIZE_UNKNOWN)
        return SG_CODEC_DAMAGED;
    if (c->zstd_in == NULL && (!memory_left() || (c->zstd_in = ZSTD_createDCtx()) == NULL))
        return SG_CODEC_NO_MEMORY;
    size_t made = ZSTD_decompressDCtx(c->zstd_in, out, size, in, n);
    if (ZSTD_isError(made) && ZSTD_getErrorCode(made) == ZSTD_error_memory_allocation)
        return SG_CODEC_NO_MEMORY;
    return made == size ? SG_CODEC_DONE : SG_CODEC_DAMAGED;
}

/* ---- Both ---------------------------------------------------------------------------------- */

size_t sg_codec_compress(sg_codecs *c, seg_codec codec, void *out, size_t cap, const void *in,
                         size_t n) {
    switch (codec) {
    case SEG_LZ4:
        return lz4_compress(c, out, cap, in, n);
    case SEG_ZSTD:
        return zstd_compress(c, out, cap, in, n);
    case SEG_PLAIN:
        break;
    }
    return 0;
}

sg_codec_outcome sg_codec_decompress(sg_codecs *c, seg_codec codec, void *out, size_t size,
                                     const void *in, size_t n) {
    switch (codec) {
    case SEG_LZ4:
        return lz4_decompress(out, size, in, n);
    case SEG_ZSTD:
        return zstd_decompress(c, out, size, in, n);
    case SEG_PLAIN:
        break;
    }
    return SG_CODEC_DAMAGED;
}
