/* A replay of dead letters that is cut off anywhere, by a lost connection, a full stream, or
 * somebody else: each message is in one place in the end, once. */
#include <pthread.h>

#include "base/alloc.h"
#include "dlq_rig.h"
#include "engine/consumer.h"
#include "engine/dlq.h"
#include "proxy.h"

/* ---- Interrupted ----------------------------------------------------------------------------- */

/* As if whoever was at it had died long ago. */
static void forget_members(bench *b, const char *stream) {
    server_do(b->s, "DEL sg:{default/%s}:group:dlq:leases", stream);
}

typedef struct ghost {
    seg_consumer *k;
    rig_inbox *in;
} ghost;

/* One that moves letters and is about to die: has them in hand, and has stored this note. */
static ghost ghost_begin(seg_client *c, size_t letters, const char *note) {
    ghost g = {.in = calloc(1, sizeof *g.in)};
    seg_error err;
    CHECK(g.in != NULL);
    g.k = rig_consumer(c, "s.g.dlq",
                       &(rig_join){.group = "dlq", .name = "dlq", .ordering = SEG_UNORDERED});
    rig_take(g.k, g.in, letters);
    uint64_t epoch = g.in->d[0].epoch;
    CHECK_OK(sg_consumer_set_note(g.k, 0, epoch, (seg_bytes){note, strlen(note)}, &err), &err);
    CHECK_OK(sg_consumer_wait_stored(g.k, 0, epoch, RIG_MS, &err), &err);
    return g;
}

static void is_stored(void *arg, seg_status status, const seg_error *err) {
    (void)arg;
    CHECK_OK(status, err);
}

/* It sends the i-th as the replay does. */
static void ghost_send(seg_client *c, ghost *g, size_t i, const char *to) {
    char text[16];
    seg_producer *p = rig_producer(c, to);
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.key = (seg_bytes){keys[g->in->number[i] % 5], 1};
    r.value = (seg_bytes){text, (size_t)snprintf(text, sizeof text, "%u", g->in->number[i])};
    const seg_delivery *d = &g->in->d[i];
    sg_forward_id id;
    sg_mutex_lock(&g->k->lock);
    sg_consumer_identify(g->k, sg_consumer_holding(g->k, 0, d->epoch), d->id.offset, "r.", &id);
    sg_mutex_unlock(&g->k->lock);
    r.timestamp = 1; /* its checksum leaves the time out */
    CHECK_OK(sg_producer_forward(p, &r, &id, true, is_stored, NULL, &err), &err);
    CHECK_OK(seg_producer_flush(p, RIG_MS, &err), &err);
    seg_producer_close(p);
}

static void ghost_end(ghost *g) {
    seg_consumer_close(g->k);
    free(g->in);
}

/* The intent alone; the letters sent; some of them acknowledged. Whoever comes next finishes that
 * first, whatever it was called for. */
TEST(what_was_begun_is_finished_first) {
    for (int stage = 0; stage < 3; stage++) {
        bench b = set_up();
        rig_stream(b.c, "s", 1);
        rig_stream(b.c, "t", 3);
        rig_stream(b.c, "u", 3);
        bury(b.c, "s", "g", 0, 5);
        ghost g = ghost_begin(b.c, 5, "replay 1 t 1 1 3");
        if (stage >= 1) {
            ghost_send(b.c, &g, 1, "t");
            ghost_send(b.c, &g, 3, "t");
        }
        if (stage >= 2) {
            rig_ack(g.k, &g.in->d[1], 1);
            rig_commit(g.k);
        }
        ghost_end(&g);
        seg_dlq *q = open_dlq(b.c, "s", "g");
        const listing *l = ls(q);
        CHECK_EQ(l->n, stage < 2 ? 5 : 4);
        CHECK_EQ(l->replaying, stage < 2 ? 2 : 1);
        seg_position all[5];
        for (size_t i = 0; i < 5; i++) {
            all[i] = (seg_position){{1, i}, 0};
        }
        CHECK_EQ(drop(q, &all[3], 1), 0); /* it was replayed, so it is not there to be dropped */
        CHECK_EQ(ls(q)->n, 3);
        CHECK_EQ(ls(q)->replaying, 0);
        CHECK_EQ(replay(q, all, 5, "u"), 3);
        unsigned count[MAX] = {0};
        CHECK_EQ(rig_messages(b.c, "t"), 2);
        census(b.c, "t", count);
        census(b.c, "u", count);
        check_once(count, 5);
        seg_dlq_close(q);
        tear_down(&b);
    }
}

/* To the same target again: what was finished counts as done. */
TEST(what_was_begun_counts) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 5);
    ghost g = ghost_begin(b.c, 5, "replay 1 s 1 0 1 4");
    ghost_send(b.c, &g, 4, "s");
    ghost_end(&g);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const listing *l = ls(q);
    CHECK_EQ(l->replaying, 3);
    CHECK_EQ(replay(q, l->at, 5, NULL), 5);
    CHECK_EQ(rig_messages(b.c, "s"), 10);
    seg_dlq_close(q);
    tear_down(&b);
}

/* Its target is gone, and all that was sent there with it. */
TEST(what_was_begun_has_lost_its_target) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "t", 1);
    bury(b.c, "s", "g", 0, 4);
    ghost g = ghost_begin(b.c, 4, "replay 1 t 1 0 2");
    ghost_send(b.c, &g, 0, "t");
    ghost_end(&g);
    seg_error err;
    CHECK_OK(seg_stream_delete(b.c, "t", &err), &err);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    CHECK_EQ(ls(q)->replaying, 2);
    CHECK_EQ(replay(q, NULL, 0, NULL), 0);
    const listing *l = ls(q);
    CHECK_EQ(l->replaying, 0);
    CHECK_EQ(l->n, 4);
    CHECK_EQ(drop(q, l->at, 4), 4);
    seg_dlq_close(q);
    tear_down(&b);
}

/* A note of another kind is not ours to finish or to forget: nothing is moved, all can be looked
 * at. */
TEST(a_note_of_another_kind) {
    static const char *const notes[] = {
        "something else",    "replay 2 s 1 0",   "replay 1 s 1",
        "replay 1 s 1 2 1",  "replay 1 s/t 1 0", "replay 1 s 1 1x",
        "replay 1 s 1 1  2", "replay 1  1 0",    "replay 1 s 1 18446744073709551616",
    };
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        sg_intent intent;
        CHECK(!sg_intent_read((seg_bytes){notes[i], strlen(notes[i])}, &intent));
        CHECK_EQ(intent.n, 0);
    }
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 2);
    ghost g = ghost_begin(b.c, 2, notes[0]);
    ghost_end(&g);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    size_t done;
    seg_error err;
    const listing *l = ls(q);
    CHECK_EQ(l->n, 2);
    CHECK_STATUS(seg_dlq_drop(q, l->at, 2, &done, &err), SEG_EPROTO, &err);
    CHECK_EQ(ls(q)->n, 2);
    seg_dlq_close(q);
    tear_down(&b);
}

/* A target without room: some may be there, and nobody can know which, so that all of them wait for
 * it. */
TEST(the_target_is_full) {
    bench b = {.s = server_start(NULL)};
    b.c = rig_client_within(b.s, 400);
    rig_stream(b.c, "s", 1);
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = 1;
    o.max_messages = 4;
    CHECK_OK(seg_stream_create(b.c, "t", &o, &err), &err);
    seg_consumer *k = rig_consumer(b.c, "t", &(rig_join){.group = "g"});
    bury(b.c, "s", "g", 0, 10);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position all[10];
    const listing *l = ls(q);
    size_t done;
    memcpy(all, l->at, sizeof all);
    CHECK_STATUS(seg_dlq_replay(q, all, 10, "t", &done, &err), SEG_EFULL, &err);
    CHECK_CONTAINS(err.text, "\"t\"");
    CHECK_EQ(rig_messages(b.c, "t"), 4);
    l = ls(q);
    CHECK_EQ(l->n, 10 - done);
    CHECK_EQ(l->replaying, 10 - done);
    size_t dropped;
    CHECK_STATUS(seg_dlq_drop(q, all, 10, &dropped, &err), SEG_EFULL, &err);
    CHECK_EQ(dropped, 0);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    for (size_t from = 0; in->n < 10; from = in->n) { /* makes room, once for each four */
        while (in->n == from) {
            rig_poll(k, in, 10, 100);
        }
        rig_ack(k, in->d + from, in->n - from);
        rig_commit(k);
        size_t more = 0;
        seg_status s = seg_dlq_replay(q, all, 10, "t", &more, &err);
        CHECK(s == SEG_OK || s == SEG_EFULL);
        done += more;
    }
    CHECK_EQ(done, 10);
    unsigned count[MAX] = {0};
    for (size_t i = 0; i < in->n; i++) {
        count[in->number[i]]++;
    }
    check_once(count, 10);
    CHECK_EQ(ls(q)->n, 0);
    free(in);
    seg_consumer_close(k);
    seg_dlq_close(q);
    tear_down(&b);
}

/* One round of the test below, with streams of its own. Returns what was still being replayed after
 * the cut; MAX: nothing was cut off. */
static size_t cut_round(bench *b, proxy *p, proxy_way way, size_t bytes, unsigned round) {
    char s[16], t[16], u[16], dlq[32];
    snprintf(s, sizeof s, "s%u", round);
    snprintf(t, sizeof t, "t%u", round);
    snprintf(u, sizeof u, "u%u", round);
    snprintf(dlq, sizeof dlq, "%s.g.dlq", s);
    rig_stream(b->c, s, 1);
    rig_stream(b->c, t, 2);
    rig_stream(b->c, u, 2);
    bury(b->c, s, "g", 0, 11);

    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    size_t done;
    seg_position all[10];
    SEG_INIT(&o);
    o.url = proxy_url(p);
    o.command_timeout = 200;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_dlq *q = open_dlq(c, s, "g");
    memcpy(all, ls(q)->at, sizeof all);
    drop(q, &(seg_position){{1, 10}, 0}, 1); /* all connections are there from now on */
    proxy_cut_after(p, way, bytes);
    proxy_refuse(p, true);
    seg_status status = seg_dlq_replay(q, all, 10, t, &done, &err);
    bool cut = proxy_has_cut(p);
    if (status == SEG_OK) {
        CHECK_EQ(done, 10);
    } else {
        CHECK(cut);
    }
    seg_client_close(c); /* no word of it reaches the server any more: as good as killed */
    seg_dlq_close(q);
    proxy_cut(p);
    proxy_refuse(p, false);
    forget_members(b, dlq);

    q = open_dlq(b->c, s, "g");
    const listing *l = ls(q);
    size_t replaying = l->replaying;
    replay(q, all, 10, u);
    CHECK_EQ(ls(q)->n, 0);
    unsigned count[MAX] = {0};
    census(b->c, t, count);
    census(b->c, u, count);
    check_once(count, 10);
    CHECK_LE(done, rig_messages(b->c, t));
    seg_dlq_close(q);
    for (unsigned i = 0; i < 4; i++) { /* so that the server stays small */
        CHECK_OK(seg_stream_delete(b->c, i == 0 ? s : i == 1 ? t : i == 2 ? u : dlq, &err), &err);
    }
    return cut ? replaying : MAX;
}

/* The connection is lost after every so many bytes, for good, before or after the server has done
 * it; then somebody else sends all that is left somewhere else. */
static void cut_everywhere(proxy_way way, size_t step) {
    bench b = set_up();
    proxy *p = proxy_start(server_socket(b.s));
    size_t early = 0, begun = 0;
    unsigned round = 0;
    for (size_t at = step / 2;; at += step) {
        size_t replaying = cut_round(&b, p, way, at, round++);
        if (replaying >= MAX) {
            break;
        }
        begun += replaying > 0;
        early += replaying == 0 && begun == 0;
    }
    CHECK_GT(early, 0); /* the steps are small enough to see it all */
    CHECK_GT(begun, 1);
    proxy_stop(p);
    tear_down(&b);
}

TEST_DEADLINE(cut_off_before_it_is_done, 300) {
    cut_everywhere(PROXY_REQUESTS, 600);
}

TEST_DEADLINE(cut_off_after_it_is_done, 300) {
    cut_everywhere(PROXY_REPLIES, 30);
}

/* ---- Late ------------------------------------------------------------------------------------ */

typedef struct errand {
    seg_dlq *q;
    const seg_position *at;
    size_t done;
    seg_status status;
} errand;

static void *replay_to_t(void *arg) {
    errand *e = arg;
    e->status = seg_dlq_replay(e->q, e->at, 10, "t", &e->done, NULL);
    return NULL;
}

static bool has_note(void *arg) {
    bench *b = arg;
    char *note = server_str(b->s, "HGET sg:{default/s.g.dlq/0}:cursors dlq:note");
    bool has = note != NULL && *note != '\0';
    free(note);
    return has;
}

/* What a dead one has sent is executed only after somebody else has finished it, and everything
 * else. */
TEST(what_it_sent_comes_late) {
    bench b = set_up();
    proxy *p = proxy_start(server_socket(b.s));
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "t", 2);
    rig_stream(b.c, "u", 2);
    bury(b.c, "s", "g", 0, 11);
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    seg_position all[10];
    SEG_INIT(&o);
    o.url = proxy_url(p);
    o.command_timeout = 1000;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    errand e = {.q = open_dlq(c, "s", "g"), .at = all};
    memcpy(all, ls(e.q)->at, sizeof all);
    drop(e.q, &(seg_position){{1, 10}, 0}, 1);
    proxy_delay(p, PROXY_REPLIES, 100);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, replay_to_t, &e), 0);
    CHECK(wait_until(RIG_MS, has_note, &b)); /* it will hear of that in 100 ms */
    proxy_hold(p, PROXY_REQUESTS);
    proxy_refuse(p, true);
    WAIT_FOR(RIG_MS, proxy_held(p, PROXY_REQUESTS) > 5000); /* the letters are under way */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_NE(e.status, SEG_OK);
    CHECK_EQ(e.done, 0);
    seg_client_close(c);
    seg_dlq_close(e.q);
    forget_members(&b, "s.g.dlq");

    seg_dlq *q = open_dlq(b.c, "s", "g");
    CHECK_EQ(ls(q)->replaying, 10);
    CHECK_EQ(replay(q, all, 5, "u"), 0);
    CHECK_EQ(rig_messages(b.c, "t"), 10);
    proxy_release(p);
    CHECK_EQ(rig_messages(b.c, "t"), 10);
    CHECK(!has_note(&b));
    unsigned count[MAX] = {0};
    census(b.c, "t", count);
    check_once(count, 10);
    seg_dlq_close(q);
    proxy_stop(p);
    tear_down(&b);
}

/* Whatever there is no memory for, everything is in one place afterwards. */
TEST_DEADLINE(without_memory, 120) {
    enum { ROUNDS = 150 };
    bench b = {.s = server_start(NULL)};
    b.c = rig_client_within(b.s, 250);
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "t", 2);
    bury(b.c, "s", "g", 0, ROUNDS);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    size_t failed = 0, done;
    seg_error err;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const seg_letter *l;
        seg_position at = {{1, i}, 0};
        if (i % 30 == 0) { /* now and then from the start */
            seg_dlq_close(q);
            q = open_dlq(b.c, "s", "g");
        }
        seg_dlq_rewind(q);
        sg_alloc_fail_at(1 + i / 3, 0);
        failed += seg_dlq_next(&l, q, &err) != SEG_OK;
        sg_alloc_fail_at(1 + i, 0);
        failed += seg_dlq_replay(q, &at, 1, "t", &done, &err) != SEG_OK;
        sg_alloc_fail_at(0, 0);
    }
    CHECK_GT(failed, 10);
    const listing *l = ls(q);
    size_t left = l->n;
    CHECK_EQ(replay(q, l->at, left, "t"), left);
    CHECK_EQ(ls(q)->n, 0);
    unsigned count[MAX] = {0};
    census(b.c, "t", count);
    check_once(count, ROUNDS);
    seg_dlq_close(q);
    tear_down(&b);
}

/* ---- Others ---------------------------------------------------------------------------------- */

TEST(somebody_else_is_at_it) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 6);
    seg_consumer *k = rig_consumer(b.c, "s.g.dlq", &(rig_join){.group = "dlq"});
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at = {{1, 0}, 0};
    size_t done;
    seg_error err;
    int64_t start = test_now_ms();
    CHECK_STATUS(seg_dlq_drop(q, &at, 1, &done, &err), SEG_EEXIST, &err);
    CHECK_LT(test_now_ms() - start, 3000); /* it is plainly alive */
    CHECK_EQ(ls(q)->n, 6);                 /* looking is free */
    seg_consumer_close(k);
    CHECK_EQ(drop(q, &at, 1), 1);

    seg_dlq *other = open_dlq(b.c, "s", "g"); /* this one may be dead, so it is waited for */
    at.id.offset = 1;
    CHECK_STATUS(seg_dlq_drop(other, &at, 1, &done, &err), SEG_EEXIST, &err);
    CHECK_EQ(drop(q, &at, 1), 1);
    seg_dlq_close(q);
    at.id.offset = 2;
    CHECK_EQ(drop(other, &at, 1), 1);
    CHECK_EQ(ls(other)->n, 3);
    seg_dlq_close(other);
    tear_down(&b);
}

/* A newer one of the same name has come: the older one is told, and may come back when that has
 * gone. */
TEST(replaced_meanwhile) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 6);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at = {{1, 0}, 0};
    size_t done;
    seg_error err;
    CHECK_EQ(drop(q, &at, 1), 1);
    ghost g = ghost_begin(b.c, 5, "");
    at.id.offset = 1;
    WAIT_FOR(RIG_MS, seg_dlq_drop(q, &at, 1, &done, &err) == SEG_EEXIST);
    CHECK_EQ(done, 0);
    ghost_end(&g);
    CHECK_EQ(drop(q, &at, 1), 1);
    seg_dlq_close(q);
    tear_down(&b);
}

/* The server stays away for a while. */
TEST(the_server_goes_away) {
    bench b = {.s = server_start(NULL)};
    b.c = rig_client_within(b.s, 300);
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 6);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const seg_letter *l = NULL;
    seg_position at[6];
    size_t done;
    seg_error err;
    memcpy(at, ls(q)->at, sizeof at);
    CHECK_EQ(drop(q, at, 1), 1);
    seg_dlq_rewind(q);
    server_pause(b.s);
    CHECK(seg_dlq_next(&l, q, &err) != SEG_OK);
    CHECK(seg_dlq_drop(q, at, 2, &done, &err) != SEG_OK);
    CHECK_EQ(done, 0);
    server_resume(b.s);
    WAIT_FOR(RIG_MS, seg_dlq_drop(q, at, 2, &done, &err) == SEG_OK);
    CHECK_LE(ls(q)->n, 4);
    CHECK_EQ(replay(q, at, 6, NULL), 4);
    CHECK_EQ(rig_messages(b.c, "s"), 10);
    seg_dlq_close(q);
    tear_down(&b);
}

TEST(the_client_is_closed_before) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 2);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at = {{1, 0}, 0};
    const seg_letter *l = NULL;
    size_t done;
    seg_error err;
    CHECK_EQ(drop(q, &at, 1), 1);
    seg_client_close(b.c);
    at.id.offset = 1;
    CHECK_STATUS(seg_dlq_next(&l, q, &err), SEG_ECLOSED, &err);
    CHECK_STATUS(seg_dlq_drop(q, &at, 1, &done, &err), SEG_ECLOSED, &err);
    seg_dlq_close(q);
    server_stop(b.s);
}
