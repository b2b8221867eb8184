/* batch.h - the record batch: what one stream entry holds. docs/protocol.md draws it byte by byte.
 *
 *   0      2   3   4      8         16       20      24
 *   | "SB" | 1 | c | count | base ts | size   | crc   | records ...
 *
 * All numbers little-endian. 1: format version. c: codec, a seg_codec: the records are compressed
 * as one piece (core/codec.h). count: records, u32, at least 1. base ts: ms, i64. size: bytes of
 * the records before compression, u32. crc: CRC-32C of the stream's incarnation, of the 20 bytes
 * before it and of all that follow it, as stored. A record is, with varints (LEB128):
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
#include "core/codec.h"

#define SG_BATCH_HEADER  24
#define SG_BATCH_VERSION 1
/* What a compressed batch may hold: see batch.c. */
#define SG_BATCH_SIZE_MAX  ((size_t)65 << 20)
#define SG_BATCH_COUNT_MAX 65536

/* Appends records into one buffer, in place. */
typedef struct sg_batch_writer {
    sg_buf buf;      /* header room first */
    sg_buf packed;   /* the whole batch, compressed; empty: it is not */
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

/* Write the header; nothing may be added after. The batch's bytes are then sg_batch_bytes. */
void sg_batch_seal(sg_batch_writer *w, uint32_t seed);
/* The same, compressed: plain all the same where it does not get smaller, is larger than a
 * compressed one may be, or there is no memory for it. The records stay as they are beside it. */
void sg_batch_pack(sg_batch_writer *w, uint32_t seed, seg_codec codec, sg_codecs *c);
seg_bytes sg_batch_bytes(const sg_batch_writer *w);

/* Move all records of a batch but the first n (0 < n < count) to `rest`, which is empty; both want
 * sealing then. False: no memory, nothing changed. */
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
    seg_codec codec;
    uint32_t size;    /* bytes of the records */
    seg_bytes packed; /* the same, compressed */
} sg_batch_reader;

/* Check header, sizes and CRC. False where the bytes are no whole valid batch; `why` (may be NULL)
 * gets a static text. Survives any bytes; allocates nothing; `count` is bounded by the bytes that
 * follow. Where `codec` is another than SEG_PLAIN it wants unpacking before the first record. */
bool sg_batch_open(sg_batch_reader *r, const void *data, size_t len, uint32_t seed,
                   const char **why);

/* Decompress the records into the `size` bytes at `out`, of which the views are then. False: they
 * are damaged, or there is no memory (`why` is NULL then). */
bool sg_batch_unpack(sg_batch_reader *r, sg_codecs *c, void *out, const char **why);

/* Both, into memory of its own where it needs some: `*own` is for sg_free when the reading is over,
 * also where this fails. */
bool sg_batch_load(sg_batch_reader *r, const void *data, size_t len, uint32_t seed, sg_codecs *c,
                   void **own, const char **why);

/* What a batch of these bytes takes once it is unpacked; `len` where it is not packed, or none. */
size_t sg_batch_weight(const void *data, size_t len);

/* The base time stamp that a header has, of which no more is here than its 24 bytes. False: it is none, or
 * of another version. */
bool sg_batch_time(const void *header, size_t len, int64_t *out);

/* The next record. 1: written to `out`; 0: the end, and all bytes were used; -1: malformed. */
int sg_batch_next(sg_batch_reader *r, sg_record_view *out);

/* Check all records of a batch that is open, before the first was read, and tell where each begins,
 * from the first on: `count` places. False: malformed. */
bool sg_batch_index(sg_batch_reader *r, uint32_t *starts);
/* The record that begins there, which was so checked; the batch ends at `end`. */
void sg_batch_record(const uint8_t *record, const uint8_t *end, int64_t base_ts,
                     sg_record_view *out);

/* Walk a view's headers: `headers` shrinks from the front. False at the end. */
bool sg_header_next(seg_bytes *headers, seg_bytes *name, seg_bytes *value);
#endif
