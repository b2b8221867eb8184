/* check_groups.c - what groups were delivered, settled and committed, in the order of time.
 *
 * Settled means: somebody acknowledged it, while nobody had been delivered anything under a later
 * epoch. That is written down before the call, so before anything can follow from it:
 *
 *     m1  settle 4 (epoch 2) ── ack ──> stored ─┐
 *     m2                                        └─ acquires epoch 3, reads on, is delivered 5
 *
 * and at the delivery of 5 the record of 4 is there. Epochs, not times, tell who was in charge: a
 * process that was stopped delivers and settles late under its old one. */
#include "checks.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- Lanes: what has to stay in order -------------------------------------------------------- */

typedef struct lane {
    place **places; /* by offset */
    size_t n, cap;
} lane;

static lane *lane_of(const story *s, const group *g, const place *at) {
    uint64_t key = g->by_partition ? 0 : at->content ? at->content->key : 0;
    if (g->unordered || (key == 0 && !g->by_partition))
        return NULL;
    return table_get(&s->lanes, (table_key){{(uintptr_t)at->part, g->by_partition, key}});
}

static void add_to_lane(story *s, place *at, bool by_partition, uint64_t key) {
    void **slot = table_at(&s->lanes, (table_key){{(uintptr_t)at->part, by_partition, key}});
    if (!*slot)
        *slot = arena_get(&s->arena, sizeof(lane));
    lane *l = *slot;
    l->places = array_grow(l->places, l->n, &l->cap, sizeof(place *));
    l->places[l->n++] = at;
}

static void build_lanes(story *s) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        for (uint64_t x = 0; x < p->n_line; x++) {
            place *at = p->line[x];
            if (!at)
                continue;
            add_to_lane(s, at, true, 0);
            if (at->content && at->content->key)
                add_to_lane(s, at, false, at->content->key);
        }
    }
}

static void free_lanes(story *s) {
    size_t walk = 0;
    for (lane *l; (l = table_next(&s->lanes, &walk));)
        free(l->places);
}

static turn *turn_of(const seen *e, uint64_t epoch) {
    turn *t = e->turns;
    while (t && t->epoch != epoch)
        t = t->older;
    return t;
}

/* It was dropped by the stream's policy: nobody has to have it. */
static bool dropped(const place *at) {
    return at->part->drops && !at->last;
}

/* May a later one of its lane be delivered, by a poll that was called at `poll`? */
static bool out_of_the_way(const seen *e, uint64_t epoch, uint64_t poll) {
    if (e->settled || e->explained || e->letter || dropped(e->at) ||
        e->at->offset < e->share->start)
        return true;
    const turn *t = turn_of(e, epoch);
    return t && !(t->given_back && t->given_back < poll);
}

/* The first in `at`'s lane that stands in its way. NULL mostly. Each share walks a lane from its
 * first message that was not done; that grows only. */
static seen *in_the_way(story *s, share *h, place *at, uint64_t epoch, uint64_t poll) {
    lane *l = lane_of(s, h->group, at);
    if (!l)
        return NULL;
    void **slot = table_at(&s->fronts, (table_key){{(uintptr_t)h, (uintptr_t)l}});
    if (!*slot)
        *slot = arena_get(&s->arena, sizeof(size_t));
    size_t *front = *slot;
    for (size_t i = *front; i < l->n && l->places[i]->offset < at->offset; i++) {
        seen *e = story_seen(s, h, l->places[i]);
        if (i == *front && (e->settled || e->explained || e->letter))
            (*front)++;
        if (!out_of_the_way(e, epoch, poll))
            return e;
    }
    return NULL;
}

/* ---- Deliveries ------------------------------------------------------------------------------ */

static void fell(story *s, share *h, uint64_t first, uint64_t end, uint64_t since,
                 const history_record *proof) {
    s->fallbacks = array_grow(s->fallbacks, s->n_fallbacks, &s->cap_fallbacks, sizeof(fallback));
    s->fallbacks[s->n_fallbacks++] = (fallback){h, first, end, since, proof};
}

/* Offsets that nobody has any more, from x on: told, or a silent gap. The first after it. */
static uint64_t check_gap(story *s, verdict *v, share *h, uint64_t x, const history_record *r) {
    uint64_t end = x;
    while (end < r->offset && !h->overtaken[end] &&
           (!h->part->line[end] || !h->part->line[end]->last))
        h->overtaken[end++] = 1;
    if (end > x && !story_told_group(h, x, end, 0))
        verdict_note(v, ANOMALY_SILENT_GAP,
                     "%s: %s was delivered offset %" PRIu64
                     " at %s, and not told of the loss of %" PRIu64 " to %" PRIu64,
                     say_group(s, h), say_name(s, r->member), r->offset, say_time(s, r), x,
                     end - 1);
    return end > x ? end : x + 1;
}

/* Does one of its key come before it that was settled under an earlier epoch, and that the server
 * may not know to be? That one comes again first, when its attempt is stored. */
static bool behind_unstored(story *s, share *h, const place *at, uint64_t epoch) {
    const lane *l = lane_of(s, h->group, at);
    for (size_t i = 0; l && i < l->n && l->places[i]->offset < at->offset; i++) {
        const seen *e = story_seen(s, h, l->places[i]);
        if (e->settled && !e->committed && e->settled_epoch < epoch)
            return true;
    }
    return false;
}

/* What lies between what this owner had and what it is delivered now. */
static void check_passed(story *s, verdict *v, share *h, reign *g, const history_record *r,
                         uint64_t poll) {
    const part *p = h->part;
    bool strict = !g->owner->handlers;
    for (uint64_t x = g->next; x < r->offset && x < p->n_line; x++) {
        place *at = p->line[x];
        if (x < h->start)
            continue;
        seen *e = at ? story_seen(s, h, at) : NULL;
        if (e && (e->settled || e->explained || turn_of(e, r->epoch)))
            continue;
        if (p->drops && (!at || !at->last)) {
            if (!h->overtaken[x])
                x = check_gap(s, v, h, x, r) - 1;
            continue;
        }
        if (!e || !strict || e->passed)
            continue;
        /* It waits, or stands behind one that does: perhaps behind one that was settled, which a
         * server has forgotten. */
        if (h->group->retries && (e->first || s->may_lose || in_the_way(s, h, at, r->epoch, poll) ||
                                  behind_unstored(s, h, at, r->epoch)))
            continue;
        e->passed = r;
        e->passed_epoch = r->epoch;
    }
    if (g->next <= r->offset)
        g->next = r->offset + 1;
}

static void check_backwards(story *s, verdict *v, share *h, reign *g, seen *e,
                            const history_record *r) {
    bool back = g->n && (e->at->era < g->era || (e->at->era == g->era && r->offset <= g->newest));
    bool again = turn_of(e, r->epoch);
    if (!back || h->group->retries || e->explained || e->passed || (g->owner->handlers && !again))
        return;
    e->explained = true;
    verdict_note(v, ANOMALY_NONMONOTONIC_POLL,
                 "%s: %s was delivered offset %" PRIu64 "%s at %s, after %" PRIu64
                 ", under epoch %" PRIu64,
                 say_group(s, h), say_name(s, r->member), r->offset, again ? " again" : "",
                 say_time(s, r), g->newest, r->epoch);
}

static void check_attempt(story *s, verdict *v, const seen *e, const history_record *r) {
    uint32_t n = 1, released = 0;
    for (const turn *t = e->turns; t; t = t->older) {
        if (t->epoch <= r->epoch) {
            n += t->deliveries;
            released += t->released;
        }
    }
    if (r->attempt >= n - released || s->may_lose)
        return;
    verdict_note(v, ANOMALY_FALSE_ATTEMPT,
                 "%s: %s was delivered to %s as attempt %" PRIu32
                 " at %s, and was delivered %" PRIu32 " times before, %" PRIu32 " given back",
                 say_place(s, e->at), say_message(s, e->at->content), say_name(s, r->member),
                 r->attempt, say_time(s, r), n - 1, released);
}

static void take_turn(story *s, seen *e, reign *g, const history_record *r, uint64_t poll) {
    turn *t = turn_of(e, r->epoch);
    if (!t) {
        t = arena_get(&s->arena, sizeof *t);
        *t = (turn){.epoch = r->epoch, .older = e->turns};
        e->turns = t;
        g->had = array_grow(g->had, g->n, &g->cap, sizeof *g->had);
        g->had[g->n++] = e;
    }
    t->deliveries++;
    t->given_back = 0;
    if (!e->first)
        e->first = r;
    if (e->at->era > g->era || (e->at->era == g->era && r->offset > g->newest)) {
        g->era = e->at->era;
        g->newest = r->offset;
    }
    if (poll > g->last_poll)
        g->last_poll = poll;
    if (r->epoch > e->share->epoch)
        e->share->epoch = r->epoch;
}

static void check_owner(story *s, verdict *v, share *h, reign *g, member *m,
                        const history_record *r) {
    if (!g->owner)
        g->owner = m;
    if (g->owner == m || g->disputed)
        return;
    g->disputed = true;
    verdict_note(v, ANOMALY_TWO_OWNERS,
                 "%s: %s and %s were both delivered messages under epoch %" PRIu64
                 ", the latter at %s",
                 say_group(s, h), say_name(s, g->owner->name), say_name(s, m->name), r->epoch,
                 say_time(s, r));
}

/* Since when somebody knows that this is committed, so that this owner should not have it; 0:
 * nobody does. An older owner, which wakes up late, may still hand out what it had fetched. */
static uint64_t committed_since(const seen *e, const history_record *r, uint64_t poll) {
    const history_record *far = e->share->furthest;
    if (e->committed &&
        (r->epoch > e->settled_epoch || (r->epoch == e->settled_epoch && poll > e->committed)))
        return e->committed;
    bool below = far && r->offset < far->offset && r->era <= far->era;
    return below && r->epoch >= far->epoch && poll > far->at ? far->at : 0;
}

static void see_delivery(story *s, verdict *v, const history_record *r, share *h, seen *e) {
    member *m = story_member(s, r->process, r->member);
    reign *g = story_reign(s, h, r->epoch);
    uint64_t poll = r->first ? r->first : r->at;
    v->deliveries++;
    v->redeliveries += e->first != NULL;
    check_owner(s, v, h, g, m, r);
    uint64_t known = committed_since(e, r, poll);
    if (known) {
        fell(s, h, r->offset, r->offset + 1, known, r);
        e->committed = 0;
    } else if (g->owner == m && e->at->survives) {
        check_attempt(s, v, e, r);
        check_backwards(s, v, h, g, e, r);
        check_passed(s, v, h, g, r, poll);
        seen *before = in_the_way(s, h, e->at, r->epoch, poll);
        if (before && !before->passed_in_key)
            before->passed_in_key = r;
    }
    take_turn(s, e, g, r, poll);
}

/* ---- Settling and committing ----------------------------------------------------------------- */

static void add_pending(member *m, const history_record *r, seen *e, bool late) {
    m->pending = array_grow(m->pending, m->n, &m->cap, sizeof *m->pending);
    m->pending[m->n++] = (pending){r, e, late};
}

/* Whether these will be stored is not known: their partition has moved. */
static void drop_pending(member *m, const share *h) {
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (h && m->pending[i].what->share != h)
            m->pending[kept++] = m->pending[i];
    }
    m->n = kept;
}

static void see_settle(story *s, verdict *v, const history_record *r, share *h, seen *e) {
    const history_record *done = story_done(s, r);
    member *m = story_member(s, r->process, r->member);
    turn *t = turn_of(e, r->epoch);
    if (done && done->phase == HISTORY_FAIL)
        return;
    if ((r->what == SEG_RETRY || r->what == SEG_RELEASE) && t) {
        t->given_back = done ? done->at : UINT64_MAX;
        t->released += r->what == SEG_RELEASE;
    }
    if (r->what != SEG_ACK && r->what != SEG_REJECT)
        return;
    bool late = r->epoch < h->epoch;
    v->settled += !e->settled;
    if (!late && !e->settled) {
        e->settled = r;
        e->settled_epoch = r->epoch;
    }
    if (r->what == SEG_ACK && done && done->phase == HISTORY_OK)
        add_pending(m, done, e, late);
}

/* All that a member had settled before it asked is stored. */
static void see_commit(story *s, verdict *v, const history_record *asked, const history_record *r) {
    member *m = story_member(s, r->process, r->member);
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++) {
        pending *p = &m->pending[i];
        seen *e = p->what;
        if (p->settle->at > asked->at) {
            m->pending[kept++] = *p;
        } else if (p->late && story_losing(s, asked->at)) {
            continue; /* stored by the server that is forgotten */
        } else if (p->late) {
            verdict_note(v, ANOMALY_ZOMBIE_COMMIT,
                         "%s: %s settled it at %s under epoch %" PRIu64
                         ", which was over, and its commit was accepted at %s",
                         say_place(s, e->at), say_name(s, m->name), say_time(s, p->settle),
                         p->settle->epoch, say_time(s, r));
        } else if (!e->committed) {
            e->committed = r->at;
            e->settled_epoch = p->settle->epoch;
        }
    }
    m->n = kept;
    v->commits++;
}

/* The group's place, as somebody read it between `asked` and `r`. */
static void see_place(story *s, const history_record *asked, const history_record *r, share *h) {
    if (h->furthest && asked->at >= h->furthest->at && r->offset < h->furthest->offset)
        fell(s, h, r->offset, h->furthest->offset, h->furthest->at, r);
    if (!h->furthest || r->offset >= h->furthest->offset || asked->at >= h->furthest->at)
        h->furthest = r;
    if (r->offset < h->checked)
        h->checked = r->offset; /* what fills it up again has to be acknowledged too */
    for (; h->checked < r->offset && h->checked < h->part->n_line; h->checked++) {
        place *at = h->part->line[h->checked];
        if (!at || at->era > r->era || dropped(at))
            continue;
        seen *e = story_seen(s, h, at);
        if (!e->settled && !e->ahead)
            e->ahead = r;
    }
    if (r->kind == HISTORY_PLACE)
        h->place = r;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static void see_loss(story *s, const history_record *r, share *h) {
    for (uint64_t x = r->first; x < r->end && x < h->part->n_line; x++) {
        if (h->part->line[x])
            story_seen(s, h, h->part->line[x])->committed = 0;
    }
    h->furthest = NULL;
}

static void see_losses(story *s, const history_record *r) {
    if (!r->group)
        return;
    size_t walk = 0;
    group *g = story_group(s, r->stream, r->group);
    for (part *p; (p = table_next(&s->parts, &walk));) {
        if (p->stream == r->stream && (p->number == r->partition || r->partition == HISTORY_ALL))
            see_loss(s, r, story_share(s, g, p));
    }
}

/* Who asked, at the invoke, is who is answered at the outcome. */
static const history_record *ask(story *s, const history_record *r) {
    void **slot = table_at(&s->asked, (table_key){{r->process, r->call}});
    if (r->phase == HISTORY_INVOKE || !*slot)
        *slot = (void *)(uintptr_t)r;
    return *slot;
}

static void see_in_share(story *s, verdict *v, const history_record *r) {
    share *h =
        story_share(s, story_group(s, r->stream, r->group), story_part(s, r->stream, r->partition));
    if (r->kind == HISTORY_OVERTAKEN) {
        for (uint64_t x = r->first; x < r->end && x < h->part->n_line; x++)
            h->overtaken[x] = 1;
    } else if (r->kind == HISTORY_LOST) {
        drop_pending(story_member(s, r->process, r->member), h);
    } else if (r->kind == HISTORY_PLACE) {
        see_place(s, r, r, h);
    } else if (r->kind == HISTORY_OBSERVED) {
        see_place(s, ask(s, r), r, h);
    } else {
        seen *e = story_seen(s, h, story_place(s, r->stream, r->partition, r->era, r->offset));
        if (r->kind == HISTORY_DELIVERED)
            see_delivery(s, v, r, h, e);
        else if (r->kind == HISTORY_LETTER)
            e->letter = true;
        else if (r->phase == HISTORY_INVOKE)
            see_settle(s, v, r, h, e);
        else if (r->phase == HISTORY_FAIL)
            drop_pending(story_member(s, r->process, r->member), h);
    }
}

static void see(story *s, verdict *v, const history_record *r) {
    switch (r->kind) {
    case HISTORY_OBSERVED:
        if (r->phase == HISTORY_INVOKE)
            ask(s, r);
        else if (r->phase == HISTORY_OK)
            see_in_share(s, v, r);
        break;
    case HISTORY_DELIVERED:
    case HISTORY_SETTLE:
    case HISTORY_OVERTAKEN:
    case HISTORY_LOST:
    case HISTORY_PLACE:
    case HISTORY_LETTER:
        see_in_share(s, v, r);
        break;
    case HISTORY_JOIN:
        if (r->flags & HISTORY_HANDLERS && r->phase == HISTORY_OK)
            story_member(s, r->process, r->member)->handlers = true;
        break;
    case HISTORY_COMMIT:
        if (r->phase == HISTORY_INVOKE)
            ask(s, r);
        else if (r->phase == HISTORY_OK)
            see_commit(s, v, ask(s, r), r);
        else
            drop_pending(story_member(s, r->process, r->member), NULL);
        break;
    case HISTORY_LOSS:
        see_losses(s, r);
        break;
    default:
        break;
    }
}

void check_groups(story *s, verdict *v) {
    build_lanes(s);
    for (size_t i = 0; i < s->log->n; i++)
        see(s, v, &s->log->records[i]);
    free_lanes(s);
}
