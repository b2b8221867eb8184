/* trace.c - W3C Trace Context, level 1:
 *
 *     00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
 *     │  trace id                         span id          └ flags
 *     └ version; of later ones the same is read, and what may follow behind another dash is not
 *
 * Two headers of the name may be of two traces: neither is believed. */
#include "core/trace.h"

#include <string.h>

enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53 };

/* Lower case only, as the specification says. */
static int digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `n` bytes of two digits each. */
static bool read_hex(uint8_t *out, const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool all_zero(const uint8_t *p, size_t n) {
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

bool seg_trace_parse(seg_trace_context *out, seg_bytes text) {
    const uint8_t *at = text.data;
    seg_trace_context t;
    uint8_t version;
    if (text.len < SEG_TRACEPARENT || !read_hex(&version, at, 1) || version == 0xff)
        return false;
    if (text.len > SEG_TRACEPARENT && (version == 0 || at[SEG_TRACEPARENT] != '-'))
        return false;
    if (at[AT_TRACE - 1] != '-' || at[AT_SPAN - 1] != '-' || at[AT_FLAGS - 1] != '-' ||
        !read_hex(t.trace_id, at + AT_TRACE, sizeof t.trace_id) ||
        !read_hex(t.span_id, at + AT_SPAN, sizeof t.span_id) ||
        !read_hex(&t.flags, at + AT_FLAGS, 1) || all_zero(t.trace_id, sizeof t.trace_id) ||
        all_zero(t.span_id, sizeof t.span_id))
        return false;
    if (version != 0)
        t.flags &= SEG_TRACE_SAMPLED;
    *out = t;
    return true;
}

static char *write_hex(char *out, const uint8_t *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return out;
}

void seg_trace_print(char out[SEG_TRACEPARENT + 1], const seg_trace_context *t) {
    const uint8_t version = 0;
    char *at = write_hex(out, &version, 1);
    *at++ = '-';
    at = write_hex(at, t->trace_id, sizeof t->trace_id);
    *at++ = '-';
    at = write_hex(at, t->span_id, sizeof t->span_id);
    *at++ = '-';
    at = write_hex(at, &t->flags, 1);
    *at = '\0';
}

bool sg_trace_is_parent(seg_bytes name) {
    const size_t n = sizeof SG_TRACEPARENT_NAME - 1;
    return name.len == n && memcmp(name.data, SG_TRACEPARENT_NAME, n) == 0;
}

bool sg_trace_of(const sg_record_view *r, seg_trace_context *out) {
    seg_bytes rest = r->headers, name, value, found = {NULL, 0};
    size_t parents = 0;
    for (size_t i = 0; i < r->n_headers && sg_header_next(&rest, &name, &value); i++)
        if (sg_trace_is_parent(name)) {
            found = value;
            parents++;
        }
    return parents == 1 && seg_trace_parse(out, found);
}
