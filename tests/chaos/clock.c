/* clock.c - a library to preload (LD_PRELOAD): the wall clock is off by as many ms as the file named
 * by CHAOS_CLOCK says, from one moment to the next, for each process that maps it. The clocks that
 * measure how long something takes (CLOCK_MONOTONIC, CLOCK_BOOTTIME) are true, as they are on a
 * machine whose clock is set. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static _Atomic int64_t none;
static _Atomic int64_t *_Atomic shared; /* NULL: not asked for yet */

static int64_t offset_ms(void) {
    _Atomic int64_t *at = atomic_load(&shared);
    if (at == NULL) {
        const char *path = getenv("CHAOS_CLOCK");
        int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *map = fd >= 0 ? mmap(NULL, sizeof *at, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        if (fd >= 0)
            close(fd);
        at = map != MAP_FAILED ? map : &none;
        atomic_store(&shared, at);
    }
    return atomic_load(at);
}

/* By the system call: whoever else stands between, a sanitizer, is not to be asked through us. */
EXPORTED int clock_gettime(clockid_t clock, struct timespec *t) {
    int result = (int)syscall(SYS_clock_gettime, clock, t);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        t->tv_sec += (time_t)(offset_ms() / 1000);
    return result;
}

EXPORTED int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
    struct timespec t;
    (void)tz;
    if (clock_gettime(CLOCK_REALTIME, &t) == 0)
        *tv = (struct timeval){t.tv_sec, (suseconds_t)(t.tv_nsec / 1000)};
    return 0;
}

EXPORTED time_t time(time_t *out) {
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL)
        *out = t.tv_sec;
    return t.tv_sec;
}
