/* test_error.c - filling a caller's error. */
#include "core/error.h"

#include <string.h>

#include "test.h"

TEST(returns_the_status_and_fills) {
    seg_error err = {SEG_OK, "before"};
    CHECK_EQ(sg_fail(&err, SEG_ECONN, "no answer from %s:%d", "h", 7), SEG_ECONN);
    CHECK_EQ(err.status, SEG_ECONN);
    CHECK_STR(err.text, "no answer from h:7");
    CHECK_EQ(sg_fail(NULL, SEG_EFULL, "unseen"), SEG_EFULL);
    CHECK_EQ(sg_fail_nomem(&err), SEG_ENOMEM);
    CHECK_STR(err.text, "out of memory");
    CHECK_EQ(sg_fail_nomem(NULL), SEG_ENOMEM);
}

TEST(cuts_and_cleans) {
    seg_error err;
    sg_fail(&err, SEG_EINVAL, "%600s", "\xc3\xb6");
    CHECK_EQ(strlen(err.text), sizeof err.text - 1);
    sg_fail(&err, SEG_EINVAL, "%506s\xc3\xb6", "");
    CHECK_EQ(strlen(err.text), 506);
    sg_fail(&err, SEG_EINVAL, "a\nb\x1b");
    CHECK_STR(err.text, "a?b?");
}

TEST(wraps_its_own_text) {
    seg_error err;
    sg_fail(&err, SEG_ECONN, "refused");
    sg_fail(&err, err.status, "stream 's': %s", err.text);
    CHECK_EQ(err.status, SEG_ECONN);
    CHECK_STR(err.text, "stream 's': refused");
}
