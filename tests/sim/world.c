/* world.c - the queue, the wire, the server and what goes wrong. */
#include "world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "test.h"

enum {
    RECONNECT_MS = 300, /* at most */
    LATE_MS = 15000,    /* what a dead connection held is executed so much later, at most */
    WALL_START = 1000000
};

/* ---- Telling -------------------------------------------------------------------------------- */

void world_say(world *w, const char *format, ...) {
    va_list list;
    if (w->story == NULL) {
        return;
    }
    fprintf(w->story, "%10.3f s  ", (double)w->now / 1000);
    va_start(list, format);
    vfprintf(w->story, format, list);
    va_end(list);
    fputc('\n', w->story);
}

void world_break(world *w, const char *format, ...) {
    va_list list;
    if (w->broken[0] != '\0') {
        return;
    }
    va_start(list, format);
    vsnprintf(w->broken, sizeof w->broken, format, list);
    va_end(list);
    world_say(w, "BROKEN: %s", w->broken);
}

/* ---- The queue: a heap, the earliest first, in the order of coming where times are equal ------ */

static bool sooner(const event *a, const event *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(event *a, event *b) {
    event was = *a;
    *a = *b;
    *b = was;
}

void world_push(world *w, int64_t at, event_kind kind, int who, uint64_t number) {
    CHECK_LT(w->n_queue, EVENTS_MAX);
    size_t i = w->n_queue++;
    w->queue[i] = (event){at > w->now ? at : w->now, w->order++, kind, who, number};
    for (; i > 0 && sooner(&w->queue[i], &w->queue[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(&w->queue[i], &w->queue[(i - 1) / 2]);
    }
}

static event pop(world *w) {
    event first = w->queue[0];
    w->queue[0] = w->queue[--w->n_queue];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < w->n_queue; child++) {
            if (sooner(&w->queue[child], &w->queue[least])) {
                least = child;
            }
        }
        if (least == i) {
            return first;
        }
        swap(&w->queue[i], &w->queue[least]);
        i = least;
    }
}

/* ---- The wire ------------------------------------------------------------------------------- */

static int64_t delay(world *w, node *n) {
    int64_t ms = (int64_t)sg_rng_below(&n->rng, (uint64_t)w->plan->delay) + 1;
    return w->now + ms > n->isolated_until ? w->now + ms : n->isolated_until + ms;
}

static bool chance(sg_rng *rng, unsigned of_1000) {
    return of_1000 > 0 && sg_rng_below(rng, 1000) < of_1000;
}

message *world_send(world *w, node *n, message_kind kind) {
    size_t i = 0;
    if (!n->up) {
        return NULL;
    }
    while (i < w->n_messages && w->messages[i].used) {
        i++;
    }
    CHECK_LT(i, MESSAGES_MAX);
    w->n_messages = i < w->n_messages ? w->n_messages : i + 1;
    message *m = &w->messages[i];
    *m = (message){.used = true,
                   .kind = kind,
                   .who = n->who,
                   .process = n->process,
                   .connection = n->connection,
                   .nonce = n->nonce};
    int64_t at = delay(w, n);
    n->last_arrival = at > n->last_arrival ? at : n->last_arrival;
    world_push(w, n->last_arrival, EV_ARRIVE, n->who, i);
    if (w->now < w->plan->calm_at && chance(&n->rng, w->plan->lose)) {
        int64_t within = 2 * w->plan->delay + 1;
        world_push(w, w->now + (int64_t)sg_rng_below(&n->rng, (uint64_t)within), EV_CUT, n->who,
                   n->connection);
    }
    return m;
}

/* What is on its way to the server arrives, or is lost, or is held and comes when nobody expects it
 * any more. What is on its way back is lost. */
void world_cut(world *w, node *n) {
    for (size_t i = 0; i < w->n_messages; i++) {
        message *m = &w->messages[i];
        if (!m->used || m->executed || m->who != n->who || m->connection != n->connection) {
            continue;
        }
        m->dropped = sg_rng_below(&w->rng, 2) == 0;
        if (chance(&w->rng, w->plan->late)) {
            m->dropped = false;
            m->late_until = w->now + (int64_t)sg_rng_below(&w->rng, LATE_MS);
        }
    }
    n->up = false;
    world_push(w, w->now, EV_LOST, n->who, n->connection);
}

static void answer(world *w, message *m, size_t i) {
    node *n = &w->nodes[m->who];
    if (m->process != n->process || m->connection != n->connection || !n->up) {
        m->used = false;
        return;
    }
    int64_t at = delay(w, n);
    n->last_answer = at > n->last_answer ? at : n->last_answer;
    world_push(w, n->last_answer, EV_ANSWER, m->who, i);
}

/* ---- The server ----------------------------------------------------------------------------- */

int64_t world_wall(const world *w) {
    return WALL_START + w->now + w->now * w->plan->drift / 1000 + w->wall_offset;
}

static void wake(world *w, uint32_t whom) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        node *n = &w->nodes[i];
        if ((whom >> i & 1) != 0 && n->alive && n->up && !chance(&w->rng, w->plan->deaf)) {
            world_push(w, delay(w, n), EV_WAKE, i, n->process);
        }
    }
}

static void tell_sync(world *w, const message *m) {
    static const char *const ops[] = {"joins", "beats", "leaves"};
    static const char *const words[] = {"", ": it is not known", ": it was replaced", ": gone"};
    char back[256] = "", grants[256] = "";
    size_t at = 0;
    bool news = m->sync.op != SYNC_BEAT || m->sync.n_back > 0 || m->synced.listed ||
                m->synced.word != SYNC_OK || m->late_until != 0;
    if (w->story == NULL || !news) {
        return;
    }
    for (size_t i = 0; i < m->sync.n_back && at < sizeof back - 32; i++) {
        at += (size_t)snprintf(back + at, sizeof back - at, "%s%u (epoch %" PRIu64 ")",
                               i == 0 ? ", handing back " : ", ", m->sync.back[i].partition,
                               m->sync.back[i].epoch);
    }
    at = 0;
    for (size_t i = 0; i < m->synced.n_grants && at < sizeof grants - 32; i++) {
        at += (size_t)snprintf(grants + at, sizeof grants - at, "%s%u (%" PRIu64 "%s)",
                               i == 0 ? ": it has " : ", ", m->synced.grants[i].partition,
                               m->synced.grants[i].epoch,
                               m->synced.grants[i].give ? ", to give" : "");
    }
    world_say(w, "server: %s %s (process %" PRIu64 ")%s%s%s%s", node_name(&w->nodes[m->who]),
              ops[m->sync.op], m->process, m->late_until != 0 ? ", late" : "", back,
              words[m->synced.word],
              m->synced.listed && m->synced.n_grants == 0 ? ": it has nothing" : grants);
}

static void execute_sync(world *w, message *m) {
    coordinator before = w->group;
    coordinator_sync(&w->group, world_wall(w), &m->sync, &m->synced);
    tell_sync(w, m);
    wake(w, m->synced.woken | m->synced.replaced);
    check_sync(w, &before, &m->sync);
    if (m->sync.op == SYNC_LEAVE && m->synced.word == SYNC_OK) {
        note_leave(w, &before, m->who);
    }
}

static void execute_cursor(world *w, message *m) {
    static const char *const words[] = {"done", "stale", "old", "fenced", "ahead"};
    static const char *const kinds[] = {"", "acquires", "reads", "commits"};
    cursor *c = &w->cursors[m->partition];
    uint64_t before = c->epoch;
    if (m->kind == MSG_ACQUIRE) {
        m->word = cursor_acquire(c, m->epoch, m->nonce);
        w->stale += m->word == CURSOR_STALE;
        check_acquired(w, m, before);
    } else if (m->kind == MSG_COMMIT) {
        m->word = cursor_commit(c, m->epoch, m->nonce, m->seq, m->committed, UINT64_MAX, 0);
        w->fenced += m->word == CURSOR_FENCED;
        check_commit(w, m);
    }
    m->cursor = *c;
    if (m->kind == MSG_COMMIT && m->word == CURSOR_OK && m->late_until == 0) {
        return; /* no news */
    }
    world_say(w, "server: %s %s %u (epoch %" PRIu64 ")%s: %s, epoch %" PRIu64,
              node_name(&w->nodes[m->who]), kinds[m->kind], m->partition, m->epoch,
              m->late_until != 0 ? ", late" : "", words[m->word], c->epoch);
}

/* A consumer that has died asks to join, and takes the name from its successor, which ends: the
 * protocol does not rule that out, as nobody can tell which of the two is the newer one. */
static bool usurps(const world *w, const message *m) {
    return m->kind == MSG_SYNC && m->sync.op == SYNC_JOIN && m->process != w->nodes[m->who].process;
}

static void arrive(world *w, const event *e) {
    message *m = &w->messages[e->number];
    int64_t wait = m->late_until > w->server_paused_until ? m->late_until : w->server_paused_until;
    if (m->dropped || (w->plan->honest && usurps(w, m))) {
        m->used = false;
    } else if (wait > w->now) {
        world_push(w, wait, EV_ARRIVE, e->who, e->number);
    } else {
        m->executed = true;
        if (m->kind == MSG_SYNC) {
            execute_sync(w, m);
        } else {
            execute_cursor(w, m);
        }
        answer(w, m, e->number);
    }
}

/* ---- What goes wrong ------------------------------------------------------------------------ */

static void crash(world *w, node *n) {
    if (n->alive) {
        note_death(w, n);
        world_cut(w, n);
        node_die(w, n);
    }
}

static void save(world *w) {
    w->saved = w->group;
    memcpy(w->saved_cursors, w->cursors, sizeof w->cursors);
}

static void cut_all(world *w) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        if (w->nodes[i].alive && w->nodes[i].up) {
            world_cut(w, &w->nodes[i]);
        }
    }
}

/* At once: what can happen between its steps is for the tests of group_seek. */
static void move_group(world *w) {
    uint64_t floor = 0, epoch;
    world_say(w, "the group is moved");
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        floor = w->cursors[p].epoch > floor ? w->cursors[p].epoch : floor;
    }
    epoch = coordinator_seek_begin(&w->group, world_wall(w), floor);
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        cursor_seek(&w->cursors[p], epoch);
    }
    wake(w, coordinator_seek_finish(&w->group, world_wall(w), epoch));
}

/* It is another server: what was sent to the one before does not come any more. */
static void restore(world *w, bool reborn) {
    cut_all(w);
    for (size_t i = 0; i < w->n_messages; i++) {
        w->messages[i].dropped = w->messages[i].dropped || !w->messages[i].executed;
    }
    w->group = w->saved;
    w->group.reborn = reborn;
    memcpy(w->cursors, w->saved_cursors, sizeof w->cursors);
    for (uint32_t p = 0; p < w->plan->partitions; p++) {
        w->delivered[p].commit_epoch = 0;
    }
}

static void befall_server(world *w, const fault *f) {
    switch (f->kind) {
    case FAULT_SERVER_PAUSE:
        world_say(w, "the server stands still for %" PRId64 " ms", f->ms);
        w->server_paused_until = w->now + f->ms;
        break;
    case FAULT_CLOCK_STEP:
        world_say(w, "the server's clock is set by %" PRId64 " ms", f->ms);
        w->wall_offset += f->ms;
        break;
    case FAULT_SAVE:
        world_say(w, "a snapshot is taken");
        save(w);
        break;
    case FAULT_RESTORE:
        world_say(w, "the server is rolled back to the snapshot");
        restore(w, f->ms % 2 == 0);
        break;
    case FAULT_SEEK:
        move_group(w);
        break;
    case FAULT_ROLL_BACK:
        world_say(w, "the coordinator is rolled back to the snapshot");
        w->group = w->saved;
        w->group.reborn = f->ms % 2 == 0;
        cut_all(w);
        break;
    default:
        world_say(w, "the coordinator forgets everything");
        coordinator_init(&w->group, w->plan->partitions);
        w->group.wall = world_wall(w);
        cut_all(w);
    }
}

static void befall(world *w, const fault *f) {
    node *n = &w->nodes[f->who];
    if (f->kind == FAULT_START) {
        crash(w, n);
        note_start(w);
        node_start(w, n);
    } else if (f->kind >= FAULT_SERVER_PAUSE) {
        befall_server(w, f);
    } else if (!n->alive) {
        return;
    } else if (f->kind == FAULT_CRASH) {
        world_say(w, "%s dies", node_name(n));
        crash(w, n);
    } else if (f->kind == FAULT_CLOSE || f->kind == FAULT_REST) {
        world_say(w, "%s is to leave", node_name(n));
        node_close(w, n, f->kind == FAULT_REST ? w->now + f->ms : 0);
    } else if (f->kind == FAULT_PAUSE) {
        world_say(w, "%s stands still for %" PRId64 " ms", node_name(n), f->ms);
        n->paused_until = w->now + f->ms;
    } else if (f->kind == FAULT_ISOLATE) {
        world_say(w, "nothing comes from or to %s for %" PRId64 " ms", node_name(n), f->ms);
        n->isolated_until = w->now + f->ms;
    } else if (n->up) {
        world_say(w, "the connection of %s is cut", node_name(n));
        world_cut(w, n);
    }
}

/* ---- Events --------------------------------------------------------------------------------- */

static void take_answer(world *w, node *n, const event *e) {
    message *m = &w->messages[e->number];
    if (n->alive && m->process == n->process && m->connection == n->connection && n->up) {
        node_answer(w, n, m);
    }
    m->used = false;
}

/* What a node does while it stands still, it does afterwards. */
static bool waits(const world *w, const node *n, const event *e) {
    bool its_own = e->kind == EV_TURN || e->kind == EV_ANSWER || e->kind == EV_WAKE ||
                   e->kind == EV_LOST || e->kind == EV_UP;
    return its_own && n->alive && n->paused_until > w->now;
}

static void happen(world *w, const event *e) {
    node *n = &w->nodes[e->who];
    bool same_life = n->alive && e->number == n->process;
    bool same_line = n->alive && e->number == n->connection;
    if (waits(w, n, e)) {
        world_push(w, n->paused_until, e->kind, e->who, e->number);
        return;
    }
    switch (e->kind) {
    case EV_FAULT:
        befall(w, &w->plan->faults[e->number]);
        break;
    case EV_TURN:
        if (same_life && w->now >= n->next_turn) {
            n->next_turn = INT64_MAX;
            node_turn(w, n);
        }
        break;
    case EV_ARRIVE:
        arrive(w, e);
        break;
    case EV_ANSWER:
        take_answer(w, n, e);
        break;
    case EV_WAKE:
        if (same_life) {
            node_wake(w, n);
        }
        break;
    case EV_CUT:
        if (same_line && n->up) {
            world_say(w, "the connection of %s breaks", node_name(n));
            world_cut(w, n);
        }
        break;
    case EV_LOST:
        if (same_line) {
            node_lost(w, n);
            int64_t up = w->now + 1 + (int64_t)sg_rng_below(&n->rng, RECONNECT_MS);
            world_push(w, up > n->isolated_until ? up : n->isolated_until, EV_UP, n->who,
                       n->connection);
        }
        break;
    case EV_UP:
        if (same_line) {
            node_up(w, n);
        }
        break;
    }
}

void world_init(world *w, const plan *p) {
    FILE *story = w->story;
    memset(w, 0, offsetof(world, messages));
    w->story = story;
    w->plan = p;
    w->settled_at = INT64_MAX;
    w->rng.state = p->seed;
    coordinator_init(&w->group, p->partitions);
    w->group.wall = world_wall(w);
    w->saved = w->group;
    for (int i = 0; i < SIM_MEMBERS; i++) {
        w->nodes[i].who = i;
        w->nodes[i].timeout = p->timeouts[i];
    }
    for (size_t i = 0; i < p->n_faults; i++) {
        if (p->kept[i]) {
            world_push(w, p->faults[i].at, EV_FAULT, p->faults[i].who, i);
        }
    }
}

void world_run(world *w) {
    while (w->n_queue > 0 && w->broken[0] == '\0') {
        event e = pop(w);
        if (e.at > w->plan->end_at) {
            break;
        }
        w->now = e.at;
        w->events++;
        happen(w, &e);
        check_holders(w);
        check_settled(w);
    }
    if (w->broken[0] == '\0') {
        w->now = w->plan->end_at;
        check_convergence(w);
    }
}

void world_fini(world *w) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        sg_member_free(w->nodes[i].m);
    }
}
