/* invariants.c - what has to hold, whatever happens. */
#include <inttypes.h>
#include <string.h>

#include "world.h"

/* ---- The coordinator ------------------------------------------------------------------------ */

static bool handed_back(const sync_call *call, uint32_t p, uint64_t epoch) {
    for (size_t i = 0; i < call->n_back; i++) {
        if (call->back[i].partition == p && call->back[i].epoch == epoch) {
            return true;
        }
    }
    return false;
}

static bool replaces(const coordinator *before, const sync_call *call) {
    const coord_member *was = &before->members[call->who];
    return call->op == SYNC_JOIN && was->known && was->nonce != call->nonce;
}

/* Did this call end the ownership of the partition? */
static bool ended(const world *w, const coordinator *before, const sync_call *call, uint32_t p) {
    int owner = before->parts[p].owner;
    if (owner == call->who) {
        return call->op == SYNC_LEAVE || replaces(before, call) ||
               handed_back(call, p, before->parts[p].epoch);
    }
    return !w->group.members[owner].known && before->members[owner].lease_end <= w->group.clock;
}

static void check_part(world *w, const coordinator *before, const sync_call *call, uint32_t p) {
    const coord_part *was = &before->parts[p], *is = &w->group.parts[p];
    if (is->epoch < was->epoch) {
        world_break(w, "the epoch of %u fell from %" PRIu64 " to %" PRIu64, p, was->epoch,
                    is->epoch);
    }
    if (is->epoch != was->epoch) {
        w->grants++;
        if (is->epoch <= before->epoch || is->epoch <= call->floor) {
            world_break(w, "%u was granted under an epoch that was given before", p);
        }
    } else if (is->owner != was->owner && is->owner != NOBODY) {
        world_break(w, "%u changed hands without a new epoch", p);
    }
    bool lost = is->owner != was->owner || is->epoch != was->epoch;
    if (was->owner != NOBODY && lost && !ended(w, before, call, p)) {
        world_break(w, "%u was taken from m%x, who neither gave it back nor expired", p,
                    (unsigned)was->owner);
    }
}

static size_t members_of(const coordinator *c) {
    size_t n = 0;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        n += c->members[i].known;
    }
    return n;
}

/* Who holds it before the shares are dealt out anew. */
static int holder_of(const world *w, const coordinator *before, const sync_call *call, uint32_t p) {
    const coord_part *was = &before->parts[p];
    if (was->owner != NOBODY && !ended(w, before, call, p)) {
        return was->owner;
    }
    return was->target != NOBODY && w->group.members[was->target].known ? was->target : NOBODY;
}

/* Sizes differ by at most one, and no shares with such sizes would leave more where it is. */
static void check_shares(world *w, const coordinator *before, const sync_call *call) {
    size_t size[SIM_MEMBERS] = {0}, held[SIM_MEMBERS] = {0}, kept = 0, most = 0;
    size_t n = members_of(&w->group), extra = n > 0 ? w->plan->partitions % n : 0;
    bool uneven = extra > 0;
    for (uint32_t p = 0; p < w->plan->partitions && n > 0; p++) {
        int target = w->group.parts[p].target, holder = holder_of(w, before, call, p);
        if (target == NOBODY || !w->group.members[target].known) {
            world_break(w, "%u is meant for nobody", p);
            return;
        }
        size[target]++;
        kept += target == holder;
        if (holder != NOBODY) {
            held[holder]++;
        }
    }
    for (int i = 0; i < SIM_MEMBERS; i++) {
        size_t share = n > 0 ? w->plan->partitions / n : 0;
        if (w->group.members[i].known && (size[i] < share || size[i] > share + uneven)) {
            world_break(w, "m%x is meant to have %zu of %u partitions, among %zu members",
                        (unsigned)i, size[i], w->plan->partitions, n);
        }
        most += held[i] < share ? held[i] : share;
        if (held[i] > share && extra > 0) { /* one of those that may have one more */
            most++;
            extra--;
        }
    }
    if (kept != most) {
        world_break(w, "%zu partitions stay where they are, and %zu could", kept, most);
    }
}

static bool same_members(const coordinator *a, const coordinator *b) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        if (a->members[i].known != b->members[i].known ||
            a->members[i].nonce != b->members[i].nonce) {
            return false;
        }
    }
    return true;
}

/* Where nothing went wrong, nobody who is alive is taken for dead. */
static void check_expired(world *w, const coordinator *before, const sync_call *call) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        const node *n = &w->nodes[i];
        if (i != call->who && before->members[i].known && !w->group.members[i].known && n->alive &&
            n->nonce == before->members[i].nonce) {
            world_break(w, "%s is alive, and was expired", node_name(n));
        }
    }
}

void check_sync(world *w, const coordinator *before, const sync_call *call) {
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        check_part(w, before, call, p);
    }
    if (w->group.epoch < before->epoch || w->group.clock < before->clock) {
        world_break(w, "the coordinator's epoch or clock fell");
    }
    if (w->plan->quiet) {
        check_expired(w, before, call);
    }
    if (!same_members(before, &w->group)) {
        check_shares(w, before, call);
    }
}

/* ---- Cursors -------------------------------------------------------------------------------- */

void check_commit(world *w, const message *m) {
    delivered *d = &w->delivered[m->partition];
    if (m->word != CURSOR_OK) {
        return;
    }
    if (m->epoch < d->commit_epoch) {
        world_break(w, "a commit of %u under epoch %" PRIu64 " was taken after one under %" PRIu64,
                    m->partition, m->epoch, d->commit_epoch);
    }
    if (m->epoch == d->commit_epoch && m->nonce != d->committer) {
        world_break(w, "two members committed %u under epoch %" PRIu64, m->partition, m->epoch);
    }
    d->commit_epoch = m->epoch;
    d->committer = m->nonce;
}

void check_acquired(world *w, const message *m, uint64_t before) {
    takeover *t = &w->takeovers[m->partition];
    const node *n = &w->nodes[m->who];
    if (w->cursors[m->partition].epoch < before) {
        world_break(w, "the epoch of the cursor of %u fell", m->partition);
    }
    if (m->word != CURSOR_OK || t->since == 0 || m->epoch <= t->epoch || m->process != n->process ||
        !n->alive) {
        return;
    }
    int64_t took = w->now - t->since;
    if (w->plan->quiet && took > t->allowance + 100 + 6 * w->plan->delay) {
        world_break(w, "%u was taken over only %" PRId64 " ms after its owner died", m->partition,
                    took);
    }
    if (w->n_took < TAKEOVERS_MAX && !t->alone && !t->left) {
        w->took[w->n_took++] = took;
    }
    t->since = 0;
}

static bool anybody(const world *w) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        if (w->nodes[i].alive) {
            return true;
        }
    }
    return false;
}

void note_death(world *w, const node *n) {
    bool alone = true;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        alone = alone && (i == n->who || !w->nodes[i].alive);
    }
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        const coord_part *part = &w->group.parts[p];
        if (part->owner == n->who && w->takeovers[p].since == 0) {
            w->takeovers[p] = (takeover){w->now, n->timeout, part->epoch, alone, false};
        }
    }
}

/* What a member had that has left is read on at once. */
void note_leave(world *w, const coordinator *before, int who) {
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        if (before->parts[p].owner == who && w->group.parts[p].owner != NOBODY) {
            w->takeovers[p] = (takeover){w->now, 0, before->parts[p].epoch, false, true};
        }
    }
}

/* Where all have died, their time was not counted to the end: half of it at least was. */
void note_start(world *w) {
    for (uint32_t p = 0; p < w->plan->partitions && !anybody(w); p++) {
        takeover *t = &w->takeovers[p];
        if (t->since != 0) {
            int64_t left = t->since + t->allowance - w->now, half = t->allowance / 2;
            t->allowance = left > half ? left : half;
            t->since = w->now;
        }
    }
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

/* Who keeps its partitions is not interrupted. */
void check_interruption(world *w, const node *n) {
    if (w->plan->quiet) {
        world_break(w, "%s is alive, and stops at the end of its lease", node_name(n));
    }
}

void check_delivery(world *w, const node *n, uint32_t partition) {
    delivered *d = &w->delivered[partition];
    uint64_t epoch = n->holds[partition].epoch;
    int64_t until =
        n->lease_from == INT64_MIN ? INT64_MIN : n->lease_from + n->timeout - n->timeout / 10;
    if (w->now + n->ahead >= until) {
        world_break(w, "%s delivers of %u past its lease", node_name(n), partition);
    }
    if (w->plan->honest && epoch < d->epoch) {
        world_break(w,
                    "%s delivers of %u under epoch %" PRIu64 " after somebody did under %" PRIu64,
                    node_name(n), partition, epoch, d->epoch);
    }
    d->epoch = epoch > d->epoch ? epoch : d->epoch;
}

/* At most one takes itself for the owner that the cursor has, on the server that there is now. */
void check_holders(world *w) {
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        const node *first = NULL;
        for (int i = 0; i < SIM_MEMBERS; i++) {
            const node *n = &w->nodes[i];
            const holding *h = &n->holds[p];
            if (!n->alive || !n->up || h->state == HOLD_NONE || !h->begun || !h->verified ||
                h->epoch != w->cursors[p].epoch) {
                continue;
            }
            if (first != NULL) {
                world_break(w, "%s and %s could both commit %u", node_name(first), node_name(n), p);
            }
            first = n;
        }
    }
}

/* ---- Rest ----------------------------------------------------------------------------------- */

static bool owns(const world *w, const node *n, uint32_t p) {
    const coord_part *part = &w->group.parts[p];
    const holding *h = &n->holds[p];
    bool mine = part->owner == n->who;
    if (!mine) {
        return h->state == HOLD_NONE;
    }
    return part->target == n->who && h->state == HOLD_ACTIVE && h->verified &&
           h->epoch == part->epoch && h->epoch == w->cursors[p].epoch &&
           w->cursors[p].owner == n->nonce;
}

/* Each partition has an owner that reads it, shares are equal, and all know what is so. Says what is
 * not; NULL: nothing. */
static const char *unrest(const world *w) {
    size_t size[SIM_MEMBERS] = {0}, alive = 0;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        const node *n = &w->nodes[i];
        bool away = !n->alive || (n->resting && sg_member_over(n->m) == SG_END_LEFT);
        if (away && w->group.members[i].known) {
            return "a dead member is still one";
        }
        if (away) {
            continue;
        }
        alive++;
        if (n->closing || !sg_member_joined(n->m) || !w->group.members[i].known) {
            return "somebody has not joined";
        }
        for (uint32_t p = 0; p < w->plan->partitions; p++) {
            if (!owns(w, n, p)) {
                return "what somebody has is not what is theirs";
            }
        }
    }
    for (uint32_t p = 0; alive > 0 && p < w->plan->partitions; p++) {
        if (w->group.parts[p].owner == NOBODY) {
            return "a partition has no owner";
        }
        size[w->group.parts[p].owner]++;
    }
    for (int i = 0; i < SIM_MEMBERS; i++) {
        size_t share = alive > 0 ? w->plan->partitions / alive : 0;
        if (w->group.members[i].known && (size[i] < share || size[i] > share + 1)) {
            return "shares are not equal";
        }
    }
    return NULL;
}

/* From one rest to the next each partition that moved did so once. */
static void check_moves(world *w) {
    uint64_t moved = 0;
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        moved += w->group.parts[p].epoch != w->settled.parts[p].epoch;
    }
    if (w->group.epoch - w->settled.epoch != moved) {
        world_break(w, "%" PRIu64 " grants moved %" PRIu64 " partitions",
                    w->group.epoch - w->settled.epoch, moved);
    }
}

void check_settled(world *w) {
    const char *what = unrest(w);
    if (what != NULL) {
        w->settled_at = INT64_MAX;
    } else if (w->settled_at == INT64_MAX) {
        world_say(w, "all is settled");
        if (w->plan->quiet) {
            check_moves(w);
        }
        w->settled_at = w->now;
        w->settled = w->group;
    }
}

void check_convergence(world *w) {
    const char *what = unrest(w);
    if (!anybody(w)) {
        return;
    }
    if (what != NULL) {
        world_break(w, "long after the last fault, %s", what);
    } else if (w->settled_at > w->plan->end_at - w->plan->rest) {
        world_break(w, "it was settled only %" PRId64 " ms after the last fault",
                    w->settled_at - w->plan->calm_at);
    }
}
