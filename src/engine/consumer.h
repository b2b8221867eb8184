/* consumer.h - the parts of a consumer. Application: consumer.c opens and closes; poll.c
 * delivers, to poll and to the workers of run.c; settle.c takes verdicts, forward.c outputs;
 * flow.c pauses and tells event loops. Loop thread: coordinate.c (group), cursor.c (cursors,
 * commits), fetch.c (messages), letters.c (dead letters).
 *
 *   loop thread                                                application
 *   group_sync ─> grants ─> acquire ─> holding ─┐
 *   XREAD BLOCK ─> blocks ──────────────────────┴─ holdings ─> poll ─> seg_batch, or handler
 *   commit <─ todo <──────────────────────────────  windows <─ settle
 *   letters <───────────────────────────────────────────────┘
 *
 * One lock guards everything that both touch. The loop thread takes it for each answer and each
 * round, never while it waits; the application for each call, never while a callback runs. */
#ifndef SG_ENGINE_CONSUMER_H
#define SG_ENGINE_CONSUMER_H
#include "base/event.h"
#include "core/member.h"
#include "engine/client.h"
#include "engine/holding.h"
#include "engine/letters.h"
#include "engine/loss.h"
#include "engine/producer.h"
#include "redis/ops.h"

/* What the application was told of a partition, and what it has still to be told. */
typedef struct sg_notice {
    uint64_t epoch; /* of the ownership that it was told of; 0: none */
    uint64_t heard; /* of which the callback has returned */
    bool revoked;   /* and that this is going */
    bool lost;      /* it ended by being lost */
    bool pending;   /* in the consumer's notices */
    uint64_t overtaken, overtaken_first, overtaken_era;
    seg_loss lost_messages, lost_acks; /* end 0: none */
} sg_notice;

struct seg_consumer {
    sg_actor actor;
    seg_client *client;
    sg_stream stream;
    sg_group group;
    char name[SG_NAME_MAX + 1], nonce[33], host[65];
    int64_t session_timeout, ack_timeout, drain_timeout;
    int64_t retry_delay, retry_delay_max, max_poll_interval;
    size_t max_prefetch, max_parked;
    uint32_t max_in_flight, max_attempts;
    uint32_t isolate_at; /* failures from which on a suspect is delivered alone; 0: never */
    seg_ordering ordering;
    bool is_static;
    seg_rebalance_fn *on_rebalance;
    void *rebalance_arg;
    seg_overtaken_fn *on_overtaken;
    void *overtaken_arg;
    seg_loss_fn *on_loss;
    void *loss_arg;
    atomic_bool stopping;
    atomic_uint references; /* one until it is closed and nothing is pending, one of each output */

    sg_mutex lock;             /* guards all from here */
    sg_cond changed;           /* poll, commit, open or close may have something to do */
    sg_wait wait;              /* of poll, for changed */
    sg_cond work;              /* a worker may */
    uint32_t idle;             /* workers that wait for it */
    bool running, strict;      /* in seg_consumer_run, or once there */
    struct sg_worker *workers; /* while running */
    uint32_t n_workers;
    sg_event event;    /* of seg_consumer_fd */
    sg_rng rng;        /* jitter of retries */
    bool *paused;      /* by partition */
    int64_t taken_at;  /* when the application took something, or tried to, last */
    int64_t next_look; /* when to look at that again */
    bool resting;      /* it took nothing for too long: out of the group until it does */
    bool back;         /* and it does */
    bool suspicious;   /* a holding may be */
    int64_t
        isolate_until; /* how long to wait for what is in flight before a suspect; 0: not waiting */
    sg_letters letters;
    bool detached; /* closed: nothing may be woken any more */
    char *
        *log_keys; /* by partition, made when first needed, kept: a fetch under way borrows them */
    sg_holding **holdings; /* by partition; NULL where it is not ours */
    sg_holding **owned;    /* the same, dense */
    size_t n_owned, turn;  /* turn: where the next poll begins */
    uint32_t stayed;       /* times that it stayed there */
    sg_list todo;
    sg_list partings;   /* partitions that were lost, of which it is to be asked what is left */
    sg_notice *notices; /* by partition */
    uint32_t *told;     /* partitions with a pending notice */
    size_t n_told;
    uint32_t *telling; /* of the callback under way */
    uint64_t ack_clock;
    bool acks_lost; /* a partition was lost before its acknowledgements were stored */
    bool joined, polling, closing;
    bool left;           /* the good-bye was said; nothing more comes of the group */
    int64_t safe_until;  /* nothing is handed out past it */
    int64_t next_expiry; /* no ack timeout runs out before it */
    int64_t close_deadline;
    size_t buffered; /* sum of the holdings', kept by them */
    bool dry;        /* the last look found nothing that it could deliver */
    size_t n_untold; /* losses that there is no callback for: each ends a poll */
    seg_error fault; /* why it is over; status SEG_OK while it is not */
    seg_consumer_stats stats;

    /* Loop thread only. */
    sg_member *member;
    sg_listener listener;
    char channel[SG_KEY_MAX];
    sg_backoff sync_backoff;
    size_t pending; /* requests without a result */
    bool gone;      /* closed by the application: freed with the last result */
    bool asking;    /* for the verdict on a stream that answered LOST */
    bool syncing;
    uint64_t life; /* which connections there are: changes when one comes up */
    struct sg_fetch {
        sg_conn *conn;
        uint64_t lives; /* times that it came up */
        bool under_way, unblocking;
        bool truncated;  /* not all that wanted reading fit into it */
        bool no_unblock; /* the server's user may not */
        int64_t since, not_before, unblock_at;
        size_t n;             /* partitions in it */
        uint32_t *partitions; /* room for all */
        uint64_t *epochs;
        sg_fetch_from *from;
        sg_entries entries; /* its answer */
        size_t turn;        /* where the next one begins when not all fit */
        size_t entry_bytes; /* the largest entry of late */
        uint64_t got_bytes; /* of the answer that is being read: entries as they came, */
        size_t got;         /* and how many */
        size_t unpacked;    /* bytes of the compressed entries of the answer that is being read */
        size_t count;   /* entries of a partition to ask for: grows as they turn out to be small */
        size_t spread;  /* partitions to ask for at most: grows in the same way */
        size_t in_vain; /* partitions asked since something came */
        sg_backoff backoff;
    } fetch;
};

/* A request for one partition: what its result needs, since the holding may be gone by then. */
typedef struct sg_errand {
    seg_consumer *consumer;
    uint32_t partition;
    uint64_t epoch, number;
    seg_id known; /* the place up to which the partition was read when it was sent */
} sg_errand;
sg_errand *sg_errand_new(seg_consumer *c, uint32_t partition, uint64_t epoch, uint64_t number);
/* First in a result function of an errand or of the consumer: counts the request as ended, takes
 * the lock; false where the consumer is gone: then it has been freed or will be, and nothing of it
 * may be touched. */
bool sg_consumer_enter(seg_consumer *c);
void sg_consumer_leave(seg_consumer *c); /* last: gives the lock up and wakes the actor */

/* All of these: lock held. */
/* Whoever waits has something to look at. */
void sg_consumer_changed(seg_consumer *c);
/* The descriptor tells what there is to do now. */
void sg_consumer_signal(seg_consumer *c);
/* Take up to `max` messages. False: no memory. (poll.c) */
bool sg_consumer_take(seg_consumer *c, seg_batch *b, size_t max, int64_t now);
/* It begins: its lanes, for handlers that still have messages of it. (run.c) */
void sg_consumer_carry(seg_consumer *c, sg_holding *h);
/* Would a poll have a message? (poll.c) */
bool sg_consumer_deliverable(seg_consumer *c, int64_t now);
/* Run the application's callbacks; gives the lock up meanwhile. (poll.c) */
void sg_consumer_tell(seg_consumer *c);
/* Lock held. It heard of a loss for which it has no callback: the call ends so. Once. */
bool sg_consumer_untold(seg_consumer *c, seg_error *err);
/* The application comes for more: a consumer that rests joins again. */
void sg_consumer_came(seg_consumer *c, int64_t now);
/* One verdict (settle.c): SEG_OK, SEG_EFENCED, SEG_EINVAL or SEG_ENOMEM. The caller wakes the
 * loop. */
seg_status sg_consumer_settle(seg_consumer *c, const seg_delivery *d, seg_verdict verdict,
                              const seg_settlement *how);
/* The message is settled: of its outputs nothing has to be known any more. Or: its delivery is
 * over, and it comes again. (settle.c) */
void sg_consumer_close_outputs(sg_holding *h, uint64_t offset);
void sg_consumer_leave_outputs(sg_holding *h, uint64_t offset);
/* A message is settled for good, as acknowledged. (settle.c) */
sg_window_ack_result sg_consumer_settled(seg_consumer *c, sg_holding *h, uint64_t offset);
/* An attempt has failed: again after `delay` (0: by backoff, negative: at once), or to the dead
 * letters as `why`. (settle.c) */
void sg_consumer_failed(seg_consumer *c, sg_holding *h, uint64_t offset, uint32_t attempt,
                        int64_t delay, const char *why);
/* To the dead letters: from in hand, from the lanes, or a suspect that is convicted. False: no
 * memory, and nothing has changed. (letters.c) */
bool sg_consumer_bury(seg_consumer *c, sg_holding *h, uint64_t offset, const char *why);
/* What an output or letter of the message is known by (forward.c). */
void sg_consumer_identify(const seg_consumer *c, const sg_holding *h, uint64_t offset,
                          const char *kind, sg_forward_id *out);
/* Free what a holding's maps have, but the letters, which are on their way. (settle.c) */
void sg_consumer_forget(sg_holding *h);
sg_holding *sg_consumer_holding(seg_consumer *c, uint32_t partition, uint64_t epoch); /* or NULL */
/* Let what is overdue be delivered again; returns when the next is. */
int64_t sg_consumer_expire(seg_consumer *c, int64_t now);
void sg_consumer_todo(seg_consumer *c, sg_holding *h);
void sg_consumer_notice(seg_consumer *c, uint32_t partition);
void sg_consumer_overtaken(seg_consumer *c, sg_holding *h, uint64_t first, uint64_t count);
/* The server has lost what this consumer knew of the partition. */
void sg_consumer_loss(seg_consumer *c, const seg_loss *loss);
void sg_consumer_drop(seg_consumer *c, sg_holding *h, bool lost);

/* Application thread, lock not held: when all is over, it hears that its partitions are gone. */
void sg_consumer_tell_rest(seg_consumer *c);

/* Loop thread, lock held. */
/* It is over: keeps the first reason, and leaves the group. */
void sg_consumer_fail(seg_consumer *c, const seg_error *err);
/* A part of the stream is missing: find out what happened. */
void sg_consumer_verdict(seg_consumer *c);
/* A refusal: true where it may pass by itself, and the caller tries again; otherwise the
 * consumer is over. */
bool sg_consumer_may_pass(seg_consumer *c, const seg_error *err);
/* Send it: h->busy where that worked. */
void sg_consumer_acquire(seg_consumer *c, sg_holding *h); /* begin as the owner */
void sg_consumer_verify(seg_consumer *c, sg_holding *h);  /* is it still what we know? */
/* The same of one that is another's by now, and was not compared before. */
void sg_consumer_part(seg_consumer *c, sg_holding *h); /* takes its eras */
/* Returns when to look again. */
int64_t sg_consumer_ask_parted(seg_consumer *c, int64_t now);
void sg_consumer_free_parted(seg_consumer *c);
/* Commit what is settled; `final`: and hand over cleanly. */
void sg_consumer_store(seg_consumer *c, sg_holding *h, bool final);
int64_t sg_coordinate(seg_consumer *c, int64_t now);
int64_t sg_fetch_run(seg_consumer *c, int64_t now);
/* Give a reference back: the last one frees it. */
void sg_consumer_unref(seg_consumer *c);

/* The note that the group keeps beside a partition's cursor, stored with each commit (note.c).
 * Application thread, lock not held. EFENCED: the partition is not owned under that epoch any
 * more. Empty: none. */
seg_status sg_consumer_set_note(seg_consumer *c, uint32_t partition, uint64_t epoch, seg_bytes note,
                                seg_error *err);
/* Append it to `out`; `*epoch` is that of the ownership under which it is known. */
seg_status sg_consumer_get_note(seg_consumer *c, uint32_t partition, uint64_t *epoch, sg_buf *out,
                                seg_error *err);
/* Wait until the server has stored what a commit would say now: note and acknowledgements. */
seg_status sg_consumer_wait_stored(seg_consumer *c, uint32_t partition, uint64_t epoch,
                                   int64_t wait, seg_error *err);

/* Batches (poll.c): what a worker keeps. */
seg_batch *sg_batch_new(sg_pool *pool); /* the client's */
void sg_batch_clear(seg_batch *b);
#endif
