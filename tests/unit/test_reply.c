/* The accessors of answers: on every type, on nothing, and on numbers at their limits. */
#include "redis/reply.h"

#include <hiredis/hiredis.h>
#include <string.h>

#include "redis/reader.h"
#include "test.h"

static sg_reply *parse(const char *wire) {
    redisReader *reader = redisReaderCreate();
    CHECK(reader != NULL);
    CHECK_EQ(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
    void *reply = NULL;
    CHECK_EQ(redisReaderGetReply(reader, &reply), REDIS_OK);
    CHECK(reply != NULL);
    redisReaderFree(reader);
    return reply;
}

static void check_empty(const sg_reply *r) {
    uint64_t u = 77;
    int64_t i = 77;
    CHECK(!sg_reply_u64(r, &u));
    CHECK(!sg_reply_i64(r, &i));
    CHECK_EQ(u, 77);
    CHECK_EQ(i, 77);
    CHECK_STR(sg_reply_text(r), "");
    CHECK_EQ(sg_reply_bytes(r).len, 0);
    CHECK(!sg_reply_is(r, ""));
}

TEST(nothing_is_nil_and_empty) {
    CHECK(sg_reply_is_nil(NULL));
    CHECK(!sg_reply_is_array(NULL));
    CHECK_PTR(sg_reply_error(NULL), NULL);
    CHECK_EQ(sg_reply_count(NULL), 0);
    CHECK_PTR(sg_reply_at(NULL, 0), NULL);
    check_empty(NULL);
}

TEST(each_type_is_itself_only) {
    sg_reply *r = parse("*5\r\n$-1\r\n:5\r\n-ERR no\r\n+OK\r\n*0\r\n");
    CHECK(sg_reply_is_array(r));
    CHECK(!sg_reply_is_nil(r));
    CHECK_EQ(sg_reply_count(r), 5);
    check_empty(r);
    CHECK(sg_reply_is_nil(sg_reply_at(r, 0)));
    check_empty(sg_reply_at(r, 0));
    CHECK(!sg_reply_is_nil(sg_reply_at(r, 1)));
    CHECK_STR(sg_reply_text(sg_reply_at(r, 1)), "");
    CHECK_STR(sg_reply_error(sg_reply_at(r, 2)), "ERR no");
    check_empty(sg_reply_at(r, 2));
    CHECK(sg_reply_is(sg_reply_at(r, 3), "OK"));
    CHECK(!sg_reply_is(sg_reply_at(r, 3), "O"));
    CHECK(!sg_reply_is(sg_reply_at(r, 3), "OKK"));
    CHECK_PTR(sg_reply_error(sg_reply_at(r, 3)), NULL);
    CHECK(sg_reply_is_array(sg_reply_at(r, 4)));
    CHECK_EQ(sg_reply_count(sg_reply_at(r, 4)), 0);
    CHECK_PTR(sg_reply_at(r, 5), NULL);
    sg_reply_free(r);
}

static void check_number(const char *wire, bool is_u, uint64_t u, bool is_i, int64_t i) {
    sg_reply *r = parse(wire);
    uint64_t got_u = 77;
    int64_t got_i = 77;
    CHECK_EQ(sg_reply_u64(r, &got_u), is_u);
    CHECK_EQ(sg_reply_i64(r, &got_i), is_i);
    CHECK_EQ(got_u, is_u ? u : 77);
    CHECK_EQ(got_i, is_i ? i : 77);
    sg_reply_free(r);
}

TEST(numbers_at_their_limits) {
    check_number(":0\r\n", true, 0, true, 0);
    check_number(":-1\r\n", false, 0, true, -1);
    check_number(":9223372036854775807\r\n", true, INT64_MAX, true, INT64_MAX);
    check_number("$1\r\n0\r\n", true, 0, true, 0);
    check_number("$3\r\n007\r\n", true, 7, true, 7);
    check_number("+12\r\n", true, 12, true, 12);
    check_number("$19\r\n9223372036854775807\r\n", true, INT64_MAX, true, INT64_MAX);
    check_number("$19\r\n9223372036854775808\r\n", true, (uint64_t)INT64_MAX + 1, false, 0);
    check_number("$20\r\n-9223372036854775808\r\n", false, 0, true, INT64_MIN);
    check_number("$20\r\n-9223372036854775809\r\n", false, 0, false, 0);
    check_number("$20\r\n18446744073709551615\r\n", true, UINT64_MAX, false, 0);
    check_number("$20\r\n18446744073709551616\r\n", false, 0, false, 0);
    check_number("$21\r\n184467440737095516150\r\n", false, 0, false, 0);
    check_number("$0\r\n\r\n", false, 0, false, 0);
    check_number("$1\r\n-\r\n", false, 0, false, 0);
    check_number("$2\r\n+1\r\n", false, 0, false, 0);
    check_number("$2\r\n 1\r\n", false, 0, false, 0);
    check_number("$2\r\n1 \r\n", false, 0, false, 0);
    check_number("$3\r\n1e3\r\n", false, 0, false, 0);
    check_number("$3\r\n--1\r\n", false, 0, false, 0);
}

TEST(refusals_by_their_first_word) {
    static const struct {
        const char *text;
        seg_status status;
    } cases[] = {
        {"NOPERM this user has no permissions to run the 'info' command", SEG_EACCES},
        {"NOAUTH Authentication required.", SEG_EACCES},
        {"WRONGPASS invalid username-password pair or user is disabled.", SEG_EACCES},
        {"ERR AUTH <password> called without any password configured for the default user. Are "
         "you sure your configuration is correct?",
         SEG_EACCES},
        {"DENIED Redis is running in protected mode", SEG_EACCES},
        {"OOM command not allowed when used memory > 'maxmemory'.", SEG_EOOM},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", SEG_EPROTO},
        {"READONLY You can't write against a read only replica.", SEG_ECONN},
        {"LOADING Redis is loading the dataset in memory", SEG_ECONN},
        {"MASTERDOWN Link with MASTER is down", SEG_ECONN},
        {"CLUSTERDOWN The cluster is down", SEG_ECONN},
        {"TRYAGAIN Multiple keys request during rehashing of slot", SEG_ECONN},
        {"NOREPLICAS Not enough good replicas to write.", SEG_ECONN},
        {"BUSY Redis is busy running a script.", SEG_ECONN},
        {"MISCONF Errors writing to the AOF file", SEG_ECONN},
        {"UNBLOCKED force unblock from blocking operation", SEG_ECONN},
        {"ERR max number of clients reached", SEG_ECONN},
        {"BUSYGROUP Consumer Group name already exists", SEG_ESERVER},
        {"NOSCRIPT No matching script.", SEG_ESERVER},
        {"ERR unknown command 'OOM '", SEG_ESERVER},
        {"EXECABORT Transaction discarded because of previous errors.", SEG_ESERVER},
        {"EXECABORT Transaction discarded because of: OOM command not allowed", SEG_EOOM},
        {"EXECABORT Transaction discarded because of: READONLY You can't write", SEG_ECONN},
        {"", SEG_ESERVER},
        {"OOM", SEG_ESERVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sg_reply_error_status(cases[i].text) != cases[i].status)
            FAIL("'%s' is %d, expected %d", cases[i].text,
                 (int)sg_reply_error_status(cases[i].text), (int)cases[i].status);
    }
}
