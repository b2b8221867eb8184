/* member_check.c - what the records of several members say together. See member.h. */
#include <stdlib.h>

#include "member.h"
#include "test.h"

/* What is known of one message of one partition. */
typedef struct fate {
    uint64_t committed; /* lowest epoch under which that was answered; UINT64_MAX: never */
    uint64_t acking;    /* lowest epoch under which it was tried; UINT64_MAX: never */
    uint64_t delivered; /* the epoch that is being looked at, while it is */
    bool seen;
    uint32_t number;
} fate;

typedef struct ledger {
    member *const *m;
    size_t n, total;
    uint32_t partitions;
    fate *fates; /* by partition, then offset: total for each partition is surely enough */
} ledger;

static fate *fate_of(const ledger *l, uint32_t partition, uint64_t offset) {
    CHECK_LT(partition, l->partitions);
    CHECK_LT(offset, l->total);
    return &l->fates[partition * l->total + offset];
}

static void read_records(ledger *l) {
    for (size_t i = 0; i < l->partitions * l->total; i++) {
        l->fates[i].acking = l->fates[i].committed = UINT64_MAX;
    }
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < member_events(l->m[i]); k++) {
            const member_event *e = member_event_at(l->m[i], k);
            if (e->kind < MEMBER_DELIVERED) {
                continue;
            }
            fate *f = fate_of(l, e->partition, e->offset);
            if (f->seen) {
                CHECK_EQ(e->number, f->number);
            }
            f->seen = true;
            f->number = e->number;
            if (e->kind == MEMBER_COMMITTED && e->epoch < f->committed) {
                f->committed = e->epoch;
            } else if (e->kind == MEMBER_ACKING && e->epoch < f->acking) {
                f->acking = e->epoch;
            }
        }
    }
}

/* One member's callbacks and deliveries: legal in themselves. */
static void check_callbacks(const ledger *l, const member *m) {
    enum { NONE, HELD, GOING } *state = calloc(l->partitions, sizeof *state);
    CHECK(state != NULL);
    for (size_t k = 0; k < member_events(m); k++) {
        const member_event *e = member_event_at(m, k);
        switch (e->kind) {
        case MEMBER_ASSIGNED:
            CHECK_NE(state[e->partition], HELD);
            state[e->partition] = HELD;
            break;
        case MEMBER_REVOKED:
            CHECK_EQ(state[e->partition], HELD);
            state[e->partition] = GOING;
            break;
        case MEMBER_LOST:
            CHECK_NE(state[e->partition], NONE);
            state[e->partition] = NONE;
            break;
        case MEMBER_DELIVERED:
            CHECK_EQ(state[e->partition], HELD);
            break;
        default:
            break;
        }
    }
    free(state);
}

/* What member i was handed of partition p under one epoch, from its event k on. */
static void check_epoch(const ledger *l, size_t i, size_t k) {
    const member_event *first = member_event_at(l->m[i], k);
    uint64_t epoch = first->epoch, past = 0;
    for (size_t j = k; j < member_events(l->m[i]); j++) {
        const member_event *e = member_event_at(l->m[i], j);
        if (e->kind != MEMBER_DELIVERED || e->partition != first->partition || e->epoch != epoch) {
            continue;
        }
        fate *f = fate_of(l, e->partition, e->offset);
        f->delivered = epoch;
        if (e->attempt > 1) {
            continue;
        }
        if (f->committed < epoch) {
            FAIL("partition %u offset %llu: committed under epoch %llu, delivered under %llu",
                 e->partition, (unsigned long long)e->offset, (unsigned long long)f->committed,
                 (unsigned long long)epoch);
        }
        if (e->offset < past) {
            FAIL("partition %u, epoch %llu: offset %llu came after %llu", e->partition,
                 (unsigned long long)epoch, (unsigned long long)e->offset,
                 (unsigned long long)past - 1);
        }
        past = e->offset + 1;
    }
    for (uint64_t o = 0; o < past; o++) {
        const fate *f = fate_of(l, first->partition, o);
        if (f->delivered != epoch && f->acking >= epoch) {
            FAIL("partition %u, epoch %llu: offset %llu was passed over (up to %llu came)",
                 first->partition, (unsigned long long)epoch, (unsigned long long)o,
                 (unsigned long long)past - 1);
        }
    }
}

static bool delivered_before(const member *m, size_t k) {
    const member_event *e = member_event_at(m, k);
    for (size_t j = k; j-- > 0;) {
        const member_event *b = member_event_at(m, j);
        if (b->kind == MEMBER_DELIVERED && b->partition == e->partition) {
            return b->epoch == e->epoch;
        }
    }
    return false;
}

/* Epochs are the group's: no two partitions ever share one, nor two members. */
static void check_epochs(const ledger *l) {
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < member_events(l->m[i]); k++) {
            if (member_event_at(l->m[i], k)->kind == MEMBER_DELIVERED &&
                !delivered_before(l->m[i], k)) {
                check_epoch(l, i, k);
            }
        }
    }
}

typedef struct owner {
    uint64_t epoch;
    size_t member;
    uint32_t partition;
} owner;

static int by_epoch(const void *a, const void *b) {
    const owner *x = a, *y = b;
    return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

static void check_owners(const ledger *l) {
    size_t n = 0, room = members_count(l->m, l->n, MEMBER_DELIVERED);
    owner *all = calloc(room + 1, sizeof *all);
    CHECK(all != NULL);
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < member_events(l->m[i]) && n < room; k++) {
            const member_event *e = member_event_at(l->m[i], k);
            if (e->kind == MEMBER_DELIVERED) {
                all[n++] = (owner){e->epoch, i, e->partition};
            }
        }
    }
    qsort(all, n, sizeof *all, by_epoch);
    for (size_t i = 1; i < n; i++) {
        if (all[i].epoch == all[i - 1].epoch) {
            CHECK_EQ(all[i].member, all[i - 1].member);
            CHECK_EQ(all[i].partition, all[i - 1].partition);
        }
    }
    free(all);
}

/* Every message came, was acknowledged, and stands where its producer put it. */
static void check_complete(const ledger *l) {
    size_t seen = 0;
    for (uint32_t p = 0; p < l->partitions; p++) {
        for (uint64_t o = 0; o < l->total && fate_of(l, p, o)->seen; o++) {
            const fate *f = fate_of(l, p, o);
            CHECK_NE(f->acking, UINT64_MAX);
            if (o > 0) {
                CHECK_GT(f->number, fate_of(l, p, o - 1)->number);
            }
            seen++;
        }
    }
    CHECK_EQ(seen, l->total);
}

void members_check(member *const m[], size_t n, uint32_t partitions, size_t total) {
    ledger l = {.m = m, .n = n, .total = total, .partitions = partitions};
    l.fates = calloc(partitions * total + 1, sizeof *l.fates);
    CHECK(l.fates != NULL);
    read_records(&l);
    for (size_t i = 0; i < n; i++) {
        check_callbacks(&l, m[i]);
    }
    check_owners(&l);
    check_epochs(&l);
    check_complete(&l);
    free(l.fates);
}

/* ---- Sums ----------------------------------------------------------------------------------- */

bool members_balanced(member *const m[], size_t n, uint32_t partitions) {
    uint64_t all = 0;
    unsigned sum = 0, least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned owns = member_owns(m[i]);
        all |= member_owned(m[i]);
        sum += owns;
        least = owns < least ? owns : least;
        most = owns > most ? owns : most;
    }
    return sum == partitions && (unsigned)__builtin_popcountll(all) == partitions &&
           most - least <= 1;
}

size_t members_count(member *const m[], size_t n, member_kind kind) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += member_count(m[i], kind);
    }
    return sum;
}

size_t members_settled(member *const m[], size_t n, uint32_t partitions) {
    enum { SPAN = 1 << 14 };
    bool *settled = calloc((size_t)partitions * SPAN, sizeof *settled);
    size_t sum = 0;
    CHECK(settled != NULL);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0, all = member_events(m[i]); k < all; k++) {
            const member_event *e = member_event_at(m[i], k);
            if (e->kind == MEMBER_COMMITTED && e->partition < partitions && e->offset < SPAN) {
                bool *one = &settled[e->partition * (size_t)SPAN + e->offset];
                sum += !*one;
                *one = true;
            }
        }
    }
    free(settled);
    return sum;
}
