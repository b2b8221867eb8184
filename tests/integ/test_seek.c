/* Moving a group: what is planned and done, to which places, and what its consumers see of it. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "proxy.h"
#include "rig.h"

/* A server, a client, the stream "s", a producer and an empty inbox. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
    uint32_t partitions;
} bench;

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in), .partitions = partitions};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    return b;
}

static void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

/* The group "g" at the start of everything, without members. */
static void make_group(const bench *b) {
    seg_consumer_close(rig_consumer(b->c, "s", &(rig_join){.group = "g"}));
}

static seg_seek_options to(seg_seek_to where, int64_t value) {
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = where;
    o.value = value;
    o.execute = true;
    return o;
}

static seg_status try_seek(seg_client *c, const char *group, seg_seek_options o, seg_error *err) {
    seg_seek_plan *plan = NULL;
    seg_status s = seg_group_seek(&plan, c, "s", group, &o, err);
    CHECK_EQ(plan != NULL, s == SEG_OK);
    seg_seek_plan_free(plan);
    return s;
}

static seg_seek_plan *must_seek(seg_client *c, const char *group, seg_seek_options o) {
    seg_seek_plan *plan = NULL;
    seg_error err;
    CHECK_OK(seg_group_seek(&plan, c, "s", group, &o, &err), &err);
    return plan;
}

/* Of a plan for one partition: it is 0, and goes from `before` to `after`. */
static void check_one(seg_seek_plan *plan, uint64_t before, uint64_t after) {
    CHECK_EQ(seg_seek_plan_count(plan), 1);
    const seg_seek_step *step = seg_seek_plan_at(plan, 0);
    CHECK_EQ(step->partition, 0);
    CHECK_EQ(step->era, 1);
    CHECK_EQ(step->before, before);
    CHECK_EQ(step->after, after);
    CHECK_PTR(seg_seek_plan_at(plan, 1), NULL);
    seg_seek_plan_free(plan);
}

static uint64_t committed(const bench *b, const char *group, uint32_t p) {
    return rig_cursor(b->c, "s", group, p).committed;
}

/* The lag of group "g" that the server itself computes for partition p. */
static long long native_lag(server *s, uint32_t p) {
    redisReply *r = server_cmd(s, "XINFO GROUPS sg:{default/s/%u}:log", p);
    CHECK_EQ(r->elements, 1);
    long long lag = -1;
    for (size_t i = 0; i + 1 < r->element[0]->elements; i += 2) {
        if (strcmp(r->element[0]->element[i]->str, "lag") == 0) {
            CHECK_EQ(r->element[0]->element[i + 1]->type, REDIS_REPLY_INTEGER);
            lag = r->element[0]->element[i + 1]->integer;
        }
    }
    freeReplyObject(r);
    return lag;
}

static void ignore(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    (void)where;
    (void)arg;
    CHECK_OK(status, err);
}

/* One batch of `n` messages with these times. */
static void put_times(const bench *b, uint32_t partition, size_t n, const int64_t times[]) {
    char key[24];
    seg_record r;
    seg_error err;
    rig_key(key, partition, b->partitions);
    SEG_INIT(&r);
    r.key = (seg_bytes){key, strlen(key)};
    for (size_t i = 0; i < n; i++) {
        r.timestamp = times[i];
        CHECK_OK(seg_send_async(b->p, &r, ignore, NULL, &err), &err);
    }
    CHECK_OK(seg_producer_flush(b->p, RIG_MS, &err), &err);
}

/* ---- Places --------------------------------------------------------------------------------- */

TEST(an_idle_group_goes_where_it_is_told) {
    bench b = set_up(1);
    for (unsigned i = 0; i < 4; i++) { /* four entries of ten */
        rig_put(b.p, (rig_run){.partitions = 1, .first = 10 * i, .count = 10});
    }
    make_group(&b);
    static const struct {
        seg_seek_to to;
        int64_t value;
        uint64_t before, after;
    } moves[] = {
        {SEG_SEEK_END, 0, 0, 40},
        {SEG_SEEK_START, 0, 40, 0},
        {SEG_SEEK_OFFSET, 17, 0, 17}, /* inside an entry */
        {SEG_SEEK_OFFSET, 17, 17, 17},
        {SEG_SEEK_BY, 5, 17, 22},
        {SEG_SEEK_BY, -12, 22, 10},
        {SEG_SEEK_BY, 0, 10, 10},
        {SEG_SEEK_BY, -11, 10, 0},
        {SEG_SEEK_BY, INT64_MIN, 0, 0},
        {SEG_SEEK_BY, INT64_MAX, 0, 40},
        {SEG_SEEK_OFFSET, 0, 40, 0},
        {SEG_SEEK_OFFSET, INT64_MAX, 0, 40},
        {SEG_SEEK_OFFSET, 39, 40, 39},
        {SEG_SEEK_TIME, 0, 39, 0},
        {SEG_SEEK_TIME, INT64_MAX, 0, 40},
        {SEG_SEEK_BY, INT64_MIN, 40, 0},
        {SEG_SEEK_OFFSET, 33, 0, 33},
    };
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        seg_seek_options o = to(moves[i].to, moves[i].value);
        o.execute = false;
        check_one(must_seek(b.c, "g", o), moves[i].before, moves[i].after);
        CHECK_EQ(committed(&b, "g", 0), moves[i].before);
        o.execute = true;
        check_one(must_seek(b.c, "g", o), moves[i].before, moves[i].after);
        CHECK_EQ(committed(&b, "g", 0), moves[i].after);
        CHECK_EQ(native_lag(b.s, 0), 40 - moves[i].after);
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .start = SEG_LATEST});
    rig_drain(k, b.in, 7);
    rig_check_run(b.in, 0, 7, 33);
    CHECK_EQ(b.in->d[0].attempt, 1);
    seg_consumer_close(k);
    CHECK_EQ(native_lag(b.s, 0), 0);
    tear_down(&b);
}

/* What was acknowledged past the new place comes again; what was acknowledged out of order too. */
TEST(acknowledgements_past_the_place_are_forgotten) {
    bench b = set_up(1);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    for (size_t i = 0; i < 10; i += i == 2 ? 3 : 1) { /* 3 and 4 are left */
        rig_ack(k, b.in->d + i, 1);
    }
    rig_commit(k);
    seg_consumer_close(k);
    seg_group_partition at = rig_cursor(b.c, "s", "g", 0);
    CHECK_EQ(at.committed, 3);
    CHECK_EQ(at.acked, 5);
    check_one(must_seek(b.c, "g", to(SEG_SEEK_BY, 0)), 3, 3);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).acked, 0);
    check_one(must_seek(b.c, "g", to(SEG_SEEK_OFFSET, 1)), 3, 1);
    b.in->n = 0;
    k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 9);
    rig_check_run(b.in, 0, 9, 1);
    for (size_t i = 0; i < 9; i++) {
        CHECK_EQ(b.in->d[i].attempt, 1);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(only_the_partitions_that_are_named) {
    static const uint32_t named[] = {3, 1};
    bench b = set_up(4);
    rig_spread(b.p, 4, 0, 40);
    make_group(&b);
    seg_seek_options o = to(SEG_SEEK_OFFSET, 6);
    o.partitions = named;
    o.n_partitions = 2;
    seg_seek_plan *plan = must_seek(b.c, "g", o);
    CHECK_EQ(seg_seek_plan_count(plan), 2);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->partition, 1); /* in their order */
    CHECK_EQ(seg_seek_plan_at(plan, 1)->partition, 3);
    seg_seek_plan_free(plan);
    for (uint32_t p = 0; p < 4; p++) {
        CHECK_EQ(committed(&b, "g", p), p % 2 == 1 ? 6 : 0);
        CHECK_EQ(native_lag(b.s, p), p % 2 == 1 ? 4 : 10);
    }
    tear_down(&b);
}

/* A group that was overtaken is at the first message that is left: that is what it would read next. */
TEST(on_from_an_overtaken_place) {
    bench b = {.s = server_start(NULL), .partitions = 1};
    seg_stream_options so;
    seg_error err;
    b.c = rig_client(b.s);
    SEG_INIT(&so);
    so.partitions = 1;
    so.max_messages = 10;
    so.on_full = SEG_DROP_OLDEST;
    CHECK_OK(seg_stream_create(b.c, "s", &so, &err), &err);
    b.p = rig_producer(b.c, "s");
    make_group(&b);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .count = 30});
    CHECK_EQ(committed(&b, "g", 0), 0);
    check_one(must_seek(b.c, "g", to(SEG_SEEK_BY, 4)), 0, 24);
    check_one(must_seek(b.c, "g", to(SEG_SEEK_START, 0)), 24, 20);
    check_one(must_seek(b.c, "g", to(SEG_SEEK_OFFSET, 3)), 20, 20);
    CHECK_EQ(native_lag(b.s, 0), 10);
    tear_down(&b);
}

/* What a group was moved back to is unread again: an append does not take its room. */
TEST(messages_that_are_unread_again_are_kept) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in), .partitions = 1};
    seg_stream_options so;
    seg_producer *p = NULL;
    seg_record r;
    seg_error err;
    b.c = rig_client(b.s);
    SEG_INIT(&so);
    so.partitions = 1;
    so.max_messages = 10;
    so.on_full = SEG_FAIL;
    CHECK_OK(seg_stream_create(b.c, "s", &so, &err), &err);
    b.p = rig_producer(b.c, "s");
    make_group(&b);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .count = 10});
    check_one(must_seek(b.c, "g", to(SEG_SEEK_END, 0)), 0, 10);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .first = 10, .count = 4});
    check_one(must_seek(b.c, "g", to(SEG_SEEK_OFFSET, 6)), 10, 6);
    rig_put_singly(b.p, (rig_run){.partitions = 1, .first = 14, .count = 2});
    SEG_INIT(&r);
    CHECK_OK(seg_producer_open(&p, b.c, "s", NULL, &err), &err);
    CHECK_STATUS(seg_send(p, &r, NULL, &err), SEG_EFULL, &err);
    seg_producer_close(p);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 10);
    rig_check_run(b.in, 0, 10, 6);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Times ---------------------------------------------------------------------------------- */

TEST(the_first_message_of_a_time) {
    static const int64_t times[] = {1000, 1000, 2000, 3000, 3000, 3000, 5000, 9000, 9000};
    static const struct {
        int64_t time;
        uint64_t offset;
    } found[] = {{0, 0},    {1, 0},    {1000, 0}, {1001, 2}, {2000, 2}, {2001, 3},     {3000, 3},
                 {3001, 6}, {5000, 6}, {5001, 7}, {9000, 7}, {9001, 9}, {INT64_MAX, 9}};
    for (size_t entry = 1; entry <= 9; entry += entry == 4 ? 5 : 1) { /* cut in different ways */
        bench b = set_up(1);
        make_group(&b);
        for (size_t i = 0; i < 9; i += entry) {
            put_times(&b, 0, 9 - i < entry ? 9 - i : entry, times + i);
        }
        for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
            seg_seek_options o = to(SEG_SEEK_TIME, found[i].time);
            o.execute = false;
            check_one(must_seek(b.c, "g", o), 0, found[i].offset);
        }
        tear_down(&b);
    }
}

/* Each partition has a place of its own; an empty one is at its end. */
TEST(times_in_many_partitions) {
    bench b = set_up(5);
    for (uint32_t p = 0; p < 4; p++) {
        for (int64_t i = 0; i < 20; i++) {
            put_times(&b, p, 1, &(int64_t){1000 + 100 * p + 10 * i});
        }
    }
    make_group(&b);
    seg_seek_plan *plan = must_seek(b.c, "g", to(SEG_SEEK_TIME, 1195));
    static const uint64_t places[] = {20, 10, 0, 0, 0};
    for (uint32_t p = 0; p < 5; p++) {
        CHECK_EQ(seg_seek_plan_at(plan, p)->after, places[p]);
        CHECK_EQ(committed(&b, "g", p), places[p]);
    }
    seg_seek_plan_free(plan);
    tear_down(&b);
}

TEST_DEADLINE(a_search_reads_few_entries, 120) {
    enum { BATCHES = 1000, EACH = 100 };
    static int64_t times[EACH];
    bench b = set_up(1);
    for (int64_t i = 0; i < BATCHES; i++) {
        for (int64_t j = 0; j < EACH; j++) {
            times[j] = 1000000 + i * EACH + j;
        }
        put_times(&b, 0, EACH, times);
    }
    make_group(&b);
    static const int64_t places[] = {0, 1, 99, 100, 31337, 50000, 99899, 99999, 100000};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        long long before = rig_calls(b.s, "xrange");
        check_one(must_seek(b.c, "g", to(SEG_SEEK_TIME, 1000000 + places[i])),
                  i > 0 ? (uint64_t)places[i - 1] : 0, (uint64_t)places[i]);
        CHECK_LE(rig_calls(b.s, "xrange") - before, 18); /* 2^17 offsets */
    }
    tear_down(&b);
}

/* A batch that nobody can read, of the offsets next to last. */
static void put_junk(const bench *b, uint64_t last) {
    char id[32];
    snprintf(id, sizeof id, "1-%" PRIu64, last);
    server_do(b->s, "XADD sg:{default/s/0}:log %s b junk", id);
    server_do(b->s, "HSET sg:{default/s/0}:state next %s", id + 2);
    snprintf(id, sizeof id, "%" PRIu64, last + 1);
    server_do(b->s, "HSET sg:{default/s/0}:state next %s", id);
}

/* Random logs, with damaged entries and trimmed ones among them, against a walk along the log. */
TEST_DEADLINE(times_by_chance, 120) {
    enum { OFFSETS = 400 };
    sg_rng rng = {test_seed()};
    for (int round = 0; round < 12; round++) {
        int64_t times[OFFSETS], now = 1000;
        bool readable[OFFSETS] = {false};
        uint64_t n = 0, entries = 10 + sg_rng_below(&rng, 40), trimmed = 0;
        bench b = set_up(1);
        make_group(&b);
        for (uint64_t e = 0; e < entries; e++) {
            uint64_t count = 1 + sg_rng_below(&rng, 8);
            bool junk = round % 3 == 1 && sg_rng_below(&rng, 3) == 0;
            for (uint64_t i = 0; i < count; i++) {
                now += (int64_t)sg_rng_below(&rng, 3) * (sg_rng_below(&rng, 10) == 0 ? 50 : 1);
                times[n + i] = now;
                readable[n + i] = !junk;
            }
            if (junk) {
                put_junk(&b, n + count - 1);
            } else {
                put_times(&b, 0, count, times + n);
            }
            n += count;
            trimmed = round % 3 == 2 && e == entries / 2 ? n : trimmed;
        }
        if (trimmed > 0) { /* by hand: the state does not know */
            char id[32];
            snprintf(id, sizeof id, "1-%" PRIu64, trimmed);
            server_do(b.s, "XTRIM sg:{default/s/0}:log MINID %s", id);
        }
        for (int i = 0; i < 40; i++) {
            int64_t time = 990 + (int64_t)sg_rng_below(&rng, (uint32_t)(now - 980));
            uint64_t expected = trimmed;
            while (expected < n && (!readable[expected] || times[expected] < time)) {
                expected++;
            }
            seg_seek_plan *plan = must_seek(b.c, "g", to(SEG_SEEK_TIME, time));
            uint64_t got = seg_seek_plan_at(plan, 0)->after;
            seg_seek_plan_free(plan);
            if (got != expected) {
                FAIL("round %d: time %" PRId64 " is at %" PRIu64 ", found %" PRIu64, round, time,
                     expected, got);
            }
        }
        tear_down(&b);
    }
}

TEST(a_log_of_strangers_is_not_read_to_its_end) {
    bench b = set_up(1);
    seg_error err;
    make_group(&b);
    for (uint64_t i = 0; i < 3000; i++) {
        char id[32];
        snprintf(id, sizeof id, "1-%" PRIu64, i);
        server_do(b.s, "XADD sg:{default/s/0}:log %s b junk", id);
    }
    server_do(b.s, "HSET sg:{default/s/0}:state next 3000");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_TIME, 5), &err), SEG_EPROTO, &err);
    CHECK_CONTAINS(err.text, "partition 0");
    CHECK_LE(rig_calls(b.s, "xrange"), 1002);
    CHECK_EQ(committed(&b, "g", 0), 0);
    tear_down(&b);
}

/* ---- New groups ----------------------------------------------------------------------------- */

TEST(a_group_that_does_not_exist_is_created_there) {
    static const uint32_t named[] = {1};
    bench b = set_up(3);
    seg_error err;
    rig_spread(b.p, 3, 0, 30);
    seg_seek_options o = to(SEG_SEEK_OFFSET, 4);
    o.partitions = named;
    o.n_partitions = 1;
    o.execute = false;
    seg_seek_plan *plan = must_seek(b.c, "g", o);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->before, UINT64_MAX);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->after, 4);
    seg_seek_plan_free(plan);
    CHECK_EQ(server_int(b.s, "EXISTS sg:{default/s}:group:g"), 0);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_BY, 1), &err), SEG_ENOENT, &err);
    o.execute = true;
    plan = must_seek(b.c, "g", o);
    CHECK_EQ(seg_seek_plan_count(plan), 1);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->before, UINT64_MAX);
    CHECK_EQ(seg_seek_plan_at(plan, 0)->after, 4);
    seg_seek_plan_free(plan);
    for (uint32_t p = 0; p < 3; p++) {
        CHECK_EQ(committed(&b, "g", p), p == 1 ? 4 : 0);
        CHECK_EQ(native_lag(b.s, p), p == 1 ? 6 : 10);
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .start = SEG_LATEST});
    rig_drain(k, b.in, 26);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Somebody died while creating it: what is half made is finished, and moved. */
TEST(a_creation_that_was_interrupted) {
    static const char *const starts[] = {"earliest", "latest", "offset:7", "time:1"};
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    for (size_t i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "g%zu", i);
        seg_consumer_close(rig_consumer(b.c, "s", &(rig_join){.group = name, .start = SEG_LATEST}));
        server_do(b.s, "HSET sg:{default/s}:group:%s phase creating start %s", name, starts[i % 4]);
        if (i >= 4) { /* it came to one of two cursors */
            server_do(b.s, "HDEL sg:{default/s/1}:cursors %s:gid", name);
        }
        seg_seek_plan_free(must_seek(b.c, name, to(SEG_SEEK_OFFSET, 3)));
        CHECK_EQ(committed(&b, name, 0), 3);
        CHECK_EQ(committed(&b, name, 1), 3);
    }
    tear_down(&b);
}

static seg_consumer *consumer_at(const bench *b, const char *group, seg_start start, int64_t at) {
    seg_consumer_options o;
    seg_consumer *k = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.group = group;
    o.start = start;
    o.start_at = at;
    CHECK_OK(seg_consumer_open(&k, b->c, "s", &o, &err), &err);
    return k;
}

TEST(groups_that_start_at_an_offset_or_a_time) {
    static const struct {
        const char *group;
        seg_start start;
        int64_t at;
        uint64_t places[2];
    } cases[] = {
        {"a", SEG_AT_OFFSET, 0, {0, 0}},           {"b", SEG_AT_OFFSET, 12, {12, 10}},
        {"c", SEG_AT_OFFSET, INT64_MAX, {20, 10}}, {"d", SEG_AT_TIME, 0, {0, 0}},
        {"e", SEG_AT_TIME, 1085, {9, 10}},         {"f", SEG_AT_TIME, INT64_MAX, {20, 10}},
        {"h", SEG_AT_TIME, 1035, {4, 8}},
    };
    bench b = set_up(2);
    for (int64_t i = 0; i < 20; i++) {
        put_times(&b, 0, 1, &(int64_t){1000 + 10 * i});
    }
    for (int64_t i = 0; i < 10; i++) {
        put_times(&b, 1, 1, &(int64_t){1000 + 5 * i});
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        seg_consumer_close(consumer_at(&b, cases[i].group, cases[i].start, cases[i].at));
        for (uint32_t p = 0; p < 2; p++) {
            uint64_t expected = cases[i].places[p];
            if (cases[i].start == SEG_AT_TIME && cases[i].at == 1035 && p == 1) {
                expected = 7;
            }
            CHECK_EQ(committed(&b, cases[i].group, p), expected);
        }
    }
    /* Whoever finishes a creation goes by the start of who began it. */
    seg_consumer_close(consumer_at(&b, "i", SEG_AT_TIME, 1035));
    server_do(b.s, "HSET sg:{default/s}:group:i phase creating");
    server_do(b.s, "HDEL sg:{default/s/1}:cursors i:gid");
    seg_consumer_close(consumer_at(&b, "i", SEG_LATEST, 0));
    CHECK_EQ(committed(&b, "i", 0), 4);
    CHECK_EQ(committed(&b, "i", 1), 7);
    tear_down(&b);
}

/* ---- Active groups -------------------------------------------------------------------------- */

TEST(an_active_group_is_not_moved_by_accident) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 10);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    rig_ack(k, b.in->d, 4);
    rig_commit(k);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_START, 0), &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "live members (1)");
    seg_seek_options o = to(SEG_SEEK_START, 0);
    o.execute = false;
    seg_seek_plan_free(must_seek(b.c, "g", o)); /* looking is allowed */
    rig_ack(k, b.in->d + 4, 6);                 /* and it was not hurt */
    rig_commit(k);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_START, 0)));
    CHECK_EQ(rig_lag(b.c, "s", "g"), 10);
    tear_down(&b);
}

static seg_seek_options live(seg_seek_to where, int64_t value) {
    seg_seek_options o = to(where, value);
    o.while_active = true;
    return o;
}

TEST(an_idle_consumer_goes_on_from_the_new_place) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 20);
    CHECK_EQ(rig_poll(k, b.in, 10, 50), 0);
    int64_t start = test_now_ms();
    seg_seek_plan *plan = must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 4));
    CHECK_EQ(seg_seek_plan_at(plan, 0)->before, 10);
    CHECK_EQ(seg_seek_plan_at(plan, 1)->after, 4);
    seg_seek_plan_free(plan);
    rig_drain(k, b.in, 32);                /* 4 to 9 of both */
    CHECK_LT(test_now_ms() - start, 2000); /* it was woken: its next heartbeat is later */
    for (size_t i = 20; i < 32; i++) {
        CHECK_GE(b.in->d[i].id.offset, 4);
        CHECK_GT(b.in->d[i].epoch, b.in->d[0].epoch);
        CHECK_EQ(b.in->d[i].attempt, 1);
    }
    seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_BY, -1)));
    rig_drain(k, b.in, 34);
    CHECK_EQ(b.in->d[33].id.offset, 9);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* What it held is no longer its: acknowledging that is refused, and moves nothing. */
TEST(a_busy_consumer_goes_on_from_the_new_place) {
    bench b = set_up(1);
    seg_error err;
    rig_put(b.p, (rig_run){.partitions = 1, .count = 100});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .ack_timeout = SEG_FOREVER});
    rig_take(k, b.in, 100);
    rig_ack(k, b.in->d, 50);
    rig_commit(k);
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 20)), 50, 20);
    WAIT_FOR(RIG_MS, rig_poll(k, b.in, 1, 20) > 0);
    CHECK_EQ(b.in->d[100].id.offset, 20);
    CHECK_STATUS(seg_ack(k, b.in->d + 60, 1, &err), SEG_EFENCED, &err);
    rig_take(k, b.in, 180);
    rig_check_run(b.in, 100, 80, 20);
    rig_ack(k, b.in->d + 100, 10);
    rig_commit(k);
    CHECK_EQ(committed(&b, "g", 0), 30);
    /* And on: what is in between is passed over. */
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 90)), 30, 90);
    rig_drain(k, b.in, 190);
    rig_check_run(b.in, 180, 10, 90);
    rig_put(b.p, (rig_run){.partitions = 1, .first = 100, .count = 5});
    rig_drain(k, b.in, 195);
    rig_check_run(b.in, 190, 5, 100);
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Its acknowledgement is on its way when the group is moved: it does not count. */
TEST(an_acknowledgement_of_before_comes_too_late) {
    bench b = set_up(1);
    seg_error err;
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    proxy *way = proxy_start(server_socket(b.s));
    seg_client_options co;
    seg_client *far = NULL;
    SEG_INIT(&co);
    co.url = proxy_url(way);
    CHECK_OK(seg_client_open(&far, &co, &err), &err);
    seg_consumer *k = rig_consumer(far, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    proxy_hold(way, PROXY_REQUESTS);
    rig_ack(k, b.in->d, 10);
    WAIT_FOR(RIG_MS, proxy_held(way, PROXY_REQUESTS) > 0);
    check_one(must_seek(b.c, "g", live(SEG_SEEK_OFFSET, 3)), 0, 3);
    proxy_pass(way, PROXY_REQUESTS);
    proxy_release(way);
    rig_take(k, b.in, 17);
    rig_check_run(b.in, 10, 7, 3);
    CHECK_EQ(committed(&b, "g", 0), 3);
    rig_ack(k, b.in->d + 10, 7);
    WAIT_FOR(RIG_MS, committed(&b, "g", 0) == 10);
    seg_consumer_close(k);
    seg_client_close(far);
    proxy_stop(way);
    tear_down(&b);
}

TEST(partitions_that_are_not_moved_are_not_disturbed) {
    static const uint32_t named[] = {1};
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 20);
    uint64_t epoch = rig_cursor(b.c, "s", "g", 0).epoch;
    seg_seek_options o = live(SEG_SEEK_OFFSET, 8);
    o.partitions = named;
    o.n_partitions = 1;
    seg_seek_plan_free(must_seek(b.c, "g", o));
    rig_take(k, b.in, 22);
    for (size_t i = 0; i < 20; i++) {
        if (b.in->d[i].partition == 0) {
            rig_ack(k, b.in->d + i, 1);
        }
    }
    rig_ack(k, b.in->d + 20, 2);
    seg_consumer_commit(k, RIG_MS, NULL); /* may tell that a partition moved */
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    CHECK_EQ(rig_cursor(b.c, "s", "g", 0).epoch, epoch);
    seg_consumer_close(k);
    tear_down(&b);
}

/* The one who moves dies after the cursors have moved, before it told anybody. */
TEST(without_a_finish_owners_find_it_out) {
    bench b = set_up(1);
    rig_put(b.p, (rig_run){.partitions = 1, .count = 10});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10);
    uint64_t epoch = b.in->d[0].epoch + 1;
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, epoch);
    /* What group_seek begin and cursor_seek write. */
    server_do(b.s, "HSET sg:{default/s}:group:g epoch %s", text);
    server_do(b.s, "HSET sg:{default/s/0}:cursors g:epoch %s g:owner %s g:since %s", text, "",
              text);
    server_do(b.s, "ZADD sg:{default/s/0}:committed 5 g");
    rig_ack(k, b.in->d, 1); /* refused */
    rig_take(k, b.in, 15);
    rig_check_run(b.in, 10, 5, 5);
    CHECK_GT(b.in->d[10].epoch, epoch);
    rig_ack(k, b.in->d + 10, 5);
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    seg_consumer_close(k);
    tear_down(&b);
}

typedef struct reader {
    pthread_t thread;
    seg_consumer *k;
    atomic_bool *stop;
    atomic_int *round;
    atomic_uchar *seen; /* by number: the last round in which it was acknowledged */
} reader;

static void *run_reader(void *arg) {
    reader *r = arg;
    seg_error err;
    while (!atomic_load(r->stop)) {
        rig_inbox *in = calloc(1, sizeof *in);
        CHECK(in != NULL);
        size_t n = rig_poll(r->k, in, 50, 20);
        int round = atomic_load(r->round);
        for (size_t i = 0; i < n; i++) {
            seg_status s = seg_ack(r->k, in->d + i, 1, &err);
            if (s == SEG_OK) {
                atomic_store(&r->seen[in->number[i]], (unsigned char)round);
            } else {
                CHECK_STATUS(s, SEG_EFENCED, &err);
            }
        }
        free(in);
    }
    return NULL;
}

/* Members work, messages come, and the group is moved back again and again: after each move every message
 * is handled again, whatever was in hand. */
TEST_DEADLINE(moved_again_and_again_under_load, 120) {
    enum { MEMBERS = 3, PARTITIONS = 4, EACH = 400, ROUNDS = 6 };
    bench b = set_up(PARTITIONS);
    reader r[MEMBERS];
    atomic_bool stop = false;
    atomic_int round = 0;
    static atomic_uchar seen[EACH * (ROUNDS + 1)];
    for (int i = 0; i < MEMBERS; i++) {
        r[i] = (reader){.k = rig_consumer(b.c, "s", &(rig_join){.group = "g"}),
                        .stop = &stop,
                        .round = &round,
                        .seen = seen};
        CHECK_EQ(pthread_create(&r[i].thread, NULL, run_reader, &r[i]), 0);
    }
    for (unsigned n = 0; n < ROUNDS; n++) {
        rig_spread(b.p, PARTITIONS, n * EACH, EACH);
        seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_START, 0)));
        atomic_store(&round, (int)n + 1);
    }
    for (unsigned i = 0; i < ROUNDS * EACH; i++) {
        WAIT_FOR(RIG_MS, atomic_load(&seen[i]) > 0);
    }
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    atomic_store(&round, ROUNDS + 1);
    seg_seek_plan_free(must_seek(b.c, "g", live(SEG_SEEK_START, 0)));
    for (unsigned i = 0; i < ROUNDS * EACH; i++) {
        WAIT_FOR(RIG_MS, atomic_load(&seen[i]) == ROUNDS + 1);
    }
    WAIT_FOR(RIG_MS, rig_lag(b.c, "s", "g") == 0);
    atomic_store(&stop, true);
    for (int i = 0; i < MEMBERS; i++) {
        pthread_join(r[i].thread, NULL);
        seg_consumer_close(r[i].k);
    }
    tear_down(&b);
}

/* ---- Trouble -------------------------------------------------------------------------------- */

/* Whatever answer is lost, and with it all that is sent behind: "on by three" is three, once. */
TEST_DEADLINE(a_connection_that_breaks_anywhere, 120) {
    bench b = set_up(2);
    seg_error err;
    seg_client_options co;
    seg_client *far = NULL;
    rig_spread(b.p, 2, 0, 2000);
    make_group(&b);
    proxy *way = proxy_start(server_socket(b.s));
    SEG_INIT(&co);
    co.url = proxy_url(way);
    CHECK_OK(seg_client_open(&far, &co, &err), &err);
    uint64_t at = 0;
    sg_rng rng = {test_seed()};
    for (size_t i = 0; i < 24; i++) {
        if (i % 2 == 0) {
            proxy_cut_after(way, PROXY_REPLIES, sg_rng_below(&rng, 500));
        } else {
            proxy_cut_after(way, PROXY_REQUESTS, sg_rng_below(&rng, 2500));
        }
        seg_seek_plan *plan = must_seek(far, "g", to(SEG_SEEK_BY, i % 2 == 0 ? 3 : -1));
        uint64_t then = i % 2 == 0 ? at + 3 : at - 1;
        for (uint32_t p = 0; p < 2; p++) {
            CHECK_EQ(seg_seek_plan_at(plan, p)->before, at);
            CHECK_EQ(seg_seek_plan_at(plan, p)->after, then);
            CHECK_EQ(committed(&b, "g", p), then);
        }
        seg_seek_plan_free(plan);
        at = then;
    }
    seg_client_close(far);
    proxy_stop(way);
    tear_down(&b);
}

/* No answer in time: it says so, and the same call again finishes it. */
TEST(a_server_that_does_not_answer) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    seg_client *c = rig_client_within(b.s, 300);
    server_pause(b.s);
    CHECK_STATUS(try_seek(c, "g", to(SEG_SEEK_END, 0), &err), SEG_ETIMEDOUT, &err);
    server_resume(b.s);
    seg_client_close(c);
    proxy *way = proxy_start(server_socket(b.s));
    seg_client_options co;
    SEG_INIT(&co);
    co.url = proxy_url(way);
    co.command_timeout = 300;
    CHECK_OK(seg_client_open(&c, &co, &err), &err);
    seg_status s = SEG_OK;
    for (size_t bytes = 0; s != SEG_EUNKNOWN; bytes += 60) { /* let it come further and further */
        CHECK_LT(bytes, 4000);
        proxy_cut_after(way, PROXY_REPLIES, bytes);
        proxy_refuse(way, false);
        WAIT_FOR(RIG_MS, try_seek(c, "none", to(SEG_SEEK_BY, 0), NULL) == SEG_ENOENT);
        proxy_cut_after(way, PROXY_REPLIES, bytes);
        proxy_refuse(way, true);
        s = try_seek(c, "g", to(SEG_SEEK_END, 0), &err);
    }
    proxy_refuse(way, false);
    seg_client_close(c);
    proxy_stop(way);
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_END, 0)));
    CHECK_EQ(rig_lag(b.c, "s", "g"), 0);
    tear_down(&b);
}

/* A coordinator that a failover has set back: its epochs are raised above what the cursors know. */
TEST(a_coordinator_that_fell_back) {
    bench b = set_up(2);
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    server_do(b.s, "HSET sg:{default/s}:group:g epoch 1");
    server_do(b.s, "HSET sg:{default/s/0}:cursors g:epoch 70");
    server_do(b.s, "HSET sg:{default/s/1}:cursors g:epoch 90");
    seg_seek_plan_free(must_seek(b.c, "g", to(SEG_SEEK_OFFSET, 5)));
    CHECK_EQ(committed(&b, "g", 0), 5);
    CHECK_EQ(committed(&b, "g", 1), 5);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, 10);
    CHECK_GT(b.in->d[0].epoch, 90);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(what_is_not_there) {
    bench b = set_up(1);
    seg_error err;
    seg_seek_plan *plan = NULL;
    seg_seek_options o = to(SEG_SEEK_START, 0);
    CHECK_STATUS(seg_group_seek(&plan, b.c, "none", "g", &o, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "none");
    rig_put(b.p, (rig_run){.partitions = 1, .count = 5});
    make_group(&b);
    /* A part of the stream is missing. */
    server_do(b.s, "RENAME sg:{default/s/0}:log aside");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, "partition 0");
    server_do(b.s, "RENAME aside sg:{default/s/0}:log");
    server_do(b.s, "RENAME sg:{default/s/0}:log sg:{default/s/0}:log2");
    server_do(b.s, "SET sg:{default/s/0}:log x");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_EPROTO, &err);
    server_do(b.s, "RENAME sg:{default/s/0}:log2 sg:{default/s/0}:log");
    CHECK_OK(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), &err);
    /* Its group, while that is being deleted. */
    server_do(b.s, "HSET sg:{default/s}:group:g phase deleting");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_END, 0), &err), SEG_EEXIST, &err);
    server_do(b.s, "HSET sg:{default/s}:group:g phase ready");
    CHECK_OK(seg_stream_delete(b.c, "s", &err), &err);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_TIME, 5), &err), SEG_ENOENT, &err);
    tear_down(&b);
}

/* One partition cannot be moved, the other one was: that is neither done nor not done. */
TEST(half_a_move_is_told_as_such) {
    bench b = set_up(2);
    seg_error err;
    rig_spread(b.p, 2, 0, 20);
    make_group(&b);
    /* Reading is allowed everywhere, writing not in partition 1. */
    const char *acl[] = {"ACL",
                         "SETUSER",
                         "default",
                         "resetkeys",
                         "~sg:{default/s}:*",
                         "~sg:{default/s/0}:*",
                         "(+eval +evalsha +hmget +exists +xlen +zscore ~*)"};
    redisReply *reply = server_cmd_argv(b.s, 7, acl, NULL);
    CHECK_STR(reply->str, "OK");
    freeReplyObject(reply);
    seg_status s = try_seek(b.c, "g", to(SEG_SEEK_OFFSET, 4), &err);
    server_do(b.s, "ACL SETUSER default ~*");
    CHECK_STATUS(s, SEG_EUNKNOWN, &err);
    CHECK_CONTAINS(err.text, "only 1 of 2");
    CHECK_CONTAINS(err.text, "partition 1");
    CHECK_EQ(committed(&b, "g", 0), 4);
    CHECK_EQ(committed(&b, "g", 1), 0);
    CHECK_OK(try_seek(b.c, "g", to(SEG_SEEK_OFFSET, 4), &err), &err);
    CHECK_EQ(committed(&b, "g", 1), 4);
    tear_down(&b);
}

/* Memory runs out anywhere: it says so and nothing has moved, or it is done. */
TEST_DEADLINE(memory_runs_out_anywhere, 120) {
    bench b = set_up(2);
    seg_error err;
    uint64_t n = 0, at[2] = {0, 0};
    bool untouched = false;
    for (int64_t i = 0; i < 40; i++) {
        put_times(&b, (uint32_t)i % 2, 1, &(int64_t){1000 + i / 2});
    }
    make_group(&b);
    while (!untouched) {
        CHECK_LT(++n, 500);
        uint64_t place = n % 20;
        bool by_time = n / 20 % 2 == 0;
        seg_seek_options o = by_time ? to(SEG_SEEK_TIME, (int64_t)(1000 + place))
                                     : to(SEG_SEEK_OFFSET, (int64_t)place);
        seg_seek_plan *plan = NULL;
        sg_alloc_fail_at(n, 0);
        seg_status s = seg_group_seek(&plan, b.c, "s", "g", &o, &err);
        untouched = sg_alloc_fail_at(0, 0) < n;
        CHECK(s == SEG_OK || s == SEG_ENOMEM || s == SEG_ECONN);
        seg_seek_plan_free(plan);
        for (uint32_t p = 0; p < 2; p++) {
            at[p] = s == SEG_OK ? place : at[p];
            CHECK_EQ(committed(&b, "g", p), at[p]);
        }
    }
    CHECK_GT(n, 20);
    tear_down(&b);
}

TEST(options_that_make_no_sense) {
    static const uint32_t twice[] = {1, 0, 1}, far[] = {0, 2};
    bench b = set_up(2);
    seg_error err;
    seg_seek_plan *plan = NULL;
    seg_seek_options o = to(0, 0);
    CHECK_STATUS(seg_group_seek(NULL, b.c, "s", "g", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_seek(&plan, NULL, "s", "g", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_seek(&plan, b.c, "s", "g", NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "to is 0");
    CHECK_STATUS(try_seek(b.c, "g", to((seg_seek_to)9, 0), &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_OFFSET, -1), &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "value is -1");
    CHECK_STATUS(try_seek(b.c, "g", to(SEG_SEEK_TIME, -1), &err), SEG_EINVAL, &err);
    CHECK_STATUS(try_seek(b.c, "g/h", to(SEG_SEEK_END, 0), &err), SEG_EINVAL, &err);
    o = to(SEG_SEEK_END, 0);
    o.n_partitions = 1;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    o.partitions = twice;
    o.n_partitions = 0;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    o.n_partitions = 3;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "partition 1 is named twice");
    o.partitions = far;
    o.n_partitions = 2;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "no partition 2");
    o.n_partitions = 4097;
    CHECK_STATUS(try_seek(b.c, "g", o, &err), SEG_EINVAL, &err);
    CHECK_EQ(server_int(b.s, "EXISTS sg:{default/s}:group:g"), 0);
    tear_down(&b);
}
