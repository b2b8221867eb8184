/* Listings of all streams, and of all groups: what they tell, and that they ask for many at once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy.h"
#include "rig.h"

typedef struct bench {
    server *s;
    seg_client *c;
} bench;

static bench set_up(void) {
    bench b = {.s = server_start(NULL)};
    b.c = rig_client(b.s);
    return b;
}

static void tear_down(bench *b) {
    seg_client_close(b->c);
    server_stop(b->s);
}

static void make_group(const bench *b, const char *stream, const char *group) {
    seg_consumer_close(rig_consumer(b->c, stream, &(rig_join){.group = group}));
}

static void put(const bench *b, const char *stream, uint32_t partitions, unsigned n) {
    seg_producer *p = rig_producer(b->c, stream);
    rig_spread(p, partitions, 0, n);
    seg_producer_close(p);
}

static seg_streams *streams(const bench *b) {
    seg_streams *all = NULL;
    seg_error err;
    CHECK_OK(seg_stream_overview(&all, b->c, &err), &err);
    return all;
}

static seg_groups *groups(const bench *b, const char *stream) {
    seg_groups *all = NULL;
    seg_error err;
    CHECK_OK(seg_group_overview(&all, b->c, stream, &err), &err);
    return all;
}

/* ---- streams ------------------------------------------------------------------------------ */

TEST(streams_are_told) {
    bench b = set_up();
    seg_streams *all = streams(&b);
    CHECK_EQ(seg_streams_count(all), 0);
    CHECK_PTR(seg_streams_at(all, 0), NULL);
    seg_streams_free(all);
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = 2;
    o.max_messages = 10;
    o.on_full = SEG_DROP_OLDEST;
    CHECK_OK(seg_stream_create(b.c, "b", &o, &err), &err);
    rig_stream(b.c, "a", 3);
    put(&b, "b", 2, 50);
    put(&b, "a", 3, 9);
    make_group(&b, "a", "g");
    make_group(&b, "a", "h");
    all = streams(&b);
    CHECK_EQ(seg_streams_count(all), 2);
    const seg_stream_summary *s = seg_streams_at(all, 0);
    CHECK_STR(s->name, "a");
    CHECK_EQ(s->status, SEG_OK);
    CHECK_EQ(s->partitions, 3);
    CHECK_EQ(s->on_full, SEG_BLOCK);
    CHECK_EQ(s->max_messages, 100000);
    CHECK_GT(s->created, 0);
    CHECK_EQ(s->messages, 9);
    CHECK_EQ(s->appended, 9);
    CHECK_EQ(s->groups, 2);
    s = seg_streams_at(all, 1);
    CHECK_STR(s->name, "b");
    CHECK_EQ(s->on_full, SEG_DROP_OLDEST);
    CHECK_EQ(s->messages, rig_messages(b.c, "b"));
    CHECK_LE(s->messages, 20);
    CHECK_EQ(s->appended, 50);
    CHECK_EQ(s->groups, 0);
    seg_streams_free(all);
    tear_down(&b);
}

TEST(a_damaged_stream_hides_no_other) {
    bench b = set_up();
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        rig_stream(b.c, names[i], 2);
        put(&b, names[i], 2, 4);
        make_group(&b, names[i], "g");
    }
    server_do(b.s, "DEL sg:{default/a/1}:state");
    server_do(b.s, "HSET sg:{default/b}:meta policy hope");
    server_do(b.s, "DEL sg:{default/c}:groups");
    server_do(b.s, "SET sg:{default/c}:groups x");
    server_do(b.s, "SADD sg:{default}:streams gone %s", "not{a}name");
    seg_streams *all = streams(&b);
    CHECK_EQ(seg_streams_count(all), 4);
    static const seg_status expected[] = {SEG_ELOST, SEG_EPROTO, SEG_ELOST, SEG_OK};
    static const uint64_t messages[] = {SEG_UNKNOWN, SEG_UNKNOWN, 4, 4};
    static const uint64_t n_groups[] = {1, SEG_UNKNOWN, SEG_UNKNOWN, 1};
    for (size_t i = 0; i < 4; i++) {
        const seg_stream_summary *s = seg_streams_at(all, i);
        CHECK_STR(s->name, names[i]);
        CHECK_EQ(s->status, expected[i]);
        CHECK_EQ(s->messages, messages[i]);
        CHECK_EQ(s->appended, messages[i]);
        CHECK_EQ(s->groups, n_groups[i]);
    }
    seg_streams_free(all);
    seg_groups *found = groups(&b, NULL);
    CHECK_EQ(seg_groups_count(found), 2); /* those of a and d: the others cannot be told */
    CHECK_STR(seg_groups_at(found, 0)->stream, "a");
    CHECK_EQ(seg_groups_at(found, 0)->status, SEG_ELOST);
    CHECK_EQ(seg_groups_at(found, 0)->lag, SEG_UNKNOWN);
    CHECK_STR(seg_groups_at(found, 1)->stream, "d");
    CHECK_EQ(seg_groups_at(found, 1)->status, SEG_OK);
    CHECK_EQ(seg_groups_at(found, 1)->lag, 4);
    seg_groups_free(found);
    seg_error err;
    CHECK_STATUS(seg_group_overview(&found, b.c, "b", &err), SEG_EPROTO, &err);
    CHECK_STATUS(seg_group_overview(&found, b.c, "c", &err), SEG_EPROTO, &err);
    tear_down(&b);
}

/* ---- groups ------------------------------------------------------------------------------- */

/* A listing says what a description of each says. */
static void check_as_described(const bench *b, const seg_group_summary *s) {
    seg_group_info *g = NULL;
    seg_error err;
    CHECK_OK(seg_group_describe(&g, b->c, s->stream, s->group, &err), &err);
    uint32_t unowned = 0;
    uint64_t committed = 0;
    for (uint32_t p = 0; p < seg_group_info_partitions(g); p++) {
        unowned += seg_group_info_partition(g, p)->owner == NULL;
        committed += seg_group_info_partition(g, p)->committed;
    }
    CHECK_EQ(s->partitions, seg_group_info_partitions(g));
    CHECK_EQ(s->members, seg_group_info_members(g));
    CHECK_EQ(s->unowned, unowned);
    CHECK_EQ(s->lag, seg_group_info_lag(g));
    CHECK_EQ(s->epoch, seg_group_info_epoch(g));
    CHECK_EQ(s->committed, committed);
    seg_group_info_free(g);
}

TEST(groups_are_told) {
    bench b = set_up();
    seg_groups *all = groups(&b, NULL);
    CHECK_EQ(seg_groups_count(all), 0);
    seg_groups_free(all);
    rig_stream(b.c, "s", 4);
    rig_stream(b.c, "r", 2);
    rig_stream(b.c, "q", 2);
    put(&b, "s", 4, 40);
    put(&b, "r", 2, 6);
    make_group(&b, "s", "b");
    make_group(&b, "r", "z");
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "a", .name = "x"});
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_drain(k, in, 40);
    put(&b, "s", 4, 8);
    all = groups(&b, NULL);
    static const char *const expected[][2] = {{"r", "z"}, {"s", "a"}, {"s", "b"}};
    static const uint64_t lags[] = {6, 8, 48}, committed[] = {0, 40, 0};
    CHECK_EQ(seg_groups_count(all), 3);
    for (size_t i = 0; i < 3; i++) {
        const seg_group_summary *s = seg_groups_at(all, i);
        CHECK_STR(s->stream, expected[i][0]);
        CHECK_STR(s->group, expected[i][1]);
        CHECK_EQ(s->status, SEG_OK);
        CHECK_EQ(s->lag, lags[i]);
        CHECK_EQ(s->committed, committed[i]);
        check_as_described(&b, s);
    }
    CHECK_EQ(seg_groups_at(all, 1)->members, 1);
    CHECK_EQ(seg_groups_at(all, 1)->unowned, 0);
    CHECK_EQ(seg_groups_at(all, 2)->unowned, 4);
    CHECK_PTR(seg_groups_at(all, 3), NULL);
    seg_groups_free(all);
    all = groups(&b, "s");
    CHECK_EQ(seg_groups_count(all), 2);
    CHECK_STR(seg_groups_at(all, 0)->group, "a");
    seg_groups_free(all);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

TEST(a_damaged_group_hides_no_other) {
    bench b = set_up();
    rig_stream(b.c, "s", 2);
    put(&b, "s", 2, 10);
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++)
        make_group(&b, "s", names[i]);
    server_do(b.s, "ZREM sg:{default/s/1}:committed a");
    server_do(b.s, "ZADD sg:{default/s/1}:committed 6 b"); /* past the end */
    server_do(b.s, "HSET sg:{default/s/0}:cursors c:gid other");
    server_do(b.s, "DEL sg:{default/s}:group:d");
    server_do(b.s, "SET sg:{default/s}:group:d x");
    server_do(b.s, "SADD sg:{default/s}:groups gone %s", "not{a}name");
    seg_groups *all = groups(&b, "s");
    static const seg_status expected[] = {SEG_ELOST, SEG_OK, SEG_ELOST, SEG_ELOST, SEG_OK};
    CHECK_EQ(seg_groups_count(all), 6);
    CHECK_STR(seg_groups_at(all, 5)->group, "gone"); /* listed, and its state is gone */
    CHECK_EQ(seg_groups_at(all, 5)->status, SEG_ELOST);
    CHECK_EQ(seg_groups_at(all, 5)->members, SEG_UNKNOWN);
    CHECK_EQ(seg_groups_at(all, 5)->lag, SEG_UNKNOWN);
    for (size_t i = 0; i < 5; i++) {
        const seg_group_summary *s = seg_groups_at(all, i);
        CHECK_STR(s->group, names[i]);
        CHECK_EQ(s->status, expected[i]);
        CHECK_EQ(s->lag, i < 4 ? SEG_UNKNOWN : 10);
        CHECK_EQ(s->committed, i == 1 ? 6 : i == 4 ? 0 : SEG_UNKNOWN);
        CHECK_EQ(s->members, i == 3 ? SEG_UNKNOWN : 0);
        CHECK_EQ(s->unowned, 2);
    }
    seg_groups_free(all);
    tear_down(&b);
}

TEST(groups_of_no_stream_are_enoent) {
    bench b = set_up();
    seg_groups *all = NULL;
    seg_error err;
    CHECK_STATUS(seg_group_overview(&all, b.c, "s", &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_group_overview(&all, b.c, "a b", &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_overview(NULL, b.c, "s", &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_group_overview(&all, NULL, "s", &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_stream_overview(NULL, b.c, &err), SEG_EINVAL, &err);
    seg_streams *none = NULL;
    CHECK_STATUS(seg_stream_overview(&none, NULL, &err), SEG_EINVAL, &err);
    CHECK_PTR(all, NULL);
    tear_down(&b);
}

/* ---- connections that break ---------------------------------------------------------------- */

/* Cut the connection after each so many bytes: it begins anew, and nothing counts twice. */
static void cut_listings(proxy_way way, size_t step) {
    bench b = set_up();
    rig_stream(b.c, "r", 1);
    rig_stream(b.c, "s", 3);
    put(&b, "s", 3, 30);
    make_group(&b, "s", "g");
    make_group(&b, "s", "h");
    server_do(b.s, "ZREM sg:{default/s/1}:committed h"); /* it is looked at twice */
    proxy *p = proxy_start(server_socket(b.s));
    seg_client_options o;
    SEG_INIT(&o);
    o.url = proxy_url(p);
    bool cut = true;
    for (size_t at = 0; cut; at += step) {
        bench other = {.s = b.s};
        seg_error err;
        CHECK_OK(seg_client_open(&other.c, &o, &err), &err);
        proxy_cut_after(p, way, at);
        seg_groups *all = groups(&other, NULL);
        CHECK_EQ(seg_groups_count(all), 2);
        CHECK_EQ(seg_groups_at(all, 0)->lag, 30);
        CHECK_EQ(seg_groups_at(all, 1)->status, SEG_ELOST);
        seg_groups_free(all);
        seg_streams *list = streams(&other);
        CHECK_EQ(seg_streams_count(list), 2);
        CHECK_EQ(seg_streams_at(list, 1)->messages, 30);
        CHECK_EQ(seg_streams_at(list, 1)->groups, 2);
        seg_streams_free(list);
        cut = proxy_has_cut(p);
        seg_client_close(other.c);
    }
    proxy_stop(p);
    tear_down(&b);
}

TEST(cut_within_the_requests_of_listings) {
    cut_listings(PROXY_REQUESTS, 149);
}

TEST(cut_within_the_replies_of_listings) {
    cut_listings(PROXY_REPLIES, 13);
}

/* ---- many --------------------------------------------------------------------------------- */

/* Copies of the group "g", "g00000" and on, n of them; straight on the server, for speed. */
static void multiply(const bench *b, const char *stream, uint32_t partitions, unsigned n) {
    static const char *const script =
        "local S, P = ARGV[1], tonumber(ARGV[2])\n"
        "local base = 'sg:{default/' .. S .. '}:group'\n"
        "for i = tonumber(ARGV[3]), tonumber(ARGV[4]) do\n"
        "    local name = string.format('g%05d', i)\n"
        "    redis.call('SADD', base .. 's', name)\n"
        "    for _, key in ipairs({'', ':leases', ':parts'}) do\n"
        "        redis.call('COPY', base .. ':g' .. key, base .. ':' .. name .. key)\n"
        "    end\n"
        "    for p = 0, P - 1 do\n"
        "        local at = 'sg:{default/' .. S .. '/' .. p .. '}:'\n"
        "        for _, f in ipairs({'gid', 'epoch', 'owner', 'seq', 'acks', 'tries', 'high',\n"
        "                            'note', 'since'}) do\n"
        "            redis.call('HSET', at .. 'cursors', name .. ':' .. f,\n"
        "                       redis.call('HGET', at .. 'cursors', 'g:' .. f))\n"
        "        end\n"
        "        redis.call('ZADD', at .. 'committed', i % 3, name)\n"
        "    end\n"
        "end\n";
    for (unsigned i = 0; i < n; i += 500)
        server_do(b->s, "EVAL %s 0 %s %u %u %u", script, stream, partitions, i,
                  i + 500 < n ? i + 499 : n - 1);
}

typedef struct cost {
    long long scripts, others, reads;
    double seconds;
} cost;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cost meter(const bench *b) {
    return (cost){rig_calls(b->s, "evalsha") + rig_calls(b->s, "eval"),
                  rig_calls(b->s, "hmget") + rig_calls(b->s, "smembers") + rig_calls(b->s, "scard"),
                  server_info(b->s, "total_reads_processed"), now()};
}

/* What it cost since then, with the meter's own reads taken off. */
static cost since(const bench *b, const char *what, cost before) {
    double at = now();
    cost c = meter(b);
    c.scripts -= before.scripts;
    c.others -= before.others;
    c.reads -= before.reads;
    c.seconds = at - before.seconds;
    printf("%s: %.3f s, %lld scripts, %lld reads\n", what, c.seconds, c.scripts, c.reads);
    return c;
}

static void check_lags(const seg_groups *all, uint32_t partitions, uint64_t messages) {
    for (size_t i = 0; i < seg_groups_count(all); i++) {
        const seg_group_summary *s = seg_groups_at(all, i);
        uint64_t done = strcmp(s->group, "g") == 0 ? 0 : strtoul(s->group + 1, NULL, 10) % 3;
        CHECK_EQ(s->status, SEG_OK);
        CHECK_EQ(s->lag, messages - done * partitions);
    }
}

/* Neither a question for each group, nor one for all that keeps the server from others. */
TEST_DEADLINE(ten_thousand_groups_of_a_stream, 120) {
    bench b = set_up();
    rig_stream(b.c, "s", 4);
    put(&b, "s", 4, 40);
    make_group(&b, "s", "g");
    seg_groups_free(groups(&b, "s")); /* the scripts are known */
    multiply(&b, "s", 4, 9999);
    cost before = meter(&b);
    seg_groups *all = groups(&b, "s");
    cost c = since(&b, "10,000 groups of a stream of 4 partitions", before);
    CHECK_EQ(seg_groups_count(all), 10000);
    check_lags(all, 4, 40);
    check_as_described(&b, seg_groups_at(all, 7777));
    CHECK_EQ(c.scripts, 50 + 4 * 50);
    seg_groups_free(all);
    tear_down(&b);
}

TEST_DEADLINE(a_hundred_groups_on_each_of_a_hundred_streams, 120) {
    enum { STREAMS = 100 };
    bench b = set_up();
    for (int i = 0; i < STREAMS; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%03d", i);
        rig_stream(b.c, name, 4);
        put(&b, name, 4, 40);
        make_group(&b, name, "g");
        multiply(&b, name, 4, 99);
    }
    seg_groups_free(groups(&b, NULL));
    cost before = meter(&b);
    seg_groups *all = groups(&b, NULL);
    cost c = since(&b, "100 groups on each of 100 streams of 4 partitions", before);
    CHECK_EQ(seg_groups_count(all), 100 * STREAMS);
    check_lags(all, 4, 40);
    check_as_described(&b, seg_groups_at(all, 4321));
    CHECK_EQ(c.scripts, STREAMS + 4 * STREAMS);
    seg_groups_free(all);
    seg_streams_free(streams(&b));
    before = meter(&b);
    seg_streams *list = streams(&b);
    c = since(&b, "100 streams of 4 partitions", before);
    CHECK_EQ(seg_streams_count(list), STREAMS);
    for (size_t i = 0; i < STREAMS; i++) {
        CHECK_EQ(seg_streams_at(list, i)->messages, 40);
        CHECK_EQ(seg_streams_at(list, i)->groups, 100);
    }
    CHECK_EQ(c.scripts, 4 * STREAMS);
    CHECK_LT(c.reads, 4 * STREAMS / 2); /* many of them at a time */
    seg_streams_free(list);
    tear_down(&b);
}

TEST_DEADLINE(four_thousand_partitions, 120) {
    enum { PARTITIONS = 4096 };
    bench b = set_up();
    rig_stream(b.c, "s", PARTITIONS);
    make_group(&b, "s", "g");
    make_group(&b, "s", "h");
    put(&b, "s", PARTITIONS, 100);
    seg_groups_free(groups(&b, "s"));
    cost before = meter(&b);
    seg_groups *all = groups(&b, "s");
    cost c = since(&b, "2 groups of a stream of 4096 partitions", before);
    CHECK_EQ(seg_groups_count(all), 2);
    CHECK_EQ(seg_groups_at(all, 1)->lag, 100);
    CHECK_EQ(seg_groups_at(all, 1)->unowned, PARTITIONS);
    CHECK_EQ(c.scripts, PARTITIONS + 2); /* of so many partitions, one group a call */
    CHECK_LT(c.reads, PARTITIONS / 4);
    seg_groups_free(all);
    seg_group_info *info = NULL;
    seg_error err;
    CHECK_OK(seg_group_describe(&info, b.c, "s", "h", &err), &err);
    seg_group_info_free(info);
    before = meter(&b);
    CHECK_OK(seg_group_describe(&info, b.c, "s", "g", &err), &err);
    c = since(&b, "a group of a stream of 4096 partitions, described", before);
    CHECK_EQ(seg_group_info_lag(info), 100);
    CHECK_EQ(c.scripts, PARTITIONS + 1);
    seg_group_info_free(info);
    before = meter(&b);
    seg_streams *list = streams(&b);
    c = since(&b, "a stream of 4096 partitions", before);
    CHECK_EQ(seg_streams_at(list, 0)->appended, 100);
    CHECK_EQ(c.scripts, PARTITIONS);
    CHECK_LT(c.reads, PARTITIONS / 4);
    seg_streams_free(list);
    tear_down(&b);
}
