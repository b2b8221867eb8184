/* window.h - one partition in one consumer's hands: what was delivered, what is acknowledged, and
 * what a commit says of it. Pure: time comes in as an argument. Not thread-safe.
 *
 *   offsets   . . . . c a d d a d - - - -
 *                     ^committed      ^next: the first offset not delivered in this window
 *   a acknowledged, d in flight (delivered, not acknowledged), - not delivered yet
 *
 * `committed` is the first offset that is not acknowledged: it moves on by itself as acks close the
 * gap. The ack map is what is acknowledged past it; a commit stores both, and the next owner loads
 * both, so that nothing acknowledged is delivered again. The span next - committed never passes
 * `capacity`, which bounds memory and the ack map when the first message stays unacknowledged. */
#ifndef SG_CORE_WINDOW_H
#define SG_CORE_WINDOW_H
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
 *   SG_SKIP     below committed, or acknowledged, or in flight already
 *   SG_HOLD     past the capacity: try again when committed has moved */
typedef enum sg_window_fate { SG_DELIVER, SG_SKIP, SG_HOLD } sg_window_fate;
sg_window_fate sg_window_fate_of(const sg_window *w, uint64_t offset);

/* Hand out `offset` (fate DELIVER, or just returned by sg_window_expire): in flight until
 * `deadline`. Returns the attempt, 1 at first; 0: no memory, or the fate is HOLD or SKIP for
 * another reason than being in flight; nothing changed. */
uint32_t sg_window_deliver(sg_window *w, uint64_t offset, int64_t deadline);

/* Offsets jumped over that hold no message for us (trimmed, or not ours): as if acknowledged, so
 * that committed can pass them. `to` is exclusive, any number may be skipped at once, also past the
 * capacity; what is in flight in it stays so, and holds committed until it is acknowledged. False:
 * no memory; maybe a part is skipped, call it again. */
bool sg_window_skip(sg_window *w, uint64_t from, uint64_t to);

/* Acknowledge. SG_ACK_NEW: counted now; SG_ACK_OLD: was acknowledged before (or is below
 * committed); SG_ACK_NEVER: was never delivered. */
typedef enum sg_window_ack_result { SG_ACK_NEW, SG_ACK_OLD, SG_ACK_NEVER } sg_window_ack_result;
sg_window_ack_result sg_window_ack(sg_window *w, uint64_t offset);

uint64_t sg_window_committed(const sg_window *w);
uint32_t sg_window_in_flight(const sg_window *w); /* delivered, not acknowledged */
uint32_t sg_window_beyond(const sg_window *w);    /* acknowledged at or past committed */
bool sg_window_acked(const sg_window *w, uint64_t offset);

/* The earliest deadline of what is in flight; INT64_MAX where nothing is. Amortised O(1). */
int64_t sg_window_deadline(sg_window *w);
/* Take one offset whose deadline is at or before `now`, in order of deadline, then of offset; it
 * stays in flight, with no deadline until it is delivered again (and may be acknowledged
 * meanwhile). False where there is none. */
bool sg_window_expire(sg_window *w, int64_t now, uint64_t *offset);

/* A number that changes whenever what a commit would say changes. */
uint64_t sg_window_version(const sg_window *w);

/* Append the ack map: pairs of varints (gap, run) from `committed` on: `gap` offsets not
 * acknowledged, then `run` acknowledged (both at least 1). Empty where nothing is. What was skipped
 * past 65536 offsets is left out: the next owner finds again that there is nothing. False: no
 * memory, `out` is as before. */
bool sg_window_map(const sg_window *w, sg_buf *out);

/* The number of offsets an ack map covers as acknowledged; false where it is malformed (a zero, an
 * unfinished varint, past 65536 offsets). */
bool sg_ackmap_count(const void *map, size_t len, uint64_t *count);
#endif
