#include "coordinator.h"

#include <string.h>

/* One call, and what it changes on its way. */
typedef struct step {
    coordinator *c;
    const sync_call *call;
    int64_t now;       /* on the group's clock */
    bool reshuffle;    /* somebody came or went */
    uint32_t told;     /* members whose list has changed */
    uint32_t replaced; /* bits, as in the answer */
} step;

void coordinator_init(coordinator *c, uint32_t partitions) {
    memset(c, 0, sizeof *c);
    c->partitions = partitions;
    coordinator_forget_parts(c);
}

void coordinator_forget_leases(coordinator *c) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        c->members[i].leased = false;
        c->members[i].lease_end = 0;
    }
}

void coordinator_forget_parts(coordinator *c) {
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        c->parts[p] = (coord_part){NOBODY, NOBODY, 0};
    }
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static bool is_member(const coordinator *c, int who) {
    return who != NOBODY && c->members[who].known;
}

static void tell(step *s, int who) {
    s->told |= 1u << who;
}

/* ---- Grants --------------------------------------------------------------------------------- */

/* Every grant has an epoch of its own, above all others: also above those that a server has lost,
 * which were fewer than the milliseconds since 1970. */
static void live_on(coordinator *c, int64_t wall) {
    if (c->reborn) {
        c->epoch = (uint64_t)most((int64_t)c->epoch, wall);
        c->reborn = false;
    }
}

static void grant(step *s, coord_part *part) {
    live_on(s->c, s->c->wall);
    part->owner = part->target;
    part->epoch = ++s->c->epoch;
    tell(s, part->owner);
}

/* The owner is done with it: its target gets it at once. Where everything is about to be shared out
 * anew, that decides. */
static void release(step *s, coord_part *part, bool wait) {
    part->owner = NOBODY;
    if (part->target != NOBODY && !wait) {
        grant(s, part);
    }
}

/* ---- Sharing out ---------------------------------------------------------------------------- */

static int holder(const coordinator *c, const coord_part *part) {
    return is_member(c, part->owner)    ? part->owner
           : is_member(c, part->target) ? part->target
                                        : NOBODY;
}

/* Members: who holds most first, then in order of their names. */
static size_t rank_members(const coordinator *c, int out[SIM_MEMBERS]) {
    uint32_t held[SIM_MEMBERS] = {0};
    size_t n = 0;
    for (uint32_t p = 0; p < c->partitions; p++) {
        int who = holder(c, &c->parts[p]);
        if (who != NOBODY) {
            held[who]++;
        }
    }
    for (int who = 0; who < SIM_MEMBERS; who++) {
        if (!is_member(c, who)) {
            continue;
        }
        size_t at = n++;
        for (; at > 0 && held[out[at - 1]] < held[who]; at--) {
            out[at] = out[at - 1];
        }
        out[at] = who;
    }
    return n;
}

/* `who` keeps up to `quota` of what it holds: first what shall stay with it, then what was on its
 * way to somebody else; of each the lowest numbers. Returns what is left of the quota. */
static uint32_t keep(const coordinator *c, int who, uint32_t quota, int target[]) {
    for (int on_its_way = 0; on_its_way <= 1; on_its_way++) {
        for (uint32_t p = 0; p < c->partitions && quota > 0; p++) {
            const coord_part *part = &c->parts[p];
            if (holder(c, part) == who && (part->target != who) == on_its_way) {
                target[p] = who;
                quota--;
            }
        }
    }
    return quota;
}

static void choose_targets(const coordinator *c, int target[]) {
    int rank[SIM_MEMBERS];
    uint32_t lack[SIM_MEMBERS], free = 0;
    size_t n = rank_members(c, rank);
    for (uint32_t p = 0; p < c->partitions; p++) {
        target[p] = NOBODY;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t quota = c->partitions / (uint32_t)n + (i < c->partitions % n ? 1 : 0);
        lack[i] = keep(c, rank[i], quota, target);
    }
    /* The others go, in order, to those who have less than their share. */
    for (size_t i = 0; i < n; i++) {
        for (; lack[i] > 0; free++) {
            if (target[free] == NOBODY) {
                target[free] = rank[i];
                lack[i]--;
            }
        }
    }
}

static void move(step *s, coord_part *part, int target) {
    bool stayed = part->target == part->owner;
    part->target = target;
    if (!is_member(s->c, part->owner)) {
        release(s, part, false);
    } else if (stayed != (target == part->owner)) {
        tell(s, part->owner); /* it is to give it away now, or to keep it after all */
    }
}

static void share_out(step *s) {
    coordinator *c = s->c;
    int target[SIM_PARTITIONS];
    choose_targets(c, target);
    for (uint32_t p = 0; p < c->partitions; p++) {
        move(s, &c->parts[p], target[p]);
    }
    c->cap = 0;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        int64_t half = c->members[i].timeout / 2;
        if (is_member(c, i)) {
            c->cap = c->cap == 0 ? half : least(c->cap, half);
        }
    }
}

/* ---- Members -------------------------------------------------------------------------------- */

static void remove_member(step *s, int who) {
    uint64_t version = s->c->members[who].version;
    s->c->used = version > s->c->used ? version : s->c->used;
    s->c->members[who] = (coord_member){.known = false};
    s->reshuffle = true;
}

static void remove_expired(step *s) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        const coord_member *m = &s->c->members[i];
        if (i != s->call->who && m->leased && m->lease_end <= s->now) {
            remove_member(s, i);
        }
    }
}

static void hand_back(step *s) {
    bool wait = s->reshuffle || s->call->op == SYNC_LEAVE;
    for (size_t i = 0; i < s->call->n_back; i++) {
        const sync_back *back = &s->call->back[i];
        if (back->partition >= s->c->partitions) {
            continue;
        }
        coord_part *part = &s->c->parts[back->partition];
        if (part->owner == s->call->who && part->epoch == back->epoch) {
            release(s, part, wait);
        }
    }
}

static size_t leases(const coordinator *c) {
    size_t n = 0;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        n += c->members[i].leased;
    }
    return n;
}

static void renew(step *s) {
    coord_member *self = &s->c->members[s->call->who];
    bool missing = !self->leased;
    self->leased = true;
    self->lease_end = s->now + s->call->timeout;
    if (!missing || (s->call->op == SYNC_JOIN && leases(s->c) > 1)) {
        return;
    }
    /* The leases were deleted: without one of their own, the dead would never go. */
    for (int i = 0; i < SIM_MEMBERS; i++) {
        coord_member *m = &s->c->members[i];
        if (m->known && !m->leased) {
            m->leased = true;
            m->lease_end = s->now + m->timeout;
        }
    }
}

/* The consumer that had this name until now is out: what it owned goes where it is to go. */
static void replace(step *s) {
    s->replaced = 1u << s->call->who;
    for (uint32_t p = 0; p < s->c->partitions; p++) {
        if (s->c->parts[p].owner == s->call->who) {
            release(s, &s->c->parts[p], false);
        }
    }
}

static void join(step *s) {
    coord_member *self = &s->c->members[s->call->who];
    if (self->known && self->nonce == s->call->nonce) {
        return; /* asked once more */
    }
    if (self->known) {
        replace(s);
    }
    self->version = (self->known ? self->version : s->c->used) + 1;
    self->known = true;
    self->nonce = s->call->nonce;
    self->timeout = s->call->timeout;
    s->reshuffle = true;
}

/* ---- The answer ----------------------------------------------------------------------------- */

static int64_t time_to_next(const step *s) {
    int64_t soonest = -1;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        const coord_member *m = &s->c->members[i];
        if (i != s->call->who && m->leased && (soonest < 0 || m->lease_end < soonest)) {
            soonest = m->lease_end;
        }
    }
    if (soonest < 0) {
        return -1;
    }
    /* The clock advances by the cap at most: whoever waits longer than that waits in vain. */
    return least(most(0, soonest - s->now), most(1, s->c->cap - 20));
}

static void answer(const step *s, sync_answer *out) {
    const coordinator *c = s->c;
    out->members = leases(c);
    out->due = -1;
    if (s->call->op == SYNC_LEAVE) {
        return;
    }
    out->version = c->members[s->call->who].version;
    out->due = time_to_next(s);
    out->listed = out->version != s->call->version;
    for (uint32_t p = 0; out->listed && p < c->partitions; p++) {
        const coord_part *part = &c->parts[p];
        if (part->owner == s->call->who) {
            out->grants[out->n_grants++] =
                (sync_grant){p, part->epoch, part->target != s->call->who};
        }
    }
}

/* A new version for each whose list has changed, and a word to all of them but the caller. */
static void publish(step *s, sync_answer *out) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        if ((s->told >> i & 1) != 0 && is_member(s->c, i)) {
            s->c->members[i].version++;
            out->woken |= i == s->call->who ? 0 : 1u << i;
        }
    }
    out->replaced = s->replaced;
}

static sync_word admit(const coordinator *c, const sync_call *call) {
    const coord_member *self = &c->members[call->who];
    if (c->gone) {
        return SYNC_GONE;
    }
    if (call->op == SYNC_JOIN) {
        return SYNC_OK;
    }
    return !self->known ? SYNC_UNKNOWN : self->nonce != call->nonce ? SYNC_REPLACED : SYNC_OK;
}

void coordinator_sync(coordinator *c, int64_t wall, const sync_call *call, sync_answer *out) {
    step s = {.c = c, .call = call};
    memset(out, 0, sizeof *out);
    out->word = admit(c, call);
    if (out->word != SYNC_OK) {
        return;
    }
    s.now = c->clock + least(most(0, wall - c->wall), c->cap);
    c->clock = s.now;
    c->wall = wall;
    c->epoch = (uint64_t)most((int64_t)c->epoch, (int64_t)call->floor);
    remove_expired(&s);
    hand_back(&s);
    if (call->op == SYNC_LEAVE) {
        remove_member(&s, call->who);
    } else {
        renew(&s);
    }
    if (call->op == SYNC_JOIN) {
        join(&s);
    }
    if (s.reshuffle) {
        share_out(&s);
    }
    publish(&s, out);
    answer(&s, out);
}

/* ---- Moving a group ------------------------------------------------------------------------- */

uint64_t coordinator_seek_begin(coordinator *c, int64_t wall, uint64_t floor) {
    c->epoch = (uint64_t)most((int64_t)c->epoch, (int64_t)floor);
    live_on(c, wall);
    return ++c->epoch;
}

uint32_t coordinator_seek_finish(coordinator *c, int64_t wall, uint64_t moved) {
    uint32_t woken = 0;
    c->epoch = (uint64_t)most((int64_t)c->epoch, (int64_t)moved);
    for (uint32_t p = 0; p < c->partitions; p++) {
        coord_part *part = &c->parts[p];
        if (part->owner != NOBODY && part->epoch <= moved) {
            live_on(c, wall);
            part->epoch = ++c->epoch;
            woken |= is_member(c, part->owner) ? 1u << part->owner : 0;
        }
    }
    for (int i = 0; i < SIM_MEMBERS; i++) {
        c->members[i].version += woken >> i & 1;
    }
    return woken;
}

/* ---- Cursors -------------------------------------------------------------------------------- */

cursor_word cursor_acquire(cursor *c, uint64_t epoch, uint64_t nonce) {
    if (c->epoch > epoch || (c->epoch == epoch && c->owner != nonce)) {
        return CURSOR_STALE;
    }
    if (c->epoch < epoch) {
        c->epoch = epoch;
        c->owner = nonce;
        c->seq = 0;
    }
    return CURSOR_OK;
}

cursor_word cursor_commit(cursor *c, uint64_t epoch, uint64_t nonce, uint64_t seq,
                          uint64_t committed, uint64_t next, uint64_t said) {
    if (epoch != c->epoch || nonce != c->owner) {
        return CURSOR_FENCED;
    }
    if (seq <= c->seq || committed < c->committed) {
        return CURSOR_OLD;
    }
    if (committed > next) {
        return CURSOR_AHEAD;
    }
    c->seq = seq;
    c->committed = committed;
    c->said = said;
    return CURSOR_OK;
}

cursor_word cursor_seek(cursor *c, uint64_t epoch) {
    if (c->epoch >= epoch) {
        return CURSOR_STALE;
    }
    *c = (cursor){.epoch = epoch, .since = epoch, .committed = c->committed};
    return CURSOR_OK;
}
