/* A message that kills its consumers: it is found, and nothing else goes with it. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "rig.h"

enum { CROWD = 10000, KILLER = 4321, LIVES = 20 };

typedef struct plan {
    uint32_t partitions, max_attempts;
    size_t batch; /* messages of one poll; 0: eight handlers */
    int64_t session_timeout;
    unsigned processes; /* at once; default 1, as a static member */
    unsigned other;     /* a second killer's number */
} plan;

/* What the children have in common, in shared memory. */
typedef struct crowd {
    atomic_uint deaths, handled[CROWD];
    atomic_uint attempt; /* of a killer's last delivery */
} crowd;

typedef struct child {
    const plan *plan;
    const server *s;
    crowd *w;
    seg_client *c;
    seg_consumer *k;
} child;

static bool kills(const plan *pl, unsigned number) {
    return number == KILLER || (number == pl->other && number > 0);
}

static void meet(const plan *pl, crowd *w, const seg_message *m) {
    unsigned number = rig_number(m);
    if (kills(pl, number)) {
        atomic_store(&w->attempt, seg_message_delivery(m).attempt);
        if (atomic_fetch_add(&w->deaths, 1) % 2 == 0) {
            _exit(9);
        }
        kill(getpid(), SIGKILL);
    }
    atomic_fetch_add(&w->handled[number], 1);
}

static seg_verdict meet_one(const seg_message *m, seg_settlement *how, void *arg) {
    child *me = arg;
    (void)how;
    meet(me->plan, me->w, m);
    return SEG_ACK;
}

static void *stop_at_the_end(void *arg) {
    child *me = arg;
    WAIT_FOR(2 * RIG_MS, rig_lag(me->c, "s", "g") == 0);
    seg_consumer_stop(me->k);
    return NULL;
}

static void run_handlers(child *me) {
    pthread_t watch;
    seg_run_options o;
    seg_error err;
    SEG_INIT(&o);
    o.handler = meet_one;
    o.arg = me;
    o.workers = 8;
    CHECK_EQ(pthread_create(&watch, NULL, stop_at_the_end, me), 0);
    CHECK_OK(seg_consumer_run(me->k, &o, &err), &err);
    CHECK_EQ(pthread_join(watch, NULL), 0);
}

static void poll_and_ack(child *me) {
    int64_t end = test_now_ms() + 2 * RIG_MS;
    for (bool over = false; !over;) {
        seg_batch *b = NULL;
        seg_error err;
        CHECK_OK(seg_consumer_poll(&b, me->k, me->plan->batch, 20, &err), &err);
        for (size_t i = 0; i < seg_batch_count(b); i++) {
            meet(me->plan, me->w, seg_batch_at(b, i));
        }
        CHECK_OK(seg_ack_batch(me->k, b, &err), &err);
        over = seg_batch_count(b) == 0 && rig_lag(me->c, "s", "g") == 0;
        seg_batch_free(b);
        CHECK_LT(test_now_ms(), end);
    }
}

static void live(void *arg) {
    child *me = arg;
    const plan *pl = me->plan;
    me->c = rig_client(me->s);
    me->k = rig_consumer(me->c, "s",
                         &(rig_join){.group = "g",
                                     .instance = pl->processes == 0 ? "i" : NULL,
                                     .max_attempts = pl->max_attempts,
                                     .session_timeout = pl->session_timeout,
                                     .retry_delay = 1});
    if (pl->batch == 0) {
        run_handlers(me);
    } else {
        poll_and_ack(me);
    }
    seg_consumer_close(me->k);
    seg_client_close(me->c);
}

/* Keep the processes going until none of them dies any more. */
static void supervise(const plan *pl, child *me) {
    unsigned n = pl->processes > 0 ? pl->processes : 1, died = 0;
    pid_t children[2];
    for (unsigned i = 0; i < n; i++) {
        children[i] = rig_fork(live, me);
    }
    for (unsigned i = 0; i < n;) {
        int how = rig_wait(children[i]);
        if (how == 0) {
            i++;
            continue;
        }
        CHECK(how == 9 || how == -SIGKILL);
        CHECK_LE(++died, LIVES);
        children[i] = rig_fork(live, me);
    }
}

/* How often a killer was delivered, where it is the only one: with fewer than two attempts nobody
 * could tell it from its neighbours. */
static uint32_t expected_deaths(const plan *pl) {
    return pl->max_attempts < 2 ? 2 : pl->max_attempts;
}

static void check_letters(const plan *pl, const crowd *w, const rig_letter *l, size_t n) {
    CHECK_EQ(n, pl->other > 0 ? 2 : 1);
    for (size_t i = 0; i < n; i++) {
        CHECK(kills(pl, l[i].number));
        CHECK_STR(l[i].reason, "crashed");
        CHECK_GE(l[i].attempts, expected_deaths(pl));
    }
    if (n == 1) {
        CHECK_EQ(l[0].attempts, expected_deaths(pl));
        CHECK_EQ(atomic_load(&w->deaths), expected_deaths(pl));
        CHECK_EQ(atomic_load(&w->attempt), expected_deaths(pl));
    } else {
        CHECK_NE(l[0].number, l[1].number);
        CHECK_LE(atomic_load(&w->deaths), l[0].attempts + l[1].attempts);
    }
}

static void check_crowd(seg_client *c, const plan *pl, const crowd *w) {
    static rig_letter letters[CROWD];
    check_letters(pl, w, letters, rig_letters(c, "s", "g", letters, CROWD));
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK(kills(pl, i) || atomic_load(&w->handled[i]) > 0);
    }
    CHECK_EQ(rig_lag(c, "s", "g"), 0);
}

static void gather(const server *s, uint32_t partitions) {
    char key[24];
    seg_client *c = rig_client(s);
    rig_stream(c, "s", partitions);
    seg_producer *p = rig_producer(c, "s");
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(key, sizeof key, "key-%u", i % 501);
        rig_queue(p, key, i, 0);
    }
    rig_flush(p);
    seg_producer_close(p);
    seg_client_close(c); /* no thread is left, so that we may fork */
}

/* One of many messages kills whoever handles it, each time. Nobody is told which it is, and the
 * process is simply started again: in the end just that message is a dead letter, after exactly as
 * many attempts as were asked for, and all others are handled. */
static void check_killer(plan pl) {
    server *s = server_start(NULL);
    child me = {.plan = &pl, .s = s, .w = rig_shared(sizeof *me.w)};
    gather(s, pl.partitions);
    supervise(&pl, &me);
    seg_client *c = rig_client(s);
    check_crowd(c, &pl, me.w);
    seg_client_close(c);
    server_stop(s);
}

TEST(in_batches_of_one) {
    check_killer((plan){.partitions = 1, .max_attempts = 5, .batch = 1});
}

TEST(in_batches_of_one_twice) {
    check_killer((plan){.partitions = 4, .max_attempts = 2, .batch = 1});
}

TEST(in_batches_of_ten) {
    check_killer((plan){.partitions = 1, .max_attempts = 2, .batch = 10});
}

TEST(in_batches_of_ten_of_several_partitions) {
    check_killer((plan){.partitions = 4, .max_attempts = 5, .batch = 10});
}

TEST(in_batches_of_a_thousand) {
    check_killer((plan){.partitions = 1, .max_attempts = 3, .batch = 1000});
}

TEST(in_batches_of_a_thousand_of_several_partitions) {
    check_killer((plan){.partitions = 4, .max_attempts = 5, .batch = 1000});
}

TEST(among_handlers) {
    check_killer((plan){.partitions = 1, .max_attempts = 5});
}

TEST(among_handlers_of_several_partitions) {
    check_killer((plan){.partitions = 4, .max_attempts = 2});
}

TEST(among_handlers_three_times) {
    check_killer((plan){.partitions = 3, .max_attempts = 3});
}

/* Each time as a new member, so that the others' leases have to run out. */
TEST(without_an_instance) {
    check_killer((plan){
        .partitions = 2, .max_attempts = 3, .batch = 100, .session_timeout = 400, .processes = 1});
}

/* It kills whoever takes over, too. */
TEST(from_one_process_to_the_other) {
    check_killer((plan){
        .partitions = 4, .max_attempts = 5, .batch = 10, .session_timeout = 400, .processes = 2});
}

TEST(from_handlers_to_handlers) {
    check_killer(
        (plan){.partitions = 4, .max_attempts = 3, .session_timeout = 400, .processes = 2});
}

TEST(with_a_single_attempt) {
    check_killer((plan){.partitions = 2, .max_attempts = 1, .batch = 50});
}

TEST(two_of_one_batch) {
    check_killer((plan){.partitions = 1, .max_attempts = 4, .batch = 500, .other = KILLER + 3});
}

TEST(two_of_one_key) {
    check_killer((plan){.partitions = 3, .max_attempts = 3, .batch = 100, .other = KILLER - 501});
}

TEST(two_among_handlers) {
    check_killer((plan){.partitions = 4, .max_attempts = 3, .other = KILLER + 1});
}
