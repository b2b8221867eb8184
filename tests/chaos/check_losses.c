/* check_losses.c - what is gone. The server may lose what it acknowledged only where a fault says
 * so, and who knew of it has to be told before going on. Who did not go on cannot be told: that is
 * counted, and no anomaly.
 *
 * To go on is to have something in hand that is later than the loss: a producer an answer, a
 * consumer a delivery, of the era that took the place of what was lost, or of one after it. An era
 * that began behind it is not enough, as it may have been lost with that era. */
#include "checks.h"

#include <inttypes.h>

/* The era that took its place; UINT64_MAX: it is not known. */
static uint64_t next_era(const place *at) {
    const part *p = at->part;
    uint64_t era = UINT64_MAX, x = at->offset < p->n_line ? at->offset + 1 : p->n_line;
    for (; x > 0 && (!p->line[x - 1] || p->line[x - 1]->era > at->era); x--)
        era = p->line[x - 1] ? p->line[x - 1]->era : era;
    return era;
}

/* ---- Who went on ----------------------------------------------------------------------------- */

/* The newest era in which a producer was told of a message of its own in a partition. */
typedef struct progress {
    uint64_t era;
} progress;

static table_key progress_key(const message *m, const part *p) {
    return (table_key){{m->stream, p->number, m->producer}};
}

static void find_progress(story *s, table *t) {
    size_t walk = 0;
    for (message *m; (m = table_next(&s->messages, &walk));) {
        if (!m->told)
            continue;
        void **at = table_at(t, progress_key(m, m->told->part));
        if (!*at)
            *at = arena_get(&s->arena, sizeof(progress));
        progress *p = *at;
        p->era = m->told->era > p->era ? m->told->era : p->era;
    }
}

/* Consumers that had read what is gone. */
static void find_readers(story *s) {
    size_t walk = 0;
    for (reign *r; (r = table_next(&s->reigns, &walk));) {
        for (size_t i = 0; i < r->n; i++) {
            place *at = r->had[i]->at;
            if (at->survives || r->era < next_era(at))
                continue;
            at->went_on = true;
            at->untold |= !story_told_to(at, 0, r->owner);
        }
    }
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* One partition's losses of one era. */
typedef struct event {
    bool told, tellable;
} event;

static void count(story *s, verdict *v, table *events, const place *at, bool told, bool tellable) {
    void **slot = table_at(events, (table_key){{(uintptr_t)at->part, at->era}});
    if (!*slot)
        *slot = arena_get(&s->arena, sizeof(event));
    event *e = *slot;
    e->told |= told;
    e->tellable |= tellable;
    v->losses.messages++;
    v->losses.messages_told += told;
    v->losses.messages_untellable += !told && !tellable;
}

static void judge(story *s, verdict *v, table *events, const table *going, place *at) {
    message *m = at->content;
    bool sent = m && m->told == at && m->outcome == HISTORY_OK;
    if (at->survives || at->explained || at->part->ruined || (m && m->explained))
        return;
    if (!sent && !at->delivered)
        return;
    at->explained = at->part->explained = true;
    const history_record *proof = sent ? m->done : at->source;
    const history_record *told = story_told(at);
    const progress *p = sent ? table_get(going, progress_key(m, at->part)) : NULL;
    bool producer_went_on = p && p->era >= next_era(at);
    bool went_on = producer_went_on || at->went_on;
    /* An answer may lie in its process for long until it is looked at. */
    bool allowed = story_may_lose(s, m ? m->invoke->at : proof->at);
    if (!allowed || (!told && went_on)) {
        verdict_note(v, sent ? ANOMALY_LOST_WRITE : ANOMALY_SILENT_TRUNCATION,
                     "%s: %s, %s at %s by %s, is not in the log; %s", say_place(s, at),
                     say_message(s, m), sent ? "answered" : "delivered", say_time(s, proof),
                     say_name(s, proof->process),
                     allowed ? "who knew of it went on, and nobody was told"
                             : "and nothing had happened to the server that may lose it");
    } else if (told &&
               ((producer_went_on && !story_told_to(at, m->producer, NULL)) || at->untold)) {
        verdict_note(v, ANOMALY_UNTOLD, "%s: %s is gone; %s went on and was not told, %s was at %s",
                     say_place(s, at), say_message(s, m),
                     at->untold ? "a consumer" : "its producer", say_name(s, told->process),
                     say_time(s, told));
    }
    if (allowed)
        count(s, v, events, at, told, went_on);
}

/* Stored, nobody knows where, and not there: any loss of its stream may be the one. */
static void judge_unplaced(story *s, verdict *v, message *m) {
    if (m->outcome != HISTORY_OK || m->told || m->first || m->explained)
        return;
    size_t walk = 0;
    bool told = false;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        if (p->stream != m->stream)
            continue;
        if (p->ruined || (p->log && p->log->first > 0))
            return; /* it may have been consumed and trimmed unseen by this history */
        for (size_t i = 0; i < p->n_losses; i++)
            told |= p->losses[i]->what == HISTORY_LOST_MESSAGES;
    }
    if (!told || !story_may_lose(s, m->invoke->at))
        verdict_note(v, ANOMALY_LOST_WRITE, "%s: %s, answered at %s, is nowhere",
                     say_name(s, m->stream), say_message(s, m), say_time(s, m->done));
}

static void check_told(story *s, verdict *v, const part *p, const history_record *r) {
    if (r->what != HISTORY_LOST_MESSAGES || r->end == UINT64_MAX)
        return;
    for (uint64_t x = r->first; x < r->end && x < p->n_line; x++) {
        const place *at = p->line[x];
        if (!at || !at->last || at->era > r->era)
            continue;
        verdict_note(
            v, ANOMALY_FALSE_LOSS,
            "%s: %s was told at %s that %" PRIu64 " to %" PRIu64 " are lost, but it is there",
            say_place(s, at), say_name(s, r->process), say_time(s, r), r->first, r->end - 1);
        return;
    }
}

void check_losses(story *s, verdict *v) {
    table going = {0}, events = {0};
    find_progress(s, &going);
    find_readers(s);
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        for (size_t i = 0; i < p->n; i++)
            judge(s, v, &events, &going, p->places[i]);
        for (size_t i = 0; i < p->n_losses; i++)
            check_told(s, v, p, p->losses[i]);
    }
    walk = 0;
    for (message *m; (m = table_next(&s->messages, &walk));)
        judge_unplaced(s, v, m);
    walk = 0;
    for (event *e; (e = table_next(&events, &walk));) {
        v->losses.events++;
        v->losses.events_told += e->told;
        v->losses.events_untellable += !e->told && !e->tellable;
    }
    table_fini(&going);
    table_fini(&events);
}
