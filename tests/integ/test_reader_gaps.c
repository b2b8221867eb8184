/* Reading without a group, where messages go away: each is told of, once, and why. */
#include <pthread.h>

#include "reader_rig.h"

#define LOG "sg:{default/s/0}:log"

enum { BOUND = 20 };

/* A stream that keeps BOUND messages. */
static desk *ring(uint32_t partitions) {
    desk *d = calloc(1, sizeof *d);
    seg_stream_options o;
    seg_error err;
    CHECK(d != NULL);
    d->s = server_start(NULL);
    d->c = rig_client(d->s);
    SEG_INIT(&o);
    o.partitions = partitions;
    o.max_messages = BOUND;
    o.on_full = SEG_DROP_OLDEST;
    CHECK_OK(seg_stream_create(d->c, "s", &o, &err), &err);
    d->p = rig_producer(d->c, "s");
    return d;
}

static void put(desk *d, unsigned first, unsigned count) {
    rig_put_singly(d->p, (rig_run){.partitions = 1, .first = first, .count = count});
}

/* ---- Dropped -------------------------------------------------------------------------------- */

TEST(dropped_before_they_are_read) {
    desk *d = ring(1);
    seg_reader_options o = reading(d);
    put(d, 0, 10);
    open_reader(d, &o);
    put(d, 10, 40); /* 0 to 29 are gone */
    expect_run(d->r, 0, 30, 30, 20);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_DROPPED, 0, 0, 30);
    CHECK_EQ(d->skips.of[0].era, 1);
    CHECK_EQ(stats_of(d->r).skipped, 30);
    put(d, 50, 30);
    expect_run(d->r, 0, 60, 60, 20);
    CHECK_EQ(d->skips.n, 2);
    check_skip(&d->skips, 1, SEG_SKIP_DROPPED, 0, 50, 10);
    desk_free(d);
}

/* What is told, and what is returned, is together all there was, in order. */
TEST(dropped_while_it_reads) {
    desk *d = ring(1);
    seg_reader_options o = reading(d);
    uint64_t at = 0;
    unsigned sent = 0;
    size_t told = 0;
    open_reader(d, &o);
    for (int round = 0; round < 40; round++) {
        unsigned n = 1 + (unsigned)round * 7 % 45;
        put(d, sent, n);
        sent += n;
        for (int k = 0; k < 9; k++) {
            const seg_message *m = next_of(d->r, 0);
            for (; told < d->skips.n; told++) {
                CHECK_EQ(d->skips.of[told].first, at);
                CHECK_EQ(d->skips.of[told].why, SEG_SKIP_DROPPED);
                at += d->skips.of[told].count;
            }
            if (m == NULL)
                break;
            CHECK_EQ(seg_message_delivery(m).id.offset, at);
            CHECK_EQ(rig_number(m), at);
            at++;
        }
    }
    while (next_of(d->r, 0) != NULL)
        at++;
    for (; told < d->skips.n; told++)
        at += d->skips.of[told].count;
    CHECK_EQ(at, sent);
    CHECK_GT(told, 3);
    seg_reader_stats st = stats_of(d->r);
    CHECK_EQ(st.messages + st.skipped, sent);
    desk_free(d);
}

TEST(without_a_callback_a_skip_ends_one_call) {
    desk *d = ring(1);
    const seg_message *m;
    seg_error err;
    open_reader(d, NULL);
    put(d, 0, 50);
    CHECK_STATUS(seg_reader_next(&m, d->r, 0, &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, "30 messages from offset 0 on were dropped");
    expect_run(d->r, 0, 30, 30, 20);
    expect_end(d->r);
    desk_free(d);
}

/* An offset that is gone; and the place in the middle of an entry, of which the rest is kept. */
TEST(seeking_what_is_gone) {
    desk *d = ring(1);
    seg_reader_options o = reading(d);
    seg_error err;
    for (unsigned i = 0; i < 8; i++)
        rig_put(d->p, (rig_run){.partitions = 1, .first = 5 * i, .count = 5});
    open_reader(d, &o);
    expect(d->r, 0, 20, 20);
    CHECK_OK(seg_reader_seek(d->r, 0, 3, &err), &err);
    expect(d->r, 0, 20, 20);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_DROPPED, 0, 3, 17);
    put(d, 40, 2);
    open_reader(d, &o);
    expect_run(d->r, 0, 22, 22, 20);
    CHECK_EQ(d->skips.n, 1);
    desk_free(d);
}

/* The bound of the ends is kept, also where what lay before it is gone. */
TEST(ends_that_are_overtaken) {
    desk *d = ring(1);
    seg_reader_options o = reading(d);
    o.ends = true;
    put(d, 0, 10);
    open_reader(d, &o);
    put(d, 10, 100);
    CHECK(next_of(d->r, SEG_FOREVER) == NULL);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_DROPPED, 0, 0, 10);
    desk_free(d);
}

/* ---- Missing and damaged -------------------------------------------------------------------- */

TEST(removed_by_hand) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    put(d, 0, 10);
    server_do(d->s, "XDEL " LOG " 1-3 1-4 1-9");
    open_reader(d, &o);
    expect_run(d->r, 0, 0, 0, 3);
    expect_run(d->r, 0, 5, 5, 4);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 2);
    check_skip(&d->skips, 0, SEG_SKIP_MISSING, 0, 3, 2);
    check_skip(&d->skips, 1, SEG_SKIP_MISSING, 0, 9, 1);
    put(d, 10, 1);
    expect(d->r, 0, 10, 10);
    desk_free(d);
}

/* Another entry in the place of ours, at the beginning, in the middle and at the end of the log. */
static void replace(desk *d, const unsigned *at, size_t n, unsigned end) {
    struct {
        char text[24];
        redisReply *entry;
    } all[64];
    for (unsigned i = 0; i < end; i++) {
        snprintf(all[i].text, sizeof all[i].text, "1-%u", i);
        all[i].entry = server_cmd(d->s, "XRANGE " LOG " %s %s", all[i].text, all[i].text);
        CHECK_EQ(all[i].entry->elements, 1);
    }
    server_do(d->s, "DEL " LOG);
    for (unsigned i = 0; i < end; i++) {
        redisReply *v = all[i].entry->element[0]->element[1]->element[1];
        for (size_t k = 0; k < n; k++)
            if (at[k] == i)
                v->str[v->len - 1] ^= 1;
        server_do(d->s, "XADD " LOG " %s b %b", all[i].text, v->str, (size_t)v->len);
        freeReplyObject(all[i].entry);
    }
    server_do(d->s, "XSETID " LOG " 18446744073709551615-18446744073709551615");
}

TEST(damaged_entries) {
    static const unsigned at[] = {0, 7, 8, 19};
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    put(d, 0, 20);
    replace(d, at, 4, 20);
    open_reader(d, &o);
    expect_run(d->r, 0, 1, 1, 6);
    expect_run(d->r, 0, 9, 9, 10);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 3);
    check_skip(&d->skips, 0, SEG_SKIP_DAMAGED, 0, 0, 1);
    check_skip(&d->skips, 1, SEG_SKIP_DAMAGED, 0, 7, 2);
    check_skip(&d->skips, 2, SEG_SKIP_DAMAGED, 0, 19, 1);
    CHECK_EQ(stats_of(d->r).foreign, 4);
    put(d, 20, 5);
    expect_run(d->r, 0, 20, 20, 5);
    desk_free(d);
}

/* One that somebody has put behind the end stays there, is counted once, and nobody waits behind
 * it: who comes next takes it out, and what is stored then lies before it. */
static void foreign_behind(const char *id) {
    desk *d = desk_new(2);
    seg_reader_options o = reading(d);
    rig_put_singly(d->p, (rig_run){.partitions = 2, .count = 3});
    open_reader(d, &o);
    server_do(d->s, "XSETID " LOG " 1-2");
    server_do(d->s, "XADD " LOG " %s x y", id);
    expect_run(d->r, 0, 0, 0, 3);
    CHECK(next_of(d->r, 300) == NULL);
    expect_end(d->r);
    CHECK_EQ(stats_of(d->r).foreign, 1);
    CHECK_EQ(server_int(d->s, "XLEN " LOG), 4);
    seg_producer *p = rig_producer(d->c, "s"); /* its probe takes it out */
    rig_put_singly(p, (rig_run){.partitions = 2, .first = 3, .count = 3});
    rig_put_singly(p, (rig_run){.partition = 1, .partitions = 2, .first = 6, .count = 1});
    for (unsigned i = 0; i < 4; i++) {
        const seg_message *m = next_of(d->r, RIG_MS);
        CHECK(m != NULL);
        seg_delivery at = seg_message_delivery(m);
        CHECK_EQ(rig_number(m), at.partition == 1 ? 6 : at.id.offset);
    }
    expect_end(d->r);
    CHECK_EQ(stats_of(d->r).foreign, 1);
    CHECK_EQ(d->skips.n, 0);
    seg_producer_close(p);
    desk_free(d);
}

TEST(foreign_entries_behind_the_end) {
    foreign_behind("1-3");
}

TEST(foreign_entries_far_behind_the_end) {
    foreign_behind("999999999999999-7");
}

/* ---- Lost by the server --------------------------------------------------------------------- */

static void go_back(desk *d) {
    server_kill9(d->s);
    server_restart(d->s);
}

/* Back to a snapshot: what was read since is told as lost, and what comes in its place is read. */
TEST(lost_after_it_was_read) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    const seg_reader_place *at;
    put(d, 0, 10);
    server_do(d->s, "SAVE");
    open_reader(d, &o);
    put(d, 10, 5);
    expect_run(d->r, 0, 0, 0, 15);
    seg_producer_close(d->p);
    go_back(d);
    d->p = rig_producer(d->c, "s");
    put(d, 100, 8);
    const seg_message *m = next_of(d->r, RIG_MS);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_LOST, 0, 10, 5);
    CHECK_EQ(d->skips.of[0].era, 1);
    CHECK(m != NULL);
    CHECK_EQ(seg_message_delivery(m).id.offset, 10);
    CHECK_GT(seg_message_delivery(m).id.era, 1);
    CHECK_EQ(rig_number(m), 100);
    expect_run(d->r, 0, 11, 101, 7);
    expect_end(d->r);
    CHECK_EQ(stats_of(d->r).lost, 5);
    CHECK((at = seg_reader_place_at(d->r, 0)) != NULL);
    CHECK_EQ(at->at, 18);
    /* Whoever opens now reads both eras. */
    open_reader(d, &o);
    expect_run(d->r, 0, 0, 0, 10);
    expect_run(d->r, 0, 10, 100, 8);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 1);
    desk_free(d);
}

/* It was known to be there, and is lost before it is read: with the ends as they were, what comes
 * in its place is not among what was to be read. */
TEST(lost_before_it_was_read) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    put(d, 0, 10);
    server_do(d->s, "SAVE");
    put(d, 10, 5);
    o.ends = true;
    open_reader(d, &o);
    seg_producer_close(d->p);
    go_back(d);
    d->p = rig_producer(d->c, "s");
    put(d, 100, 8);
    expect_run(d->r, 0, 0, 0, 10);
    CHECK(next_of(d->r, SEG_FOREVER) == NULL);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_LOST, 0, 10, 5);
    desk_free(d);
}

/* A seek finds it out as well, and what it asked for is of the log as it is now. */
TEST(seeking_after_a_loss) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    seg_error err;
    put(d, 0, 10);
    server_do(d->s, "SAVE");
    put(d, 10, 5);
    open_reader(d, &o);
    expect_run(d->r, 0, 0, 0, 12);
    seg_producer_close(d->p);
    go_back(d);
    d->p = rig_producer(d->c, "s");
    put(d, 100, 8);
    CHECK_OK(seg_reader_seek(d->r, 0, 13, &err), &err);
    expect_run(d->r, 0, 13, 103, 5);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 1);
    check_skip(&d->skips, 0, SEG_SKIP_LOST, 0, 10, 5);
    desk_free(d);
}

/* A restart that loses nothing: another era, and nothing to tell. */
TEST(restart_without_loss) {
    desk *d = desk_new(4);
    seg_reader_options o = reading(d);
    for (uint32_t p = 0; p < 4; p++)
        rig_put(d->p, (rig_run){.partition = p, .partitions = 4, .first = 100 * p, .count = 50});
    open_reader(d, &o);
    expect_run(d->r, 0, 0, 0, 20);
    seg_producer_close(d->p);
    server_do(d->s, "SAVE");
    go_back(d);
    d->p = rig_producer(d->c, "s");
    rig_put(d->p, (rig_run){.partition = 3, .partitions = 4, .first = 350, .count = 5});
    expect_run(d->r, 0, 20, 20, 30);
    expect_run(d->r, 1, 0, 100, 50);
    expect_run(d->r, 2, 0, 200, 50);
    expect_run(d->r, 3, 0, 300, 55);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

/* ---- The stream goes, or the connection ----------------------------------------------------- */

static void expect_over(desk *d, seg_status status) {
    const seg_message *m;
    seg_error err;
    for (int i = 0; i < 2; i++) {
        seg_status s;
        while ((s = seg_reader_next(&m, d->r, 1000, &err)) == SEG_OK)
            continue;
        CHECK_STATUS(s, status, &err);
    }
}

TEST(deleted) {
    desk *d = desk_new(4);
    seg_reader_options o = reading(d);
    seg_error err;
    open_reader(d, &o);
    expect_end(d->r);
    CHECK_OK(seg_stream_delete(d->c, "s", &err), &err);
    expect_over(d, SEG_ENOENT);
    CHECK_STATUS(seg_reader_seek(d->r, 0, 0, &err), SEG_ENOENT, &err);
    desk_free(d);
}

TEST(deleted_and_made_anew_while_it_reads) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    seg_error err;
    put(d, 0, 10);
    open_reader(d, &o);
    CHECK_OK(seg_stream_delete(d->c, "s", &err), &err);
    rig_stream(d->c, "s", 1);
    expect_over(d, SEG_ENOENT);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

TEST(a_part_is_gone) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    put(d, 0, 10);
    open_reader(d, &o);
    server_do(d->s, "DEL " LOG);
    expect_over(d, SEG_ELOST);
    desk_free(d);
}

TEST(an_emptied_server) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    put(d, 0, 10);
    open_reader(d, &o);
    go_back(d);
    expect_over(d, SEG_ENOENT);
    desk_free(d);
}

/* No server is an error that says so, after which it goes on. */
TEST(no_server) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    const seg_message *m;
    seg_error err;
    put(d, 0, 10);
    server_do(d->s, "SAVE");
    seg_client *c = d->c;
    d->c = rig_client_within(d->s, 300);
    open_reader(d, &o);
    expect(d->r, 0, 0, 0);
    expect_run(d->r, 0, 1, 1, 9);
    server_kill9(d->s);
    CHECK_STATUS(seg_reader_next(&m, d->r, 0, &err), SEG_ECONN, &err);
    CHECK_STATUS(seg_reader_next(&m, d->r, 500, &err), SEG_ECONN, &err);
    server_restart(d->s);
    WAIT_FOR(RIG_MS, seg_reader_next(&m, d->r, 0, &err) == SEG_OK);
    CHECK(m == NULL);
    CHECK_EQ(d->skips.n, 0);
    seg_reader_close(d->r);
    d->r = NULL;
    seg_client_close(d->c);
    d->c = c;
    desk_free(d);
}

/* No answer is an error, after which it goes on. */
TEST(no_answer) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    const seg_message *m;
    seg_error err;
    put(d, 0, 10);
    seg_client *c = d->c;
    d->c = rig_client_within(d->s, 300);
    open_reader(d, &o);
    server_pause(d->s);
    seg_status s = seg_reader_next(&m, d->r, 0, &err);
    CHECK(s == SEG_ETIMEDOUT || s == SEG_ECONN);
    server_resume(d->s);
    WAIT_FOR(RIG_MS, seg_reader_next(&m, d->r, 0, &err) == SEG_OK);
    CHECK_EQ(rig_number(m), 0);
    expect_run(d->r, 0, 1, 1, 9);
    expect_end(d->r);
    seg_reader_close(d->r);
    d->r = NULL;
    seg_client_close(d->c);
    d->c = c;
    desk_free(d);
}

/* Connections that break all the time. */
TEST(broken_connections) {
    desk *d = desk_new(2);
    seg_reader_options o = reading(d);
    enum { N = 400 };
    rig_put_singly(d->p, (rig_run){.partitions = 2, .count = N});
    rig_put_singly(d->p, (rig_run){.partition = 1, .partitions = 2, .count = N});
    o.max_prefetch = 64 * 1024;
    open_reader(d, &o);
    for (uint32_t p = 0; p < 2; p++)
        for (unsigned i = 0; i < N; i++) {
            if (i == 5 || i == 300)
                server_do(d->s, "CLIENT KILL TYPE normal SKIPME yes");
            expect(d->r, p, i, i);
        }
    expect_end(d->r);
    server_do(d->s, "CLIENT KILL TYPE normal SKIPME yes");
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

TEST(a_closed_client) {
    desk *d = desk_new(1);
    const seg_message *m;
    seg_error err;
    open_reader(d, NULL);
    seg_client *c = rig_client(d->s);
    seg_producer_close(d->p);
    seg_client_close(d->c);
    CHECK_STATUS(seg_reader_next(&m, d->r, SEG_FOREVER, &err), SEG_ECLOSED, &err);
    seg_reader_close(d->r);
    d->r = NULL;
    d->p = NULL;
    d->c = c;
    desk_free(d);
}
