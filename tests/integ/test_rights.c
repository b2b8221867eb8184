/* Users who may do just what the rule says, and each of whom lacks one thing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/rights.h"
#include "rig.h"

enum { MESSAGES = 40 };

static server *s;
static seg_error err;

static void set_user(const char *rule) {
    char line[2 * SEG_RULE_MAX];
    snprintf(line, sizeof line, "ACL SETUSER app reset on >pw %.*s", SEG_RULE_MAX, rule);
    server_do(s, line);
}

static char *rule_of(const char *ns, seg_rights which) {
    static char rule[SEG_RULE_MAX];
    CHECK_OK(seg_rights_rule(rule, sizeof rule, ns, which, &err), &err);
    return rule;
}

static seg_client *client_of(const char *user, const char *ns) {
    char url[128];
    seg_client *c = NULL;
    seg_client_options o;
    SEG_INIT(&o);
    snprintf(url, sizeof url, "redis://%s127.0.0.1:%d", user, server_port(s));
    o.url = url;
    o.name_space = ns;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    return c;
}

static seg_client *app(const char *ns) {
    return client_of("app:pw@", ns);
}

/* Nothing was refused, in a command, a script or a transaction. But CONFIG, which is asked for: it is
 * in no rule, as it tells passwords. */
static void check_refused_only_config(void) {
    redisReply *log = server_cmd(s, "ACL LOG");
    CHECK_EQ(log->type, REDIS_REPLY_ARRAY);
    CHECK_GE(log->elements, 1);
    for (size_t i = 0; i < log->elements; i++) {
        redisReply *e = log->element[i];
        if (strcmp(e->element[7]->str, "config|get") != 0)
            FAIL("refused in %s: %s %s", e->element[5]->str, e->element[3]->str,
                 e->element[7]->str);
    }
    freeReplyObject(log);
}

static seg_server_info *describe(seg_client *c) {
    seg_server_info *i = NULL;
    CHECK_OK(seg_server_describe(&i, c, &err), &err);
    return i;
}

/* ---- All that can be done --------------------------------------------------------------------- */

static void produce(seg_client *c) {
    seg_producer *p = NULL;
    seg_producer_options o;
    seg_record r;
    SEG_INIT(&o);
    SEG_INIT(&r);
    o.codec = SEG_LZ4;
    CHECK_OK(seg_producer_open(&p, c, "s", &o, &err), &err);
    for (int i = 0; i < MESSAGES; i++) {
        r.key = (seg_bytes){&"key-0123"[i % 5], 3};
        r.value = (seg_bytes){"1                                       ", 30};
        if (i % 2 == 0)
            CHECK_OK(seg_send(p, &r, NULL, &err), &err);
        else
            CHECK_OK(seg_send_async(p, &r, NULL, NULL, &err), &err);
    }
    CHECK_OK(seg_producer_flush(p, RIG_MS, &err), &err);
    seg_producer_close(p);
}

/* A ring of two messages: all but those go. */
static void overflow(seg_client *c) {
    seg_stream_options o;
    SEG_INIT(&o);
    o.partitions = 1;
    o.max_messages = 2;
    o.on_full = SEG_DROP_OLDEST;
    CHECK_OK(seg_stream_create(c, "ring", &o, &err), &err);
    seg_producer *p = rig_producer(c, "ring");
    rig_put_singly(p, (rig_run){.partitions = 1, .count = 20});
    seg_producer_close(p);
    CHECK_OK(seg_stream_delete(c, "ring", &err), &err);
}

typedef struct work {
    seg_consumer *consumer;
    seg_producer *producer;
    _Atomic int handled;
} work;

static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    work *w = arg;
    seg_delivery d = seg_message_delivery(m);
    seg_record r;
    SEG_INIT(&r);
    r.value = seg_message_value(m);
    how->reason = "so it is";
    if (d.id.offset % 7 == 3)
        return SEG_REJECT;
    if (d.id.offset % 7 == 4 && d.attempt == 1)
        return SEG_RETRY;
    CHECK_OK(seg_forward(w->consumer, &d, w->producer, &r, &err), &err);
    return SEG_ACK;
}

static void *runner(void *arg) {
    work *w = arg;
    seg_run_options o;
    seg_error e;
    SEG_INIT(&o);
    o.handler = handle;
    o.arg = w;
    o.workers = 2;
    CHECK_OK(seg_consumer_run(w->consumer, &o, &e), &e);
    return NULL;
}

static void consume(seg_client *c) {
    work w = {.producer = NULL};
    pthread_t thread;
    CHECK_OK(seg_producer_open(&w.producer, c, "out", NULL, &err), &err);
    w.consumer = rig_consumer(c, "s", &(rig_join){.group = "g", .retry_delay = 1});
    CHECK_EQ(pthread_create(&thread, NULL, runner, &w), 0);
    WAIT_FOR(RIG_MS, rig_stats(w.consumer).acked + rig_stats(w.consumer).dead_lettered >= MESSAGES);
    seg_consumer_stop(w.consumer);
    pthread_join(thread, NULL);
    seg_consumer_close(w.consumer);
    seg_producer_close(w.producer);
}

static void replay(seg_client *c) {
    seg_dlq *q = NULL;
    const seg_letter *letter;
    size_t n = 0;
    seg_position at[MESSAGES];
    CHECK_OK(seg_dlq_open(&q, c, "s", "g", &err), &err);
    for (;;) {
        CHECK_OK(seg_dlq_next(&letter, q, &err), &err);
        if (letter == NULL)
            break;
        at[n++] = letter->at;
    }
    CHECK_GE(n, 2);
    size_t done;
    CHECK_OK(seg_dlq_replay(q, at, 1, NULL, &done, &err), &err);
    CHECK_EQ(done, 1);
    CHECK_OK(seg_dlq_drop(q, at + 1, 1, &done, &err), &err);
    CHECK_EQ(done, 1);
    seg_dlq_close(q);
}

static void move(seg_client *c) {
    seg_seek_plan *plan = NULL;
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = SEG_SEEK_TIME;
    o.value = 1;
    o.execute = true;
    CHECK_OK(seg_group_seek(&plan, c, "s", "g", &o, &err), &err);
    seg_seek_plan_free(plan);
}

static void look(seg_client *c) {
    seg_names *names = NULL;
    seg_stream_info *stream = NULL;
    seg_group_info *group = NULL;
    seg_streams *streams = NULL;
    seg_groups *groups = NULL;
    CHECK_OK(seg_stream_overview(&streams, c, &err), &err);
    seg_streams_free(streams);
    CHECK_OK(seg_group_overview(&groups, c, NULL, &err), &err);
    seg_groups_free(groups);
    CHECK_OK(seg_stream_list(&names, c, &err), &err);
    seg_names_free(names);
    CHECK_OK(seg_group_list(&names, c, "s", &err), &err);
    seg_names_free(names);
    CHECK_OK(seg_stream_describe(&stream, c, "s", &err), &err);
    seg_stream_info_free(stream);
    CHECK_OK(seg_group_describe(&group, c, "s", "g", &err), &err);
    seg_group_info_free(group);
    seg_server_info_free(describe(c));
}

static void prepare(seg_client *c) {
    rig_stream(c, "s", 2);
    rig_stream(c, "out", 1);
    produce(c);
    overflow(c);
    consume(c);
}

static void clear(seg_client *c) {
    CHECK_OK(seg_group_delete(c, "s", "g", &err), &err);
    CHECK_OK(seg_stream_delete(c, "s", &err), &err);
    CHECK_OK(seg_stream_delete(c, "out", &err), &err);
}

/* ---- Cases ------------------------------------------------------------------------------------ */

TEST(who_has_the_rule_can_do_everything) {
    s = server_start_tcp(NULL);
    set_user(rule_of("orders", SEG_RIGHTS_ALL));
    seg_client *c = app("orders");
    prepare(c);
    look(c);
    replay(c);
    move(c);
    clear(c);
    seg_server_info *i = describe(c);
    for (size_t k = 0; seg_server_info_right(i, k) != NULL; k++)
        if (seg_server_info_right(i, k)->granted != SEG_YES)
            FAIL("%s: %d", seg_server_info_right(i, k)->rule, seg_server_info_right(i, k)->granted);
    CHECK_PTR(seg_server_info_missing(i, 0), NULL);
    CHECK_STR(seg_server_info_user(i), "app");
    CHECK_EQ(seg_server_info_default_user_fit(i), SEG_YES);
    seg_server_info_free(i);
    seg_client_close(c);
    check_refused_only_config();
    server_stop(s);
}

/* The rule without its word `k`; false past the last. The word goes to `gone`. */
static bool without(const char *rule, size_t k, char *out, char *gone) {
    static const char *const fixed = "clearselectors resetkeys resetchannels -@all ";
    const char *at = rule + strlen(fixed);
    CHECK_EQ(strncmp(rule, fixed, strlen(fixed)), 0);
    for (; k > 0 && at != NULL; k--)
        at = strchr(at, ' ') != NULL ? strchr(at, ' ') + 1 : NULL;
    if (at == NULL)
        return false;
    size_t len = strcspn(at, " ");
    snprintf(gone, 256, "%.*s", (int)len, at);
    snprintf(out, SEG_RULE_MAX, "%.*s%s", (int)(at - rule), rule, at + len);
    return true;
}

static void check_missing(seg_client *c, const char *rule) {
    seg_server_info *i = describe(c);
    const seg_right *first = seg_server_info_missing(i, 0);
    if (first == NULL || seg_server_info_missing(i, 1) != NULL || strcmp(first->rule, rule) != 0)
        FAIL("without %s missing are: %s, %s", rule, first != NULL ? first->rule : "none",
             seg_server_info_missing(i, 1) != NULL ? seg_server_info_missing(i, 1)->rule : "none");
    for (size_t k = 0; seg_server_info_right(i, k) != NULL; k++)
        if (seg_server_info_right(i, k) != first)
            CHECK_EQ(seg_server_info_right(i, k)->granted, SEG_YES);
    CHECK_GT(strlen(first->purpose), 5);
    seg_server_info_free(i);
}

TEST(each_thing_that_is_taken_away_is_missed) {
    char less[SEG_RULE_MAX], gone[256];
    size_t n = 0;
    s = server_start_tcp(NULL);
    const char *rule = rule_of("orders", SEG_RIGHTS_ALL);
    set_user(rule);
    seg_client *c = app("orders");
    for (; without(rule, n, less, gone); n++) {
        set_user(less);
        check_missing(c, gone);
    }
    CHECK_EQ(n, sg_right_commands + SG_RIGHT_PATTERNS);
    seg_client_close(c);
    server_stop(s);
}

TEST(keys_that_may_only_be_read_are_missed) {
    s = server_start_tcp(NULL);
    char rule[SEG_RULE_MAX + 64];
    snprintf(rule, sizeof rule, "%s resetkeys ~sg:{orders}:* %%%%R~sg:{orders/*}:*",
             rule_of("orders", SEG_RIGHTS_ALL));
    set_user(rule_of("orders", SEG_RIGHTS_ALL));
    seg_client *c = app("orders");
    set_user(rule);
    check_missing(c, "~sg:{orders/*}:*");
    seg_client_close(c);
    server_stop(s);
}

/* Neither the script nor ACL DRYRUN can be asked: then only that is known. */
TEST(what_cannot_be_asked_is_unknown) {
    s = server_start_tcp(NULL);
    set_user("~* &* +info");
    seg_client *c = app("orders");
    seg_server_info *i = describe(c);
    for (size_t k = 0; seg_server_info_right(i, k) != NULL; k++) {
        const seg_right *r = seg_server_info_right(i, k);
        CHECK_EQ(r->granted, strcmp(r->rule, "+eval") == 0 ? SEG_NO : SEG_MAYBE);
    }
    CHECK_STR(seg_server_info_missing(i, 0)->rule, "+eval");
    CHECK_PTR(seg_server_info_missing(i, 1), NULL);
    CHECK_EQ(seg_server_info_default_user_fit(i), SEG_MAYBE);
    CHECK_PTR(seg_server_info_user(i), NULL);
    CHECK_PTR(seg_server_info_config(i, "appendonly"), NULL);
    CHECK_STR(seg_server_info_get(i, "role"), "master");
    CHECK_EQ(seg_server_info_clock(i, NULL, NULL), false);
    seg_server_info_free(i);
    seg_client_close(c);
    server_stop(s);
}

static void check_denied(const char *format, const char *key) {
    redisContext *c = redisConnect("127.0.0.1", server_port(s));
    CHECK(c != NULL && c->err == 0);
    freeReplyObject(redisCommand(c, "AUTH app pw"));
    redisReply *reply = redisCommand(c, format, key);
    CHECK(reply != NULL);
    if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOPERM", 6) != 0)
        FAIL("%s on %s: %s", format, key, reply->str != NULL ? reply->str : "(no text)");
    freeReplyObject(reply);
    redisFree(c);
}

TEST(other_namespaces_are_out_of_reach) {
    static const char *const others[] = {"ab", "b", "aa", "a.", "a-", "A", "a.b"};
    s = server_start_tcp(NULL);
    set_user(rule_of("a", SEG_RIGHTS_ALL));
    seg_client *own = app("a");
    rig_stream(own, "s", 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        check_denied("SMEMBERS %s", sg_key_streams(others[i]).text);
        check_denied("HMGET %s inc", sg_key_meta(others[i], "s").text);
        check_denied("HSET %s next 0", sg_key_state(others[i], "s", 0).text);
        check_denied("EVAL return~1 1 %s", sg_key_log(others[i], "s", 0).text);
        check_denied("SPUBLISH %s x", sg_key_wake(others[i], "s", "g", "m").text);
        seg_client *c = app(others[i]);
        seg_names *names = NULL;
        seg_stream_options o;
        SEG_INIT(&o);
        o.partitions = 1;
        CHECK_STATUS(seg_stream_create(c, "s", &o, &err), SEG_EACCES, &err);
        CHECK_STATUS(seg_stream_list(&names, c, &err), SEG_EACCES, &err);
        seg_client_close(c);
    }
    check_denied("GET %s", "sg:{a/");
    check_denied("KEYS %s", "*");
    check_denied("CONFIG GET %s", "requirepass");
    seg_client_close(own);
    server_stop(s);
}

TEST(who_only_looks_changes_nothing) {
    s = server_start_tcp(NULL);
    seg_client *c = client_of("", "orders");
    prepare(c);
    set_user(rule_of("orders", SEG_RIGHTS_READ));
    seg_client *reader = app("orders");
    server_do(s, "ACL LOG RESET");
    long long before = server_info(s, "rdb_changes_since_last_save");
    look(reader);
    seg_dlq *q = NULL;
    const seg_letter *letter = NULL;
    CHECK_OK(seg_dlq_open(&q, reader, "s", "g", &err), &err);
    CHECK_OK(seg_dlq_next(&letter, q, &err), &err);
    CHECK(letter != NULL);
    seg_dlq_close(q);
    seg_seek_plan *plan = NULL;
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = SEG_SEEK_TIME;
    o.value = 1;
    CHECK_OK(seg_group_seek(&plan, reader, "s", "g", &o, &err), &err);
    seg_seek_plan_free(plan);
    CHECK_EQ(server_info(s, "rdb_changes_since_last_save"), before);
    seg_server_info *i = describe(reader);
    for (size_t k = 0; seg_server_info_right(i, k) != NULL; k++) {
        const seg_right *r = seg_server_info_right(i, k);
        bool channels = r->rule[0] == '&'; /* which no command tells of that may be run */
        CHECK_EQ(r->granted, r->reading ? SEG_YES : channels ? SEG_MAYBE : SEG_NO);
    }
    seg_server_info_free(i);
    check_refused_only_config();
    CHECK_STATUS(seg_group_delete(reader, "s", "g", &err), SEG_EACCES, &err);
    CHECK_STATUS(seg_stream_delete(reader, "s", &err), SEG_EACCES, &err);
    seg_client_close(reader);
    clear(c);
    seg_client_close(c);
    server_stop(s);
}

TEST(the_rule_is_refused_rather_than_cut) {
    char out[SEG_RULE_MAX], long_name[201];
    memset(long_name, 'x', 200);
    long_name[200] = '\0';
    CHECK_OK(seg_rights_rule(out, sizeof out, long_name, SEG_RIGHTS_ALL, &err), &err);
    CHECK_LT(strlen(out) + 200, sizeof out); /* some room for what comes */
    CHECK_STATUS(seg_rights_rule(out, 100, "a", SEG_RIGHTS_ALL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_rights_rule(out, 0, "a", SEG_RIGHTS_ALL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_rights_rule(out, sizeof out, "a*", SEG_RIGHTS_ALL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_rights_rule(NULL, 10, "a", SEG_RIGHTS_ALL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_rights_rule(out, sizeof out, "a", (seg_rights)7, &err), SEG_EINVAL, &err);
}

/* ---- The server's facts ----------------------------------------------------------------------- */

TEST(a_server_is_described) {
    const char *const args[] = {"--appendonly", "yes", "--maxmemory", "64mb", NULL};
    s = server_start_tcp(args);
    seg_client *c = client_of("", "default");
    seg_server_info *i = describe(c);
    int64_t ahead, off;
    CHECK_STR(seg_server_info_get(i, "redis_mode"), "standalone");
    CHECK_STR(seg_server_info_get(i, "maxmemory"), "67108864");
    CHECK_STR(seg_server_info_get(i, "aof_enabled"), "1");
    CHECK_PTR(seg_server_info_get(i, "nosuchfield"), NULL);
    CHECK(seg_server_info_get(i, "cmdstat_ping") != NULL);
    CHECK_STR(seg_server_info_config(i, "appendonly"), "yes");
    CHECK_STR(seg_server_info_config(i, "maxmemory"), "67108864");
    CHECK_STR(seg_server_info_config(i, "databases"), "16");
    CHECK(seg_server_info_config(i, "stream-node-max-bytes") != NULL);
    CHECK_PTR(seg_server_info_config(i, "requirepass"), NULL);
    CHECK_STR(seg_server_info_user(i), "default");
    CHECK_GT(seg_server_info_round_trip(i), 0);
    CHECK(seg_server_info_clock(i, &ahead, &off));
    CHECK_LE(ahead < 0 ? -ahead : ahead, off); /* it is the same clock */
    CHECK_EQ(seg_server_info_default_user_fit(i), SEG_YES);
    seg_server_info_free(i);
    server_do(s, "ACL SETUSER other on >pw ~* &* +@all");
    seg_client *by_other = client_of("other:pw@", "default");
    server_do(s, "ACL SETUSER default -zremrangebylex");
    i = describe(by_other);
    CHECK_EQ(seg_server_info_default_user_fit(i), SEG_NO);
    seg_server_info_free(i);
    server_do(s, "ACL SETUSER default +@all resetkeys ~other:*");
    i = describe(by_other);
    CHECK_EQ(seg_server_info_default_user_fit(i), SEG_NO);
    CHECK_PTR(seg_server_info_missing(i, 0), NULL);
    seg_server_info_free(i);
    seg_client_close(by_other);
    seg_client_close(c);
    server_stop(s);
}

TEST(a_server_that_is_gone_is_no_description) {
    s = server_start_tcp(NULL);
    seg_client *c = rig_client_within(s, 300);
    seg_server_info *i = NULL;
    server_pause(s);
    CHECK_STATUS(seg_server_describe(&i, c, &err), SEG_ETIMEDOUT, &err);
    CHECK_PTR(i, NULL);
    CHECK_STATUS(seg_server_describe(NULL, c, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_server_describe(&i, NULL, &err), SEG_EINVAL, &err);
    server_resume(s);
    seg_client_close(c);
    seg_server_info_free(NULL);
    server_stop(s);
}
