/* A consumer's application side: pauses, and what event loops are told. */
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

void sg_consumer_changed(seg_consumer *c) {
    sg_loop_served(c->client->loop, &c->wait);
    sg_cond_broadcast(&c->changed);
    if (c->idle > 0)
        sg_cond_signal(&c->work); /* who takes something wakes the next */
}

/* ---- descriptor --------------------------------------------------------------------------- */

void sg_consumer_signal(seg_consumer *c) {
    int64_t now = sg_clock_ms();
    if (!sg_event_is_open(&c->event))
        return;
    bool deliverable = sg_consumer_deliverable(c, now);
    if (!deliverable && c->buffered > 0 && !c->dry) {
        c->dry = true; /* as a poll would have found: others must be read for it */
        sg_loop_wake(&c->actor);
    }
    bool something = c->n_told > 0 || c->n_untold > 0 || atomic_load(&c->stopping) || c->closing ||
                     c->fault.status != SEG_OK || (c->resting && !c->back) || deliverable;
    sg_event_set(&c->event, something);
}

int seg_consumer_fd(seg_consumer *c) {
    if (c == NULL)
        return -1;
    sg_mutex_lock(&c->lock);
    int fd = sg_event_open(&c->event);
    sg_consumer_signal(c);
    sg_loop_wake(&c->actor); /* which looks again when the lease runs out */
    sg_mutex_unlock(&c->lock);
    return fd;
}

/* ---- pause -------------------------------------------------------------------------------- */

seg_status seg_consumer_pause(seg_consumer *c, uint32_t partition, bool paused, seg_error *err) {
    if (c == NULL)
        return sg_fail(err, SEG_EINVAL, "the consumer is NULL");
    uint32_t n = c->stream.partitions;
    if (partition != SEG_ALL_PARTITIONS && partition >= n)
        return sg_fail(err, SEG_EINVAL, "partition %u: stream \"%s\" has partitions 0 to %u",
                       partition, c->stream.name, n - 1);
    sg_mutex_lock(&c->lock);
    for (uint32_t p = 0; p < n; p++)
        if (partition == SEG_ALL_PARTITIONS || p == partition)
            c->paused[p] = paused;
    c->taken_at = sg_clock_ms(); /* a pause is no sign of being stuck */
    sg_loop_wake(&c->actor);
    sg_consumer_changed(c);
    sg_consumer_signal(c);
    sg_mutex_unlock(&c->lock);
    return SEG_OK;
}

bool seg_consumer_paused(const seg_consumer *c, uint32_t partition) {
    sg_mutex *lock = &((seg_consumer *)(uintptr_t)c)->lock;
    uint32_t n = c->stream.partitions;
    bool paused = partition == SEG_ALL_PARTITIONS || partition < n;
    sg_mutex_lock(lock);
    for (uint32_t p = 0; p < n; p++)
        if (partition == SEG_ALL_PARTITIONS || p == partition)
            paused = paused && c->paused[p];
    sg_mutex_unlock(lock);
    return paused;
}
