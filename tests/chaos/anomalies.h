/* anomalies.h - what can be wrong with a history, and the verdict that collects it. */
#ifndef SG_CHAOS_ANOMALIES_H
#define SG_CHAOS_ANOMALIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Name, words, what it is. One defect is counted once, as the first of these that explains it. */
#define ANOMALIES(X)                                                                               \
    X(PHANTOM, "phantom", "a message that nobody sent, or other bytes than were sent")             \
    X(ABORTED_READ, "aborted read", "a send that was certainly not done is in the log")            \
    X(INCONSISTENT_OFFSET, "inconsistent offset",                                                  \
      "two messages at one place, or one at another than its sender was told")                     \
    X(DUPLICATE, "duplicate", "one send is stored twice")                                          \
    X(LOST_WRITE, "lost write", "an acknowledged message is gone, and nobody was told")            \
    X(UNTOLD, "untold loss", "one who knew of a lost message went on without being told")          \
    X(FALSE_LOSS, "false loss", "somebody was told of the loss of a message that is there")        \
    X(NONMONOTONIC_SEND, "nonmonotonic send", "messages of a key are stored in another order")     \
    X(SILENT_GAP, "silent gap", "offsets are missing, and nobody was told")                        \
    X(SILENT_TRUNCATION, "silent truncation",                                                      \
      "the log ends before what somebody had read, and nobody was told")                           \
    X(SKIPPED_POLL, "skipped poll", "an owner was passed over a message that was not done")        \
    X(NONMONOTONIC_POLL, "nonmonotonic poll", "an owner was delivered messages backwards")         \
    X(KEY_REORDER, "per-key reorder", "a message was delivered before an earlier one of its key")  \
    X(UNSEEN, "unseen", "a message was never delivered to the group")                              \
    X(FALSE_ATTEMPT, "false attempt", "fewer attempts than there were deliveries")                 \
    X(TWO_OWNERS, "two owners", "two members worked under one epoch")                              \
    X(ZOMBIE_COMMIT, "zombie commit", "a commit was accepted under an epoch that was over")        \
    X(COMMIT_AHEAD, "commit ahead of processing", "committed past what nobody acknowledged")       \
    X(COMMIT_REWIND, "commit rewind", "what was committed is not any more, and nobody was told")   \
    X(ORPHANED, "orphaned partition", "nobody owned it for too long")                              \
    X(WRONG_OUTPUT, "wrong output", "an input has not each of its outputs, once and right")        \
    X(NO_FINAL_STATE, "no final state", "the log or the group was not read at the end")

typedef enum anomaly {
#define X(name, words, text) ANOMALY_##name,
    ANOMALIES(X)
#undef X
        ANOMALY_KINDS
} anomaly;

enum { VERDICT_EXAMPLES = 5, VERDICT_TEXT = 320 };

/* Losses of the server that were allowed. An event is all that one partition lost of one era. */
typedef struct losses {
    uint64_t messages, messages_told, messages_untellable; /* untellable: nobody who knew of it
                                                              went on with that partition */
    uint64_t events, events_told, events_untellable;
    uint64_t rewinds, rewinds_told, rewinds_untellable; /* of groups */
} losses;

typedef struct verdict {
    uint64_t counts[ANOMALY_KINDS];
    char examples[ANOMALY_KINDS][VERDICT_EXAMPLES][VERDICT_TEXT];
    losses losses;
    uint64_t records, processes, torn;
    uint64_t sends, stored, failed, unknown; /* sends and forwards; stored: in the final logs */
    uint64_t deliveries, redeliveries, settled, commits, faults;
} verdict;

const char *anomaly_words(anomaly a);
const char *anomaly_text(anomaly a);

uint64_t verdict_total(const verdict *v); /* of all anomalies */
/* Count one, and keep the sentence where it is one of the first. */
void verdict_note(verdict *v, anomaly a, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts, examples, and one last line: "verdict: ..." */
void verdict_print(const verdict *v, FILE *out);

#endif
