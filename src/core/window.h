/* window.h - one partition in one consumer's hands: what was delivered, what is acknowledged, and
 * what a commit says of it. Pure: time comes in as an argument. Not thread-safe.
 *
 *   offsets   . . . . d a d d a w d - - - - - - - - -
 *                     ^committed    ^next             ^high
 *   a acknowledged, d in flight (delivered, not settled), w waiting to be delivered again (failed
 *   or released), - not delivered yet; next: the first offset not delivered in this window; high: a
 *   commit has stored that all below it may have been delivered
 *
 * `committed` is the first offset that is not acknowledged: it moves on by itself as acks close the
 * gap. The ack map is what is acknowledged past it; a commit stores both, and the next owner loads
 * both, so that nothing acknowledged is delivered again. The span next - committed never passes
 * `capacity`, which bounds memory and the ack map when the first message stays unacknowledged.
 *
 * Attempts across crashes. Before a message is delivered, the server knows that it may be:
 *
 *   the first delivery    its offset is below `high`, which a commit of this owner stored before
 *   a further one         it is marked OUT in the tries, which a commit made after the mark stored
 *
 * So the next owner after a crash adds one attempt to just these (sg_window_raise): a message never
 * has fewer attempts than deliveries, and has exactly as many unless it was in hand. The tries are
 * runs of offsets with the same entry:
 *
 *   failures so far     attempts that were handled and did not succeed, or died with their owner
 *   OUT                 delivered again, or about to be
 *   ALONE               with OUT: and nothing else of its consumer is; without: so it was when its
 *                       last owner died, and so it is what killed it, or as good as
 *   first, last         failure, in seconds
 *
 * What has no entry has not failed; below `high` it may be in hand. What waits though it never
 * failed (it was released) has an entry with 0 failures, which says that it is not in hand; the
 * next owner does not keep that. */
#ifndef SG_CORE_WINDOW_H
#define SG_CORE_WINDOW_H
#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct sg_window sg_window;

/* Start at `committed` with nothing delivered. capacity: 1..65536. NULL: no memory. */
sg_window *sg_window_new(uint64_t committed, uint32_t capacity);
void sg_window_free(sg_window *w);

/* Load an ack map that a commit at this same `committed` wrote; before the first delivery. False
 * where the bytes are malformed or reach past 65536 offsets (sg_ackmap_count is false too), or
 * where there is no memory (it is true): nothing is loaded then. An ack map of a larger window than
 * this one's capacity is kept whole: what is beyond stays acknowledged. */
bool sg_window_load(sg_window *w, const void *map, size_t len);

/* What to do with the message at `offset`, fetched and about to be delivered:
 *   SG_DELIVER  not seen yet, there is room: sg_window_deliver it
 *   SG_SKIP     below committed, or acknowledged, or in flight or waiting already
 *   SG_HOLD     past the capacity: try again when committed has moved */
typedef enum sg_window_fate { SG_DELIVER, SG_SKIP, SG_HOLD } sg_window_fate;
sg_window_fate sg_window_fate_of(const sg_window *w, uint64_t offset);

/* Hand out `offset` (fate DELIVER, or in flight already, or waiting): in flight until `deadline`
 * (INT64_MAX: without one). Returns the attempt, one more than its failures: 1 at first. Delivered
 * while it is in flight, it has failed once more, at an unknown time. A further delivery that was
 * not marked is marked now, for the next commit. 0: no memory, or the fate is HOLD, or it is
 * settled; nothing changed. */
uint32_t sg_window_deliver(sg_window *w, uint64_t offset, int64_t deadline);

/* It was delivered, and this attempt of it failed at `wall` (ms since 1970; 0: not known): one more
 * failure, and it waits until it is delivered again. False where it is not in flight. */
bool sg_window_fail(sg_window *w, uint64_t offset, int64_t wall);
/* It was delivered, and was not handled: it waits, and the attempt does not count (the next one has
 * its number again). False where it is not in flight. */
bool sg_window_release(sg_window *w, uint64_t offset);
/* Give it another deadline; needs no memory. False where it is not in flight. */
bool sg_window_extend(sg_window *w, uint64_t offset, int64_t deadline);
bool sg_window_waits(const sg_window *w, uint64_t offset);
/* Its deadline, where it is in flight; INT64_MAX where it has none. */
int64_t sg_window_deadline_at(const sg_window *w, uint64_t offset);
bool sg_window_in_flight_at(const sg_window *w, uint64_t offset);
/* Is it in flight, as this attempt? */
bool sg_window_in_hand(const sg_window *w, uint64_t offset, uint32_t attempt);

/* One that waits, or has failed before this window (sg_window_failures), is about to be delivered
 * again: marked OUT, maybe ALONE, in what the next commit stores, so that it counts should we die
 * with it; deliver it once such a commit is stored. It waits from now on (its fate is SKIP), unless
 * it is in flight. Failing, its release and its acknowledgement take the mark off. False: no
 * memory, past the capacity, or acknowledged; nothing changed. */
bool sg_window_mark(sg_window *w, uint64_t offset, bool alone);
bool sg_window_marked(const sg_window *w, uint64_t offset);
/* It is not delivered after all. Nothing where it does not wait. */
void sg_window_unmark(sg_window *w, uint64_t offset);

/* What is known of the failures of `offset`; all 0 where it is acknowledged. */
typedef struct sg_failures {
    uint32_t count;      /* attempts that failed; counting ends at 2^20 - 1 */
    bool alone;          /* its last owner died with it out alone, and it has not failed since */
    int64_t first, last; /* ms since 1970, whole seconds where the cursor told them; 0: not known */
} sg_failures;
sg_failures sg_window_failures(const sg_window *w, uint64_t offset);
/* The first offset at or past `from` (and committed) that is neither acknowledged nor in flight and
 * has failed at least `count` times (at least once), here or before; it may be past the capacity.
 * False where there is none. */
bool sg_window_failed(const sg_window *w, uint64_t from, uint32_t count, uint64_t *offset);

/* Offsets jumped over that hold no message for us (trimmed, or not ours): as if acknowledged, so
 * that committed can pass them. `to` is exclusive, any number may be skipped at once, also past the
 * capacity; what is in flight or waits in it stays so, and holds committed until it is
 * acknowledged. False: no memory; maybe a part is skipped, call it again. */
bool sg_window_skip(sg_window *w, uint64_t from, uint64_t to);

/* Acknowledge what is in flight or waits. SG_ACK_NEW: counted now; SG_ACK_OLD: was acknowledged
 * before (or is below committed); SG_ACK_NEVER: was neither delivered nor marked. */
typedef enum sg_window_ack_result { SG_ACK_NEW, SG_ACK_OLD, SG_ACK_NEVER } sg_window_ack_result;
sg_window_ack_result sg_window_ack(sg_window *w, uint64_t offset);

/* The same for `n` offsets from `from` on, as far as each of them is in flight; how many that were. */
uint32_t sg_window_ack_run(sg_window *w, uint64_t from, uint32_t n);

uint64_t sg_window_committed(const sg_window *w);
uint32_t sg_window_in_flight(const sg_window *w); /* delivered, not settled */
uint32_t sg_window_beyond(const sg_window *w);    /* acknowledged at or past committed */
bool sg_window_acked(const sg_window *w, uint64_t offset);

/* The earliest deadline of what is in flight; INT64_MAX where nothing has one. Amortised O(1). */
int64_t sg_window_deadline(sg_window *w);
/* Take one offset whose deadline is at or before `now`, in order of deadline, then of offset; it
 * stays in flight, with no deadline until it is delivered again or extended (and may be settled
 * meanwhile: the caller calls sg_window_fail). False where there is none. */
bool sg_window_expire(sg_window *w, int64_t now, uint64_t *offset);

/* A number that changes whenever what a commit would say of acknowledgements, failures and marks
 * changes. First deliveries, deliveries of what is marked, and deadlines do not change it. */
uint64_t sg_window_version(const sg_window *w);

/* Append the ack map: pairs of varints (gap, run) from `committed` on: `gap` offsets not
 * acknowledged, then `run` acknowledged (both at least 1). Empty where nothing is. What was skipped
 * past 65536 offsets is left out: the next owner finds again that there is nothing. False: no
 * memory, `out` is as before. */
bool sg_window_map(const sg_window *w, sg_buf *out);

/* Load the tries that a commit at this same `committed` wrote, after the ack map and before the
 * first delivery. As sg_window_load: false where malformed (sg_tries_check is false too), or no
 * memory. */
bool sg_window_load_tries(sg_window *w, const void *tries, size_t len);
/* The owner before died, or was cut off: what may have been in its hands has failed once more, at
 * `wall` (ms since 1970, counted in seconds): all that is marked OUT, and all below `high` that is
 * neither acknowledged nor in the tries. Call it once, after loading and before the first delivery
 * or mark. `high` may be anything; at most 65536 offsets from committed count. False: no memory,
 * nothing changed. */
bool sg_window_raise(sg_window *w, uint64_t high, int64_t wall);
/* Append the tries: from committed on, for each run five varints:
 *
 *   gap     offsets without an entry, may be 0
 *   run     offsets with this one, at least 1
 *   what    failures * 4 + ALONE * 2 + OUT; failures below 2^20
 *   first   failure, seconds since 1970, below 2^40; 0: not known
 *   last    failure, seconds after the first; first + last is below 2^40
 *
 * An acknowledged offset is in a gap or in a run, whichever is shorter: the ack map knows better.
 * What is in flight is written as such: with the failures before this attempt, and OUT unless this
 * is its first. Empty where nothing failed and nothing waits. False: no memory, `out` is as
 * before. */
bool sg_window_tries(const sg_window *w, sg_buf *out);
/* What the hand-over of a partition says in the place of sg_window_tries, when everything in flight
 * is given up: each is written as failed once more, and nothing as OUT. */
bool sg_window_tries_final(const sg_window *w, int64_t wall, sg_buf *out);
/* Well-formed, within 65536 offsets? */
bool sg_tries_check(const void *tries, size_t len);

/* What a cursor as it is stored tells of the messages from `committed` on, whoever may own them. */
typedef struct sg_survey {
    uint64_t acked;     /* acknowledged out of order */
    uint64_t in_flight; /* delivered and not settled, at most */
    uint32_t attempts;  /* most deliveries of one that is not acknowledged; 0: none was delivered */
} sg_survey;
/* `high`: below it all may have been delivered; `committed` or less: nothing is in anybody's hands. The rest
 * as a commit wrote it. False: one of the two is malformed. */
bool sg_survey_cursor(uint64_t committed, uint64_t high, seg_bytes acks, seg_bytes tries,
                      sg_survey *out);

/* The number of offsets an ack map covers as acknowledged; false where it is malformed (a zero, an
 * unfinished varint, past 65536 offsets). */
bool sg_ackmap_count(const void *map, size_t len, uint64_t *count);
#endif
