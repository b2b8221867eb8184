/* A reader's loop side: what it knows of its partitions, compared with what the server says.
 *
 * A partition is in doubt on each new connection, and where what was read of it does not fit.
 * While it is, nothing more is taken of it, so what is compared is what was known when it was
 * asked. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/browse.h"

#define CHECKING_MAX 512  /* questions under way */
#define LOOK_MS      5000 /* how often, where nothing comes */
#define LOOK_TRACKS  64   /* partitions that are looked at then, the next ones the next time */

void sg_browse_doubt(sg_track *t) {
    t->reader->unverified += t->verified ? 1 : 0;
    t->verified = false;
}

void sg_browse_place(sg_track *t, uint64_t at) {
    t->at = at;
    t->era = sg_eras_before(&t->eras, at);
    t->from = (seg_id){t->era, at};
    sg_block_unref(t->held);
    t->held = NULL;
    t->hollow = t->passed = t->suspected = t->obstructed = false;
}

/* ---- what became of the stream ------------------------------------------------------------ */

static void on_settings(void *arg, const sg_result *res) {
    seg_reader *r = arg;
    sg_stream_answer a;
    seg_error err;
    sg_stream_get_read(res, &r->stream, &a);
    if (!sg_browse_enter(r))
        return;
    r->asking = false;
    bool other = a.status == SEG_OK && strcmp(a.stream.inc, r->stream.inc) != 0;
    if (!a.lost && (other || a.status == SEG_ENOENT || (a.status == SEG_OK && r->missing))) {
        sg_stream_verdict(&a, &r->stream, &err);
        sg_browse_fail(r, &err);
    } else if (!a.lost && a.status != SEG_OK && !seg_status_retriable(a.status)) {
        sg_browse_fail(r, &a.err);
    }
    r->missing = false; /* whoever found it so finds it again */
    sg_browse_leave(r);
}

static void ask_settings(seg_reader *r) {
    if (r->asking)
        return;
    r->asking = sg_stream_get_send(r->client->commands, &r->stream, on_settings, r);
    r->pending += r->asking ? 1 : 0;
}

void sg_browse_look(seg_reader *r, int64_t now) {
    if (now - r->looked < LOOK_MS)
        return;
    r->looked = now;
    ask_settings(r);
    for (size_t i = 0; i < LOOK_TRACKS && i < r->n; i++)
        sg_browse_doubt(&r->tracks[r->look_at++ % r->n]);
}

/* ---- what the server says of a partition --------------------------------------------------- */

typedef struct errand {
    sg_track *track;
    uint64_t serial, life;
} errand;

/* All before `known` was there. Where some of it is lost, the log's next messages have the offsets
 * of what is gone, in another era. */
bool sg_browse_renew(seg_reader *r, sg_track *t, uint64_t next, sg_eras *eras, bool *lost) {
    uint64_t first;
    *lost = sg_eras_lost(eras, &t->eras, t->known.era, t->known.offset, next, &first);
    if (*lost && !sg_browse_skip(r, t, SEG_SKIP_LOST, first, t->known.offset))
        return false;
    if (!*lost && !sg_eras_follow(&t->eras, eras))
        return false;
    if (*lost) {
        sg_eras_fini(&t->eras);
        t->eras = *eras;
        *eras = (sg_eras){NULL, 0};
        t->stop = t->stop != UINT64_MAX && t->stop > first ? first : t->stop;
        sg_browse_place(t, t->at < first ? t->at : first);
    }
    if (*lost || t->known.offset < next)
        t->known = (seg_id){sg_eras_before(&t->eras, next), next};
    return true;
}

/* The messages from `at` to `end` are not there. Those before `first` had to go. */
static bool pass_gap(seg_reader *r, sg_track *t, uint64_t first, uint64_t end) {
    uint64_t cut = first < end ? first : end;
    if (t->at < cut) {
        if (!sg_browse_skip(r, t, SEG_SKIP_DROPPED, t->at, cut))
            return false;
        t->at = cut;
    }
    if (t->at < end) {
        seg_skip_why why = t->passed ? SEG_SKIP_DAMAGED : SEG_SKIP_MISSING;
        if (!sg_browse_skip(r, t, why, t->at, end))
            return false;
        t->at = end;
    }
    t->passed = false;
    return true;
}

/* What was read of it did not fit: now it is known why. False: no memory. */
static bool resolve(seg_reader *r, sg_track *t, uint64_t first, uint64_t next) {
    if (t->held != NULL) {
        sg_block *b = t->held;
        if (!pass_gap(r, t, first, b->first) || !sg_browse_put(r, t, b, t->held_era))
            return false;
        t->held = NULL;
    } else if (t->hollow) {
        uint64_t end = t->hollow_to < next ? t->hollow_to : next;
        if (t->at < end && !pass_gap(r, t, first, end))
            return false;
        t->era = sg_eras_before(&t->eras, t->at);
        if (t->from.era < t->era || (t->from.era == t->era && t->from.offset < t->at))
            t->from = (seg_id){t->era, t->at};
    }
    t->hollow = false;
    return true;
}

static bool compare(seg_reader *r, sg_track *t, const sg_cursor_answer *a, sg_eras *eras) {
    bool lost;
    if (!sg_browse_renew(r, t, a->next, eras, &lost) || !resolve(r, t, a->first, a->next))
        return false;
    if (lost || t->at >= t->goal || t->goal > a->next)
        t->goal = a->next;
    if (t->goal > t->stop)
        t->goal = t->stop;
    t->verified = true;
    r->unverified--;
    return true;
}

static void refused(seg_reader *r, sg_track *t, const sg_cursor_answer *a) {
    seg_error err;
    t->not_before = sg_clock_ms() + SG_BROWSE_RETRY_MS;
    if (a->kind == SG_CURSOR_LOST) {
        r->missing = true;
        ask_settings(r);
        return;
    }
    sg_fail(&err, a->err.status, "partition %" PRIu32 ": %s", t->partition, a->err.text);
    if (seg_status_retriable(err.status) || err.status == SEG_ENOMEM)
        r->refusal = err;
    else
        sg_browse_fail(r, &err);
}

static void on_checked(void *arg, const sg_result *res) {
    errand e = *(errand *)arg;
    sg_track *t = e.track;
    seg_reader *r = t->reader;
    sg_eras eras = {NULL, 0};
    sg_cursor_answer a;
    sg_free(arg);
    sg_cursor_read_answer(res, &a);
    if (!sg_browse_enter(r))
        return;
    r->checking--;
    t->asking = false;
    /* An answer of an earlier connection, or about another place, proves nothing. */
    if (!a.lost && e.life == r->life && e.serial == t->serial && !t->verified) {
        r->heard = sg_clock_ms();
        if (a.kind != SG_CURSOR_OK || !sg_cursor_take_eras(&a, &eras))
            refused(r, t, &a);
        else if (!compare(r, t, &a, &eras))
            t->not_before = sg_clock_ms() + SG_BROWSE_RETRY_MS; /* no memory */
        sg_eras_fini(&eras);
    }
    sg_browse_changed(r);
    sg_browse_leave(r);
}

/* ---- one round ----------------------------------------------------------------------------- */

static bool ask(seg_reader *r, sg_track *t) {
    errand *e = sg_alloc(sizeof *e);
    if (e == NULL)
        return false;
    *e = (errand){t, t->serial, r->life};
    if (!sg_cursor_read_send(r->client->commands, &r->stream, NULL, t->partition, on_checked, e)) {
        sg_free(e);
        return false;
    }
    t->asking = true;
    r->checking++;
    r->pending++;
    return true;
}

static void begin_life(seg_reader *r) {
    uint64_t life = r->client->lives + r->fetch.lives;
    if (r->life == life)
        return;
    r->life = life;
    r->looked = sg_clock_ms();
    for (size_t i = 0; i < r->n; i++)
        sg_browse_doubt(&r->tracks[i]);
}

int64_t sg_browse_check(seg_reader *r, int64_t now) {
    int64_t due = INT64_MAX;
    begin_life(r);
    if (!sg_conn_up(r->client->commands))
        return due;
    for (size_t i = 0; i < r->n && r->checking < r->unverified && r->checking < CHECKING_MAX; i++) {
        sg_track *t = &r->tracks[(r->check_at + i) % r->n];
        if (t->verified || t->asking)
            continue;
        if (now >= t->not_before && !ask(r, t))
            t->not_before = now + SG_BROWSE_RETRY_MS;
        if (!t->asking && t->not_before < due)
            due = t->not_before;
    }
    return due;
}
