/* faults.h - what can go wrong: a table of faults, each with a beginning and an end, all of whose
 * choices follow from its seed. What is done is written into the history of the driver. */
#ifndef SG_CHAOS_FAULTS_H
#define SG_CHAOS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "crew.h"
#include "history.h"
#include "nodes.h"

/* What a round's servers are like, and so which faults fit. */
typedef enum round_kind {
    ROUND_STEADY = 1, /* one server that fsyncs before it answers: it loses nothing */
    ROUND_LOSSY = 2,  /* it fsyncs each second, and has a replica: crashes lose what came last */
    ROUND_RUIN = 4    /* as the first, but what is stored is destroyed */
} round_kind;

/* Two faults of one kind of thing do not overlap. */
typedef enum fault_scope { SCOPE_WORKER, SCOPE_WAY, SCOPE_SERVER, SCOPE_CLOCK } fault_scope;

typedef struct scene {
    nodes nodes;
    crew crew;
    history *h;
    uint64_t number; /* of the round in the run */
    int64_t session; /* ms */
    char url[128];
} scene;

struct fault_kind;

typedef struct fault {
    const struct fault_kind *kind;
    uint64_t seed, chance;
    int64_t at, length; /* ms from the round's beginning; how long it lasts */
    bool begun, over;

    /* Its own. */
    crew_place *place;
    history_record record;
    unsigned variant, steps;
} fault;

typedef struct fault_kind {
    const char *name;
    fault_scope scope;
    unsigned rounds;     /* in which it may come */
    unsigned flags;      /* of the history */
    int64_t least, most; /* ms that it lasts */
    /* False: there is nothing to break now; it is passed over. */
    bool (*begin)(scene *s, fault *f);
    void (*step)(scene *s, fault *f); /* now and then between both; may be NULL */
    void (*end)(scene *s, fault *f);  /* may be NULL */
} fault_kind;

extern const fault_kind fault_kinds[];
extern const unsigned n_fault_kinds;

/* By name; NULL. */
const fault_kind *fault_named(const char *name, size_t len);

uint64_t fault_chance(fault *f, uint64_t below);
bool fault_begin(scene *s, fault *f);
void fault_step(scene *s, fault *f);
void fault_end(scene *s, fault *f);

/* Undo whatever is left: all up, the proxy clean, clocks true, a replica that is in sync. */
void faults_heal(scene *s);

/* ---- Of the files they are in ---------------------------------------------------------------- */

/* faults_worker.c */
bool begin_kill_consumer(scene *s, fault *f);
bool begin_kill_producer(scene *s, fault *f);
void end_kill(scene *s, fault *f);
bool begin_stop_consumer(scene *s, fault *f);
bool begin_stop_producer(scene *s, fault *f);
void end_stop(scene *s, fault *f);
bool begin_storm(scene *s, fault *f);
void step_storm(scene *s, fault *f);
void end_storm(scene *s, fault *f);
/* faults_way.c */
bool begin_cut(scene *s, fault *f);
void end_cut(scene *s, fault *f);
bool begin_blackhole(scene *s, fault *f);
void end_blackhole(scene *s, fault *f);
bool begin_delay(scene *s, fault *f);
void end_delay(scene *s, fault *f);
bool begin_bytewise(scene *s, fault *f);
void end_bytewise(scene *s, fault *f);
bool begin_drops(scene *s, fault *f);
void step_drop_reply(scene *s, fault *f);
void step_drop_request(scene *s, fault *f);
void end_drops(scene *s, fault *f);
bool begin_late(scene *s, fault *f);
void end_late(scene *s, fault *f);
/* faults_server.c */
bool begin_crash(scene *s, fault *f);
void end_crash(scene *s, fault *f);
bool begin_power_cut(scene *s, fault *f);
void end_power_cut(scene *s, fault *f);
bool begin_failover(scene *s, fault *f);
void end_failover(scene *s, fault *f);
bool begin_old_primary(scene *s, fault *f);
void end_old_primary(scene *s, fault *f);
bool begin_maxmemory(scene *s, fault *f);
void end_maxmemory(scene *s, fault *f);
bool begin_diskfull(scene *s, fault *f);
void end_diskfull(scene *s, fault *f);
bool begin_script_flush(scene *s, fault *f);
void step_script_flush(scene *s, fault *f);
bool begin_client_kill(scene *s, fault *f);
void step_client_kill(scene *s, fault *f);
bool begin_client_pause(scene *s, fault *f);
bool begin_clock_forward(scene *s, fault *f);
bool begin_clock_back(scene *s, fault *f);
void end_clock(scene *s, fault *f);
bool begin_busy_server(scene *s, fault *f);
void end_busy_server(scene *s, fault *f);
bool begin_flushall(scene *s, fault *f);
bool begin_del_key(scene *s, fault *f);
bool begin_wrong_type(scene *s, fault *f);

#endif
