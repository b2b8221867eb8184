/* coordinator.h - what the server does for a group, after docs/protocol.md, in plain C: something to
 * compare the scripts with, and the server of members that live in virtual time.
 *
 *     coordinator c;
 *     coordinator_init(&c, 12);
 *     coordinator_sync(&c, wall, &(sync_call){.op = SYNC_JOIN, .who = 3, ...}, &answer);
 *
 * All of it is values: a copy is a snapshot, and assigning that copy rolls the server back. Members
 * are numbers, in the order of their names; a nonce is a number other than 0. */
#ifndef SG_TEST_COORDINATOR_H
#define SG_TEST_COORDINATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_MEMBERS = 16, SIM_PARTITIONS = 32, NOBODY = -1 };

/* ---- The coordinator: group_sync ------------------------------------------------------------ */

typedef struct coord_member {
    bool known, leased; /* field m:M of the group, and a place among the leases */
    uint64_t nonce, version;
    int64_t timeout, lease_end; /* the end on the group's clock */
} coord_member;

typedef struct coord_part {
    int owner, target;
    uint64_t epoch;
} coord_part;

typedef struct coordinator {
    bool gone; /* the group's own key */
    uint32_t partitions;
    uint64_t epoch;
    uint64_t used; /* the largest version of a member that is gone */
    int64_t clock, wall, cap;
    bool reborn; /* the server is in another life than at the last grant */
    coord_member members[SIM_MEMBERS];
    coord_part parts[SIM_PARTITIONS];
} coordinator;

void coordinator_init(coordinator *c, uint32_t partitions);

typedef enum sync_op { SYNC_JOIN, SYNC_BEAT, SYNC_LEAVE } sync_op;

typedef struct sync_back {
    uint32_t partition;
    uint64_t epoch;
} sync_back;

typedef struct sync_call {
    sync_op op;
    int who;
    uint64_t nonce, version, floor;
    int64_t timeout;
    size_t n_back; /* no partition twice */
    sync_back back[SIM_PARTITIONS];
} sync_call;

typedef enum sync_word { SYNC_OK, SYNC_UNKNOWN, SYNC_REPLACED, SYNC_GONE } sync_word;

typedef struct sync_grant {
    uint32_t partition;
    uint64_t epoch;
    bool give;
} sync_grant;

typedef struct sync_answer {
    sync_word word;
    uint64_t version;
    int64_t due; /* -1: there is nobody else */
    size_t members;
    bool listed;
    size_t n_grants;
    sync_grant grants[SIM_PARTITIONS]; /* in order of the partitions */
    /* What was published: one bit a member. */
    uint32_t woken, replaced;
} sync_answer;

/* `wall`: the server's clock, in ms. */
void coordinator_sync(coordinator *c, int64_t wall, const sync_call *call, sync_answer *out);

/* group_seek: takes an epoch, and returns it; then grants the owned partitions anew. */
uint64_t coordinator_seek_begin(coordinator *c, int64_t wall, uint64_t floor);
uint32_t coordinator_seek_finish(coordinator *c, int64_t wall, uint64_t moved); /* whom it woke */

/* Somebody deleted a key of the group. */
void coordinator_forget_leases(coordinator *c);
void coordinator_forget_parts(coordinator *c);

/* ---- A group's cursor in one partition ------------------------------------------------------ */

/* `said` stands for ack map, tries, high and note, which a commit stores as they are; 0: empty. */
typedef struct cursor {
    uint64_t epoch, owner, seq, committed, said, since;
} cursor;

typedef enum cursor_word {
    CURSOR_OK,
    CURSOR_STALE,
    CURSOR_OLD,
    CURSOR_FENCED,
    CURSOR_AHEAD
} cursor_word;

/* STALE and FENCED: the number with it is the cursor's epoch; AHEAD: it is `next`. */
cursor_word cursor_acquire(cursor *c, uint64_t epoch, uint64_t nonce);
/* cursor_seek, to the place where it is. */
cursor_word cursor_seek(cursor *c, uint64_t epoch);
cursor_word cursor_commit(cursor *c, uint64_t epoch, uint64_t nonce, uint64_t seq,
                          uint64_t committed, uint64_t next, uint64_t said);

#endif
