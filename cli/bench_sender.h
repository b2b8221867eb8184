/* bench_sender.h - who sends the messages of a run: our producers, or the baseline's connections. One
 * client, or connection, for each of --clients, and a thread for each while they send. */
#ifndef SEGMENTER_CLI_BENCH_SENDER_H
#define SEGMENTER_CLI_BENCH_SENDER_H
#include "bench.h"

typedef struct bench_outcomes {
    uint64_t stored, failed;
    seg_error first;
} bench_outcomes;

typedef struct bench_senders {
    seg_client **clients;
    seg_producer **producers;
    bench_outcomes *outcomes; /* of each; closing a producer still tells of what it gives up */
    size_t n;
    uint64_t batches; /* of what was sent */
} bench_senders;

/* Clients and producers of the stream b->id. In any case bench_senders_close(). */
int bench_senders_open(bench_senders *s, bench *b);
/* Send `messages`, and wait until all are stored. */
int bench_senders_run(bench_senders *s, bench *b, uint64_t messages);
void bench_senders_close(bench_senders *s);
/* CLI_FAILURE, with a report, where the stream does not hold so many. */
int bench_senders_check(bench *b, uint64_t messages);

/* ---- The baseline ------------------------------------------------------------------------------ */

/* XADDs, as they go over the wire; message i is number i % n. */
typedef struct bench_xadds {
    bench_commands commands;
    size_t *at;    /* where each begins; and the end */
    size_t *id_at; /* and where its ID does */
    size_t n;
    size_t window; /* so many are sent at once */
} bench_xadds;

/* One for each message of the load, with this ID. */
void bench_xadds_init(bench_xadds *x, const bench *b, const char *id);
/* `size` bytes each, the partitions in turn. */
void bench_xadds_init_large(bench_xadds *x, const bench *b, size_t size);
void bench_xadds_fini(bench_xadds *x);

typedef struct bench_raws {
    bench_raw **raws;
    size_t n;
} bench_raws;

int bench_raws_open(bench_raws *r, bench *b);
/* Send `messages` and wait for their replies. */
int bench_raws_run(bench_raws *r, bench *b, const bench_xadds *x, uint64_t messages);
void bench_raws_close(bench_raws *r);
/* CLI_FAILURE, with a report, where the baseline's streams do not hold so many. */
int bench_raws_check(bench *b, uint64_t messages);

#endif
