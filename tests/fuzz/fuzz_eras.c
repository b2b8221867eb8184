/* fuzz_eras.c - the list of a log's eras: what is taken is ascending and is read from its own text
 * as the same, and what it says of an offset, and of what was lost, is what a look along the whole
 * of it says. */
#include "core/eras.h"

#include <inttypes.h>

#include "base/buf.h"
#include "fuzz.h"

/* False where it is none; checked where it is. */
static bool read_list(sg_eras *e, fuzz_input in) {
    uint8_t *text = fuzz_copy(in);
    seg_status status = sg_eras_read(e, (seg_bytes){text, in.len});
    free(text);
    FUZZ_CHECK(status == SEG_OK || status == SEG_EPROTO);
    for (size_t i = 0; i < e->n; i++) {
        FUZZ_CHECK(e->all[i].era > 0 && sg_eras_has(e, e->all[i].era));
        FUZZ_CHECK(i == 0 ||
                   (e->all[i].era > e->all[i - 1].era && e->all[i].start >= e->all[i - 1].start));
    }
    FUZZ_CHECK(e->n == 0 || sg_eras_newest(e) == e->all[e->n - 1].era);
    return status == SEG_OK;
}

static void check_again(const sg_eras *e) {
    sg_eras again = {NULL, 0};
    sg_buf text;
    sg_buf_init(&text, SIZE_MAX);
    for (size_t i = 0; i < e->n; i++)
        FUZZ_CHECK(sg_buf_printf(&text, "%s%" PRIu64 ":%" PRIu64, i > 0 ? " " : "", e->all[i].era,
                                 e->all[i].start));
    FUZZ_CHECK(sg_eras_read(&again, (seg_bytes){text.data, text.len}) == SEG_OK);
    FUZZ_CHECK(again.n == e->n && memcmp(again.all, e->all, e->n * sizeof *e->all) == 0);
    sg_eras_fini(&again);
    sg_buf_fini(&text);
}

/* The last one that begins at it or before; the first also has what is before its beginning. */
static uint64_t era_at(const sg_eras *e, uint64_t offset) {
    uint64_t era = e->all[0].era;
    for (size_t i = 1; i < e->n; i++)
        if (e->all[i].start <= offset)
            era = e->all[i].era;
    return era;
}

static void check_offset(const sg_eras *e, uint64_t offset) {
    FUZZ_CHECK(sg_eras_of(e, offset) == era_at(e, offset));
    FUZZ_CHECK(sg_eras_before(e, offset) == era_at(e, offset > 0 ? offset - 1 : 0));
}

/* Somebody knows of what is before `end`, the last of it in `era`. */
static void check_lost(const sg_eras *e, uint64_t era, uint64_t end, uint64_t next) {
    static const sg_eras none = {NULL, 0};
    uint64_t first = UINT64_MAX, same = UINT64_MAX, survived = next;
    bool lost = sg_eras_lost(e, &none, era, end, next, &first);
    FUZZ_CHECK(!sg_eras_has(e, era) ||
               (lost == sg_eras_lost(e, e, era, end, next, &same) && first == same));
    for (size_t i = e->n; i-- > 0;)
        if (e->all[i].era > era)
            survived = e->all[i].start;
    if (end == 0)
        FUZZ_CHECK(!lost);
    else if (era > sg_eras_newest(e))
        FUZZ_CHECK(lost && first < end && first <= next);
    else if (era > e->all[0].era && !sg_eras_has(e, era))
        FUZZ_CHECK(lost && first < end && first <= survived);
    else
        FUZZ_CHECK(lost ? first == survived && first < end : survived >= end);
}

/* Of an era that is gone, nothing survived. */
static void check_gone(const sg_eras *fresh, const sg_eras *e, uint64_t end, uint64_t next) {
    for (size_t i = 0; i < e->n; i++) {
        uint64_t first = UINT64_MAX;
        bool lost = sg_eras_lost(fresh, e, e->all[i].era, end, next, &first);
        if (e->all[i].era > fresh->all[0].era && !sg_eras_has(fresh, e->all[i].era) && end > 0)
            FUZZ_CHECK(lost && first < end && (first <= e->all[i].start || e->all[i].start >= end));
    }
}

/* What was known stays, and what is newer comes behind it. */
static void check_follow(sg_eras *e, const sg_eras *fresh) {
    uint64_t newest = sg_eras_newest(e);
    size_t known = e->n, newer = 0;
    for (size_t i = 0; i < fresh->n; i++)
        newer += fresh->all[i].era > newest;
    FUZZ_CHECK(sg_eras_follow(e, fresh) && e->n == known + newer);
    FUZZ_CHECK(newer == 0 || sg_eras_newest(e) == sg_eras_newest(fresh));
    for (size_t i = 0; i < fresh->n; i++)
        FUZZ_CHECK(fresh->all[i].era <= newest || sg_eras_has(e, fresh->all[i].era));
    FUZZ_CHECK(sg_eras_follow(e, fresh) && e->n == known + newer);
}

/* Two numbers, then two lists with a line end between them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint64_t offset = fuzz_number(&in, 2), next = fuzz_number(&in, 2);
    const uint8_t *end = in.len > 0 ? memchr(in.at, '\n', in.len) : NULL;
    fuzz_input first = fuzz_take(&in, end != NULL ? (size_t)(end - in.at) : in.len);
    (void)fuzz_byte(&in);
    sg_eras e = {NULL, 0}, fresh = {NULL, 0};
    if (read_list(&e, first)) {
        check_again(&e);
        for (size_t i = 0; i < e.n; i++) {
            check_offset(&e, e.all[i].start);
            check_lost(&e, e.all[i].era, offset, next);
            check_lost(&e, e.all[i].era - 1, e.all[i].start, next);
        }
        check_offset(&e, offset);
        check_lost(&e, next, offset, next);
        check_lost(&e, sg_eras_newest(&e) + 1, offset, next);
        if (read_list(&fresh, in))
            check_gone(&fresh, &e, offset, next);
        check_follow(&e, &fresh);
    }
    sg_eras_fini(&e);
    sg_eras_fini(&fresh);
    return 0;
}
