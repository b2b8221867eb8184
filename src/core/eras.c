/* eras.c - the list is short, mostly of one: the server drops what is no longer retained, and those
 * in which nothing was stored. So it is searched from its end, where one mostly is. */
#include "core/eras.h"

#include <string.h>

#include "base/alloc.h"

#define NUMBER_MAX (UINT64_C(1) << 53)

static bool number(const char **at, const char *end, char stop, uint64_t *out) {
    const char *p = *at;
    uint64_t n = 0;
    while (p < end && *p >= '0' && *p <= '9' && n < NUMBER_MAX)
        n = n * 10 + (uint64_t)(*p++ - '0');
    if (p == *at || n > NUMBER_MAX || (p < end ? *p != stop : stop != ' '))
        return false;
    *at = p < end ? p + 1 : p;
    *out = n;
    return true;
}

static size_t count(seg_bytes text) {
    size_t n = 1;
    for (const char *p = text.data, *end = p + text.len; p < end; p++)
        n += *p == ' ' ? 1 : 0;
    return n;
}

seg_status sg_eras_read(sg_eras *e, seg_bytes text) {
    const char *at = text.data, *end = at + text.len;
    if (text.len == 0 || end[-1] == ' ')
        return SEG_EPROTO;
    sg_era *all = sg_reallocarray(NULL, count(text), sizeof *all);
    size_t n = 0;
    if (all == NULL)
        return SEG_ENOMEM;
    while (at < end) {
        sg_era *a = &all[n];
        if (!number(&at, end, ':', &a->era) || !number(&at, end, ' ', &a->start) || a->era == 0 ||
            (n > 0 && (a->era <= a[-1].era || a->start < a[-1].start))) {
            sg_free(all);
            return SEG_EPROTO;
        }
        n++;
    }
    sg_eras_fini(e);
    *e = (sg_eras){all, n};
    return SEG_OK;
}

bool sg_eras_follow(sg_eras *e, const sg_eras *fresh) {
    uint64_t newest = sg_eras_newest(e);
    size_t from = 0;
    while (from < fresh->n && fresh->all[from].era <= newest)
        from++;
    if (from == fresh->n)
        return true;
    sg_era *all = sg_reallocarray(e->all, e->n + fresh->n - from, sizeof *all);
    if (all == NULL)
        return false;
    memcpy(all + e->n, fresh->all + from, (fresh->n - from) * sizeof *all);
    e->all = all;
    e->n += fresh->n - from;
    return true;
}

void sg_eras_fini(sg_eras *e) {
    sg_free(e->all);
    *e = (sg_eras){NULL, 0};
}

uint64_t sg_eras_newest(const sg_eras *e) {
    return e->n > 0 ? e->all[e->n - 1].era : 0;
}

/* NULL: it is not listed. */
static const sg_era *find(const sg_eras *e, uint64_t era) {
    for (size_t i = e->n; i-- > 0;)
        if (e->all[i].era == era)
            return &e->all[i];
    return NULL;
}

bool sg_eras_has(const sg_eras *e, uint64_t era) {
    return find(e, era) != NULL;
}

uint64_t sg_eras_of(const sg_eras *e, uint64_t offset) {
    for (size_t i = e->n; i-- > 1;)
        if (e->all[i].start <= offset)
            return e->all[i].era;
    return e->n > 0 ? e->all[0].era : 0;
}

uint64_t sg_eras_before(const sg_eras *e, uint64_t offset) {
    return sg_eras_of(e, offset > 0 ? offset - 1 : 0);
}

/* Those that the server forgets are older than all that it lists. So one that is missing among the
 * newer ones is gone, also where a still newer one begins past its end:
 *
 *     A, then B, then A   A: 1:0, up to 199   B: 1:0 10:100, up to 119   A again: 1:0 20:200 */
static bool is_gone(const sg_eras *e, uint64_t era) {
    return era > sg_eras_newest(e) || (e->n > 0 && era > e->all[0].era && !sg_eras_has(e, era));
}

bool sg_eras_lost(const sg_eras *e, const sg_eras *before, uint64_t era, uint64_t end,
                  uint64_t next, uint64_t *first) {
    uint64_t survived = next;
    if (end == 0)
        return false;
    for (size_t i = e->n; i-- > 0 && e->all[i].era > era;)
        survived = e->all[i].start;
    for (const sg_era *a; is_gone(e, era);) {
        a = find(before, era);
        if (survived >= end)
            survived = end - 1; /* at least the last one */
        if (a == NULL || a->start >= end)
            break;
        survived = a->start < survived ? a->start : survived;
        if (a == before->all)
            break;
        era = a[-1].era;
        for (size_t i = e->n; i-- > 0 && e->all[i].era > era;)
            survived = e->all[i].start < survived ? e->all[i].start : survived;
    }
    *first = survived;
    return end > survived;
}
