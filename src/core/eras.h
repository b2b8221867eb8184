/* eras.h - the eras of a partition's log: which there are, and where each begins.
 *
 * Offsets are dense over all eras. An era ends where the server was found to be another one, or to
 * have been restarted; what it had lost by then is not there when the next era begins:
 *
 *     era 1           0 1 2 3 4 5 (6 7: lost)
 *     era 1700000000000            6 7 8 9              text: "1:0 1700000000000:6"
 *
 * So whoever has read or stored something up to a place of an era can tell what of it survived:
 * what lies before the beginning of the next era. An era in which nothing survived is not listed.
 * Knows no server and no clock. */
#ifndef SG_CORE_ERAS_H
#define SG_CORE_ERAS_H
#include <segmenter/segmenter.h>

typedef struct sg_era {
    uint64_t era, start; /* start: its first offset */
} sg_era;

/* Ascending by both. Zeroed: none. */
typedef struct sg_eras {
    sg_era *all;
    size_t n;
} sg_eras;

/* Take over what the server's text lists. SEG_ENOMEM; SEG_EPROTO: it is no such list. `e` is as it
 * was then. */
seg_status sg_eras_read(sg_eras *e, seg_bytes text);
/* Add those that are newer than all of `e`; the older ones stay, also where the server has forgotten
 * them. False: no memory, nothing changed. */
bool sg_eras_follow(sg_eras *e, const sg_eras *fresh);
void sg_eras_fini(sg_eras *e);

uint64_t sg_eras_newest(const sg_eras *e); /* 0: none is listed */
bool sg_eras_has(const sg_eras *e, uint64_t era);
/* The era of the message with that offset. */
uint64_t sg_eras_of(const sg_eras *e, uint64_t offset);
/* The place behind the message before `offset`, from which an XREAD goes on: its era. */
uint64_t sg_eras_before(const sg_eras *e, uint64_t offset);
/* Somebody knows of the messages before `end`, of which the last is of that era, and knew of the
 * eras `before`. Is one of them gone from a log with the eras `e` that ends before `next`? `first`:
 * the first one that is. */
bool sg_eras_lost(const sg_eras *e, const sg_eras *before, uint64_t era, uint64_t end,
                  uint64_t next, uint64_t *first);
#endif
