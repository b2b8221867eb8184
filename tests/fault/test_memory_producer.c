/* Every allocation of a producer fails in its turn: what it says of each message is true. */
#include "ledger.h"
#include "memory_rig.h"

enum { PARTITIONS = 2, PRODUCER_KEYS = 4 };

/* The sweep's client, with time limits of this half. */
static seg_producer *open_producer(const sweep *s, seg_codec codec) {
    seg_producer_options o;
    seg_producer *p = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.codec = codec;
    o.delivery_timeout = s->forever ? SWEEP_SHORT_MS : SWEEP_CALM_MS;
    CHECK_OK(seg_producer_open(&p, s->client, "s", &o, &err), &err);
    return p;
}

/* It goes on as if nothing had been: later messages are stored behind the earlier ones. */
static void check_alive(const sweep *s, ledger *l, seg_producer *p) {
    seg_error err;
    for (unsigned key = 0; key < PRODUCER_KEYS; key++) {
        WAIT_FOR(RIG_MS, ledger_send(l, p, key, 20, &err) == SEG_OK);
    }
    if (!s->forever) {
        return;
    }
    seg_producer_stats stats;
    SEG_INIT(&stats);
    seg_producer_get_stats(p, &stats);
    CHECK_EQ(stats.queued, 0);
    CHECK_EQ(stats.queued_bytes, 0);
}

static void finish(sweep *s, ledger *l) {
    printf("%zu messages: %zu stored, %zu ENOMEM, %zu ETIMEDOUT, %zu EUNKNOWN\n", ledger_sent(l),
           ledger_count(l, SEG_OK), ledger_count(l, SEG_ENOMEM), ledger_count(l, SEG_ETIMEDOUT),
           ledger_count(l, SEG_EUNKNOWN));
    ledger_check(l, s->server, "default", "s");
    ledger_free(l);
    sweep_end(s);
}

TEST(opening_a_producer) {
    seg_error err;
    sweep s;
    sweep_init(&s, true);
    ledger *l = ledger_new(PRODUCER_KEYS);
    rig_stream(s.calm, "s", PARTITIONS);
    while (sweep_more(&s)) {
        seg_producer *p = NULL;
        sweep_arm(&s);
        seg_status status = seg_producer_open(&p, s.client, "s", NULL, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, p != NULL);
        if (p != NULL) {
            check_alive(&s, l, p);
        }
        seg_producer_close(p);
    }
    finish(&s, l);
}

TEST(sending) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    s.timeout = SWEEP_CALM_MS;
    ledger *l = ledger_new(PRODUCER_KEYS);
    rig_stream(s.calm, "s", PARTITIONS);
    while (sweep_more(&s)) {
        seg_producer *p = open_producer(&s, SEG_PLAIN);
        sweep_arm(&s);
        seg_status status = ledger_send(l, p, (unsigned)s.n % PRODUCER_KEYS, 3000, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, WAITS, &err);
        check_alive(&s, l, p);
        seg_producer_close(p);
    }
    finish(&s, l);
}

/* Several batches in both partitions, and a flush. Each message has its own outcome. */
static void sweep_many(seg_codec codec) {
    enum { MESSAGES = 16 };
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    s.timeout = SWEEP_CALM_MS;
    ledger *l = ledger_new(PRODUCER_KEYS);
    rig_stream(s.calm, "s", PARTITIONS);
    while (sweep_more(&s)) {
        seg_producer *p = open_producer(&s, codec);
        size_t stored = ledger_count(l, SEG_OK);
        sweep_arm(&s);
        seg_status worst = SEG_OK;
        seg_error why = {.status = SEG_OK};
        for (unsigned i = 0; i < MESSAGES; i++) {
            seg_status status = ledger_send_async(l, p, i % PRODUCER_KEYS, 20000, &err);
            why = status != SEG_OK ? err : why;
            worst = status != SEG_OK ? status : worst;
        }
        CHECK_OK(seg_producer_flush(p, RIG_MS, &err), &err);
        sweep_disarm(&s);
        CHECK_EQ(ledger_waiting(l), 0);
        if (worst == SEG_OK && ledger_count(l, SEG_OK) - stored < MESSAGES) {
            why = ledger_last_error(l);
            worst = why.status;
        }
        sweep_judge(&s, worst, WAITS, &why);
        check_alive(&s, l, p);
        seg_producer_close(p);
    }
    finish(&s, l);
}

TEST(sending_many) {
    sweep_many(SEG_PLAIN);
}

TEST(sending_many_with_lz4) {
    sweep_many(SEG_LZ4);
}

TEST(sending_many_with_zstd) {
    sweep_many(SEG_ZSTD);
}

/* Its callbacks run all the same, each once: what is unsent was not stored. */
TEST(closing_a_producer) {
    seg_error err;
    sweep s;
    sweep_init(&s, true);
    ledger *l = ledger_new(PRODUCER_KEYS);
    rig_stream(s.calm, "s", PARTITIONS);
    while (sweep_more(&s)) {
        seg_producer *p = open_producer(&s, SEG_PLAIN);
        sweep_arm(&s);
        for (unsigned i = 0; i < PRODUCER_KEYS; i++) {
            seg_status status = ledger_send_async(l, p, i, 100, &err);
            CHECK(status == SEG_OK || status == SEG_ENOMEM);
        }
        seg_producer_close(p);
        sweep_disarm(&s);
        CHECK_EQ(ledger_waiting(l), 0);
    }
    CHECK_EQ(ledger_sent(l), ledger_count(l, SEG_OK) + ledger_count(l, SEG_ENOMEM) +
                                 ledger_count(l, SEG_ECLOSED) + ledger_count(l, SEG_EUNKNOWN));
    finish(&s, l);
}
