/* world.h - members of a group in virtual time: the library's own state machine (core/member.h), a
 * network that delays, loses and holds, and a server that is the model in coordinator.h.
 *
 *     world w;
 *     world_init(&w, &plan);
 *     world_run(&w);                 w.broken says what went wrong; empty: nothing
 *     world_fini(&w);
 *
 * No threads, no clock: an event has a time, and the next one is taken out of a queue. What happens
 * follows from the plan alone, and each member has random numbers of its own, so that leaving out a
 * fault leaves the rest much as it was.
 *
 *        node: turn ──request──> the wire ──> server: coordinator, cursors
 *                ^                                │
 *                └── answer, wake-up ── the wire ─┘        after each event: invariants.c
 *
 * A node does what the engine does with a membership: acquires what is granted, works on it,
 * commits, drains what is to be given, compares its cursors on each new connection. */
#ifndef SG_TEST_WORLD_H
#define SG_TEST_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/random.h"
#include "coordinator.h"
#include "core/member.h"

/* ---- What is to happen ---------------------------------------------------------------------- */

typedef enum fault_kind {
    FAULT_START, /* one that runs is killed first: another consumer of the same name */
    FAULT_CRASH,
    FAULT_CLOSE,
    FAULT_REST, /* leaves, and joins again after `ms` */
    FAULT_PAUSE,
    FAULT_CUT,
    FAULT_ISOLATE, /* nothing comes through for `ms`, then all of it does */
    FAULT_SERVER_PAUSE,
    FAULT_CLOCK_STEP, /* the server's */
    FAULT_SAVE,
    FAULT_ROLL_BACK, /* the coordinator, to what was saved */
    FAULT_WIPE,      /* the coordinator, to what a new group has */
    FAULT_RESTORE,   /* the whole server, to what was saved */
    FAULT_SEEK,      /* somebody moves the group, see group_seek */
    FAULT_KINDS
} fault_kind;

typedef struct fault {
    int64_t at, ms;
    fault_kind kind;
    int who;
} fault;

enum { FAULTS_MAX = 64 };

typedef struct plan {
    uint64_t seed;
    uint32_t partitions;
    uint32_t idle;                 /* bits: partitions without messages, so without commits */
    int64_t timeouts[SIM_MEMBERS]; /* session timeouts by name */
    int64_t delay;                 /* of a message, at most, in ms */
    unsigned lose;                 /* of 1000 requests: the connection breaks before the answer */
    unsigned late;                 /* of 1000 that a broken connection held: executed much later */
    unsigned deaf;                 /* of 1000 wake-ups: lost */
    int drift;                     /* of 1000 ms, the server's clock goes ahead by so many */
    bool quiet;  /* one fault at a time: take-overs keep to what is promised, nothing moves twice */
    bool honest; /* the server's clock does not leap, and the coordinator forgets nothing */
    int64_t calm_at;      /* no fault after it */
    int64_t end_at, rest; /* settled at the latest so long before the end */
    size_t n_faults;
    fault faults[FAULTS_MAX];
    bool kept[FAULTS_MAX];
} plan;

/* ---- Nodes ---------------------------------------------------------------------------------- */

typedef enum hold_state { HOLD_NONE, HOLD_ACQUIRING, HOLD_ACTIVE, HOLD_DRAINING } hold_state;

typedef struct holding {
    hold_state state;
    bool busy;
    bool begun;        /* its cursor was acquired */
    bool verified;     /* and compared on this connection */
    bool final_stored; /* the last commit says that it ends here */
    bool sending_final;
    uint64_t epoch, position, stored, sending, seq;
    int64_t drain_until;
} holding;

typedef struct node {
    int who;
    bool alive, up, syncing;
    bool closing, resting, left;  /* going, for a while; it said good-bye */
    uint64_t process, connection; /* numbers: which one of this name, and of its connections */
    uint64_t nonce;
    int64_t timeout, ahead; /* its clock is ahead of the world's */
    int64_t paused_until, isolated_until, back_at;
    int64_t next_turn, next_work;
    int64_t last_arrival, last_answer; /* a connection keeps its order */
    int64_t asked_at, lease_from; /* its clock: the question under way; the last one answered */
    sg_rng rng;
    sg_member *m;
    holding holds[SIM_PARTITIONS];
} node;

/* ---- Messages and events -------------------------------------------------------------------- */

typedef enum message_kind { MSG_SYNC, MSG_ACQUIRE, MSG_READ, MSG_COMMIT } message_kind;

typedef struct message {
    bool used, dropped, executed;
    message_kind kind;
    int who;
    uint64_t process, connection;
    int64_t late_until;
    sync_call sync;
    sync_answer synced;
    uint32_t partition;
    uint64_t epoch, seq, committed, nonce;
    cursor_word word;
    cursor cursor; /* as it was then */
} message;

typedef enum event_kind {
    EV_FAULT,
    EV_TURN,
    EV_ARRIVE,
    EV_ANSWER,
    EV_WAKE,
    EV_CUT,
    EV_LOST, /* the node learns that its connection is gone */
    EV_UP
} event_kind;

typedef struct event {
    int64_t at;
    uint64_t order;
    event_kind kind;
    int who;
    uint64_t number; /* fault, message, process or connection */
} event;

enum { MESSAGES_MAX = 4096, EVENTS_MAX = 8192 };

/* ---- The world ------------------------------------------------------------------------------ */

typedef struct takeover {
    int64_t since;     /* the owner died; 0: none did */
    int64_t allowance; /* ms from then on */
    uint64_t epoch;
    bool alone; /* nobody else was alive */
    bool left;  /* it did not die, it said good-bye */
} takeover;

typedef struct delivered {
    uint64_t epoch, committer; /* the latest; whose commit was taken last (a nonce), */
    uint64_t commit_epoch;     /* and under which epoch */
} delivered;

enum { TAKEOVERS_MAX = 4096 };

typedef struct world {
    const plan *plan;
    int64_t now, wall_offset, server_paused_until;
    uint64_t order, processes;
    coordinator group, saved;
    cursor cursors[SIM_PARTITIONS], saved_cursors[SIM_PARTITIONS];
    node nodes[SIM_MEMBERS];
    size_t n_messages, n_queue;
    sg_rng rng; /* of the wire behind a broken connection, and of wake-ups */

    takeover takeovers[SIM_PARTITIONS];
    delivered delivered[SIM_PARTITIONS];
    int64_t settled_at;  /* since then all is as it should be; INT64_MAX: it is not */
    coordinator settled; /* as it was then */

    /* What comes out. */
    char broken[512];
    FILE *story; /* NULL: it is not told */
    uint64_t events, grants, fenced, stale;
    int64_t took[TAKEOVERS_MAX]; /* ms from a death to the next owner's beginning */
    size_t n_took;

    /* Of these, what is in use. */
    message messages[MESSAGES_MAX];
    event queue[EVENTS_MAX];
} world;

void world_init(world *w, const plan *p);
void world_run(world *w);
void world_fini(world *w);

__attribute__((format(printf, 2, 3))) void world_say(world *w, const char *format, ...);
/* The first one counts, and ends the run. */
__attribute__((format(printf, 2, 3))) void world_break(world *w, const char *format, ...);
void world_push(world *w, int64_t at, event_kind kind, int who, uint64_t number);
int64_t world_wall(const world *w);
/* A request on the node's connection; NULL where that is down. To be filled in at once. */
message *world_send(world *w, node *n, message_kind kind);
void world_cut(world *w, node *n);

/* ---- node.c: as the engine does it ---------------------------------------------------------- */

void node_start(world *w, node *n);
void node_die(world *w, node *n);
void node_close(world *w, node *n, int64_t back_at); /* 0: it ends */
void node_turn(world *w, node *n);
void node_answer(world *w, node *n, const message *m);
void node_lost(world *w, node *n);
void node_up(world *w, node *n);
void node_wake(world *w, node *n);
const char *node_name(const node *n);

/* ---- invariants.c --------------------------------------------------------------------------- */

/* Around a call of the coordinator. */
void check_sync(world *w, const coordinator *before, const sync_call *call);
void check_commit(world *w, const message *m);
void check_acquired(world *w, const message *m, uint64_t before);
/* An owner has died; somebody starts. */
void note_death(world *w, const node *n);
void note_start(world *w);
void note_leave(world *w, const coordinator *before, int who);
/* A node has one to deliver, or would have. */
void check_interruption(world *w, const node *n);
/* It hands a message of the partition to its application. */
void check_delivery(world *w, const node *n, uint32_t partition);
/* After every event. */
void check_holders(world *w);
void check_settled(world *w);
/* At the end. */
void check_convergence(world *w);

#endif
