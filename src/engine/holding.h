/* holding.h - a partition in a consumer's hands: what is fetched, delivered, acknowledged, stored.
 * No network and no threads here: the consumer's lock guards it all.
 *
 *   ACQUIRING ──cursor read──> ACTIVE ──revoked──> DRAINING ──all stored──> handed back, freed
 *       └─────────────────────────┴───────────────────┴──lost──> freed
 *
 *   fetched blocks:  [ 12..19 ][ 20..20 ][ 21..40 ][ 41..45 ]
 *                       delivered ────────────^             ^ fetch_at: the next offset to ask for */
#ifndef SG_ENGINE_HOLDING_H
#define SG_ENGINE_HOLDING_H
#include "base/list.h"
#include "core/backoff.h"
#include "core/window.h"
#include "engine/block.h"

typedef enum sg_holding_state { SG_ACQUIRING, SG_ACTIVE, SG_DRAINING } sg_holding_state;

typedef struct sg_holding {
    sg_node todo; /* in the consumer's todo while there is something to send or to wait for */
    size_t index; /* in the consumer's owned */
    uint32_t partition;
    uint64_t epoch, era;
    sg_holding_state state;
    const char *log_key; /* the consumer's */
    sg_window *window;   /* NULL while acquiring */

    sg_block **blocks; /* of offsets at or past committed, ascending */
    size_t n_blocks, room;
    size_t at_block; /* next to deliver: the block, and the record in it */
    uint32_t at_record;
    uint64_t fetch_at;
    size_t buffered; /* bytes of blocks not delivered to their end */
    bool fetching;   /* in the XREAD under way */
    bool repairing;  /* an entry that is not ours is being looked into */
    uint64_t
        suspect; /* offset + 1 of such an entry that is in the log after all, so damaged; 0: none */
    bool verified; /* the server's state of it was seen on the connections that there are now */

    uint64_t *again;                      /* offsets whose ack timeout ran out, ascending */
    size_t again_at, n_again, again_room; /* those before again_at are taken */

    bool busy; /* an acquire or commit is under way */
    uint64_t commit_seq, stored_version, sending_version;
    uint64_t stored_offset, sending_offset;     /* committed offsets */
    uint64_t last_ack, stored_ack, sending_ack; /* the consumer's ack clock */
    int64_t not_before, drain_deadline;
    sg_backoff backoff;
} sg_holding;

sg_holding *sg_holding_new(uint32_t partition, uint64_t epoch, const char *log_key);
void sg_holding_free(sg_holding *h);

/* The cursor is known: begin. `*missed`: messages that are no longer retained and were not acknowledged. False: no memory, or the ack map is damaged (`*damaged`). */
bool sg_holding_begin(sg_holding *h, uint64_t era, uint64_t committed, uint64_t first,
                      seg_bytes acks, uint32_t capacity, uint64_t *missed, bool *damaged);

/* How many of the offsets in [from, to) are not acknowledged; from >= committed. */
uint64_t sg_holding_unacked(const sg_holding *h, uint64_t from, uint64_t to);

/* Take a fetched block over. Returns how many messages before it are missing, that are not acknowledged; UINT64_MAX: no memory,
 * the block is freed and will be fetched again. */
uint64_t sg_holding_put(sg_holding *h, sg_block *b);
/* Pass over the offsets up to `to`, exclusive: there is nothing of ours. False: no memory. */
bool sg_holding_skip(sg_holding *h, uint64_t to);

/* The next message to deliver, if there is one: first what comes again. Fills all of `m` but the
 * partition's epoch, and `*from`, its block (borrowed). */
bool sg_holding_take(sg_holding *h, int64_t deadline, seg_message *m, sg_block **from);

/* Move what is overdue to `again`. Returns how many. */
size_t sg_holding_expire(sg_holding *h, int64_t now);

sg_window_ack_result sg_holding_ack(sg_holding *h, uint64_t offset);
/* Free the blocks that are wholly acknowledged. */
void sg_holding_trim(sg_holding *h);
/* Nothing more will be delivered: drop what is fetched. */
void sg_holding_drop_blocks(sg_holding *h);

/* Is there something that a commit has not stored? */
bool sg_holding_dirty(const sg_holding *h);
#endif
