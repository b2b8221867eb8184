/* check_content.c - what lies at each place, by everybody who saw it. */
#include "checks.h"

#include <inttypes.h>

static void note_phantom(story *s, verdict *v, place *at, const history_record *r) {
    if (at->explained)
        return;
    at->explained = true;
    verdict_note(v, ANOMALY_PHANTOM,
                 "%s holds %s key %s #%" PRIu64 " output %" PRIu32 " at %s: nobody sent that",
                 say_place(s, at), say_name(s, r->producer), say_name(s, r->key), r->sequence,
                 r->index, say_time(s, r));
}

/* A record that says what is at a place. */
static void check_saying(story *s, verdict *v, const history_record *r) {
    place *at = story_place(s, r->stream, r->partition, r->era, r->offset);
    message *m = story_message(s, r->stream, r);
    if (!m) {
        note_phantom(s, v, at, r);
        return;
    }
    if (at->content != m) {
        if (!at->explained)
            verdict_note(v, ANOMALY_INCONSISTENT_OFFSET, "%s is %s at %s, and was %s at %s",
                         say_place(s, at), say_message(s, m), say_time(s, r),
                         say_message(s, at->content), say_time(s, at->source));
        at->explained = m->explained = true;
        if (at->content)
            at->content->explained = true;
    }
    if (m->explained)
        return;
    if (m->crc != r->crc && !m->output) { /* check_stages judges outputs */
        verdict_note(v, ANOMALY_PHANTOM,
                     "%s at %s: %s has other bytes than were sent: CRC %08" PRIx32
                     ", sent %08" PRIx32,
                     say_place(s, at), say_time(s, r), say_message(s, m), r->crc, m->crc);
        m->explained = true;
    } else if (m->outcome == HISTORY_FAIL) {
        verdict_note(v, ANOMALY_ABORTED_READ,
                     "%s: %s is there at %s, but its send failed with %s at %s", say_place(s, at),
                     say_message(s, m), say_time(s, r),
                     seg_status_name((seg_status)m->done->status), say_time(s, m->done));
        m->explained = true;
    }
}

/* Where it is, against where its sender was told that it is. */
static void check_message(story *s, verdict *v, message *m) {
    place *at = NULL, *before = NULL;
    unsigned n = 0;
    for (place *p = m->first; p; p = p->other) {
        if (!p->survives)
            continue;
        before = at;
        at = p;
        n++;
    }
    if (m->explained || m->output || n == 0)
        return;
    if (n > 1) {
        verdict_note(v, ANOMALY_DUPLICATE, "%s is stored %u times, at %s and %s, sent at %s",
                     say_message(s, m), n, say_place(s, at), say_place(s, before),
                     say_time(s, m->invoke));
        m->explained = true;
    } else if (m->told && m->told != at) {
        verdict_note(v, ANOMALY_INCONSISTENT_OFFSET,
                     "%s is at %s, but its sender was told %s at %s", say_message(s, m),
                     say_place(s, at), say_place(s, m->told), say_time(s, m->done));
        m->explained = true;
    }
}

static void count(verdict *v, const message *m) {
    v->sends++;
    v->failed += m->outcome == HISTORY_FAIL;
    v->unknown += m->outcome == HISTORY_UNKNOWN && !m->output;
}

void check_content(story *s, verdict *v) {
    for (size_t i = 0; i < s->log->n; i++) {
        const history_record *r = &s->log->records[i];
        if (r->kind == HISTORY_ENTRY)
            v->stored++;
        if (r->kind == HISTORY_ENTRY || r->kind == HISTORY_DELIVERED ||
            (r->kind == HISTORY_SEND && r->phase == HISTORY_OK && r->offset != UINT64_MAX))
            check_saying(s, v, r);
    }
    size_t walk = 0;
    for (message *m; (m = table_next(&s->messages, &walk));) {
        count(v, m);
        check_message(s, v, m);
    }
}
