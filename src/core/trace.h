/* trace.h - the header "traceparent" of a record: found and read. The public functions are in
 * <segmenter/trace.h>. */
#ifndef SG_CORE_TRACE_H
#define SG_CORE_TRACE_H
#include <segmenter/segmenter.h>

#include "core/batch.h"

#define SG_TRACEPARENT_NAME "traceparent"
#define SG_TRACESTATE_NAME  "tracestate"

bool sg_trace_is_parent(seg_bytes name);
/* The context of a record's headers: of the one "traceparent" that there is, well-formed. */
bool sg_trace_of(const sg_record_view *r, seg_trace_context *out);
#endif
