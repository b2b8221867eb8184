/* A consumer's application side: the note that is stored beside a partition's cursor. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/consumer.h"

/* Lock held. The holding under just this epoch. A later one of ours has a note of its own, which
 * came from the server: it must not be taken for, nor overwritten by, that of the earlier one. */
static seg_status find(seg_consumer *c, uint32_t partition, uint64_t epoch, sg_holding **out,
                       seg_error *err) {
    if (c->fault.status != SEG_OK)
        return sg_fail(err, c->fault.status, "%s", c->fault.text);
    sg_holding *h = sg_consumer_holding(c, partition, epoch);
    if (h == NULL || h->window == NULL || h->state != SG_ACTIVE)
        return sg_fail(err, SEG_EFENCED,
                       "partition %u is no longer owned by this consumer (under epoch %llu)",
                       partition, (unsigned long long)epoch);
    *out = h;
    return SEG_OK;
}

seg_status sg_consumer_set_note(seg_consumer *c, uint32_t partition, uint64_t epoch, seg_bytes note,
                                seg_error *err) {
    void *copy = note.len > 0 ? sg_memdup(note.data, note.len) : NULL;
    sg_holding *h = NULL;
    if (note.len > 0 && copy == NULL)
        return sg_fail_nomem(err);
    sg_mutex_lock(&c->lock);
    seg_status s = find(c, partition, epoch, &h, err);
    if (s == SEG_OK) {
        void *before = h->note;
        h->note = copy;
        h->note_len = note.len;
        copy = before;
        h->touched++;
        sg_consumer_todo(c, h);
    }
    sg_mutex_unlock(&c->lock);
    if (s == SEG_OK)
        sg_loop_wake(&c->actor);
    sg_free(copy);
    return s;
}

seg_status sg_consumer_get_note(seg_consumer *c, uint32_t partition, uint64_t *epoch, sg_buf *out,
                                seg_error *err) {
    sg_mutex_lock(&c->lock);
    sg_holding *h = partition < c->stream.partitions ? c->holdings[partition] : NULL;
    *epoch = h != NULL ? h->epoch : 0;
    seg_status s = find(c, partition, *epoch, &h, err);
    if (s == SEG_OK && !sg_buf_append(out, h->note, h->note_len))
        s = sg_fail_nomem(err);
    sg_mutex_unlock(&c->lock);
    return s;
}

seg_status sg_consumer_wait_stored(seg_consumer *c, uint32_t partition, uint64_t epoch,
                                   int64_t wait, seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), wait);
    sg_holding *h = NULL;
    sg_mutex_lock(&c->lock);
    seg_status s = find(c, partition, epoch, &h, err);
    uint64_t version = s == SEG_OK ? sg_holding_version(h) : 0;
    while (s == SEG_OK && h->stored_version < version) {
        int64_t left = deadline - sg_clock_ms();
        if (left <= 0) {
            s = sg_fail(err, SEG_ETIMEDOUT,
                        "partition %u: the server did not store its cursor in time", partition);
            break;
        }
        sg_cond_wait(&c->changed, &c->lock, left);
        s = find(c, partition, epoch, &h, err);
    }
    sg_mutex_unlock(&c->lock);
    return s;
}
