/* browse.h - a seg_reader: partitions read without a group. browse.c is what the application
 * calls; the rest is the loop thread's: browse_read.c asks for entries and takes what comes,
 * browse_check.c compares with what the server knows.
 *
 * loop thread                                                application cursor_read ─> track:
 * eras, end ───┐ XREAD ─> entries ─> blocks ────────┴─> queue of stretches ─> seg_reader_next
 *
 * A track is one partition, and where reading goes on in it. It has two places, as an entry that
 * is none of ours can lie in the way:
 *
 *      1-3 [0 1 2 3]   1-5 foreign   1-9 [4 ... 9]        end 10
 *                   ^ at: 4       ^ from: behind 1-5
 *
 * `from` is what the next XREAD goes on behind. `at` is the next message: what the next entry of
 * ours begins with. Where it begins with a later one, those between are gone, and what the server
 * says of the partition after that tells why. A foreign entry behind the end is left to whoever
 * appends next, who takes it out; nobody may wait behind it meanwhile, as what is stored then
 * comes before it.
 *
 * The order of what is told follows from there being one queue: what is found out about a
 * partition, is queued behind the messages that were read of it before. */
#ifndef SG_ENGINE_BROWSE_H
#define SG_ENGINE_BROWSE_H
#include <stdatomic.h>

#include "base/thread.h"
#include "core/backoff.h"
#include "core/block.h"
#include "engine/client.h"
#include "engine/message.h"
#include "redis/ops.h"

#define SG_BROWSE_RETRY_MS 100 /* what did not work, is tried again */

typedef struct sg_track {
    seg_reader *reader;
    uint32_t partition;
    char *key;
    seg_reader_place place; /* `at` is the application's, the rest as of the opening */

    /* Loop thread, or the reader's lock held, which it takes to change them. */
    sg_eras eras;
    uint64_t era;  /* of the message before `at` */
    uint64_t at;   /* the next one */
    seg_id from;   /* XREAD goes on there: the first offset wanted, and the era of the one before */
    seg_id known;  /* there were messages up to here, exclusive, the last of that era */
    uint64_t goal; /* up to where it is read in its turn */
    uint64_t stop; /* nothing from here on is wanted; UINT64_MAX: all is */
    uint64_t serial; /* of its place: another one after a seek */
    bool verified;   /* eras and end are those of this connection, and answer what was doubted */
    bool asking;
    int64_t not_before;
    sg_block *held; /* it begins behind `at`, and it is to be told why */
    uint64_t held_era;
    bool hollow;        /* nothing came of what there is up to... */
    uint64_t hollow_to; /* ...here */
    bool passed;        /* entries that cannot be read, since `at` */
    bool suspected;     /* it was doubted for the sake of this entry: */
    seg_id suspect;
    bool obstructed; /* a foreign entry lies behind the end: */
    seg_id obstacle;
} sg_track;

/* Messages of one block, or a skip in their place. */
typedef struct sg_stretch {
    sg_node node;
    sg_track *track;
    sg_block *block;  /* NULL: a skip */
    uint64_t at, end; /* of a skip: `at` is where reading goes on */
    seg_skip skip;
} sg_stretch;

struct seg_reader {
    sg_actor actor;
    seg_client *client;
    sg_stream stream;
    size_t max_prefetch;
    seg_skip_fn *on_skip;
    void *skip_arg;
    bool bounded; /* ends at the tracks' stop */
    atomic_flag busy;
    atomic_bool stopping;
    _Atomic uint64_t returned;
    sg_track *tracks;
    size_t n;
    uint32_t *index; /* of the track, by partition; UINT32_MAX: none */

    /* The application's call. */
    sg_stretch *current;
    seg_message message;

    sg_mutex lock; /* guards all from here */
    sg_cond changed;
    sg_wait wait;
    sg_list queue;     /* sg_stretch */
    size_t buffered;   /* bytes of all blocks, the current one's included */
    bool sated;        /* nothing is read as there is no room */
    bool hungry;       /* the application waits, and there is nothing in the queue */
    uint64_t call;     /* the number of the latest call */
    int64_t deadline;  /* of its wait */
    uint64_t ended;    /* nothing more was there, asked in this call */
    int64_t heard;     /* when the server answered last */
    seg_error refusal; /* the last one that may pass */
    seg_error down;    /* why a connection is not up */
    seg_error fault;   /* why it is over */
    seg_reader_stats stats;

    /* Loop thread. */
    size_t pending;              /* requests without a result */
    bool gone;                   /* closed by the application: freed with the last result */
    bool asking;                 /* for the stream's settings */
    bool missing;                /* as a part of it is missing */
    uint64_t life;               /* of the connections */
    size_t unverified, checking; /* tracks that are not, and requests about them */
    size_t check_at;             /* the next one to look at */
    int64_t looked;              /* when it was looked last whether all is there */
    size_t look_at;
    size_t turn; /* the track that is read on */
    struct sg_browse_fetch {
        sg_conn *conn;
        uint64_t lives;
        bool under_way, blocking; /* blocking: of all tracks that can be waited for */
        bool behind;              /* of what may come behind the ends */
        bool obstructed;          /* it brought a foreign entry behind an end */
        size_t took;              /* entries that were of use */
        uint64_t call, life;      /* when it was asked */
        int64_t since, not_before, calm_until;
        size_t n, count;
        uint32_t *tracks;
        uint64_t *serials;
        sg_fetch_from *from;
        sg_entries entries;
        size_t entry_bytes; /* the largest entry of late */
        size_t most;        /* entries to ask for: grows as they turn out to be small */
        size_t unpacked;    /* bytes, of this answer */
        size_t pass_at;     /* how far it was looked behind the ends */
        uint64_t pass_call; /* in which call */
        sg_backoff backoff;
    } fetch;
};

/* All of these: loop thread, lock held. */
/* It is over; keeps the first reason. */
void sg_browse_fail(seg_reader *r, const seg_error *err);
/* Whoever waits has something to look at. */
void sg_browse_changed(seg_reader *r);
/* Queue messages (takes the block), or a skip. False: no memory, nothing changed. */
bool sg_browse_put(seg_reader *r, sg_track *t, sg_block *b, uint64_t era);
bool sg_browse_skip(seg_reader *r, sg_track *t, seg_skip_why why, uint64_t first, uint64_t end);
/* It is to be asked about before it is read on. */
void sg_browse_doubt(sg_track *t);
/* Reading goes on at this offset, of whose message before it the era is known to the eras. */
void sg_browse_place(sg_track *t, uint64_t at);

/* What the server says of it now: what is lost is queued as a skip, with the eras that there are.
 * False: no memory. `lost`: something is. */
bool sg_browse_renew(seg_reader *r, sg_track *t, uint64_t next, sg_eras *eras, bool *lost);

/* Ask about the tracks in doubt, and whether the stream is there (browse_check.c). When to be
 * called again. */
int64_t sg_browse_check(seg_reader *r, int64_t now);
/* Nothing came: is it time to look whether all is still there? */
void sg_browse_look(seg_reader *r, int64_t now);
/* Ask for entries (browse_read.c). The same. */
int64_t sg_browse_read(seg_reader *r, int64_t now);

/* All has been read up to the stops, and is in the queue at least. */
bool sg_browse_is_done(seg_reader *r);

/* First in a result function: counts the request as ended, takes the lock. False: it is closed,
 * and was freed or will be. */
bool sg_browse_enter(seg_reader *r);
void sg_browse_leave(seg_reader *r);
#endif
