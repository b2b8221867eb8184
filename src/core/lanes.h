/* lanes.h - which messages of one partition have to wait, for what, and which of them comes next.
 * Pure: times come in as arguments. Not thread-safe.
 *
 * A lane is what has to stay in order: a key (its hash), the whole partition, or a single message
 * alone. A message is in here from when it has to wait until it is handed out: as it failed and
 * waits for its time, or as an earlier one of its lane is in its way. In a lane they stand by
 * offset, and only the first can be handed out, though each is called when its own time comes:
 *
 *   lane K:  12 called ── 15 ready ── 19 ready      12's time has come, it is being announced:
 *   lane L:  13 ready                               15 and 19 wait for it; 13 is next
 *   lane M:  (16 is out) ── 17 ready                strict: 17 waits until 16 is settled
 *
 *                   sg_lanes_call          sg_lanes_ready         first of its lane, none out
 *     WAITING ────────────────────> CALLED ───────────────> READY ───────────────────────────> next
 *     (sg_lanes_wait, due > 0) <────────── sg_lanes_postpone  (also sg_lanes_wait with due 0)
 *
 * `strict` is for handlers in parallel: a lane of which a message is out (handed out, not settled)
 * hands out no other. Otherwise only what waits in here is in the way. */
#ifndef SG_CORE_LANES_H
#define SG_CORE_LANES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sg_lanes sg_lanes;

sg_lanes *sg_lanes_new(bool strict);  /* NULL: no memory */
void sg_lanes_be_strict(sg_lanes *l); /* from now on; nothing that was handed out counts as out */
void sg_lanes_free(sg_lanes *l);

/* Nothing waits and (strict) nothing is out: what is next may go without knowing its lane. */
bool sg_lanes_idle(const sg_lanes *l);
/* Must a message that is not in here wait for others of `lane`? */
bool sg_lanes_blocked(const sg_lanes *l, uint64_t lane);

/* `offset` has to wait in `lane`, until `due` (> 0), or only for its turn (0). It is not in here:
 * one that is stays as it is (true). False: no memory, nothing changed. */
bool sg_lanes_wait(sg_lanes *l, uint64_t lane, uint64_t offset, int64_t due);
/* Call one whose time has come, in order of due, then offset: false where there is none. */
bool sg_lanes_call(sg_lanes *l, int64_t now, uint64_t *offset);
/* One that was called may go. Nothing where it is not in here, or not CALLED. */
void sg_lanes_ready(sg_lanes *l, uint64_t offset);
/* Call it back to where it was before: its time comes (again) at `due`. The same. */
void sg_lanes_postpone(sg_lanes *l, uint64_t offset, int64_t due);

/* The lowest offset that may be handed out; false where there is none. It stays in here. */
bool sg_lanes_next(const sg_lanes *l, uint64_t *offset);
/* Take one out, from wherever it stands: it is handed out, or settled. False: it is not in here. */
bool sg_lanes_remove(sg_lanes *l, uint64_t offset);

/* Strict: one of `lane` is out now (false: no memory, nothing changed); one that was is no more.
 * They are counted, and one more in than out is nothing. While one of `lane` is in here or out,
 * sg_lanes_out cannot fail: for what is handed out from here, call it first, then sg_lanes_remove.
 * Not strict: nothing happens, true. */
bool sg_lanes_out(sg_lanes *l, uint64_t lane);
void sg_lanes_in(sg_lanes *l, uint64_t lane);

int64_t sg_lanes_due(const sg_lanes *l);  /* when the next is to be called; INT64_MAX */
size_t sg_lanes_count(const sg_lanes *l); /* in here */
bool sg_lanes_has(const sg_lanes *l, uint64_t offset);
#endif
