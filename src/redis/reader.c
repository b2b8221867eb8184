/* reader.c - receives in large pieces, parses in small ones.
 *
 * The parser moves what it has not parsed to the front of its buffer again and again as it works
 * through it, which costs the square of what it holds. So it is handed a slice at a time, and gets
 * the next one when it has made all answers out of it. A large answer is not hurt by that: the
 * parser only appends to its buffer until the whole of it is there.
 *
 * An array is made when its length is read, before any of its elements: a server that says
 * "*2147483647" gets us to ask for 16 GiB. And newer versions of the parser nest as deep as they are
 * told, but free what is nested by recursion. So both are bounded here. */
#include "redis/reader.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/alloc.h"

#define SLICE       (16 * 1024)
#define CHUNK_FIRST (16 * 1024) /* enough for connections that carry little */
#define CHUNK_MAX   (256 * 1024)
#define KEEP_MAX    (1024 * 1024) /* memory that an emptied parser keeps */

#define ELEMENTS_MAX (4 * 1024 * 1024) /* of one array: the names of all streams are the longest */
#define DEPTH_MAX    7                 /* arrays in arrays; we need four */

#if HIREDIS_MAJOR < 1
typedef int array_length;
#else
typedef size_t array_length;
#endif

static redisReader *parser(const sg_reader *r) {
    return r->parser;
}

static void *refuse(sg_reader *r, const char *why) {
    r->fault = why;
    return NULL;
}

static void *make_array(const redisReadTask *task, array_length n) {
    sg_reader *r = task->privdata;
    int depth = 1;
    for (const redisReadTask *t = task->parent; t != NULL; t = t->parent)
        depth++;
    if (depth > DEPTH_MAX)
        return refuse(r, "an array is nested too deep");
    if (n > ELEMENTS_MAX)
        return refuse(r, "an array has too many elements");
    return ((const redisReplyObjectFunctions *)r->original)->createArray(task, n);
}

bool sg_reader_init(sg_reader *r) {
    *r = (sg_reader){.size = CHUNK_FIRST};
    r->chunk = sg_alloc(r->size);
    r->parser = redisReaderCreate();
    redisReplyObjectFunctions *makers = sg_alloc(sizeof *makers);
    r->makers = makers;
    if (r->chunk == NULL || r->parser == NULL || makers == NULL) {
        sg_reader_fini(r);
        return false;
    }
    r->original = parser(r)->fn;
    *makers = *parser(r)->fn;
    makers->createArray = make_array;
    parser(r)->fn = makers;
    parser(r)->privdata = r;
    parser(r)->maxbuf = KEEP_MAX;
    return true;
}

void sg_reader_fini(sg_reader *r) {
    if (r->parser != NULL)
        redisReaderFree(r->parser);
    sg_free(r->makers);
    sg_free(r->chunk);
    *r = (sg_reader){0};
}

/* A chunk that was filled to the brim says that more is on its way. Going on with the small one is
 * fine where there is no memory. */
static void grow_chunk(sg_reader *r) {
    uint8_t *chunk = r->size < CHUNK_MAX ? sg_alloc(CHUNK_MAX) : NULL;
    if (chunk == NULL)
        return;
    sg_free(r->chunk);
    r->chunk = chunk;
    r->size = CHUNK_MAX;
}

ssize_t sg_reader_fill(sg_reader *r, int fd, void *place, size_t n, size_t most) {
    if (r->have == r->size)
        grow_chunk(r);
    r->at = r->have = 0;
    struct iovec parts[2] = {{place, n}, {r->chunk, most < r->size ? most : r->size}};
    size_t room = n + parts[1].iov_len;
    struct msghdr m = {.msg_iov = n > 0 ? parts : parts + 1, .msg_iovlen = n > 0 ? 2 : 1};
    ssize_t got;
    do {
        got = recvmsg(fd, &m, 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0 && (size_t)got > n)
        r->have = (size_t)got - n;
    r->brimful = got > 0 && (size_t)got == room;
    return got;
}

const uint8_t *sg_reader_rest(const sg_reader *r, size_t *n) {
    *n = r->have - r->at;
    return r->chunk + r->at;
}

void sg_reader_pass(sg_reader *r, size_t n) {
    r->at += n;
}

/* How many bytes the parser gets next. Each answer ends with the end of a line: a parser that gets no
 * more than one line has nothing left when it has made an answer. */
static size_t next_slice(const sg_reader *r) {
    const uint8_t *from = r->chunk + r->at;
    size_t n = r->have - r->at < SLICE ? r->have - r->at : SLICE;
    const uint8_t *end = r->by_line ? memchr(from, '\n', n) : NULL;
    return end != NULL ? (size_t)(end - from) + 1 : n;
}

sg_reply *sg_reader_next(sg_reader *r, const char **why) {
    *why = NULL;
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(r->parser, &reply) != REDIS_OK) {
            *why = r->fault != NULL ? r->fault : parser(r)->errstr;
            return NULL;
        }
        if (reply != NULL)
            return reply;
        if (r->at == r->have)
            return NULL;
        size_t n = next_slice(r);
        if (redisReaderFeed(r->parser, (const char *)r->chunk + r->at, n) != REDIS_OK) {
            *why = parser(r)->errstr;
            return NULL;
        }
        r->at += n;
    }
}

bool sg_reader_starved(const sg_reader *r) {
    return parser(r)->err == REDIS_ERR_OOM;
}

void sg_reply_free(sg_reply *r) {
    freeReplyObject(r);
}
