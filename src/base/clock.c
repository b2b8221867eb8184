/* clock.c - CLOCK_MONOTONIC would stop while the machine sleeps, and a lease would seem to live on
 * that the server let run out long ago: hence CLOCK_BOOTTIME. */
#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t sg_clock_ms(void) {
    return read_us(CLOCK_BOOTTIME) / 1000;
}

int64_t sg_clock_us(void) {
    return read_us(CLOCK_BOOTTIME);
}

int64_t sg_clock_wall_ms(void) {
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t sg_clock_after(int64_t now, int64_t wait) {
    if (wait <= 0)
        return now;
    return now > INT64_MAX - wait ? INT64_MAX : now + wait;
}
