/* takeover.c - see takeover.h. */
#include "takeover.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHARES = 1024 };

/* One partition of one group. */
typedef struct share {
    uint64_t stream, group;
    uint32_t partition;
    uint64_t owner; /* process; 0: none */
    uint64_t since; /* ns: its owner was struck then, and nobody has read since; 0 */
} share;

typedef struct shares {
    share at[MAX_SHARES];
    size_t n;
    unsigned away; /* faults that are on, which keep all from the server */
} shares;

static share *find(shares *s, const history_record *r) {
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].partition == r->partition && s->at[i].group == r->group &&
            s->at[i].stream == r->stream)
            return &s->at[i];
    if (s->n == MAX_SHARES)
        return NULL;
    s->at[s->n] =
        (share){.stream = r->stream, .group = r->group, .partition = r->partition};
    return &s->at[s->n++];
}

static void strike(shares *s, const history_record *r) {
    if ((r->flags & (HISTORY_DEAD | HISTORY_STOPPED)) != 0 && s->away == 0)
        for (size_t i = 0; i < s->n; i++)
            if (s->at[i].owner == r->target)
                s->at[i].since = r->at;
    if ((r->flags & HISTORY_UNREACHABLE) == 0)
        return;
    s->away++;
    for (size_t i = 0; i < s->n; i++)
        s->at[i].since = 0;
}

static void deliver(takeovers *t, share *h, const history_record *r) {
    if (h->since != 0 && h->owner != r->process && t->n < TAKEOVER_MAX)
        t->ms[t->n++] = (uint32_t)((r->at - h->since) / 1000000);
    h->since = 0;
    h->owner = r->process;
}

void takeovers_add(takeovers *t, const history_log *l) {
    shares *s = calloc(1, sizeof *s);
    for (size_t i = 0; s != NULL && i < l->n; i++) {
        const history_record *r = &l->records[i];
        if (r->kind == HISTORY_FAULT && r->phase == HISTORY_INVOKE)
            strike(s, r);
        else if (r->kind == HISTORY_FAULT && (r->flags & HISTORY_UNREACHABLE) != 0 && s->away > 0)
            s->away--;
        if (r->kind != HISTORY_REVOKED && r->kind != HISTORY_LOST && r->kind != HISTORY_DELIVERED)
            continue;
        share *h = find(s, r);
        if (h != NULL && r->kind == HISTORY_DELIVERED)
            deliver(t, h, r);
        else if (h != NULL && h->owner == r->process)
            h->owner = 0, h->since = 0; /* it gave it away, or knows that it lost it */
    }
    free(s);
}

static int by_size(const void *a, const void *b) {
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

uint32_t takeovers_percentile(takeovers *t, unsigned percent) {
    if (t->n == 0)
        return 0;
    qsort(t->ms, t->n, sizeof *t->ms, by_size);
    size_t i = t->n * percent / 100;
    return t->ms[i < t->n ? i : t->n - 1];
}
