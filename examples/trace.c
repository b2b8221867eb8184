/* Traces across a stream, as a tracing library would be joined to it: each message carries the context of
 * the span that sent it, and the handler's span is a child of that. Sends one message, handles it, forwards
 * what results, and prints the spans. Usage: trace URL FROM TO GROUP */
#include <segmenter/segmenter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A real tracer has such a thing, with a clock, a sampler and random ids; its current span is a matter of
 * the thread. */
typedef struct span {
    seg_trace_context context;
    struct span *outer; /* what was current before */
} span;

static _Thread_local span *current;

static span *span_start(const char *name, const char *of, const seg_trace_context *parent) {
    static unsigned char last; /* this example has one handler thread, and sends before it starts */
    span *s = calloc(1, sizeof *s);
    char text[SEG_TRACEPARENT + 1], from[SEG_TRACEPARENT + 1] = "nobody";
    if (s == NULL)
        abort();
    if (parent != NULL) {
        s->context = *parent; /* the same trace */
        seg_trace_print(from, parent);
    } else {
        memset(s->context.trace_id, 0x11, sizeof s->context.trace_id);
        s->context.flags = SEG_TRACE_SAMPLED;
    }
    memset(s->context.span_id, 0, sizeof s->context.span_id);
    s->context.span_id[7] = ++last;
    seg_trace_print(text, &s->context);
    printf("%s %s: %s, child of %s\n", name, of, text, from);
    s->outer = current;
    return current = s;
}

static void span_end(span *s) {
    current = s->outer;
    free(s);
}

/* ---- The hooks ---------------------------------------------------------------------------- */

static bool on_send(seg_trace_send *t, void *arg) {
    (void)arg;
    if (current == NULL)
        return false;
    t->context = current->context;
    return true;
}

static void *on_begin(const seg_trace_handle *h, void *arg) {
    (void)arg;
    return span_start("handle", h->stream, h->parent);
}

static void on_end(void *s, seg_verdict verdict, const seg_settlement *how, void *arg) {
    (void)verdict, (void)how, (void)arg; /* a real one keeps them with the span */
    span_end(s);
}

/* ---- The application: it does not know of the hooks --------------------------------------- */

typedef struct app {
    seg_producer *to;
    seg_consumer *from;
} app;

static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    app *a = arg;
    seg_delivery d = seg_message_delivery(m);
    seg_record r;
    (void)how;
    SEG_INIT(&r);
    r.key = seg_message_key(m);
    r.value = seg_message_value(m);
    if (seg_forward(a->from, &d, a->to, &r, NULL) != SEG_OK)
        return SEG_RETRY;
    seg_consumer_stop(a->from); /* one is enough */
    return SEG_ACK;
}

static seg_status send_one(seg_client *c, const char *stream, seg_error *err) {
    seg_producer *p;
    seg_record r;
    seg_status s = seg_producer_open(&p, c, stream, NULL, err);
    if (s != SEG_OK)
        return s;
    SEG_INIT(&r);
    r.value = (seg_bytes){"hello", 5};
    span *sending = span_start("send", stream, NULL);
    s = seg_send(p, &r, NULL, err);
    span_end(sending);
    seg_producer_close(p);
    return s;
}

static seg_status run(seg_client *c, char **names, seg_error *err) {
    app a = {NULL, NULL};
    seg_consumer_options co;
    seg_run_options ro;
    seg_status s = send_one(c, names[0], err);
    SEG_INIT(&co);
    co.group = names[2];
    SEG_INIT(&ro);
    ro.handler = handle;
    ro.arg = &a;
    if (s == SEG_OK)
        s = seg_producer_open(&a.to, c, names[1], NULL, err);
    if (s == SEG_OK)
        s = seg_consumer_open(&a.from, c, names[0], &co, err);
    if (s == SEG_OK)
        s = seg_consumer_run(a.from, &ro, err);
    seg_consumer_close(a.from);
    seg_producer_close(a.to);
    return s;
}

int main(int argc, char **argv) {
    seg_error err;
    seg_client *client;
    seg_client_options co;
    seg_tracer tracer;
    if (argc != 5) {
        fprintf(stderr, "usage: trace URL FROM TO GROUP\n");
        return 2;
    }
    SEG_INIT(&tracer);
    tracer.send = on_send;
    tracer.begin = on_begin;
    tracer.end = on_end;
    SEG_INIT(&co);
    co.url = argv[1];
    co.tracer = &tracer;
    seg_status s = seg_client_open(&client, &co, &err);
    if (s == SEG_OK) {
        s = run(client, argv + 2, &err);
        seg_client_close(client);
    }
    if (s != SEG_OK)
        fprintf(stderr, "trace: %s\n", err.text);
    return s == SEG_OK ? 0 : 1;
}
