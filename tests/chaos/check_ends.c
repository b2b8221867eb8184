/* check_ends.c - what the groups had and had not at the end, which also explains what looked wrong
 * on the way. */
#include "checks.h"

#include <inttypes.h>

static bool had_under(const seen *e, uint64_t epoch) {
    for (const turn *t = e->turns; t; t = t->older) {
        if (t->epoch == epoch)
            return true;
    }
    return false;
}

/* Passed over: skipped, or delivered too late. */
static void explain_passed(story *s, verdict *v, seen *e) {
    if ((!e->passed && !e->passed_in_key) || e->explained || e->letter)
        return;
    const history_record *proof = e->passed ? e->passed : e->passed_in_key;
    anomaly what = ANOMALY_KEY_REORDER;
    if (e->passed && !had_under(e, e->passed_epoch))
        what = ANOMALY_SKIPPED_POLL;
    else if (!e->passed_in_key)
        what = ANOMALY_NONMONOTONIC_POLL;
    e->explained = true;
    verdict_note(v, what,
                 "%s: %s was not done, and %s was delivered offset %" PRIu64
                 " at %s under epoch %" PRIu64 "; its own first delivery: %s",
                 say_group(s, e->share), say_message(s, e->at->content), say_name(s, proof->member),
                 proof->offset, say_time(s, proof), proof->epoch, say_time(s, e->first));
}

static void note_unseen(story *s, verdict *v, seen *e) {
    e->explained = true;
    verdict_note(
        v, ANOMALY_UNSEEN, "%s: %s, sent at %s, was never delivered; the group is at %" PRIu64,
        say_group(s, e->share), say_message(s, e->at->content),
        say_time(s, e->at->content ? e->at->content->invoke : NULL), e->share->place->offset);
}

static void check_seen(story *s, verdict *v, seen *e) {
    const share *h = e->share;
    if (e->explained || e->letter)
        return;
    if (!e->first) {
        note_unseen(s, v, e);
    } else if (e->ahead) {
        verdict_note(v, ANOMALY_COMMIT_AHEAD,
                     "%s: committed was %" PRIu64
                     " at %s, and nobody had acknowledged %s, offset %" PRIu64,
                     say_group(s, h), e->ahead->offset, say_time(s, e->ahead),
                     say_message(s, e->at->content), e->at->offset);
        e->explained = true;
    } else if (e->at->offset == h->place->offset && e->committed) {
        s->fallbacks =
            array_grow(s->fallbacks, s->n_fallbacks, &s->cap_fallbacks, sizeof(fallback));
        s->fallbacks[s->n_fallbacks++] =
            (fallback){e->share, e->at->offset, e->at->offset + 1, e->committed, h->place};
    }
}

/* Where nobody knows what is there, from x on: returns the first after it. */
static uint64_t check_unknown(story *s, verdict *v, share *h, uint64_t x, uint64_t limit) {
    const part *p = h->part;
    uint64_t end = x;
    while (end < limit && !h->overtaken[end] &&
           (!p->line[end] || (p->drops && !p->line[end]->last)) &&
           !(p->line[end] && story_seen(s, h, p->line[end])->first))
        end++;
    if (end == x)
        return x + 1;
    bool below = p->log && x < p->log->first; /* holes in what is there are the log's */
    if (below && !story_told_group(h, x, end, 0))
        verdict_note(v, p->drops ? ANOMALY_SILENT_GAP : ANOMALY_UNSEEN,
                     "%s: offsets %" PRIu64 " to %" PRIu64
                     " were never delivered, nor was anybody told of them",
                     say_group(s, h), x, end - 1);
    return end;
}

static void check_share(story *s, verdict *v, share *h) {
    const part *p = h->part;
    if (p->ruined || !p->log)
        return;
    if (!h->place) {
        verdict_note(v, ANOMALY_NO_FINAL_STATE, "%s: its place was not read", say_group(s, h));
        return;
    }
    bool drained = h->place->flags & HISTORY_DRAINED;
    uint64_t limit = drained && p->log->end > h->place->offset ? p->log->end : h->place->offset + 1;
    limit = limit < p->n_line ? limit : p->n_line;
    for (uint64_t x = h->start; x < limit;) {
        place *at = p->line[x];
        if (!at || (p->drops && !at->last)) {
            x = check_unknown(s, v, h, x, limit);
            continue;
        }
        seen *e = story_seen(s, h, at);
        if (e->first || drained || x < h->place->offset)
            check_seen(s, v, e);
        x++;
    }
}

/* ---- What fell back -------------------------------------------------------------------------- */

/* Somebody who had settled what fell back went on under the same epoch. */
static bool went_on(story *s, const fallback *f) {
    const share *h = f->share;
    for (uint64_t x = f->first; x < f->end && x < h->part->n_line; x++) {
        if (!h->part->line[x])
            continue;
        const seen *e = story_seen(s, f->share, h->part->line[x]);
        const history_record *r = e->settled;
        if (r && r->at < f->proof->at &&
            story_reign(s, f->share, r->epoch)->last_poll > f->proof->at)
            return true;
    }
    return false;
}

static void check_fallback(story *s, verdict *v, const fallback *f, bool counted) {
    bool told = story_told_group(f->share, f->first, f->end, f->since);
    bool allowed = story_may_lose(s, f->since), on = went_on(s, f);
    if (f->share->part->ruined)
        return;
    if (!allowed || (!told && on)) {
        verdict_note(v, ANOMALY_COMMIT_REWIND,
                     "%s: offsets %" PRIu64 " to %" PRIu64 " were committed, and are not at %s, %s",
                     say_group(s, f->share), f->first, f->end - 1, say_time(s, f->proof),
                     f->proof->kind == HISTORY_DELIVERED ? "delivered again"
                                                         : "as the group was read");
    } else if (!counted) {
        v->losses.rewinds++;
        v->losses.rewinds_told += told;
        v->losses.rewinds_untellable += !told;
    }
}

void check_ends(story *s, verdict *v) {
    size_t walk = 0;
    for (seen *e; (e = table_next(&s->seens, &walk));)
        explain_passed(s, v, e);
    walk = 0;
    for (group *g; (g = table_next(&s->groups, &walk));) {
        size_t parts = 0;
        for (part *p; g->known && (p = table_next(&s->parts, &parts));) {
            if (p->stream == g->stream)
                check_share(s, v, story_share(s, g, p));
        }
    }
    for (size_t i = 0; i < s->n_fallbacks; i++) {
        const fallback *f = &s->fallbacks[i];
        bool counted = false; /* the same fall, seen before at another offset */
        for (size_t k = 0; k < i && !counted; k++)
            counted = s->fallbacks[k].share == f->share && f->since <= s->fallbacks[k].proof->at;
        check_fallback(s, v, f, counted);
    }
}
