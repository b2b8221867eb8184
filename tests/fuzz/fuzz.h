/* fuzz.h - what the targets share. A target is one file, fuzz_NAME.c, with one function: it runs an
 * input that anybody may have made, and ends the process where something that must hold for every
 * input does not. It keeps nothing from one input to the next.
 *
 *     scripts/fuzz NAME              look for new inputs for ten seconds
 *     tests/fuzz/corpus/NAME/        the inputs that are kept: each reaches something of its own
 *     tests/fuzz/NAME.dict           words that are hard to guess */
#ifndef SG_FUZZ_H
#define SG_FUZZ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition))

_Noreturn static inline void fuzz_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

/* An input is taken apart from its front. Past its end there are zeros. */
typedef struct fuzz_input {
    const uint8_t *at;
    size_t len;
} fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in) {
    if (in->len == 0)
        return 0;
    in->len--;
    return *in->at++;
}

static inline uint64_t fuzz_number(fuzz_input *in, unsigned bytes) {
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)fuzz_byte(in) << (8 * i);
    return v;
}

/* The next `n` bytes, or fewer where it ends. */
static inline fuzz_input fuzz_take(fuzz_input *in, size_t n) {
    fuzz_input part = {in->at, n < in->len ? n : in->len};
    in->at += part.len;
    in->len -= part.len;
    return part;
}

static inline void *fuzz_alloc(size_t n) {
    void *p = malloc(n > 0 ? n : 1);
    FUZZ_CHECK(p != NULL);
    return p;
}

/* A copy of just that size: who reads past its end is found out. The caller frees it. */
static inline uint8_t *fuzz_copy(fuzz_input part) {
    uint8_t *copy = fuzz_alloc(part.len);
    if (part.len > 0)
        memcpy(copy, part.at, part.len);
    return copy;
}

/* The same as a string, which ends at the first NUL. */
static inline char *fuzz_text(fuzz_input part) {
    size_t n = part.len > 0 ? strnlen((const char *)part.at, part.len) : 0;
    char *copy = fuzz_alloc(n + 1);
    if (n > 0)
        memcpy(copy, part.at, n);
    copy[n] = '\0';
    return copy;
}
#endif
