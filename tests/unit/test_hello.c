/* The handshake: what is asked, and what each answer means, without a server. */
#include "redis/hello.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "redis/reader.h"
#include "status.h"
#include "test.h"

static sg_url url_of(const char *text) {
    sg_url url;
    seg_error err;
    CHECK_OK(sg_url_parse(&url, text, &err), &err);
    return url;
}

/* What the handshake for `url` sends, line ends shown as spaces. */
static void check_asks(const char *text, const char *expected) {
    sg_url url = url_of(text);
    sg_hello h;
    sg_out out;
    sg_out_init(&out);
    CHECK(sg_hello_ask(&h, &url, "fetch", &out));
    char shown[512];
    size_t n = 0;
    for (size_t i = 0; i < out.buf.len; i++) {
        if (out.buf.data[i] != '\n')
            shown[n++] = out.buf.data[i] == '\r' ? ' ' : (char)out.buf.data[i];
    }
    shown[n] = '\0';
    CHECK_STR(shown, expected);
    sg_out_fini(&out);
    sg_url_fini(&url);
}

#define TAIL                                                                                       \
    "*3 $6 CLIENT $7 SETNAME $15 segmenter-fetch "                                                 \
    "*2 $6 CLIENT $2 ID "                                                                          \
    "*6 $3 ACL $6 DRYRUN $7 default $6 XSETID $10 sg:{x}:log $3 0-1 *1 $4 INFO "

TEST(asks_only_what_the_url_calls_for) {
    check_asks("redis://h", TAIL);
    check_asks("redis://h/0", TAIL);
    check_asks("redis://:pw@h", "*2 $4 AUTH $2 pw " TAIL);
    check_asks("redis://me:pw@h/12", "*3 $4 AUTH $2 me $2 pw *2 $6 SELECT $2 12 " TAIL);
    check_asks("unix:///s?db=3", "*2 $6 SELECT $1 3 " TAIL);
}

/* The outcome of the whole handshake with these answers, one for each step. */
static sg_hello_outcome converse(const char *url_text, const char *const answers[], sg_hello *h,
                                 seg_error *err) {
    static sg_url url; /* h keeps a pointer to it */
    url = url_of(url_text);
    sg_out out;
    sg_out_init(&out);
    CHECK(sg_hello_ask(h, &url, "wake", &out));
    sg_out_fini(&out);
    sg_hello_outcome outcome = SG_HELLO_MORE;
    redisReader *reader = redisReaderCreate();
    for (size_t i = 0; answers[i] != NULL && outcome == SG_HELLO_MORE; i++) {
        void *reply = NULL;
        redisReaderFeed(reader, answers[i], strlen(answers[i]));
        CHECK_EQ(redisReaderGetReply(reader, &reply), REDIS_OK);
        CHECK(reply != NULL);
        outcome = sg_hello_answer(h, reply, err);
        sg_reply_free(reply);
    }
    redisReaderFree(reader);
    sg_url_fini(&url);
    return outcome;
}

TEST(names_the_fault_and_the_way_out) {
    static const struct {
        const char *url;
        const char *answers[5];
        sg_hello_outcome outcome;
        seg_status status;
        const char *parts[2];
    } cases[] = {
        {"redis://:hunter2@h:1",
         {"-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
         SG_HELLO_HOPELESS,
         SEG_EACCES,
         {"'h:1'", "does not accept"}},
        {"redis://:hunter2@h",
         {"-ERR AUTH <password> called without any password configured for the default user.\r\n"},
         SG_HELLO_HOPELESS,
         SEG_EACCES,
         {"no password set", "leave it out"}},
        {"redis://h",
         {"-NOAUTH Authentication required.\r\n", "-NOAUTH Authentication required.\r\n",
          "-NOAUTH Authentication required.\r\n", "-NOAUTH Authentication required.\r\n"},
         SG_HELLO_HOPELESS,
         SEG_EACCES,
         {"needs a password", "redis://user:password@host"}},
        {"unix:///s",
         {"-NOAUTH Authentication required.\r\n", "-NOAUTH Authentication required.\r\n",
          "-NOAUTH Authentication required.\r\n", "-NOAUTH Authentication required.\r\n"},
         SG_HELLO_HOPELESS,
         SEG_EACCES,
         {"'/s' needs a password", "unix://user:password@/path"}},
        {"redis://me:hunter2@h",
         {"+OK\r\n", "-NOPERM no\r\n", "-NOPERM no\r\n", "-NOPERM no\r\n", "-NOPERM no 'info'\r\n"},
         SG_HELLO_HOPELESS,
         SEG_EACCES,
         {"'me' may not run INFO", "ACL SETUSER me +info"}},
        {"redis://h/9",
         {"-ERR DB index is out of range\r\n"},
         SG_HELLO_HOPELESS,
         SEG_ESERVER,
         {"database 9", "databases"}},
        {"redis://h",
         {"+OK\r\n", ":1\r\n", "+OK\r\n", "-LOADING Redis is loading the dataset in memory\r\n"},
         SG_HELLO_RETRY,
         SEG_ECONN,
         {"not ready", "LOADING"}},
        {"redis://:hunter2@h",
         {"-ERR max number of clients reached\r\n"},
         SG_HELLO_RETRY,
         SEG_ECONN,
         {"not ready", "max number of clients"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *answers[6] = {NULL};
        memcpy(answers, cases[i].answers, sizeof cases[i].answers);
        sg_hello h;
        seg_error err = {SEG_OK, ""};
        CHECK_EQ(converse(cases[i].url, answers, &h, &err), cases[i].outcome);
        CHECK_STATUS(err.status, cases[i].status, &err);
        CHECK_CONTAINS(err.text, cases[i].parts[0]);
        CHECK_CONTAINS(err.text, cases[i].parts[1]);
        CHECK(strstr(err.text, "hunter2") == NULL);
    }
}

TEST(a_refused_client_command_does_not_matter) {
    const char *const answers[] = {"-NOPERM a\r\n", "-NOPERM b\r\n", "-NOPERM c\r\n",
                                   "$34\r\nredis_version:7.0.0\r\nrole:master\r\n\r\n", NULL};
    sg_hello h;
    seg_error err = {SEG_OK, ""};
    CHECK_EQ(converse("redis://h", answers, &h, &err), SG_HELLO_DONE);
    CHECK_EQ(h.client_id, 0);
    CHECK_STR(h.server, "redis 7.0.0");
    CHECK_STR(h.remark, "NOPERM a");
}

/* A default user who may not do what we do is harmless but where there is an AOF. */
TEST(a_default_user_that_cannot_load_the_aof) {
    static const char denied[] = "$4\r\nUser\r\n";
    static const char off[] = "$49\r\nredis_version:7.0.0\r\nrole:master\r\naof_enabled:0\r\n\r\n";
    static const char on[] = "$49\r\nredis_version:7.0.0\r\nrole:master\r\naof_enabled:1\r\n\r\n";
    sg_hello h;
    seg_error err = {SEG_OK, ""};
    const char *answers[] = {"+OK\r\n", ":1\r\n", denied, off, NULL};
    CHECK_EQ(converse("redis://h", answers, &h, &err), SG_HELLO_DONE);
    answers[3] = on;
    CHECK_EQ(converse("redis://h", answers, &h, &err), SG_HELLO_HOPELESS);
    CHECK_STATUS(err.status, SEG_ESERVER, &err);
    CHECK_CONTAINS(err.text, "appendonly");
    CHECK_CONTAINS(err.text, "ACL SETUSER default ~* &* +@all");
    answers[2] = "+OK\r\n";
    CHECK_EQ(converse("redis://h", answers, &h, &err), SG_HELLO_DONE);
    answers[2] = "-NOPERM\r\n"; /* nobody can tell */
    CHECK_EQ(converse("redis://h", answers, &h, &err), SG_HELLO_DONE);
}

static sg_hello_outcome check_info(const char *info, sg_hello *h, seg_error *err) {
    *h = (sg_hello){.where = "h:1"};
    *err = (seg_error){SEG_OK, ""};
    /* Without its NUL, so that a read past the end is seen. */
    char copy[400];
    size_t n = strlen(info);
    CHECK_LT(n, sizeof copy);
    char *end = copy + sizeof copy - n;
    memcpy(end, info, n);
    return sg_hello_check(h, (seg_bytes){end, n}, err);
}

TEST(judges_the_version) {
    static const struct {
        const char *info, *server;
        sg_hello_outcome outcome;
    } cases[] = {
        {"redis_version:7.0.0\r\n", "redis 7.0.0", SG_HELLO_DONE},
        {"# Server\r\nredis_version:7.0.15\r\nx:y", "redis 7.0.15", SG_HELLO_DONE},
        {"redis_version:8.2.1\n", "redis 8.2.1", SG_HELLO_DONE},
        {"redis_version:7.4.0-rc1\r\n", "redis 7.4.0-rc1", SG_HELLO_DONE},
        {"redis_version:255.255.255\r\n", "redis 255.255.255", SG_HELLO_DONE},
        {"redis_version:10.0", "redis 10.0", SG_HELLO_DONE},
        {"redis_version:6.2.99\r\n", "redis 6.2.99", SG_HELLO_HOPELESS},
        {"redis_version:6.255.0\r\n", "redis 6.255.0", SG_HELLO_HOPELESS},
        {"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", "valkey 8.0.1",
         SG_HELLO_DONE},
        {"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.5\r\n", "valkey 7.2.5",
         SG_HELLO_DONE},
        {"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.0\r\n", "valkey 7.1.0",
         SG_HELLO_HOPELESS},
        {"redis_version:7.2.4\r\nserver_name:valkey\r\n", "", SG_HELLO_HOPELESS},
        {"xredis_version:7.0.0\r\n", "", SG_HELLO_HOPELESS},
        {"redis_version\r\n", "", SG_HELLO_HOPELESS},
        {"redis_version:\r\n", "", SG_HELLO_HOPELESS},
        {"redis_version:seven", "", SG_HELLO_HOPELESS},
        {"", "", SG_HELLO_HOPELESS},
        {"\n\n\r\n", "", SG_HELLO_HOPELESS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sg_hello h;
        seg_error err;
        if (check_info(cases[i].info, &h, &err) != cases[i].outcome)
            FAIL("case %zu, '%s': %s", i, cases[i].info, err.text);
        CHECK_STR(h.server, cases[i].server);
        if (cases[i].outcome != SG_HELLO_DONE)
            CHECK_STATUS(err.status, SEG_ESERVER, &err);
    }
}

TEST(judges_role_loading_and_eviction) {
    static const struct {
        const char *more;
        sg_hello_outcome outcome;
        const char *part;
    } cases[] = {
        {"role:master", SG_HELLO_DONE, ""},
        {"role:slave\r\nmaster_host:db1\r\nmaster_port:6380", SG_HELLO_OTHER,
         "read-only replica of db1:6380"},
        {"loading:1", SG_HELLO_RETRY, "loading"},
        {"loading:0", SG_HELLO_DONE, ""},
        {"maxmemory:0\r\nmaxmemory_policy:allkeys-lru", SG_HELLO_DONE, ""},
        {"maxmemory:1024\r\nmaxmemory_policy:noeviction", SG_HELLO_DONE, ""},
        {"maxmemory:1024\r\nmaxmemory_policy:volatile-ttl", SG_HELLO_DONE, ""},
        {"maxmemory:1024\r\nmaxmemory_policy:allkeys-lru", SG_HELLO_HOPELESS, "'allkeys-lru'"},
        {"maxmemory:1024\r\nmaxmemory_policy:allkeys-random", SG_HELLO_HOPELESS,
         "set maxmemory-policy to noeviction"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char info[300];
        snprintf(info, sizeof info, "redis_version:7.0.0\r\n%s\r\n", cases[i].more);
        sg_hello h;
        seg_error err;
        CHECK_EQ(check_info(info, &h, &err), cases[i].outcome);
        CHECK_CONTAINS(err.text, cases[i].part);
    }
}
