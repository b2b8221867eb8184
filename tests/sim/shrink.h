/* shrink.h - find a short program that still fails.
 *
 * A program is a list of steps that mean something whichever of the others are left out. */
#ifndef SG_TEST_SHRINK_H
#define SG_TEST_SHRINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs what is kept of the program from its beginning; true where it fails. */
typedef bool shrink_run(const bool kept[], size_t n, void *arg);

/* `kept` is a program that fails. Leaves out what is not needed for that: chunks, then single
 * steps, until none can be left out or `deadline_ms` have passed. Returns how many are left. */
size_t shrink(bool kept[], size_t n, int64_t deadline_ms, shrink_run *fails, void *arg);

#endif
