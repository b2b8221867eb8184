/* Every allocation of a consumer fails in its turn: all is delivered, in order, and what was settled
 * is settled. */
#include <unistd.h>

#include "memory_rig.h"

enum { PARTITIONS = 2, MESSAGES = 8 };

/* Each round has a group of its own, to which all messages are new. */
static void set_up_with(sweep *s, seg_codec codec) {
    char key[24];
    seg_producer_options o;
    seg_producer *p = NULL;
    seg_error err;
    sweep_init(s, true);
    rig_stream(s->calm, "s", PARTITIONS);
    SEG_INIT(&o);
    o.linger = 60000;
    o.codec = codec;
    CHECK_OK(seg_producer_open(&p, s->calm, "s", &o, &err), &err);
    for (unsigned i = 0; i < MESSAGES; i++) {
        rig_queue(p, rig_key(key, i % PARTITIONS, PARTITIONS), i, codec != SEG_PLAIN ? 200 : 0);
    }
    rig_flush(p);
    seg_producer_close(p);
}

static void set_up(sweep *s) {
    set_up_with(s, SEG_PLAIN);
}

static seg_consumer *join(const sweep *s) {
    char group[24];
    return rig_consumer(
        s->client, "s",
        &(rig_join){.group = sweep_name(s, group), .session_timeout = 60000, .retry_delay = 1});
}

/* Partition by partition in order, and the first delivery of each. */
static void check_first_deliveries(const rig_inbox *in) {
    uint64_t next[PARTITIONS] = {0};
    CHECK_EQ(in->n, MESSAGES);
    for (size_t i = 0; i < in->n; i++) {
        const seg_delivery *d = &in->d[i];
        CHECK_EQ(d->id.offset, next[d->partition]++);
        CHECK_EQ(d->attempt, 1);
        CHECK_EQ(in->number[i], d->id.offset * PARTITIONS + d->partition);
    }
}

static void leave(seg_consumer *k, const rig_inbox *in) {
    rig_ack(k, in->d, in->n);
    rig_commit(k);
    seg_consumer_close(k);
}

static void check_lag(const sweep *s, uint64_t lag) {
    char group[24];
    CHECK_EQ(rig_lag(s->calm, "s", sweep_name(s, group)), lag);
}

static bool is_empty(const sweep *s) {
    char group[24];
    seg_group_info *info = NULL;
    seg_error err;
    seg_status status = seg_group_describe(&info, s->calm, "s", sweep_name(s, group), &err);
    bool empty = status == SEG_ENOENT || seg_group_info_members(info) == 0;
    seg_group_info_free(info);
    return empty;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static void sweep_opening(seg_start start, seg_codec codec) {
    static rig_inbox in;
    seg_error err;
    char group[24];
    sweep s;
    set_up_with(&s, codec);
    while (sweep_more(&s)) {
        seg_consumer *k = NULL;
        rig_join j = {.group = sweep_name(&s, group),
                      .name = "member",
                      .session_timeout = 60000,
                      .start = start,
                      .start_at = 1};
        sweep_arm(&s);
        seg_status status = rig_try_consumer(&k, s.client, "s", &j, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, k != NULL);
        if (k == NULL) {
            WAIT_FOR(RIG_MS, rig_try_consumer(&k, s.client, "s", &j, &err) == SEG_OK);
        }
        in.n = 0;
        rig_take(k, &in, MESSAGES);
        check_first_deliveries(&in);
        leave(k, &in);
        check_lag(&s, 0);
        WAIT_FOR(RIG_MS, is_empty(&s));
    }
    sweep_end(&s);
}

TEST_DEADLINE(opening_a_consumer, 120) {
    sweep_opening(SEG_EARLIEST, SEG_PLAIN);
}

TEST_DEADLINE(opening_a_consumer_at_a_time, 120) {
    sweep_opening(SEG_AT_TIME, SEG_PLAIN);
}

TEST_DEADLINE(opening_a_consumer_at_a_time_of_compressed_messages, 120) {
    sweep_opening(SEG_AT_TIME, SEG_ZSTD);
}

/* ---- Polling -------------------------------------------------------------------------------- */

static void take_starved(seg_consumer *k, rig_inbox *in, bool *told) {
    int64_t end = test_now_ms() + RIG_MS;
    while (in->n < MESSAGES && test_now_ms() < end) {
        seg_batch *b = NULL;
        seg_error err;
        seg_status status = seg_consumer_poll(&b, k, 3, 5, &err);
        if (status != SEG_OK) {
            CHECK_STATUS(status, SEG_ENOMEM, &err);
            *told = true;
            continue;
        }
        for (size_t i = 0; i < seg_batch_count(b); i++) {
            const seg_message *m = seg_batch_at(b, i);
            in->number[in->n] = rig_number(m);
            in->d[in->n++] = seg_message_delivery(m);
        }
        seg_batch_free(b);
    }
}

/* Joined, but nothing granted yet: all that has to happen until the last message is there. */
static void sweep_polling(seg_codec codec) {
    static rig_inbox in;
    sweep s;
    set_up_with(&s, codec);
    while (sweep_more(&s)) {
        bool told = false;
        in.n = 0;
        seg_consumer *k = join(&s);
        sweep_arm(&s);
        take_starved(k, &in, &told);
        sweep_disarm(&s);
        s.told += told;
        rig_take(k, &in, MESSAGES);
        check_first_deliveries(&in);
        leave(k, &in);
        check_lag(&s, 0);
    }
    sweep_end(&s);
}

TEST_DEADLINE(polling, 120) {
    sweep_polling(SEG_PLAIN);
}

TEST_DEADLINE(polling_compressed_messages, 120) {
    sweep_polling(SEG_ZSTD);
}

/* ---- Settling ------------------------------------------------------------------------------- */

enum { SETTLED = 3 };

/* One by one, so that each answer is of one message; again where there was no memory. */
static void settle(seg_consumer *k, const seg_delivery *d, seg_verdict verdict, bool *told) {
    for (size_t i = 0; i < SETTLED; i++) {
        seg_error err;
        seg_settlement how;
        SEG_INIT(&how);
        how.reason = "because";
        how.delay = verdict == SEG_EXTEND ? 60000 : -1;
        seg_status status = seg_settle(k, &d[i], 1, verdict, &how, &err);
        if (status != SEG_OK) {
            CHECK_STATUS(status, SEG_ENOMEM, &err);
            *told = true;
            WAIT_FOR(RIG_MS, seg_settle(k, &d[i], 1, verdict, &how, &err) == SEG_OK);
        }
    }
}

/* What comes after it: nothing, or those messages once more. */
static void check_rest(const sweep *s, seg_consumer *k, const rig_inbox *in, seg_verdict verdict) {
    static rig_inbox again;
    char group[24];
    sweep_name(s, group);
    bool back = verdict == SEG_RETRY || verdict == SEG_RELEASE;
    again.n = 0;
    rig_take(k, &again, back ? SETTLED : 0);
    for (size_t i = 0; i < again.n; i++) {
        CHECK_EQ(again.d[i].attempt, verdict == SEG_RETRY ? 2 : 1);
    }
    rig_ack(k, again.d, again.n);
    if (verdict == SEG_EXTEND) {
        rig_ack(k, in->d, SETTLED);
    }
    rig_ack(k, in->d + SETTLED, in->n - SETTLED);
    rig_commit(k);
    check_lag(s, 0);
    CHECK_EQ(rig_poll(k, &again, 10, 0), 0);
    static rig_letter letters[MESSAGES];
    size_t n = rig_letters(s->calm, "s", sweep_name(s, group), letters, MESSAGES);
    CHECK_EQ(n, verdict == SEG_REJECT ? SETTLED : 0);
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(letters[i].reason, "rejected");
        CHECK(strcmp(letters[i].error, "because") == 0 || letters[i].error[0] == '\0');
        for (size_t other = 0; other < i; other++) {
            CHECK_NE(letters[i].number, letters[other].number);
        }
    }
}

static void sweep_verdict(seg_verdict verdict) {
    static rig_inbox in;
    sweep s;
    set_up(&s);
    while (sweep_more(&s)) {
        bool told = false;
        in.n = 0;
        seg_consumer *k = join(&s);
        rig_take(k, &in, MESSAGES);
        sweep_arm(&s);
        settle(k, in.d, verdict, &told);
        rig_commit(k);
        sweep_disarm(&s);
        s.told += told;
        check_rest(&s, k, &in, verdict);
        seg_consumer_close(k);
    }
    sweep_end(&s);
}

TEST_DEADLINE(acknowledging, 120) {
    sweep_verdict(SEG_ACK);
}

TEST_DEADLINE(retrying, 120) {
    sweep_verdict(SEG_RETRY);
}

TEST_DEADLINE(releasing, 120) {
    sweep_verdict(SEG_RELEASE);
}

TEST_DEADLINE(rejecting, 120) {
    sweep_verdict(SEG_REJECT);
}

/* ---- Closing -------------------------------------------------------------------------------- */

/* Each message that was not acknowledged has come again. */
static bool has_rest(const rig_inbox *in, const rig_inbox *rest) {
    size_t found = 0;
    for (size_t i = SETTLED; i < in->n; i++) {
        for (size_t j = 0; j < rest->n; j++) {
            found += rest->number[j] == in->number[i];
        }
    }
    return found == MESSAGES - SETTLED;
}

/* The next one gets what was not acknowledged, and goes on from there. */
TEST_DEADLINE(closing_a_consumer, 120) {
    static rig_inbox in, rest;
    sweep s;
    set_up(&s);
    while (sweep_more(&s)) {
        char group[24];
        rig_join j = {.group = sweep_name(&s, group), .name = "member", .session_timeout = 60000};
        in.n = rest.n = 0;
        seg_consumer *k = rig_consumer(s.client, "s", &j);
        rig_take(k, &in, MESSAGES);
        rig_ack(k, in.d, SETTLED);
        sweep_arm(&s);
        seg_consumer_close(k);
        sweep_disarm(&s);
        k = rig_consumer(s.calm, "s", &j);
        while (rig_lag(s.calm, "s", group) > 0) {
            size_t before = rest.n;
            rig_ack(k, rest.d + before, rig_poll(k, &rest, MESSAGES, RIG_MS));
            rig_commit(k);
        }
        CHECK_LE(rest.n, MESSAGES);
        CHECK(has_rest(&in, &rest));
        seg_consumer_close(k);
    }
    sweep_end(&s);
}

/* ---- Convicting ----------------------------------------------------------------------------- */

static rig_join victim(void) {
    return (rig_join){.group = "g", .instance = "i", .session_timeout = 60000, .max_attempts = 2};
}

static void put_killer(void *arg) {
    seg_client *c = rig_client(arg);
    rig_stream(c, "s", 1);
    seg_producer *p = rig_producer(c, "s");
    rig_put(p, (rig_run){.partitions = 1, .count = 1});
    seg_producer_close(p);
    seg_client_close(c);
}

static void take_and_die(void *arg) {
    static rig_inbox in;
    rig_join j = victim();
    seg_consumer *k = rig_consumer(rig_client(arg), "s", &j);
    rig_take(k, &in, 1);
    _exit(7);
}

/* A message that has killed its consumers comes to nobody, also where there is no memory to bury it
 * with, from the n-th allocation of a poll on. Returns whether that was refused. */
static bool convict(uint64_t n) {
    server *s = server_start(NULL);
    rig_join j = victim();
    seg_batch *batch = NULL;
    seg_error err;
    CHECK_EQ(rig_wait(rig_fork(put_killer, s)), 0);
    CHECK_EQ(rig_wait(rig_fork(take_and_die, s)), 7);
    CHECK_EQ(rig_wait(rig_fork(take_and_die, s)), 7);
    seg_client *c = rig_client(s);
    seg_consumer *k = rig_consumer(c, "s", &j);
    WAIT_FOR(RIG_MS, rig_stats(k).prefetched_bytes > 0);
    sg_alloc_fail_at(n, 1);
    seg_status status = seg_consumer_poll(&batch, k, 10, 0, &err);
    sg_alloc_fail_at(0, 0);
    if (status != SEG_OK) {
        CHECK_STATUS(status, SEG_ENOMEM, &err);
    }
    CHECK_EQ(seg_batch_count(batch), 0);
    seg_batch_free(batch);
    while (rig_stats(k).dead_lettered == 0) {
        CHECK_OK(seg_consumer_poll(&batch, k, 10, 10, &err), &err);
        CHECK_EQ(seg_batch_count(batch), 0);
        seg_batch_free(batch);
    }
    rig_letter letter;
    CHECK_EQ(rig_letters(c, "s", "g", &letter, 1), 1);
    CHECK_STR(letter.reason, "crashed");
    seg_consumer_close(k);
    seg_client_close(c);
    server_stop(s);
    return status != SEG_OK;
}

TEST(convicting) {
    unsigned refused = 0;
    for (uint64_t n = 1; n <= 8; n++) {
        refused += convict(n);
    }
    CHECK_GE(refused, 3);
}
