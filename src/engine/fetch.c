/* A consumer's loop side: reading ahead with one XREAD BLOCK over all of its partitions. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

#define BLOCK_MS         5000
#define COUNT_MAX        128 /* entries of a partition in one answer: they are batches */
#define RETRY_MS         100
#define UNBLOCK_RETRY_MS 2
#define ENTRY_BYTES_MIN  4096 /* smaller ones are not worth counting on */
#define PACE             200  /* partitions a ms */
#define SPREAD_MIN       4    /* partitions of the first read, before any size is known */

/* What did not work is tried again, but not as fast as the server answers. */
static void pause_reading(seg_consumer *c) {
    c->fetch.not_before = sg_clock_ms() + RETRY_MS;
}

/* ---- entries that are not ours ------------------------------------------------------------ */

/* The log was mended: an entry that was past its end is gone now, and may be in the way no more.
 * One before its end can be a damaged one, or one of ours that took that place meanwhile: the next
 * read shows. */
static void on_mended(void *arg, const sg_result *r) {
    sg_errand e = *(sg_errand *)arg;
    seg_consumer *c = e.consumer;
    sg_append_answer a;
    sg_free(arg);
    sg_append_read(r, true, &a);
    if (!sg_consumer_enter(c))
        return;
    sg_holding *h = sg_consumer_holding(c, e.partition, e.epoch);
    if (h != NULL) {
        h->repairing = false;
        if (!a.lost && a.kind == SG_APPEND_STORED && e.number < a.offset)
            h->suspect = e.number + 1;
        else if (!a.lost && a.kind == SG_APPEND_LOST)
            sg_consumer_verdict(c);
        if (a.lost || a.kind != SG_APPEND_STORED)
            pause_reading(c);
    }
    sg_consumer_leave(c);
}

/* It is in the log for good, and cannot be read: go on behind it, and say so. */
static void pass_over(seg_consumer *c, sg_holding *h, uint64_t offset, const char *why) {
    uint64_t from = h->fetch_at, missed = sg_holding_unacked(h, from, offset + 1);
    h->suspect = 0;
    if (!sg_holding_skip(h, offset + 1)) {
        pause_reading(c); /* no memory: it is read again */
        return;
    }
    sg_log_write(&c->client->log, SEG_LOG_ERROR, "damaged",
                 "partition %u: the entry that ends at offset %llu "
                 "cannot be read (%s) and is passed over",
                 h->partition, (unsigned long long)offset, why);
    sg_consumer_overtaken(c, h, from, missed);
    sg_consumer_todo(c, h);
}

/* `offset`: the entry's, where its ID is of our era; UINT64_MAX otherwise. */
static void foreign(seg_consumer *c, sg_holding *h, uint64_t offset, const char *why) {
    if (offset != UINT64_MAX && h->suspect == offset + 1) {
        pass_over(c, h, offset, why);
        return;
    }
    sg_append mend = {
        .stream = &c->stream, .partition = h->partition, .producer = "mend", .era = h->era};
    sg_errand *e = sg_errand_new(c, h->partition, h->epoch, offset);
    c->stats.foreign++;
    sg_log_write(&c->client->log, SEG_LOG_WARN, "foreign",
                 "partition %u: an entry that is not ours (%s) is "
                 "skipped",
                 h->partition, why);
    if (e != NULL && sg_append_send(c->client->commands, &mend, on_mended, e)) {
        c->pending++;
        h->repairing = true;
    } else {
        sg_free(e);
        pause_reading(c); /* it is read again, and asked about again */
    }
}

/* ---- entries ------------------------------------------------------------------------------ */

static void missed(seg_consumer *c, sg_holding *h, uint64_t first, uint64_t count) {
    if (c->stream.on_full != SEG_DROP_OLDEST)
        sg_log_write(&c->client->log, SEG_LOG_ERROR, "gap",
                     "partition %u: %llu messages from offset %llu on "
                     "are missing from the log",
                     h->partition, (unsigned long long)count, (unsigned long long)first);
    sg_consumer_overtaken(c, h, first, count);
    sg_consumer_todo(c, h);
}

/* An era that we have not heard of may be a new one, of a server that was restarted: its list tells.
 * Otherwise the entry is none of ours. Always false. */
static bool strange(seg_consumer *c, sg_holding *h, uint64_t era) {
    if (era <= h->era || h->strange == era) {
        foreign(c, h, UINT64_MAX, "its ID");
        return false;
    }
    h->strange = era;
    h->verified = false;
    sg_consumer_todo(c, h);
    return false;
}

/* Compressed entries were asked for by what was known of others, and may be few bytes that stand for
 * many: of one answer no more is unpacked than may be fetched ahead, but for the first. The others
 * are read again when there is room, as many as there is room for. */
static bool unpacks_enough(seg_consumer *c, size_t bytes) {
    size_t before = c->fetch.unpacked;
    if (before > 0 && before + bytes > c->max_prefetch)
        return true;
    c->fetch.unpacked = before + bytes;
    return false;
}

/* The partition that an answer's i-th stream is for; NULL where it does not want it any more. */
static sg_holding *asker(seg_consumer *c, size_t i) {
    const struct sg_fetch *f = &c->fetch;
    sg_holding *h = sg_consumer_holding(c, f->partitions[i], f->epochs[i]);
    bool wants = h != NULL && h->state == SG_ACTIVE && h->fetch_at == f->from[i].offset;
    return wants ? h : NULL;
}

/* Let go of the entries that nobody wants any more: they need not be opened. */
static void drop_unwanted(seg_consumer *c) {
    sg_entries *in = &c->fetch.entries;
    sg_mutex_lock(&c->lock);
    for (size_t i = 0; i < in->count; i++) {
        sg_entry *e = &in->list[i];
        if (asker(c, e->from) != NULL)
            continue;
        sg_block_unref(e->block);
        e->block = NULL;
    }
    sg_mutex_unlock(&c->lock);
}

/* False: it is left as it is, not to be unpacked now. */
static bool open_entry(seg_consumer *c, sg_entry *e) {
    size_t bytes = sg_batch_weight(sg_block_room(e->block), e->block->len);
    if (bytes > c->fetch.entry_bytes)
        c->fetch.entry_bytes = bytes;
    if (bytes > e->block->len && unpacks_enough(c, bytes))
        return false;
    e->block = sg_block_open(e->block, e->offset, c->stream.seed, &c->client->codecs,
                             c->client->pool, &e->why);
    return true;
}

/* Without the lock, as it takes a while: check what came. Where one is not to be unpacked now, its
 * partition's turn ends before it; others go on. */
static void open_all(seg_consumer *c) {
    sg_entries *in = &c->fetch.entries;
    size_t ended = SIZE_MAX;
    c->fetch.entry_bytes -= c->fetch.entry_bytes / 16;
    c->fetch.unpacked = 0;
    c->fetch.got = 0;
    c->fetch.got_bytes = 0;
    for (size_t i = 0; i < in->count; i++)
        if (in->list[i].block != NULL) {
            c->fetch.got++;
            c->fetch.got_bytes += in->list[i].block->len;
        }
    drop_unwanted(c);
    for (size_t i = 0; i < in->count; i++) {
        sg_entry *e = &in->list[i];
        if (e->block != NULL && e->from != ended && !open_entry(c, e))
            ended = e->from;
    }
}

/* One entry of the log. False: stop with this partition for now. */
static bool accept_entry(seg_consumer *c, sg_holding *h, sg_entry *entry) {
    uint64_t era = entry->era, offset = entry->offset;
    if (offset == UINT64_MAX || !(era == h->era || (era > h->era && sg_eras_has(&h->eras, era))))
        return strange(c, h, era);
    if (offset < h->fetch_at) { /* no server says so: we are past it */
        foreign(c, h, UINT64_MAX, "its offset");
        pause_reading(c);
        return false;
    }
    if (entry->why != NULL)
        foreign(c, h, offset, entry->why);
    sg_block *b = entry->block;
    if (b == NULL && entry->why == NULL) /* no memory to open it */
        pause_reading(c);
    if (b == NULL || b->count == 0) /* not ours, not opened, or not unpacked */
        return false;
    entry->block = NULL;
    uint64_t from = h->fetch_at;
    uint64_t gap = sg_holding_put(h, b);
    if (gap == UINT64_MAX) { /* no memory */
        pause_reading(c);
        return false;
    }
    h->era = era;
    if (gap > 0)
        missed(c, h, from, gap);
    return true;
}

/* The entries of one partition. */
static void accept_partition(seg_consumer *c, sg_entry *entries, size_t n) {
    struct sg_fetch *f = &c->fetch;
    sg_holding *h = asker(c, entries->from);
    if (h == NULL)
        return;
    if (n >= f->count && f->count < COUNT_MAX)
        f->count *= 2;
    for (size_t k = 0; k < n; k++)
        if (!accept_entry(c, h, &entries[k]))
            break;
}

static void accept_all(seg_consumer *c) {
    const sg_entries *in = &c->fetch.entries;
    size_t n;
    for (size_t k = 0; k < in->count; k += n) {
        for (n = 1; k + n < in->count && in->list[k + n].from == in->list[k].from;)
            n++;
        accept_partition(c, &in->list[k], n);
    }
    if (in->starved || (in->count == 0 && !in->nothing)) /* no server says the latter */
        pause_reading(c);
}

/* XREAD says nothing of a log that was deleted: it waits. After a wait in vain we look. */
static void look(seg_consumer *c) {
    for (size_t i = 0; i < c->fetch.n; i++) {
        sg_holding *h = sg_consumer_holding(c, c->fetch.partitions[i], c->fetch.epochs[i]);
        if (h == NULL || h->state != SG_ACTIVE)
            continue;
        h->verified = false;
        sg_consumer_todo(c, h);
    }
}

/* ---- the answer --------------------------------------------------------------------------- */

static void fetch_refused(seg_consumer *c, const sg_result *r, int64_t now) {
    seg_error err;
    sg_fail(&err, r->status, "reading: the server refused: %s", r->text);
    if (r->status == SEG_EPROTO || r->status == SEG_EACCES) {
        sg_consumer_fail(c, &err);
        return;
    }
    sg_log_write(&c->client->log, SEG_LOG_WARN, "fetch-failed", "%s", err.text);
    c->fetch.not_before = now + sg_backoff_next(&c->fetch.backoff, &c->client->rng);
}

/* The server goes over all partitions for each question, 1 to 2 µs for each of them. Where few of many
 * had something, the next question waits until more have; at most for 5 µs a partition. */
static void pace(seg_consumer *c) {
    struct sg_fetch *f = &c->fetch;
    int64_t next = f->since + (int64_t)(f->n / PACE);
    if (f->entries.count > 0 && f->entries.count < f->n / 8 && next > f->not_before)
        f->not_before = next;
}

static void on_fetched(void *arg, const sg_result *r) {
    seg_consumer *c = arg;
    struct sg_fetch *f = &c->fetch;
    int64_t now = sg_clock_ms();
    if (!c->gone && !r->lost && r->status == SEG_OK)
        open_all(c);
    if (!sg_consumer_enter(c))
        return;
    f->under_way = false;
    for (size_t i = 0; i < f->n; i++) {
        sg_holding *h = sg_consumer_holding(c, f->partitions[i], f->epochs[i]);
        if (h != NULL)
            h->fetching = false;
    }
    bool open =
        !r->lost && !atomic_load(&c->client->closed); /* else: nobody to ask, nothing to take */
    if (open && r->status != SEG_OK) {
        fetch_refused(c, r, now);
    } else if (open) {
        sg_backoff_reset(&f->backoff);
        c->stats.fetches++;
        c->stats.entries += f->got;
        c->stats.entry_bytes += f->got_bytes;
        bool nothing = f->entries.nothing;
        f->in_vain = nothing ? f->in_vain + f->n : 0;
        if (f->spread < c->stream.partitions)
            f->spread *= 2;
        accept_all(c);
        pace(c);
        if (nothing && !f->unblocking && now - f->since >= BLOCK_MS / 2)
            look(c);
    }
    sg_entries_clear(&f->entries);
    f->unblocking = false;
    sg_consumer_changed(c);
    sg_consumer_leave(c);
}

/* ---- the question ------------------------------------------------------------------------- */

static size_t share_of(const seg_consumer *c) {
    return c->max_prefetch / (c->n_owned > 0 ? c->n_owned : 1);
}

/* Has it room for more? Half of its share, so that reads are not many and small. */
static bool eligible(const seg_consumer *c, const sg_holding *h, size_t share) {
    return h->state == SG_ACTIVE && h->verified && !h->repairing &&
           (h->starved || h->buffered <= share / 2) && !c->paused[h->partition];
}

static void on_unblocked(void *arg, const sg_result *r) {
    seg_consumer *c = arg;
    if (!sg_consumer_enter(c))
        return;
    if (!r->lost && r->status == SEG_EACCES && !c->fetch.no_unblock) {
        c->fetch.no_unblock = true;
        sg_log_write(&c->client->log, SEG_LOG_WARN, "no-unblock",
                     "the server refused CLIENT UNBLOCK, so that "
                     "partitions that come are read late: %s",
                     r->text);
    }
    /* It may have overtaken the XREAD that it is for: asked again until that has ended. */
    c->fetch.unblock_at = sg_clock_ms() + UNBLOCK_RETRY_MS;
    sg_consumer_leave(c);
}

/* A partition wants reading that the XREAD under way does not read: end that one. */
static int64_t interrupt(seg_consumer *c, int64_t now) {
    struct sg_fetch *f = &c->fetch;
    if (f->no_unblock)
        return INT64_MAX; /* the one under way is short */
    if (f->unblocking && now < f->unblock_at)
        return f->unblock_at;
    uint64_t id = sg_conn_client_id(f->conn);
    if (id == 0 || !sg_unblock_send(c->client->commands, id, on_unblocked, c))
        return now + RETRY_MS;
    c->pending++;
    f->unblocking = true;
    f->unblock_at = INT64_MAX;
    return INT64_MAX;
}

/* How many partitions to read: as many as there is room for, an entry each, twice as many as
 * last time at most, since it may show that entries are large. All of them, and waiting, where
 * nothing came of any: so long as nothing comes nobody may be left out, and what comes then is
 * little. None where there is no room, unless what is there cannot be delivered: then others
 * must not wait for it. */
static size_t most_of(const seg_consumer *c) {
    const struct sg_fetch *f = &c->fetch;
    size_t room = c->max_prefetch > c->buffered ? c->max_prefetch - c->buffered : 0;
    if (f->truncated && f->in_vain >= c->n_owned)
        return SIZE_MAX;
    size_t most = room / f->entry_bytes;
    most = most > 0 ? most : room > 0 || c->dry ? 1 : 0;
    return most < f->spread ? most : f->spread;
}

static void gather(seg_consumer *c, size_t share, size_t most) {
    struct sg_fetch *f = &c->fetch;
    size_t begin = f->turn;
    f->n = 0;
    f->truncated = false;
    for (size_t i = 0; i < c->n_owned; i++) {
        sg_holding *h = c->owned[(begin + i) % c->n_owned];
        if (!eligible(c, h, share))
            continue;
        if (f->n == most) {
            f->truncated = true;
            f->turn = (begin + i) % c->n_owned;
            break;
        }
        f->partitions[f->n] = h->partition;
        f->epochs[f->n] = h->epoch;
        f->from[f->n++] = (sg_fetch_from){h->log_key, h->era, h->fetch_at};
        h->fetching = true;
    }
}

static int64_t ask(seg_consumer *c, int64_t now, size_t share) {
    struct sg_fetch *f = &c->fetch;
    if (f->entry_bytes < ENTRY_BYTES_MIN)
        f->entry_bytes = ENTRY_BYTES_MIN;
    if (f->count < 1)
        f->count = 1;
    if (f->spread < SPREAD_MIN)
        f->spread = SPREAD_MIN;
    size_t most = most_of(c);
    gather(c, share, most);
    if (f->n == 0)
        return INT64_MAX;
    size_t count = share / f->entry_bytes;
    count = count < 1 || most == SIZE_MAX ? 1 : count > f->count ? f->count : count;
    f->count = count;
    /* Where not all fit into one, nobody may wait on those that are in it. */
    int64_t block = f->truncated ? 0 : f->no_unblock ? RETRY_MS : BLOCK_MS;
    f->under_way = sg_fetch_send(f->conn, &f->entries, f->from, f->n, count, block, on_fetched, c);
    if (!f->under_way) {
        for (size_t i = 0; i < f->n; i++)
            c->holdings[f->partitions[i]]->fetching = false;
        return now + RETRY_MS;
    }
    c->pending++;
    f->since = now;
    return INT64_MAX;
}

int64_t sg_fetch_run(seg_consumer *c, int64_t now) {
    struct sg_fetch *f = &c->fetch;
    size_t share = share_of(c);
    if (c->closing || c->fault.status != SEG_OK || f->conn == NULL || !sg_conn_up(f->conn))
        return INT64_MAX;
    if (!f->under_way)
        return now < f->not_before ? f->not_before : ask(c, now, share);
    if (f->truncated)
        return INT64_MAX; /* it ends by itself, at once */
    for (size_t i = 0; i < c->n_owned; i++)
        if (!c->owned[i]->fetching && eligible(c, c->owned[i], share))
            return interrupt(c, now);
    return INT64_MAX;
}
