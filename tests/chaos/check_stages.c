/* check_stages.c - each input that a stage acknowledged has each of its outputs, once and right. */
#include "checks.h"

#include <inttypes.h>

/* Was anybody told of a loss of this stream? */
static bool told_of(story *s, uint64_t stream) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        if (p->stream == stream && p->n_losses)
            return true;
    }
    return false;
}

static bool ruined(story *s, uint64_t stream) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        if (p->stream == stream && p->ruined)
            return true;
    }
    return false;
}

static const char *what_is_wrong(const message *m, bool lossy) {
    unsigned n = 0;
    bool differs = m && m->disputed;
    for (const place *at = m ? m->first : NULL; at; at = at->other) {
        n += at->survives;
        differs |= at->survives && at->source->crc != m->crc;
    }
    if (n == 0)
        return lossy ? NULL : "is missing";
    if (n > 1)
        return lossy ? NULL : "is stored more than once";
    return differs ? "has other bytes than its handler sent" : NULL;
}

static void check_input(story *s, verdict *v, const stage *g, const seen *e, bool lossy) {
    const message *in = e->at->content;
    for (uint32_t i = 0; in && i <= g->outputs; i++) {
        history_record name = {
            .producer = in->producer, .key = in->key, .sequence = in->sequence, .index = i};
        message *out = story_message(s, g->target, &name);
        bool extra = i == g->outputs;
        const char *wrong =
            extra ? (out && out->first ? "is one too many" : NULL) : what_is_wrong(out, lossy);
        if (!wrong || (out && out->explained))
            continue;
        if (out)
            out->explained = true;
        verdict_note(v, ANOMALY_WRONG_OUTPUT,
                     "%s: output %" PRIu32 " of %s, %s, which %s acknowledged at %s, %s",
                     say_name(s, g->target), i, say_message(s, in), say_place(s, e->at),
                     say_name(s, e->settled->member), say_time(s, e->settled), wrong);
    }
}

/* It is acknowledged for sure: the group is past it, or somebody was told. */
static bool is_done(const seen *e) {
    const history_record *end = e->share->place;
    return e->settled && e->settled->what == SEG_ACK && !e->letter && e->at->survives &&
           (e->committed || (end && e->at->offset < end->offset));
}

void check_stages(story *s, verdict *v) {
    for (size_t i = 0; i < s->n_stages; i++) {
        const stage *g = &s->stages[i];
        if (ruined(s, g->stream) || ruined(s, g->target))
            continue;
        /* What the server lost may be lost of the target, or come again from the source. */
        bool lossy = s->may_lose && (told_of(s, g->stream) || told_of(s, g->target));
        size_t walk = 0;
        for (seen *e; (e = table_next(&s->seens, &walk));) {
            const group *from = e->share->group;
            if (from->stream == g->stream && from->name == g->group && is_done(e))
                check_input(s, v, g, e, lossy);
        }
    }
}
