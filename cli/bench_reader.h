/* bench_reader.h - a member of a plain consumer group, the baseline of bench consume: XREADGROUP over its
 * share of the streams, and an XACK of all that came for each stream of an answer. */
#ifndef SEGMENTER_CLI_BENCH_READER_H
#define SEGMENTER_CLI_BENCH_READER_H
#include "bench.h"

typedef struct bench_reader {
    const char *group;
    bench_raw *raw;
    bench_commands read; /* XREADGROUP */
    bench_commands ids;  /* of the latest answer, one after another, */
    bench_commands acks; /* and what acknowledges them */
    size_t n_acks;
    seg_bytes *words; /* XACK stream group id ..., as far as it has come */
    size_t n_words;
    char stream[64];
    uint64_t total;   /* entries in its streams */
    uint64_t entries; /* that came */
} bench_reader;

/* Its streams are every so many-th, as there are clients, from the index-th on. Makes the group there.
 * In any case bench_reader_fini(). */
int bench_reader_init(bench_reader *r, const bench *b, const char *group, uint32_t index);
/* Read and acknowledge all that is there. */
int bench_reader_run(bench_reader *r);
void bench_reader_fini(bench_reader *r);

#endif
