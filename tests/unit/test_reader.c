/* The reader: what a server announces does not decide how much memory is taken, or how deep we
 * recurse. */
#include "redis/reader.h"

#include <string.h>

#include "test.h"

/* As a receive would leave it. */
static void feed(sg_reader *r, const char *text) {
    size_t n = strlen(text);
    CHECK_EQ(r->at, r->have);
    CHECK_LE(n, r->size);
    memcpy(r->chunk, text, n);
    r->at = 0;
    r->have = n;
}

static void check_refused(const char *text, const char *fault) {
    sg_reader r;
    const char *why;
    CHECK(sg_reader_init(&r));
    feed(&r, text);
    CHECK(sg_reader_next(&r, &why) == NULL);
    CHECK_STR(why, fault);
    CHECK(sg_reader_next(&r, &why) == NULL); /* for good */
    CHECK_STR(why, fault);
    sg_reader_fini(&r);
}

TEST(an_array_of_too_many_elements_is_refused_when_it_is_announced) {
    static const char fault[] = "an array has too many elements";
    check_refused("*4194305\r\n", fault);
    check_refused("*2147483647\r\n", fault);
    check_refused("*2\r\n:1\r\n*5000000\r\n", fault);
}

TEST(an_array_that_is_nested_too_deep_is_refused) {
    char text[8 * 4 + 1] = "";
    for (int i = 0; i < 8; i++)
        strcat(text, "*1\r\n");
    check_refused(text, "an array is nested too deep");
}

/* One level after another, over many receives: never more than a few of them exist. */
TEST(endless_nesting_ends) {
    sg_reader r;
    const char *why = NULL;
    size_t fed = 0;
    CHECK(sg_reader_init(&r));
    for (; why == NULL && fed < 1000000; fed++) {
        feed(&r, "*1\r\n");
        CHECK(sg_reader_next(&r, &why) == NULL);
    }
    CHECK_EQ(fed, 8);
    sg_reader_fini(&r);
}

TEST(what_a_server_does_say_is_taken) {
    sg_reader r;
    const char *why;
    CHECK(sg_reader_init(&r));
    feed(&r, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2\r\n:7\r\n*0\r\n");
    CHECK(sg_reader_next(&r, &why) == NULL);
    CHECK_STR(why, "an array is nested too deep");
    sg_reader_fini(&r);
    CHECK(sg_reader_init(&r));
    feed(&r, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n*4194304\r\n");
    sg_reply *reply = sg_reader_next(&r, &why);
    CHECK(reply != NULL);
    const sg_reply *at = reply;
    for (int i = 0; i < 7; i++)
        at = sg_reply_at(at, 0);
    uint64_t n = 0;
    CHECK(sg_reply_u64(at, &n));
    CHECK_EQ(n, 7);
    sg_reply_free(reply);
    CHECK(sg_reader_next(&r, &why) == NULL); /* its elements are to come */
    CHECK(why == NULL);
    sg_reader_fini(&r);
}
