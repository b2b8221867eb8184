/* tale.h - histories made up by hand, record by record, for the checker's own tests.
 *
 *     tale *t = tale_new(0, 0);
 *     tale_send(t, AT(0));                    // the message that belongs at offset 0
 *     tale_join(t, M1, 0);
 *     tale_deliver(t, M1, 1, AT(0));          // under epoch 1
 *     tale_ack(t, M1, 1, AT(0));
 *     tale_end(t, 1, 1);                      // the log holds one, the group has committed one
 *     tale_judge(t, &v);
 *     tale_free(t);
 *
 * One stream of two partitions and one group, session timeout 1 s and bound 100 ms. Offsets have
 * two keys in turn and the producer's sequence numbers, so a place alone says which message is
 * meant; eras have producers of their own. Each record is 1 ms after the one before. */
#ifndef SG_CHAOS_TALE_H
#define SG_CHAOS_TALE_H

#include "checker.h"

enum { TALE_STREAM = 11, TALE_GROUP = 21, TALE_TARGET = 12, TALE_PRODUCER = 30, M1 = 41, M2 = 42 };

typedef struct spot {
    uint32_t partition;
    uint64_t era, offset;
} spot;

#define AT(offset)          ((spot){0, 1, (offset)})
#define AT_ERA(era, offset) ((spot){0, (era), (offset)})

typedef struct tale {
    history_log log;
    size_t cap;
    uint64_t now, calls;
    uint64_t poll; /* when the poll of the next deliveries was called; 0: they are a handler's */
} tale;

tale *tale_new(unsigned stream_flags, unsigned group_flags);
void tale_free(tale *t);
void tale_wait(tale *t, uint64_t ms);
/* Any record: as an event, or as the invoke (phase HISTORY_INVOKE) of a call. Its number. */
size_t tale_add(tale *t, history_record r);
void tale_answer(tale *t, size_t invoke, history_phase outcome);
/* The n-th record (from 0) of this kind and phase whose offset is this one; fails where there is
 * none. Set `kind` to 0 to take it out. */
history_record *tale_find(tale *t, history_kind kind, history_phase phase, uint64_t offset,
                          size_t n);
void tale_drop(tale *t, history_kind kind, history_phase phase, uint64_t offset);
history_record tale_message(history_kind kind, spot at); /* with the message that belongs there */

size_t tale_invoke_send(tale *t, spot at);
void tale_send(tale *t, spot at); /* answered OK, with the place */
void tale_join(tale *t, uint64_t member, unsigned flags);
void tale_leave(tale *t, uint64_t member);
void tale_poll(tale *t); /* the deliveries that follow are those of a poll that was called now */
void tale_deliver(tale *t, uint64_t member, uint64_t epoch, spot at);
void tale_deliver_again(tale *t, uint64_t member, uint64_t epoch, spot at, uint32_t attempt);
void tale_settle(tale *t, uint64_t member, uint64_t epoch, spot at, seg_verdict how);
void tale_ack(tale *t, uint64_t member, uint64_t epoch, spot at);
void tale_commit(tale *t, uint64_t member);
void tale_observe(tale *t, spot committed, uint64_t epoch, uint64_t owner);
/* Told to the member, or to the producer where `member` is 0. */
void tale_loss(tale *t, uint64_t member, unsigned what, spot first, uint64_t end);
size_t tale_fault(tale *t, uint64_t target, unsigned flags); /* tale_answer ends it */

void tale_entry(tale *t, spot at);
/* Entries 0 to n-1 of era 1 in partition 0, both partitions' logs, and the group's place. */
void tale_end(tale *t, uint64_t n, uint64_t committed);
void tale_logs(tale *t, uint64_t era, uint64_t first, uint64_t end);
void tale_place(tale *t, uint64_t era, uint64_t committed);

/* Six messages; M1 joins, is delivered all under epoch 1, acknowledges and commits them. */
void tale_plain(tale *t);

void tale_judge(tale *t, verdict *out);
/* Fails the case unless these are the anomalies: one of this kind; none. */
void tale_expect(tale *t, anomaly a);
void tale_expect_good(tale *t);

#endif
