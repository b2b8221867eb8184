/* block.h - a stream entry in a reader's hands: its bytes, as they came or decompressed, and where
 * each of its records begins. Counted: by the partition that may deliver it (again) and by every
 * seg_batch that holds messages of it.
 *
 *   sg_block *b = sg_block_new(pool, len);        room for the entry's value
 *   memcpy(sg_block_room(b), value, len);         or received right into it
 *   b = sg_block_open(b, last, seed, ...);        checked; NULL: it is none of ours
 *   sg_block_record(b, b->first, &view); */
#ifndef SG_CORE_BLOCK_H
#define SG_CORE_BLOCK_H
#include <stdatomic.h>

#include "base/pool.h"
#include "core/batch.h"

typedef struct sg_block {
    atomic_uint references;
    uint32_t count;         /* records; 0: not opened */
    uint64_t first;         /* offset of its first record */
    size_t len;             /* of the value, as it is stored */
    size_t bytes;           /* of the batch, decompressed */
    const uint8_t *records; /* in here */
    int64_t base_ts;
    uint32_t *starts; /* of each record, from `records` */
    uint32_t few[6];  /* they are in here where there are no more */
} sg_block;

sg_block *sg_block_new(sg_pool *pool, size_t len); /* one reference. NULL: no memory */
uint8_t *sg_block_room(sg_block *b);               /* `len` bytes */
/* Read the value. `last`: the entry's offset; `seed`: the stream's. Takes b's reference in every
 * case, and answers with another block where it had to be decompressed. NULL: not a batch of ours
 * (`why` is set), or no memory (`why` is NULL). */
sg_block *sg_block_open(sg_block *b, uint64_t last, uint32_t seed, sg_codecs *codecs, sg_pool *pool,
                        const char **why);
void sg_block_ref(sg_block *b);
void sg_block_unref(sg_block *b); /* NULL too */

/* The record at `offset`, which is one of it: views into the block. */
void sg_block_record(const sg_block *b, uint64_t offset, sg_record_view *out);
#endif
