/* plan.c - see plan.h.
 *
 *     quiet     fault A                quiet      fault C
 *             |-----------------|               |---------|
 *                   |------|  fault B, of another scope, now and then
 */
#include "plan.h"

enum { QUIET_MS = 200, MORE_QUIET_MS = 1000, LEAD_MS = 800, OWN_WEIGHT = 4 };

/* splitmix64: seeds that are near each other give plans that are not. */
static uint64_t chance(uint64_t *state, uint64_t below) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* Those that come in this kind of round only are what it is for: they count several times. */
static const fault_kind *pick(uint64_t *state, round_kind round, uint64_t kinds,
                              const fault_kind *beside) {
    const fault_kind *able[64 * OWN_WEIGHT];
    unsigned n = 0;
    for (unsigned i = 0; i < n_fault_kinds; i++) {
        const fault_kind *k = &fault_kinds[i];
        if ((kinds >> i & 1) != 0 && (k->rounds & (unsigned)round) != 0 &&
            (beside == NULL || beside->scope != k->scope))
            for (int w = k->rounds == (unsigned)round ? OWN_WEIGHT : 1; w > 0; w--)
                able[n++] = k;
    }
    return n > 0 ? able[chance(state, n)] : NULL;
}

static int64_t add(plan *p, uint64_t *state, const fault_kind *k, int64_t at) {
    int64_t length = k->least + (int64_t)chance(state, (uint64_t)(k->most - k->least + 1));
    p->faults[p->n++] =
        (fault){.kind = k, .seed = chance(state, UINT32_MAX), .at = at, .length = length};
    return length;
}

void plan_make(plan *p, uint64_t seed, round_kind round, uint64_t kinds, int64_t length) {
    uint64_t state = seed;
    int64_t at = LEAD_MS;
    p->n = 0;
    while (at < length && p->n + 2 <= PLAN_MAX) {
        const fault_kind *k = pick(&state, round, kinds, NULL);
        if (k == NULL)
            return;
        at += QUIET_MS + (int64_t)chance(&state, MORE_QUIET_MS);
        int64_t lasts = add(p, &state, k, at);
        const fault_kind *other = chance(&state, 3) == 0 ? pick(&state, round, kinds, k) : NULL;
        if (other != NULL) {
            int64_t later = at + (int64_t)chance(&state, (uint64_t)lasts + 1);
            int64_t both = later + add(p, &state, other, later) - at;
            lasts = both > lasts ? both : lasts;
        }
        at += lasts;
        if (at > length) /* the last ones would be cut off */
            p->n -= other != NULL ? 2 : 1;
    }
}
