/* holding.h - a partition in a consumer's hands: what is fetched, delivered, settled, stored. No
 * network and no threads here: the consumer's lock guards it all. holding.c keeps the blocks;
 * deliver.c decides what comes next.
 *
 *   ACQUIRING ──cursor read──> ACTIVE ──revoked──> DRAINING ──all stored──> handed back, freed
 *       └─────────────────────────┴───────────────────┴──lost──> freed
 *
 *   fetched blocks:  [ 12..19 ][ 20..20 ][ 21..40 ][ 41..45 ]
 *                       passed ───────────────^             ^ fetch_at: the next offset to ask for
 *
 * Passed is what was delivered, or stands in the lanes (core/lanes.h): because it failed, or
 * because an earlier message of its key did.
 *
 * Announcing. So that the attempts of a message are known after a crash too, the server has to
 * know beforehand what may be delivered (core/window.h). First deliveries are announced in bulk
 * and ahead, with the commits that are sent anyway: `announced` is what the server knows. A
 * further delivery of a message is announced by itself: it is called when its time has come,
 * marked, and ready once a commit has stored the mark. */
#ifndef SG_ENGINE_HOLDING_H
#define SG_ENGINE_HOLDING_H
#include "base/list.h"
#include "base/map.h"
#include "core/backoff.h"
#include "core/eras.h"
#include "core/lanes.h"
#include "core/window.h"
#include "engine/message.h"

typedef enum sg_holding_state { SG_ACQUIRING, SG_ACTIVE, SG_DRAINING } sg_holding_state;

/* A message that was called, and the version of the holding with its mark. */
typedef struct sg_called {
    uint64_t offset, version;
} sg_called;

/* What was forwarded for a message, by its delivery in hand and by those before (settle.c,
 * forward.c). */
typedef struct sg_outputs {
    uint32_t attempt; /* of the delivery in hand; 0: it has not forwarded yet */
    uint64_t serial;  /* grows with each delivery: an attempt that was released does not count */
    uint32_t issued, pending; /* by it: calls so far, not yet stored */
    uint32_t left;            /* by those before: not yet stored */
    bool failed;              /* by those before: not stored for good */
    bool acked;               /* it is acknowledged once none is pending */
    bool let_go;              /* and its lane is free already */
    seg_error fault;          /* its first output that failed; status SEG_OK: none */
} sg_outputs;

typedef struct sg_holding {
    sg_node todo; /* in the consumer's todo while there is something to send or to wait for */
    size_t index; /* in the consumer's owned */
    uint32_t partition;
    uint64_t epoch, since; /* since: the epoch of the last seek */
    sg_eras eras;
    uint64_t era;     /* of the message before fetch_at */
    uint64_t strange; /* an era that was read and is not listed: it was asked about */
    sg_holding_state state;
    const char *log_key; /* the consumer's */
    sg_window *window;   /* NULL while acquiring */
    sg_lanes *lanes;     /* the same */
    seg_ordering ordering;
    bool strict; /* handlers in parallel: nothing of a lane of which one is out */

    sg_block **blocks; /* of offsets at or past committed, ascending */
    size_t n_blocks, room;
    size_t at_block; /* next to pass: the block, and the record in it */
    uint32_t at_record;
    uint64_t fetch_at;
    size_t bytes;    /* of all blocks */
    size_t buffered; /* of those not passed to their end */
    size_t *total;   /* the consumer's sum of them */
    uint64_t swept;  /* version at the last look for settled blocks */
    bool fetching;   /* in the XREAD under way */
    bool repairing;  /* an entry that is not ours is being looked into */
    uint64_t
        suspect; /* offset + 1 of such an entry that is in the log after all, so damaged; 0: none */
    bool verified; /* the server's state of it was seen on the connections that there are now */
    bool held;     /* nothing more is passed: too far past committed, or too many bytes unsettled */
    int64_t held_told; /* when that was logged last */

    uint64_t announced;     /* first deliveries below it are known to the server */
    uint32_t ahead;         /* how far to announce past what is passed */
    bool gated;             /* a delivery waited for it */
    uint64_t failed_before; /* offsets below it may have failed under an earlier owner */
    uint64_t marked_to;     /* those of them below it are marked, */
    uint64_t marked_version;
    bool marking;      /* but that is not stored yet */
    sg_called *called; /* in order of version; from called_at on */
    size_t called_at, n_called, called_room;

    bool suspicious;               /* what may have killed its consumer is delivered alone, */
    uint64_t alone_from, alone_to; /* from here on to there */
    bool suspects_known;           /* alone_to is */
    bool starved;                  /* the next one is not fetched, whatever else is */
    uint64_t alone; /* the message that is being announced so, or was: offset + 1; 0: none */
    uint64_t alone_version;
    bool alone_ready;

    sg_map letters; /* by offset: what is on its way to the dead letters (sg_letter) */
    sg_map reasons; /* by offset: the application's last reason (char *) */
    sg_map outputs; /* by offset: what was forwarded for it (sg_outputs) */
    size_t awaited; /* acknowledged ones among them, that wait for outputs */

    bool busy;        /* an acquire or commit is under way */
    uint64_t touched; /* changes of what a commit says besides the window's */
    uint64_t commit_seq, stored_version, sending_version;
    uint64_t stored_offset, sending_offset;     /* committed offsets */
    uint64_t last_ack, stored_ack, sending_ack; /* the consumer's ack clock */
    uint64_t sending_high;
    bool sending_final, final_stored; /* the last commit, which hands over cleanly */
    void *note;                       /* of the cursor; sg_free */
    size_t note_len;
    int64_t not_before, drain_deadline;
    sg_backoff backoff;
} sg_holding;

sg_holding *sg_holding_new(uint32_t partition, uint64_t epoch, const char *log_key, size_t *total);
/* What is in letters, reasons and outputs is freed by its owners before (sg_consumer_drop). */
void sg_holding_free(sg_holding *h);

/* The cursor, as it was acquired. */
typedef struct sg_place {
    sg_eras *eras; /* taken */
    uint64_t committed, first, since;
    uint64_t high;
    bool clean; /* the owner before handed it over; high means nothing */
    seg_bytes acks, tries, note;
} sg_place;

/* The cursor is known: begin. ordering and strict are set. `*missed`: messages that are no
 * longer retained and were not acknowledged. False: no memory, or the cursor is damaged
 * (`*damaged` says what). */
bool sg_holding_begin(sg_holding *h, const sg_place *at, uint32_t capacity, int64_t wall,
                      uint64_t *missed, const char **damaged);
/* Handlers in parallel from now on; nothing is in flight. */
void sg_holding_be_strict(sg_holding *h);
/* Undo what a begin that failed has done. */
void sg_holding_reset(sg_holding *h);

/* How many of the offsets in [from, to) are not acknowledged; from >= committed. */
uint64_t sg_holding_unacked(const sg_holding *h, uint64_t from, uint64_t to);

/* Take a fetched block over. Returns how many messages before it are missing, that are not
 * acknowledged; UINT64_MAX: no memory, the block is freed and will be fetched again. */
uint64_t sg_holding_put(sg_holding *h, sg_block *b);
/* Pass over the offsets up to `to`, exclusive: there is nothing of ours. False: no memory. */
bool sg_holding_skip(sg_holding *h, uint64_t to);

/* The block with that offset; NULL where it is not fetched, or settled and gone. */
sg_block *sg_holding_block(const sg_holding *h, uint64_t offset);
/* Bytes of blocks that are passed and kept, as something in them is not settled. */
size_t sg_holding_parked(const sg_holding *h);
/* The next offset to pass. */
uint64_t sg_holding_at(const sg_holding *h);

/* ---- delivery (deliver.c) ----------------------------------------------------------------- */

/* What may be handed out next. */
typedef struct sg_next {
    uint64_t offset;
    sg_block *block;
    bool waited; /* it is in the lanes, or alone */
} sg_next;

/* The next message to deliver, if there is one; passes what has to wait. `share`: bytes that it
 * may have parked. */
bool sg_holding_next(sg_holding *h, size_t share, sg_next *out);
/* Hand it out. Fills `m`. False: no memory. */
bool sg_holding_take(sg_holding *h, const sg_next *next, int64_t deadline, seg_message *m);

/* While it is suspicious: what of the suspects, which have at least `isolate_at` failures, comes
 * next. */
typedef enum sg_alone {
    SG_ALONE_NONE,     /* none is left: it is not suspicious any more */
    SG_ALONE_WAIT,     /* one, but it is not fetched, or not announced yet */
    SG_ALONE_READY,    /* this one: deliver it with nothing else of the consumer in flight */
    SG_ALONE_CONVICTED /* this one was out alone when its consumer died, and is out of attempts */
} sg_alone;
sg_alone sg_holding_next_alone(sg_holding *h, uint32_t isolate_at, uint32_t max_attempts,
                               sg_next *out);
/* Not suspicious any more: all is delivered as ever. */
void sg_holding_trust(sg_holding *h);
/* Would that get any further now? */
bool sg_holding_has_suspect(sg_holding *h, uint32_t isolate_at);

/* Call what is due: it is marked, to be announced. Returns how many. */
size_t sg_holding_call(sg_holding *h, int64_t now);
/* A commit was stored: what it announced may be delivered. */
void sg_holding_announced(sg_holding *h);

/* The lane that a message stands in. */
uint64_t sg_holding_lane(const sg_holding *h, const sg_block *b, uint64_t offset);
/* It was delivered and failed, or was not handled (`failed` false): it waits until `due`. False:
 * it is not in hand, or no memory; nothing changed. */
bool sg_holding_again(sg_holding *h, uint64_t offset, bool failed, int64_t due, int64_t wall);
/* It failed, and will not come again: it waits outside of the lanes. The same. */
bool sg_holding_bury(sg_holding *h, uint64_t offset, int64_t wall);
sg_window_ack_result sg_holding_ack(sg_holding *h, uint64_t offset);
/* The usual case, and to be quick: acknowledge `n` from `from` on, as far as nothing is known of them
 * but that they are in flight. How many that were; the others want sg_holding_ack. */
uint32_t sg_holding_ack_run(sg_holding *h, uint64_t from, uint32_t n);
/* Strict: the next of its lane may go, though it is not settled yet, and has no deadline any
 * more. */
void sg_holding_let_go(sg_holding *h, uint64_t offset);

/* ---- keeping ------------------------------------------------------------------------------ */

/* Free the blocks that are wholly acknowledged, from the front. */
void sg_holding_trim(sg_holding *h);
/* The same wherever they are: costly, and only where there is need. */
void sg_holding_sweep(sg_holding *h);
/* Nothing more will be delivered: drop what is fetched and not passed. */
void sg_holding_drop_fresh(sg_holding *h);

/* A number that changes with what a commit would say, and what such a commit announces. */
uint64_t sg_holding_version(const sg_holding *h);
uint64_t sg_holding_high(const sg_holding *h);
/* Is there something that a commit has not stored? */
bool sg_holding_dirty(const sg_holding *h);
#endif
