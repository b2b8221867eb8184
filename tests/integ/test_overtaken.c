/* Streams that drop their oldest messages: a group that is overtaken learns exactly what it lost.
 */
#include <stdlib.h>

#include "rig.h"

enum { BOUND = 20 };

typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    seg_stream_options o;
    seg_error err;
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    SEG_INIT(&o);
    o.partitions = partitions;
    o.max_messages = BOUND;
    o.on_full = SEG_DROP_OLDEST;
    CHECK_OK(seg_stream_create(b.c, "s", &o, &err), &err);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

/* What was told of the gaps, and that they follow each other. */
typedef struct gaps {
    uint64_t calls, count, past;
    uint32_t partition;
} gaps;

static void on_overtaken(uint32_t partition, seg_id first, uint64_t count, void *arg) {
    gaps *g = arg;
    CHECK_GT(count, 0);
    CHECK_EQ(first.era, 1);
    CHECK_GE(first.offset, g->past);
    g->calls++;
    g->count += count;
    g->past = first.offset + count;
    g->partition = partition;
}

static uint64_t overtaken(const seg_consumer *k) {
    seg_consumer_stats st;
    SEG_INIT(&st);
    seg_consumer_get_stats(k, &st);
    return st.overtaken;
}

TEST(a_group_that_was_away_learns_what_it_lost) {
    bench b = set_up(2);
    gaps g = {0};
    rig_join join = {.group = "g", .on_overtaken = on_overtaken, .arg = &g};
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    rig_put_singly(b.p, (rig_run){.partition = 1, .partitions = 2, .count = 10});
    rig_drain(k, b.in, 10);
    seg_consumer_close(k);
    CHECK_EQ(g.calls, 0);
    rig_put_singly(b.p, (rig_run){.partition = 1, .partitions = 2, .first = 10, .count = 50});
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).lag, BOUND);
    k = rig_consumer(b.c, "s", &join);
    rig_take(k, b.in, 10 + BOUND);
    CHECK_EQ(g.calls, 1);
    CHECK_EQ(g.partition, 1);
    CHECK_EQ(g.count, 30); /* 60 sent, 10 read, 20 kept */
    CHECK_EQ(g.past, 40);
    CHECK_EQ(overtaken(k), 30);
    rig_check_run(b.in, 10, BOUND, 40);
    rig_ack(k, b.in->d + 10, BOUND);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 1).committed, 60);
    seg_consumer_close(k);
    tear_down(&b);
}

/* A batch may be dropped in its middle: the rest of it is not what was kept either. */
TEST(dropped_messages_count_one_by_one_in_batches) {
    bench b = set_up(1);
    gaps g = {0};
    rig_join join = {.group = "g", .on_overtaken = on_overtaken, .arg = &g};
    seg_consumer_close(rig_consumer(b.c, "s", &join));
    for (unsigned i = 0; i < 10; i++) {
        rig_put(b.p, (rig_run){.partitions = 1, .first = 7 * i, .count = 7});
    }
    uint64_t lag = rig_cursor(b.c, "s", "g", 0).lag;
    CHECK_GE(lag, BOUND - 7 + 1);
    CHECK_LE(lag, BOUND);
    seg_consumer *k = rig_consumer(b.c, "s", &join);
    rig_take(k, b.in, (size_t)lag);
    CHECK_EQ(g.count + lag, 70);
    CHECK_EQ(overtaken(k), g.count);
    rig_check_run(b.in, 0, (size_t)lag, (unsigned)(70 - lag));
    seg_consumer_close(k);
    tear_down(&b);
}

/* A live consumer that does not keep up: what it had fetched it gets, what was dropped meanwhile is
 * told, and both together are all that was sent. */
TEST(a_live_consumer_is_overtaken) {
    enum { SENT = 200, BYTES = 8192 };
    bench b = set_up(1);
    gaps g = {0};
    seg_consumer *k = rig_consumer(
        b.c, "s",
        &(rig_join){
            .group = "g", .max_prefetch = 64u * 1024, .on_overtaken = on_overtaken, .arg = &g});
    rig_settle(k, 1);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .count = SENT, .bytes = BYTES});
    while (b.in->n + g.count < SENT) {
        rig_poll(k, b.in, 10, 1000);
    }
    CHECK_EQ(b.in->n + g.count, SENT);
    CHECK_GT(g.count, 0);
    CHECK_GE(b.in->n, BOUND);
    CHECK_EQ(overtaken(k), g.count);
    for (size_t i = 1; i < b.in->n; i++) {
        CHECK_GT(b.in->number[i], b.in->number[i - 1]);
        CHECK_EQ(b.in->number[i], b.in->d[i].id.offset);
    }
    rig_ack(k, b.in->d, b.in->n);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}
