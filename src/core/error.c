/* error.c - the text is made apart and copied last: a caller may wrap an error by passing its own
 * text as an argument. */
#include "core/error.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"

seg_status sg_fail(seg_error *err, seg_status status, const char *fmt, ...) {
    if (err == NULL)
        return status;
    seg_error made = {.status = status};
    va_list ap;
    va_start(ap, fmt);
    sg_text_vprint(made.text, sizeof made.text, fmt, ap);
    va_end(ap);
    *err = made;
    return status;
}

seg_status sg_fail_nomem(seg_error *err) {
    return sg_fail(err, SEG_ENOMEM, "%s", seg_status_text(SEG_ENOMEM));
}
