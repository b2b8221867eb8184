/* dial.h - from a URL to a connected socket, without blocking: resolves, tries every address in
 * turn. Knows no protocol, no retries. */
#ifndef SG_REDIS_DIAL_H
#define SG_REDIS_DIAL_H
#include <segmenter/segmenter.h>

#include "core/url.h"
#include "redis/resolve.h"

typedef struct sg_dial {
    const sg_url *url; /* outlives it */
    int fd;            /* the socket that is being connected, or -1 */
    int64_t deadline;  /* of the whole, ms */
    int64_t until;     /* of the address under way */
    sg_lookup *lookup; /* under way, or NULL; outlives an attempt that it was too slow for */
    struct addrinfo *addresses, *next; /* `next` is tried next */
} sg_dial;

typedef enum sg_dial_state { SG_DIAL_BUSY, SG_DIAL_DONE, SG_DIAL_FAILED } sg_dial_state;

void sg_dial_init(sg_dial *d, const sg_url *url);
void sg_dial_fini(sg_dial *d);

/* Begin; past `deadline` it fails. Each of these gives the state: BUSY: call sg_dial_step when
 * sg_dial_fd has sg_dial_events, or at sg_dial_until. FAILED: `err` is set, nothing is open.
 * DONE: sg_dial_take. */
sg_dial_state sg_dial_start(sg_dial *d, int64_t now, int64_t deadline, seg_error *err);
sg_dial_state sg_dial_step(sg_dial *d, int64_t now, seg_error *err);

int sg_dial_fd(const sg_dial *d);
short sg_dial_events(const sg_dial *d);
int64_t sg_dial_until(const sg_dial *d);
int sg_dial_take(sg_dial *d);  /* the connected socket, non-blocking, the caller's */
void sg_dial_stop(sg_dial *d); /* give the attempt up */
#endif
