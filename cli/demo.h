/* demo.h - the parts of segmenter demo.
 *
 *     demo.c ── sends ──> private server ──> demo_consumer.c (one process each)
 *       │                                          │
 *       │ <──────────── demo_event, by pipe ───────┘
 *       ├── demo_check.c  keeps every event, and judges them all in the end
 *       └── demo_view.c   shows partitions, owners and lag meanwhile */
#ifndef SEGMENTER_CLI_DEMO_H
#define SEGMENTER_CLI_DEMO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <segmenter/segmenter.h>

enum { DEMO_PARTITIONS = 8, DEMO_CONSUMERS = 4 };

#define DEMO_STREAM "orders"
#define DEMO_GROUP  "demo"

/* ---- What a consumer reports ----------------------------------------------------------------- */

typedef enum demo_kind {
    DEMO_HANDLED = 1, /* one message */
    DEMO_COMMITTED,   /* all that this consumer reported before is committed */
    DEMO_FENCED,      /* it is not known what of that is: a partition moved away before */
    DEMO_CORRUPT      /* a message that the demo did not send, or in a wrong partition */
} demo_kind;

/* Sent as it is through a pipe between two processes of one program. */
typedef struct demo_event {
    int64_t at_us; /* on the monotonic clock, which all processes of a machine share */
    uint64_t offset;
    uint64_t epoch;
    uint32_t kind;
    uint32_t message; /* its number: sequence * keys + key */
    uint32_t partition;
    uint32_t attempt;
    uint32_t member; /* filled in by the receiver */
    uint32_t padding;
} demo_event;

/* The key and value of a message, and the way back. */
enum { DEMO_VALUE_SIZE = 100 };
size_t demo_key(char out[16], uint32_t message, uint32_t keys);
void demo_value(char out[DEMO_VALUE_SIZE + 1], uint32_t message, uint32_t keys);
bool demo_parse(const seg_message *m, uint32_t keys, uint32_t *message);

/* ---- The check (demo_check.c) ---------------------------------------------------------------- */

typedef struct demo_check {
    uint32_t messages, keys;
    struct demo_stored *stored; /* events in the order of their arrival */
    size_t n, capacity;
    unsigned char *seen;         /* of each message */
    uint64_t distinct;           /* messages handled */
    uint64_t redelivered;        /* handled again */
    bool taken[DEMO_PARTITIONS]; /* held by the consumer that was killed */
    uint32_t killed;             /* its number */
    int64_t killed_us;           /* 0: not yet */
    int64_t takeover_us;         /* from there to the first message of another; -1: not yet */
} demo_check;

typedef struct demo_result {
    uint64_t lost;         /* never handled */
    uint64_t duplicated;   /* handled after it was committed, or stored twice */
    uint64_t out_of_order; /* handled before an earlier one of its key */
    uint64_t corrupt;
} demo_result;

void demo_check_init(demo_check *c, uint32_t messages, uint32_t keys);
void demo_check_add(demo_check *c, const demo_event *e);
demo_result demo_check_finish(demo_check *c);
void demo_check_fini(demo_check *c);

/* ---- The view (demo_view.c) ------------------------------------------------------------------ */

typedef struct demo_view {
    bool ansi, color;
    int drawn; /* lines of the table on the terminal */
    int64_t last_us, rate_us;
    uint64_t rate_handled;
    double rate; /* messages handled in a second */
} demo_view;

typedef struct demo_status {
    int64_t elapsed_us;
    uint64_t sent;
    const demo_check *check;
    const seg_group_info *group; /* may be NULL */
} demo_status;

void demo_view_init(demo_view *v);
/* True where it is time for the next picture. */
bool demo_view_due(const demo_view *v, int64_t now_us);
void demo_view_draw(demo_view *v, int64_t now_us, const demo_status *s);
/* One line that stays. */
void demo_view_event(demo_view *v, int64_t elapsed_us, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
