/* letters.h - a consumer's dead letters: messages on their way to the stream
 * "<stream>.<group>.dlq".
 *
 *   bury (settle, expire, convict) ──> queue ──sg_letters_run──> producer ──stored──> settled
 *                                        └── not yet: a thread makes the stream ──┘
 *
 * A letter is an output of its message (sg_producer_forward): the same identity each time, so
 * however often a consumer dies between storing it and committing, it is stored once. Until then
 * its message is not settled, so it cannot be lost either. */
#ifndef SG_ENGINE_LETTERS_H
#define SG_ENGINE_LETTERS_H
#include <pthread.h>
#include <segmenter/segmenter.h>

#include "base/list.h"
#include "core/backoff.h"
#include "core/block.h"
#include "engine/producer.h"

/* The headers that make a dead letter: appended behind the message's own, in this order. */
#define SG_LETTER_HEADERS(X)                                                                       \
    X(STREAM, "sg-origin-stream")                                                                  \
    X(PARTITION, "sg-origin-partition")                                                            \
    X(ERA, "sg-origin-era")                                                                        \
    X(OFFSET, "sg-origin-offset")                                                                  \
    X(GROUP, "sg-group")                                                                           \
    X(ATTEMPTS, "sg-attempts")                                                                     \
    X(REASON, "sg-reason")                                                                         \
    X(ERROR, "sg-error")                                                                           \
    X(FIRST, "sg-first-failed")                                                                    \
    X(LAST, "sg-last-failed")
typedef enum sg_letter_header {
#define X(name, text) SG_LETTER_##name,
    SG_LETTER_HEADERS(X)
#undef X
        SG_LETTER_COUNT
} sg_letter_header;
extern const char *const sg_letter_names[SG_LETTER_COUNT];

#define SG_DLQ_GROUP       "dlq" /* what is not acknowledged by it is still there */
#define SG_DLQ_MESSAGES    1000000
#define SG_REASON_REJECTED "rejected"
#define SG_REASON_ATTEMPTS "max-attempts"
#define SG_REASON_TIMEOUT  "ack-timeout"
#define SG_REASON_CRASHED  "crashed"
#define SG_REASON_TEXT_MAX 255

typedef struct sg_letter {
    sg_node node; /* in the queue */
    seg_consumer *consumer;
    uint32_t partition, attempts;
    uint64_t era, offset;
    sg_forward_id id;
    int64_t first, last;
    uint64_t number; /* they keep the order of their birth */
    const char *why;
    char *error; /* the application's reason; may be NULL */
    sg_block *block;
} sg_letter;

typedef enum sg_letters_state {
    SG_LETTERS_NONE,
    SG_LETTERS_OPENING,
    SG_LETTERS_OPEN
} sg_letters_state;

typedef struct sg_letters { /* guarded by the consumer's lock */
    sg_list queue;
    size_t count; /* in the queue or under way */
    uint64_t born;
    sg_letters_state state;
    bool threaded; /* `thread` is to be joined */
    pthread_t thread;
    seg_producer *producer, *stale; /* stale: to be closed by the thread, as its stream is gone */
    int64_t not_before;
    sg_backoff backoff;
    bool told; /* a fault was logged since the last success */
} sg_letters;

/* The stream's name; false where it would be too long. */
bool sg_dlq_name(char out[201], const char *stream, const char *group);

void sg_letters_init(sg_letters *l);
/* Loop thread, no lock held: send what there is. Returns when to be called again. */
int64_t sg_letters_run(seg_consumer *c, int64_t now);
/* Application thread, no lock held, the consumer detached: end all. */
void sg_letters_close(seg_consumer *c);
void sg_letter_free(sg_letter *l);
#endif
