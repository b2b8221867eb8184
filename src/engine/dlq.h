/* dlq.h - the dead letters of one group of one stream, to look at (dlq.c) and to move (dlq_move.c).
 *
 *   "s.g.dlq"   . . L L . L g L L     L a letter of ours; g another's, or no letter at all;
 *                                     . acknowledged by the group "dlq"
 *
 * A replay of some of them; the target's partitions are in other slots:
 *
 *   cursor of "dlq"          target              where they are
 *   note "to t: 3, 5"                            here; from now on everybody finishes this first
 *                            3, 5 stored, once   here and there, known as the same
 *   3, 5 acknowledged                            there
 *   note empty                                   there
 *
 * The note is emptied only after all of its letters are acknowledged in the window, and a commit
 * stores what the window and the note are at one moment. So a commit in between may have
 * acknowledgements with the note, which is harmless: who finishes it finds these letters gone. None
 * can have an empty note without the acknowledgements, which would forget what was sent. */
#ifndef SG_ENGINE_DLQ_H
#define SG_ENGINE_DLQ_H
#include <stdatomic.h>

#include "base/thread.h"
#include "engine/client.h"
#include "engine/message.h"
#include "redis/ops.h"

/* What the headers of a letter say: views into its record. */
typedef struct sg_letter_facts {
    seg_bytes stream, group, reason, error;
    uint32_t partition, attempts;
    uint64_t era, offset;
    int64_t first, last;
    seg_bytes headers; /* the message's own, encoded */
    uint32_t n_headers;
} sg_letter_facts;

/* False where it is no dead letter, whatever its headers hold. */
bool sg_letter_read(const sg_record_view *v, sg_letter_facts *out);

#define SG_INTENT_MAX 256

/* What a note says: these letters of the partition are on their way to the target. */
typedef struct sg_intent {
    char target[SG_NAME_MAX + 1];
    uint64_t era;
    size_t n;                        /* 0: there is none */
    uint64_t offsets[SG_INTENT_MAX]; /* ascending */
} sg_intent;

/* "replay 1 TARGET ERA OFFSET OFFSET ...". False: no memory. */
bool sg_intent_write(const sg_intent *i, sg_buf *out);
/* False where it is anything else. An empty note is none: n is 0. */
bool sg_intent_read(seg_bytes note, sg_intent *out);
bool sg_intent_has(const sg_intent *i, uint64_t offset);

struct sg_dlq_chunk;

struct seg_dlq {
    seg_client *client;
    sg_stream origin, stream; /* the stream, and the one of its dead letters */
    char of[SG_NAME_MAX + 1]; /* the group whose dead letters they are */
    sg_group group;           /* the one that is what is still there */
    atomic_flag busy;

    /* Reading. */
    uint32_t partition;
    uint64_t at, end; /* the next offset to read; where this round ends, UINT64_MAX: not known */
    uint64_t count;   /* entries to ask for */
    struct sg_dlq_chunk *chunk;
    seg_letter letter;
    seg_message message;
    char reason[64], error[256];

    /* Moving. */
    seg_consumer *consumer; /* in the group; NULL until the first move */
    uint64_t *epochs;       /* by partition: under which its note is known to be empty */
    sg_mutex lock;          /* guards pending and what the outcomes are written to */
    sg_cond changed;
    size_t pending; /* outcomes to come */
};

/* Is it one of these, and not of another stream and group whose names make the same name? */
bool sg_dlq_owns(const seg_dlq *q, const sg_letter_facts *f);
/* One thread at a time: EBUSY. */
seg_status sg_dlq_enter(seg_dlq *q, seg_error *err);
void sg_dlq_leave(seg_dlq *q);
/* Letters were moved: what was read, and not looked at, is read again. What was borrowed dies. */
void sg_dlq_reread(seg_dlq *q);
/* Leave the group. (dlq_move.c) */
void sg_dlq_stop_moving(seg_dlq *q);
#endif
