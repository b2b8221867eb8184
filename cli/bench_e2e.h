/* bench_e2e.h - the two sides of bench e2e: ours, and plain commands in bench_e2e_raw.c. */
#ifndef SEGMENTER_CLI_BENCH_E2E_H
#define SEGMENTER_CLI_BENCH_E2E_H
#include <stdatomic.h>

#include "bench_sender.h"

typedef struct bench_e2e {
    bench b;
    bench_report report;
    uint64_t messages;
    bench_schedule schedule;
    atomic_int phase; /* of the sender */
    /* The receiver's, until it has ended. */
    cli_histogram latency;
    unsigned char *seen; /* of each message: how often it came */
    uint64_t received;
    /* Ours. */
    seg_client *clients[2];
    seg_producer *producer;
    seg_consumer *consumer;
    /* The baseline. */
    bench_xadds xadds; /* with BENCH_E2E_ID */
    bench_raw *sender, *reader;
    bench_commands read; /* XREAD */
    size_t *last_ids;    /* where in it each stream's ID is */
    size_t unread;       /* replies to XADD */
} bench_e2e;

#define BENCH_E2E_ID "100000000000-0" /* what an XADD has where the message's ID is to stand */

/* Message `number`, from 1 on, has come. */
void bench_e2e_note(bench_e2e *j, int64_t number, int64_t now_ns);

/* Is there more to wait for? `sent_ns`: the caller's, 0 at first. */
bool bench_e2e_expects_more(const bench_e2e *j, int64_t *sent_ns);

/* Sleep, send what is due, and so on. */
int bench_e2e_send(bench_e2e *j, int (*send)(bench_e2e *j, uint64_t from, uint64_t due));

/* The baseline: open and close its connections, send all, receive all. */
int bench_e2e_raw_open(bench_e2e *j);
void bench_e2e_raw_close(bench_e2e *j);
int bench_e2e_raw_send(bench_e2e *j);
int bench_e2e_raw_receive(bench_e2e *j);

#endif
