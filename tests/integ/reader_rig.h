/* reader_rig.h - what the tests of readers share: a server, a stream, a reader, and a notebook for
 * the skips that it tells of. */
#ifndef SG_TEST_READER_RIG_H
#define SG_TEST_READER_RIG_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

typedef struct skips {
    size_t n;
    seg_skip of[256];
} skips;

static inline void note_skip(const seg_skip *s, void *arg) {
    skips *k = arg;
    CHECK_LT(k->n, 256);
    CHECK_GT(s->count, 0);
    k->of[k->n++] = *s;
}

static inline void check_skip(const skips *k, size_t i, seg_skip_why why, uint32_t partition,
                              uint64_t first, uint64_t count) {
    CHECK_LT(i, k->n);
    CHECK_EQ(k->of[i].why, why);
    CHECK_EQ(k->of[i].partition, partition);
    CHECK_EQ(k->of[i].first, first);
    CHECK_EQ(k->of[i].count, count);
}

typedef struct desk {
    server *s;
    seg_client *c;
    seg_producer *p;
    seg_reader *r;
    skips skips;
} desk;

static inline desk *desk_new(uint32_t partitions) {
    desk *d = calloc(1, sizeof *d);
    CHECK(d != NULL);
    d->s = server_start(NULL);
    d->c = rig_client(d->s);
    rig_stream(d->c, "s", partitions);
    d->p = rig_producer(d->c, "s");
    return d;
}

static inline void desk_free(desk *d) {
    seg_reader_close(d->r);
    seg_producer_close(d->p);
    seg_client_close(d->c);
    server_stop(d->s);
    free(d);
}

static inline seg_reader_options reading(desk *d) {
    seg_reader_options o;
    SEG_INIT(&o);
    o.on_skip = note_skip;
    o.skip_arg = &d->skips;
    return o;
}

static inline void open_reader(desk *d, const seg_reader_options *o) {
    seg_error err;
    seg_reader_close(d->r);
    d->r = NULL;
    CHECK_OK(seg_reader_open(&d->r, d->c, "s", o, &err), &err);
}

/* The next message, at most `wait` for it; NULL: the end. */
static inline const seg_message *next_of(seg_reader *r, int64_t wait) {
    const seg_message *m = NULL;
    seg_error err;
    CHECK_OK(seg_reader_next(&m, r, wait, &err), &err);
    return m;
}

/* The next message is that one. */
static inline void expect(seg_reader *r, uint32_t partition, uint64_t offset, unsigned number) {
    const seg_message *m = next_of(r, RIG_MS);
    CHECK(m != NULL);
    seg_delivery at = seg_message_delivery(m);
    CHECK_EQ(at.partition, partition);
    CHECK_EQ(at.id.offset, offset);
    CHECK_EQ(rig_number(m), number);
    CHECK_EQ(at.epoch, 0);
    CHECK_EQ(at.attempt, 0);
}

static inline void expect_run(seg_reader *r, uint32_t partition, uint64_t offset, unsigned number,
                              unsigned n) {
    for (unsigned i = 0; i < n; i++)
        expect(r, partition, offset + i, number + i);
}

static inline void expect_end(seg_reader *r) {
    CHECK(next_of(r, 0) == NULL);
}

static inline seg_reader_stats stats_of(const seg_reader *r) {
    seg_reader_stats st;
    SEG_INIT(&st);
    seg_reader_get_stats(r, &st);
    return st;
}

#endif
