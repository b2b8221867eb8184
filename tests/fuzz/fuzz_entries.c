/* fuzz_entries.c - the answer to an XREAD means the same however the network cuts it, and wherever its
 * values are received; and where it is whole, it means what the tree of replies says that is made of it
 * for all other answers. */
#include "redis/entries.h"

#include "fuzz_replies.h"
#include "redis/ops.h"

enum { SHOWN_MAX = 1 << 22, CUT_EVERYWHERE = 96 };

static const sg_fetch_from asked[] = {{"a", 1, 0}, {"bb", 1, 0}, {"{s}:log:0", 1, 0}};

typedef struct question {
    sg_pool *pool;
    size_t n;
    uint64_t most;
} question;

/* ---- However it is cut -------------------------------------------------------------------- */

static void show_entry(sg_buf *out, const sg_entries *e, size_t i) {
    const sg_entry *x = &e->list[i];
    bool last = e->inside && e->at == SG_AT_VALUE && i == e->count - 1; /* not all of it is there */
    FUZZ_CHECK((x->why == NULL) == (x->block != NULL) && x->from < e->n_from);
    FUZZ_CHECK(sg_buf_printf(out, "%zu %" PRIu64 "-%" PRIu64 " %s", x->from, x->era, x->offset,
                             x->why != NULL ? x->why : "="));
    if (x->block == NULL)
        return;
    size_t len = last && e->have < x->block->len ? e->have : x->block->len;
    FUZZ_CHECK(sg_buf_printf(out, "%zu of %zu:", len, x->block->len));
    FUZZ_CHECK(len == 0 || sg_buf_append(out, sg_block_room(x->block), len));
}

/* One piece: into its place, as far as it has one, or fed. */
static sg_entries_state hear(sg_entries *e, fuzz_input piece, bool places, size_t *used) {
    uint8_t *to;
    size_t room = places ? sg_entries_place(e, &to) : 0;
    *used = room < piece.len ? room : piece.len;
    if (*used > 0) {
        memcpy(to, piece.at, *used);
        sg_entries_placed(e, *used);
        fuzz_take(&piece, *used);
    }
    uint8_t *copy = fuzz_copy(piece);
    size_t fed;
    sg_entries_state state = sg_entries_feed(e, copy, piece.len, &fed);
    free(copy);
    FUZZ_CHECK(fed <= piece.len && (state != SG_ENTRIES_MORE || fed == piece.len));
    *used += fed;
    return state;
}

/* `cut` bytes first, then `step` at a time (0: all the rest). Returns those that were the answer's where
 * it is whole, or 0. */
static size_t show_all(sg_buf *out, sg_entries *e, const question *q, fuzz_input in, size_t cut,
                       size_t step, bool places) {
    sg_entries_state state = SG_ENTRIES_MORE;
    size_t all = 0, used;
    sg_entries_expect(e, asked, q->n, q->most);
    FUZZ_CHECK(e->count == 0);
    sg_buf_clear(out);
    for (size_t piece = cut; state == SG_ENTRIES_MORE && in.len > 0; piece = step) {
        state = hear(e, fuzz_take(&in, piece > 0 ? piece : in.len), places, &used);
        all += used;
    }
    FUZZ_CHECK((state == SG_ENTRIES_BROKEN) == (e->fault != NULL) && !e->starved);
    FUZZ_CHECK(state != SG_ENTRIES_OTHER || (all == 0 && e->count == 0));
    FUZZ_CHECK(
        sg_buf_printf(out, "%d %d %s\n", (int)state, e->nothing, e->fault != NULL ? e->fault : ""));
    for (size_t i = 0; i < e->count; i++)
        show_entry(out, e, i);
    if (state != SG_ENTRIES_DONE)
        return 0;
    FUZZ_CHECK(sg_buf_printf(out, "\n%zu", all));
    return all;
}

static void check_same(const sg_buf *a, const sg_buf *b) {
    FUZZ_CHECK(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

/* ---- The tree ----------------------------------------------------------------------------- */

static void check_entry(const sg_entry *e, const sg_reply *r) {
    uint64_t era = 0, offset = UINT64_MAX;
    const sg_reply *fields = sg_reply_at(r, 1);
    if (!sg_entry_id_read(sg_reply_at(r, 0), &era, &offset)) {
        era = 0;
        offset = UINT64_MAX;
    }
    FUZZ_CHECK(sg_reply_count(r) == 2 && e->era == era && e->offset == offset);
    bool ours = sg_reply_count(fields) == 2 && sg_reply_is(sg_reply_at(fields, 0), "b");
    FUZZ_CHECK((e->block != NULL) == ours);
    if (!ours)
        return;
    seg_bytes value = sg_reply_bytes(sg_reply_at(fields, 1));
    FUZZ_CHECK(e->block->len == value.len);
    FUZZ_CHECK(value.len == 0 || memcmp(sg_block_room(e->block), value.data, value.len) == 0);
}

/* "*02" is two for us, and refused there. No server says so. */
static bool has_zeros_in_front(fuzz_input in) {
    for (; in.len >= 3; in.at++, in.len--)
        if ((in.at[0] == '*' || in.at[0] == '$') && in.at[1] == '0' && in.at[2] != '\r')
            return true;
    return false;
}

/* What is whole for one is for the other, and says the same. */
static void check_tree(const sg_entries *e, fuzz_input in) {
    sg_reader reader;
    size_t next = 0, before = 0;
    if (has_zeros_in_front(in))
        return;
    FUZZ_CHECK(sg_reader_init(&reader));
    sg_reply *r = fuzz_next(&reader, &in);
    FUZZ_CHECK(r != NULL && in.len == 0 && sg_reply_is_nil(r) == e->nothing);
    for (size_t i = 0; i < sg_reply_count(r); i++) {
        const sg_reply *stream = sg_reply_at(r, i), *entries = sg_reply_at(stream, 1);
        while (before < e->n_from && !sg_reply_is(sg_reply_at(stream, 0), asked[before].key))
            before++;
        FUZZ_CHECK(before < e->n_from && sg_reply_count(entries) <= e->most);
        for (size_t k = 0; k < sg_reply_count(entries); k++, next++) {
            FUZZ_CHECK(next < e->count && e->list[next].from == before);
            check_entry(&e->list[next], sg_reply_at(entries, k));
        }
        before++;
    }
    FUZZ_CHECK(next == e->count);
    sg_reply_free(r);
    sg_reader_fini(&reader);
}

/* ---- Inputs ------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t how = fuzz_byte(&in);
    size_t step = 2 + fuzz_byte(&in), cut = fuzz_byte(&in);
    question q = {sg_pool_new(0), 1 + how % 3, 1 + (how >> 2) % 8};
    sg_entries e;
    sg_buf whole, cuts;
    FUZZ_CHECK(q.pool != NULL);
    sg_entries_init(&e, q.pool);
    sg_buf_init(&whole, SHOWN_MAX);
    sg_buf_init(&cuts, SHOWN_MAX);
    size_t used = show_all(&whole, &e, &q, in, 0, 0, false);
    if (used > 0)
        check_tree(&e, (fuzz_input){in.at, used});
    show_all(&cuts, &e, &q, in, 1, 1, false);
    check_same(&whole, &cuts);
    show_all(&cuts, &e, &q, in, cut, step, true);
    check_same(&whole, &cuts);
    for (size_t i = 1; i < in.len && in.len <= CUT_EVERYWHERE; i++) {
        show_all(&cuts, &e, &q, in, i, 0, i % 2 == 0);
        check_same(&whole, &cuts);
    }
    sg_buf_fini(&whole);
    sg_buf_fini(&cuts);
    sg_entries_fini(&e);
    sg_pool_free(q.pool);
    return 0;
}
