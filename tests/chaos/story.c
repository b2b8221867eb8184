/* story.c - two readings of the history: what was sent and set up, then where it was found. */
#include "story.h"

#include <stdlib.h>
#include <string.h>

/* Offsets past this are no offsets: nobody stores so much in a run. */
#define OFFSET_MAX ((uint64_t)1 << 28)

/* ---- Looking up, and making what is new ------------------------------------------------------ */

static void *look_up(story *s, table *t, table_key key, size_t size) {
    void **at = table_at(t, key);
    if (!*at)
        *at = arena_get(&s->arena, size);
    return *at;
}

const history_record *story_done(const story *s, const history_record *invoke) {
    return table_get(&s->calls, (table_key){{invoke->process, invoke->call}});
}

part *story_part(story *s, uint64_t stream, uint32_t number) {
    part *p = look_up(s, &s->parts, (table_key){{stream, number}}, sizeof *p);
    p->stream = stream;
    p->number = number;
    return p;
}

place *story_place(story *s, uint64_t stream, uint32_t partition, uint64_t era, uint64_t offset) {
    place *at = look_up(s, &s->places, (table_key){{stream, partition, era, offset}}, sizeof *at);
    if (!at->part) {
        part *p = at->part = story_part(s, stream, partition);
        at->era = era;
        at->offset = offset;
        p->places = array_grow(p->places, p->n, &p->cap, sizeof *p->places);
        p->places[p->n++] = at;
    }
    return at;
}

static table_key message_key(uint64_t stream, const history_record *r) {
    return (table_key){{stream, r->producer, r->key, r->sequence, r->index}};
}

message *story_message(story *s, uint64_t stream, const history_record *r) {
    return table_get(&s->messages, message_key(stream, r));
}

group *story_group(story *s, uint64_t stream, uint64_t name) {
    group *g = look_up(s, &s->groups, (table_key){{stream, name}}, sizeof *g);
    g->stream = stream;
    g->name = name;
    return g;
}

member *story_member(story *s, uint64_t process, uint64_t name) {
    member *m = look_up(s, &s->members, (table_key){{process, name}}, sizeof *m);
    m->process = process;
    m->name = name;
    return m;
}

share *story_share(story *s, group *g, part *p) {
    share *h = look_up(s, &s->shares, (table_key){{(uintptr_t)g, (uintptr_t)p}}, sizeof *h);
    if (!h->group) {
        h->group = g;
        h->part = p;
        h->start = h->checked = g->start;
        h->overtaken = arena_get(&s->arena, p->n_line + 1);
    }
    return h;
}

seen *story_seen(story *s, share *h, place *at) {
    seen *e = look_up(s, &s->seens, (table_key){{(uintptr_t)h, (uintptr_t)at}}, sizeof *e);
    e->share = h;
    e->at = at;
    return e;
}

reign *story_reign(story *s, share *h, uint64_t epoch) {
    reign *r = look_up(s, &s->reigns, (table_key){{(uintptr_t)h, epoch}}, sizeof *r);
    if (r->epoch != epoch) {
        r->epoch = epoch;
        r->next = h->start;
    }
    return r;
}

place *story_at(const part *p, uint64_t offset) {
    return offset < p->n_line ? p->line[offset] : NULL;
}

/* ---- Losses ---------------------------------------------------------------------------------- */

bool story_may_lose(const story *s, uint64_t at) {
    return s->may_lose && at <= s->may_lose_until;
}

bool story_losing(const story *s, uint64_t at) {
    for (size_t i = 0; i < s->n_faults; i++) {
        const history_record *f = s->faults[i], *done = story_done(s, f);
        if ((f->flags & HISTORY_MAY_LOSE) != 0 && f->at <= at && (!done || at <= done->at))
            return true;
    }
    return false;
}

/* A log's offsets keep the eras in which they were stored. Who is told of a loss of an era is told of
 * the end of the log as it was in that era, whatever is older of it. */
static bool covers(const history_record *r, const place *at) {
    return r->what == HISTORY_LOST_MESSAGES && (r->era == 0 || at->era <= r->era) &&
           r->first <= at->offset && at->offset < r->end;
}

const history_record *story_told(const place *at) {
    for (size_t i = 0; i < at->part->n_losses; i++) {
        if (covers(at->part->losses[i], at))
            return at->part->losses[i];
    }
    return NULL;
}

const history_record *story_told_to(const place *at, uint64_t producer, const member *m) {
    for (size_t i = 0; i < at->part->n_losses; i++) {
        const history_record *r = at->part->losses[i];
        bool to = m ? r->process == m->process && r->member == m->name : r->producer == producer;
        if (to && covers(r, at))
            return r;
    }
    return NULL;
}

bool story_told_group(const share *h, uint64_t first, uint64_t end, uint64_t since) {
    for (size_t i = 0; i < h->part->n_losses; i++) {
        const history_record *r = h->part->losses[i];
        if (r->group == h->group->name && r->at >= since && r->first < end && first < r->end)
            return true;
    }
    return false;
}

/* ---- First reading --------------------------------------------------------------------------- */

static void read_send(story *s, const history_record *r) {
    bool output = r->kind == HISTORY_FORWARD;
    uint64_t stream = output ? r->target : r->stream;
    message *m = look_up(s, &s->messages, message_key(stream, r), sizeof *m);
    if (m->invoke) { /* an output, again */
        m->disputed += m->crc != r->crc;
        return;
    }
    const history_record *done = output ? NULL : story_done(s, r);
    *m = (message){
        .stream = stream,
        .producer = r->producer,
        .key = r->key,
        .sequence = r->sequence,
        .index = r->index,
        .crc = r->crc,
        .invoke = r,
        .done = done,
        .output = output,
        .outcome = done ? (history_phase)done->phase : HISTORY_UNKNOWN,
    };
}

static void read_fault(story *s, const history_record *r) {
    s->faults = array_grow(s->faults, s->n_faults, &s->cap_faults, sizeof *s->faults);
    s->faults[s->n_faults++] = r;
    if (!(r->flags & HISTORY_MAY_LOSE))
        return;
    const history_record *done = story_done(s, r);
    uint64_t until = done ? done->at : UINT64_MAX;
    s->may_lose = true;
    s->may_lose_until = until > s->may_lose_until ? until : s->may_lose_until;
}

static void read_group(story *s, const history_record *r) {
    group *g = story_group(s, r->stream, r->group);
    g->known = true;
    g->session = r->end;
    g->bound = r->first;
    g->retries = r->flags & HISTORY_RETRIES;
    g->unordered = r->flags & HISTORY_UNORDERED;
    g->by_partition = r->flags & HISTORY_BY_PARTITION;
    if (r->partition == HISTORY_ALL)
        g->start = r->offset;
}

static void read_stage(story *s, const history_record *r) {
    s->stages = array_grow(s->stages, s->n_stages, &s->cap_stages, sizeof *s->stages);
    s->stages[s->n_stages++] = (stage){r->stream, r->group, r->target, r->index};
}

static void read_set_up(story *s, const history_record *r) {
    switch (r->kind) {
    case HISTORY_STREAM:
        for (uint32_t i = 0; i < r->partition; i++)
            story_part(s, r->stream, i)->drops = r->flags & HISTORY_DROPS;
        break;
    case HISTORY_GROUP:
        read_group(s, r);
        break;
    case HISTORY_STAGE:
        read_stage(s, r);
        break;
    case HISTORY_LOG:
        story_part(s, r->stream, r->partition)->log = r;
        break;
    case HISTORY_SEND:
    case HISTORY_FORWARD:
        if (r->phase == HISTORY_INVOKE)
            read_send(s, r);
        break;
    case HISTORY_FAULT:
        if (r->phase == HISTORY_INVOKE)
            read_fault(s, r);
        break;
    default:
        break;
    }
}

/* ---- Second reading -------------------------------------------------------------------------- */

static void found(place *at, message *m, const history_record *r) {
    if (!at->source)
        at->source = r;
    if (at->content || !m)
        return;
    at->content = m;
    at->other = m->first;
    m->first = at;
}

static void read_place(story *s, const history_record *r) {
    bool sent = r->kind == HISTORY_SEND && r->phase == HISTORY_OK && r->offset != UINT64_MAX;
    if (!sent && r->kind != HISTORY_ENTRY && r->kind != HISTORY_DELIVERED)
        return;
    place *at = story_place(s, r->stream, r->partition, r->era, r->offset);
    message *m = story_message(s, r->stream, r);
    found(at, m, r);
    if (sent && m)
        m->told = at;
    at->last |= r->kind == HISTORY_ENTRY;
    at->delivered |= r->kind == HISTORY_DELIVERED;
}

static void add_loss(part *p, const history_record *r) {
    p->losses = array_grow(p->losses, p->n_losses, &p->cap_losses, sizeof *p->losses);
    p->losses[p->n_losses++] = r;
}

static void read_loss(story *s, const history_record *r) {
    if (r->partition != HISTORY_ALL) {
        add_loss(story_part(s, r->stream, r->partition), r);
        return;
    }
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        if (p->stream == r->stream)
            add_loss(p, r);
    }
}

static void read_ruin(story *s, const history_record *r) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));)
        p->ruined |= r->target == 0 || r->target == p->stream;
}

/* The log as it is at the end, and what was in front of it: of what lies below its first offset,
 * the newest era is what was consumed and trimmed, the others were lost. */
static void draw_line(story *s, part *p) {
    p->n_line = p->log && p->log->end < OFFSET_MAX ? p->log->end : 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->places[i]->offset < OFFSET_MAX && p->places[i]->offset >= p->n_line && !p->log)
            p->n_line = p->places[i]->offset + 1;
    }
    p->line = arena_get(&s->arena, (p->n_line + 1) * sizeof *p->line);
    for (size_t i = 0; i < p->n; i++) {
        place *at = p->places[i];
        bool trimmed = !p->log || at->offset < p->log->first;
        if (at->offset >= p->n_line || (!at->last && !trimmed))
            continue;
        place **here = &p->line[at->offset];
        if (!*here || (at->last && !(*here)->last) ||
            (at->last == (*here)->last && at->era > (*here)->era))
            *here = at;
    }
    for (size_t i = 0; i < p->n; i++)
        p->places[i]->survives =
            p->places[i]->last || story_at(p, p->places[i]->offset) == p->places[i];
}

static void read_starts(story *s, const history_record *r) {
    if (r->partition == HISTORY_ALL)
        return;
    share *h =
        story_share(s, story_group(s, r->stream, r->group), story_part(s, r->stream, r->partition));
    h->start = h->checked = r->offset;
}

void story_init(story *s, const history_log *log) {
    *s = (story){.log = log, .begin = log->n ? log->records[0].at : 0};
    for (size_t i = 0; i < log->n; i++) {
        const history_record *r = &log->records[i];
        if (r->call && r->phase != HISTORY_INVOKE)
            *table_at(&s->calls, (table_key){{r->process, r->call}}) = (void *)(uintptr_t)r;
    }
    for (size_t i = 0; i < log->n; i++)
        read_set_up(s, &log->records[i]);
    for (size_t i = 0; i < log->n; i++)
        read_place(s, &log->records[i]);
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));)
        draw_line(s, p);
    for (size_t i = 0; i < log->n; i++) {
        const history_record *r = &log->records[i];
        if (r->kind == HISTORY_LOSS)
            read_loss(s, r);
        else if (r->kind == HISTORY_GROUP)
            read_starts(s, r);
        else if (r->kind == HISTORY_FAULT && r->flags & HISTORY_DESTROYS)
            read_ruin(s, r);
    }
}

void story_fini(story *s) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        free(p->places);
        free(p->losses);
    }
    walk = 0;
    for (member *m; (m = table_next(&s->members, &walk));)
        free(m->pending);
    walk = 0;
    for (reign *r; (r = table_next(&s->reigns, &walk));)
        free(r->had);
    table *const tables[] = {&s->calls,  &s->messages, &s->parts,  &s->places,
                             &s->groups, &s->members,  &s->shares, &s->seens,
                             &s->reigns, &s->lanes,    &s->fronts, &s->asked};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        table_fini(tables[i]);
    free(s->faults);
    free(s->stages);
    free(s->fallbacks);
    arena_fini(&s->arena);
}
