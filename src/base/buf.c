/* buf.c - grows by doubling, so that appending is amortised O(1), and never past the ceiling. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define FIRST_CAP 64

void sg_buf_init(sg_buf *b, size_t max) {
    *b = (sg_buf){.max = max};
}

void sg_buf_init_pooled(sg_buf *b, size_t max, sg_pool *pool) {
    *b = (sg_buf){.max = max, .pool = pool};
}

void sg_buf_fini(sg_buf *b) {
    if (b->pool != NULL)
        sg_pool_give(b->data);
    else
        sg_free(b->data);
    sg_buf_init_pooled(b, b->max, b->pool);
}

void sg_buf_clear(sg_buf *b) {
    b->len = 0;
}

void sg_buf_trim(sg_buf *b) {
    /* A pool's pieces come in its own sizes. */
    uint8_t *data = b->pool == NULL && b->cap > b->len ? sg_realloc(b->data, b->len) : NULL;
    if (data == NULL)
        return;
    b->data = data;
    b->cap = b->len;
}

/* Make cap at least `need`. The ceiling bounds len, which the callers check; it only keeps the
 * doubling here from overshooting. */
static bool grow(sg_buf *b, size_t need) {
    if (need <= b->cap)
        return true;
    size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (cap < FIRST_CAP)
        cap = FIRST_CAP;
    if (cap > b->max)
        cap = b->max;
    if (cap < need)
        cap = need;
    uint8_t *data =
        b->pool != NULL ? sg_pool_grow(b->pool, b->data, b->len, cap) : sg_realloc(b->data, cap);
    if (data == NULL)
        return false;
    b->data = data;
    b->cap = b->pool != NULL ? sg_pool_room(data) : cap;
    return true;
}

bool sg_buf_reserve(sg_buf *b, size_t more) {
    return more <= b->max - b->len && grow(b, b->len + more);
}

bool sg_buf_append(sg_buf *b, const void *p, size_t n) {
    if (n == 0)
        return true;
    if (!sg_buf_reserve(b, n))
        return false;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    return true;
}

bool sg_buf_str(sg_buf *b, const char *s) {
    return sg_buf_append(b, s, strlen(s));
}

bool sg_buf_byte(sg_buf *b, uint8_t v) {
    return sg_buf_append(b, &v, 1);
}

bool sg_buf_varint(sg_buf *b, uint64_t v) {
    if (!sg_buf_reserve(b, sg_varint_size(v)))
        return false;
    b->len += sg_varint_write(b->data + b->len, v);
    return true;
}

bool sg_buf_printf(sg_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n > b->max - b->len)
        return false;
    if (!grow(b, b->len + (size_t)n + 1)) /* vsnprintf's NUL is past len, so not in the ceiling */
        return false;
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return true;
}

void sg_buf_drop(sg_buf *b, size_t n) {
    if (n == 0)
        return;
    if (n > b->len)
        n = b->len;
    b->len -= n;
    if (b->len > 0)
        memmove(b->data, b->data + n, b->len);
}

uint8_t *sg_buf_take(sg_buf *b, size_t *len) {
    uint8_t *data = b->data;
    *len = b->len;
    sg_buf_init(b, b->max);
    return data;
}

size_t sg_varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned i = 0; i < 10 && p + i < end; i++) {
        if (i == 9 && p[i] > 1) /* 9 bytes hold 63 bits: one is left */
            return 0;
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}
