/* ledger.h - what a test sent and what it was told of it, against what the logs really hold.
 *
 *     ledger *l = ledger_new(16);                       // keys "k0" to "k15"
 *     ledger_send(l, producer, key, 100, &err);         // or ledger_send_async, ledger_poll
 *     ledger_check(l, server, "default", "stream");
 *     ledger_free(l);
 *
 * Each message carries its number in the ledger. The check reads every partition's log raw, by
 * XRANGE, and fails the case unless
 *
 *   - offsets are dense, entries' IDs are those of their last messages, and the state says so too,
 *   - each log is sealed: its last ID is the largest there is,
 *   - each message whose send was answered SEG_OK is there once, where the answer said,
 *   - each one that was SEG_EUNKNOWN is there once or not at all,
 *   - none of all others, which were certainly not done, is there,
 *   - each key's messages lie in its own partition, in the order in which they were sent (by one
 *     thread; of several threads' sends no order is known: give each its own keys),
 *   - each callback that was promised has run once.
 *
 * All calls but ledger_free may come from several threads. */
#ifndef SG_TEST_LEDGER_H
#define SG_TEST_LEDGER_H

#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server.h"

typedef struct ledger ledger;

ledger *ledger_new(unsigned keys);
void ledger_free(ledger *l);
/* Messages may be missing at the front of the logs: the stream drops its oldest. */
void ledger_may_drop(ledger *l);

/* Send the next message with key `key` (below `keys`) and a value of at least `size` bytes; note
 * the outcome and return it. */
seg_status ledger_send(ledger *l, seg_producer *p, unsigned key, size_t size, seg_error *err);
/* The same, by seg_send_async: returns whether it was queued. */
seg_status ledger_send_async(ledger *l, seg_producer *p, unsigned key, size_t size, seg_error *err);

size_t ledger_sent(ledger *l); /* messages, also those that were refused at once */
size_t ledger_count(ledger *l, seg_status outcome);
size_t ledger_waiting(ledger *l);       /* queued, without an outcome yet */
seg_error ledger_last_error(ledger *l); /* of the latest failed outcome */
/* Run callbacks until nothing is waiting; fails the case after `deadline_ms`. */
void ledger_settle(ledger *l, seg_producer *p, int64_t deadline_ms);

/* All outcomes are in: compare. Returns how many messages the logs hold. */
size_t ledger_check(ledger *l, server *s, const char *ns, const char *stream);

/* ---- The raw log ---------------------------------------------------------------------------- */

typedef struct log_message {
    uint32_t partition;
    uint64_t offset, era;
    seg_bytes key, value, headers; /* headers as encoded: sg_header_next of core/batch.h */
    int64_t timestamp;
    uint32_t batch;  /* of how many messages its entry is */
    seg_codec codec; /* and how that is compressed */
} log_message;

typedef void log_message_fn(const log_message *m, void *arg);

/* Every message of a partition, in order; fails the case where the log is malformed. Returns how
 * many there are. `fn` may be NULL. */
size_t log_each(server *s, const char *ns, const char *stream, uint32_t partition,
                log_message_fn *fn, void *arg);
/* Of all partitions. */
size_t log_each_partition(server *s, const char *ns, const char *stream, log_message_fn *fn,
                          void *arg);

/* Somebody's own entry with one field, `value` of `size` bytes, put there by hand: a log is sealed, so
 * its last ID is set to that of its last entry before. */
void log_stray(server *s, const char *ns, const char *stream, uint32_t partition, const char *id,
               const char *field, const void *value, size_t size);

#endif
