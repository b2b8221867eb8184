/* window_map.c - what a commit says of a window: the ack map and the tries, and loading both. */
#include "core/window_impl.h"

#include "base/alloc.h"

/* ---- The ack map -------------------------------------------------------------------------- */

/* The next pair at *p; false where it is malformed or goes past SG_SPAN_MAX after `span`
 * offsets. */
static bool read_pair(const uint8_t **p, const uint8_t *end, uint64_t span, uint64_t *gap,
                      uint64_t *run) {
    size_t n = sg_varint_read(*p, end, gap);
    if (n == 0)
        return false;
    size_t m = sg_varint_read(*p + n, end, run);
    if (m == 0)
        return false;
    *p += n + m;
    uint64_t left = SG_SPAN_MAX - span;
    return *gap >= 1 && *run >= 1 && *gap <= left && *run <= left - *gap;
}

/* Check the map; its pairs and the offsets that they cover as acknowledged. */
static bool check_map(const uint8_t *p, size_t len, size_t *pairs, uint64_t *count) {
    const uint8_t *end = p + len;
    uint64_t span = 0, gap, run;
    *pairs = 0;
    *count = 0;
    while (p < end) {
        if (!read_pair(&p, end, span, &gap, &run))
            return false;
        span += gap + run;
        *count += run;
        ++*pairs;
    }
    return true;
}

bool sg_ackmap_count(const void *map, size_t len, uint64_t *count) {
    size_t pairs;
    uint64_t n;
    if (len > 0 && !check_map(map, len, &pairs, &n))
        return false;
    *count = len > 0 ? n : 0;
    return true;
}

bool sg_window_load(sg_window *w, const void *map, size_t len) {
    size_t pairs;
    uint64_t count;
    if (len == 0)
        return true;
    if (!check_map(map, len, &pairs, &count) || !sg_ranges_reserve(w, pairs))
        return false;
    const uint8_t *p = map;
    uint64_t span = 0, gap, run;
    for (size_t i = 0; i < pairs; i++) {
        if (!read_pair(&p, (const uint8_t *)map + len, span, &gap, &run))
            return false;
        sg_ranges_add(w, w->committed + span + gap, w->committed + span + gap + run);
        span += gap + run;
    }
    w->version++;
    return true;
}

/* The next settled stretch at or past `from`, of ring or ranges, as long as it goes in that one
 * store; stretches of both may touch. False where there is none below `limit`. */
static bool next_settled(const sg_window *w, uint64_t from, uint64_t limit, sg_range *out) {
    size_t i = sg_ranges_find(w, from);
    sg_range settled = i < w->ranges_end ? w->ranges[i] : (sg_range){limit, limit};
    if (settled.from < from) /* cut at the limit before */
        settled.from = from;
    uint64_t ring_limit = settled.from < w->end ? settled.from : w->end;
    if (ring_limit > limit)
        ring_limit = limit;
    uint64_t at = w->acked > 0 ? from : ring_limit;
    while (at < ring_limit && sg_window_state(w, at) != SG_SLOT_ACKED)
        at++;
    if (at < ring_limit) {
        settled = (sg_range){at, at};
        while (settled.to < ring_limit && sg_window_state(w, settled.to) == SG_SLOT_ACKED)
            settled.to++;
    }
    if (settled.to > limit)
        settled.to = limit;
    *out = settled;
    return settled.from < settled.to;
}

static bool append_pairs(const sg_window *w, sg_buf *out) {
    uint64_t limit =
        w->committed > UINT64_MAX - SG_SPAN_MAX ? UINT64_MAX : w->committed + SG_SPAN_MAX;
    uint64_t at = w->committed;
    sg_range r;
    while (next_settled(w, at, limit, &r)) {
        sg_range more;
        while (next_settled(w, r.to, limit, &more) && more.from == r.to)
            r.to = more.to;
        if (!sg_buf_varint(out, r.from - at) || !sg_buf_varint(out, r.to - r.from))
            return false;
        at = r.to;
    }
    return true;
}

bool sg_window_map(const sg_window *w, sg_buf *out) {
    size_t before = out->len;
    bool ok = append_pairs(w, out);
    if (!ok)
        out->len = before;
    return ok;
}

/* ---- The tries: one offset ---------------------------------------------------------------- */

/* Index of the first run that ends past `offset`; runs_end where none does. */
static size_t runs_find(const sg_window *w, uint64_t offset) {
    size_t low = w->runs_first, high = w->runs_end;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->runs[mid].to > offset)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Entries with no failure shielded from sg_window_raise what the last owner had released. To this
 * one such a message is like any other: below the `high` that it stores itself, not in the
 * tries. */
static const sg_tries *run_entry(const sg_run *run) {
    return run->tries.failures > 0 || run->tries.out ? &run->tries : NULL;
}

const sg_tries *sg_tries_of(const sg_window *w, uint64_t offset) {
    if (sg_window_state(w, offset) != SG_SLOT_EMPTY) {
        const sg_slot *s = sg_window_slot(w, offset);
        return sg_slot_noted(s) ? &s->tries : NULL;
    }
    size_t i = runs_find(w, offset);
    return i < w->runs_end && w->runs[i].from <= offset ? run_entry(&w->runs[i]) : NULL;
}

void sg_tries_fail(sg_tries *t, int64_t wall) {
    if (t->failures < SG_FAILURES_MAX)
        t->failures++;
    if (wall > 0) {
        t->first = t->first > 0 ? t->first : wall;
        t->last = wall > t->first ? wall : t->first; /* the wall clock may have been set back */
    }
    t->out = t->alone = t->killed = false;
}

static void runs_set(sg_window *w, sg_run *runs, size_t n) {
    sg_free(w->runs);
    w->runs = runs;
    w->runs_first = 0;
    w->runs_end = n;
}

void sg_runs_drop(sg_window *w) {
    if (w->runs == NULL)
        return;
    while (w->runs_first < w->runs_end && w->runs[w->runs_first].to <= w->committed)
        w->runs_first++;
    if (w->runs_first == w->runs_end)
        runs_set(w, NULL, 0);
}

/* ---- The tries: a walk over all ----------------------------------------------------------- */

/* A stretch of offsets of which the same is known. */
typedef struct piece {
    uint64_t from, to;
    sg_slot_state state;   /* SG_SLOT_ACKED also for what is in the ranges */
    const sg_tries *tries; /* the entry; NULL: it has none */
} piece;

typedef struct walk {
    uint64_t at, limit;
    size_t run, range; /* the first that may end past `at` */
} walk;

static walk walk_from(const sg_window *w, uint64_t from) {
    uint64_t limit = w->end;
    if (w->runs_first < w->runs_end && w->runs[w->runs_end - 1].to > limit)
        limit = w->runs[w->runs_end - 1].to;
    return (walk){from, limit, runs_find(w, from), sg_ranges_find(w, from)};
}

/* Where there are slots it goes from one to the next, elsewhere from one run or range to the
 * next. */
static bool walk_next(const sg_window *w, walk *k, piece *p) {
    if (k->at >= k->limit)
        return false;
    while (k->run < w->runs_end && w->runs[k->run].to <= k->at)
        k->run++;
    while (k->range < w->ranges_end && w->ranges[k->range].to <= k->at)
        k->range++;
    const sg_run none = {.from = k->limit, .to = k->limit};
    const sg_run *run = k->run < w->runs_end ? &w->runs[k->run] : &none;
    sg_range settled = {k->limit, k->limit};
    if (k->range < w->ranges_end)
        settled = w->ranges[k->range];
    *p = (piece){k->at, k->at + 1, sg_window_state(w, k->at), NULL};
    if (p->state != SG_SLOT_EMPTY) {
        const sg_slot *s = sg_window_slot(w, k->at);
        p->tries = sg_slot_noted(s) ? &s->tries : NULL;
    } else if (settled.from <= k->at) {
        p->state = SG_SLOT_ACKED;
        p->to = settled.to;
    } else {
        bool inside = run->from <= k->at;
        p->tries = inside ? run_entry(run) : NULL;
        if (k->at >= w->end)
            p->to = inside ? run->to : run->from;
        if (p->to > settled.from)
            p->to = settled.from;
    }
    if (p->to > k->limit)
        p->to = k->limit;
    k->at = p->to;
    return true;
}

/* Nothing has failed, nothing is marked, nothing waits: the rule, and no walk is needed. */
static bool is_unblemished(const sg_window *w) {
    return w->noted == 0 && w->runs_first == w->runs_end;
}

bool sg_window_failed(const sg_window *w, uint64_t from, uint32_t count, uint64_t *offset) {
    if (is_unblemished(w))
        return false;
    walk k = walk_from(w, from > w->committed ? from : w->committed);
    piece p;
    while (walk_next(w, &k, &p)) {
        if (p.state == SG_SLOT_IN_FLIGHT || p.tries == NULL || p.tries->failures == 0 ||
            p.tries->failures < count)
            continue;
        *offset = p.from;
        return true;
    }
    return false;
}

/* ---- The tries: in bytes ------------------------------------------------------------------ */

/* An entry as the bytes have it. */
typedef struct entry {
    uint64_t what, first, last;
} entry;

static uint64_t seconds_of(int64_t ms) {
    uint64_t s = ms > 0 ? (uint64_t)ms / 1000 : 0;
    return s < SG_SECONDS_MAX ? s : SG_SECONDS_MAX;
}

static entry entry_of(const sg_tries *t) {
    bool alone = t->out ? t->alone : t->killed;
    entry e = {(uint64_t)t->failures * 4 + (alone ? 2 : 0) + (t->out ? 1 : 0), seconds_of(t->first),
               seconds_of(t->last)};
    return e;
}

/* Runs are held back while they can still grow. */
typedef struct writer {
    sg_buf *out;
    uint64_t at;       /* up to here it is written */
    uint64_t from, to; /* the run held back; empty: none */
    entry entry;
} writer;

static bool writer_close(writer *x) {
    if (x->from == x->to)
        return true;
    bool ok = sg_buf_varint(x->out, x->from - x->at) && sg_buf_varint(x->out, x->to - x->from) &&
              sg_buf_varint(x->out, x->entry.what) && sg_buf_varint(x->out, x->entry.first) &&
              sg_buf_varint(x->out, x->entry.last - x->entry.first);
    x->at = x->from = x->to;
    return ok;
}

static bool writer_add(writer *x, const piece *p, const sg_tries *t) {
    entry e = entry_of(t);
    bool same = x->from < x->to && e.what == x->entry.what && e.first == x->entry.first &&
                e.last == x->entry.last;
    if (!same) {
        if (!writer_close(x))
            return false;
        x->from = p->from;
        x->entry = e;
    }
    x->to = p->to; /* past what is acknowledged between the two, too */
    return true;
}

/* What a hand-over says of it; false where that is nothing. */
static bool give_up(const piece *p, int64_t wall, sg_tries *t) {
    if (p->state == SG_SLOT_IN_FLIGHT)
        sg_tries_fail(t, wall);
    else if (p->state == SG_SLOT_WAITING)
        t->out = t->alone = false;
    return t->failures > 0 || t->out;
}

static bool append_tries(const sg_window *w, bool final, int64_t wall, sg_buf *out) {
    writer x = {.out = out, .at = w->committed, .from = w->committed, .to = w->committed};
    walk k = walk_from(w, w->committed);
    piece p;
    bool ok = true;
    while (ok && walk_next(w, &k, &p)) {
        if (p.state == SG_SLOT_ACKED)
            continue;
        sg_tries t = p.tries != NULL ? *p.tries : (sg_tries){0};
        bool said = final ? give_up(&p, wall, &t) : p.tries != NULL;
        ok = said ? writer_add(&x, &p, &t) : writer_close(&x);
    }
    return ok && writer_close(&x);
}

bool sg_window_tries(const sg_window *w, sg_buf *out) {
    size_t before = out->len;
    bool ok = is_unblemished(w) || append_tries(w, false, 0, out);
    if (!ok)
        out->len = before;
    return ok;
}

bool sg_window_tries_final(const sg_window *w, int64_t wall, sg_buf *out) {
    size_t before = out->len;
    bool ok = append_tries(w, true, wall, out);
    if (!ok)
        out->len = before;
    return ok;
}

/* ---- The tries: loading ------------------------------------------------------------------- */

/* The next run at *p, its offsets counted from committed; false where it is malformed or goes past
 * SG_SPAN_MAX. `span`: where the one before ends. */
static bool read_run(const uint8_t **p, const uint8_t *end, uint64_t span, sg_run *run) {
    uint64_t v[5]; /* gap, run, what, first, last - first */
    for (int i = 0; i < 5; i++) {
        size_t n = sg_varint_read(*p, end, &v[i]);
        if (n == 0)
            return false;
        *p += n;
    }
    uint64_t left = SG_SPAN_MAX - span;
    if (v[0] > left || v[1] < 1 || v[1] > left - v[0] || v[2] / 4 > SG_FAILURES_MAX ||
        v[3] > SG_SECONDS_MAX || v[4] > SG_SECONDS_MAX - v[3])
        return false;
    bool out = (v[2] & 1) != 0, alone = (v[2] & 2) != 0;
    *run = (sg_run){span + v[0],
                    span + v[0] + v[1],
                    {.first = (int64_t)v[3] * 1000,
                     .last = (int64_t)(v[3] + v[4]) * 1000,
                     .failures = (uint32_t)(v[2] / 4),
                     .out = out,
                     .alone = out && alone,
                     .killed = !out && alone}};
    return true;
}

static bool check_tries(const uint8_t *p, size_t len, size_t *runs) {
    const uint8_t *end = p + len;
    sg_run run = {0};
    *runs = 0;
    while (p < end) {
        if (!read_run(&p, end, run.to, &run))
            return false;
        ++*runs;
    }
    return true;
}

bool sg_tries_check(const void *tries, size_t len) {
    size_t n;
    return len == 0 || check_tries(tries, len, &n);
}

bool sg_window_load_tries(sg_window *w, const void *tries, size_t len) {
    size_t n;
    if (len == 0)
        return true;
    if (!check_tries(tries, len, &n))
        return false;
    sg_run *runs = sg_reallocarray(NULL, n, sizeof *runs);
    if (runs == NULL)
        return false;
    const uint8_t *p = tries;
    uint64_t span = 0;
    for (size_t i = 0; i < n; i++) {
        (void)read_run(&p, (const uint8_t *)tries + len, span, &runs[i]); /* checked above */
        span = runs[i].to;
        runs[i].from += w->committed;
        runs[i].to += w->committed;
    }
    runs_set(w, runs, n);
    w->version++;
    return true;
}

/* As the bytes will have it, so that what is raised here and loaded there is the same. */
static int64_t whole_seconds(int64_t ms) {
    return ms > 0 ? ms / 1000 * 1000 : 0;
}

bool sg_window_raise(sg_window *w, uint64_t high, int64_t wall) {
    uint64_t reach = high > w->committed ? high - w->committed : 0;
    uint64_t limit = w->committed + (reach < SG_SPAN_MAX ? reach : SG_SPAN_MAX);
    size_t n = w->runs_end - w->runs_first, m = 0;
    if (n == 0 && reach == 0)
        return true;
    sg_run *runs = sg_reallocarray(NULL, 2 * n + 1, sizeof *runs);
    if (runs == NULL)
        return false;
    sg_tries suspect = {0};
    sg_tries_fail(&suspect, whole_seconds(wall));
    uint64_t at = w->committed; /* everything below it is in the new runs */
    for (size_t i = w->runs_first; i < w->runs_end; i++) {
        sg_run r = w->runs[i];
        if (at < r.from && at < limit)
            runs[m++] = (sg_run){at, r.from < limit ? r.from : limit, suspect};
        if (r.tries.out) {
            bool alone = r.tries.alone;
            sg_tries_fail(&r.tries, whole_seconds(wall));
            r.tries.killed = alone;
        }
        if (run_entry(&r) != NULL)
            runs[m++] = r;
        at = r.to;
    }
    if (at < limit)
        runs[m++] = (sg_run){at, limit, suspect};
    runs_set(w, runs, m);
    w->version++;
    return true;
}

/* ---- What both say together --------------------------------------------------------------- */

/* Acknowledged stretches, from the first on, counted from committed. */
typedef struct acks {
    const uint8_t *at, *end;
    uint64_t from, to; /* the present one; both SG_SPAN_MAX behind the last */
} acks;

static void acks_next(acks *a) {
    uint64_t gap, run, span = a->to;
    if (a->at >= a->end || !read_pair(&a->at, a->end, span, &gap, &run)) {
        a->from = a->to = SG_SPAN_MAX;
        return;
    }
    a->from = span + gap;
    a->to = a->from + run;
}

/* How many of [from, to) are not acknowledged. The stretches that are asked for come one behind the
 * other. */
static uint64_t left_of(acks *a, uint64_t from, uint64_t to) {
    uint64_t left = to > from ? to - from : 0;
    while (from < to && a->from < to) {
        uint64_t low = a->from > from ? a->from : from, high = a->to < to ? a->to : to;
        left -= high > low ? high - low : 0;
        if (a->to > to)
            break;
        acks_next(a);
    }
    return left;
}

static void note_attempts(sg_survey *s, uint64_t attempts) {
    if (attempts > s->attempts)
        s->attempts = (uint32_t)attempts; /* failures are below 2^20 */
}

/* Both are well-formed. */
static void survey(seg_bytes map, seg_bytes tries, uint64_t reach, sg_survey *s) {
    acks a = {.at = map.data, .end = map.len > 0 ? (const uint8_t *)map.data + map.len : map.data};
    const uint8_t *p = tries.data, *end = tries.len > 0 ? p + tries.len : p;
    sg_run run = {0};
    uint64_t at = 0; /* up to here it is counted */
    acks_next(&a);
    while (p < end && read_run(&p, end, at, &run)) {
        uint64_t gap_end = run.from < reach ? run.from : reach;
        uint64_t split = run.to < reach ? run.to : reach > run.from ? reach : run.from;
        if (at < gap_end)
            s->in_flight += left_of(&a, at, gap_end); /* no entry: perhaps with its first owner */
        uint64_t below = left_of(&a, run.from, split), above = left_of(&a, split, run.to);
        /* What is marked as out is in hand only as long as anybody may have something. */
        bool out = run.tries.out && reach > 0;
        if (out)
            s->in_flight += below + above;
        if (below + above > 0)
            note_attempts(s, (uint64_t)run.tries.failures + (out ? 1 : 0));
        at = run.to;
    }
    if (at < reach)
        s->in_flight += left_of(&a, at, reach);
    if (s->in_flight > 0)
        note_attempts(s, 1);
}

bool sg_survey_cursor(uint64_t committed, uint64_t high, seg_bytes acks_map, seg_bytes tries,
                      sg_survey *out) {
    sg_survey s = {0};
    if (!sg_ackmap_count(acks_map.data, acks_map.len, &s.acked) ||
        !sg_tries_check(tries.data, tries.len))
        return false;
    uint64_t reach = high > committed ? high - committed : 0;
    survey(acks_map, tries, reach < SG_SPAN_MAX ? reach : SG_SPAN_MAX, &s);
    *out = s;
    return true;
}
