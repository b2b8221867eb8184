/* crew.h - the worker processes of a round. Only these are signalled, each by its own pid. */
#ifndef SG_CHAOS_CREW_H
#define SG_CHAOS_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CREW_MAX = 64, CREW_ARGS = 16, CREW_ARG = 160, CREW_NAME = 40 };

typedef enum crew_kind { CREW_PRODUCER = 1, CREW_CONSUMER = 2, CREW_OTHER = 4 } crew_kind;

typedef struct crew_place {
    crew_kind kind;
    char name[CREW_NAME];        /* "poll-1" */
    char process[CREW_NAME + 8]; /* "poll-1.3", its third process: its name in the history */
    char args[CREW_ARGS][CREW_ARG];
    unsigned n_args, generation;
    pid_t pid;   /* 0: not running */
    bool struck; /* by a fault: ends as it has to */
    bool stopped;
    bool guest; /* started by a fault, and not again */
} crew_place;

typedef struct crew {
    const char *program, *dir; /* where the histories and logs go */
    crew_place places[CREW_MAX];
    unsigned n;
    unsigned failed; /* processes that ended as they must not */
    uint64_t seed;
} crew;

/* A place for a worker, which is started; each argument is "field=value", the last NULL. */
crew_place *crew_add(crew *c, crew_kind kind, const char *name, const char *const args[]);
void crew_start(crew *c, crew_place *p);

/* SIGKILL, and it is gone. */
void crew_kill(crew *c, crew_place *p);
void crew_stop(crew *c, crew_place *p); /* SIGSTOP */
void crew_continue(crew *c, crew_place *p);

/* Take note of those that have ended by themselves, and start them again. */
void crew_look(crew *c);
/* SIGTERM to all of these kinds, wait for them, at last SIGKILL. False where one had to be. */
bool crew_end(crew *c, unsigned kinds, int64_t deadline_ms);
/* Wait for one that ends by itself; SIGKILL at the deadline. Its exit status; -1. */
int crew_wait(crew *c, crew_place *p, int64_t deadline_ms);

#endif
