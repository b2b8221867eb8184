/* runner.h - what the parent (runner.c) and the checks in the child (test.c) share. Not for tests.
 */
#ifndef SG_TEST_RUNNER_H
#define SG_TEST_RUNNER_H

#include <stdint.h>

/* Exit statuses of a case's process; 0 is success, all others are failures. */
enum { TEST_EXIT_FAILED = 1, TEST_EXIT_SKIPPED = 77 };

/* Set before the case is forked. */
struct test_surroundings {
    char dir[32];
    uint64_t seed;
};
extern struct test_surroundings test_surroundings;

#endif
