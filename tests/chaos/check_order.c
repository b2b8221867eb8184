/* check_order.c - the final logs by themselves. */
#include "checks.h"

#include <inttypes.h>
#include <stdlib.h>

/* One producer's messages of a key, so far. */
static void check_key(story *s, verdict *v, table *last, place *at) {
    message *m = at->content;
    if (!m || m->key == 0 || (m->output && s->may_lose))
        return; /* after a loss of acknowledgements outputs may come again */
    void **slot = table_at(last, (table_key){{m->producer, m->key}});
    const message *before = *slot;
    bool back = before && (m->sequence < before->sequence ||
                           (m->sequence == before->sequence && m->index < before->index));
    if (back && !m->explained) {
        m->explained = true;
        verdict_note(v, ANOMALY_NONMONOTONIC_SEND,
                     "%s: %s, sent at %s, is stored behind #%" PRIu64 ", sent at %s",
                     say_place(s, at), say_message(s, m), say_time(s, m->invoke), before->sequence,
                     say_time(s, before->invoke));
    }
    if (!back)
        *slot = m;
}

/* Offsets of which nobody knows anything; what somebody knew is judged as a loss. */
static void check_holes(story *s, verdict *v, part *p) {
    uint8_t *known = calloc(p->n_line + 1, 1);
    if (!known)
        abort();
    for (size_t i = 0; i < p->n; i++) {
        if (p->places[i]->offset < p->n_line)
            known[p->places[i]->offset] = 1;
    }
    for (uint64_t x = p->log->first; x < p->n_line; x++) {
        if (known[x])
            continue;
        uint64_t end = x;
        while (end < p->n_line && !known[end])
            end++;
        verdict_note(v, ANOMALY_SILENT_GAP,
                     "%s/%" PRIu32 ": offsets %" PRIu64 " to %" PRIu64 " are missing in the log",
                     say_name(s, p->stream), p->number, x, end - 1);
        x = end;
    }
    free(known);
}

void check_order(story *s, verdict *v) {
    size_t walk = 0;
    for (part *p; (p = table_next(&s->parts, &walk));) {
        table last = {0};
        for (uint64_t x = 0; x < p->n_line; x++) {
            if (p->line[x])
                check_key(s, v, &last, p->line[x]);
        }
        table_fini(&last);
        if (p->log && !p->ruined)
            check_holes(s, v, p);
        if (!p->log && !p->ruined)
            verdict_note(v, ANOMALY_NO_FINAL_STATE, "%s/%" PRIu32 ": its log was not read",
                         say_name(s, p->stream), p->number);
    }
}
