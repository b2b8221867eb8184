/* producer.h - the two halves of a producer: producer.c is what the application calls, append.c what
 * the loop thread does. One lane for each partition:
 *
 *   seg_send*                                                             poll, flush, close
 *      │                                                                          ^
 *      v       full, or                                                           │
 *     open ── nothing flies ──> ready ── at most 5 ──> flying ──── outcome ────> done
 *                                 ^                      │
 *                                 └─ refused for now, or connection lost
 *
 * A lane keeps its batches in order. Where the first of those under way does not make it, the server
 * refuses those behind it as a gap, and all go back to `ready` in order.
 *
 * Sequences. Each batch takes the lane's next sequence numbers when it is first sent, and keeps them
 * over retries, so that the server stores it once. When a batch is given up after it was sent, its
 * numbers may or may not be used up: the lane begins a new generation at sequence 1, and the server
 * refuses every older one from then on. A copy of the old batch that some dead connection still holds
 * can then do no harm:
 *
 *   producer  A(gen 1, seq 1) ──lost──x      B(gen 2, seq 1) ──> stored
 *   network          └──────── held by a paused server ────────────────> A refused
 *
 * For the same reason a batch of which an answer was lost is never sent under another generation: it
 * may be stored already, and would be stored twice. It is given up, as unknown. */
#ifndef SG_ENGINE_PRODUCER_H
#define SG_ENGINE_PRODUCER_H
#include "core/backoff.h"
#include "core/batch.h"
#include "engine/client.h"
#include "redis/ops.h"

#define SG_FLIGHTS 5 /* as HISTORY in scripts/append.lua */

/* A seg_send that waits, on its caller's stack. */
typedef struct sg_waiter {
    sg_cond cond;
    bool done;
    seg_status status;
    seg_position where;
    seg_error err;
} sg_waiter;

/* Who wants to know of one message: a callback, a waiter, or nobody. */
typedef struct sg_slot {
    seg_sent_fn *fn;
    void *arg;
    sg_waiter *waiter;
} sg_slot;

typedef struct sg_outbatch {
    sg_node node; /* in its lane's ready or flying, or in the producer's done */
    seg_producer *producer;
    uint32_t partition;
    uint64_t id; /* order of creation in the producer, from 1 */
    sg_batch_writer writer;
    sg_slot *slots;
    size_t room;
    size_t bytes; /* of its messages, counted against max_queued until the outcome */
    bool callbacks;
    bool in_request, disposed; /* freed once it is disposed and in no request */
    bool over;                 /* has an outcome */
    int64_t created, deadline;
    uint64_t generation, first_seq; /* of its last sending; 0: never sent */
    bool unsure;                    /* a sending ended without an answer */

    seg_status status; /* the outcome */
    seg_error err;
    uint64_t offset; /* of its first message */
} sg_outbatch;

typedef struct sg_lane {
    sg_node busy; /* in the producer's busy while it has any batch */
    uint32_t partition;
    sg_outbatch *open;
    sg_list ready, flying;
    uint32_t n_flying;
    bool rewinding; /* nothing is sent until what is flying has come back */
    uint64_t generation, next_seq;
    int64_t used; /* when it was last sent on */
    int64_t not_before;
    sg_backoff backoff;
    seg_error refusal; /* the last "not now"; status SEG_OK once something was stored again */
} sg_lane;

struct seg_producer {
    sg_actor actor;
    seg_client *client;
    sg_stream stream;
    char id[33];
    int64_t linger, delivery_timeout;
    size_t max_batch, max_message, max_queued;
    uint32_t max_count; /* messages of one batch */

    sg_mutex lock;   /* guards all below */
    sg_cond changed; /* done has something, or nothing is left, or there is room in the queue */
    sg_lane *lanes;
    sg_list busy, done;
    uint64_t last_id;
    uint32_t turn; /* partition that the next batch without a key goes to */
    bool polling, closing;
    seg_error fault; /* why it is over; status SEG_OK while it is not */
    seg_producer_stats stats;

    /* Loop thread only. */
    size_t pending; /* requests without a result */
    bool asking;    /* for the verdict on a stream that answered LOST */
    bool gone;      /* closed by the application: freed with the last result */
};

/* Lock held. Its outcome is known: tell who waits, give the rest to poll. */
void sg_outbatch_done(sg_outbatch *b, seg_status status, const seg_error *err);
/* Lock held. It is given up: as unknown where an answer of it was lost. Leaves its list. */
void sg_outbatch_fail(sg_outbatch *b, seg_status status, const char *text);
/* Lock held. Nobody needs it any more; freed with its request's answer where it is under way. */
void sg_outbatch_dispose(sg_outbatch *b);
/* Lock held. Cut it after its first n messages: the rest is returned, numbered on. NULL: no memory. */
sg_outbatch *sg_outbatch_split(sg_outbatch *b, uint32_t n);
/* Lock held. The open batch, which there is, gets no more: on to ready. */
void sg_lane_close_open(sg_lane *lane);
/* Lock held. Every batch that is not under way ends so; what is comes back here by itself. */
void sg_producer_fail_all(seg_producer *p, seg_status status, const char *text);

int64_t sg_producer_run(void *arg, int64_t now); /* the actor's */
void sg_producer_free(seg_producer *p);
#endif
