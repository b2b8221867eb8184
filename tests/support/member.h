/* member.h - members of a group that a test can kill, stop and question: each runs a plain consumer
 * loop, in a process or in a thread of its own, and writes down all that happens to it.
 *
 *     member *m = member_new(&(member_plan){.url = server_url(s), .stream = "s", .group = "g"});
 *     member_fork(m);                       before the case opens any client or thread
 *     ...
 *     member_go(m);                         now it joins
 *     WAIT_FOR(RIG_MS, member_count(m, MEMBER_COMMITTED) == 100);
 *     member_signal(m, SIGKILL);
 *
 * The record is in memory that both processes see, so it survives a SIGKILL, and reading it needs
 * no cooperation of the member. Whoever forks must be single-threaded (threads do not survive
 * fork(), and the sanitizers refuse it): fork all first, and let each join when its time comes. */
#ifndef SG_TEST_MEMBER_H
#define SG_TEST_MEMBER_H

#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct member_plan {
    const char *url;    /* it opens a client of its own ... */
    seg_client *client; /* ... or uses this one (threads only) */
    const char *stream, *group, *name;
    int64_t session_timeout, drain_timeout;
    uint32_t max_in_flight;
    size_t max;  /* messages of one poll; default 50 */
    bool random; /* acknowledge in a random order, some now and some later */
} member_plan;

typedef enum member_kind {
    MEMBER_ASSIGNED = 1, /* callbacks */
    MEMBER_REVOKED,
    MEMBER_LOST,
    MEMBER_DELIVERED,
    MEMBER_ACKING,    /* written before the call */
    MEMBER_FENCED,    /* the call, or the commit after it, answered EFENCED */
    MEMBER_COMMITTED, /* a commit after the acknowledgement answered OK */
    MEMBER_KINDS
} member_kind;

typedef struct member_event {
    int64_t at_ms;          /* test_now_ms(), the same clock in all processes */
    uint64_t epoch, offset; /* not of callbacks */
    uint32_t partition, attempt, number;
    member_kind kind;
} member_event;

typedef struct member member;

member *member_new(const member_plan *plan);
void member_fork(member *m);
void member_thread(member *m);
void member_go(member *m);
/* Keep what is delivered unacknowledged; false: acknowledge it, and all that comes. */
void member_hold(member *m, bool hold);
/* Close cleanly and wait until it is over. The status is what ended its loop, SEG_OK mostly. */
seg_status member_leave(member *m);
void member_signal(member *m, int signal); /* SIGKILL waits until it is gone */

bool member_active(const member *m);
bool member_over(const member *m);          /* its loop has ended */
seg_status member_status(const member *m);  /* why */
uint64_t member_owned(const member *m);     /* bit p: it owns partition p, p below 64 */
unsigned member_owns(const member *m);      /* how many */
int64_t member_left_ms(const member *m);    /* when its close had returned; 0: not yet */
int64_t member_closing_ms(const member *m); /* when it was called */

size_t member_events(const member *m);
const member_event *member_event_at(const member *m, size_t i);
size_t member_count(const member *m, member_kind kind);

/* ---- All together --------------------------------------------------------------------------- */

/* The live ones own every partition once, sizes within one of each other. */
bool members_balanced(member *const m[], size_t n, uint32_t partitions);
size_t members_count(member *const m[], size_t n, member_kind kind);
/* How many different messages have been acknowledged, by anybody. */
size_t members_settled(member *const m[], size_t n, uint32_t partitions);

/* Fails the case unless the records of all members together say: all of the messages numbered
 * 0 .. total-1 were delivered and acknowledged; what was committed under one epoch was never
 * delivered under a later one; each epoch of a partition had one member; under each epoch offsets
 * came in order, and none was passed over that nobody had acknowledged before; callbacks came in a
 * legal sequence, and nothing was delivered outside of an assignment. */
void members_check(member *const m[], size_t n, uint32_t partitions, size_t total);

#endif
