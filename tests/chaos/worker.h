/* worker.h - the worker: one process with one role, on the public API only, that goes on whatever
 * its server does, and writes down all that it does and is told (history.h).
 *
 *     worker role=poll name=poll-1 dir=DIR url=URL stream=in group=g ...
 *
 * It ends on SIGTERM, in order, with status 0; and with another one only where something happened
 * that cannot: a call that answers what it never should, a value that is nobody's. */
#ifndef SG_CHAOS_WORKER_H
#define SG_CHAOS_WORKER_H

#include <segmenter/segmenter.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "history.h"
#include "value.h"

typedef struct work {
    /* What it was started with. */
    const char *role, *name, *dir, *url;
    const char *stream, *target, *group;
    const char *alias, *target_alias; /* the streams' names in the history, by default their own */
    const char *socket;               /* of the server itself, for the final state */
    uint64_t seed;
    unsigned keys, rate;      /* producers: keys; messages in a second */
    int64_t session, timeout; /* ms: of a consumer; the producer's delivery timeout */
    int64_t deadline;         /* ms: final state */
    unsigned bare;            /* 1: without on_loss; calls end with SEG_ELOST then */
    unsigned outputs;         /* of each input */
    unsigned partitions, drop;
    uint64_t bound;         /* of a stream that is made */
    unsigned retry, reject; /* of a thousand */

    history *h;
    uint64_t in, out, of_group; /* names in the history */
    uint64_t chance;
    unsigned opened; /* producers and consumers so far: each has a name of its own */
} work;

extern atomic_bool work_over; /* SIGTERM came */

/* seg_consumer_stop() this one when it comes; NULL: none, before it is closed. */
void work_may_stop(seg_consumer *c);

/* The roles: each returns when work_over is set. */
void work_produce(work *w);      /* seg_send_async */
void work_produce_sync(work *w); /* seg_send, from two threads */
void work_poll(work *w);         /* poll, acknowledge in any order, commit now and then */
void work_come_and_go(work *w);  /* the same, joining and leaving */
void work_handle(work *w);       /* seg_consumer_run, with failures */
void work_forward(work *w);      /* poll, outputs, acknowledge */
void work_forward_run(work *w);  /* the same by handlers */
void work_watch(work *w);        /* looks at the groups from outside */
void work_create(work *w);       /* makes a stream */
void work_final(work *w);        /* waits until all is drained, writes down the final state */

/* ---- What they share ------------------------------------------------------------------------ */

uint64_t work_chance(work *w, uint64_t below); /* at random, 0 to below - 1 */
void work_pause(int64_t ms);                   /* ends early on SIGTERM */
int64_t work_now_ms(void);
_Noreturn void work_broken(const work *w, const char *what, const char *detail);
/* Say on stderr, which is the worker's log. */
void work_say(const work *w, const char *what, seg_status s, const seg_error *err);

/* Whose losses they are. */
typedef struct work_loss {
    work *w;
    uint64_t stream, producer, group, member;
} work_loss;
/* It was told SEG_ELOST, and no more. */
void work_lost(const work_loss *l);
/* The on_loss of producers and consumers; `arg` is a work_loss. */
void work_on_loss(const seg_loss *loss, void *arg);

/* Open it, again and again; NULL once work_over is set. `loss`: for its on_loss, or NULL. */
seg_client *work_client(work *w);
seg_producer *work_producer(work *w, seg_client *c, const char *stream, char name[VALUE_NAME],
                            work_loss *loss);
/* After this there is nothing to be had from a producer: open another one. */
bool work_ruined(seg_status s);

/* The seg_record of a value; both buffers have to outlive it. */
typedef struct work_message {
    char key[32], bytes[VALUE_MAX];
    seg_record record;
    uint32_t crc;
} work_message;
void work_message_init(work_message *m, const value *v);

/* A consumer with all that is written down of it. */
typedef struct reader {
    work *w;
    seg_consumer *consumer;
    uint64_t member;
    work_loss loss;
    bool lost; /* its last poll ended with SEG_ELOST, which may have been no end */
} reader;

/* False: not possible now, or over. */
bool reader_open(reader *r, work *w, seg_client *c, bool handlers);
void reader_close(reader *r);
/* Its poll, or run, ended with this: true where it was told of a loss by that, and can go on. */
bool reader_goes_on(reader *r, seg_status s, const seg_error *err);
/* It is over; writes down what was told. */
void reader_ended(reader *r, seg_status s, const seg_error *err);
void reader_delivered(reader *r, const seg_message *m, value *v, uint64_t polled);
/* Invoked; what a handler returns is done before it returns. */
history_record reader_settling(const reader *r, const seg_delivery *d, seg_verdict verdict);
seg_status reader_settle(reader *r, const seg_delivery *d, seg_verdict verdict);
void reader_commit(reader *r);
history_record reader_record(const reader *r, unsigned kind);

#endif
