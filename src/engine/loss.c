#include "engine/loss.h"

#include <inttypes.h>

#include "core/error.h"

seg_status sg_loss_error(const seg_loss *l, seg_error *err) {
    if (l->what == SEG_LOST_ACKS)
        return sg_fail(err, SEG_ELOST,
                       "the server lost acknowledgements of partition %" PRIu32
                       ": up to offset %" PRIu64 " they were stored, and now only up to %" PRIu64
                       "; what lies between may be delivered again",
                       l->partition, l->end, l->first);
    return sg_fail(err, SEG_ELOST,
                   "the server lost messages of partition %" PRIu32 ": era %" PRIu64
                   " ends before offset %" PRIu64 " now, and was known up to %" PRIu64,
                   l->partition, l->era, l->first, l->end);
}

seg_loss sg_loss_join(const seg_loss *before, const seg_loss *now) {
    seg_loss both = *now;
    if (before->end > 0 && before->first < both.first)
        both.first = before->first;
    if (before->end > both.end)
        both.end = before->end;
    return both;
}

void sg_loss_log(sg_log *log, const char *stream, const seg_loss *l) {
    seg_error err;
    sg_loss_error(l, &err);
    sg_log_write(log, SEG_LOG_ERROR, "lost", "stream %s: %s", stream, err.text);
}
