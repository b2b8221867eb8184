/* faults_server.c - what happens to the servers: crashes, failovers, full memories and disks, clocks,
 * and people who delete things. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"
#include "test.h"

enum {
    SYNC_MS = 8000,
    TAIL_MS = 300,
    SPLIT_MS = 600,
    HOUR_MS = 3600 * 1000,
    STEPS_BETWEEN = 10,
    ROOM = 20000
};

static void pause_ms(int64_t ms) {
    struct test_wait w = test_wait_start(ms);
    while (test_wait_more(&w)) {
    }
}

static void ask(server *s, const char *format, long long number) {
    redisReply *r = nodes_ask(s, format, number);
    if (r != NULL)
        freeReplyObject(r);
}

/* ---- Crashes -------------------------------------------------------------------------------- */

bool begin_crash(scene *s, fault *f) {
    (void)f;
    nodes_crash(&s->nodes);
    return true;
}

void end_crash(scene *s, fault *f) {
    (void)f;
    nodes_revive(nodes_primary(&s->nodes));
}

/* What is written from now on is not on disk when the power goes. */
bool begin_power_cut(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 4);
    nodes_mark(&s->nodes);
    return true;
}

void end_power_cut(scene *s, fault *f) {
    if (f->variant == 0)
        nodes_crash(&s->nodes);
    else
        nodes_power_cut(&s->nodes);
    nodes_revive(nodes_primary(&s->nodes));
}

/* ---- Failover ------------------------------------------------------------------------------- */

static bool wait_in_sync(nodes *n) {
    struct test_wait w = test_wait_start(SYNC_MS);
    bool more = true, synced = false;
    if (nodes_other(n) == NULL)
        return false;
    if (n->detached) {
        nodes_revive(nodes_other(n));
        nodes_attach(n);
    }
    while (!(synced = nodes_in_sync(n)) && more)
        more = test_wait_more(&w);
    return synced;
}

bool begin_failover(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 3);
    if (!wait_in_sync(&s->nodes))
        return false;
    nodes_cut_replication(&s->nodes);
    return true;
}

void end_failover(scene *s, fault *f) {
    nodes *n = &s->nodes;
    if (f->variant == 2)
        nodes_crash(n);
    nodes_promote(n);
    if (f->variant == 1) /* two primaries at once: who is connected to the old one stays there */
        pause_ms(1 + (int64_t)fault_chance(f, SPLIT_MS));
    proxy_cut(n->proxy);
    nodes_revive(nodes_other(n));
    nodes_attach(n);
}

bool begin_old_primary(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 2);
    if (!wait_in_sync(&s->nodes))
        return false;
    nodes_cut_replication(&s->nodes);
    nodes_promote(&s->nodes);
    proxy_cut(s->nodes.proxy);
    return true;
}

/* The old one comes back as a replica, and is the primary again: with all, or without the last. */
void end_old_primary(scene *s, fault *f) {
    nodes *n = &s->nodes;
    if (!wait_in_sync(n))
        return;
    if (f->variant == 0) {
        ask(nodes_primary(n), "CLIENT PAUSE %lld WRITE", TAIL_MS);
        pause_ms(TAIL_MS / 2);
    }
    nodes_cut_replication(n);
    if (f->variant == 1)
        pause_ms(1 + (int64_t)fault_chance(f, TAIL_MS));
    nodes_promote(n);
    proxy_cut(n->proxy);
    nodes_attach(n);
}

/* ---- Full ----------------------------------------------------------------------------------- */

bool begin_maxmemory(scene *s, fault *f) {
    long long used = nodes_info(nodes_primary(&s->nodes), "used_memory");
    if (used <= 0)
        return false;
    ask(nodes_primary(&s->nodes), "CONFIG SET maxmemory %lld",
        used + (long long)fault_chance(f, ROOM));
    return true;
}

void end_maxmemory(scene *s, fault *f) {
    (void)f;
    ask(nodes_primary(&s->nodes), "CONFIG SET maxmemory %lld", 0);
}

/* A server that must fsync before it answers ends itself then; another one refuses writes. With that
 * one, no write may succeed in part: Redis 7.0 cuts off such a part at a length of its AOF that is out
 * of date after a truncated one was loaded, or a full resynchronisation. Then the file gets a gap of
 * zeros, and the server never starts again. */
bool begin_diskfull(scene *s, fault *f) {
    bool in_part = nodes_other(&s->nodes) == NULL;
    nodes_limit_disk(&s->nodes, in_part ? (int64_t)fault_chance(f, ROOM) : 0);
    return true;
}

void end_diskfull(scene *s, fault *f) {
    (void)f;
    nodes_limit_disk(&s->nodes, -1);
    nodes_revive(nodes_primary(&s->nodes));
}

/* ---- Disturbed ------------------------------------------------------------------------------ */

bool begin_script_flush(scene *s, fault *f) {
    ask(nodes_primary(&s->nodes), "SCRIPT FLUSH", 0);
    (void)f;
    return true;
}

void step_script_flush(scene *s, fault *f) {
    if (++f->steps % STEPS_BETWEEN == 0)
        ask(nodes_primary(&s->nodes), "SCRIPT FLUSH", 0);
}

bool begin_client_kill(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 3);
    if (f->variant != 1)
        ask(nodes_primary(&s->nodes), "CLIENT KILL TYPE normal", 0);
    if (f->variant != 0)
        ask(nodes_primary(&s->nodes), "CLIENT KILL TYPE pubsub", 0);
    return true;
}

void step_client_kill(scene *s, fault *f) {
    if (++f->steps % STEPS_BETWEEN == 0)
        begin_client_kill(s, f);
}

bool begin_client_pause(scene *s, fault *f) {
    if (fault_chance(f, 2) == 0)
        ask(nodes_primary(&s->nodes), "CLIENT PAUSE %lld WRITE", f->length);
    else
        ask(nodes_primary(&s->nodes), "CLIENT PAUSE %lld ALL", f->length);
    return true;
}

bool begin_busy_server(scene *s, fault *f) {
    static const char script[] = "local e = os.clock() + tonumber(ARGV[1]) / 1000 "
                                 "while os.clock() < e do end";
    server *at = nodes_primary(&s->nodes);
    char seconds[32];
    f->variant = (unsigned)fault_chance(f, 3);
    snprintf(seconds, sizeof seconds, "%.3f", (double)f->length / 1000);
    if (server_pid(at) <= 0)
        return false;
    if (f->variant == 0)
        nodes_tell(at, "DEBUG SLEEP %s", seconds);
    else if (f->variant == 1)
        nodes_tell(at, "EVAL %s 0 %lld", script, (long long)f->length);
    else
        server_pause(at);
    return true;
}

void end_busy_server(scene *s, fault *f) {
    if (f->variant == 2)
        server_resume(nodes_primary(&s->nodes));
}

/* ---- Clocks --------------------------------------------------------------------------------- */

bool begin_clock_forward(scene *s, fault *f) {
    (void)f;
    nodes_set_clock(&s->nodes, HOUR_MS);
    return true;
}

bool begin_clock_back(scene *s, fault *f) {
    (void)f;
    nodes_set_clock(&s->nodes, -HOUR_MS);
    return true;
}

void end_clock(scene *s, fault *f) {
    (void)f;
    nodes_set_clock(&s->nodes, 0);
}

/* ---- Ruin ----------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    const redisReply *const *x = a, *const *y = b;
    return strcmp((*x)->str, (*y)->str);
}

/* One of our keys, into `out`. */
static bool pick_key(scene *s, fault *f, char *out, size_t cap) {
    redisReply *r = nodes_ask(nodes_primary(&s->nodes), "KEYS sg:*");
    if (r == NULL || r->elements == 0)
        return false;
    qsort(r->element, r->elements, sizeof *r->element, by_name);
    snprintf(out, cap, "%s", r->element[fault_chance(f, r->elements)]->str);
    freeReplyObject(r);
    snprintf(f->record.text, sizeof f->record.text, "%.10s %.36s", f->kind->name, out);
    return true;
}

bool begin_flushall(scene *s, fault *f) {
    history_invoke(s->h, &f->record);
    ask(nodes_primary(&s->nodes), "FLUSHALL", 0);
    return true;
}

static bool replace_key(scene *s, fault *f, bool by_another) {
    char key[300];
    redisReply *r = NULL;
    if (!pick_key(s, f, key, sizeof key))
        return false;
    fprintf(stderr, "%s %s\n", f->kind->name, key);
    history_invoke(s->h, &f->record);
    r = by_another ? nodes_ask(nodes_primary(&s->nodes), "SET %s nonsense", key)
                   : nodes_ask(nodes_primary(&s->nodes), "DEL %s", key);
    if (r != NULL)
        freeReplyObject(r);
    return true;
}

bool begin_del_key(scene *s, fault *f) {
    return replace_key(s, f, false);
}

bool begin_wrong_type(scene *s, fault *f) {
    return replace_key(s, f, true);
}
