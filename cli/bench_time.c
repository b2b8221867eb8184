/* bench_time.c - a clock, and schedules of what is sent at a steady rate. */
#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench.h"

int64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bench_schedule bench_schedule_from(int64_t start_ns, int64_t rate) {
    return (bench_schedule){start_ns, 1e9 / (double)rate};
}

int64_t bench_schedule_at(const bench_schedule *s, uint64_t i) {
    return s->start_ns + (int64_t)((double)i * s->interval_ns);
}

uint64_t bench_schedule_due(const bench_schedule *s, int64_t now_ns) {
    int64_t passed = now_ns - s->start_ns;
    return passed < 0 ? 0 : (uint64_t)((double)passed / s->interval_ns) + 1;
}

void bench_sleep_until(int64_t ns) {
    /* Without this the kernel may wake us 50 us late, to spare a wake-up. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    struct timespec at = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}
