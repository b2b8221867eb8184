/* Streams and groups as an administrator sees them: create, list, describe, delete, and what is
 * left when one of these stops half-way. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "producer_rig.h"

typedef struct admin {
    server *server;
    seg_client *client;
} admin;

static seg_client *open_client(server *s, const char *name_space) {
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(s);
    o.name_space = name_space;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    return c;
}

static admin admin_open(void) {
    server *s = server_start(NULL);
    return (admin){s, open_client(s, NULL)};
}

static void admin_close(admin *a) {
    seg_client_close(a->client);
    server_stop(a->server);
}

static seg_stream_options settings(uint32_t partitions, uint64_t messages, seg_on_full policy) {
    seg_stream_options o;
    SEG_INIT(&o);
    o.partitions = partitions;
    o.max_messages = messages;
    o.on_full = policy;
    return o;
}

static void make(seg_client *c, const char *name, uint32_t partitions) {
    seg_stream_options o = settings(partitions, 0, SEG_BLOCK);
    seg_error err;
    CHECK_OK(seg_stream_create(c, name, &o, &err), &err);
}

static seg_stream_info *describe(seg_client *c, const char *name) {
    seg_stream_info *info = NULL;
    seg_error err;
    CHECK_OK(seg_stream_describe(&info, c, name, &err), &err);
    return info;
}

static void check_names(seg_names *names, size_t n, const char *const expected[]) {
    CHECK_EQ(seg_names_count(names), n);
    for (size_t i = 0; i < n; i++)
        CHECK_STR(seg_names_at(names, i), expected[i]);
    CHECK_PTR(seg_names_at(names, n), NULL);
    CHECK_PTR(seg_names_at(names, SIZE_MAX), NULL);
    seg_names_free(names);
}

static void check_streams(seg_client *c, size_t n, const char *const expected[]) {
    seg_names *names = NULL;
    seg_error err;
    CHECK_OK(seg_stream_list(&names, c, &err), &err);
    check_names(names, n, expected);
}

/* ---- Create and describe -------------------------------------------------------------------- */

TEST(created_and_described) {
    admin a = admin_open();
    seg_stream_options o = settings(3, 500, SEG_DROP_OLDEST);
    seg_error err;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    CHECK_OK(seg_stream_create(a.client, "orders", &o, &err), &err);
    seg_stream_info *info = describe(a.client, "orders");
    CHECK_STR(seg_stream_info_name(info), "orders");
    CHECK_EQ(seg_stream_info_partitions(info), 3);
    CHECK_EQ(seg_stream_info_max_messages(info), 500);
    CHECK_EQ(seg_stream_info_on_full(info), SEG_DROP_OLDEST);
    CHECK_EQ(seg_stream_info_messages(info), 0);
    CHECK_GE(seg_stream_info_created(info), (int64_t)now.tv_sec * 1000 - 1000);
    CHECK_LE(seg_stream_info_created(info), (int64_t)now.tv_sec * 1000 + 60000);
    for (uint32_t p = 0; p < 3; p++) {
        const seg_stream_partition *part = seg_stream_info_partition(info, p);
        CHECK_EQ(part->era, 1);
        CHECK_EQ(part->first + part->next + part->messages, 0);
    }
    CHECK_PTR(seg_stream_info_partition(info, 3), NULL);
    seg_stream_info_free(info);
    seg_stream_info_free(NULL);
    make(a.client, "defaults", 1);
    info = describe(a.client, "defaults");
    CHECK_EQ(seg_stream_info_max_messages(info), 100000);
    CHECK_EQ(seg_stream_info_on_full(info), SEG_BLOCK);
    seg_stream_info_free(info);
    admin_close(&a);
}

TEST(the_smallest_and_the_largest_settings) {
    static const struct {
        seg_stream_options o;
        const char *text;
    } bad[] = {{{sizeof(seg_stream_options), 0, 1, SEG_BLOCK, false}, "partitions"},
               {{sizeof(seg_stream_options), 4097, 1, SEG_BLOCK, false}, "partitions"},
               {{sizeof(seg_stream_options), UINT32_MAX, 1, SEG_BLOCK, false}, "partitions"},
               {{sizeof(seg_stream_options), 1, (UINT64_C(1) << 40) + 1, SEG_BLOCK, false},
                "max_messages"},
               {{sizeof(seg_stream_options), 1, UINT64_MAX, SEG_BLOCK, false}, "max_messages"},
               {{sizeof(seg_stream_options), 1, 1, (seg_on_full)3, false}, "on_full"},
               {{0, 1, 1, SEG_BLOCK, false}, "SEG_INIT"}};
    admin a = admin_open();
    seg_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(seg_stream_create(a.client, "s", &bad[i].o, &err), SEG_EINVAL, &err);
        CHECK_CONTAINS(err.text, bad[i].text);
    }
    CHECK_STATUS(seg_stream_create(a.client, "s", NULL, &err), SEG_EINVAL, &err);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    seg_stream_options o = settings(1, UINT64_C(1) << 40, SEG_FAIL);
    CHECK_OK(seg_stream_create(a.client, "s", &o, &err), &err);
    seg_stream_info *info = describe(a.client, "s");
    CHECK_EQ(seg_stream_info_max_messages(info), UINT64_C(1) << 40);
    seg_stream_info_free(info);
    admin_close(&a);
}

TEST(as_many_partitions_as_there_can_be) {
    admin a = admin_open();
    seg_error err;
    make(a.client, "wide", 4096);
    seg_stream_info *info = describe(a.client, "wide");
    CHECK_EQ(seg_stream_info_partitions(info), 4096);
    CHECK_EQ(seg_stream_info_partition(info, 4095)->era, 1);
    seg_stream_info_free(info);
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, a.client, "wide", NULL, &err), &err);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i);
        seg_record rec = record_of(key, "v");
        CHECK_OK(seg_send_async(p, &rec, NULL, NULL, &err), &err);
    }
    CHECK_OK(seg_producer_flush(p, PATIENCE, &err), &err);
    info = describe(a.client, "wide");
    CHECK_EQ(seg_stream_info_messages(info), 1000);
    seg_stream_info_free(info);
    seg_producer_close(p);
    CHECK_OK(seg_stream_delete(a.client, "wide", &err), &err);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    admin_close(&a);
}

/* ---- Create again --------------------------------------------------------------------------- */

TEST(created_again_with_the_same_settings) {
    admin a = admin_open();
    seg_producer *p = NULL;
    seg_error err;
    seg_record rec = record_of("k", "v");
    make(a.client, "s", 2);
    CHECK_OK(seg_producer_open(&p, a.client, "s", NULL, &err), &err);
    CHECK_OK(seg_send(p, &rec, NULL, &err), &err);
    make(a.client, "s", 2);
    CHECK_OK(seg_send(p, &rec, NULL, &err), &err);
    CHECK_EQ(log_each_partition(a.server, "default", "s", NULL, NULL), 2);
    seg_producer_close(p);
    admin_close(&a);
}

TEST(other_settings_are_a_conflict_that_names_both) {
    admin a = admin_open();
    seg_error err;
    seg_stream_options o = settings(3, 500, SEG_FAIL);
    CHECK_OK(seg_stream_create(a.client, "s", &o, &err), &err);
    o.partitions = 4;
    CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "\"s\"");
    CHECK_CONTAINS(err.text, "3 partitions");
    CHECK_CONTAINS(err.text, "4");
    o = settings(3, 501, SEG_FAIL);
    CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "500");
    CHECK_CONTAINS(err.text, "501");
    o = settings(3, 500, SEG_BLOCK);
    CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "reject");
    CHECK_CONTAINS(err.text, "block");
    o.partitions = 9;
    o.accept_existing = true;
    CHECK_OK(seg_stream_create(a.client, "s", &o, &err), &err);
    seg_stream_info *info = describe(a.client, "s");
    CHECK_EQ(seg_stream_info_partitions(info), 3);
    CHECK_EQ(seg_stream_info_max_messages(info), 500);
    CHECK_EQ(seg_stream_info_on_full(info), SEG_FAIL);
    seg_stream_info_free(info);
    CHECK_EQ(server_int(a.server, "EXISTS sg:{default/s/3}:state"), 0);
    o = settings(2, 7, SEG_BLOCK);
    o.accept_existing = true;
    CHECK_OK(seg_stream_create(a.client, "new", &o, &err), &err); /* made where there is none */
    info = describe(a.client, "new");
    CHECK_EQ(seg_stream_info_max_messages(info), 7);
    seg_stream_info_free(info);
    admin_close(&a);
}

typedef struct creator {
    pthread_t thread;
    seg_client *client;
    seg_stream_options o;
    seg_status status;
} creator;

static void *create(void *arg) {
    creator *c = arg;
    seg_error err;
    c->status = seg_stream_create(c->client, "s", &c->o, &err);
    return NULL;
}

/* Those who ask for the same succeed, and all others are told of the conflict. */
TEST(created_by_many_at_once) {
    admin a = admin_open();
    enum { CREATORS = 8 };
    creator c[CREATORS];
    for (int i = 0; i < CREATORS; i++) {
        c[i] = (creator){.client = open_client(a.server, NULL),
                         .o = settings(i % 2 == 0 ? 30 : 31, 0, SEG_BLOCK)};
        CHECK_EQ(pthread_create(&c[i].thread, NULL, create, &c[i]), 0);
    }
    for (int i = 0; i < CREATORS; i++)
        CHECK_EQ(pthread_join(c[i].thread, NULL), 0);
    seg_stream_info *info = describe(a.client, "s");
    uint32_t made = seg_stream_info_partitions(info);
    seg_stream_info_free(info);
    for (int i = 0; i < CREATORS; i++) {
        CHECK_STATUS(c[i].status, c[i].o.partitions == made ? SEG_OK : SEG_EEXIST, NULL);
        seg_client_close(c[i].client);
    }
    admin_close(&a);
}

/* ---- List and delete ------------------------------------------------------------------------ */

TEST(listed_in_order) {
    static const char *const names[] = {"-", "A", "Z", "a", "a.b", "ab"};
    admin a = admin_open();
    check_streams(a.client, 0, NULL);
    for (size_t i = 6; i-- > 0;)
        make(a.client, names[i], 1);
    check_streams(a.client, 6, names);
    seg_error err;
    CHECK_OK(seg_stream_delete(a.client, "-", &err), &err);
    check_streams(a.client, 5, names + 1);
    CHECK_STATUS(seg_stream_list(NULL, a.client, &err), SEG_EINVAL, &err);
    admin_close(&a);
}

static void add_group(seg_client *c, const char *stream, const char *group) {
    seg_consumer *consumer = NULL;
    seg_consumer_options o;
    seg_error err;
    SEG_INIT(&o);
    o.group = group;
    CHECK_OK(seg_consumer_open(&consumer, c, stream, &o, &err), &err);
    seg_consumer_close(consumer);
}

TEST(deleted_with_all_that_is_its) {
    admin a = admin_open();
    seg_error err;
    CHECK_STATUS(seg_stream_delete(a.client, "s", &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "\"s\"");
    make(a.client, "s", 5);
    make(a.client, "s2", 1);
    seg_producer *p = NULL;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_producer_open(&p, a.client, "s", NULL, &err), &err);
    CHECK_OK(seg_send(p, &rec, NULL, &err), &err);
    seg_producer_close(p);
    add_group(a.client, "s", "g1");
    add_group(a.client, "s", "g2");
    CHECK_OK(seg_stream_delete(a.client, "s", &err), &err);
    check_streams(a.client, 1, (const char *const[]){"s2"});
    seg_stream_info *info = NULL;
    CHECK_STATUS(seg_stream_describe(&info, a.client, "s", &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_stream_delete(a.client, "s", &err), SEG_ENOENT, &err);
    CHECK_OK(seg_stream_delete(a.client, "s2", &err), &err);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    make(a.client, "s", 2); /* a new one, with nothing of the old */
    info = describe(a.client, "s");
    CHECK_EQ(seg_stream_info_messages(info), 0);
    seg_stream_info_free(info);
    seg_names *groups = NULL;
    CHECK_OK(seg_group_list(&groups, a.client, "s", &err), &err);
    check_names(groups, 0, NULL);
    admin_close(&a);
}

/* ---- Half-way ------------------------------------------------------------------------------- */

/* As a creation leaves it that stopped after some of its partitions. */
static void half_create(server *s) {
    server_do(s, "HSET sg:{default/s}:meta phase creating");
    server_do(s, "DEL sg:{default/s/2}:state sg:{default/s/2}:log sg:{default/s/3}:state "
                 "sg:{default/s/3}:log");
}

TEST(a_creation_that_stopped_half_way_is_finished) {
    admin a = admin_open();
    seg_error err;
    make(a.client, "s", 4);
    half_create(a.server);
    seg_producer *p = NULL;
    seg_stream_info *info = NULL;
    CHECK_STATUS(seg_producer_open(&p, a.client, "s", NULL, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "creat");
    CHECK_STATUS(seg_stream_describe(&info, a.client, "s", &err), SEG_ENOENT, &err);
    seg_stream_options o = settings(5, 0, SEG_BLOCK);
    CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
    make(a.client, "s", 4);
    info = describe(a.client, "s");
    CHECK_EQ(seg_stream_info_partition(info, 3)->era, 1);
    seg_stream_info_free(info);
    CHECK_OK(seg_producer_open(&p, a.client, "s", NULL, &err), &err);
    seg_producer_close(p);
    half_create(a.server);
    o.accept_existing = true; /* takes the settings that the first one had begun with */
    CHECK_OK(seg_stream_create(a.client, "s", &o, &err), &err);
    info = describe(a.client, "s");
    CHECK_EQ(seg_stream_info_partitions(info), 4);
    seg_stream_info_free(info);
    half_create(a.server);
    CHECK_OK(seg_stream_delete(a.client, "s", &err), &err);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    admin_close(&a);
}

TEST(a_deletion_that_stopped_half_way_is_finished) {
    admin a = admin_open();
    seg_error err;
    make(a.client, "s", 4);
    add_group(a.client, "s", "g");
    server_do(a.server, "HSET sg:{default/s}:meta phase deleting");
    server_do(a.server, "DEL sg:{default/s/0}:state sg:{default/s/0}:log");
    seg_producer *p = NULL;
    CHECK_STATUS(seg_producer_open(&p, a.client, "s", NULL, &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "delet");
    seg_stream_options o = settings(4, 0, SEG_BLOCK);
    CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
    CHECK_CONTAINS(err.text, "delet");
    CHECK_OK(seg_stream_delete(a.client, "s", &err), &err);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    make(a.client, "s", 4);
    admin_close(&a);
}

/* Cut the connection after each so many bytes: of the requests, then of the replies. */
static void cut_create_and_delete(proxy_way way, size_t step) {
    server *s = server_start(NULL);
    proxy *p = proxy_start(server_socket(s));
    seg_client_options o;
    SEG_INIT(&o);
    o.url = proxy_url(p);
    bool cut = true;
    for (size_t at = 0; cut; at += step) {
        seg_client *c = NULL; /* a new one each time: the same would wait longer and longer */
        seg_error err;
        CHECK_OK(seg_client_open(&c, &o, &err), &err);
        proxy_cut_after(p, way, at);
        make(c, "s", 3);
        seg_stream_info_free(describe(c, "s"));
        seg_status deleted = seg_stream_delete(c, "s", &err);
        CHECK_STATUS(deleted, SEG_OK, &err);
        CHECK_EQ(server_int(s, "DBSIZE"), 0);
        cut = proxy_has_cut(p);
        seg_client_close(c);
    }
    proxy_stop(p);
    server_stop(s);
}

TEST(cut_within_the_requests_of_create_and_delete) {
    cut_create_and_delete(PROXY_REQUESTS, 97);
}

TEST(cut_within_the_replies_of_create_and_delete) {
    cut_create_and_delete(PROXY_REPLIES, 7);
}

/* ---- Late, and unknown ---------------------------------------------------------------------- */

typedef struct deleter {
    pthread_t thread;
    seg_client *client;
    seg_status status;
} deleter;

static void *delete (void *arg) {
    deleter *d = arg;
    d->status = seg_stream_delete(d->client, "s", NULL);
    return NULL;
}

static bool is_deleting(server *s) {
    char *phase = server_str(s, "HGET sg:{default/s}:meta phase");
    bool deleting = phase != NULL && strcmp(phase, "deleting") == 0;
    free(phase);
    return deleting;
}

/* The second half of a deletion arrives when another client has finished it and made the stream
 * anew: that one is not touched. */
TEST(a_late_deletion_leaves_the_next_stream_alone) {
    admin a = admin_open();
    proxy *p = proxy_start(server_socket(a.server));
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = proxy_url(p);
    o.command_timeout = 1500;
    deleter d;
    make(a.client, "s", 2);
    CHECK_OK(seg_client_open(&d.client, &o, &err), &err);
    make(d.client, "other", 1); /* so that the server knows the scripts: one request, no question */
    CHECK_OK(seg_stream_delete(d.client, "other", &err), &err);
    proxy_hold(p, PROXY_REPLIES);
    CHECK_EQ(pthread_create(&d.thread, NULL, delete, &d), 0);
    WAIT_FOR(PATIENCE, is_deleting(a.server));
    proxy_hold(p, PROXY_REQUESTS);
    proxy_refuse(p, true);
    proxy_pass(p, PROXY_REPLIES);
    WAIT_FOR(PATIENCE, proxy_held(p, PROXY_REQUESTS) > 0);
    CHECK_EQ(pthread_join(d.thread, NULL), 0);
    CHECK_NE((int)d.status, SEG_OK);
    CHECK_OK(seg_stream_delete(a.client, "s", &err), &err);
    make(a.client, "s", 2);
    seg_client_close(d.client);
    proxy_release(p);
    check_streams(a.client, 1, (const char *const[]){"s"});
    seg_producer *producer = NULL;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_producer_open(&producer, a.client, "s", NULL, &err), &err);
    CHECK_OK(seg_send(producer, &rec, NULL, &err), &err);
    CHECK_EQ(log_each_partition(a.server, "default", "s", NULL, NULL), 1);
    seg_producer_close(producer);
    proxy_stop(p);
    admin_close(&a);
}

/* A call that changes something and whose answer did not come may have changed it. */
TEST(an_unanswered_change_is_unknown) {
    server *s = server_start(NULL);
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(s);
    o.command_timeout = 300;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_stream_options so = settings(1, 0, SEG_BLOCK);
    server_pause(s);
    CHECK_STATUS(seg_stream_create(c, "s", &so, &err), SEG_EUNKNOWN, &err);
    server_resume(s);
    seg_stream_info *info = NULL;
    WAIT_FOR(PATIENCE, seg_stream_create(c, "s", &so, &err) == SEG_OK);
    CHECK_OK(seg_stream_describe(&info, c, "s", &err), &err);
    seg_stream_info_free(info);
    server_pause(s);
    CHECK_STATUS(seg_stream_delete(c, "s", &err), SEG_EUNKNOWN, &err);
    /* Connected no more, so nothing can have been sent: certainly not done. */
    server_kill9(s);
    WAIT_FOR(PATIENCE, seg_stream_create(c, "t", &so, &err) == SEG_ECONN);
    seg_client_close(c);
    server_stop(s);
}

/* ---- Damage --------------------------------------------------------------------------------- */

static void check_precious(server *s, const char *key) {
    char *value = server_str(s, "GET %s", key);
    CHECK_STR(value, "precious");
    free(value);
}

TEST(keys_of_others_are_left_alone) {
    static const char *const keys[] = {"sg:{default/s/1}:state", "sg:{default/s/1}:log"};
    admin a = admin_open();
    seg_error err;
    seg_stream_options o = settings(2, 0, SEG_BLOCK);
    for (size_t i = 0; i < 2; i++) {
        server_do(a.server, "FLUSHALL");
        server_do(a.server, "SET %s precious", keys[i]);
        CHECK_STATUS(seg_stream_create(a.client, "s", &o, &err), SEG_EEXIST, &err);
        check_precious(a.server, keys[i]);
    }
    server_do(a.server, "SET sg:{default/t}:meta precious");
    CHECK_STATUS(seg_stream_create(a.client, "t", &o, &err), SEG_EPROTO, &err);
    CHECK_STATUS(seg_stream_delete(a.client, "t", &err), SEG_EPROTO, &err);
    check_precious(a.server, "sg:{default/t}:meta");
    server_do(a.server, "DEL sg:{default}:streams");
    server_do(a.server, "SET sg:{default}:streams x");
    seg_names *names = NULL;
    CHECK_STATUS(seg_stream_list(&names, a.client, &err), SEG_EPROTO, &err);
    CHECK_PTR(names, NULL);
    admin_close(&a);
}

/* Of a partition that is damaged, see test_describe.c. */
TEST(damaged_settings_are_none) {
    static const struct {
        const char *ruin;
        seg_status status;
    } cases[] = {{"HSET sg:{default/s}:meta format 2", SEG_EPROTO},
                 {"HSET sg:{default/s}:meta partitions 0", SEG_EPROTO},
                 {"HSET sg:{default/s}:meta partitions 99999999999", SEG_EPROTO},
                 {"HSET sg:{default/s}:meta policy hope", SEG_EPROTO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        admin a = admin_open();
        seg_error err;
        seg_stream_info *info = NULL;
        make(a.client, "s", 3);
        server_do(a.server, cases[i].ruin);
        CHECK_STATUS(seg_stream_describe(&info, a.client, "s", &err), cases[i].status, &err);
        CHECK_PTR(info, NULL);
        admin_close(&a);
    }
}

/* ---- Names ---------------------------------------------------------------------------------- */

TEST(hostile_names_are_refused_before_they_reach_the_server) {
    static char long_name[202];
    memset(long_name, 'n', 201);
    const char *const bad[] = {NULL,   "",     " ",    "a b",  "a/b",    "a{b}",
                               "a:b",  "a\nb", "*",    "a\tb", "\x7f",   "\xc3\xa4",
                               "a\\b", "a%b",  "a}b{", "a\"b", long_name};
    admin a = admin_open();
    long long before = server_info(a.server, "total_commands_processed");
    seg_stream_options o = settings(1, 0, SEG_BLOCK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        seg_error err;
        seg_stream_info *info = NULL;
        seg_group_info *group = NULL;
        seg_names *names = NULL;
        CHECK_STATUS(seg_stream_create(a.client, bad[i], &o, &err), SEG_EINVAL, &err);
        CHECK_CONTAINS(err.text, "stream");
        CHECK_STATUS(seg_stream_delete(a.client, bad[i], &err), SEG_EINVAL, &err);
        CHECK_STATUS(seg_stream_describe(&info, a.client, bad[i], &err), SEG_EINVAL, &err);
        CHECK_STATUS(seg_group_list(&names, a.client, bad[i], &err), SEG_EINVAL, &err);
        CHECK_STATUS(seg_group_delete(a.client, bad[i], "g", &err), SEG_EINVAL, &err);
        CHECK_STATUS(seg_group_delete(a.client, "s", bad[i], &err), SEG_EINVAL, &err);
        CHECK_STATUS(seg_group_describe(&group, a.client, "s", bad[i], &err), SEG_EINVAL, &err);
    }
    CHECK_LE(server_info(a.server, "total_commands_processed") - before, 2);
    admin_close(&a);
}

TEST(odd_names_are_names) {
    static char long_name[201];
    memset(long_name, 'n', 200);
    const char *const good[] = {".", "..", "-", "--help", "_", "0", "meta", "streams", long_name};
    admin a = admin_open();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        seg_error err;
        make(a.client, good[i], 1);
        add_group(a.client, good[i], good[i]);
        seg_stream_info *info = describe(a.client, good[i]);
        CHECK_STR(seg_stream_info_name(info), good[i]);
        seg_stream_info_free(info);
        seg_group_info *group = NULL;
        CHECK_OK(seg_group_describe(&group, a.client, good[i], good[i], &err), &err);
        CHECK_STR(seg_group_info_name(group), good[i]);
        seg_group_info_free(group);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_OK(seg_stream_delete(a.client, good[i], NULL), NULL);
    CHECK_EQ(server_int(a.server, "DBSIZE"), 0);
    admin_close(&a);
}

TEST(namespaces_do_not_see_each_other) {
    admin a = admin_open();
    seg_client *x = open_client(a.server, "x"), *y = open_client(a.server, "y");
    seg_error err;
    seg_stream_info *info = NULL;
    make(x, "s", 1);
    check_streams(y, 0, NULL);
    check_streams(a.client, 0, NULL);
    CHECK_STATUS(seg_stream_describe(&info, y, "s", &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "\"y\"");
    make(y, "s", 2);
    seg_producer *p = NULL;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_producer_open(&p, y, "s", NULL, &err), &err);
    CHECK_OK(seg_send(p, &rec, NULL, &err), &err);
    seg_producer_close(p);
    info = describe(x, "s");
    CHECK_EQ(seg_stream_info_messages(info), 0);
    seg_stream_info_free(info);
    CHECK_OK(seg_stream_delete(x, "s", &err), &err);
    info = describe(y, "s");
    CHECK_EQ(seg_stream_info_messages(info), 1);
    seg_stream_info_free(info);
    seg_client_close(x);
    seg_client_close(y);
    admin_close(&a);
}

/* ---- Groups --------------------------------------------------------------------------------- */

TEST(groups_are_listed_described_and_deleted) {
    admin a = admin_open();
    seg_error err;
    seg_names *names = NULL;
    seg_group_info *g = NULL;
    CHECK_STATUS(seg_group_list(&names, a.client, "s", &err), SEG_ENOENT, &err);
    make(a.client, "s", 3);
    CHECK_OK(seg_group_list(&names, a.client, "s", &err), &err);
    check_names(names, 0, NULL);
    CHECK_STATUS(seg_group_describe(&g, a.client, "s", "b", &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_group_delete(a.client, "s", "b", &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_group_delete(a.client, "none", "b", &err), SEG_ENOENT, &err);
    add_group(a.client, "s", "b");
    add_group(a.client, "s", "a");
    CHECK_OK(seg_group_list(&names, a.client, "s", &err), &err);
    check_names(names, 2, (const char *const[]){"a", "b"});
    CHECK_OK(seg_group_describe(&g, a.client, "s", "b", &err), &err);
    CHECK_STR(seg_group_info_name(g), "b");
    CHECK_STR(seg_group_info_stream(g), "s");
    CHECK_EQ(seg_group_info_partitions(g), 3);
    CHECK_EQ(seg_group_info_members(g), 0);
    CHECK_EQ(seg_group_info_lag(g), 0);
    CHECK_PTR(seg_group_info_partition(g, 3), NULL);
    CHECK_PTR(seg_group_info_partition(g, 0)->owner, NULL);
    seg_group_info_free(g);
    seg_group_info_free(NULL);
    CHECK_OK(seg_group_delete(a.client, "s", "b", &err), &err);
    CHECK_OK(seg_group_list(&names, a.client, "s", &err), &err);
    check_names(names, 1, (const char *const[]){"a"});
    g = NULL;
    CHECK_STATUS(seg_group_describe(&g, a.client, "s", "b", &err), SEG_ENOENT, &err);
    admin_close(&a);
}

static bool owns_all(seg_consumer *c, size_t n) {
    seg_batch *b = NULL;
    seg_error err;
    CHECK_OK(seg_consumer_poll(&b, c, 10, 0, &err), &err);
    seg_batch_free(b);
    return seg_consumer_assignment(c, NULL, 0) == n;
}

TEST(a_group_with_members_is_not_deleted) {
    admin a = admin_open();
    seg_error err;
    seg_consumer *c = NULL;
    seg_consumer_options o;
    SEG_INIT(&o);
    o.group = "g";
    o.name = "member-1";
    make(a.client, "s", 3);
    CHECK_OK(seg_consumer_open(&c, a.client, "s", &o, &err), &err);
    WAIT_FOR(PATIENCE, owns_all(c, 3));
    CHECK_STATUS(seg_group_delete(a.client, "s", "g", &err), SEG_EEXIST, &err);
    seg_group_info *g = NULL;
    CHECK_OK(seg_group_describe(&g, a.client, "s", "g", &err), &err);
    CHECK_EQ(seg_group_info_members(g), 1);
    CHECK_STR(seg_group_info_member(g, 0), "member-1");
    CHECK_NE(strlen(seg_group_info_host(g, 0)), 0);
    size_t n = 0;
    const uint32_t *owned = seg_group_info_owned(g, 0, &n);
    CHECK_EQ(n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(owned[i], i);
        CHECK_STR(seg_group_info_partition(g, i)->owner, "member-1");
        CHECK_GT(seg_group_info_partition(g, i)->epoch, 0);
    }
    CHECK_PTR(seg_group_info_member(g, 1), NULL);
    seg_group_info_free(g);
    seg_consumer_close(c);
    CHECK_OK(seg_group_delete(a.client, "s", "g", &err), &err);
    admin_close(&a);
}
