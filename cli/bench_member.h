/* bench_member.h - members of the group that bench rebalance moves about, and the log of what they
 * were given: a thread of this process that can join and leave, or a process that can be killed. */
#ifndef SEGMENTER_CLI_BENCH_MEMBER_H
#define SEGMENTER_CLI_BENCH_MEMBER_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "bench.h"

#define BENCH_GROUP "rebalance"

/* One delivery. A process writes them to its stdout, as they are. */
typedef struct bench_event {
    int64_t at_ns; /* on the clock that all processes of a machine share */
    uint64_t offset;
    uint32_t partition;
    uint32_t member; /* its number */
} bench_event;

typedef struct bench_log {
    pthread_mutex_t lock;
    bench_event *events; /* under lock, as all below it */
    size_t n, capacity;
    uint32_t *newest; /* of each partition: who was given something last */
    uint32_t partitions;
    atomic_bool failed; /* a member ended by itself, and has said why */
} bench_log;

#define BENCH_NOBODY UINT32_MAX

void bench_log_init(bench_log *l, uint32_t partitions);
void bench_log_fini(bench_log *l);
/* Take out what came until `until_ns`, in the order of time; the caller frees it. */
bench_event *bench_log_take(bench_log *l, int64_t until_ns, size_t *n);

typedef struct bench_member {
    bench_log *log;
    uint32_t number;
    seg_client *client; /* of a thread, */
    seg_consumer *consumer;
    pid_t pid; /* or of a process: 0 for a thread */
    int fd;    /* what it writes */
    pthread_t thread;
    bool running;
} bench_member;

/* A name that tells the number, and the number of a name. */
void bench_member_name(char out[16], uint32_t number);
uint32_t bench_member_number(const char *name);

/* Connect, so that joining is all that remains. Returns an exit code; bench_member_end() in any
 * case. */
int bench_member_init(bench_member *m, const bench *b, bench_log *log, uint32_t number);
int bench_member_join(bench_member *m, const bench *b);
/* Leave the group, or kill the process, and wait for its last deliveries. */
void bench_member_leave(bench_member *m);
void bench_member_end(bench_member *m);

/* Start a process that joins. */
int bench_member_spawn(bench_member *m, const bench *b, bench_log *log, uint32_t number);

#endif
