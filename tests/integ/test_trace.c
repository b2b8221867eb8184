/* Traces: from the producer's hook by the message's headers to the handler's hooks, and on to outputs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { MOST = 64 };

/* What a tracing library would do, and a book of it. Spans are numbered; a context is of span n. */
typedef struct book {
    pthread_mutex_t lock; /* guards all below */
    unsigned spans, begun, ended, sends, with_input;
    bool silent;
    const char *state;
    size_t state_bytes;
    unsigned parent_of[MOST];  /* of a begun span: the number in its message's context; 0: none */
    unsigned input_of[MOST];   /* of a context that was sent: the number in its input's */
    seg_verdict verdict[MOST]; /* of an ended span */
    char stream[32], group[32];
} book;

static server *s;
static seg_error err;

static seg_trace_context context_of(unsigned span) {
    seg_trace_context t = {.trace_id = {1}, .flags = SEG_TRACE_SAMPLED};
    t.span_id[0] = 0xaa;
    t.span_id[7] = (uint8_t)span;
    return t;
}

static bool on_send(seg_trace_send *t, void *arg) {
    book *b = arg;
    pthread_mutex_lock(&b->lock);
    unsigned n = ++b->spans;
    CHECK_LT(n, MOST);
    b->sends++;
    b->with_input += t->delivery != NULL;
    CHECK(t->delivery != NULL || t->input == NULL);
    b->input_of[n] = t->input != NULL ? t->input->span_id[7] : 0;
    snprintf(b->stream, sizeof b->stream, "%s", t->stream);
    CHECK_EQ(t->record->size, sizeof *t->record);
    CHECK_EQ(t->tracestate[0], '\0');
    t->context = context_of(n);
    if (b->state != NULL)
        strcpy(t->tracestate, b->state);
    if (b->state_bytes > 0)
        memset(t->tracestate, 'x', b->state_bytes);
    bool add = !b->silent;
    pthread_mutex_unlock(&b->lock);
    return add;
}

static void *on_begin(const seg_trace_handle *h, void *arg) {
    book *b = arg;
    pthread_mutex_lock(&b->lock);
    unsigned n = ++b->spans;
    CHECK_LT(n, MOST);
    b->begun++;
    b->parent_of[n] = h->parent != NULL ? h->parent->span_id[7] : 0;
    snprintf(b->stream, sizeof b->stream, "%s", h->stream);
    snprintf(b->group, sizeof b->group, "%s", h->group);
    CHECK(h->message != NULL);
    pthread_mutex_unlock(&b->lock);
    return &b->verdict[n];
}

static void on_end(void *span, seg_verdict verdict, const seg_settlement *how, void *arg) {
    book *b = arg;
    pthread_mutex_lock(&b->lock);
    b->ended++;
    *(seg_verdict *)span = verdict;
    CHECK(verdict != SEG_RETRY || strcmp(how->reason, "not now") == 0);
    pthread_mutex_unlock(&b->lock);
}

static seg_client *client_of(book *b) {
    seg_client *c = NULL;
    seg_client_options o;
    seg_tracer t;
    SEG_INIT(&o);
    SEG_INIT(&t);
    pthread_mutex_init(&b->lock, NULL);
    t.send = on_send;
    t.begin = on_begin;
    t.end = on_end;
    t.arg = b;
    o.url = server_url(s);
    o.tracer = &t;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    memset(&t, 0xee, sizeof t); /* it was copied */
    return c;
}

static seg_producer *producer_of(seg_client *c, const char *stream, size_t max_message) {
    seg_producer *p = NULL;
    seg_producer_options o;
    SEG_INIT(&o);
    o.max_message = max_message;
    CHECK_OK(seg_producer_open(&p, c, stream, &o, &err), &err);
    return p;
}

static seg_status send_with(seg_producer *p, const seg_bytes *headers, size_t n) {
    seg_record r;
    SEG_INIT(&r);
    r.key = (seg_bytes){"k", 1};
    r.value = (seg_bytes){"1", 1};
    r.headers = headers;
    r.n_headers = n;
    return seg_send(p, &r, NULL, &err);
}

/* The header of that name; there is one, or none (""). */
static const char *header(const seg_message *m, const char *name) {
    static char text[600];
    seg_bytes n, v;
    text[0] = '\0';
    for (size_t i = 0; seg_message_header(m, i, &n, &v); i++)
        if (n.len == strlen(name) && memcmp(n.data, name, n.len) == 0) {
            CHECK_EQ(text[0], '\0');
            snprintf(text, sizeof text, "%.*s", (int)v.len, (const char *)v.data);
        }
    return text;
}

/* The first `n` messages of a stream, each of which was sent as a batch, by a group of their own. */
static seg_batch *read_all(seg_client *c, const char *stream, size_t n, seg_consumer **k) {
    seg_batch *batch = NULL;
    *k = rig_consumer(c, stream, &(rig_join){.group = "reader"});
    WAIT_FOR(RIG_MS, rig_stats(*k).entries == n);
    CHECK_OK(seg_consumer_poll(&batch, *k, n, RIG_MS, &err), &err);
    CHECK_EQ(seg_batch_count(batch), n);
    return batch;
}

TEST(a_message_carries_the_context_of_who_sends_it) {
    book b = {.state = "vendor=1,other=2"};
    s = server_start(NULL);
    seg_client *c = client_of(&b);
    rig_stream(c, "s", 1);
    seg_producer *p = producer_of(c, "s", 0);
    const seg_bytes own[] = {{"a", 1}, {"b", 1}};
    CHECK_OK(send_with(p, own, 1), &err);
    seg_bytes many[2 * 40];
    for (size_t i = 0; i < 80; i++)
        many[i] = own[i % 2];
    CHECK_OK(send_with(p, many, 40), &err);
    b.silent = true;
    CHECK_OK(send_with(p, own, 1), &err);
    const seg_bytes parent[] = {{"traceparent", 11}, {"whatever", 8}};
    CHECK_OK(send_with(p, parent, 1), &err); /* it has one: not asked */
    CHECK_EQ(b.sends, 3);
    CHECK_STR(b.stream, "s");
    seg_consumer *k;
    seg_batch *batch = read_all(c, "s", 4, &k);
    seg_trace_context t, expected = context_of(1);
    const seg_message *m = seg_batch_at(batch, 0);
    CHECK_EQ(seg_message_headers(m), 3);
    CHECK(seg_message_trace(m, &t));
    CHECK_EQ(memcmp(&t, &expected, sizeof t), 0);
    CHECK_STR(header(m, "traceparent"), "00-01000000000000000000000000000000-aa00000000000001-01");
    CHECK_STR(header(m, "tracestate"), "vendor=1,other=2");
    CHECK_STR(header(m, "a"), "b");
    m = seg_batch_at(batch, 1);
    CHECK_EQ(seg_message_headers(m), 42);
    CHECK(seg_message_trace(m, &t));
    CHECK_EQ(t.span_id[7], 2);
    CHECK_EQ(seg_message_headers(seg_batch_at(batch, 2)), 1);
    CHECK(!seg_message_trace(seg_batch_at(batch, 2), &t));
    CHECK_STR(header(seg_batch_at(batch, 3), "traceparent"), "whatever");
    CHECK(!seg_message_trace(seg_batch_at(batch, 3), &t));
    seg_batch_free(batch);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}

TEST(what_is_added_counts_against_max_message) {
    book b = {.state_bytes = SEG_TRACESTATE_MAX};
    s = server_start(NULL);
    seg_client *c = client_of(&b);
    rig_stream(c, "s", 1);
    const size_t added = 11 + SEG_TRACEPARENT + 10 + SEG_TRACESTATE_MAX;
    seg_producer *p = producer_of(c, "s", 2 + added);
    CHECK_OK(send_with(p, NULL, 0), &err);
    seg_producer_close(p);
    p = producer_of(c, "s", 1 + added);
    CHECK_STATUS(send_with(p, NULL, 0), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "max_message");
    seg_record r;
    SEG_INIT(&r);
    CHECK_STATUS(seg_send_async(p, &r, NULL, NULL, &err), SEG_OK, &err);
    r.value = (seg_bytes){NULL, 1};
    unsigned before = b.sends;
    CHECK_STATUS(seg_send_async(p, &r, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_EQ(b.sends, before); /* it is shown nothing that is malformed */
    CHECK_OK(seg_producer_flush(p, RIG_MS, &err), &err);
    seg_consumer *k;
    seg_batch *batch = read_all(c, "s", 2, &k);
    CHECK_EQ(strlen(header(seg_batch_at(batch, 0), "tracestate")), SEG_TRACESTATE_MAX);
    seg_batch_free(batch);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}

/* ---- Handlers and outputs --------------------------------------------------------------------- */

typedef struct work {
    seg_consumer *consumer;
    seg_producer *out;
} work;

static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    work *w = arg;
    seg_delivery d = seg_message_delivery(m);
    seg_record r;
    SEG_INIT(&r);
    r.key = seg_message_key(m);
    r.value = seg_message_value(m);
    seg_error e;
    CHECK_OK(seg_forward(w->consumer, &d, w->out, &r, &e), &e);
    how->reason = "not now";
    return d.attempt == 1 ? SEG_RETRY : SEG_ACK;
}

static void *runner(void *arg) {
    work *w = arg;
    seg_run_options o;
    seg_error e;
    SEG_INIT(&o);
    o.handler = handle;
    o.arg = w;
    CHECK_OK(seg_consumer_run(w->consumer, &o, &e), &e);
    return NULL;
}

/* The output is forwarded twice, in two spans: one is stored, the other is the same as that one. */
TEST(handlers_are_spans_and_outputs_are_of_their_traces) {
    book b = {.spans = 0};
    s = server_start(NULL);
    seg_client *c = client_of(&b);
    rig_stream(c, "s", 1);
    rig_stream(c, "out", 1);
    seg_producer *p = producer_of(c, "s", 0);
    work w = {.out = producer_of(c, "out", 0)};
    CHECK_OK(send_with(p, NULL, 0), &err);
    w.consumer = rig_consumer(c, "s", &(rig_join){.group = "g", .retry_delay = 1});
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, runner, &w), 0);
    WAIT_FOR(RIG_MS, rig_stats(w.consumer).acked == 1);
    seg_consumer_stop(w.consumer);
    pthread_join(thread, NULL);
    /* 1 sent; 2 handled, 3 its output; 4 handled again, 5 its output again. */
    CHECK_EQ(b.spans, 5);
    CHECK_EQ(b.begun, 2);
    CHECK_EQ(b.ended, 2);
    CHECK_EQ(b.parent_of[2], 1);
    CHECK_EQ(b.parent_of[4], 1);
    CHECK_EQ(b.verdict[2], SEG_RETRY);
    CHECK_EQ(b.verdict[4], SEG_ACK);
    CHECK_EQ(b.with_input, 2);
    CHECK_EQ(b.input_of[3], 1);
    CHECK_EQ(b.input_of[5], 1);
    CHECK_STR(b.group, "g");
    CHECK_EQ(rig_stats(w.consumer).forwarded, 2);
    seg_consumer *k;
    seg_batch *batch = read_all(c, "out", 1, &k);
    seg_trace_context t;
    CHECK(seg_message_trace(seg_batch_at(batch, 0), &t));
    CHECK_EQ(t.span_id[7], 3);
    seg_batch_free(batch);
    seg_consumer_close(k);
    seg_consumer_close(w.consumer);
    seg_producer_close(w.out);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}

/* The rest of an output still has to be the same. */
TEST(an_output_that_differs_beside_its_trace_is_found) {
    book b = {.spans = 0};
    s = server_start(NULL);
    seg_client *c = client_of(&b);
    rig_stream(c, "s", 1);
    rig_stream(c, "out", 1);
    seg_producer *p = producer_of(c, "s", 0), *out = producer_of(c, "out", 0);
    CHECK_OK(send_with(p, NULL, 0), &err);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g", .retry_delay = 1});
    const seg_bytes headers[] = {{"a", 1}, {"b", 1}, {"a", 1}, {"c", 1}};
    seg_record r;
    SEG_INIT(&r);
    r.n_headers = 1;
    for (unsigned i = 0; i < 3; i++) {
        rig_take(k, in, i + 1);
        r.headers = headers + (i == 1 ? 2 : 0);
        CHECK_OK(seg_forward(k, &in->d[i], out, &r, &err), &err);
        if (i == 0)
            rig_settle_as(k, &in->d[i], SEG_RETRY, -1, "again");
        else
            rig_ack(k, &in->d[i], 1);
    }
    WAIT_FOR(RIG_MS, rig_stats(k).acked == 1);
    CHECK_EQ(rig_stats(k).forwarded, 2); /* the first and the third, which are the same */
    CHECK_EQ(rig_messages(c, "out"), 1);
    free(in);
    seg_consumer_close(k);
    seg_producer_close(out);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}

TEST(a_tracer_of_another_version_is_told_apart) {
    struct {
        seg_tracer t;
        void *newer;
    } big = {.t = {.size = sizeof big}, .newer = &big};
    seg_client *c = NULL;
    seg_client_options o;
    SEG_INIT(&o);
    s = server_start(NULL);
    o.url = server_url(s);
    o.tracer = &big.t;
    CHECK_STATUS(seg_client_open(&c, &o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "tracer");
    big.newer = NULL;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    rig_stream(c, "s", 1);
    seg_producer *p = producer_of(c, "s", 0);
    CHECK_OK(send_with(p, NULL, 0), &err);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}
