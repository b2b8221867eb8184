/* tracing.h - the application's tracer: a client's, called for what is sent and what is handled. */
#ifndef SG_ENGINE_TRACING_H
#define SG_ENGINE_TRACING_H
#include "core/trace.h"
#include "engine/client.h"

/* A record with the headers that the tracer has added. They are its last ones, and live here. */
typedef struct sg_traced {
    seg_record record;
    size_t added; /* headers */
    char parent[SEG_TRACEPARENT + 1];
    seg_trace_send send;
    seg_bytes few[2 * 16];
    seg_bytes *headers; /* few, or on the heap */
} sg_traced;

/* Copy the client options' tracer; NULL: none. */
seg_status sg_tracer_copy(seg_tracer *out, const seg_tracer *given, seg_error *err);

/* Ask the tracer, if there is one, what to add to a record that was checked. `delivery`, `input`: of
 * its input, or NULL. True: t is set, and wants sg_traced_fini. False with SEG_OK: the record goes as it
 * is. No lock held. */
bool sg_trace_record(const seg_client *c, const char *stream, const seg_record *r,
                     const seg_delivery *delivery, const seg_trace_context *input, sg_traced *t,
                     seg_status *status, seg_error *err);
void sg_traced_fini(sg_traced *t);

/* Around a handler. No lock held. */
void *sg_trace_begin(const seg_client *c, const char *stream, const char *group,
                     const seg_message *m);
void sg_trace_end(const seg_client *c, void *span, seg_verdict verdict, const seg_settlement *how);
#endif
