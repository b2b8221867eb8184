/* error.h - fill a caller's seg_error. */
#ifndef SG_CORE_ERROR_H
#define SG_CORE_ERROR_H
#include <segmenter/segmenter.h>

/* Set `err` (may be NULL) and return `status`, so that a failing function ends in one line. The
 * text is cut to fit at a UTF-8 boundary; control bytes become '?'. */
seg_status sg_fail(seg_error *err, seg_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Out of memory, with the usual text. */
seg_status sg_fail_nomem(seg_error *err);
#endif
