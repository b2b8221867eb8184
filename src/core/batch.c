/* batch.c - records are encoded once, into their final place: a batch is gathered, sealed and sent
 * without a copy. A compressed one keeps its records beside what is sent, as they may have to be
 * split, or some of them be taken out, when the answer comes. Reading checks the CRC first and then
 * trusts nothing all the same: a CRC tells damage, not malice.
 *
 * What a compressed batch may hold. The header says how much memory its records want, and a few
 * bytes can stand for very many: 3 KB of Zstandard for 64 MiB of zeros, which somebody may have
 * reason to send. A bound on the ratio would refuse them, or have the writer try whether the reader
 * will; so the bounds are absolute, and hold for writers too. SG_BATCH_SIZE_MAX is the largest message that a
 * producer takes (64 MiB of key, value and headers, and what makes it a dead letter), with what the
 * encoding adds: 4 bytes for each of 131,090 parts of headers at most. Plain batches may be as large.
 * SG_BATCH_COUNT_MAX bounds the views of the records, which take some 60 bytes each, where a record may be of
 * 4. Those who keep many batches count what each takes, and stop reading in time (fetch.c, dlq.c). */
#include "core/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

/* Places in the header. */
enum { AT_VERSION = 2, AT_CODEC = 3, AT_COUNT = 4, AT_BASE = 8, AT_SIZE = 16, AT_CRC = 20 };
enum { RECORD_MIN = 4 /* one byte for each of its four varints */ };

static void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void put64(uint8_t *p, uint64_t v) {
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *p, unsigned bytes) {
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint32_t checksum(uint32_t seed, const uint8_t *batch, size_t len) {
    uint32_t crc = sg_crc32c(seed, batch, AT_CRC);
    return sg_crc32c(crc, batch + SG_BATCH_HEADER, len - SG_BATCH_HEADER);
}

/* Both differences wrap: any two time stamps can be in one batch. */
static uint64_t encode_ts(int64_t ts, int64_t base) {
    return sg_zigzag((int64_t)((uint64_t)ts - (uint64_t)base));
}

static int64_t decode_ts(uint64_t delta, int64_t base) {
    return (int64_t)((uint64_t)base + (uint64_t)sg_unzigzag(delta));
}

/* ---- Writing ------------------------------------------------------------------------------ */

void sg_batch_writer_init(sg_batch_writer *w, size_t max_bytes, sg_pool *pool) {
    /* `size` and `count` are 32 bits wide; count is below size, so this bounds both. */
    size_t limit = UINT32_MAX;
    sg_buf_init_pooled(&w->buf, max_bytes < limit ? max_bytes : limit, pool);
    sg_buf_init_pooled(&w->packed, w->buf.max, pool);
    w->count = 0;
    w->base_ts = 0;
}

void sg_batch_writer_fini(sg_batch_writer *w) {
    sg_buf_fini(&w->buf);
    sg_buf_fini(&w->packed);
    sg_batch_writer_init(w, w->buf.max, w->buf.pool);
}

static void add_saturating(size_t *sum, size_t n) {
    if (__builtin_add_overflow(*sum, n, sum))
        *sum = SIZE_MAX;
}

static void add_bytes_size(size_t *sum, seg_bytes b) {
    add_saturating(sum, sg_varint_size(b.len));
    add_saturating(sum, b.len);
}

size_t sg_batch_record_size(const seg_record *r, int64_t base_ts) {
    size_t sum = sg_varint_size(encode_ts(r->timestamp, base_ts));
    add_bytes_size(&sum, r->key);
    add_bytes_size(&sum, r->value);
    add_saturating(&sum, sg_varint_size(r->n_headers));
    for (size_t i = 0; i < r->n_headers; i++) {
        add_bytes_size(&sum, r->headers[2 * i]);
        add_bytes_size(&sum, r->headers[2 * i + 1]);
    }
    return sum;
}

static uint8_t *write_bytes(uint8_t *at, seg_bytes b) {
    at += sg_varint_write(at, b.len);
    if (b.len > 0)
        memcpy(at, b.data, b.len);
    return at + b.len;
}

bool sg_batch_add(sg_batch_writer *w, const seg_record *r) {
    return sg_batch_add_sized(w, r,
                              sg_batch_record_size(r, w->count == 0 ? r->timestamp : w->base_ts));
}

/* Who gathers many batches in turn finds the end of each out of the cache, and whatever fences next
 * (an unlock) waits for what was written there. The next record is mostly as large as this one. */
static void fetch_ahead(uint8_t *at, size_t size) {
    enum { LINE = 64, MOST = 4 * LINE };
    for (size_t i = 0; i < size + LINE && i < MOST; i += LINE)
        __builtin_prefetch(at + i, 1);
}

bool sg_batch_add_sized(sg_batch_writer *w, const seg_record *r, size_t size) {
    int64_t base = w->count == 0 ? r->timestamp : w->base_ts;
    size_t header = w->count == 0 ? SG_BATCH_HEADER : 0;
    if (size > SIZE_MAX - header || !sg_buf_reserve(&w->buf, header + size))
        return false;
    if (header > 0)
        memset(w->buf.data, 0, header);
    uint8_t *at = w->buf.data + w->buf.len + header;
    at += sg_varint_write(at, encode_ts(r->timestamp, base));
    at = write_bytes(at, r->key);
    at = write_bytes(at, r->value);
    at += sg_varint_write(at, r->n_headers);
    for (size_t i = 0; i < 2 * r->n_headers; i++)
        at = write_bytes(at, r->headers[i]);
    w->buf.len += header + size;
    w->base_ts = base;
    w->count++;
    fetch_ahead(at, size);
    return true;
}

size_t sg_batch_size(const sg_batch_writer *w) {
    return w->buf.len;
}

uint32_t sg_batch_seed(const char *incarnation) {
    return sg_crc32c(0, incarnation, strlen(incarnation));
}

static void write_header(const sg_batch_writer *w, sg_buf *to, uint32_t seed, seg_codec codec) {
    uint8_t *p = to->data;
    memcpy(p, "SB", 2);
    p[AT_VERSION] = SG_BATCH_VERSION;
    p[AT_CODEC] = (uint8_t)codec;
    put32(p + AT_COUNT, w->count);
    put64(p + AT_BASE, (uint64_t)w->base_ts);
    put32(p + AT_SIZE, (uint32_t)(w->buf.len - SG_BATCH_HEADER));
    put32(p + AT_CRC, checksum(seed, p, to->len));
}

void sg_batch_seal(sg_batch_writer *w, uint32_t seed) {
    sg_buf_fini(&w->packed);
    if (w->count > 0)
        write_header(w, &w->buf, seed, SEG_PLAIN);
}

/* Into room for one byte less than it has. */
static bool compress(sg_batch_writer *w, seg_codec codec, sg_codecs *c) {
    size_t size = w->buf.len - SG_BATCH_HEADER;
    if (codec == SEG_PLAIN || size > SG_BATCH_SIZE_MAX || w->count > SG_BATCH_COUNT_MAX ||
        !sg_buf_reserve(&w->packed, w->buf.len - 1))
        return false;
    size_t used = sg_codec_compress(c, codec, w->packed.data + SG_BATCH_HEADER, size - 1,
                                    w->buf.data + SG_BATCH_HEADER, size);
    w->packed.len = SG_BATCH_HEADER + used;
    return used > 0;
}

void sg_batch_pack(sg_batch_writer *w, uint32_t seed, seg_codec codec, sg_codecs *c) {
    sg_buf_fini(&w->packed);
    if (w->count == 0 || !compress(w, codec, c)) {
        sg_batch_seal(w, seed);
        return;
    }
    write_header(w, &w->packed, seed, codec);
    sg_buf_trim(&w->packed);
}

seg_bytes sg_batch_bytes(const sg_batch_writer *w) {
    const sg_buf *b = w->packed.len > 0 ? &w->packed : &w->buf;
    return (seg_bytes){b->data, b->len};
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* The fault of the header, or NULL. */
static const char *header_fault(uint32_t seed, const uint8_t *p, size_t len) {
    if (len < SG_BATCH_HEADER)
        return "shorter than a record batch's header";
    if (memcmp(p, "SB", 2) != 0)
        return "no record batch: it does not start with \"SB\"";
    if (p[AT_VERSION] != SG_BATCH_VERSION)
        return "record batch of an unknown format version";
    if (seg_codec_name((seg_codec)p[AT_CODEC]) == NULL)
        return "record batch of an unknown codec";
    bool packed = p[AT_CODEC] != SEG_PLAIN;
    uint64_t size = get(p + AT_SIZE, 4), count = get(p + AT_COUNT, 4);
    if (!packed && size != len - SG_BATCH_HEADER)
        return "record batch of another length than its header says";
    if (packed && size > SG_BATCH_SIZE_MAX)
        return "compressed record batch of more than 65 MiB";
    if (count == 0 || count > size / RECORD_MIN)
        return "record batch with a count that does not fit its length";
    if (packed && count > SG_BATCH_COUNT_MAX)
        return "compressed record batch of more than 65536 records";
    if (get(p + AT_CRC, 4) != checksum(seed, p, len))
        return "record batch with a wrong CRC: it was damaged";
    return NULL;
}

bool sg_batch_open(sg_batch_reader *r, const void *data, size_t len, uint32_t seed,
                   const char **why) {
    const uint8_t *p = data;
    const char *fault = header_fault(seed, p, len);
    if (fault != NULL) {
        if (why != NULL)
            *why = fault;
        return false;
    }
    uint32_t count = (uint32_t)get(p + AT_COUNT, 4);
    seg_codec codec = (seg_codec)p[AT_CODEC];
    *r = (sg_batch_reader){
        .at = p + SG_BATCH_HEADER,
        .end = codec == SEG_PLAIN ? p + len : p + SG_BATCH_HEADER, /* no record, as it is */
        .count = count,
        .left = count,
        .base_ts = (int64_t)get(p + AT_BASE, 8),
        .codec = codec,
        .size = (uint32_t)get(p + AT_SIZE, 4),
        .packed = {p + SG_BATCH_HEADER, len - SG_BATCH_HEADER},
    };
    return true;
}

bool sg_batch_unpack(sg_batch_reader *r, sg_codecs *c, void *out, const char **why) {
    switch (sg_codec_decompress(c, r->codec, out, r->size, r->packed.data, r->packed.len)) {
    case SG_CODEC_DONE:
        r->at = out;
        r->end = r->at + r->size;
        return true;
    case SG_CODEC_DAMAGED:
        *why = "compressed records that cannot be decompressed to what the header says";
        return false;
    case SG_CODEC_NO_MEMORY:
        break;
    }
    *why = NULL;
    return false;
}

bool sg_batch_load(sg_batch_reader *r, const void *data, size_t len, uint32_t seed, sg_codecs *c,
                   void **own, const char **why) {
    *own = NULL;
    *why = NULL;
    if (!sg_batch_open(r, data, len, seed, why))
        return false;
    if (r->codec == SEG_PLAIN)
        return true;
    *own = sg_alloc(r->size);
    return *own != NULL && sg_batch_unpack(r, c, *own, why);
}

size_t sg_batch_weight(const void *data, size_t len) {
    const uint8_t *p = data;
    if (len < SG_BATCH_HEADER || memcmp(p, "SB", 2) != 0 || p[AT_CODEC] == SEG_PLAIN)
        return len;
    size_t size = (size_t)get(p + AT_SIZE, 4);
    return size > SG_BATCH_SIZE_MAX ? len : SG_BATCH_HEADER + size;
}

bool sg_batch_time(const void *header, size_t len, int64_t *out) {
    const uint8_t *p = header;
    if (len < SG_BATCH_HEADER || memcmp(p, "SB", 2) != 0 || p[AT_VERSION] != SG_BATCH_VERSION)
        return false;
    *out = (int64_t)get(p + AT_BASE, 8);
    return true;
}

static inline bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *v) {
    if (*at < end && **at < 0x80) { /* mostly */
        *v = *(*at)++;
        return true;
    }
    size_t n = sg_varint_read(*at, end, v);
    *at += n;
    return n > 0;
}

static inline bool read_bytes(const uint8_t **at, const uint8_t *end, seg_bytes *out) {
    uint64_t len;
    if (!read_varint(at, end, &len) || len > (uint64_t)(end - *at))
        return false;
    *out = (seg_bytes){*at, (size_t)len};
    *at += len;
    return true;
}

static inline bool read_headers(const uint8_t **at, const uint8_t *end, sg_record_view *v) {
    uint64_t pairs;
    if (!read_varint(at, end, &pairs) || pairs > (uint64_t)(end - *at) / 2)
        return false;
    const uint8_t *first = *at;
    seg_bytes ignored;
    if (pairs == 0) { /* mostly */
        v->headers = (seg_bytes){first, 0};
        v->n_headers = 0;
        return true;
    }
    for (uint64_t i = 0; i < 2 * pairs; i++)
        if (!read_bytes(at, end, &ignored))
            return false;
    v->headers = (seg_bytes){first, (size_t)(*at - first)};
    v->n_headers = (uint32_t)pairs; /* below the batch's length, so below 2^32 */
    return true;
}

static inline bool read_record(const uint8_t **at, const uint8_t *end, int64_t base_ts,
                               sg_record_view *v) {
    uint64_t delta;
    if (!read_varint(at, end, &delta) || !read_bytes(at, end, &v->key) ||
        !read_bytes(at, end, &v->value) || !read_headers(at, end, v))
        return false;
    v->timestamp = decode_ts(delta, base_ts);
    return true;
}

int sg_batch_next(sg_batch_reader *r, sg_record_view *out) {
    if (r->left == 0)
        return r->at == r->end ? 0 : -1;
    const uint8_t *at = r->at;
    sg_record_view v;
    if (!read_record(&at, r->end, r->base_ts, &v))
        return -1;
    *out = v;
    r->at = at;
    r->left--;
    return 1;
}

bool sg_batch_index(sg_batch_reader *r, uint32_t *starts) {
    const uint8_t *records = r->at, *at = records;
    sg_record_view ignored;
    for (uint32_t i = 0; i < r->count; i++) {
        starts[i] = (uint32_t)(at - records);
        if (!read_record(&at, r->end, r->base_ts, &ignored))
            return false;
    }
    return at == r->end;
}

void sg_batch_record(const uint8_t *record, const uint8_t *end, int64_t base_ts,
                     sg_record_view *out) {
    if (!read_record(&record, end, base_ts, out))
        *out = (sg_record_view){.timestamp = base_ts}; /* it was not one of an index */
}

bool sg_header_next(seg_bytes *headers, seg_bytes *name, seg_bytes *value) {
    if (headers->len == 0)
        return false;
    const uint8_t *at = headers->data;
    const uint8_t *end = at + headers->len;
    seg_bytes n, v;
    if (!read_bytes(&at, end, &n) || !read_bytes(&at, end, &v))
        return false;
    *headers = (seg_bytes){at, (size_t)(end - at)};
    if (name != NULL)
        *name = n;
    if (value != NULL)
        *value = v;
    return true;
}

/* Time stamps are relative to the batch's base, which both keep. */
bool sg_batch_split(sg_batch_writer *w, uint32_t n, sg_batch_writer *rest) {
    sg_batch_reader r = {.at = w->buf.data + SG_BATCH_HEADER,
                         .end = w->buf.data + w->buf.len,
                         .count = w->count,
                         .left = w->count,
                         .base_ts = w->base_ts};
    sg_record_view v;
    for (uint32_t i = 0; i < n; i++)
        sg_batch_next(&r, &v);
    size_t kept = (size_t)(r.at - w->buf.data);
    if (!sg_buf_append(&rest->buf, w->buf.data, SG_BATCH_HEADER) ||
        !sg_buf_append(&rest->buf, r.at, w->buf.len - kept)) {
        sg_buf_clear(&rest->buf);
        return false;
    }
    rest->base_ts = w->base_ts;
    rest->count = w->count - n;
    w->count = n;
    w->buf.len = kept;
    return true;
}
