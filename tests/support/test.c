/* test.c - the checks and what a case may ask for. It runs in the child; runner.c is the parent. */
#include "test.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

/* ---- Failing and skipping ------------------------------------------------------------------- */

void test_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    flockfile(stdout);
    printf("%s:%d: ", file, line);
    vprintf(format, args);
    printf("\n(seed %" PRIu64 ")\n", test_seed());
    fflush(stdout);
    /* Not exit(): other threads still use what its handlers would tear down, and a sanitizer's
     * report of all that a failed case did not free would bury the reason. */
    _exit(TEST_EXIT_FAILED);
}

void test_skip(const char *format, ...) {
    va_list args;
    va_start(args, format);
    flockfile(stdout);
    vprintf(format, args);
    fflush(stdout);
    _exit(TEST_EXIT_SKIPPED);
}

/* ---- Checks --------------------------------------------------------------------------------- */

static int compare(struct test_int a, struct test_int b) {
    if (a.negative != b.negative) {
        return a.negative ? -1 : 1;
    }
    return a.bits < b.bits ? -1 : a.bits > b.bits; /* two's complement orders negatives too */
}

static bool holds(int order, enum test_op op) {
    switch (op) {
    case TEST_EQ:
        return order == 0;
    case TEST_NE:
        return order != 0;
    case TEST_LT:
        return order < 0;
    case TEST_LE:
        return order <= 0;
    case TEST_GT:
        return order > 0;
    case TEST_GE:
        return order >= 0;
    }
    return false;
}

static const char *int_text(char *out, size_t cap, struct test_int v) {
    if (v.negative) {
        snprintf(out, cap, "%" PRId64, (int64_t)v.bits);
    } else {
        snprintf(out, cap, "%" PRIu64, v.bits);
    }
    return out;
}

void test_check_int(struct test_at at, struct test_int a, enum test_op op, struct test_int b) {
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    char a_text[32], b_text[32];
    if (!holds(compare(a, b), op)) {
        test_fail(at.file, at.line, "%s %s %s\n  left:  %s\n  right: %s", at.actual, signs[op],
                  at.expected, int_text(a_text, sizeof a_text, a),
                  int_text(b_text, sizeof b_text, b));
    }
}

void test_check_ptr(struct test_at at, const void *a, const void *b) {
    if (a != b) {
        test_fail(at.file, at.line, "%s == %s\n  left:  %p\n  right: %p", at.actual, at.expected, a,
                  b);
    }
}

static const char *shown(const char *s) {
    return s ? s : "(NULL)";
}

void test_check_str(struct test_at at, const char *a, const char *b) {
    if (a != b && (!a || !b || strcmp(a, b) != 0)) {
        test_fail(at.file, at.line, "%s == %s\n  actual:   \"%s\"\n  expected: \"%s\"", at.actual,
                  at.expected, shown(a), shown(b));
    }
}

void test_check_contains(struct test_at at, const char *a, const char *part) {
    if (!a || !part || !strstr(a, part)) {
        test_fail(at.file, at.line, "%s contains %s\n  actual: \"%s\"\n  part:   \"%s\"", at.actual,
                  at.expected, shown(a), shown(part));
    }
}

/* A line of up to 16 bytes from `from` on, in hex and as text. */
static void print_bytes(const char *label, const unsigned char *p, size_t len, size_t from) {
    size_t end = len - from < 16 ? len : from + 16;
    printf("  %-9s", label);
    for (size_t i = from; i < end; i++) {
        printf(" %02x", p[i]);
    }
    printf("  |");
    for (size_t i = from; i < end; i++) {
        putchar(p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '.');
    }
    printf("|\n");
}

void test_check_mem(struct test_at at, const void *a, size_t a_len, const void *b, size_t b_len) {
    const unsigned char *pa = a, *pb = b;
    size_t same = 0;
    while (same < a_len && same < b_len && pa[same] == pb[same]) {
        same++;
    }
    if (same == a_len && same == b_len) {
        return;
    }
    flockfile(stdout);
    printf("bytes differ from %zu on:\n", same);
    print_bytes("actual:", pa, a_len, same);
    print_bytes("expected:", pb, b_len, same);
    test_fail(at.file, at.line, "%s == %s (%zu and %zu bytes)", at.actual, at.expected, a_len,
              b_len);
}

/* ---- Waiting -------------------------------------------------------------------------------- */

int64_t test_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct test_wait test_wait_start(int64_t deadline_ms) {
    return (struct test_wait){test_now_ms() + deadline_ms, 200};
}

/* Pause before the condition is asked again: short at first, since most hold within a moment. False
 * once the deadline has passed and the condition was asked after it. */
bool test_wait_more(struct test_wait *w) {
    if (w->end_ms < 0) {
        return false;
    }
    if (test_now_ms() >= w->end_ms) {
        w->end_ms = -1; /* ask one last time: we may just have been slow */
        return true;
    }
    struct timespec pause = {0, (long)w->pause_us * 1000};
    nanosleep(&pause, NULL);
    w->pause_us = w->pause_us < 10000 ? w->pause_us * 2 : w->pause_us;
    return true;
}

bool wait_until(int64_t deadline_ms, test_condition *fn, void *arg) {
    struct test_wait w = test_wait_start(deadline_ms);
    while (!fn(arg)) {
        if (!test_wait_more(&w)) {
            return false;
        }
    }
    return true;
}

/* ---- Surroundings --------------------------------------------------------------------------- */

const char *test_dir(void) {
    return test_surroundings.dir;
}

uint64_t test_seed(void) {
    return test_surroundings.seed;
}

bool test_sanitized(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}
