/* A pipeline in an event loop of one thread, with libevent: copies each message of one stream to
 * another, at least once, those of a key in order. Usage: loop_event URL FROM GROUP TO */
#include <event2/event.h>
#include <segmenter/segmenter.h>
#include <signal.h>
#include <stdio.h>

typedef struct pipeline {
    seg_consumer *consumer;
    seg_producer *producer;
    seg_batch *batch;    /* being copied */
    size_t sent, stored; /* of it */
    seg_error err;       /* what ends all; SEG_OK: nothing yet */
    struct event *consumer_ready;
} pipeline;

static void outcome(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    pipeline *p = arg;
    (void)where;
    if (status == SEG_OK)
        p->stored++;
    else
        p->err = *err; /* going on, the later ones of its key would pass it */
}

static void on_ready(evutil_socket_t fd, short what, void *arg) {
    pipeline *p = arg;
    (void)fd, (void)what;
    seg_producer_poll(p->producer, 0, NULL);
    if (p->stored == seg_batch_count(p->batch) && p->err.status == SEG_OK) {
        /* Stored over there, and only now done here: whoever dies before this copies it again. */
        seg_ack_batch(p->consumer, p->batch, NULL);
        seg_batch_free(p->batch);
        p->batch = NULL;
        p->sent = p->stored = 0;
        seg_consumer_poll(&p->batch, p->consumer, 1000, 0, &p->err);
    }
    for (; p->sent < seg_batch_count(p->batch) && p->err.status == SEG_OK; p->sent++) {
        const seg_message *m = seg_batch_at(p->batch, p->sent);
        seg_record r = {.size = sizeof r, .key = seg_message_key(m), .value = seg_message_value(m)};
        seg_status s = seg_send_async(p->producer, &r, outcome, p, &p->err);
        if (s == SEG_EFULL) /* there is room when more is stored */
            p->err.status = SEG_OK;
        if (s != SEG_OK)
            break;
    }
    if (p->err.status != SEG_OK)
        event_base_loopbreak(event_get_base(p->consumer_ready));
    if (seg_batch_count(p->batch) == 0)
        event_add(p->consumer_ready, NULL);
    else /* the next batch has time */
        event_del(p->consumer_ready);
}

static void on_signal(evutil_socket_t number, short what, void *arg) {
    (void)number, (void)what;
    event_base_loopbreak(arg);
}

static void run(pipeline *p) {
    struct event_base *loop = event_base_new();
    struct event *events[] = {
        event_new(loop, seg_consumer_fd(p->consumer), EV_READ | EV_PERSIST, on_ready, p),
        event_new(loop, seg_producer_fd(p->producer), EV_READ | EV_PERSIST, on_ready, p),
        evsignal_new(loop, SIGINT, on_signal, loop), evsignal_new(loop, SIGTERM, on_signal, loop)};
    p->consumer_ready = events[0];
    for (int i = 0; i < 4; i++)
        event_add(events[i], NULL);
    event_base_dispatch(loop); /* its events end with the process */
}

int main(int argc, char **argv) {
    pipeline p = {0};
    seg_client *client = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: loop_event URL FROM GROUP TO\n");
        return 2;
    }
    seg_client_options co = {.size = sizeof co, .url = argv[1]};
    seg_consumer_options o = {.size = sizeof o, .group = argv[3]};
    seg_producer_options po = {.size = sizeof po, .delivery_timeout = SEG_FOREVER};
    if (seg_client_open(&client, &co, &p.err) == SEG_OK &&
        seg_producer_open(&p.producer, client, argv[4], &po, &p.err) == SEG_OK)
        seg_consumer_open(&p.consumer, client, argv[2], &o, &p.err);
    if (p.err.status == SEG_OK)
        run(&p);
    seg_producer_flush(p.producer, 5000, NULL); /* the latest batch may be done yet */
    if (p.batch != NULL && p.stored == seg_batch_count(p.batch))
        seg_ack_batch(p.consumer, p.batch, NULL);
    seg_batch_free(p.batch);
    bool failed = p.err.status != SEG_OK; /* below, callbacks may be told that it is closed */
    seg_producer_close(p.producer);
    seg_consumer_close(p.consumer);
    seg_client_close(client);
    if (failed)
        fprintf(stderr, "loop_event: %s\n", p.err.text);
    return failed;
}
