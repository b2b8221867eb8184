/* faults.c - the table, and what all faults have in common. */
#include "faults.h"

#include <stdio.h>
#include <string.h>

#include "test.h"

enum {
    ANY = ROUND_STEADY | ROUND_LOSSY,
    UP = 0,
    AWAY = HISTORY_UNREACHABLE,
    LOSES = HISTORY_UNREACHABLE | HISTORY_MAY_LOSE,
    RUINS = HISTORY_UNREACHABLE | HISTORY_MAY_LOSE | HISTORY_DESTROYS
};

/* clang-format off */
const fault_kind fault_kinds[] = {
    {"kill-consumer", SCOPE_WORKER, ANY, HISTORY_DEAD, 200, 2500, begin_kill_consumer, NULL, end_kill},
    {"stop-consumer", SCOPE_WORKER, ANY, HISTORY_STOPPED, 1800, 3500, begin_stop_consumer, NULL, end_stop},
    {"kill-producer", SCOPE_WORKER, ANY, HISTORY_DEAD, 200, 1500, begin_kill_producer, NULL, end_kill},
    {"stop-producer", SCOPE_WORKER, ANY, HISTORY_STOPPED, 200, 3000, begin_stop_producer, NULL, end_stop},
    {"storm", SCOPE_WORKER, ANY, UP, 1500, 4000, begin_storm, step_storm, end_storm},
    {"cut", SCOPE_WAY, ANY, AWAY, 0, 800, begin_cut, NULL, end_cut},
    {"blackhole", SCOPE_WAY, ANY, AWAY, 200, 3500, begin_blackhole, NULL, end_blackhole},
    {"delay", SCOPE_WAY, ANY, AWAY, 500, 3000, begin_delay, NULL, end_delay},
    {"bytewise", SCOPE_WAY, ANY, AWAY, 300, 1200, begin_bytewise, NULL, end_bytewise},
    {"drop-reply", SCOPE_WAY, ANY, AWAY, 300, 2000, begin_drops, step_drop_reply, end_drops},
    {"drop-request", SCOPE_WAY, ANY, AWAY, 300, 2000, begin_drops, step_drop_request, end_drops},
    {"late", SCOPE_WAY, ANY, AWAY, 1600, 3500, begin_late, NULL, end_late},
    {"kill-server-always", SCOPE_SERVER, ROUND_STEADY, AWAY, 50, 1500, begin_crash, NULL, end_crash},
    {"kill-server-everysec", SCOPE_SERVER, ROUND_LOSSY, LOSES, 100, 1000, begin_power_cut, NULL, end_power_cut},
    {"failover", SCOPE_SERVER, ROUND_LOSSY, LOSES, 50, 1500, begin_failover, NULL, end_failover},
    {"old-primary", SCOPE_SERVER, ROUND_LOSSY, LOSES, 300, 2000, begin_old_primary, NULL, end_old_primary},
    {"maxmemory", SCOPE_SERVER, ANY, AWAY, 300, 2500, begin_maxmemory, NULL, end_maxmemory},
    {"diskfull", SCOPE_SERVER, ANY, AWAY, 300, 2500, begin_diskfull, NULL, end_diskfull},
    {"script-flush", SCOPE_SERVER, ANY, UP, 0, 1000, begin_script_flush, step_script_flush, NULL},
    {"client-kill", SCOPE_SERVER, ANY, AWAY, 0, 1000, begin_client_kill, step_client_kill, NULL},
    {"client-pause", SCOPE_SERVER, ANY, AWAY, 100, 2500, begin_client_pause, NULL, NULL},
    {"busy-server", SCOPE_SERVER, ANY, AWAY, 100, 2500, begin_busy_server, NULL, end_busy_server},
    {"clock-forward", SCOPE_CLOCK, ANY, UP, 500, 3000, begin_clock_forward, NULL, end_clock},
    {"clock-back", SCOPE_CLOCK, ANY, UP, 500, 3000, begin_clock_back, NULL, end_clock},
    {"flushall", SCOPE_SERVER, ROUND_RUIN, RUINS, 1500, 2500, begin_flushall, NULL, NULL},
    {"del-key", SCOPE_SERVER, ROUND_RUIN, RUINS, 1500, 2500, begin_del_key, NULL, NULL},
    {"wrong-type", SCOPE_SERVER, ROUND_RUIN, RUINS, 1500, 2500, begin_wrong_type, NULL, NULL},
};
/* clang-format on */
const unsigned n_fault_kinds = sizeof fault_kinds / sizeof *fault_kinds;

const fault_kind *fault_named(const char *name, size_t len) {
    for (unsigned i = 0; i < n_fault_kinds; i++)
        if (strlen(fault_kinds[i].name) == len && memcmp(fault_kinds[i].name, name, len) == 0)
            return &fault_kinds[i];
    return NULL;
}

uint64_t fault_chance(fault *f, uint64_t below) {
    f->chance = f->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (f->chance >> 33) % below;
}

bool fault_begin(scene *s, fault *f) {
    f->chance = f->seed;
    f->begun = true;
    f->record = (history_record){.kind = HISTORY_FAULT, .flags = (uint16_t)f->kind->flags};
    snprintf(f->record.text, sizeof f->record.text, "%s", f->kind->name);
    if (!f->kind->begin(s, f)) {
        f->over = true;
        return false;
    }
    if (f->record.call == 0) /* it has nobody to name */
        history_invoke(s->h, &f->record);
    return true;
}

void fault_step(scene *s, fault *f) {
    if (f->kind->step != NULL)
        f->kind->step(s, f);
}

void fault_end(scene *s, fault *f) {
    f->over = true;
    if (f->kind->end != NULL)
        f->kind->end(s, f);
    if (f->record.phase == HISTORY_INVOKE)
        history_done(s->h, &f->record, HISTORY_OK, SEG_OK);
}

void faults_heal(scene *s) {
    nodes *n = &s->nodes;
    proxy *p = n->proxy;
    proxy_refuse(p, false);
    for (int way = 0; way < 2; way++) {
        proxy_delay(p, (proxy_way)way, 0);
        proxy_jitter(p, (proxy_way)way, 0);
        proxy_bytewise(p, (proxy_way)way, false);
        proxy_pass(p, (proxy_way)way);
    }
    nodes_set_clock(n, 0);
    for (int i = 0; i < 2; i++)
        if (n->node[i] != NULL && server_pid(n->node[i]) != 0)
            server_resume(n->node[i]);
    nodes_limit_disk(n, -1);
    nodes_revive(nodes_primary(n));
    nodes_revive(nodes_other(n));
    freeReplyObject(nodes_ask(nodes_primary(n), "CONFIG SET maxmemory 0"));
    freeReplyObject(nodes_ask(nodes_primary(n), "CLIENT UNPAUSE"));
    if (nodes_other(n) != NULL && n->detached)
        nodes_attach(n);
    for (unsigned i = 0; i < s->crew.n; i++)
        crew_continue(&s->crew, &s->crew.places[i]);
}
