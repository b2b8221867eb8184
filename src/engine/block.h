/* block.h - a fetched entry: its bytes, as they came from the network or decompressed, and the records
 * in them.
 * Counted: by the partition that may deliver it (again) and by every seg_batch that holds messages
 * of it. */
#ifndef SG_ENGINE_BLOCK_H
#define SG_ENGINE_BLOCK_H
#include <stdatomic.h>

#include "core/batch.h"
#include "redis/reply.h"

typedef struct sg_block {
    atomic_uint references;
    sg_blob blob;   /* none where the bytes are behind the records */
    size_t bytes;   /* of the batch, decompressed */
    uint64_t first; /* offset of its first record */
    uint32_t count;
    sg_record_view records[];
} sg_block;

struct seg_message {
    sg_record_view view;
    seg_delivery delivery;
    /* The header that was asked for last but one: index << 32 | its place in view.headers. A
     * hint: who reads them all need not begin anew for each. */
    _Atomic uint64_t hint;
};

/* Takes `blob` over in every case. `last`: the entry's offset; `seed`: the stream's. NULL: not a
 * batch of ours (`why` is set), or no memory (`why` is NULL). One reference. */
sg_block *sg_block_new(sg_blob blob, uint64_t last, uint32_t seed, sg_codecs *codecs,
                       const char **why);
void sg_block_ref(sg_block *b);
void sg_block_unref(sg_block *b);
#endif
