#include "engine/search.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "core/batch.h"
#include "core/error.h"
#include "redis/ops_seek.h"

/* So many entries of others in one partition are no accident: we would read them one by one. */
#define STRANGERS_MAX 1000

typedef struct sg_search_part {
    sg_search *search;
    uint32_t partition;
    bool known; /* its ends are */
    const sg_eras *eras;
    sg_eras asked; /* where they were asked for */
    /* Every message below `low` is earlier than the time. `found` is the first one known that is
     * not, or the end, and between `high` and it there is no message that tells. */
    uint64_t low, high, found;
    uint64_t at; /* where the entry is looked for: the middle, or behind strangers there */
    uint32_t strangers;
} part;

bool sg_search_begin(sg_search *q, sg_task *t, const sg_stream *s, int64_t time, size_t n) {
    sg_search_end(q);
    *q = (sg_search){.task = t, .stream = s, .time = time};
    q->parts = sg_calloc(n, sizeof *q->parts);
    q->n = q->parts != NULL ? n : 0;
    for (size_t i = 0; i < q->n; i++)
        q->parts[i] = (part){.search = q, .partition = (uint32_t)i};
    return q->parts != NULL;
}

void sg_search_end(sg_search *q) {
    for (size_t i = 0; i < q->n; i++)
        sg_eras_fini(&q->parts[i].asked);
    sg_free(q->parts);
    q->parts = NULL;
    q->n = 0;
}

uint64_t sg_search_found(const sg_search *q, size_t i) {
    return q->parts[i].found;
}

/* ---- narrowing ------------------------------------------------------------------------------- */

static void halve(part *p) {
    p->at = p->low + (p->high - p->low) / 2;
}

static void know(part *p, const sg_eras *eras, uint64_t first, uint64_t next) {
    p->known = true;
    p->eras = eras;
    p->low = first;
    p->high = p->found = next > first ? next : first;
    halve(p);
}

void sg_search_in(sg_search *q, size_t i, uint32_t partition, const sg_eras *eras, uint64_t first,
                  uint64_t next) {
    q->parts[i].partition = partition;
    know(&q->parts[i], eras, first, next);
}

/* The middle's half has nothing that tells a time but what is known from `found` on. */
static void cut_high(part *p) {
    p->high = p->low + (p->high - p->low) / 2;
    halve(p);
}

/* A record batch whose last message has the offset `last`. False where it is none of ours. */
static bool narrow(part *p, uint64_t last, sg_batch_reader *r) {
    sg_record_view v;
    uint64_t found = UINT64_MAX;
    int more;
    if (r->count - 1 > last)
        return false;
    uint64_t start = last - (r->count - 1), offset = start;
    for (; (more = sg_batch_next(r, &v)) > 0; offset++)
        if (found == UINT64_MAX && v.timestamp >= p->search->time)
            found = offset;
    if (more < 0)
        return false;
    if (found == UINT64_MAX) { /* all are earlier */
        p->low = last + 1 > p->high ? p->high : last + 1;
        halve(p);
    } else if (found > start) { /* it begins here */
        p->found = found > p->low ? found : p->low;
        p->low = p->high;
    } else {
        p->found = start > p->low ? start : p->low;
        if (start <= p->low)
            p->low = p->high;
        else if (start < p->low + (p->high - p->low) / 2)
            p->high = start;
        else
            p->high = p->low + (p->high - p->low) / 2;
        halve(p);
    }
    return true;
}

/* The same of its bytes. */
static bool look_into(part *p, uint64_t last, seg_bytes batch) {
    sg_task *t = p->search->task;
    sg_batch_reader r;
    const char *why;
    void *own;
    seg_error err;
    if (last < p->at || last >= p->high)
        return false;
    bool ours = sg_batch_load(&r, batch.data, batch.len, p->search->stream->seed,
                              &t->client->codecs, &own, &why);
    bool starved = !ours && why == NULL;
    ours = ours && narrow(p, last, &r);
    sg_free(own);
    if (starved)
        sg_task_fault(t, sg_fail_nomem(&err), &err);
    return ours || starved;
}

static void stranger(part *p, uint64_t last) {
    seg_error err;
    if (++p->strangers > STRANGERS_MAX)
        sg_task_fault(
            p->search->task,
            sg_fail(&err, SEG_EPROTO,
                    "partition %u: more than %d of its entries cannot be read (damaged, or "
                    "written by a newer version), so no time can be looked for: use an offset",
                    p->partition, STRANGERS_MAX),
            &err);
    p->at = last + 1;
    if (p->at >= p->high)
        cut_high(p);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void fault_in(part *p, const seg_error *why) {
    seg_error err;
    sg_fail(&err, why->status, "partition %u: %s", p->partition, why->text);
    sg_task_fault(p->search->task, err.status, &err);
}

static void on_entry(void *arg, const sg_result *r) {
    part *p = arg;
    sg_task *t = p->search->task;
    sg_entry_answer a;
    sg_entry_find_read(r, &a);
    if (sg_task_answer(t, a.lost)) {
        if (a.status != SEG_OK)
            fault_in(p, &a.err);
        else if (!a.found)
            cut_high(p);
        else if (!look_into(p, a.last, a.batch))
            stranger(p, a.last);
    }
    sg_task_answered(t);
}

static void on_ends(void *arg, const sg_result *r) {
    part *p = arg;
    sg_task *t = p->search->task;
    sg_cursor_answer a;
    sg_cursor_read_answer(r, &a);
    if (sg_task_answer(t, a.lost)) {
        if (a.kind == SG_CURSOR_OK && sg_cursor_take_eras(&a, &p->asked))
            know(p, &p->asked, a.first, a.next);
        else
            fault_in(p, &a.err);
    }
    sg_task_answered(t);
}

bool sg_search_step(sg_search *q) {
    sg_task *t = q->task;
    sg_conn *c = t->client->commands;
    bool any = false;
    for (size_t i = 0; i < q->n; i++) {
        part *p = &q->parts[i];
        if (p->known && p->low >= p->high)
            continue;
        any = true;
        sg_task_sent(t, p->known
                            ? sg_entry_find_send(c, q->stream, p->partition, p->eras, p->at,
                                                 p->high - 1, on_entry, p)
                            : sg_cursor_read_send(c, q->stream, NULL, p->partition, on_ends, p));
    }
    if (any)
        t->deadline = sg_clock_after(sg_clock_ms(), t->client->command_timeout);
    return any;
}
