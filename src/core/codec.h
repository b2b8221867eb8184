/* codec.h - compressing the records of a batch, and decompressing what anybody may have made.
 *
 * Contexts are made when first needed and used again: in between nothing is allocated for a batch.
 * One thread at a time for each sg_codecs. */
#ifndef SG_CORE_CODEC_H
#define SG_CORE_CODEC_H
#include <segmenter/segmenter.h>

typedef struct sg_codecs {
    void *lz4;                   /* for compressing; decompressing needs none */
    struct ZSTD_CCtx_s *zstd;    /* for compressing */
    struct ZSTD_DCtx_s *zstd_in; /* for decompressing */
} sg_codecs;

void sg_codecs_init(sg_codecs *c); /* the same as zeroed */
void sg_codecs_fini(sg_codecs *c); /* as after init */

/* Compress `n` bytes into `cap` at `out`. How many it takes; 0: more than that, or no memory. */
size_t sg_codec_compress(sg_codecs *c, seg_codec codec, void *out, size_t cap, const void *in,
                         size_t n);

typedef enum sg_codec_outcome {
    SG_CODEC_DONE,
    SG_CODEC_DAMAGED,
    SG_CODEC_NO_MEMORY
} sg_codec_outcome;

/* Decompress `n` bytes into what must be exactly `size`. Survives any bytes; takes no memory that
 * grows with what they say. Where it is not done, `out` may hold anything. */
sg_codec_outcome sg_codec_decompress(sg_codecs *c, seg_codec codec, void *out, size_t size,
                                     const void *in, size_t n);
#endif
