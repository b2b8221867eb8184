#include "engine/block.h"

#include "base/alloc.h"

static bool read_records(sg_block *b, sg_batch_reader *reader) {
    for (uint32_t i = 0; i < b->count; i++)
        if (sg_batch_next(reader, &b->records[i]) != 1)
            return false;
    sg_record_view rest;
    return sg_batch_next(reader, &rest) == 0;
}

sg_block *sg_block_new(sg_blob blob, uint64_t last, uint32_t seed, sg_codecs *codecs,
                       const char **why) {
    sg_batch_reader reader;
    sg_block *b = NULL;
    *why = NULL;
    if (!sg_batch_open(&reader, blob.data, blob.len, seed, why))
        goto fail;
    if (reader.count > last + 1) {
        *why = "more messages than offsets before it";
        goto fail;
    }
    size_t own = reader.codec != SEG_PLAIN ? reader.size : 0; /* bytes, behind the views */
    b = sg_alloc(sizeof *b + reader.count * sizeof *b->records + own);
    if (b == NULL)
        goto fail;
    if (own > 0) {
        if (!sg_batch_unpack(&reader, codecs, &b->records[reader.count], why))
            goto fail;
        sg_blob_free(&blob);
    }
    atomic_init(&b->references, 1);
    b->blob = blob;
    b->bytes = SG_BATCH_HEADER + (size_t)reader.size;
    b->count = reader.count;
    b->first = last + 1 - reader.count;
    if (read_records(b, &reader))
        return b;
    *why = "malformed records";
fail:
    sg_free(b);
    sg_blob_free(&blob);
    return NULL;
}

void sg_block_ref(sg_block *b) {
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
}

void sg_block_unref(sg_block *b) {
    if (atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    sg_blob_free(&b->blob);
    sg_free(b);
}
