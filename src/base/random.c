/* random.c - the kernel for ids, splitmix64 for all that only has to look random. */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

bool sg_random_bytes(void *p, size_t n) {
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

bool sg_random_id(char out[33]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    if (!sg_random_bytes(bytes, sizeof bytes))
        return false;
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[32] = '\0';
    return true;
}

uint64_t sg_rng_next(sg_rng *r) {
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sg_rng_below(sg_rng *r, uint64_t n) {
    /* What is left of 2^64 after as many n as fit is dropped, so that no result is favoured. */
    uint64_t left_over = (0 - n) % n;
    uint64_t v;
    do
        v = sg_rng_next(r);
    while (v < left_over);
    return v % n;
}
