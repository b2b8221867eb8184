/* rig.h - what the tests of groups and consumers share: a client on a private server, a stream,
 * numbered messages, and an inbox for what comes back. Every call ends the case where it fails.
 *
 *     seg_client *c = rig_client(s);
 *     rig_stream(c, "s", 4);
 *     seg_producer *p = rig_producer(c, "s");
 *     rig_put(p, (rig_run){.partition = 2, .partitions = 4, .count = 10});     one batch of ten
 *     seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g"});
 *     rig_inbox in = {0};
 *     rig_take(k, &in, 10);
 *
 * A message's value is its number in decimal; its key falls into the partition that was asked for.
 */
#ifndef SG_TEST_RIG_H
#define SG_TEST_RIG_H

#include <segmenter/segmenter.h>
#include <sys/types.h>

#include "server.h"
#include "status.h"
#include "test.h"

enum { RIG_INBOX = 8192, RIG_MS = 25000 };

/* ---- Client, stream, producer --------------------------------------------------------------- */

seg_client *rig_client(const server *s);
/* Connect and command timeout in ms, for tests of a server that does not answer. */
seg_client *rig_client_within(const server *s, int64_t timeout);
/* `partitions` partitions of 100000 messages. */
void rig_stream(seg_client *c, const char *stream, uint32_t partitions);

/* Lingers until it is flushed, so that the test decides what is in a batch. */
seg_producer *rig_producer(seg_client *c, const char *stream);

typedef struct rig_run {
    uint32_t partition, partitions;
    unsigned first, count; /* the numbers first .. first + count - 1 */
    size_t bytes;          /* pad each value with spaces to this size; 0: not at all */
} rig_run;

/* Store a run as one batch (64 KiB permitting), and wait until it is stored. */
void rig_put(seg_producer *p, rig_run run);
/* The same as one batch for each message. */
void rig_put_singly(seg_producer *p, rig_run run);
/* The numbers first .. first + count - 1, in turn to `partitions` partitions. */
void rig_spread(seg_producer *p, uint32_t partitions, unsigned first, unsigned count);

/* A key of that partition, into `out`. */
const char *rig_key(char out[24], uint32_t partition, uint32_t partitions);

/* Chosen keys: queue one message ("" for none), padded to `bytes` (0: not at all); it is stored by
 * rig_flush, in one batch with what was queued around it. */
void rig_queue(seg_producer *p, const char *key, unsigned number, size_t bytes);
void rig_flush(seg_producer *p);
/* Store `count` messages from number `first` on as one batch, the i-th with keys[i % n_keys]. */
void rig_put_keys(seg_producer *p, const char *const keys[], size_t n_keys, unsigned first,
                  unsigned count);

/* ---- Consumer ------------------------------------------------------------------------------- */

/* Options that most tests change; zero is the library's default. */
typedef struct rig_join {
    const char *group, *name;
    int64_t session_timeout, ack_timeout, drain_timeout;
    seg_start start;
    size_t max_prefetch;
    uint32_t max_in_flight;
    seg_rebalance_fn *on_rebalance;
    seg_overtaken_fn *on_overtaken;
    seg_loss_fn *on_loss;
    void *arg; /* of all three */
    int64_t start_at;
    const char *instance;
    seg_ordering ordering;
    uint32_t max_attempts;
    int64_t retry_delay, retry_delay_max;
    size_t max_parked;
    int64_t max_poll_interval;
} rig_join;

seg_consumer *rig_consumer(seg_client *c, const char *stream, const rig_join *j);
seg_status rig_try_consumer(seg_consumer **out, seg_client *c, const char *stream,
                            const rig_join *j, seg_error *err);

typedef struct rig_inbox {
    size_t n;
    seg_delivery d[RIG_INBOX];
    unsigned number[RIG_INBOX];
} rig_inbox;

/* Poll once; returns how many came. */
size_t rig_poll(seg_consumer *k, rig_inbox *in, size_t max, int64_t wait);
/* Poll until `in` holds `want` in all; more is a failure. */
void rig_take(seg_consumer *k, rig_inbox *in, size_t want);
/* Poll until it owns `n` partitions; nothing may be delivered. */
void rig_settle(seg_consumer *k, size_t n);
/* Poll, without looking at what comes, until it fails with `status`. */
void rig_expect_end(seg_consumer *k, seg_status status, seg_error *err);

void rig_ack(seg_consumer *k, const seg_delivery *d, size_t n);
void rig_commit(seg_consumer *k);
/* Take all messages up to `want`, acknowledge them, wait until that is stored. */
void rig_drain(seg_consumer *k, rig_inbox *in, size_t want);

/* Settle one message; the delay and the reason are of `verdict`, or 0 and NULL. */
seg_status rig_verdict(seg_consumer *k, const seg_delivery *d, seg_verdict verdict, int64_t delay,
                       const char *reason);
/* The same, and it works. */
void rig_settle_as(seg_consumer *k, const seg_delivery *d, seg_verdict verdict, int64_t delay,
                   const char *reason);

seg_consumer_stats rig_stats(const seg_consumer *k);
/* The number that a message's value begins with. */
unsigned rig_number(const seg_message *m);

/* The numbers are first, first + 1 ... in this order. */
void rig_check_run(const rig_inbox *in, size_t from, size_t n, unsigned first);

/* ---- Dead letters --------------------------------------------------------------------------- */

/* One dead letter as a plain consumer finds it: its value, key and headers. */
typedef struct rig_letter {
    unsigned number;
    size_t bytes; /* of its value */
    uint32_t partition, attempts;
    uint64_t era, offset;
    int64_t first_failed, last_failed, timestamp;
    char key[64], stream[201], group[201], reason[32], error[300];
    size_t own_headers; /* before ours */
} rig_letter;

/* Read all that is in the stream "<stream>.<group>.dlq" now, at most `cap`; 0 where there is none.
 * Each must have all of the headers that make a dead letter, once, behind its own. */
size_t rig_letters(seg_client *c, const char *stream, const char *group, rig_letter *out,
                   size_t cap);
/* How many messages a stream keeps; 0 where it does not exist. */
uint64_t rig_messages(seg_client *c, const char *stream);

/* ---- Processes that die --------------------------------------------------------------------- */

/* Memory that the case and its children share, zeroed. */
void *rig_shared(size_t size);
/* Run `fn` in a child of the case, which dies with it. The case must have no thread, so no client
 * open; the child has to open its own. */
pid_t rig_fork(void (*fn)(void *arg), void *arg);
/* Wait for its end: its exit status, or minus the signal that killed it. */
int rig_wait(pid_t child);
/* SIGKILL, and it is gone. It must not have failed before. */
void rig_kill(pid_t child);

/* ---- The server's view ---------------------------------------------------------------------- */

seg_group_partition rig_cursor(seg_client *c, const char *stream, const char *group, uint32_t p);
uint64_t rig_lag(seg_client *c, const char *stream, const char *group);
/* Calls of a command since the server started, "xread". */
long long rig_calls(server *s, const char *command);

#endif
