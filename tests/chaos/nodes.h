/* nodes.h - the servers of a round: a primary, perhaps a replica of it, and the proxy that leads all
 * clients to whichever is the primary now. Unlike tests/support/server.h, whose processes these are,
 * a question to a server that is down, stopped or busy is no failure here: it has no answer. */
#ifndef SG_CHAOS_NODES_H
#define SG_CHAOS_NODES_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy.h"
#include "server.h"

typedef enum nodes_fsync { NODES_ALWAYS, NODES_EVERYSEC } nodes_fsync;

typedef struct nodes {
    server *node[2]; /* [1] is NULL where there is no replica */
    int primary;     /* which */
    bool detached;   /* the other one is no replica of it now */
    proxy *proxy;
    char clock[96]; /* the file by which the clocks are set */
    char aof[512];  /* nodes_mark: the newest AOF, */
    int64_t aof_size;
} nodes;

/* Servers, and all processes that are started later, go by clocks that nodes_set_clock sets. */
void nodes_start(nodes *n, const char *clock_library, nodes_fsync fsync, bool replica);
void nodes_stop(nodes *n);

server *nodes_primary(const nodes *n);
server *nodes_other(const nodes *n);

/* The reply; NULL: none, or an error. freeReplyObject. */
redisReply *nodes_ask(server *s, const char *format, ...);
/* Ask and forget: do not wait. */
void nodes_tell(server *s, const char *format, ...);
/* A number out of INFO; -1. */
long long nodes_info(server *s, const char *field);

/* The wall clock of servers and clients is `ms` off. */
void nodes_set_clock(nodes *n, int64_t ms);

/* ---- Crashes -------------------------------------------------------------------------------- */

/* Note where the AOF ends: what is in it now is taken to be on disk. */
void nodes_mark(nodes *n);
/* SIGKILL. Nothing is lost that write(2) has got. */
void nodes_crash(nodes *n);
/* As if the machine had lost its power: SIGKILL, and the AOF ends where nodes_mark saw its end, as
 * if nothing had been fsynced since. Bytes that are lost. */
int64_t nodes_power_cut(nodes *n);
/* Start what was killed, or has ended by itself; wait until it answers. NULL is fine. */
void nodes_revive(server *s);
bool nodes_answers(server *s);
/* No file of the primary may become larger than its AOF is now, and `room` more; negative: any. */
void nodes_limit_disk(nodes *n, int64_t room);

/* ---- Replication ---------------------------------------------------------------------------- */

/* The replica gets nothing more; it does not know why. */
void nodes_cut_replication(nodes *n);
/* The replica becomes the primary, for all who connect from now on. The old one goes on, and takes
 * itself for the primary too. */
void nodes_promote(nodes *n);
/* The other one becomes a replica of the primary: what it alone had is gone. */
void nodes_attach(nodes *n);
/* It has all that the primary has. */
bool nodes_in_sync(const nodes *n);

#endif
