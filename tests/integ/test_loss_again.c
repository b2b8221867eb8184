/* The server goes back twice, each time further, before the application looks: it is told of all
 * that it had and that is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

typedef struct told {
    size_t n;
    seg_loss of[8];
} told;

static void note_loss(const seg_loss *loss, void *arg) {
    told *t = arg;
    CHECK_LT(t->n, 8);
    t->of[t->n++] = *loss;
}

/* A server with the stream "s" of one partition, and snapshots of it by number. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    told by_producer, by_consumer;
    rig_inbox *in;
} bench;

static bench *set_up(seg_loss_fn *on_loss) {
    bench *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->in = calloc(1, sizeof *b->in);
    CHECK(b->in != NULL);
    b->s = server_start(NULL);
    b->c = rig_client(b->s);
    rig_stream(b->c, "s", 1);
    seg_producer_options o;
    seg_error err;
    SEG_INIT(&o);
    o.on_loss = on_loss;
    o.loss_arg = &b->by_producer;
    CHECK_OK(seg_producer_open(&b->p, b->c, "s", &o, &err), &err);
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
    free(b);
}

static void copy_file(const char *from, const char *to) {
    char buffer[65536];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    CHECK(in != NULL && out != NULL);
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        CHECK_EQ(fwrite(buffer, 1, n, out), n);
    fclose(in);
    CHECK_EQ(fclose(out), 0);
}

static void paths(const bench *b, int number, char dump[300], char kept[300]) {
    snprintf(dump, 300, "%s/dump.rdb", server_dir(b->s));
    snprintf(kept, 300, "%s/kept-%d.rdb", server_dir(b->s), number);
}

static void snapshot(const bench *b, int number) {
    char dump[300], kept[300];
    server_do(b->s, "SAVE");
    paths(b, number, dump, kept);
    copy_file(dump, kept);
}

static void go_back(const bench *b, int number) {
    char dump[300], kept[300];
    server_kill9(b->s);
    paths(b, number, dump, kept);
    copy_file(kept, dump);
    server_restart(b->s);
}

static seg_status send_number(const bench *b, unsigned number, seg_position *where) {
    char value[16];
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.value = (seg_bytes){value, (size_t)snprintf(value, sizeof value, "%u", number)};
    return seg_send(b->p, &r, where, &err);
}

static void send_run(const bench *b, unsigned first, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(send_number(b, first + i, NULL), SEG_OK);
}

static uint64_t losses_of(const bench *b) {
    seg_producer_stats st;
    SEG_INIT(&st);
    seg_producer_get_stats(b->p, &st);
    return st.losses;
}

static void check_loss(const told *t, uint64_t first, uint64_t end) {
    CHECK_EQ(t->n, 1);
    CHECK_EQ(t->of[0].what, SEG_LOST_MESSAGES);
    CHECK_EQ(t->of[0].partition, 0);
    CHECK_EQ(t->of[0].era, 1);
    CHECK_EQ(t->of[0].first, first);
    CHECK_EQ(t->of[0].end, end);
}

TEST(a_producer_is_told_of_both) {
    bench *b = set_up(note_loss);
    seg_position where;
    send_run(b, 0, 5);
    snapshot(b, 5);
    send_run(b, 5, 5);
    snapshot(b, 10);
    send_run(b, 10, 5);
    go_back(b, 10);
    WAIT_FOR(RIG_MS, losses_of(b) == 1);
    go_back(b, 5);
    WAIT_FOR(RIG_MS, losses_of(b) == 2);
    CHECK_EQ(seg_producer_poll(b->p, 0, NULL), SEG_OK);
    check_loss(&b->by_producer, 5, 15);
    CHECK_EQ(send_number(b, 100, &where), SEG_OK);
    CHECK_EQ(where.id.offset, 5);
    CHECK_EQ(b->by_producer.n, 1);
    tear_down(b);
}

/* Without a callback the next send says it, once. */
TEST(a_producer_without_a_callback_is_told_once) {
    bench *b = set_up(NULL);
    seg_position where;
    send_run(b, 0, 5);
    snapshot(b, 5);
    send_run(b, 5, 5);
    snapshot(b, 10);
    send_run(b, 10, 5);
    go_back(b, 10);
    WAIT_FOR(RIG_MS, losses_of(b) == 1);
    go_back(b, 5);
    WAIT_FOR(RIG_MS, losses_of(b) == 2);
    CHECK_EQ(send_number(b, 100, NULL), SEG_ELOST);
    CHECK_EQ(send_number(b, 101, &where), SEG_OK);
    CHECK_EQ(where.id.offset, 5);
    tear_down(b);
}

/* Each run is one entry, so that the consumer has read all of it or nothing. */
TEST(a_consumer_is_told_of_both) {
    bench *b = set_up(note_loss);
    seg_producer *p = rig_producer(b->c, "s");
    seg_consumer *k = rig_consumer(
        b->c, "s", &(rig_join){.group = "g", .on_loss = note_loss, .arg = &b->by_consumer});
    rig_put(p, (rig_run){.partitions = 1, .first = 0, .count = 5});
    snapshot(b, 5);
    rig_put(p, (rig_run){.partitions = 1, .first = 5, .count = 5, .bytes = 1000});
    snapshot(b, 10);
    rig_put(p, (rig_run){.partitions = 1, .first = 10, .count = 5});
    rig_take(k, b->in, 15);
    go_back(b, 10);
    WAIT_FOR(RIG_MS, rig_stats(k).losses == 1);
    WAIT_FOR(RIG_MS, rig_stats(k).prefetched_bytes > 5000); /* read again what is left */
    go_back(b, 5);
    WAIT_FOR(RIG_MS, rig_stats(k).losses == 2);
    b->in->n = 0;
    rig_take(k, b->in, 5);
    rig_check_run(b->in, 0, 5, 0);
    check_loss(&b->by_consumer, 5, 15);
    seg_consumer_close(k);
    seg_producer_close(p);
    tear_down(b);
}
