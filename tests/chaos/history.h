/* history.h - what every process of a run did and was told, written down so that it can be judged.
 *
 *     history *h = history_open(dir, "producer-3");         // dir/producer-3.history, appended to
 *     history_record r = {.kind = HISTORY_SEND, .stream = history_name(h, "in"), ...};
 *     history_invoke(h, &r);                                // before the call
 *     ...
 *     history_done(h, &r, HISTORY_OK, SEG_OK);              // with what it answered, in r
 *     history_event(h, &(history_record){.kind = HISTORY_DELIVERED, ...});
 *     history_close(h);
 *
 * A directory holds one file for each process, of records of one size. A record is one write(2) of
 * a file opened with O_APPEND: what was written survives a SIGKILL, and threads need no lock. A
 * torn or damaged tail ends a file, and is counted. history_load merges all files by time, on
 * the clock that never steps and that all processes share.
 *
 * What the writers must keep, as the checker relies on it:
 *
 *   names      A name stands for one thing in the whole run. A process that is started again has
 *              another name; so has a producer that is opened again (its order and its losses begin
 *              anew). A member's name is seg_consumer_member(). A stream or group that was deleted
 *              and created again has another name here ("in#2").
 *   messages   (stream, producer, key, sequence, index) is one message. The value carries them, so
 *              that whoever reads it can write them down. For each producer and key, `sequence`
 *              rises in the order of the calls; several threads do not share a key of one producer.
 *              An output has its input's producer, key and sequence, and its number among the
 *              outputs of that input in `index`; a plain message has index 0. A message without
 *              a key has key 0, and no other has.
 *   invoke     is written before the call, so what nobody invoked cannot have happened.
 *   delivered  is written for all messages of a poll, in their order, before anything is done with
 *              any of them; by a handler, as the first thing that it does.
 *   settled    HISTORY_SETTLE is invoked before seg_ack, seg_settle or the handler's return, for
 *              each delivery, and done after it (before a handler's return). Where a call for
 *              several deliveries failed, the outcome is UNKNOWN, as some may have been settled. */
#ifndef SG_CHAOS_HISTORY_H
#define SG_CHAOS_HISTORY_H

#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Value, name. Calls have an invoke and an outcome, events are one record.
 *
 * In every kind: at, process. Members not named are 0.
 *
 * NAME       event  `text` is the name of `stream`. Written by history_name.
 * STREAM     event  A stream's settings: stream, partition (how many), flags: DROPS
 * GROUP      event  A group's: stream, group, partition (ALL, or the one that `offset` is of),
 *                   offset (where it begins), end (session timeout in ns), first (how much later
 *                   than that a partition may be read again, in ns), flags: RETRIES, UNORDERED,
 *                   BY_PARTITION
 * STAGE      event  stream and group read, target (the stream written), index (outputs of each
 *                   input)
 * SEND       call   stream, producer, key, sequence, crc; done: partition, era, offset
 *                   (UINT64_MAX: stored, but nobody knows where)
 * FORWARD    call   target (the stream written), producer, key, sequence, index, crc of the output;
 *                   stream, group, member, epoch, partition, era, offset of the input. Done: only
 *                   whether it was taken.
 * JOIN       call   seg_consumer_open: stream, group; flags: HANDLERS; done: member
 * LEAVE      call   seg_consumer_close: stream, group, member. Also where a consumer is over.
 * ASSIGNED   event  stream, group, member, partition
 * REVOKED    event  the same
 * LOST       event  the same: taken away
 * DELIVERED  event  stream, group, member, partition, epoch, era, offset, attempt; producer, key,
 *                   sequence, index, crc as the value says; first: the time at which the poll was
 *                   called, 0 in a handler
 * SETTLE     call   stream, group, member, partition, epoch, era, offset, verdict. Done: OK where
 *                   it was taken, FAIL where not (EFENCED)
 * COMMIT     call   seg_consumer_commit: stream, group, member. OK: all that this member settled
 *                   before the invoke is stored
 * LOSS       event  What somebody was told: seg_loss's partition (ALL: of the whole stream), era,
 *                   first, end; what; stream, and producer or group and member. Where only
 *                   SEG_ELOST came: era 0, first 0 and end UINT64_MAX
 * OVERTAKEN  event  stream, group, member, partition, era, first, end (first + count)
 * OBSERVED   call   seg_group_describe, one for each partition: stream, group; done: partition,
 *                   era, offset (committed), end (next), epoch, member (owner, 0: nobody)
 * FAULT      call   `text` what, target (the process, member or stream it strikes), flags. Invoke:
 *                   it begins; done: it is over, or (DEAD) the process is gone
 * ENTRY      event  Final state, a message: stream, partition, era, offset, producer, key,
 *                   sequence, index, crc
 * LOG        event  Final state: stream, partition, era, first, end (next). After its entries
 * PLACE      event  Final state: stream, group, partition, era, offset (committed), member
 *                   (owner); flags: DRAINED
 * LETTER     event  Final state, a dead letter: stream, group, partition, era, offset of its origin
 */
#define HISTORY_KINDS(X)                                                                           \
    X(NAME, 1)                                                                                     \
    X(STREAM, 2)                                                                                   \
    X(GROUP, 3)                                                                                    \
    X(STAGE, 4)                                                                                    \
    X(SEND, 5)                                                                                     \
    X(FORWARD, 6)                                                                                  \
    X(JOIN, 7)                                                                                     \
    X(LEAVE, 8)                                                                                    \
    X(ASSIGNED, 9)                                                                                 \
    X(REVOKED, 10)                                                                                 \
    X(LOST, 11)                                                                                    \
    X(DELIVERED, 12)                                                                               \
    X(SETTLE, 13)                                                                                  \
    X(COMMIT, 14)                                                                                  \
    X(LOSS, 15)                                                                                    \
    X(OVERTAKEN, 16)                                                                               \
    X(OBSERVED, 17)                                                                                \
    X(FAULT, 18)                                                                                   \
    X(ENTRY, 19)                                                                                   \
    X(LOG, 20)                                                                                     \
    X(PLACE, 21)                                                                                   \
    X(LETTER, 22)

typedef enum history_kind {
#define X(name, value) HISTORY_##name = value,
    HISTORY_KINDS(X)
#undef X
} history_kind;

typedef enum history_phase {
    HISTORY_EVENT = 0,
    HISTORY_INVOKE,
    HISTORY_OK,
    HISTORY_FAIL,   /* certainly not done */
    HISTORY_UNKNOWN /* as a call of which no outcome was written */
} history_phase;

enum history_flags {
    /* STREAM */
    HISTORY_DROPS = 1 << 0, /* the policy is drop-oldest */
    /* GROUP */
    HISTORY_RETRIES = 1 << 1, /* other verdicts than SEG_ACK, ack timeouts that can run out, or
                                 max_attempts: messages may be passed by and come again */
    HISTORY_UNORDERED = 1 << 2,
    HISTORY_BY_PARTITION = 1 << 3,
    /* JOIN */
    HISTORY_HANDLERS = 1 << 4, /* many threads: the order of its records tells nothing among keys */
    /* FAULT */
    HISTORY_DEAD = 1 << 5,        /* the process `target` does not run any more */
    HISTORY_STOPPED = 1 << 6,     /* ... does not run from invoke to done */
    HISTORY_UNREACHABLE = 1 << 7, /* from invoke to done the server, or the way of some to it, is
                                     not what liveness can be asked of */
    HISTORY_MAY_LOSE = 1 << 8,    /* what was acknowledged until it is over may be lost */
    HISTORY_DESTROYS = 1 << 9,    /* the stream `target` (0: every one) is ruined for good */
    /* PLACE */
    HISTORY_DRAINED = 1 << 10 /* everything was to be delivered */
};

enum history_what { HISTORY_LOST_MESSAGES = 1, HISTORY_LOST_ACKS };

#define HISTORY_ALL        UINT32_MAX
#define HISTORY_TEXT_BYTES 48

/* The layout of the files. Zero what is not used. */
typedef struct history_record {
    uint64_t at;      /* ns, CLOCK_MONOTONIC; set by the writer */
    uint64_t call;    /* ties an outcome to its invoke, unique in its process; 0: an event */
    uint64_t process; /* names, of history_name; set by the writer */
    uint64_t stream, group, member, producer, target;
    uint64_t key, sequence; /* key: its name, or any number but 0 that stands for it */
    uint64_t epoch, era, offset, first, end;
    uint32_t partition, attempt, index, crc; /* crc: history_crc of the value */
    uint16_t kind, phase, flags;
    uint8_t status; /* seg_status of a call that failed */
    uint8_t what;   /* enum history_what; SETTLE: seg_verdict */
    char text[HISTORY_TEXT_BYTES];
    uint32_t spare, check; /* crc of all before */
} history_record;

/* ---- Writing: any thread --------------------------------------------------------------------- */

typedef struct history history;

/* Ends the process with a sentence on stderr where the file cannot be written: a run without its
 * history is worth nothing. So do all that write. */
history *history_open(const char *dir, const char *process);
void history_close(history *h);

/* The number that stands for a name, the same in all processes; written down when this process
 * first asks for it. 0 for NULL and "". */
uint64_t history_name(history *h, const char *name);

/* Stamp and write. Sets at, process, call and phase of `r`. */
void history_invoke(history *h, history_record *r);
/* The outcome of what `r`, or a copy of it, was invoked as. */
void history_done(history *h, history_record *r, history_phase outcome, seg_status status);
void history_event(history *h, history_record *r);

/* The outcome that a status stands for: OK, UNKNOWN for SEG_EUNKNOWN, else FAIL. */
history_phase history_outcome(seg_status s);

uint32_t history_crc(const void *data, size_t len);
uint64_t history_now(void); /* ns */

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct history_log {
    history_record *records; /* by time; those of one process in its order */
    size_t n;
    history_record *names; /* of these, those of kind NAME: set by history_sort */
    size_t n_names;
    size_t files, torn; /* torn: files that end within a record, or with a damaged one */
} history_log;

/* All files of a directory. False, with the reason in `error`: it cannot be read. */
bool history_load(history_log *out, const char *dir, char *error, size_t cap);
void history_log_fini(history_log *l);
void history_sort(history_log *l); /* after records were put in by hand */

/* The name behind a number, or the number as text: into `out`, which is returned. */
const char *history_text(const history_log *l, uint64_t name, char *out, size_t cap);
const char *history_kind_name(unsigned kind); /* "SEND"; "?" */

#endif
