/* fuzz_reader.c - what the server sends means the same however the network cuts it: whole, byte by
 * byte, in steps, and short inputs in two at every place. */
#include "fuzz_replies.h"

enum { SHOWN_MAX = 1 << 22, CUT_EVERYWHERE = 48 };

/* The answers of the bytes in pieces: `cut` bytes first, then `step` at a time (0: all the rest). */
static void show_all(sg_buf *out, fuzz_input in, size_t cut, size_t step) {
    sg_reader r;
    const char *why = NULL;
    FUZZ_CHECK(sg_reader_init(&r));
    sg_buf_clear(out);
    for (size_t piece = cut; why == NULL && in.len > 0; piece = step) {
        fuzz_feed(&r, fuzz_take(&in, piece > 0 && piece < r.size ? piece : r.size));
        for (sg_reply *reply; (reply = sg_reader_next(&r, &why)) != NULL;) {
            fuzz_show(out, reply);
            sg_reply_free(reply);
        }
    }
    if (why != NULL) {
        const char *same;
        FUZZ_CHECK(why[0] != '\0' && sg_buf_printf(out, "broken: %s", why));
        FUZZ_CHECK(sg_reader_next(&r, &same) == NULL && same != NULL); /* for good */
    }
    sg_reader_fini(&r);
}

static void check_same(const sg_buf *a, const sg_buf *b) {
    FUZZ_CHECK(a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    size_t step = 2 + fuzz_byte(&in), cut = fuzz_byte(&in);
    sg_buf whole, cuts;
    sg_buf_init(&whole, SHOWN_MAX);
    sg_buf_init(&cuts, SHOWN_MAX);
    show_all(&whole, in, 0, 0);
    show_all(&cuts, in, 1, 1);
    check_same(&whole, &cuts);
    show_all(&cuts, in, cut, step);
    check_same(&whole, &cuts);
    for (size_t i = 1; i < in.len && in.len <= CUT_EVERYWHERE; i++) {
        show_all(&cuts, in, i, 0);
        check_same(&whole, &cuts);
    }
    sg_buf_fini(&whole);
    sg_buf_fini(&cuts);
    return 0;
}
