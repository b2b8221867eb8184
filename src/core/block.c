#include "core/block.h"

#include "base/alloc.h"

/* A piece of the pool: the block, and the bytes behind it. */
sg_block *sg_block_new(sg_pool *pool, size_t len) {
    sg_block *b = len <= SIZE_MAX - sizeof *b ? sg_pool_take(pool, sizeof *b + len) : NULL;
    if (b == NULL)
        return NULL;
    *b = (sg_block){.len = len};
    atomic_init(&b->references, 1);
    return b;
}

uint8_t *sg_block_room(sg_block *b) {
    return (uint8_t *)(b + 1);
}

void sg_block_ref(sg_block *b) {
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
}

void sg_block_unref(sg_block *b) {
    if (b == NULL || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    if (b->starts != b->few)
        sg_free(b->starts);
    sg_pool_give(b);
}

/* Where the records of a batch that is open begin. */
static bool find_records(sg_block *b, sg_batch_reader *reader, const char **why) {
    b->records = reader->at;
    b->base_ts = reader->base_ts;
    b->starts = reader->count <= sizeof b->few / sizeof b->few[0]
                    ? b->few
                    : sg_reallocarray(NULL, reader->count, sizeof *b->starts);
    if (b->starts == NULL)
        return false;
    if (!sg_batch_index(reader, b->starts)) {
        *why = "malformed records";
        return false;
    }
    return true;
}

/* The block that has the records in the clear: b itself, or one that takes its place. */
static sg_block *unpacked(sg_block *b, sg_batch_reader *reader, sg_codecs *codecs, sg_pool *pool,
                          const char **why) {
    if (reader->codec == SEG_PLAIN)
        return b;
    sg_block *clear = sg_block_new(pool, reader->size);
    if (clear != NULL && !sg_batch_unpack(reader, codecs, sg_block_room(clear), why)) {
        sg_block_unref(clear);
        clear = NULL;
    }
    sg_block_unref(b);
    return clear;
}

sg_block *sg_block_open(sg_block *b, uint64_t last, uint32_t seed, sg_codecs *codecs, sg_pool *pool,
                        const char **why) {
    sg_batch_reader reader;
    *why = NULL;
    if (!sg_batch_open(&reader, sg_block_room(b), b->len, seed, why)) {
        sg_block_unref(b);
        return NULL;
    }
    if (reader.count - 1 > last) {
        *why = "more messages than offsets before it";
        sg_block_unref(b);
        return NULL;
    }
    b = unpacked(b, &reader, codecs, pool, why);
    if (b == NULL)
        return NULL;
    b->bytes = SG_BATCH_HEADER + (size_t)reader.size;
    b->count = reader.count;
    b->first = last - (reader.count - 1);
    if (find_records(b, &reader, why))
        return b;
    sg_block_unref(b);
    return NULL;
}

void sg_block_record(const sg_block *b, uint64_t offset, sg_record_view *out) {
    const uint8_t *end = b->records + (b->bytes - SG_BATCH_HEADER);
    sg_batch_record(b->records + b->starts[offset - b->first], end, b->base_ts, out);
}
