/* What results from messages: seg_forward with consumers. An output is stored once, and its input
 * is settled after it, whatever happens between: verdicts that come late, deliveries that are
 * given back, outputs that fail, processes that die. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

enum { NUMBERS = 1000, SHORT_MS = 300 };

/* A server, a client, the streams "in", "out" and "more" of one partition each; their producers,
 * which linger until they are flushed: until then an output is under way. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *in, *out, *more;
    rig_inbox *got;
} bench;

static atomic_uint differs;

static void on_log(seg_log_level level, const char *event, const char *text, void *arg) {
    (void)level;
    (void)text;
    (void)arg;
    atomic_fetch_add(&differs, strcmp(event, "forward-differs") == 0 ? 1 : 0);
}

static bench set_up(void) {
    bench b = {.s = server_start(NULL), .got = calloc(1, sizeof *b.got)};
    seg_client_options o;
    seg_error err;
    CHECK(b.got != NULL);
    SEG_INIT(&o);
    o.url = server_url(b.s);
    o.log = on_log;
    CHECK_OK(seg_client_open(&b.c, &o, &err), &err);
    rig_stream(b.c, "in", 1);
    rig_stream(b.c, "out", 1);
    rig_stream(b.c, "more", 1);
    b.in = rig_producer(b.c, "in");
    b.out = rig_producer(b.c, "out");
    b.more = rig_producer(b.c, "more");
    return b;
}

static void close_producer(seg_producer **p) {
    seg_producer_close(*p);
    *p = NULL;
}

/* No thread of ours is left, so that the case may fork. */
static void disconnect(bench *b) {
    close_producer(&b->in);
    close_producer(&b->out);
    close_producer(&b->more);
    seg_client_close(b->c);
    b->c = NULL;
}

static void tear_down(bench *b) {
    disconnect(b);
    server_stop(b->s);
    free(b->got);
}

static void put(bench *b, unsigned count) {
    rig_put_keys(b->in, (const char *const[]){"k"}, 1, 0, count);
}

static seg_status try_forward(seg_consumer *k, const seg_delivery *d, seg_producer *p,
                              unsigned number, seg_error *err) {
    char value[16];
    seg_record r;
    int len = snprintf(value, sizeof value, "%u", number);
    SEG_INIT(&r);
    r.key = (seg_bytes){"k", 1};
    r.value = (seg_bytes){value, (size_t)len};
    return seg_forward(k, d, p, &r, err);
}

static void forward(seg_consumer *k, const seg_delivery *d, seg_producer *p, unsigned number) {
    seg_error err;
    CHECK_OK(try_forward(k, d, p, number, &err), &err);
}

/* It is acknowledged, but not done: something that was forwarded for it is under way. */
static void expect_waiting(bench *b, seg_consumer *k) {
    CHECK_STATUS(seg_consumer_commit(k, SHORT_MS, NULL), SEG_ETIMEDOUT, NULL);
    CHECK_EQ(rig_cursor(b->c, "in", "g", 0).committed, 0);
}

static void expect_done(bench *b, seg_consumer *k, uint64_t out, uint64_t more) {
    rig_commit(k);
    CHECK_EQ(rig_lag(b->c, "in", "g"), 0);
    CHECK_EQ(rig_messages(b->c, "out"), out);
    CHECK_EQ(rig_messages(b->c, "more"), more);
}

/* One message in hand, and an output of it under way. */
static seg_consumer *take_and_forward(bench *b, const rig_join *j) {
    put(b, 1);
    seg_consumer *k = rig_consumer(b->c, "in", j);
    rig_take(k, b->got, 1);
    forward(k, b->got->d, b->out, 0);
    return k;
}

/* ---- The acknowledgement waits -------------------------------------------------------------- */

TEST(an_acknowledgement_waits_for_the_outputs) {
    bench b = set_up();
    seg_error err;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    forward(k, b.got->d, b.more, 1);
    forward(k, b.got->d, b.out, 2);
    rig_ack(k, b.got->d, 1);
    rig_ack(k, b.got->d, 1); /* again is no error */
    CHECK_STATUS(try_forward(k, b.got->d, b.out, 3, &err), SEG_EINVAL, &err);
    CHECK_EQ(rig_stats(k).acked, 0);
    expect_waiting(&b, k);
    rig_flush(b.out);
    expect_waiting(&b, k);
    rig_flush(b.more);
    expect_done(&b, k, 2, 1);
    CHECK_EQ(rig_stats(k).acked, 1);
    CHECK_EQ(rig_stats(k).forwarded, 3);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What was acknowledged and waits stays so: it is not rejected, retried or given back as well. */
TEST(the_first_verdict_counts_while_outputs_are_under_way) {
    bench b = set_up();
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g", .ack_timeout = 200});
    rig_ack(k, b.got->d, 1);
    CHECK_OK(rig_verdict(k, b.got->d, SEG_REJECT, 0, "too late"), NULL);
    CHECK_STATUS(rig_verdict(k, b.got->d, SEG_RETRY, -1, NULL), SEG_EFENCED, NULL);
    CHECK_STATUS(rig_verdict(k, b.got->d, SEG_RELEASE, 0, NULL), SEG_EFENCED, NULL);
    CHECK_EQ(rig_poll(k, b.got, 1, 600), 0); /* no ack timeout runs any more, either */
    expect_waiting(&b, k);
    rig_flush(b.out);
    expect_done(&b, k, 1, 0);
    CHECK_EQ(rig_messages(b.c, "in.g.dlq"), 0);
    CHECK_EQ(rig_stats(k).rejected, 0);
    CHECK_EQ(rig_stats(k).acked, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Verdicts that come late, and deliveries that are given back ---------------------------- */

/* An acknowledgement of a delivery that has failed meanwhile is final, but only if all that was
 * forwarded for it is stored: what is still under way would be lost with us. */
static void late_ack(seg_verdict how) {
    bench b = set_up();
    seg_consumer *k =
        take_and_forward(&b, &(rig_join){.group = "g", .ack_timeout = how == 0 ? 200 : 60000});
    seg_delivery d = b.got->d[0];
    if (how == 0) {
        rig_take(k, b.got, 2); /* its ack timeout ran out, and it is delivered again */
        CHECK_EQ(b.got->d[1].attempt, 2);
        rig_settle_as(k, &b.got->d[1], SEG_EXTEND, 60000, NULL);
    } else {
        rig_settle_as(k, &d, how, 3600000, NULL);
    }
    CHECK_STATUS(rig_verdict(k, &d, SEG_ACK, 0, NULL), SEG_EFENCED, NULL);
    rig_commit(k);
    CHECK_EQ(rig_cursor(b.c, "in", "g", 0).committed, 0);
    rig_flush(b.out);
    WAIT_FOR(RIG_MS, rig_stats(k).forwarded == 1);
    rig_ack(k, &d, 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(a_late_ack_after_the_ack_timeout_does_not_overtake_its_output) {
    late_ack(0);
}

TEST(a_late_ack_after_a_retry_does_not_overtake_its_output) {
    late_ack(SEG_RETRY);
}

TEST(a_late_ack_after_a_release_does_not_overtake_its_output) {
    late_ack(SEG_RELEASE);
}

/* Refused, it comes again, and the same output is not stored twice. */
TEST(what_a_late_ack_could_not_settle_is_forwarded_again_and_stored_once) {
    bench b = set_up();
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_settle_as(k, b.got->d, SEG_RETRY, -1, NULL);
    CHECK_STATUS(rig_verdict(k, b.got->d, SEG_ACK, 0, NULL), SEG_EFENCED, NULL);
    rig_take(k, b.got, 2);
    CHECK_EQ(b.got->d[1].attempt, 2);
    forward(k, &b.got->d[1], b.out, 0);
    rig_ack(k, &b.got->d[1], 1);
    expect_waiting(&b, k);
    rig_flush(b.out);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* An attempt that was released does not count, so the next delivery has the same number. What the
 * first one has under way is not taken for what the second one sent:
 *
 *     delivery 1    out ──────┐ released
 *     delivery 2    out, more │ acknowledged: waits for "more" though two outputs have come back
 */
TEST(outputs_of_a_released_delivery_are_not_taken_for_those_of_the_next) {
    bench b = set_up();
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_settle_as(k, b.got->d, SEG_RELEASE, 0, NULL);
    rig_take(k, b.got, 2);
    CHECK_EQ(b.got->d[1].attempt, 1);
    forward(k, &b.got->d[1], b.out, 0);
    forward(k, &b.got->d[1], b.more, 1);
    rig_ack(k, &b.got->d[1], 1);
    rig_flush(b.out);
    WAIT_FOR(RIG_MS, rig_stats(k).forwarded == 2);
    expect_waiting(&b, k);
    rig_flush(b.more);
    expect_done(&b, k, 1, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Nor do they keep its acknowledgement waiting for ever. */
TEST(outputs_of_two_deliveries_come_back_in_any_order) {
    bench b = set_up();
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_settle_as(k, b.got->d, SEG_RELEASE, 0, NULL);
    rig_take(k, b.got, 2);
    forward(k, &b.got->d[1], b.out, 0);
    rig_flush(b.out);
    WAIT_FOR(RIG_MS, rig_stats(k).forwarded == 2);
    rig_ack(k, &b.got->d[1], 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Whoever forwards nothing the second time has forwarded it the first time: it is waited for. */
TEST(an_acknowledgement_waits_for_what_a_released_delivery_forwarded) {
    bench b = set_up();
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_settle_as(k, b.got->d, SEG_RELEASE, 0, NULL);
    rig_take(k, b.got, 2);
    rig_ack(k, &b.got->d[1], 1);
    expect_waiting(&b, k);
    rig_flush(b.out);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Outputs that fail ---------------------------------------------------------------------- */

/* The message is not acknowledged, so a commit must not say so; it comes again. */
static void failing_output(bool acked_before) {
    bench b = set_up();
    seg_error err;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g", .retry_delay = 1});
    if (acked_before) {
        rig_ack(k, b.got->d, 1);
    }
    close_producer(&b.out);
    if (!acked_before) {
        rig_ack(k, b.got->d, 1);
    }
    CHECK_STATUS(seg_consumer_commit(k, RIG_MS, &err), SEG_EFENCED, &err);
    CHECK_CONTAINS(err.text, "forwarded");
    CHECK_EQ(rig_cursor(b.c, "in", "g", 0).committed, 0);
    rig_take(k, b.got, 2);
    CHECK_EQ(b.got->d[1].attempt, 2);
    b.out = rig_producer(b.c, "out");
    forward(k, &b.got->d[1], b.out, 0);
    rig_flush(b.out);
    rig_ack(k, &b.got->d[1], 1);
    expect_done(&b, k, 1, 0);
    CHECK_EQ(rig_stats(k).acked, 1);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(commit_tells_of_an_output_that_fails_after_the_ack) {
    failing_output(true);
}

TEST(commit_tells_of_an_output_that_failed_before_the_ack) {
    failing_output(false);
}

TEST(an_output_to_a_deleted_stream_fails) {
    bench b = set_up();
    seg_error err;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g", .retry_delay = 1});
    rig_ack(k, b.got->d, 1);
    CHECK_OK(seg_stream_delete(b.c, "out", &err), &err);
    (void)seg_producer_flush(b.out, RIG_MS, NULL); /* it fails, or what it sends does */
    CHECK_STATUS(seg_consumer_commit(k, RIG_MS, &err), SEG_EFENCED, &err);
    rig_take(k, b.got, 2);
    CHECK_EQ(b.got->d[1].attempt, 2);
    CHECK_STATUS(try_forward(k, &b.got->d[1], b.out, 0, &err), SEG_ENOENT, &err);
    rig_ack(k, &b.got->d[1], 1);
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "in", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What an earlier delivery of the same number could not store is not forgotten with it. */
TEST(a_failed_output_of_a_released_delivery_counts) {
    bench b = set_up();
    seg_error err;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g", .retry_delay = 1});
    rig_settle_as(k, b.got->d, SEG_RELEASE, 0, NULL);
    close_producer(&b.out);
    rig_take(k, b.got, 2);
    CHECK_EQ(b.got->d[1].attempt, 1);
    rig_ack(k, &b.got->d[1], 1);
    CHECK_STATUS(seg_consumer_commit(k, RIG_MS, &err), SEG_EFENCED, &err);
    rig_take(k, b.got, 3);
    CHECK_EQ(b.got->d[2].attempt, 2);
    b.out = rig_producer(b.c, "out");
    forward(k, &b.got->d[2], b.out, 0);
    rig_flush(b.out);
    rig_ack(k, &b.got->d[2], 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* But the next delivery has sent the same again, by another producer, and that is stored. */
TEST(a_failed_output_of_a_released_delivery_does_not_count_where_it_was_sent_again) {
    bench b = set_up();
    seg_producer *other = rig_producer(b.c, "out");
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_settle_as(k, b.got->d, SEG_RELEASE, 0, NULL);
    rig_take(k, b.got, 2);
    forward(k, &b.got->d[1], other, 0);
    close_producer(&b.out);
    rig_flush(other);
    rig_ack(k, &b.got->d[1], 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    seg_producer_close(other);
    tear_down(&b);
}

/* Out of attempts, it is a dead letter that says which output failed. */
TEST(an_output_that_fails_counts_as_an_attempt) {
    bench b = set_up();
    static rig_letter letter;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g", .max_attempts = 1});
    rig_ack(k, b.got->d, 1);
    close_producer(&b.out);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "in", "g") == 0);
    CHECK_EQ(rig_letters(b.c, "in", "g", &letter, 1), 1);
    CHECK_STR(letter.reason, "max-attempts");
    CHECK_EQ(letter.attempts, 1);
    CHECK_EQ(rig_stats(k).acked, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The application gives another output for the same input: refused and logged, and the message
 * fails until it gives the one that is stored. */
TEST(another_output_in_the_place_of_a_stored_one_fails) {
    bench b = set_up();
    seg_error err;
    seg_consumer *k = take_and_forward(&b, &(rig_join){.group = "g"});
    rig_flush(b.out);
    seg_consumer_close(k);
    CHECK_EQ(atomic_load(&differs), 0);
    k = rig_consumer(b.c, "in", &(rig_join){.group = "g", .retry_delay = 1});
    rig_take(k, b.got, 2);
    forward(k, &b.got->d[1], b.out, 77);
    rig_ack(k, &b.got->d[1], 1);
    CHECK_EQ(seg_producer_flush(b.out, RIG_MS, &err), SEG_OK);
    CHECK_STATUS(seg_consumer_commit(k, RIG_MS, &err), SEG_EFENCED, &err);
    CHECK_EQ(atomic_load(&differs), 1);
    rig_take(k, b.got, 3);
    forward(k, &b.got->d[2], b.out, 0);
    rig_flush(b.out);
    rig_ack(k, &b.got->d[2], 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct waiting_call {
    seg_consumer *k;
    const seg_delivery *d;
    seg_producer *p;
    atomic_bool begun;
    seg_status status;
} waiting_call;

static void *forward_and_wait(void *arg) {
    waiting_call *w = arg;
    seg_error err;
    atomic_store(&w->begun, true);
    w->status = try_forward(w->k, w->d, w->p, 1, &err);
    return NULL;
}

/* It is settled too early, while a call for it still waits for room and then finds none. The call
 * has failed, but the acknowledgement counts. */
TEST(an_ack_while_a_call_waits_for_room_is_not_lost_with_the_call) {
    bench b = set_up();
    pthread_t thread;
    seg_producer *narrow = NULL;
    seg_producer_options o;
    seg_error err;
    SEG_INIT(&o);
    o.linger = 60000;
    o.max_queued = 1;
    o.delivery_timeout = 1000;
    CHECK_OK(seg_producer_open(&narrow, b.c, "out", &o, &err), &err);
    put(&b, 2);
    seg_consumer *k = rig_consumer(b.c, "in", &(rig_join){.group = "g"});
    rig_take(k, b.got, 2);
    server_pause(b.s); /* so that the first output keeps its room */
    forward(k, &b.got->d[0], narrow, 0);
    waiting_call w = {.k = k, .d = &b.got->d[1], .p = narrow};
    CHECK_EQ(pthread_create(&thread, NULL, forward_and_wait, &w), 0);
    WAIT_FOR(RIG_MS, atomic_load(&w.begun));
    int64_t start = test_now_ms();
    WAIT_FOR(RIG_MS, test_now_ms() - start > SHORT_MS);
    rig_ack(k, &b.got->d[1], 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(w.status, SEG_EFULL, NULL); /* another one: the ack came before the call */
    server_resume(b.s);
    rig_flush(narrow);
    rig_ack(k, &b.got->d[0], 1);
    expect_done(&b, k, 1, 0);
    seg_consumer_close(k);
    seg_producer_close(narrow);
    tear_down(&b);
}

/* ---- Ends ----------------------------------------------------------------------------------- */

/* The outcome of an output comes when its consumer is closed already; its client may be too. */
static void outcome_after_the_end(bool client_first) {
    bench b = set_up();
    seg_client *mine = rig_client_within(b.s, 1000);
    put(&b, 1);
    seg_consumer *k =
        rig_consumer(mine, "in", &(rig_join){.group = "g", .instance = "i", .max_attempts = 1});
    rig_take(k, b.got, 1);
    forward(k, b.got->d, b.out, 0);
    rig_ack(k, b.got->d, 1);
    seg_consumer_close(k);
    if (client_first) {
        seg_client_close(mine);
    }
    close_producer(&b.out);
    if (!client_first) {
        seg_client_close(mine);
    }
    CHECK_EQ(rig_cursor(b.c, "in", "g", 0).committed, 0);
    CHECK_EQ(rig_messages(b.c, "out"), 0);
    tear_down(&b);
}

TEST(outcomes_after_the_consumer_was_closed) {
    outcome_after_the_end(false);
}

TEST(outcomes_after_the_consumer_and_its_client_were_closed) {
    outcome_after_the_end(true);
}

/* An application may consume the dead letters in the group that a replay uses too. What it
 * forwarded for one and what a replay moves are two different things. */
TEST(a_replay_is_not_taken_for_an_output_of_the_same_group) {
    bench b = set_up();
    seg_dlq *q = NULL;
    const seg_letter *l = NULL;
    seg_error err;
    size_t done = 0;
    put(&b, 1);
    seg_consumer *k = rig_consumer(b.c, "in", &(rig_join){.group = "g"});
    rig_take(k, b.got, 1);
    rig_settle_as(k, b.got->d, SEG_REJECT, 0, NULL);
    rig_commit(k);
    seg_consumer_close(k);
    k = rig_consumer(b.c, "in.g.dlq", &(rig_join){.group = "dlq"});
    rig_take(k, b.got, 2);
    forward(k, &b.got->d[1], b.out, 77);
    rig_flush(b.out);
    seg_consumer_close(k); /* before its acknowledgement */
    CHECK_OK(seg_dlq_open(&q, b.c, "in", "g", &err), &err);
    CHECK_OK(seg_dlq_next(&l, q, &err), &err);
    seg_position at = l->at;
    CHECK_OK(seg_dlq_replay(q, &at, 1, "out", &done, &err), &err);
    CHECK_EQ(done, 1);
    CHECK_EQ(rig_messages(b.c, "out"), 2);
    seg_dlq_close(q);
    tear_down(&b);
}

/* ---- Exactly once --------------------------------------------------------------------------- */

/* How often each number is in a stream. */
static void census(seg_client *c, const char *stream, unsigned count[NUMBERS]) {
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    memset(count, 0, NUMBERS * sizeof *count);
    seg_consumer *k = rig_consumer(c, stream, &(rig_join){.group = "census"});
    rig_take(k, in, rig_messages(c, stream));
    for (size_t i = 0; i < in->n; i++) {
        CHECK_LT(in->number[i], NUMBERS);
        CHECK_EQ(count[in->number[i]]++, 0);
        CHECK_EQ(in->number[i], i); /* all have one key */
    }
    seg_consumer_close(k);
    free(in);
}

enum { INPUTS = 300, BATCH = 20 };

/* One life: copy "in" to "out" and "more", and die at the given moment. */
typedef struct life {
    server *s;
    unsigned forwarded; /* after so many messages' outputs */
    bool stored;        /* and these are stored, but their inputs not committed */
} life;

static void die(void) {
    kill(getpid(), SIGKILL);
}

static void live(void *arg) {
    const life *l = arg;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_client *c = rig_client(l->s);
    seg_producer *out = rig_producer(c, "out"), *more = rig_producer(c, "more");
    seg_consumer *k = rig_consumer(c, "in", &(rig_join){.group = "g", .instance = "i"});
    for (unsigned n = 0; n < l->forwarded;) {
        in->n = 0;
        rig_poll(k, in, BATCH, 1000);
        for (size_t i = 0; i < in->n; i++, n++) {
            forward(k, &in->d[i], out, in->number[i]);
            forward(k, &in->d[i], more, in->number[i]);
            if (n + 1 == l->forwarded && !l->stored) {
                die();
            }
        }
        rig_flush(more);
        rig_flush(out);
        if (n >= l->forwarded) {
            die();
        }
        rig_ack(k, in->d, in->n);
        if (n % 3 == 0) {
            rig_commit(k);
        }
    }
}

static unsigned copy_the_rest(bench *b) {
    unsigned again = 0;
    b->c = rig_client(b->s);
    b->out = rig_producer(b->c, "out");
    b->more = rig_producer(b->c, "more");
    seg_consumer *k = rig_consumer(b->c, "in", &(rig_join){.group = "g", .instance = "i"});
    for (size_t from = 0; rig_lag(b->c, "in", "g") > 0; from = b->got->n) {
        rig_poll(k, b->got, BATCH, 200);
        for (size_t i = from; i < b->got->n; i++) {
            again += b->got->d[i].attempt > 1;
            forward(k, &b->got->d[i], b->out, b->got->number[i]);
            forward(k, &b->got->d[i], b->more, b->got->number[i]);
        }
        rig_ack(k, b->got->d + from, b->got->n - from);
        rig_flush(b->out);
        rig_flush(b->more);
        rig_commit(k);
    }
    seg_consumer_close(k);
    return again;
}

/* Killed again and again between outputs and commits: each output is in both streams, once, and in
 * order. */
TEST(outputs_are_stored_once_however_often_their_consumer_is_killed) {
    bench b = set_up();
    static unsigned count[NUMBERS];
    put(&b, INPUTS);
    disconnect(&b);
    for (unsigned i = 0; i < 6; i++) {
        life l = {.s = b.s, .forwarded = 1 + 17 * i, .stored = i % 2 == 0};
        CHECK_EQ(rig_wait(rig_fork(live, &l)), -SIGKILL);
    }
    CHECK_GT(copy_the_rest(&b), 0);
    CHECK_EQ(rig_messages(b.c, "out"), INPUTS);
    CHECK_EQ(rig_messages(b.c, "more"), INPUTS);
    census(b.c, "out", count);
    census(b.c, "more", count);
    tear_down(&b);
}

typedef struct copier {
    seg_consumer *k;
    seg_producer *p;
    seg_run_options options;
} copier;

/* Every tenth is handled twice. */
static seg_verdict copy(const seg_message *m, seg_settlement *how, void *arg) {
    copier *r = arg;
    seg_delivery d = seg_message_delivery(m);
    how->delay = -1;
    forward(r->k, &d, r->p, rig_number(m));
    return rig_number(m) % 10 == 3 && d.attempt == 1 ? SEG_RETRY : SEG_ACK;
}

static void *run(void *arg) {
    copier *r = arg;
    seg_error err;
    CHECK_OK(seg_consumer_run(r->k, &r->options, &err), &err);
    return NULL;
}

/* The next of a key may be handled while outputs of the one before are under way: they are queued
 * in order, and stay so. */
TEST(handlers_forward_in_the_order_of_the_key) {
    bench b = set_up();
    static unsigned count[NUMBERS];
    pthread_t thread;
    seg_producer *p = NULL;
    seg_error err;
    CHECK_OK(seg_producer_open(&p, b.c, "out", NULL, &err), &err);
    put(&b, INPUTS);
    copier r = {.k = rig_consumer(b.c, "in", &(rig_join){.group = "g"}), .p = p};
    SEG_INIT(&r.options);
    r.options.handler = copy;
    r.options.arg = &r;
    r.options.workers = 4;
    CHECK_EQ(pthread_create(&thread, NULL, run, &r), 0);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "in", "g") == 0);
    seg_consumer_stop(r.k);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(rig_messages(b.c, "out"), INPUTS);
    census(b.c, "out", count);
    seg_consumer_close(r.k);
    seg_producer_close(p);
    tear_down(&b);
}
