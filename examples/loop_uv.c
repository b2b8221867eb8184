/* A pipeline in an event loop of one thread, with libuv: copies each message of one stream to
 * another, at least once, those of a key in order. Usage: loop_uv URL FROM GROUP TO */
#define _POSIX_C_SOURCE 200809L
#include <segmenter/segmenter.h>
#include <signal.h>
#include <stdio.h>
#include <uv.h>

typedef struct pipeline {
    seg_consumer *consumer;
    seg_producer *producer;
    seg_batch *batch;    /* being copied */
    size_t sent, stored; /* of it */
    seg_error err;       /* what ends all; SEG_OK: nothing yet */
    uv_poll_t consumer_ready, producer_ready;
    uv_signal_t interrupt, terminate;
} pipeline;

static void outcome(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    pipeline *p = arg;
    (void)where;
    if (status == SEG_OK)
        p->stored++;
    else
        p->err = *err; /* going on, the later ones of its key would pass it */
}

static void on_signal(uv_signal_t *handle, int number) {
    (void)number;
    uv_stop(handle->loop);
}

static void on_ready(uv_poll_t *handle, int status, int events) {
    pipeline *p = handle->data;
    (void)status, (void)events;
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
        uv_stop(handle->loop);
    bool idle = seg_batch_count(p->batch) == 0; /* otherwise the next batch has time */
    uv_poll_start(&p->consumer_ready, idle ? UV_READABLE : 0, on_ready);
}

static void run(pipeline *p, uv_loop_t *loop) {
    uv_poll_init(loop, &p->consumer_ready, seg_consumer_fd(p->consumer));
    uv_poll_init(loop, &p->producer_ready, seg_producer_fd(p->producer));
    p->consumer_ready.data = p->producer_ready.data = p;
    uv_poll_start(&p->consumer_ready, UV_READABLE, on_ready);
    uv_poll_start(&p->producer_ready, UV_READABLE, on_ready);
    uv_signal_init(loop, &p->interrupt);
    uv_signal_init(loop, &p->terminate);
    uv_signal_start(&p->interrupt, on_signal, SIGINT);
    uv_signal_start(&p->terminate, on_signal, SIGTERM);
    uv_run(loop, UV_RUN_DEFAULT); /* its handles end with the process */
}

int main(int argc, char **argv) {
    pipeline p = {0};
    seg_client *client = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: loop_uv URL FROM GROUP TO\n");
        return 2;
    }
    seg_client_options co = {.size = sizeof co, .url = argv[1]};
    seg_consumer_options o = {.size = sizeof o, .group = argv[3]};
    seg_producer_options po = {.size = sizeof po, .delivery_timeout = SEG_FOREVER};
    if (seg_client_open(&client, &co, &p.err) == SEG_OK &&
        seg_producer_open(&p.producer, client, argv[4], &po, &p.err) == SEG_OK)
        seg_consumer_open(&p.consumer, client, argv[2], &o, &p.err);
    if (p.err.status == SEG_OK)
        run(&p, uv_default_loop());
    seg_producer_flush(p.producer, 5000, NULL); /* the latest batch may be done yet */
    if (p.batch != NULL && p.stored == seg_batch_count(p.batch))
        seg_ack_batch(p.consumer, p.batch, NULL);
    seg_batch_free(p.batch);
    bool failed = p.err.status != SEG_OK; /* below, callbacks may be told that it is closed */
    seg_producer_close(p.producer);
    seg_consumer_close(p.consumer);
    seg_client_close(client);
    if (failed)
        fprintf(stderr, "loop_uv: %s\n", p.err.text);
    return failed;
}
