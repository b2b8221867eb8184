/* trace.h - messages in distributed traces: W3C Trace Context (https://www.w3.org/TR/trace-context/)
 * in the headers "traceparent" and "tracestate", and hooks for a tracing library, such as
 * OpenTelemetry's. Included by segmenter.h, whose opening words hold here too.
 *
 *     sending thread                                 worker of seg_consumer_run
 *     seg_send ── send hook ── header ──> log ──>    begin hook ── handler ── end hook
 *       the span that is current is written            a span is made, whose parent (or link)
 *                                                      is the header's context
 *
 * There is no hook for the outcome of a message: who makes spans that last so long ends them where
 * seg_send returns, or in the callback of seg_send_async. Who polls asks seg_message_trace. */
#ifndef SEGMENTER_TRACE_H
#define SEGMENTER_TRACE_H
#include <segmenter/segmenter.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* ---- The context -------------------------------------------------------------------------- */

/* A place in a trace. Neither id is all zero. The layout is frozen. */
typedef struct seg_trace_context {
    uint8_t trace_id[16];
    uint8_t span_id[8]; /* of the span whose children follow */
    uint8_t flags;      /* SEG_TRACE_SAMPLED; others are kept */
} seg_trace_context;

#define SEG_TRACE_SAMPLED  0x01
#define SEG_TRACEPARENT    55  /* bytes of a traceparent as we write it */
#define SEG_TRACESTATE_MAX 512 /* bytes of a tracestate, at most */

/* Read the value of a traceparent header, strictly. False: it is none, and counts as not there. Of
 * versions past 00 the flag "sampled" is read alone, and what follows it is passed over. */
SEG_API bool seg_trace_parse(seg_trace_context *out, seg_bytes text);
/* Write it as version 00, with an end. */
SEG_API void seg_trace_print(char out[SEG_TRACEPARENT + 1], const seg_trace_context *t);

/* The context of a message's one header "traceparent". False: it has none, more than one, or a
 * malformed one. Its "tracestate" is a header like any other. Any thread. */
SEG_API bool seg_message_trace(const seg_message *m, seg_trace_context *out);

/* ---- The hooks ---------------------------------------------------------------------------- */

/* A message that is about to be sent. Members are only added at the end. */
typedef struct seg_trace_send {
    const char *stream;
    const seg_record *record;
    const seg_delivery *delivery;   /* of seg_forward: the input; else NULL */
    const seg_trace_context *input; /* the input's context; NULL: it has none */
    /* To be set by the hook. */
    seg_trace_context context;
    char tracestate[SEG_TRACESTATE_MAX + 1]; /* "" as given: no such header */
} seg_trace_send;

/* Run by seg_send, seg_send_async and seg_forward, on the caller's thread, for a message without a
 * header "traceparent": true adds one with `context`, and a "tracestate" where that is set. They
 * count against max_message. Not part of what makes two outputs of seg_forward the same: an output
 * that is sent again may have another context, and the one that is stored stays. */
typedef bool seg_trace_send_fn(seg_trace_send *s, void *arg);

/* A message that is about to be handled. Members are only added at the end. */
typedef struct seg_trace_handle {
    const char *stream, *group;
    const seg_message *message;
    const seg_trace_context *parent; /* its context; NULL: it has none */
} seg_trace_handle;

/* Run around each handler of seg_consumer_run, on its thread; what `begin` returns is given to
 * `end`, with the handler's verdict and its details. */
typedef void *seg_trace_begin_fn(const seg_trace_handle *h, void *arg);
typedef void seg_trace_end_fn(void *span, seg_verdict verdict, const seg_settlement *how,
                              void *arg);

/* Hooks run on many threads at once, with no lock held. What they are given lives until they
 * return. They must not send. Each may be NULL. */
typedef struct seg_tracer {
    size_t size;
    seg_trace_send_fn *send;
    seg_trace_begin_fn *begin;
    seg_trace_end_fn *end;
    void *arg; /* of all three */
} seg_tracer;

#if defined(__cplusplus)
}
#endif
#endif
