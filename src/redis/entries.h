/* entries.h - the answer to an XREAD, read as it comes. The value of an entry goes from the socket
 * into the block that a consumer will deliver from; of all else nothing is kept. So there is no tree
 * of replies, and no copy.
 *
 *   [[key, [[id, ["b", value]], ...]], ...]
 *
 * What does not have this form ends the connection; the bytes of an entry may be anything. */
#ifndef SG_REDIS_ENTRIES_H
#define SG_REDIS_ENTRIES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/block.h"
#include "core/names.h"

/* A partition's log, and from where on it is read. */
typedef struct sg_fetch_from {
    const char *key;
    uint64_t era, offset; /* the first offset wanted, and the era of the one before it */
} sg_fetch_from;

typedef struct sg_entry {
    size_t from;          /* index of what was asked for */
    uint64_t era, offset; /* its ID; offset UINT64_MAX: none of ours */
    sg_block *block;      /* not opened */
    const char *why; /* there is none: because it has not just the field "b", or too much in it */
} sg_entry;

/* What the next bytes belong to. */
typedef enum sg_entries_at {
    SG_AT_ANSWER, /* nothing of it has come */
    SG_AT_OTHER,  /* it is for somebody else */
    SG_AT_STREAM,
    SG_AT_KEY,
    SG_AT_ENTRIES,
    SG_AT_ENTRY,
    SG_AT_ID,
    SG_AT_FIELDS,
    SG_AT_NAME,
    SG_AT_VALUE,
    SG_AT_FOREIGN, /* the fields of an entry that is not ours */
    SG_AT_END
} sg_entries_at;

typedef struct sg_entries {
    sg_pool *pool;
    sg_entry *list;
    size_t count, room;
    bool nothing; /* the answer was a nil */
    bool starved; /* there was no memory: what came from there on is not in the list */
    const char *fault;

    /* What was asked for. */
    const sg_fetch_from *from;
    size_t n_from;
    uint64_t most; /* entries of each */

    /* Where we are. */
    sg_entries_at at;
    size_t streams, stream; /* still to come; the one that came last is stream - 1 */
    uint64_t left, fields;  /* entries of it; strings of the entry */
    char line[24];          /* the head of what comes next, as far as it is there */
    size_t line_len;
    bool inside;           /* a string: */
    size_t expected, have; /* its bytes, with the end of line, and those that are there */
    uint8_t *to;           /* where they go; NULL: nowhere */
    char text[SG_KEY_MAX]; /* a key, an ID or a name */
    size_t last_value;     /* bytes of the largest of late: a guess at those that come */
} sg_entries;

void sg_entries_init(sg_entries *e, sg_pool *pool); /* of the blocks' memory; outlives it */
/* An answer is to come, to a question for these, which stay as they are until it is there. What
 * was not taken of the one before is let go of. */
void sg_entries_expect(sg_entries *e, const sg_fetch_from *from, size_t n, uint64_t most);
/* Let go of all blocks that were not taken. Those that take one set it to NULL. */
void sg_entries_clear(sg_entries *e);
void sg_entries_fini(sg_entries *e);

typedef enum sg_entries_state {
    SG_ENTRIES_MORE,  /* it is not whole yet */
    SG_ENTRIES_DONE,  /* it is */
    SG_ENTRIES_OTHER, /* it is no array: no byte of it was used. Right only where it is an error */
    SG_ENTRIES_BROKEN /* `fault` says why */
} sg_entries_state;

/* The next bytes; `*used` of them belong to this answer. */
sg_entries_state sg_entries_feed(sg_entries *e, const uint8_t *data, size_t n, size_t *used);

/* In the middle of a value: the place for the bytes that come next, and how many. 0: feed it. */
size_t sg_entries_place(const sg_entries *e, uint8_t **to);
void sg_entries_placed(sg_entries *e, size_t n); /* so many came there */
#endif
