/* A consumer whose answers come in pieces, end in the middle or make no sense: it connects again and
 * goes on where it was, and each message is delivered once. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy.h"
#include "rig.h"

enum { PARTITIONS = 3 };

/* The producer has a way of its own to the server, the consumer's can be disturbed. */
typedef struct bench {
    server *s;
    proxy *way;
    seg_client *c, *disturbed;
    seg_producer *p;
    seg_consumer *k;
    rig_inbox *in;
} bench;

static bench set_up(void) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    seg_client_options o;
    seg_error err;
    CHECK(b.in != NULL);
    b.way = proxy_start(server_socket(b.s));
    SEG_INIT(&o);
    o.url = proxy_url(b.way);
    CHECK_OK(seg_client_open(&b.disturbed, &o, &err), &err);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", PARTITIONS);
    b.p = rig_producer(b.c, "s");
    /* Nothing is given up while it is cut off, so that what comes twice was fetched twice. */
    b.k = rig_consumer(b.disturbed, "s",
                       &(rig_join){.group = "g", .session_timeout = 60000, .ack_timeout = 600000});
    rig_settle(b.k, PARTITIONS);
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_consumer_close(b->k);
    seg_client_close(b->disturbed);
    seg_client_close(b->c);
    proxy_stop(b->way);
    server_stop(b->s);
    free(b->in);
}

/* All numbers below `n`, each once, and those of a partition in their order. */
static void check_all(bench *b, size_t n) {
    unsigned at[PARTITIONS] = {0, 1, 2};
    rig_take(b->k, b->in, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(b->in->number[i], at[b->in->d[i].partition]);
        CHECK_EQ(b->in->d[i].attempt, 1);
        at[b->in->d[i].partition] += PARTITIONS;
    }
    rig_ack(b->k, b->in->d, n);
    rig_commit(b->k);
    CHECK_EQ(rig_lag(b->c, "s", "g"), 0);
    CHECK_EQ(rig_poll(b->k, b->in, 10, 200), 0);
    CHECK_EQ(rig_stats(b->k).foreign, 0);
}

TEST(answers_one_byte_at_a_time) {
    bench b = set_up();
    proxy_bytewise(b.way, PROXY_REPLIES, true);
    for (unsigned i = 0; i < 150; i += 30) {
        rig_spread(b.p, PARTITIONS, i, 30);
    }
    rig_take(b.k, b.in, 150);
    proxy_bytewise(b.way, PROXY_REPLIES, false);
    check_all(&b, 150);
    tear_down(&b);
}

/* Wherever it is cut: the answer is some 500 bytes. */
TEST(answers_that_end_in_the_middle) {
    bench b = set_up();
    size_t n = 0;
    for (size_t cut = 1; cut < 500; cut += 49) {
        proxy_cut_after(b.way, PROXY_REPLIES, cut);
        rig_spread(b.p, PARTITIONS, (unsigned)n, 30);
        n += 30;
        while (!proxy_has_cut(b.way)) {
            rig_poll(b.k, b.in, 1000, 10);
            if (b.in->n == n) { /* it was more than all that came: some more */
                rig_spread(b.p, PARTITIONS, (unsigned)n, 30);
                n += 30;
            }
        }
        rig_take(b.k, b.in, n);
    }
    check_all(&b, n);
    tear_down(&b);
}

/* The fetch connection alone is over, and made again. */
TEST(answers_that_make_no_sense) {
    static const char *const lies[][2] = {
        {"*2\r\n$1\r\nb\r\n", "*2\r\n*1\r\nb\r\n"}, /* a name that is no string */
        {"$1\r\nb\r\n$", "$1\r\nb\r\n*"},           /* a value that is none */
        {"$1\r\nb\r\n", "$2\r\nb\r\n"},             /* a longer one */
        {":log\r\n", ":lag\r\n"},                   /* a key that nobody asked for */
    };
    bench b = set_up();
    size_t n = 0;
    for (size_t i = 0; i < 4 * 3; i++) {
        size_t before = proxy_accepted(b.way);
        proxy_falsify(b.way, PROXY_REPLIES, lies[i % 4][0], lies[i % 4][1]);
        rig_spread(b.p, PARTITIONS, (unsigned)n, 30);
        n += 30;
        WAIT_FOR(RIG_MS, proxy_has_falsified(b.way));
        rig_take(b.k, b.in, n);
        CHECK_EQ(proxy_accepted(b.way), before + 1);
    }
    check_all(&b, n);
    tear_down(&b);
}

/* An entry that says to be one of those that were read: it is not delivered as that one, and reading
 * goes on where it was. */
TEST(an_entry_that_goes_back) {
    bench b = set_up();
    size_t n = 30 * PARTITIONS;
    rig_spread(b.p, PARTITIONS, 0, (unsigned)n);
    rig_take(b.k, b.in, n);
    proxy_falsify(b.way, PROXY_REPLIES, "$4\r\n1-30\r\n", "$4\r\n1-07\r\n");
    rig_spread(b.p, PARTITIONS, (unsigned)n, 1);
    rig_take(b.k, b.in, n + 1);
    CHECK(proxy_has_falsified(b.way));
    CHECK_EQ(rig_stats(b.k).foreign, 1);
    CHECK_EQ(b.in->number[n], n);
    CHECK_EQ(b.in->d[n].id.offset, 30);
    CHECK_EQ(rig_poll(b.k, b.in, 10, 200), 0);
    tear_down(&b);
}

/* Larger than what a socket holds, and cut in the middle of the value. */
TEST(large_answers_that_end_in_the_middle) {
    enum { BYTES = 60000, EACH = 30 };
    bench b = set_up();
    size_t n = 0;
    for (size_t i = 0; i < 6; i++) {
        proxy_cut_after(b.way, PROXY_REPLIES, 100000 + i * 177777);
        for (unsigned p = 0; p < PARTITIONS; p++) {
            for (unsigned k = 0; k < EACH / PARTITIONS; k++) {
                char key[24];
                rig_queue(b.p, rig_key(key, p, PARTITIONS), (unsigned)n + k * PARTITIONS + p,
                          BYTES);
            }
        }
        rig_flush(b.p);
        n += EACH;
        rig_take(b.k, b.in, n);
        CHECK(proxy_has_cut(b.way));
    }
    check_all(&b, n);
    tear_down(&b);
}
