/* Sends many messages without waiting for each: a callback tells what became of it.
 * Usage: async URL STREAM COUNT */
#include <inttypes.h>
#include <segmenter/segmenter.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct tally {
    long stored, failed;
} tally;

static void sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    tally *t = arg;
    (void)where; /* where->partition, where->id.offset */
    if (status == SEG_OK) {
        t->stored++;
    } else if (t->failed++ == 0) {
        fprintf(stderr, "async: %s\n", err->text);
    }
}

/* The queue is bounded: where it is full, let some of it go, and offer the message again. */
static seg_status send_one(seg_producer *p, const seg_record *r, tally *t, seg_error *err) {
    seg_status s;
    while ((s = seg_send_async(p, r, sent, t, err)) == SEG_EFULL)
        seg_producer_poll(p, 1000, NULL);
    return s;
}

int main(int argc, char **argv) {
    seg_error err;
    seg_client *client = NULL;
    seg_producer *producer = NULL;
    seg_client_options co;
    tally t = {0, 0};
    if (argc != 4) {
        fprintf(stderr, "usage: async URL STREAM COUNT\n");
        return 2;
    }
    SEG_INIT(&co);
    co.url = argv[1];
    if (seg_client_open(&client, &co, &err) != SEG_OK ||
        seg_producer_open(&producer, client, argv[2], NULL, &err) != SEG_OK)
        goto fail;
    for (long i = 0, n = strtol(argv[3], NULL, 10); i < n; i++) {
        char key[32], value[32];
        seg_record r;
        SEG_INIT(&r);
        r.key = (seg_bytes){key, (size_t)snprintf(key, sizeof key, "key-%ld", i % 100)};
        r.value = (seg_bytes){value, (size_t)snprintf(value, sizeof value, "%ld", i)};
        if (send_one(producer, &r, &t, &err) != SEG_OK)
            goto fail;
    }
    if (seg_producer_flush(producer, 30000, &err) != SEG_OK)
        goto fail;
    printf("%ld stored, %ld failed\n", t.stored, t.failed);
    seg_producer_close(producer);
    seg_client_close(client);
    return t.failed == 0 ? 0 : 1;
fail:
    fprintf(stderr, "async: %s\n", err.text);
    seg_producer_close(producer);
    seg_client_close(client);
    return 1;
}
