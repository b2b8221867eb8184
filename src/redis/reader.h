/* reader.h - the bytes of one socket, as answers. Knows no requests and no connection states. */
#ifndef SG_REDIS_READER_H
#define SG_REDIS_READER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "redis/reply.h"

typedef struct sg_reader {
    void *parser;      /* the protocol library's */
    void *makers;      /* how it makes its objects, */
    void *original;    /* and how it would by itself */
    const char *fault; /* why one was not made; else NULL */
    uint8_t *chunk;    /* what the last receive brought: [at, have) is not parsed yet */
    size_t size, at, have;
    bool brimful; /* and that was all there was room for: more may be there */
    bool by_line; /* bytes behind an answer are for another: see sg_reader_next */
} sg_reader;

bool sg_reader_init(sg_reader *r); /* false: no memory; as zeroed then. It must not be moved */
void sg_reader_fini(sg_reader *r); /* a zeroed one too; it is zeroed after */

/* Receive once, when sg_reader_next has given all it has: up to `n` bytes into `place`, which are
 * none of the reader's, and those after them, `most` at most, into the reader. Bytes in all; 0 at the
 * end of the stream; -1 with errno (EAGAIN: nothing there now). */
ssize_t sg_reader_fill(sg_reader *r, int fd, void *place, size_t n, size_t most);
/* What it was not asked for yet: `*n` bytes, and some of them are for another. */
const uint8_t *sg_reader_rest(const sg_reader *r, size_t *n);
void sg_reader_pass(sg_reader *r, size_t n);

/* The next whole answer, the caller's: sg_reply_free. NULL: more bytes are needed, or the stream is
 * broken for good (no protocol of ours, no memory): then `*why` is its text, valid until fini. It
 * may have taken bytes of those that follow; with `by_line` it has not. */
sg_reply *sg_reader_next(sg_reader *r, const char **why);
/* It is broken, and the reason is that there was no memory. */
bool sg_reader_starved(const sg_reader *r);

void sg_reply_free(sg_reply *r);
#endif
