/* mirror.h - a group on a real server and the model of it, side by side: what is done to one is done
 * to the other, and all that can be seen of both is compared.
 *
 *     mirror m;
 *     mirror_open(&m, 5);                          one server, for any number of groups
 *     mirror_begin(&m);                            a new group
 *     if (!mirror_sync(&m, &call, "", &answer))    they differ: how, is in m.broken
 *
 * The partitions hold MIRROR_NEXT messages each. Time passes by moving what the group has last seen
 * of the server's clock; how much passes by itself, the server says. */
#ifndef SG_TEST_MIRROR_H
#define SG_TEST_MIRROR_H

#include <stdio.h>

#include "coordinator.h"
#include "groups_rig.h"

enum { MIRROR_NEXT = 60, MIRROR_KEYS = 3 };

typedef struct mirror {
    group g;
    redisContext *ears; /* hears what is published */
    coordinator model, saved;
    cursor cursors[SIM_PARTITIONS];
    redisReply *dumps[MIRROR_KEYS];
    int64_t seen_at; /* the server's clock, when it was looked at last */
    FILE *story;     /* what is done and answered, in words; NULL: it is not told */
    char broken[2048];
} mirror;

void mirror_open(mirror *m, uint32_t partitions);
void mirror_close(mirror *m);
void mirror_begin(mirror *m);

/* ---- Calls: false where server and model differ --------------------------------------------- */

/* `how` is for the story. */
bool mirror_sync(mirror *m, const sync_call *call, const char *how, sync_answer *out);

typedef struct mirror_commit {
    uint32_t partition;
    uint64_t epoch, nonce, seq, committed, said;
} mirror_commit;

bool mirror_acquire(mirror *m, int who, uint32_t partition, uint64_t epoch, uint64_t nonce,
                    cursor_word *out);
bool mirror_store(mirror *m, int who, const mirror_commit *commit);

/* The whole group is moved to where it is: begin, every cursor, finish. */
bool mirror_seek(mirror *m);

/* ---- What befalls the server ---------------------------------------------------------------- */

void mirror_pass(mirror *m, int64_t ms); /* less than 0: its clock is set back */
/* The coordinator's keys as they are now, and back to that; at first, as a new group's. */
void mirror_save(mirror *m);
void mirror_roll_back(mirror *m);
/* The server that has them is another one, or was restarted. */
void mirror_reborn(mirror *m);
/* One of them is deleted. */
void mirror_forget_leases(mirror *m);
void mirror_forget_parts(mirror *m);
void mirror_forget_group(mirror *m);

#endif
