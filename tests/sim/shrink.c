#include "shrink.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

static size_t count(const bool kept[], size_t n) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        left += kept[i];
    }
    return left;
}

/* Leave out `chunk` steps from `at` on; where the rest does not fail, put them back. `spare` has
 * room for the program. */
static bool leave_out(bool kept[], bool spare[], size_t n, size_t at, size_t chunk,
                      shrink_run *fails, void *arg) {
    size_t end = at + chunk < n ? at + chunk : n;
    memcpy(spare, kept, n * sizeof *kept);
    memset(kept + at, 0, (end - at) * sizeof *kept);
    if (count(kept, n) == count(spare, n)) {
        return false;
    }
    if (fails(kept, n, arg)) {
        return true;
    }
    memcpy(kept, spare, n * sizeof *kept);
    return false;
}

size_t shrink(bool kept[], size_t n, int64_t deadline_ms, shrink_run *fails, void *arg) {
    int64_t end = test_now_ms() + deadline_ms;
    bool *spare = calloc(n + 1, sizeof *spare);
    CHECK(spare != NULL);
    for (size_t chunk = n; chunk > 0;) {
        bool shorter = false;
        for (size_t at = 0; at < n && test_now_ms() < end; at += chunk) {
            shorter = leave_out(kept, spare, n, at, chunk, fails, arg) || shorter;
        }
        if (test_now_ms() >= end) {
            break;
        }
        if (chunk > 1 || !shorter) {
            chunk /= 2;
        }
    }
    free(spare);
    return count(kept, n);
}
