/* producer.h - the two halves of a producer: producer.c is what the application calls, append.c
 * what the loop thread does; both work on batches, outbatch.c. One lane for each partition:
 *
 *   seg_send*                                                             poll, flush, close
 *      │                                                                          ^
 *      v       full, or                                                           │
 *     open ── nothing flies ──> ready ── at most 5 ──> flying ──── outcome ────> done
 *                                 ^                      │
 *                                 └─ refused for now, or connection lost
 *
 * A lane keeps its batches in order. Where the first of those under way does not make it, the
 * server refuses those behind it as a gap, and all go back to `ready` in order.
 *
 * Sequences. Each batch takes the lane's next sequence numbers when it is first sent, and keeps
 * them over retries, so that the server stores it once. When a batch is given up after it was
 * sent, its numbers may or may not be used up: the lane begins a new generation at sequence 1,
 * and the server refuses every older one from then on. A copy of the old batch that some dead
 * connection still holds can then do no harm:
 *
 *   producer  A(gen 1, seq 1) ──lost──x      B(gen 2, seq 1) ──> stored
 *   network          └──────── held by a paused server ────────────────> A refused
 *
 * For the same reason a batch of which an answer was lost is never sent under another
 * generation: it may be stored already, and would be stored twice. It is given up, as unknown.
 *
 * Forwarded messages (sg_producer_forward) have an identity, by which the server stores each
 * once, whoever sends it. A batch is all forwarded or all plain; both keep their order in the
 * lane. The forwarded ones have no deadline, so deadlines rise along the lists only among the
 * plain ones.
 *
 * The server may answer a forwarded batch HELD: some of its messages are stored already, or not
 * wanted; none was stored now. Those leave the batch, and the rest takes numbers anew. So a
 * forwarded batch flies alone:
 *
 *   F(a b c d: 5 6 7 8) ──> HELD b   next_seq back to 5   F(a c d: 5 6 7) ──> stored, next_seq 8
 *
 * Where an answer of F was lost, a copy of the larger F may still come. What was held once is
 * held for ever, so b holds the copy back too; and once the smaller F is stored, 5 is used. Were
 * the larger one stored nevertheless, 8 would be used up as well, and the next batch be taken
 * for a copy of it and dropped, in silence. Nothing shall hang on that thread: the numbers go
 * back only where every copy was answered. Otherwise the rest goes under a new generation, where
 * the copy can do no harm:
 *
 *   the copy comes first     held; or stored, and the rest finds itself stored, by identity
 *   the rest comes first     the copy is refused: an older generation
 *
 * By the same token a forwarded batch that lost an answer is not given up when a new generation
 * begins, but sent under it. And it may be cut to the room that is left, where others may not:
 * its parts take its numbers in the same order, so where the whole was stored they are copies of
 * it. */
#ifndef SG_ENGINE_PRODUCER_H
#define SG_ENGINE_PRODUCER_H
#include "base/event.h"
#include "core/backoff.h"
#include "core/batch.h"
#include "engine/client.h"
#include "redis/ops.h"

#define SG_FLIGHTS 5 /* as HISTORY in scripts/append.lua */

/* A seg_send that waits, on its caller's stack. */
typedef struct sg_waiter {
    sg_cond cond;
    sg_wait wait;
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

/* The outcome of a forwarded message, `err` NULL where it is SEG_OK: it is stored, now or before.
 * EFENCED: a later owner of its input was there before. EPROTO: it differs from the one that is
 * stored in its place. Otherwise as of any message. On the loop thread of the producer's client,
 * with the producer's lock held: it must not call the producer. */
typedef void sg_forwarded_fn(void *arg, seg_status status, const seg_error *err);

/* What a forwarded message is known by: the index-th output of the message at `offset` of `input`,
 * which its owner `epoch` has sent. Below `base` nothing of this input is repeated any more. */
typedef struct sg_forward_id {
    char input[101]; /* 1 to 100 of [0-9a-z.] */
    uint64_t epoch, base, offset;
    uint32_t index;
    bool unchecked; /* it need not be the same each time: stored is stored */
    size_t traced;  /* so many of its headers, the last ones, need not */
} sg_forward_id;

typedef enum sg_held { SG_HELD_NOT = 0, SG_HELD_STORED, SG_HELD_FENCED, SG_HELD_DIFFERS } sg_held;

typedef struct sg_forward_slot {
    sg_forwarded_fn *fn;
    void *arg;
    sg_forward_id id;
    uint32_t hash; /* of id.input */
    uint32_t crc;  /* sg_forward_crc */
    sg_held held;  /* by the answer that is being read */
} sg_forward_slot;

typedef struct sg_outbatch {
    sg_node node; /* in its lane's ready or flying, or in the producer's done */
    seg_producer *producer;
    uint32_t partition;
    uint64_t id; /* order of creation in the producer, from 1 */
    sg_batch_writer writer;
    bool forwarding;
    sg_slot *slots;            /* one for each message, */
    sg_forward_slot *forwards; /* or, where it is forwarding, these */
    size_t room;
    size_t bytes;              /* of its messages, counted against max_queued until the outcome */
    bool callbacks, waiters;   /* some slot has one */
    bool sealed;               /* the bytes that are sent are made */
    bool in_request, disposed; /* freed once it is disposed and in no request */
    bool over;                 /* has an outcome */
    int64_t created, deadline; /* INT64_MAX where it is forwarding */
    uint64_t generation, first_seq; /* of its last sending; 0: never sent */
    bool unsure;                    /* a sending ended without an answer */

    seg_status status; /* the outcome */
    seg_error err;
    uint64_t era, offset; /* of its first message */
} sg_outbatch;

typedef struct sg_lane {
    sg_node busy; /* in the producer's busy while it has any batch */
    uint32_t partition;
    sg_outbatch *open;
    sg_list ready, flying;
    uint32_t n_flying;
    bool rewinding; /* nothing is sent until what is flying has come back */
    uint64_t generation, next_seq;
    int64_t used;         /* when it was last sent on */
    size_t usual_bytes;   /* of the last batch that was closed, */
    uint32_t usual_count; /* and its messages: the next one is about as large */
    int64_t not_before;
    sg_backoff backoff;
    bool full_told;    /* that forwarded messages wait for room */
    seg_error refusal; /* the last "not now"; status SEG_OK once something was stored again */

    /* Doubt (doubt.c): is the log still the one that we know? */
    seg_producer *producer;
    sg_eras eras;       /* as the last probe told them; none: it is in era 1 */
    seg_id known;       /* stored up to there, exclusive, in that era; offset 0: nothing */
    uint64_t known_seq; /* the last sequence number of this generation that is stored */
    bool doubtful;      /* nothing is sent before a probe was answered */
    bool probing;       /* it is under way */
    bool gap_told;      /* a gap was the reason; nothing was stored since */
    seg_loss loss;      /* that the application has to hear of; end 0: none */
} sg_lane;

struct seg_producer {
    sg_actor actor;
    seg_client *client;
    sg_stream stream;
    char id[33];
    int64_t linger, delivery_timeout;
    size_t max_batch, max_message, max_queued;
    size_t more_bytes, more_headers; /* than that, and HEADERS_MAX (sg_producer_widen) */
    uint32_t max_count;              /* messages of one batch */
    seg_codec codec;

    sg_mutex lock;   /* guards all below */
    sg_cond changed; /* done has something, or nothing is left, or there is room in the queue */
    sg_lane *lanes;
    sg_list busy, done;
    sg_event event; /* of seg_producer_fd: raised while done has something */
    uint64_t last_id;
    uint32_t turn; /* partition that the next batch without a key goes to */
    bool polling, closing;
    seg_loss_fn *on_loss;
    void *loss_arg;
    size_t n_losses; /* lanes with a loss to tell of, by callback or by ending the next send */
    seg_error fault; /* why it is over; status SEG_OK while it is not */
    seg_producer_stats stats;

    /* Loop thread only. */
    size_t pending; /* requests without a result */
    size_t sealed;  /* bytes, in this run */
    uint64_t life;  /* the connection: lanes that know of something doubt when it is a new one */
    bool asking;    /* for the verdict on a stream that answered LOST */
    bool gone;      /* closed by the application: freed with the last result */
};

/* ---- Forwarding ---------------------------------------------------------------------------- */

/* Queue a message that is to be stored once, however often and by whomever it is sent with this
 * identity. It is tried until it is stored, or the producer is over. SEG_OK promises exactly one
 * call of fn, possibly before this returns; any other status none. `wait`: for room in the queue,
 * as seg_send does; otherwise EFULL at once. A message without a key goes where its input says, so
 * that a repetition finds it. Any thread; on the loop thread without `wait`. */
seg_status sg_producer_forward(seg_producer *p, const seg_record *r, const sg_forward_id *id,
                               bool wait, sg_forwarded_fn *fn, void *arg, seg_error *err);
/* Take messages of so many bytes and headers more than the options say. Before it is used. */
void sg_producer_widen(seg_producer *p, size_t bytes, size_t headers);
/* Is it one that this producer takes? `out` is what it takes. */
seg_status sg_producer_check(const seg_producer *p, const seg_record *given, seg_record *out,
                             seg_error *err);
/* CRC-32C of a record's bytes in a batch (core/batch.h) but for its timestamp. */
uint32_t sg_forward_crc(const seg_record *r);

/* ---- Batches (outbatch.c): lock held ------------------------------------------------------- */

/* An empty one, in no list, whose first message takes `first` bytes. NULL: no memory. */
sg_outbatch *sg_outbatch_new(seg_producer *p, uint32_t partition, bool forwarding, size_t first);
/* Get the memory for so much at once. Where there is none it grows as ever. */
void sg_outbatch_expect(sg_outbatch *b, size_t bytes, uint32_t count);
/* May this message of so many bytes join it? `f` is NULL for a plain one. */
bool sg_outbatch_fits(const sg_outbatch *b, size_t size, const sg_forward_slot *f);
/* Add one, with the slot of its kind, and count it. False: no memory, nothing changed. */
bool sg_outbatch_put(sg_outbatch *b, const seg_record *r, size_t size, const sg_slot *slot,
                     const sg_forward_slot *f);
/* What a message costs beside its bytes, until its outcome was told. */
size_t sg_slot_size(bool forwarding);
/* The same of a batch, beside its messages, until all its callbacks ran. */
size_t sg_outbatch_overhead(bool forwarding);
/* Its outcome is known: tell who waits, give the rest to poll. */
void sg_outbatch_done(sg_outbatch *b, seg_status status, const seg_error *err);
/* It has its outcome, and nothing more of it will be sent. */
void sg_outbatch_drop_bytes(sg_outbatch *b);
/* It is given up: as unknown where an answer of it was lost. Leaves its list. */
void sg_outbatch_fail(sg_outbatch *b, seg_status status, const char *text);
/* Nobody needs it any more; freed with its request's answer where it is under way. */
void sg_outbatch_dispose(sg_outbatch *b);
/* Cut it after its first n messages: the rest is returned, numbered on. NULL: no memory. */
sg_outbatch *sg_outbatch_split(sg_outbatch *b, uint32_t n);
/* Forwarding: the server holds one of its messages so. False: there is none, or it is held. */
bool sg_outbatch_hold(sg_outbatch *b, uint64_t message, sg_held how);
/* What is held has its outcome, and leaves it. False: nothing is left, and it is gone. */
bool sg_outbatch_let_go(sg_outbatch *b);
/* The first of the list that has a deadline: no later one has an earlier. */
sg_outbatch *sg_outbatch_mortal(const sg_list *l);

/* ---- The rest: lock held ------------------------------------------------------------------- */

/* The open batch, which there is, gets no more: on to ready. */
void sg_lane_close_open(sg_lane *lane);
/* The descriptor tells whether done has something. */
void sg_producer_signal(seg_producer *p);
/* Every batch that is not under way ends so; what is comes back here by itself. */
void sg_producer_fail_all(seg_producer *p, seg_status status, const char *text);

/* Sent messages are given up: those numbers are not used again, later ones are of a new generation. */
void sg_lane_new_generation(sg_lane *lane);
/* An outcome that is none: of a batch in ready or flying. */
void sg_lane_give_up(sg_lane *lane, sg_outbatch *b, seg_status status, const char *text);
/* Where a LOST answer came from: is the stream gone? */
void sg_producer_verdict(seg_producer *p);

/* ---- Doubt (doubt.c): lock held, loop thread ----------------------------------------------- */

/* The log may be another one: a new connection, another era, a gap. */
void sg_lane_doubt(sg_lane *lane);
/* All that know of something doubt, where the connection is a new one. */
void sg_producer_doubt(seg_producer *p);
/* Probe. When to look again. */
int64_t sg_lane_probe(sg_lane *lane, int64_t now);
/* Era of what is sent now. */
uint64_t sg_lane_era(const sg_lane *lane);
/* The batch is stored: it is known from now on. */
void sg_lane_knows(sg_lane *lane, const sg_outbatch *b);

int64_t sg_producer_run(void *arg, int64_t now); /* the actor's */
void sg_producer_free(seg_producer *p);
#endif
