/* batch.h - the record batch: what one stream entry holds. docs/protocol.md draws it byte by byte.
 *
 *   0      2   3   4      8         16       20      24
 *   | "SB" | 1 | c | count | base ts | size   | crc   | records ...
 *
 * All numbers little-endian. 1: format version. c: codec (0 none). count: records, u32, at least 1.
 * base ts: ms, i64. size: bytes of the records before compression, u32. crc: CRC-32C of the
 * stream's incarnation, of the 20 bytes before it and of all that follow it. A record is, with
 * varints (LEB128):
 *
 *   zigzag(ts - base ts) | key length | key | value length | value | headers
 *   | {name length | name | value length | value} for each header
 *
 * Knows no offsets: a batch of n messages stored as entry <era>-<last> holds offsets last-n+1 ..
 * last. */
#ifndef SG_CORE_BATCH_H
#define SG_CORE_BATCH_H
#include <segmenter/segmenter.h>

#include "base/buf.h"

#define SG_BATCH_HEADER  24
#define SG_BATCH_VERSION 1

/* Appends records into one buffer, in place. */
typedef struct sg_batch_writer {
    sg_buf buf;      /* header room first */
    uint32_t count;  /* records so far */
    int64_t base_ts; /* time stamp of the first */
} sg_batch_writer;

/* max_bytes: ceiling of the whole batch. pool: of its memory; NULL: the heap. */
void sg_batch_writer_init(sg_batch_writer *w, size_t max_bytes, sg_pool *pool);
void sg_batch_writer_fini(sg_batch_writer *w);

/* Exact bytes that `r` takes in a batch whose base is `base_ts` (its timestamp already set). */
size_t sg_batch_record_size(const seg_record *r, int64_t base_ts);

/* Add a record whose timestamp is set. False: no memory or past the ceiling; nothing changed. */
bool sg_batch_add(sg_batch_writer *w, const seg_record *r);
/* The same, where its sg_batch_record_size is known: with the batch's base, or its own time stamp where it
 * is the first. */
bool sg_batch_add_sized(sg_batch_writer *w, const seg_record *r, size_t size);

/* Bytes so far, header included; 0 where empty. */
size_t sg_batch_size(const sg_batch_writer *w);

/* What a stream's batches begin their CRC with: the CRC of its incarnation. A batch of another
 * stream, or of an older one of the same name, is thus none of ours. */
uint32_t sg_batch_seed(const char *incarnation);

/* Write the header. The bytes are w->buf.data[0 .. w->buf.len); nothing may be added after. */
void sg_batch_seal(sg_batch_writer *w, uint32_t seed);

/* Move all records of a sealed batch but the first n (0 < n < count) to `rest`, which is empty;
 * both want sealing then. False: no memory, nothing changed. */
bool sg_batch_split(sg_batch_writer *w, uint32_t n, sg_batch_writer *rest);

/* One record of a batch: views into the batch's bytes. */
typedef struct sg_record_view {
    seg_bytes key, value;
    seg_bytes headers;  /* the encoded header pairs, validated; walk with sg_header_next */
    uint32_t n_headers; /* pairs */
    int64_t timestamp;
} sg_record_view;

typedef struct sg_batch_reader {
    const uint8_t *at, *end;
    uint32_t count, left;
    int64_t base_ts;
} sg_batch_reader;

/* Check header, sizes and CRC. False where the bytes are no whole valid batch; `why` (may be NULL)
 * gets a static text. Survives any bytes; allocates nothing; `count` is bounded by the bytes that
 * follow. */
bool sg_batch_open(sg_batch_reader *r, const void *data, size_t len, uint32_t seed,
                   const char **why);

/* The next record. 1: written to `out`; 0: the end, and all bytes were used; -1: malformed. */
int sg_batch_next(sg_batch_reader *r, sg_record_view *out);

/* Walk a view's headers: `headers` shrinks from the front. False at the end. */
bool sg_header_next(seg_bytes *headers, seg_bytes *name, seg_bytes *value);
#endif
