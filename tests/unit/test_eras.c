/* The list of a log's eras: what belongs to which, and what of one has survived. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/eras.h"
#include "test.h"

static seg_status read_text(sg_eras *e, const char *text) {
    return sg_eras_read(e, (seg_bytes){text, strlen(text)});
}

static sg_eras eras_of(const char *text) {
    sg_eras e = {NULL, 0};
    CHECK_EQ(read_text(&e, text), SEG_OK);
    return e;
}

TEST(offsets_belong_to_the_era_that_they_are_in) {
    sg_eras e = eras_of("1:0 1700:6 1900:10");
    CHECK_EQ(e.n, 3);
    CHECK_EQ(sg_eras_newest(&e), 1900);
    CHECK_EQ(sg_eras_of(&e, 0), 1);
    CHECK_EQ(sg_eras_of(&e, 5), 1);
    CHECK_EQ(sg_eras_of(&e, 6), 1700);
    CHECK_EQ(sg_eras_of(&e, 9), 1700);
    CHECK_EQ(sg_eras_of(&e, 10), 1900);
    CHECK_EQ(sg_eras_of(&e, UINT64_MAX), 1900);
    CHECK_EQ(sg_eras_before(&e, 0), 1);
    CHECK_EQ(sg_eras_before(&e, 6), 1);
    CHECK_EQ(sg_eras_before(&e, 7), 1700);
    CHECK(sg_eras_has(&e, 1700));
    CHECK(!sg_eras_has(&e, 1800));
    sg_eras_fini(&e);
}

TEST(what_is_before_the_first_era_that_is_listed) {
    sg_eras e = eras_of("1700:6");
    CHECK_EQ(sg_eras_of(&e, 0), 1700);
    CHECK_EQ(sg_eras_before(&e, 6), 1700);
    sg_eras_fini(&e);
}

TEST(what_is_no_list) {
    static const char *const bad[] = {"",
                                      " ",
                                      "1",
                                      "1:",
                                      ":0",
                                      "1:0 ",
                                      "1:0  2:1",
                                      "1:0,2:1",
                                      "x:0",
                                      "1:x",
                                      "-1:0",
                                      "1:-1",
                                      "0:0",
                                      "2:0 1:5",
                                      "1:5 2:3",
                                      "1:0 1:0",
                                      "1:0 2:1x",
                                      "1:0\n",
                                      "1:0 2",
                                      "1:99999999999999999999999999",
                                      "99999999999999999999999:0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sg_eras e = eras_of("7:3");
        if (read_text(&e, bad[i]) != SEG_EPROTO)
            FAIL("\"%s\" was taken for a list of eras", bad[i]);
        CHECK_EQ(sg_eras_newest(&e), 7); /* as it was */
        sg_eras_fini(&e);
    }
}

TEST(newer_ones_are_added) {
    sg_eras e = eras_of("1:0 5:10"), fresh = eras_of("5:10 7:12 9:20"), other = eras_of("3:4 9:20");
    CHECK(sg_eras_follow(&e, &fresh));
    CHECK_EQ(e.n, 4);
    CHECK_EQ(sg_eras_of(&e, 3), 1);
    CHECK_EQ(sg_eras_of(&e, 11), 5);
    CHECK_EQ(sg_eras_of(&e, 12), 7);
    CHECK_EQ(sg_eras_newest(&e), 9);
    CHECK(sg_eras_follow(&e, &other)); /* nothing new */
    CHECK_EQ(e.n, 4);
    sg_eras_fini(&e);
    sg_eras_fini(&fresh);
    sg_eras_fini(&other);
}

/* An era in which nothing survived is not listed: what was read in it is gone as a whole. */
TEST(what_was_lost) {
    uint64_t first = 0;
    sg_eras e = eras_of("1:0 10:6 20:9"), none = {NULL, 0};
    CHECK(!sg_eras_lost(&e, &none, 1, 0, 12, &first)); /* knows nothing */
    CHECK(!sg_eras_lost(&e, &none, 1, 6, 12, &first));
    CHECK(sg_eras_lost(&e, &none, 1, 7, 12, &first));
    CHECK_EQ(first, 6);
    CHECK(!sg_eras_lost(&e, &none, 10, 9, 12, &first));
    CHECK(sg_eras_lost(&e, &none, 10, 15, 12, &first));
    CHECK_EQ(first, 9);
    CHECK(sg_eras_lost(&e, &none, 5, 8, 12, &first)); /* an era of which nothing is left */
    CHECK_EQ(first, 6);
    CHECK(!sg_eras_lost(&e, &none, 20, 12, 12, &first));
    CHECK(sg_eras_lost(&e, &none, 20, 13, 12, &first)); /* no newer era yet, but a shorter log */
    CHECK_EQ(first, 12);
    /* An era that the log does not know: all of it, and so at least the last one. */
    CHECK(sg_eras_lost(&e, &none, 30, 15, 12, &first));
    CHECK_EQ(first, 12);
    CHECK(sg_eras_lost(&e, &none, 30, 10, 12, &first));
    CHECK_EQ(first, 9);
    sg_eras_fini(&e);
}

/* The first server comes back with what only it had, after another one had begun an era of its own in
 * that place: the log is as long as before, and longer, and yet all of that era is gone. */
TEST(an_era_that_was_lost_as_a_whole) {
    uint64_t first = 0;
    sg_eras back = eras_of("1:0 20:200"), known = eras_of("1:0 10:100"), none = {NULL, 0};
    CHECK(sg_eras_lost(&back, &known, 10, 120, 200, &first));
    CHECK_EQ(first, 100);
    CHECK(sg_eras_lost(&back, &none, 10, 120, 200, &first)); /* it has not heard where it began */
    CHECK_EQ(first, 119);
    CHECK(!sg_eras_lost(&back, &known, 1, 100, 200, &first));
    sg_eras_fini(&back);
    back = eras_of("1:0"); /* before anything was appended to it again */
    CHECK(sg_eras_lost(&back, &known, 10, 120, 200, &first));
    CHECK_EQ(first, 100);
    CHECK(sg_eras_lost(&back, &known, 10, 120, 90, &first));
    CHECK_EQ(first, 90);
    sg_eras_fini(&known);
    known = eras_of("1:0 5:60 10:100"); /* two of them */
    CHECK(sg_eras_lost(&back, &known, 10, 120, 200, &first));
    CHECK_EQ(first, 60);
    sg_eras_fini(&back);
    back = eras_of("20:110"); /* older ones are forgotten with what they had: it says nothing */
    CHECK(!sg_eras_lost(&back, &known, 5, 80, 200, &first));
    sg_eras_fini(&back);
    sg_eras_fini(&known);
}

TEST(without_memory_nothing_changes) {
    sg_eras e = eras_of("1:0"), fresh = eras_of("1:0 2:5");
    sg_alloc_fail_at(1, 1);
    CHECK_EQ(read_text(&e, "3:0"), SEG_ENOMEM);
    CHECK(!sg_eras_follow(&e, &fresh));
    sg_alloc_fail_at(0, 0);
    CHECK_EQ(sg_eras_newest(&e), 1);
    sg_eras_fini(&e);
    sg_eras_fini(&fresh);
}
