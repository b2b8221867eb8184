/* fuzz_replies.h - bytes as a server would send them, cut anywhere, and answers as text, so that
 * two of them can be compared. */
#ifndef SG_FUZZ_REPLIES_H
#define SG_FUZZ_REPLIES_H
#include <inttypes.h>

#include "base/buf.h"
#include "fuzz.h"
#include "redis/reader.h"

/* As a receive would leave them: `part` is at most what a chunk holds. */
static inline void fuzz_feed(sg_reader *r, fuzz_input part) {
    FUZZ_CHECK(r->at == r->have && part.len <= r->size);
    if (part.len > 0)
        memcpy(r->chunk, part.at, part.len);
    r->at = 0;
    r->have = part.len;
}

/* The next answer of bytes that are all there; NULL at their end, and where they are none. */
static inline sg_reply *fuzz_next(sg_reader *r, fuzz_input *in) {
    for (;;) {
        const char *why;
        sg_reply *reply = sg_reader_next(r, &why);
        if (reply != NULL || why != NULL || in->len == 0)
            return reply;
        fuzz_feed(r, fuzz_take(in, r->size));
    }
}

static inline void fuzz_show_bytes(sg_buf *out, seg_bytes b) {
    FUZZ_CHECK(((const char *)b.data)[b.len] == '\0');
    FUZZ_CHECK(sg_buf_printf(out, "\"%zu:", b.len) && sg_buf_append(out, b.data, b.len) &&
               sg_buf_byte(out, '"'));
}

/* All that the accessors tell, and they contradict each other nowhere. */
static inline void fuzz_show(sg_buf *out, const sg_reply *r) {
    uint64_t u = 7;
    int64_t i = 7;
    bool is_u = sg_reply_u64(r, &u), is_i = sg_reply_i64(r, &i);
    const char *error = sg_reply_error(r);
    FUZZ_CHECK(is_u ? (u > INT64_MAX) != is_i : u == 7 && (!is_i || i <= 0));
    FUZZ_CHECK(is_i ? !is_u || (uint64_t)i == u : i == 7);
    FUZZ_CHECK(sg_reply_at(r, sg_reply_count(r)) == NULL);
    if (error != NULL) {
        FUZZ_CHECK(sg_buf_printf(out, "-%d %s", (int)sg_reply_error_status(error), error));
    } else if (sg_reply_is_array(r)) {
        FUZZ_CHECK(sg_buf_printf(out, "*%zu[", sg_reply_count(r)));
        for (size_t k = 0; k < sg_reply_count(r); k++)
            fuzz_show(out, sg_reply_at(r, k));
        FUZZ_CHECK(sg_buf_byte(out, ']'));
    } else if (sg_reply_is_nil(r)) {
        FUZZ_CHECK(sg_buf_byte(out, '_'));
    } else {
        fuzz_show_bytes(out, sg_reply_bytes(r));
    }
    if (is_u || is_i)
        FUZZ_CHECK(sg_buf_printf(out, "=%" PRIu64 ",%" PRId64, u, i));
    FUZZ_CHECK(sg_buf_byte(out, '\n'));
}
#endif
