/* Sends orders keyed by customer, and handles them in order. Needs a server; its URL is the
 * argument. */
#include <segmenter/segmenter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(seg_status status, const seg_error *err) {
    if (status == SEG_OK)
        return;
    fprintf(stderr, "orders: %s\n", err->text);
    exit(1);
}

int main(int argc, char **argv) {
    seg_error err;
    seg_client *client;
    seg_client_options co;
    SEG_INIT(&co);
    co.url = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    check(seg_client_open(&client, &co, &err), &err);

    seg_stream_options so; /* creating it again with the same settings is fine */
    SEG_INIT(&so);
    so.partitions = 8;
    check(seg_stream_create(client, "orders", &so, &err), &err);

    seg_producer *producer;
    check(seg_producer_open(&producer, client, "orders", NULL, &err), &err);
    const char *customers[] = {"ann", "bob", "ann", "cho", "bob", "ann"};
    for (int i = 0; i < 6; i++) {
        seg_record record;
        SEG_INIT(&record);
        record.key = (seg_bytes){customers[i], strlen(customers[i])}; /* same key, same partition */
        record.value = (seg_bytes){&"123456"[i], 1};
        check(seg_send(producer, &record, NULL, &err), &err);
    }
    seg_producer_close(producer);

    seg_consumer *consumer;
    seg_consumer_options opts;
    SEG_INIT(&opts);
    opts.group = "billing"; /* run this program twice at once: they share the partitions */
    check(seg_consumer_open(&consumer, client, "orders", &opts, &err), &err);
    for (int handled = 0; handled < 6;) {
        seg_batch *batch;
        check(seg_consumer_poll(&batch, consumer, 100, 5000, &err), &err);
        for (size_t i = 0; i < seg_batch_count(batch); i++, handled++) {
            seg_bytes key = seg_message_key(seg_batch_at(batch, i));
            seg_bytes value = seg_message_value(seg_batch_at(batch, i));
            printf("%.*s: order %.*s\n", (int)key.len, (const char *)key.data, (int)value.len,
                   (const char *)value.data);
        }
        check(seg_ack_batch(consumer, batch, &err), &err);
        seg_batch_free(batch);
    }
    seg_consumer_close(consumer); /* commits, and hands its partitions back */
    seg_client_close(client);
}
