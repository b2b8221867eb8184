#include "engine/tracing.h"

#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "engine/message.h"

seg_status sg_tracer_copy(seg_tracer *out, const seg_tracer *given, seg_error *err) {
    *out = (seg_tracer){.size = sizeof *out};
    return sg_options_copy(out, sizeof *out, given, "tracer", err);
}

bool seg_message_trace(const seg_message *m, seg_trace_context *out) {
    return sg_trace_of(&m->view, out);
}

/* ---- sending ------------------------------------------------------------------------------ */

static bool has_parent(const seg_record *r) {
    for (size_t i = 0; i < r->n_headers; i++)
        if (sg_trace_is_parent(r->headers[2 * i]))
            return true;
    return false;
}

static void add(sg_traced *t, const char *name, const char *value, size_t len) {
    seg_bytes *at = t->headers + 2 * (t->record.n_headers + t->added++);
    at[0] = (seg_bytes){name, strlen(name)};
    at[1] = (seg_bytes){value, len};
}

static seg_status add_all(sg_traced *t, seg_error *err) {
    size_t n = t->record.n_headers;
    t->headers = t->few;
    if (n + 2 > sizeof t->few / sizeof *t->few / 2)
        t->headers = sg_calloc(n + 2, 2 * sizeof *t->headers);
    if (t->headers == NULL)
        return sg_fail_nomem(err);
    if (n > 0)
        memcpy(t->headers, t->record.headers, 2 * n * sizeof *t->headers);
    seg_trace_print(t->parent, &t->send.context);
    add(t, SG_TRACEPARENT_NAME, t->parent, SEG_TRACEPARENT);
    size_t len = strnlen(t->send.tracestate, SEG_TRACESTATE_MAX);
    if (len > 0)
        add(t, SG_TRACESTATE_NAME, t->send.tracestate, len);
    t->record.headers = t->headers;
    t->record.n_headers += t->added;
    return SEG_OK;
}

bool sg_trace_record(const seg_client *c, const char *stream, const seg_record *r,
                     const seg_delivery *delivery, const seg_trace_context *input, sg_traced *t,
                     seg_status *status, seg_error *err) {
    *status = SEG_OK;
    if (c->tracer.send == NULL || has_parent(r))
        return false;
    t->record = *r;
    t->added = 0;
    t->send.stream = stream;
    t->send.record = r;
    t->send.delivery = delivery;
    t->send.input = input;
    t->send.context = (seg_trace_context){.flags = 0};
    t->send.tracestate[0] = '\0';
    if (!c->tracer.send(&t->send, c->tracer.arg))
        return false;
    *status = add_all(t, err);
    return *status == SEG_OK;
}

void sg_traced_fini(sg_traced *t) {
    if (t->headers != t->few)
        sg_free(t->headers);
}

/* ---- handling ----------------------------------------------------------------------------- */

void *sg_trace_begin(const seg_client *c, const char *stream, const char *group,
                     const seg_message *m) {
    seg_trace_context parent;
    if (c->tracer.begin == NULL)
        return NULL;
    bool any = sg_trace_of(&m->view, &parent);
    seg_trace_handle h = {stream, group, m, any ? &parent : NULL};
    return c->tracer.begin(&h, c->tracer.arg);
}

void sg_trace_end(const seg_client *c, void *span, seg_verdict verdict, const seg_settlement *how) {
    if (c->tracer.end != NULL)
        c->tracer.end(span, verdict, how, c->tracer.arg);
}
