/* member.h - one member of a group: the state machine between the coordinator's answers and a
 * consumer's partitions. Pure: times come in as arguments (ms of one clock that never steps), what
 * to do comes out. Not thread-safe.
 *
 *              answer lists it                  answer says give          drained, committed
 *    (none) ───────────────────> HELD ──────────────────────> GIVING ──────────────────────┐
 *       ^    change GRANTED       │        change REVOKED       │     sg_member_released   v
 *       ├─────────────────────────┴─────────────────────────────┘                      RELEASED
 *       │  not listed any more, or under another epoch: change LOST                        │
 *       └──────────────────────────────────────────────────────────────────────────────────┘
 *                                    the next sync hands it back
 *
 * A partition that is GIVING goes through RELEASED even if the coordinator has changed its mind: it
 * then comes back as a new grant. Safety does not rest on this module (epochs fence at the cursor);
 * liveness does. */
#ifndef SG_CORE_MEMBER_H
#define SG_CORE_MEMBER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sg_member sg_member;

/* Session timeout in ms; partitions of the stream. NULL: no memory. */
sg_member *sg_member_new(int64_t session_timeout, uint32_t partitions);
void sg_member_free(sg_member *m);

/* ---- asking the coordinator --------------------------------------------------------------- */

typedef enum sg_member_op { SG_MEMBER_JOIN, SG_MEMBER_BEAT, SG_MEMBER_LEAVE } sg_member_op;
typedef struct sg_member_ask {
    sg_member_op op;
    uint64_t version, floor;
    const uint32_t *released; /* partitions to hand back ... */
    const uint64_t *epochs;   /* ... and their epochs */
    size_t n_released;
} sg_member_ask;

/* When to ask next, INT64_MAX while an answer is awaited or all is over. */
int64_t sg_member_due(const sg_member *m);
/* Ask now: fills `out` (borrowed until the next call of sg_member_ask) and waits for an answer. */
void sg_member_ask_now(sg_member *m, int64_t now, sg_member_ask *out);
/* The question could not be sent or its answer was lost; ask again after `retry` ms. */
void sg_member_unanswered(sg_member *m, int64_t now, int64_t retry);

typedef struct sg_grant {
    uint32_t partition;
    bool give;
    uint64_t epoch;
} sg_grant;
typedef enum sg_member_end {
    SG_END_NONE,
    SG_END_LEFT,
    SG_END_REPLACED,
    SG_END_OTHER
} sg_member_end;

/* A member in good standing. `deadline`: ms until somebody else's lease may run out, or -1.
 * `listed`: the grants are what is ours now, all of it; otherwise nothing has changed since
 * `version`. */
void sg_member_answered(sg_member *m, int64_t now, uint64_t version, int64_t deadline, bool listed,
                        const sg_grant *grants, size_t n);
/* Expired: everything is lost, join again at once. */
void sg_member_expired(sg_member *m, int64_t now);
/* It is over: left, replaced, or the group is gone. What was held becomes LOST. */
void sg_member_ended(sg_member *m, sg_member_end why);

/* ---- what the consumer tells -------------------------------------------------------------- */

void sg_member_wake(sg_member *m); /* ask as soon as possible */
/* The connection is another one, and the server perhaps another, or its state an older one, in
 * which our version may name other content: ask for all of it. */
void sg_member_recall(sg_member *m);
/* The partition under that epoch needs no more: hand it back with the next question. */
void sg_member_released(sg_member *m, uint32_t partition, uint64_t epoch);
/* Its cursor knows the later epoch `stored`: ask for a new grant above it. */
void sg_member_stale(sg_member *m, uint32_t partition, uint64_t epoch, uint64_t stored);
void sg_member_leave(sg_member *m); /* the next question says good-bye */
/* It has left, and begins anew: the next question joins, at once. */
void sg_member_rejoin(sg_member *m, int64_t now);

/* ---- what it learns ----------------------------------------------------------------------- */

typedef enum sg_member_what { SG_PART_GRANTED, SG_PART_REVOKED, SG_PART_LOST } sg_member_what;
typedef struct sg_member_change {
    sg_member_what what;
    uint32_t partition;
    uint64_t epoch;
} sg_member_change;
bool sg_member_change_next(sg_member *m, sg_member_change *out);

bool sg_member_joined(const sg_member *m); /* known to the coordinator, as far as we know */
sg_member_end sg_member_over(const sg_member *m);
/* The lease counts from when the question was sent. Until then messages may be handed out: a margin
 * before the coordinator may give our partitions to others. INT64_MIN before the first answer. */
int64_t sg_member_safe_until(const sg_member *m);
#endif
