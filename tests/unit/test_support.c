/* The test framework tests itself: checks that hold are silent, and checks that do not end the case
 * are tried in a child of this case. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.h"
#include "test.h"

/* Run `fn` in a child; returns its exit status and what it printed. */
static int run(void (*fn)(void), char *out, size_t cap) {
    int pipes[2], status = 0;
    CHECK_EQ(pipe(pipes), 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        fn();
        _exit(0);
    }
    close(pipes[1]);
    size_t len = 0;
    ssize_t n;
    while (len < cap - 1 && (n = read(pipes[0], out + len, cap - 1 - len)) > 0) {
        len += (size_t)n;
    }
    out[len] = 0;
    close(pipes[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(checks_that_hold) {
    seg_error err = {SEG_OK, ""};
    uint64_t big = UINT64_MAX;
    CHECK(1 + 1 == 2);
    CHECK_EQ(-1, (int64_t)-1);
    CHECK_EQ((uint8_t)200, 200);
    CHECK_EQ(true, 1);
    CHECK_NE(-1, big);
    CHECK_LT(-1, 0u);
    CHECK_GT(big, INT64_MAX);
    CHECK_LE(INT64_MIN, -5);
    CHECK_GE(7, 7);
    CHECK_STR("a", "a");
    CHECK_STR(NULL, NULL);
    CHECK_CONTAINS("partition 3", "on 3");
    CHECK_MEM("a\0b", 3, "a\0b", 3);
    CHECK_MEM("", 0, NULL, 0);
    CHECK_PTR(&err, &err);
    CHECK_OK(SEG_OK, &err);
}

static void unequal_ints(void) {
    CHECK_EQ(2 + 2, 5);
}

static void signed_and_unsigned(void) {
    CHECK_EQ(-1, UINT64_MAX);
}

static void unequal_strings(void) {
    CHECK_STR("left", NULL);
}

static void unequal_bytes(void) {
    CHECK_MEM("abc\1", 4, "abd", 3);
}

static void wrong_status(void) {
    seg_error err = {SEG_ECONN, "no connection to \"there\""};
    CHECK_OK(SEG_ECONN, &err);
}

static void never(void) {
    WAIT_FOR(5, 1 > 2);
}

TEST(a_failed_check_prints_both_values) {
    static const struct {
        void (*fn)(void);
        const char *parts[3];
    } cases[] = {
        {unequal_ints, {"2 + 2 == 5", "left:  4", "right: 5"}},
        {signed_and_unsigned, {"-1", "left:  -1", "right: 18446744073709551615"}},
        {unequal_strings, {"test_support.c:", "\"left\"", "\"(NULL)\""}},
        {unequal_bytes, {"from 2 on", "63 01", "|d|"}},
        {wrong_status, {"ECONN (7)", "no connection to \"there\"", "OK (0)"}},
        {never, {"1 > 2", "5 ms", "seed"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[4096];
        CHECK_EQ(run(cases[i].fn, out, sizeof out), 1);
        for (int k = 0; k < 3; k++) {
            CHECK_CONTAINS(out, cases[i].parts[k]);
        }
    }
}

static bool count_down(void *arg) {
    int *n = arg;
    return --*n <= 0;
}

static bool is_false(void *arg) {
    (void)arg;
    return false;
}

TEST(waiting_ends_with_the_condition_or_the_deadline) {
    int n = 3;
    CHECK(wait_until(60000, count_down, &n));
    CHECK_EQ(n, 0);
    int64_t start = test_now_ms();
    CHECK(!wait_until(30, is_false, NULL));
    CHECK_GE(test_now_ms() - start, 30);
}

TEST(a_case_has_an_empty_directory) {
    char path[64];
    CHECK_EQ(strncmp(test_dir(), "/tmp/sg", 7), 0);
    CHECK_LT(strlen(test_dir()), 20);
    snprintf(path, sizeof path, "%s/file", test_dir());
    CHECK(access(path, F_OK) != 0);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fclose(f);
}

/* This program run again, with cases that fail: what the runner makes of them. */
static bool inner(void) {
    return getenv("SG_INNER_TEST") != NULL;
}

TEST_DEADLINE(inner_hangs, 1) {
    if (inner()) {
        for (;;) {
            pause();
        }
    }
}

TEST(inner_crashes) {
    if (inner()) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
}

TEST(inner_fails) {
    CHECK_EQ(inner() ? 1 : 0, 0);
}

TEST(inner_skips) {
    if (inner()) {
        SKIP("because it is told to");
    }
}

TEST(the_runner_names_what_failed_and_goes_on) {
    char self[512], command[700], out[16384];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) {
        SKIP("no /proc");
    }
    self[n] = 0;
    snprintf(command, sizeof command, "SG_INNER_TEST=1 '%s' -j 2 inner checks_that_hold", self);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    out[fread(out, 1, sizeof out - 1, f)] = 0;
    CHECK_EQ(WEXITSTATUS(pclose(f)), 1);
    CHECK_CONTAINS(out, "not ok " TEST_SUITE ".inner_hangs\n");
    CHECK_CONTAINS(out, "no end after");
    CHECK_CONTAINS(out, "not ok " TEST_SUITE ".inner_crashes\n");
    CHECK_CONTAINS(out, "signal 11");
    CHECK_CONTAINS(out, "not ok " TEST_SUITE ".inner_fails\n");
    CHECK_CONTAINS(out, "skip " TEST_SUITE ".inner_skips because it is told to\n");
    CHECK_CONTAINS(out, "ok " TEST_SUITE ".checks_that_hold ");
    CHECK_CONTAINS(out, "\n1 passed, 3 failed\n");
}
