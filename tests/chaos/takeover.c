/* takeover.c - see takeover.h. */
#include "takeover.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHARES = 1024, MAX_MEMBERS = 256 };

/* One partition of one group. */
typedef struct share {
    uint64_t stream, group;
    uint32_t partition;
    uint64_t owner; /* process; 0: none */
    uint64_t since; /* ns: its owner was struck then, and nobody has read since; 0 */
} share;

/* A consumer that has joined, and could take over. */
typedef struct joined {
    uint64_t stream, group, process;
} joined;

typedef struct shares {
    share at[MAX_SHARES];
    size_t n;
    joined members[MAX_MEMBERS];
    size_t n_members;
    unsigned away; /* faults that are on, which keep all from the server */
} shares;

static share *find(shares *s, const history_record *r) {
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].partition == r->partition && s->at[i].group == r->group &&
            s->at[i].stream == r->stream)
            return &s->at[i];
    if (s->n == MAX_SHARES)
        return NULL;
    s->at[s->n] = (share){.stream = r->stream, .group = r->group, .partition = r->partition};
    return &s->at[s->n++];
}

static void leave(shares *s, uint64_t process) {
    for (size_t i = s->n_members; i-- > 0;)
        if (s->members[i].process == process)
            s->members[i] = s->members[--s->n_members];
}

static void join(shares *s, const history_record *r) {
    leave(s, r->process);
    if (s->n_members < MAX_MEMBERS)
        s->members[s->n_members++] = (joined){r->stream, r->group, r->process};
}

/* Is anybody else there? If not, it takes as long as it takes until somebody comes. */
static bool has_heir(const shares *s, const share *h) {
    for (size_t i = 0; i < s->n_members; i++)
        if (s->members[i].stream == h->stream && s->members[i].group == h->group &&
            s->members[i].process != h->owner)
            return true;
    return false;
}

static void strike(shares *s, const history_record *r) {
    if ((r->flags & (HISTORY_DEAD | HISTORY_STOPPED)) != 0 && s->away == 0)
        for (size_t i = 0; i < s->n; i++)
            if (s->at[i].owner == r->target)
                s->at[i].since = has_heir(s, &s->at[i]) ? r->at : 0;
    if ((r->flags & HISTORY_DEAD) != 0)
        leave(s, r->target);
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
        if (r->kind == HISTORY_JOIN && r->phase == HISTORY_OK)
            join(s, r);
        else if (r->kind == HISTORY_LEAVE && r->phase == HISTORY_INVOKE)
            leave(s, r->process);
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
