/* test.h - the test framework: cases that register themselves, checks that print both values.
 *
 *     TEST(adds) {
 *         CHECK_EQ(add(2, 2), 4);
 *     }
 *
 * Each case runs in a forked child with a deadline, so that a crash or a hang ends that case by
 * name and the others still run. What it prints is shown only when it fails (or with -v). A case
 * may call exit() or return; threads that it leaves behind die with it, so do its processes.
 *
 *     test_x [-l] [-v] [-x] [-j N] [-t S] [FILTER...]
 *
 * runs the cases whose "suite.case" contains a FILTER; with -x until one fails, with -t none for
 * more than S seconds.
 *
 * Lines on stdout: "ok suite.case ms", "not ok suite.case", "skip suite.case reason", at last
 * "N passed, N failed"; exit status 1 where one failed. SEGMENTER_TEST_JOBS is the default of -j,
 * SEGMENTER_TEST_FILTER a filter that must fit too; SEGMENTER_TEST_KEEP=1 leaves the directories of
 * failed cases. */
#ifndef SG_TEST_H
#define SG_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(TEST_SUITE)
#define TEST_SUITE "test"
#endif

typedef void test_fn(void);

struct test_case {
    const char *suite, *name;
    test_fn *fn;
    int deadline_s; /* doubled under a sanitizer */
    struct test_case *next;
};

void test_add(struct test_case *t);

#define TEST(case_name) TEST_DEADLINE(case_name, 60)

/* A case with a deadline of its own, in seconds. */
#define TEST_DEADLINE(case_name, seconds)                                                          \
    static void test_##case_name(void);                                                            \
    static struct test_case case_##case_name = {TEST_SUITE, #case_name, test_##case_name, seconds, \
                                                NULL};                                             \
    __attribute__((constructor)) static void add_##case_name(void) {                               \
        test_add(&case_##case_name);                                                               \
    }                                                                                              \
    static void test_##case_name(void)

/* ---- Checks: from any thread; a failed one ends the case ------------------------------------ */

/* Each evaluates its arguments once. CHECK_EQ and its like compare integers of any type, by value:
 * -1 is less than 0u. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, "CHECK(%s)", #condition))
#define CHECK_EQ(actual, expected)  TEST_COMPARE(actual, TEST_EQ, expected)
#define CHECK_NE(actual, expected)  TEST_COMPARE(actual, TEST_NE, expected)
#define CHECK_LT(actual, limit)     TEST_COMPARE(actual, TEST_LT, limit)
#define CHECK_LE(actual, limit)     TEST_COMPARE(actual, TEST_LE, limit)
#define CHECK_GT(actual, limit)     TEST_COMPARE(actual, TEST_GT, limit)
#define CHECK_GE(actual, limit)     TEST_COMPARE(actual, TEST_GE, limit)
#define CHECK_PTR(actual, expected) test_check_ptr(TEST_AT(actual, expected), actual, expected)
/* Strings; NULL equals only NULL. */
#define CHECK_STR(actual, expected) test_check_str(TEST_AT(actual, expected), actual, expected)
/* `actual` contains `part`. */
#define CHECK_CONTAINS(actual, part) test_check_contains(TEST_AT(actual, part), actual, part)
/* Bytes: both lengths, then contents; shows the first difference. */
#define CHECK_MEM(actual, actual_len, expected, expected_len)                                      \
    test_check_mem(TEST_AT(actual, expected), actual, actual_len, expected, expected_len)
/* End the case as failed, with a printf-like text. */
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
/* End the case as skipped. For what the machine cannot do, not for what the code cannot. */
#define SKIP(...) test_skip(__VA_ARGS__)

/* ---- Waiting: on conditions, never for a time ----------------------------------------------- */

typedef bool test_condition(void *arg);

/* Ask until `fn` is true (returns true) or `deadline_ms` have passed (false). */
bool wait_until(int64_t deadline_ms, test_condition *fn, void *arg);

/* The same for an expression; fails the case when the deadline passes. */
#define WAIT_FOR(deadline_ms, condition)                                                           \
    do {                                                                                           \
        struct test_wait wait_ = test_wait_start(deadline_ms);                                     \
        while (!(condition)) {                                                                     \
            if (!test_wait_more(&wait_)) {                                                         \
                test_fail(__FILE__, __LINE__, "WAIT_FOR(%s): still false after %lld ms",           \
                          #condition, (long long)(deadline_ms));                                   \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* Milliseconds of a clock that never steps. */
int64_t test_now_ms(void);

/* ---- The case's surroundings ---------------------------------------------------------------- */

/* A directory of this case, "/tmp/sgXXXXXX": empty at its start, removed with all in it when it
 * ends in whatever way. Files named *.log are shown when the case fails. */
const char *test_dir(void);

/* A seed: new in each run and printed when the case fails, or SEGMENTER_TEST_SEED. */
uint64_t test_seed(void);

/* True where the case runs under a sanitizer: for sizes and times, not for what is checked. */
bool test_sanitized(void);

/* ---- Behind the macros ---------------------------------------------------------------------- */

struct test_wait {
    int64_t end_ms, pause_us;
};
struct test_wait test_wait_start(int64_t deadline_ms);
bool test_wait_more(struct test_wait *w);

enum test_op { TEST_EQ, TEST_NE, TEST_LT, TEST_LE, TEST_GT, TEST_GE };

/* An integer of any type: the 64 bits, and whether they stand for a negative number. */
struct test_int {
    uint64_t bits;
    bool negative;
};

static inline struct test_int test_signed(intmax_t v) {
    return (struct test_int){(uint64_t)v, v < 0};
}

static inline struct test_int test_unsigned(uintmax_t v) {
    return (struct test_int){v, false};
}

/* clang-format off */
#define TEST_INT(v)                                                                                \
    _Generic((v),                                                                                  \
             _Bool: test_unsigned,                                                                 \
             unsigned char: test_unsigned,                                                         \
             unsigned short: test_unsigned,                                                        \
             unsigned: test_unsigned,                                                              \
             unsigned long: test_unsigned,                                                         \
             unsigned long long: test_unsigned,                                                    \
             default: test_signed)(v)
/* clang-format on */

struct test_at {
    const char *file;
    int line;
    const char *actual, *expected; /* the expressions as written */
};

#define TEST_AT(actual, expected) ((struct test_at){__FILE__, __LINE__, #actual, #expected})
#define TEST_COMPARE(actual, op, expected)                                                         \
    test_check_int(TEST_AT(actual, expected), TEST_INT(actual), op, TEST_INT(expected))

void test_check_int(struct test_at at, struct test_int a, enum test_op op, struct test_int b);
void test_check_ptr(struct test_at at, const void *a, const void *b);
void test_check_str(struct test_at at, const char *a, const char *b);
void test_check_contains(struct test_at at, const char *a, const char *part);
void test_check_mem(struct test_at at, const void *a, size_t a_len, const void *b, size_t b_len);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
