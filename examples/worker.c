/* A worker as a service would run it: handles messages until SIGINT or SIGTERM, tells when
 * partitions come and go, leaves its group cleanly. Run several of them. Usage: worker URL STREAM
 * GROUP */
#include <inttypes.h>
#include <segmenter/segmenter.h>
#include <signal.h>
#include <stdio.h>

static seg_consumer *consumer;

static void on_signal(int signal) {
    (void)signal;
    seg_consumer_stop(consumer); /* may be called from a signal handler */
}

static void on_rebalance(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg) {
    static const char *const words[] = {"", "assigned", "revoked", "lost"};
    (void)arg;
    fprintf(stderr, "%s:", words[what]);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %" PRIu32, partitions[i]);
    fprintf(stderr, "\n");
}

static void handle(const seg_message *m) {
    seg_delivery d = seg_message_delivery(m);
    seg_bytes key = seg_message_key(m), value = seg_message_value(m);
    printf("%" PRIu32 "/%" PRIu64 " %.*s %.*s\n", d.partition, d.id.offset, (int)key.len,
           (const char *)key.data, (int)value.len, (const char *)value.data);
}

static seg_status work(seg_error *err) {
    for (;;) {
        seg_batch *batch;
        seg_status s = seg_consumer_poll(&batch, consumer, 500, SEG_FOREVER, err);
        if (s != SEG_OK)
            return s;
        for (size_t i = 0; i < seg_batch_count(batch); i++)
            handle(seg_batch_at(batch, i));
        /* A partition that was lost meanwhile is another member's: its messages come to that one.
         */
        s = seg_ack_batch(consumer, batch, err);
        seg_batch_free(batch);
        if (s != SEG_OK && s != SEG_EFENCED)
            return s;
    }
}

int main(int argc, char **argv) {
    seg_error err;
    seg_client *client;
    seg_client_options co;
    seg_consumer_options opts;
    if (argc != 4) {
        fprintf(stderr, "usage: worker URL STREAM GROUP\n");
        return 2;
    }
    SEG_INIT(&co);
    co.url = argv[1];
    SEG_INIT(&opts);
    opts.group = argv[3];
    opts.on_rebalance = on_rebalance;
    if (seg_client_open(&client, &co, &err) != SEG_OK)
        goto fail;
    if (seg_consumer_open(&consumer, client, argv[2], &opts, &err) != SEG_OK)
        goto fail;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (work(&err) != SEG_ECLOSED)
        goto fail;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    seg_consumer_close(consumer);
    seg_client_close(client);
    return 0;
fail:
    fprintf(stderr, "worker: %s\n", err.text);
    return 1;
}
