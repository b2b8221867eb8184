/* status.h - CHECK_STATUS for the library's calls: prints the statuses by name, and the text.
 *
 *     CHECK_STATUS(seg_client_open(&c, &o, &err), SEG_OK, &err); */
#ifndef SG_TEST_STATUS_H
#define SG_TEST_STATUS_H

#include <segmenter/segmenter.h>

#include "test.h"

#define CHECK_STATUS(actual, expected, err)                                                        \
    test_check_status(__FILE__, __LINE__, #actual, actual, expected, err)
#define CHECK_OK(actual, err) CHECK_STATUS(actual, SEG_OK, err)

/* Its own table: the library's seg_status_name is among what is tested. */
static inline const char *test_status_name(seg_status s) {
    switch (s) {
#define X(name, value, retriable, text)                                                            \
    case SEG_##name:                                                                               \
        return #name;
        SEG_STATUS_MAP(X)
#undef X
    }
    return "?";
}

static inline void test_check_status(const char *file, int line, const char *text, seg_status a,
                                     seg_status b, const seg_error *err) {
    if (a != b) {
        test_fail(file, line, "%s\n  actual:   %s (%d) %s\n  expected: %s (%d)", text,
                  test_status_name(a), (int)a, a != SEG_OK && err ? err->text : "",
                  test_status_name(b), (int)b);
    }
}

#endif
