/* node.c - what a consumer's loop does around a membership, less its messages: the part of
 * src/engine/coordinate.c and cursor.c that sg_member relies on. */
#include <inttypes.h>
#include <string.h>

#include "test.h"
#include "world.h"

enum {
    SYNC_RETRY_MS = 100,
    COMMAND_TIMEOUT_MS = 5000,
    COMMIT_EVERY = 4,
    DRAIN_MS = 400,
    WORK_MS = 600,
    CONNECT_MS = 50,
    CLOCK_AHEAD_MS = 1000000000
};

const char *node_name(const node *n) {
    static const char *const names[SIM_MEMBERS] = {"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7",
                                                   "m8", "m9", "ma", "mb", "mc", "md", "me", "mf"};
    return names[n->who];
}

static int64_t own_clock(const world *w, const node *n) {
    return w->now + n->ahead;
}

static int64_t some(node *n, int64_t most) {
    return (int64_t)sg_rng_below(&n->rng, (uint64_t)most) + 1;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- Holdings ------------------------------------------------------------------------------- */

static void drop(holding *h) {
    h->state = HOLD_NONE;
}

static void drain(const world *w, node *n, holding *h) {
    h->state = HOLD_DRAINING;
    h->drain_until = w->now + some(n, DRAIN_MS);
}

static bool is_final(const holding *h) {
    return !h->begun || (h->final_stored && !h->busy && h->stored == h->position);
}

static void take_changes(world *w, node *n) {
    sg_member_change c;
    while (sg_member_change_next(n->m, &c)) {
        holding *h = &n->holds[c.partition];
        bool same = h->state != HOLD_NONE && h->epoch == c.epoch;
        if (c.what == SG_PART_GRANTED) {
            *h = (holding){.state = HOLD_ACQUIRING, .epoch = c.epoch};
        } else if (same && c.what == SG_PART_REVOKED) {
            drain(w, n, h);
        } else if (same) {
            world_say(w, "%s loses %u (epoch %" PRIu64 ")", node_name(n), c.partition, c.epoch);
            drop(h);
        }
    }
}

static message *errand(world *w, node *n, uint32_t partition, message_kind kind) {
    holding *h = &n->holds[partition];
    message *m = world_send(w, n, kind);
    if (m != NULL) {
        h->busy = true;
        m->partition = partition;
        m->epoch = h->epoch;
    }
    return m;
}

static void store(world *w, node *n, uint32_t partition, bool final) {
    holding *h = &n->holds[partition];
    message *m = errand(w, n, partition, MSG_COMMIT);
    if (m != NULL) {
        h->sending = h->position;
        h->sending_final = final;
        m->seq = ++h->seq;
        m->committed = h->position;
    }
}

/* Returns when to look at it again. */
static int64_t serve(world *w, node *n, uint32_t partition) {
    holding *h = &n->holds[partition];
    if (h->state == HOLD_NONE || h->busy || !n->up) {
        return INT64_MAX;
    }
    if (h->state == HOLD_ACQUIRING) {
        errand(w, n, partition, MSG_ACQUIRE);
    } else if (h->begun && !h->verified) {
        errand(w, n, partition, MSG_READ);
    } else if (h->state == HOLD_ACTIVE) {
        if (h->position - h->stored >= COMMIT_EVERY) {
            store(w, n, partition, false);
        }
    } else if (h->begun && w->now < h->drain_until) {
        return h->drain_until;
    } else if (!is_final(h)) {
        store(w, n, partition, true);
    } else if (!n->closing) {
        world_say(w, "%s is done with %u (epoch %" PRIu64 ")", node_name(n), partition, h->epoch);
        sg_member_released(n->m, partition, h->epoch);
        drop(h);
    }
    return INT64_MAX;
}

static void work(world *w, node *n) {
    if (w->now < n->next_work) {
        return;
    }
    n->next_work = w->now + WORK_MS / 2 + some(n, WORK_MS);
    if (n->closing) {
        return; /* whatever is still granted to it */
    }
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        holding *h = &n->holds[p];
        if (h->state != HOLD_ACTIVE || !h->verified || (w->plan->idle >> p & 1) != 0) {
            continue;
        }
        if (own_clock(w, n) >= sg_member_safe_until(n->m)) {
            check_interruption(w, n);
        } else {
            h->position++;
            check_delivery(w, n, p);
        }
    }
}

/* ---- Cursors' answers ----------------------------------------------------------------------- */

static void lost_ownership(world *w, node *n, uint32_t partition) {
    holding *h = &n->holds[partition];
    world_say(w, "%s is not the owner of %u (epoch %" PRIu64 ") any more", node_name(n), partition,
              h->epoch);
    sg_member_released(n->m, partition, h->epoch);
    drop(h);
}

static void acquired(world *w, node *n, holding *h, const message *m) {
    if (m->word == CURSOR_STALE) {
        sg_member_stale(n->m, m->partition, h->epoch, m->cursor.epoch);
        world_say(w, "%s finds %u under a later epoch", node_name(n), m->partition);
        drop(h);
    } else if (h->state == HOLD_ACQUIRING) {
        h->state = HOLD_ACTIVE;
        h->begun = h->verified = true;
        h->position = h->stored = m->cursor.committed;
    }
}

static void compared(world *w, node *n, holding *h, const message *m) {
    bool ours = m->cursor.epoch == h->epoch && m->cursor.owner == n->nonce;
    if (m->cursor.epoch > h->epoch || (m->cursor.epoch == h->epoch && !ours)) {
        lost_ownership(w, n, m->partition);
    } else if (!ours || m->cursor.committed < h->stored) {
        world_say(w, "%s finds the cursor of %u behind what it stored", node_name(n), m->partition);
        lost_ownership(w, n, m->partition);
    } else {
        h->verified = true;
    }
}

static void committed(world *w, node *n, holding *h, const message *m) {
    if (m->word == CURSOR_OK) {
        h->stored = h->sending;
        h->final_stored = h->sending_final;
    } else {
        lost_ownership(w, n, m->partition);
    }
}

static void take_errand(world *w, node *n, const message *m) {
    holding *h = &n->holds[m->partition];
    if (h->state == HOLD_NONE || h->epoch != m->epoch) {
        return;
    }
    h->busy = false;
    if (m->kind == MSG_ACQUIRE) {
        acquired(w, n, h, m);
    } else if (m->kind == MSG_READ) {
        compared(w, n, h, m);
    } else {
        committed(w, n, h, m);
    }
}

/* ---- The coordinator's ---------------------------------------------------------------------- */

static void ask(world *w, node *n) {
    static const sync_op ops[] = {SYNC_JOIN, SYNC_BEAT, SYNC_LEAVE};
    sg_member_ask q;
    message *m = world_send(w, n, MSG_SYNC);
    sg_member_ask_now(n->m, own_clock(w, n), &q);
    m->sync = (sync_call){.op = ops[q.op],
                          .who = n->who,
                          .nonce = n->nonce,
                          .version = q.version,
                          .floor = q.floor,
                          .timeout = n->timeout,
                          .n_back = q.n_released};
    for (size_t i = 0; i < q.n_released; i++) {
        m->sync.back[i] = (sync_back){q.released[i], q.epochs[i]};
    }
    n->syncing = true;
    n->asked_at = own_clock(w, n);
}

static void in_good_standing(world *w, node *n, const sync_answer *a) {
    sg_grant grants[SIM_PARTITIONS];
    for (size_t i = 0; i < a->n_grants; i++) {
        grants[i] = (sg_grant){a->grants[i].partition, a->grants[i].give, a->grants[i].epoch};
    }
    sg_member_answered(n->m, own_clock(w, n), a->version, a->due, a->listed, grants, a->n_grants);
    n->lease_from = n->asked_at;
}

static void take_sync(world *w, node *n, const message *m) {
    const sync_answer *a = &m->synced;
    n->syncing = false;
    if (a->word == SYNC_OK && m->sync.op == SYNC_LEAVE) {
        sg_member_ended(n->m, SG_END_LEFT);
    } else if (a->word == SYNC_OK) {
        in_good_standing(w, n, a);
    } else if (a->word == SYNC_UNKNOWN) {
        n->lease_from = INT64_MIN;
        sg_member_expired(n->m, own_clock(w, n));
    } else {
        n->lease_from = INT64_MIN;
        sg_member_ended(n->m, SG_END_REPLACED);
    }
    take_changes(w, n);
}

/* Nothing is delivered any more; once all is stored, it says good-bye. */
static void wind_up(world *w, node *n) {
    bool settled = true;
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        holding *h = &n->holds[p];
        if (h->state == HOLD_ACQUIRING || h->state == HOLD_ACTIVE) {
            drain(w, n, h);
        }
        settled = settled && (h->state == HOLD_NONE || is_final(h));
    }
    if (settled) {
        n->left = true;
        sg_member_leave(n->m);
    }
}

/* True where there is nothing left to do for it now. */
static bool over(world *w, node *n) {
    sg_member_end end = sg_member_over(n->m);
    if (end == SG_END_NONE) {
        return false;
    }
    take_changes(w, n);
    if (end != SG_END_LEFT || !n->resting) {
        world_say(w, "%s ends: it %s", node_name(n), end == SG_END_LEFT ? "left" : "was replaced");
        node_die(w, n);
        return true;
    }
    if (w->now < n->back_at) {
        n->next_turn = n->back_at;
        world_push(w, n->next_turn, EV_TURN, n->who, n->process);
        return true;
    }
    world_say(w, "%s comes back", node_name(n));
    sg_member_rejoin(n->m, own_clock(w, n));
    n->nonce = ++w->processes;
    n->resting = n->closing = n->left = false;
    return false;
}

/* ---- A turn --------------------------------------------------------------------------------- */

void node_turn(world *w, node *n) {
    int64_t due = INT64_MAX;
    if (over(w, n)) {
        return;
    }
    work(w, n);
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        due = earlier(due, serve(w, n, p));
    }
    if (n->closing && !n->left) {
        wind_up(w, n);
        for (uint32_t p = 0; p < w->plan->partitions; p++) {
            due = earlier(due, serve(w, n, p));
        }
        if (over(w, n)) {
            return;
        }
    }
    if (n->syncing && n->up && own_clock(w, n) >= n->asked_at + COMMAND_TIMEOUT_MS) {
        world_say(w, "%s gives its connection up", node_name(n));
        world_cut(w, n);
    }
    if (!n->syncing && n->up && sg_member_due(n->m) <= own_clock(w, n)) {
        ask(w, n);
    }
    int64_t sync = n->syncing ? n->asked_at + COMMAND_TIMEOUT_MS : sg_member_due(n->m);
    if (n->up && sync != INT64_MAX) {
        due = earlier(due, sync - n->ahead);
    }
    n->next_turn = earlier(due, n->next_work);
    world_push(w, n->next_turn, EV_TURN, n->who, n->process);
}

void node_answer(world *w, node *n, const message *m) {
    if (m->kind == MSG_SYNC) {
        take_sync(w, n, m);
    } else {
        take_errand(w, n, m);
    }
    node_turn(w, n);
}

void node_wake(world *w, node *n) {
    sg_member_wake(n->m);
    node_turn(w, n);
}

/* Every request on the connection has ended, nobody knows how. */
void node_lost(world *w, node *n) {
    if (n->syncing) {
        n->syncing = false;
        if (sg_member_over(n->m) == SG_END_NONE) {
            sg_member_unanswered(n->m, own_clock(w, n), SYNC_RETRY_MS);
        }
    }
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        n->holds[p].busy = false;
    }
    node_turn(w, n);
}

void node_up(world *w, node *n) {
    n->up = true;
    n->connection = ++w->processes;
    n->last_arrival = n->last_answer = 0;
    sg_member_recall(n->m);
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        n->holds[p].verified = false;
    }
    node_turn(w, n);
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

void node_start(world *w, node *n) {
    uint64_t process = ++w->processes;
    sg_rng rng = {w->plan->seed ^ ((uint64_t)n->who + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
                  (uint64_t)w->now};
    *n = (node){.who = n->who,
                .alive = true,
                .process = process,
                .nonce = process,
                .connection = ++w->processes,
                .timeout = n->timeout,
                .lease_from = INT64_MIN,
                .rng = rng};
    n->ahead = (int64_t)sg_rng_below(&n->rng, CLOCK_AHEAD_MS);
    n->m = sg_member_new(n->timeout, w->plan->partitions);
    CHECK(n->m != NULL);
    world_say(w, "%s starts (process %" PRIu64 ", session timeout %" PRId64 " ms)", node_name(n),
              n->process, n->timeout);
    world_push(w, w->now + some(n, CONNECT_MS), EV_UP, n->who, n->connection);
}

void node_die(world *w, node *n) {
    (void)w;
    n->alive = n->up = false;
    sg_member_free(n->m);
    n->m = NULL;
    memset(n->holds, 0, sizeof n->holds);
}

void node_close(world *w, node *n, int64_t back_at) {
    if (n->closing) {
        return;
    }
    n->closing = true;
    n->resting = back_at != 0;
    n->back_at = back_at;
    if (n->paused_until <= w->now) {
        node_turn(w, n);
    }
}
