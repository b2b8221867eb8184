/* paths.c - the paths of a message through the client, without network and threads, for scripts/count to
 * count the instructions of: each function below handles the same MESSAGES messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "core/batch.h"
#include "core/block.h"
#include "core/window.h"

enum { BATCH = 600, BATCHES = 50, MESSAGES = BATCH * BATCHES, KEYS = 100 };

static char keys[KEYS][12], value[90];

static void must(bool ok) {
    if (!ok) {
        fprintf(stderr, "paths: no memory\n");
        exit(1);
    }
}

/* Gather a batch and seal it, as a producer does. */
__attribute__((noinline)) void count_encode(sg_batch_writer *w, uint32_t seed) {
    for (int i = 0; i < BATCHES; i++) {
        sg_buf_clear(&w->buf);
        w->count = 0;
        for (int k = 0; k < BATCH; k++) {
            seg_record r = {.size = sizeof r,
                            .key = {keys[k % KEYS], 10},
                            .value = {value, sizeof value},
                            .timestamp = 1700000000000 + k / 8};
            int64_t base = w->count == 0 ? r.timestamp : w->base_ts;
            must(sg_batch_add_sized(w, &r, sg_batch_record_size(&r, base)));
        }
        sg_batch_seal(w, seed);
    }
}

static void receive(seg_bytes batch, sg_pool *pool, sg_block *blocks[BATCHES]) {
    for (int i = 0; i < BATCHES; i++) {
        blocks[i] = sg_block_new(pool, batch.len);
        must(blocks[i] != NULL);
        memcpy(sg_block_room(blocks[i]), batch.data, batch.len);
    }
}

/* Check each entry and look at each of its records, as a consumer does. */
__attribute__((noinline)) size_t count_decode(sg_block *blocks[BATCHES], uint32_t seed,
                                              sg_pool *pool) {
    size_t bytes = 0;
    for (int i = 0; i < BATCHES; i++) {
        const char *why;
        sg_record_view view;
        sg_block *b = sg_block_open(blocks[i], BATCH - 1, seed, NULL, pool, &why);
        must(b != NULL);
        for (uint64_t o = 0; o < BATCH; o++) {
            sg_block_record(b, o, &view);
            bytes += view.key.len + view.value.len;
        }
        sg_block_unref(b);
    }
    return bytes;
}

static void deliver(sg_window *w, uint64_t from, uint64_t to) {
    for (uint64_t o = from; o < to; o++) {
        must(sg_window_fate_of(w, o) == SG_DELIVER);
        must(sg_window_deliver(w, o, 30000 + (int64_t)from) == 1);
    }
}

static void commit(const sg_window *w, sg_buf *map) {
    must(sg_window_map(w, map) && sg_window_tries(w, map));
}

/* Deliver a thousand messages, acknowledge them as one batch, say so in a commit. */
__attribute__((noinline)) void count_settle(sg_window *w) {
    sg_buf map;
    sg_buf_init(&map, SIZE_MAX);
    for (uint64_t from = 0; from < MESSAGES; from += 1000) {
        deliver(w, from, from + 1000);
        must(sg_window_ack_run(w, from, 1000) == 1000);
        commit(w, &map);
    }
    sg_buf_fini(&map);
}

/* The same, each acknowledged by itself. */
__attribute__((noinline)) void count_settle_each(sg_window *w) {
    sg_buf map;
    sg_buf_init(&map, SIZE_MAX);
    for (uint64_t from = 0; from < MESSAGES; from += 1000) {
        deliver(w, from, from + 1000);
        for (uint64_t o = from; o < from + 1000; o++)
            must(sg_window_ack(w, o) == SG_ACK_NEW);
        commit(w, &map);
    }
    sg_buf_fini(&map);
}

int main(void) {
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%06d", i);
    memset(value, 'v', sizeof value);
    sg_batch_writer writer;
    sg_batch_writer_init(&writer, 1 << 20, NULL);
    sg_window *window = sg_window_new(0, 16384), *other = sg_window_new(0, 16384);
    sg_pool *pool = sg_pool_new(16 << 20);
    sg_block *blocks[BATCHES];
    must(window != NULL && other != NULL && pool != NULL);
    uint32_t seed = sg_batch_seed("0123456789abcdef0123456789abcdef");
    count_encode(&writer, seed);
    receive(sg_batch_bytes(&writer), pool, blocks);
    must(count_decode(blocks, seed, pool) == (size_t)MESSAGES * 100);
    count_settle(window);
    count_settle_each(other);
    printf("%d\n", MESSAGES);
    sg_window_free(window);
    sg_window_free(other);
    sg_pool_free(pool);
    sg_batch_writer_fini(&writer);
    return 0;
}
