/* groups_rig.h - one group on a private server, driven by raw calls of group_sync.
 *
 *     group g;
 *     group_start(&g, 3);
 *     CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "OK 2 -1 1 0:1:keep 1:2:keep ...");
 *     group_stop(&g);
 *
 * An answer is "OK version due members", then, where it has a list, its grants as
 * partition:epoch:keep|give in order of the partitions (nothing after a last space: an empty one).
 *
 * Time is moved by moving what the group has last seen of the server's clock. */
#ifndef SG_TEST_GROUPS_RIG_H
#define SG_TEST_GROUPS_RIG_H

#include "scripts_rig.h"

typedef struct group {
    raw raw;
    uint32_t partitions;
} group;

typedef struct sync_args {
    const char *op;    /* "beat" */
    const char *nonce; /* "n" */
    const char *back;  /* a partition handed back, "partition:epoch" */
    const char *inc, *gid;
    long long timeout; /* 10000 */
    long long seen, floor;
} sync_args;

/* A stream and a group named "g"; 10000 ms are the session timeout of all who say no other. */
void group_start(group *g, uint32_t partitions);
void group_stop(group *g);

const char *group_sync(const group *g, const char *member, sync_args a);
/* The same with the word DUE for the time to the next deadline, which moves by itself. */
const char *group_sync_masked(const group *g, const char *member, sync_args a);
/* The raw reply, with any number of partitions handed back. */
redisReply *group_sync_reply(const group *g, const char *member, sync_args a, size_t n_back,
                             const char *const back[]);
long long group_due(const char *answer);

/* "owner|epoch|target" */
const char *group_part(const group *g, uint32_t partition);
/* As if the server's clock had moved by `ms` since the last call. */
void group_pass(const group *g, long long ms);

/* Everybody beats and hands back what is to be given, until nothing moves any more. */
void group_settle(const group *g, size_t n, const char *const members[]);
/* Each partition has an owner, which is its target, a live member; sizes differ by at most one. */
void group_check_settled(const group *g);

#endif
