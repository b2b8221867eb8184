/* A reader's loop side: entries asked for, and taken.
 *
 * Two kinds of reads. Up to the goals, which are ends that were known: partition by partition, one
 * XREAD for as many of them as there is room for, so that all but the last are read up to their
 * goal by it. Then, where the application waits, behind the ends: of all partitions in pieces, so
 * that what came meanwhile cannot be more than there is room for, and where that brings nothing,
 * of all at once, waiting. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/browse.h"

#define BLOCK_MS        5000
#define OBSTRUCTED_MS   200  /* how often what lies behind a foreign entry is asked for */
#define ENTRY_BYTES_MIN 4096 /* smaller ones are not worth counting on */
#define MOST_FIRST      4    /* entries, before any size is known */
#define MOST_MAX        256  /* as those that come may be larger than those before */
#define COUNT_MAX       128  /* of each partition, behind the ends */
#define CALM_MS         1000 /* nothing much comes: for so long all can be asked at once */
#define PACE            200  /* partitions a ms: the server takes 1 to 2 us for each */

/* What did not work is tried again, but not as fast as the server answers. */
static void pause_reading(seg_reader *r) {
    r->fetch.not_before = sg_clock_ms() + SG_BROWSE_RETRY_MS;
}

/* ---- entries that are not ours ------------------------------------------------------------ */

/* Is its ID one of the log's part that is known? */
static bool within(const sg_track *t, uint64_t era, uint64_t offset) {
    return era < t->known.era || (era == t->known.era && offset < t->known.offset);
}

static void count_foreign(seg_reader *r, const sg_track *t, const char *why) {
    r->stats.foreign++;
    sg_log_write(&r->client->log, SEG_LOG_WARN, "foreign",
                 "partition %u: an entry that cannot be read (%s) is passed over", t->partition,
                 why);
}

/* False: nothing more of this partition now. */
static bool foreign(seg_reader *r, sg_track *t, const sg_entry *e, const char *why) {
    seg_id id = {e->era, e->offset};
    if (within(t, id.era, id.offset)) {
        count_foreign(r, t, why);
        t->from = (seg_id){id.era, id.offset + 1};
        t->passed = true;
        r->fetch.took++;
        return true;
    }
    /* Of an era that we do not know yet, it may be ours; or the log goes further by now. */
    if (!t->suspected || t->suspect.era != id.era || t->suspect.offset != id.offset) {
        t->suspected = true;
        t->suspect = id;
        sg_browse_doubt(t);
        return false;
    }
    if (!t->obstructed || t->obstacle.era != id.era || t->obstacle.offset != id.offset)
        count_foreign(r, t, why);
    t->obstructed = r->fetch.obstructed = true;
    t->obstacle = id;
    if (t->at < t->goal) { /* and all that should come before it is not there */
        t->hollow = true;
        t->hollow_to = t->goal;
        sg_browse_doubt(t);
    }
    return false;
}

/* ---- entries ------------------------------------------------------------------------------ */

typedef enum taken { TAKEN, ENOUGH, NO_MEMORY } taken;

/* Compressed entries may be few bytes that stand for many: of one answer no more is unpacked than
 * may be read ahead, but for the first. The others are asked for again. */
static bool unpacks_enough(seg_reader *r, size_t bytes) {
    struct sg_browse_fetch *f = &r->fetch;
    if (f->unpacked > 0 && f->unpacked + bytes > r->max_prefetch)
        return true;
    f->unpacked += bytes;
    return false;
}

/* Checks what came, without the lock, as it takes a while. From one that is not to be unpacked now
 * on, nothing is taken. */
static void open_all(seg_reader *r) {
    struct sg_browse_fetch *f = &r->fetch;
    sg_entries *in = &f->entries;
    f->entry_bytes -= f->entry_bytes / 16;
    f->unpacked = 0;
    for (size_t i = 0; i < in->count; i++) {
        sg_entry *e = &in->list[i];
        if (e->block == NULL)
            continue;
        size_t bytes = sg_batch_weight(sg_block_room(e->block), e->block->len);
        f->entry_bytes = bytes > f->entry_bytes ? bytes : f->entry_bytes;
        if (bytes > e->block->len && unpacks_enough(r, bytes))
            return;
        e->block = sg_block_open(e->block, e->offset, r->stream.seed, &r->client->codecs,
                                 r->client->pool, &e->why);
    }
}

static bool is_ours(const sg_track *t, const sg_entry *e) {
    return e->offset != UINT64_MAX && sg_eras_has(&t->eras, e->era) &&
           sg_eras_of(&t->eras, e->offset) == e->era;
}

static taken take_entry(seg_reader *r, sg_track *t, sg_entry *e) {
    if (!is_ours(t, e) || e->why != NULL)
        return foreign(r, t, e, e->why != NULL ? e->why : "its ID") ? TAKEN : ENOUGH;
    sg_block *b = e->block;
    if (b == NULL)
        return NO_MEMORY; /* to open it */
    if (b->count == 0)
        return ENOUGH; /* not to be unpacked now */
    t->obstructed = false;
    if (e->offset < t->at) { /* no server says so: we are past it */
        t->from = (seg_id){e->era, e->offset + 1};
        return TAKEN;
    }
    e->block = NULL;
    r->fetch.took++;
    if (b->first > t->at) { /* why, the server knows */
        sg_block_unref(t->held);
        t->held = b;
        t->held_era = e->era;
        sg_browse_doubt(t);
        return ENOUGH;
    }
    if (sg_browse_put(r, t, b, e->era))
        return TAKEN;
    sg_block_unref(b);
    return NO_MEMORY;
}

/* The track that the i-th stream of the answer is for; NULL where it is not wanted any more. */
static sg_track *asker(seg_reader *r, size_t i) {
    const struct sg_browse_fetch *f = &r->fetch;
    sg_track *t = &r->tracks[f->tracks[i]];
    return t->verified && t->serial == f->serials[i] ? t : NULL;
}

/* The entries of one partition. False: what is behind it in the answer is not to be taken, as the
 * order of partitions would not be kept, or there is no memory. */
static bool take_track(seg_reader *r, size_t i, sg_entry *all, size_t n) {
    struct sg_browse_fetch *f = &r->fetch;
    sg_track *t = asker(r, i);
    if (t == NULL)
        return f->behind;
    for (size_t k = 0; k < n; k++) {
        taken what = take_entry(r, t, &all[k]);
        if (what == NO_MEMORY)
            pause_reading(r);
        if (what != TAKEN)
            return what == ENOUGH && (f->behind || t->at >= t->goal);
    }
    /* There may be more: it gets a goal. */
    if (f->behind && n >= f->count && t->at >= t->goal)
        sg_browse_doubt(t);
    return f->behind || t->at >= t->goal;
}

/* Nothing of it has come. False: it was not at its goal, so it is asked about before others are
 * read. */
static bool find_hollow(seg_reader *r, size_t i) {
    sg_track *t = asker(r, i);
    if (t == NULL)
        return r->fetch.behind;
    t->obstructed = false;
    if (t->at >= t->goal)
        return true;
    t->hollow = true;
    t->hollow_to = t->goal;
    sg_browse_doubt(t);
    return false;
}

static void take_all(seg_reader *r) {
    struct sg_browse_fetch *f = &r->fetch;
    sg_entries *in = &f->entries;
    bool more = true;
    size_t k = 0;
    for (size_t i = 0; i < f->n && more; i++) {
        size_t n = 0;
        while (k + n < in->count && in->list[k + n].from == i)
            n++;
        if (n > 0)
            more = take_track(r, i, &in->list[k], n);
        else if (!in->starved)
            more = find_hollow(r, i);
        k += n;
    }
    if (in->starved)
        pause_reading(r);
}

/* ---- the answer --------------------------------------------------------------------------- */

static void refused(seg_reader *r, const sg_result *res) {
    seg_error err;
    sg_fail(&err, res->status, "reading: the server refused: %s", res->text);
    if (res->status == SEG_EPROTO || res->status == SEG_EACCES) {
        sg_browse_fail(r, &err);
        return;
    }
    r->refusal = err;
    sg_log_write(&r->client->log, SEG_LOG_WARN, "fetch-failed", "%s", err.text);
    r->fetch.not_before = sg_clock_ms() + sg_backoff_next(&r->fetch.backoff, &r->client->rng);
}

/* What came from behind the ends. Where few of many had something, the next question waits until
 * more have; at most for 5 us a partition. */
static void came(seg_reader *r, int64_t now) {
    struct sg_browse_fetch *f = &r->fetch;
    bool few = f->entries.count <= f->n / 8;
    if (f->n == r->n && !f->obstructed && (few || r->n <= 8))
        f->calm_until = now + CALM_MS;
    if (f->took > 0 || r->unverified > 0) {
        int64_t next = f->since + (int64_t)(f->n / PACE);
        if (few && next > f->not_before)
            f->not_before = next;
        return;
    }
    sg_browse_look(r, now);
    if (!f->blocking && f->pass_call == f->call)
        f->pass_at += f->n;
    if (f->blocking || (f->pass_call == f->call && f->pass_at >= r->n))
        r->ended = f->call;
}

static void on_fetched(void *arg, const sg_result *res) {
    seg_reader *r = arg;
    struct sg_browse_fetch *f = &r->fetch;
    int64_t now = sg_clock_ms();
    if (!r->gone && !res->lost && res->status == SEG_OK)
        open_all(r);
    if (!sg_browse_enter(r))
        return;
    f->under_way = false;
    bool open = !res->lost && !atomic_load(&r->client->closed);
    if (open && res->status != SEG_OK) {
        r->heard = now;
        refused(r, res);
    } else if (open && f->life == r->client->lives + f->lives) {
        sg_backoff_reset(&f->backoff);
        r->heard = now;
        size_t asked = f->n * f->count;
        bool small = f->entries.count >= asked / 2 || f->entries.nothing;
        if (small && f->most < MOST_MAX)
            f->most *= 2;
        take_all(r);
        if (f->behind)
            came(r, now);
    }
    sg_entries_clear(&f->entries);
    sg_browse_changed(r);
    sg_browse_leave(r);
}

/* ---- the question ------------------------------------------------------------------------- */

static void add(seg_reader *r, size_t i) {
    struct sg_browse_fetch *f = &r->fetch;
    const sg_track *t = &r->tracks[i];
    f->tracks[f->n] = (uint32_t)i;
    f->serials[f->n] = t->serial;
    f->from[f->n++] = (sg_fetch_from){t->key, t->from.era, t->from.offset};
}

static int64_t send(seg_reader *r, int64_t now, bool behind, int64_t block) {
    struct sg_browse_fetch *f = &r->fetch;
    f->behind = behind;
    f->call = r->call;
    f->life = r->life;
    f->since = now;
    f->blocking = block > 0;
    f->obstructed = false;
    f->took = 0;
    f->under_way =
        sg_fetch_send(f->conn, &f->entries, f->from, f->n, f->count, block, on_fetched, r);
    if (!f->under_way)
        return now + SG_BROWSE_RETRY_MS;
    r->pending++;
    return INT64_MAX;
}

/* Entries that there is room for. */
static size_t room_for(const seg_reader *r) {
    const struct sg_browse_fetch *f = &r->fetch;
    size_t room = r->max_prefetch > r->buffered ? r->max_prefetch - r->buffered : 0;
    size_t each = f->entry_bytes < ENTRY_BYTES_MIN ? ENTRY_BYTES_MIN : f->entry_bytes;
    size_t n = room / each;
    n = n < f->most ? n : f->most;
    return n > 0 ? n : 1;
}

/* The next track that is not read up to its goal, from `turn` on; r->n: none. */
static size_t next_track(seg_reader *r) {
    for (size_t i = 0; i < r->n; i++) {
        size_t k = (r->turn + i) % r->n;
        if (r->tracks[k].at < r->tracks[k].goal)
            return r->turn = k;
    }
    return r->n;
}

bool sg_browse_is_done(seg_reader *r) {
    return r->bounded && r->unverified == 0 && next_track(r) == r->n;
}

/* All but the last have no more messages up to their goals than entries are asked for. */
static void gather(seg_reader *r, size_t first) {
    struct sg_browse_fetch *f = &r->fetch;
    size_t room = room_for(r), need = 1;
    f->n = 0;
    for (size_t i = first; i < r->n; i++) {
        const sg_track *t = &r->tracks[i];
        if (t->at >= t->goal)
            continue;
        uint64_t left = t->goal - t->at;
        size_t want = left < room ? (size_t)left : room;
        size_t more = want > need ? want : need;
        if (f->n > 0 && (f->n + 1) * more > room)
            break;
        need = more;
        add(r, i);
        if (left > room)
            break;
    }
    f->count = need;
}

/* The next piece of all partitions, behind their ends. */
static void gather_pass(seg_reader *r) {
    struct sg_browse_fetch *f = &r->fetch;
    size_t room = room_for(r);
    f->n = 0;
    for (size_t i = f->pass_at; i < r->n && f->n < room; i++)
        add(r, i);
    f->count = room / f->n < 1 ? 1 : room / f->n < COUNT_MAX ? room / f->n : COUNT_MAX;
}

/* All that can be waited for: nobody waits behind a foreign entry. */
static bool gather_waiting(seg_reader *r) {
    struct sg_browse_fetch *f = &r->fetch;
    size_t room = room_for(r);
    f->n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->tracks[i].obstructed)
            add(r, i);
    if (f->n > 0)
        f->count = room / f->n < 1 ? 1 : room / f->n < COUNT_MAX ? room / f->n : COUNT_MAX;
    return f->n == r->n;
}

/* The application waits, and all is read up to where it was known to end. */
static int64_t ask_behind(seg_reader *r, int64_t now) {
    struct sg_browse_fetch *f = &r->fetch;
    int64_t left = r->deadline == SEG_FOREVER ? SEG_FOREVER : r->deadline - now;
    if (f->pass_call != r->call) {
        f->pass_call = r->call;
        f->pass_at = left > 0 && now < f->calm_until ? r->n : 0;
    }
    if (f->pass_at < r->n) {
        gather_pass(r);
        return send(r, now, true, 0);
    }
    bool all = gather_waiting(r);
    if (!all)
        f->pass_at = 0;
    if (f->n == 0)
        return f->not_before = now + OBSTRUCTED_MS;
    int64_t most = all ? BLOCK_MS : OBSTRUCTED_MS;
    return send(r, now, true, left < most ? left : most);
}

int64_t sg_browse_read(seg_reader *r, int64_t now) {
    struct sg_browse_fetch *f = &r->fetch;
    /* Before the first call nobody knows that it does not begin with a seek. */
    if (f->conn == NULL || f->under_way || r->unverified > 0 || r->call == 0 ||
        !sg_conn_up(f->conn))
        return INT64_MAX;
    if (now < f->not_before)
        return f->not_before;
    f->most = f->most > 0 ? f->most : MOST_FIRST;
    r->sated = r->buffered > r->max_prefetch / 2 && !r->hungry;
    if (r->sated)
        return INT64_MAX;
    size_t next = next_track(r);
    if (next < r->n) {
        gather(r, next);
        return send(r, now, false, 0);
    }
    if (r->bounded || !r->hungry || (r->ended == r->call && now >= r->deadline))
        return INT64_MAX;
    return ask_behind(r, now);
}
