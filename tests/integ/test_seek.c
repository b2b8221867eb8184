/* Moving a group that nobody reads: what is planned and done, to which places. */
#include "base/random.h"
#include "ledger.h"
#include "seek_rig.h"

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

/* A group that was overtaken is at the first message that is left: it would read that next. */
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
    log_stray(b->s, "default", "s", 0, id, "b", "junk", 4);
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
        log_stray(b.s, "default", "s", 0, id, "b", "junk", 4);
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
