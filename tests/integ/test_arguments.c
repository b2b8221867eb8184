/* What callers get wrong is told by name, changes nothing, and is never asked of the server. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    seg_consumer *k;
    rig_inbox *in;
} bench;

/* One message is in hand. */
static bench *set_up(void) {
    bench *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->in = calloc(1, sizeof *b->in);
    CHECK(b->in != NULL);
    b->s = server_start(NULL);
    b->c = rig_client(b->s);
    rig_stream(b->c, "s", 2);
    b->p = rig_producer(b->c, "s");
    b->k = rig_consumer(b->c, "s", &(rig_join){.group = "g"});
    rig_put(b->p, (rig_run){.partitions = 2, .count = 1});
    rig_take(b->k, b->in, 1);
    return b;
}

static void tear_down(bench *b) {
    seg_consumer_close(b->k);
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
    free(b);
}

static seg_error err;

static void check_refused(int line, const char *call, seg_status s, const char *part) {
    if (s != SEG_EINVAL || err.status != SEG_EINVAL || strstr(err.text, part) == NULL)
        FAIL("line %d: %s is %s, \"%s\"; expected EINVAL with \"%s\"", line, call,
             test_status_name(s), err.text, part);
}

/* The call is refused with EINVAL and a text in `err` that has `part`. */
#define CHECK_REFUSED(call, part)                                                                  \
    (err = (seg_error){.status = SEG_OK}, check_refused(__LINE__, #call, call, part))

TEST(what_is_null_is_named) {
    bench *b = set_up();
    const seg_delivery *d = b->in->d;
    seg_names *names;
    seg_stream_info *stream;
    seg_group_info *group;
    seg_seek_plan *plan;
    seg_seek_options seek;
    seg_consumer *k = NULL;
    seg_consumer_options o;
    seg_record r;
    SEG_INIT(&seek);
    SEG_INIT(&o);
    SEG_INIT(&r);
    CHECK_REFUSED(seg_stream_create(NULL, "t", &(seg_stream_options){.size = 8}, &err), "client");
    CHECK_REFUSED(seg_stream_create(b->c, "t", NULL, &err), "opts");
    CHECK_REFUSED(seg_stream_delete(NULL, "s", &err), "client");
    CHECK_REFUSED(seg_stream_list(NULL, b->c, &err), "out");
    CHECK_REFUSED(seg_stream_list(&names, NULL, &err), "client");
    CHECK_REFUSED(seg_stream_describe(NULL, b->c, "s", &err), "out");
    CHECK_REFUSED(seg_stream_describe(&stream, NULL, "s", &err), "client");
    CHECK_REFUSED(seg_group_list(NULL, b->c, "s", &err), "out");
    CHECK_REFUSED(seg_group_list(&names, NULL, "s", &err), "client");
    CHECK_REFUSED(seg_group_describe(NULL, b->c, "s", "g", &err), "out");
    CHECK_REFUSED(seg_group_describe(&group, NULL, "s", "g", &err), "client");
    CHECK_REFUSED(seg_group_seek(NULL, b->c, "s", "g", &seek, &err), "out");
    CHECK_REFUSED(seg_group_seek(&plan, NULL, "s", "g", &seek, &err), "client");
    CHECK_REFUSED(seg_group_seek(&plan, b->c, "s", "g", NULL, &err), "opts");
    CHECK_REFUSED(seg_send_async(NULL, &r, NULL, NULL, &err), "producer");
    CHECK_REFUSED(seg_send_async(b->p, NULL, NULL, NULL, &err), "record");
    CHECK_REFUSED(seg_consumer_open(NULL, b->c, "s", &o, &err), "out");
    CHECK_REFUSED(seg_consumer_open(&k, NULL, "s", &o, &err), "client");
    CHECK_REFUSED(seg_consumer_open(&k, b->c, "s", NULL, &err), "opts");
    CHECK_REFUSED(seg_consumer_open(&k, b->c, "s", &o, &err), "group");
    o.group = "g";
    CHECK_REFUSED(seg_consumer_open(&k, b->c, NULL, &o, &err), "stream");
    CHECK_PTR(k, NULL);
    CHECK_REFUSED(seg_forward(NULL, d, b->p, &r, &err), "consumer");
    CHECK_REFUSED(seg_forward(b->k, NULL, b->p, &r, &err), "delivery");
    CHECK_REFUSED(seg_forward(b->k, d, NULL, &r, &err), "producer");
    CHECK_REFUSED(seg_forward(b->k, d, b->p, NULL, &err), "record");
    tear_down(b);
}

TEST(dead_letters_that_are_null_are_named) {
    bench *b = set_up();
    seg_dlq *q;
    const seg_letter *letter;
    seg_position at = {{1, 0}, 0};
    size_t done = 7;
    CHECK_REFUSED(seg_dlq_open(NULL, b->c, "s", "g", &err), "out");
    CHECK_REFUSED(seg_dlq_open(&q, NULL, "s", "g", &err), "client");
    rig_settle_as(b->k, b->in->d, SEG_REJECT, 0, "no");
    WAIT_FOR(RIG_MS, rig_messages(b->c, "s.g.dlq") == 1);
    CHECK_OK(seg_dlq_open(&q, b->c, "s", "g", &err), &err);
    CHECK_REFUSED(seg_dlq_next(NULL, q, &err), "out");
    CHECK_REFUSED(seg_dlq_next(&letter, NULL, &err), "dead letters");
    CHECK_REFUSED(seg_dlq_drop(NULL, &at, 1, &done, &err), "dead letters");
    CHECK_EQ(done, 0);
    CHECK_REFUSED(seg_dlq_drop(q, &at, 1, NULL, &err), "done");
    CHECK_REFUSED(seg_dlq_drop(q, NULL, 1, &done, &err), "at");
    CHECK_OK(seg_dlq_drop(q, NULL, 0, &done, &err), &err);
    CHECK_EQ(rig_lag(b->c, "s.g.dlq", "dlq"), 1);
    seg_dlq_close(q);
    tear_down(b);
}

TEST(what_is_null_and_harmless) {
    seg_consumer_close(NULL);
    seg_consumer_stop(NULL);
    seg_producer_close(NULL);
    seg_client_close(NULL);
    seg_dlq_close(NULL);
    seg_batch_free(NULL);
    seg_names_free(NULL);
    seg_stream_info_free(NULL);
    seg_group_info_free(NULL);
    seg_seek_plan_free(NULL);
    seg_server_info_free(NULL);
    CHECK_PTR(seg_reader_place_at(NULL, 0), NULL);
}

/* Of no server all is unknown. */
TEST(what_is_asked_of_no_server) {
    int64_t ahead = 1, off = 1;
    CHECK_PTR(seg_server_info_get(NULL, "redis_version"), NULL);
    CHECK_PTR(seg_server_info_config(NULL, "maxmemory"), NULL);
    CHECK_PTR(seg_server_info_user(NULL), NULL);
    CHECK_EQ(seg_server_info_round_trip(NULL), -1);
    CHECK(!seg_server_info_clock(NULL, &ahead, &off));
    CHECK_EQ(ahead, 1);
    CHECK_EQ(off, 1);
    CHECK_EQ(seg_server_info_default_user_fit(NULL), SEG_MAYBE);
    CHECK_PTR(seg_server_info_right(NULL, 0), NULL);
    CHECK_PTR(seg_server_info_missing(NULL, 0), NULL);
}

/* A program that was compiled with another version, or that has not set the size. */
TEST(structs_of_another_size) {
    bench *b = set_up();
    struct {
        seg_record r;
        uint64_t newer;
    } later = {.r.size = sizeof later};
    seg_record r = {.size = 0};
    seg_consumer *k = NULL;
    seg_consumer_options o = {.size = 3};
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "SEG_INIT");
    r.size = 4097;
    CHECK_REFUSED(seg_forward(b->k, b->in->d, b->p, &r, &err), "SEG_INIT");
    later.newer = 1;
    CHECK_REFUSED(seg_forward(b->k, b->in->d, b->p, &later.r, &err), "use a newer one");
    CHECK_REFUSED(seg_consumer_open(&k, b->c, "s", &o, &err), "SEG_INIT");
    /* An older program's stats end where it knows them to. */
    seg_consumer_stats cs = {.size = sizeof cs.size, .delivered = 77};
    seg_producer_stats ps = {.size = sizeof ps.size, .stored = 77};
    seg_consumer_get_stats(b->k, &cs);
    seg_producer_get_stats(b->p, &ps);
    CHECK_EQ(cs.delivered, 77);
    CHECK_EQ(ps.stored, 77);
    tear_down(b);
}

TEST(options_out_of_their_range) {
    static const struct {
        rig_join j;
        const char *part;
    } bad[] = {
        {{.session_timeout = 99}, "session_timeout is 99"},
        {{.session_timeout = 3600001}, "session_timeout is 3600001"},
        {{.ack_timeout = 9}, "ack_timeout is 9"},
        {{.start = (seg_start)99}, "start is 99"},
        {{.start_at = -1}, "start_at is -1"},
        {{.retry_delay = -1}, "retry delay"},
        {{.retry_delay_max = -1}, "retry delay"},
        {{.max_poll_interval = 99}, "max_poll_interval is 99"},
        {{.ordering = (seg_ordering)99}, "ordering is 99"},
        {{.max_parked = 65535}, "max_parked is 65535"},
        {{.max_prefetch = 65535}, "max_prefetch is 65535"},
        {{.max_in_flight = 65537}, "max_in_flight is 65537"},
        {{.name = "a", .instance = "a"}, "both name and instance"},
        {{.name = "a/b"}, "member"},
        {{.instance = "a/b"}, "instance"},
    };
    bench *b = set_up();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig_join j = bad[i].j;
        seg_consumer *k = NULL;
        j.group = "other";
        CHECK_REFUSED(rig_try_consumer(&k, b->c, "s", &j, &err), bad[i].part);
        CHECK_PTR(k, NULL);
    }
    seg_names *names;
    CHECK_OK(seg_group_list(&names, b->c, "s", NULL), NULL);
    CHECK_EQ(seg_names_count(names), 1); /* none was made for them */
    seg_names_free(names);
    tear_down(b);
}

TEST(options_at_the_ends_of_their_range) {
    static const rig_join good[] = {
        {.session_timeout = 100},    {.session_timeout = 3600000},
        {.ack_timeout = 10},         {.ack_timeout = SEG_FOREVER},
        {.max_poll_interval = 100},  {.max_poll_interval = SEG_FOREVER},
        {.ordering = SEG_UNORDERED}, {.max_parked = 65536},
        {.max_prefetch = 65536},     {.max_in_flight = 65536},
        {.retry_delay = 1},          {.retry_delay_max = 1},
    };
    bench *b = set_up();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        rig_join j = good[i];
        j.group = "other";
        seg_consumer_close(rig_consumer(b->c, "s", &j));
    }
    tear_down(b);
}

/* The dead letters' stream could not have its name, which is noticed at once. */
TEST(names_that_leave_no_room_for_dead_letters) {
    bench *b = set_up();
    char group[201];
    seg_consumer *k = NULL;
    memset(group, 'g', sizeof group - 1);
    group[195] = '\0'; /* "s" and ".dlq" and a dot: 201 */
    CHECK_REFUSED(
        rig_try_consumer(&k, b->c, "s", &(rig_join){.group = group, .max_attempts = 3}, &err),
        "max_attempts is 3");
    seg_consumer_close(rig_consumer(b->c, "s", &(rig_join){.group = group}));
    group[194] = '\0';
    seg_consumer_close(rig_consumer(b->c, "s", &(rig_join){.group = group, .max_attempts = 3}));
    tear_down(b);
}

TEST(records_that_cannot_be) {
    bench *b = set_up();
    seg_bytes headers[4] = {{"n", 1}, {"v", 1}, {"n", 1}, {NULL, 1}};
    seg_record good, r;
    SEG_INIT(&good);
    good.value = (seg_bytes){"v", 1};
    r = good;
    r.headers = headers;
    r.n_headers = 2;
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "header 1 is NULL");
    headers[3] = (seg_bytes){"v", SIZE_MAX};
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "more than");
    headers[2] = headers[3] = (seg_bytes){"v", SIZE_MAX / 2 + 1}; /* together 0 */
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "more than");
    r = good;
    r.key = (seg_bytes){NULL, 1};
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "NULL but has a length");
    r = good;
    r.value = (seg_bytes){NULL, 1};
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "NULL but has a length");
    r = good;
    r.n_headers = 1;
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "NULL but has a length");
    r = good;
    r.timestamp = -1;
    CHECK_REFUSED(seg_send(b->p, &r, NULL, &err), "timestamp");
    CHECK_EQ(rig_messages(b->c, "s"), 1);
    tear_down(b);
}

/* What there is none of. */
TEST(indices_past_the_end) {
    bench *b = set_up();
    seg_group_info *g;
    seg_stream_info *s;
    size_t n = 7;
    CHECK_OK(seg_group_describe(&g, b->c, "s", "g", &err), &err);
    CHECK_EQ(seg_group_info_members(g), 1);
    CHECK_PTR(seg_group_info_member(g, 1), NULL);
    CHECK_PTR(seg_group_info_host(g, 1), NULL);
    CHECK_PTR(seg_group_info_owned(g, 1, &n), NULL);
    CHECK_EQ(n, 0);
    CHECK(seg_group_info_host(g, 0) != NULL);
    CHECK(seg_group_info_owned(g, 0, &n) != NULL);
    CHECK_EQ(n, 2);
    CHECK_PTR(seg_group_info_partition(g, 2), NULL);
    seg_group_info_free(g);
    CHECK_OK(seg_stream_describe(&s, b->c, "s", &err), &err);
    CHECK_PTR(seg_stream_info_partition(s, 2), NULL);
    seg_stream_info_free(s);
    uint32_t owned[1] = {99};
    CHECK_EQ(seg_consumer_assignment(b->k, owned, 1), 2); /* more than there is room for */
    CHECK_EQ(owned[0], 0);
    tear_down(b);
}
