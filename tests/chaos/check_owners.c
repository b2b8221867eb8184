/* check_owners.c - a partition that nobody serves is given to somebody within the session timeout
 * and the group's bound, while there is somebody and the server can be reached.
 *
 *     observed    m1   m1   m1   m1   -    -    m2
 *     m1 dies           x
 *     not served            |────────────────|        from the first observation after it died
 *
 * Times are taken so that what is counted is at most what it was. */
#include "checks.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct watch {
    const history_record *since; /* not served from then on; NULL: it is */
    uint64_t epoch;
    bool counted;
} watch;

typedef struct owners {
    story *s;
    verdict *v;
    table watches; /* by share */
    table asked;   /* invokes, by call */
    table killed;  /* names of processes and members that do not run: their fault */
    uint64_t calm; /* ns: the server can be reached since then; UINT64_MAX: it cannot */
    size_t troubles;
} owners;

static bool runs(const owners *o, const member *m) {
    return m->since && !table_get(&o->killed, (table_key){{m->process}}) &&
           !table_get(&o->killed, (table_key){{m->name}});
}

/* Since when somebody of the group has been there all the time; UINT64_MAX: nobody is. */
static uint64_t manned_since(const owners *o, const group *g) {
    uint64_t since = UINT64_MAX;
    size_t walk = 0;
    for (const member *m; (m = table_next(&o->s->members, &walk));) {
        if (m->group == g && runs(o, m) && m->since < since)
            since = m->since;
    }
    return since;
}

/* Is the owner, by its name, one that runs? */
static bool serves(const owners *o, const group *g, uint64_t owner) {
    size_t walk = 0;
    for (const member *m; owner && (m = table_next(&o->s->members, &walk));) {
        if (m->group == g && m->name == owner && runs(o, m))
            return true;
    }
    return false;
}

static void see_owner(owners *o, const history_record *asked, const history_record *r) {
    group *g = story_group(o->s, r->stream, r->group);
    share *h = story_share(o->s, g, story_part(o->s, r->stream, r->partition));
    void **slot = table_at(&o->watches, (table_key){{(uintptr_t)h}});
    if (!*slot)
        *slot = arena_get(&o->s->arena, sizeof(watch));
    watch *w = *slot;
    if (serves(o, g, r->member)) {
        *w = (watch){.epoch = r->epoch};
        return;
    }
    if (!w->since || r->epoch > w->epoch)
        *w = (watch){.since = r, .epoch = r->epoch};
    uint64_t from = manned_since(o, g);
    from = w->since->at > from ? w->since->at : from;
    from = o->calm > from ? o->calm : from;
    uint64_t limit = g->session + g->bound;
    if (!g->session || h->part->ruined || w->counted || from == UINT64_MAX || asked->at < from ||
        asked->at - from <= limit)
        return;
    w->counted = true;
    verdict_note(o->v, ANOMALY_ORPHANED,
                 "%s: nobody served it from %s to %s, %.3f s in which there were members and a "
                 "server; the limit is %.3f s",
                 say_group(o->s, h), say_time(o->s, w->since), say_time(o->s, asked),
                 (double)(asked->at - from) / 1e9, (double)limit / 1e9);
}

/* A member that runs again has been away: it counts as new. */
static void runs_again(owners *o, const history_record *fault, uint64_t now) {
    table_key key = {{fault->target}};
    if (table_get(&o->killed, key) != fault)
        return;
    table_remove(&o->killed, key);
    size_t walk = 0;
    for (member *m; (m = table_next(&o->s->members, &walk));) {
        if (m->since && (m->process == fault->target || m->name == fault->target))
            m->since = now;
    }
}

static void see_fault(owners *o, const history_record *r) {
    bool begins = r->phase == HISTORY_INVOKE;
    void **slot = table_at(&o->asked, (table_key){{r->process, r->call}});
    if (begins || !*slot)
        *slot = (void *)(uintptr_t)r;
    const history_record *fault = *slot;
    if (begins && r->flags & (HISTORY_DEAD | HISTORY_STOPPED))
        *table_at(&o->killed, (table_key){{r->target}}) = (void *)(uintptr_t)r;
    if (!begins && r->flags & HISTORY_STOPPED && !(r->flags & HISTORY_DEAD))
        runs_again(o, fault, r->at);
    if (r->flags & HISTORY_UNREACHABLE) {
        o->troubles += begins ? 1 : (size_t)-1;
        o->calm = o->troubles ? UINT64_MAX : r->at;
    }
    o->v->faults += begins;
}

static void see(owners *o, const history_record *r) {
    void **slot;
    switch (r->kind) {
    case HISTORY_JOIN:
        if (r->phase == HISTORY_OK) {
            member *m = story_member(o->s, r->process, r->member);
            m->group = story_group(o->s, r->stream, r->group);
            m->since = r->at;
        }
        break;
    case HISTORY_LEAVE:
        story_member(o->s, r->process, r->member)->since = 0;
        break;
    case HISTORY_FAULT:
        see_fault(o, r);
        break;
    case HISTORY_OBSERVED:
        slot = table_at(&o->asked, (table_key){{r->process, r->call}});
        if (r->phase == HISTORY_INVOKE || !*slot)
            *slot = (void *)(uintptr_t)r;
        if (r->phase == HISTORY_OK)
            see_owner(o, *slot, r);
        break;
    case HISTORY_PLACE:
        see_owner(o, r, r);
        break;
    default:
        break;
    }
}

void check_owners(story *s, verdict *v) {
    owners o = {.s = s, .v = v};
    for (size_t i = 0; i < s->log->n; i++)
        see(&o, &s->log->records[i]);
    table_fini(&o.watches);
    table_fini(&o.asked);
    table_fini(&o.killed);
}
