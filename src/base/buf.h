/* buf.h - a growing byte buffer with a ceiling. After an append that failed (no memory, or past
 * the ceiling) the contents are as before. Not thread-safe. */
#ifndef SG_BASE_BUF_H
#define SG_BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

typedef struct sg_buf {
    uint8_t *data; /* NULL until the first append */
    size_t len, cap;
    size_t max;    /* ceiling of len */
    sg_pool *pool; /* where its memory comes from; NULL: the heap */
} sg_buf;

void sg_buf_init(sg_buf *b, size_t max);
void sg_buf_init_pooled(sg_buf *b, size_t max, sg_pool *pool); /* not for sg_buf_take */
void sg_buf_fini(sg_buf *b);                 /* frees; the buffer is as after init */
void sg_buf_clear(sg_buf *b);                /* len = 0, memory is kept */
void sg_buf_trim(sg_buf *b);                 /* give back memory past len, where that can be done */
bool sg_buf_reserve(sg_buf *b, size_t more); /* room for `more` bytes past len */
bool sg_buf_append(sg_buf *b, const void *p, size_t n);
bool sg_buf_str(sg_buf *b, const char *s);
bool sg_buf_byte(sg_buf *b, uint8_t v);
bool sg_buf_varint(sg_buf *b, uint64_t v); /* LEB128: 7 bits a byte, least significant first */
bool sg_buf_printf(sg_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sg_buf_drop(sg_buf *b, size_t n); /* remove the first n bytes */
/* Hand the bytes over: returns data (sg_free it), the buffer is empty as after init. */
uint8_t *sg_buf_take(sg_buf *b, size_t *len);

/* Varints in plain memory. sg_varint_size: 1..10. sg_varint_write: `out` has room, returns size.
 * sg_varint_read: bytes used, or 0 where [p, end) holds no whole varint or one over 64 bits. */
static inline size_t sg_varint_size(uint64_t v) {
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static inline size_t sg_varint_write(uint8_t *out, uint64_t v) {
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

size_t sg_varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out);

/* Signed numbers as unsigned ones, small where the magnitude is small. */
static inline uint64_t sg_zigzag(int64_t v) {
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t sg_unzigzag(uint64_t v) {
    return (int64_t)((v >> 1) ^ (0 - (v & 1)));
}
#endif
