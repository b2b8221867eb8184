/* faults_way.c - what happens between clients and server: the proxy. */
#include <stdio.h>

#include "faults.h"

enum { CUT_STEPS = 8, CUT_BYTES = 4000, DELAY_MS = 150 };

bool begin_cut(scene *s, fault *f) {
    if (fault_chance(f, 2) == 0)
        proxy_refuse(s->nodes.proxy, true); /* and they cannot come back at once */
    proxy_cut(s->nodes.proxy);
    return true;
}

void end_cut(scene *s, fault *f) {
    (void)f;
    proxy_refuse(s->nodes.proxy, false);
    proxy_cut(s->nodes.proxy);
}

/* Nothing comes through, and nobody is told: both ways, or one of them. */
bool begin_blackhole(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 4);
    if (f->variant != 0)
        proxy_hold_all(s->nodes.proxy, PROXY_REQUESTS);
    if (f->variant != 1)
        proxy_hold_all(s->nodes.proxy, PROXY_REPLIES);
    return true;
}

void end_blackhole(scene *s, fault *f) {
    if (f->variant == 3) /* what is in it is gone */
        proxy_cut(s->nodes.proxy);
    proxy_pass(s->nodes.proxy, PROXY_REQUESTS);
    proxy_pass(s->nodes.proxy, PROXY_REPLIES);
}

bool begin_delay(scene *s, fault *f) {
    for (int way = 0; way < 2; way++) {
        proxy_delay(s->nodes.proxy, (proxy_way)way, 1 + (int64_t)fault_chance(f, DELAY_MS));
        proxy_jitter(s->nodes.proxy, (proxy_way)way, 1 + (int64_t)fault_chance(f, DELAY_MS));
    }
    return true;
}

void end_delay(scene *s, fault *f) {
    (void)f;
    for (int way = 0; way < 2; way++) {
        proxy_delay(s->nodes.proxy, (proxy_way)way, 0);
        proxy_jitter(s->nodes.proxy, (proxy_way)way, 0);
    }
}

bool begin_bytewise(scene *s, fault *f) {
    f->variant = (unsigned)fault_chance(f, 3);
    proxy_bytewise(s->nodes.proxy, PROXY_REQUESTS, f->variant != 0);
    proxy_bytewise(s->nodes.proxy, PROXY_REPLIES, f->variant != 1);
    return true;
}

void end_bytewise(scene *s, fault *f) {
    (void)f;
    proxy_bytewise(s->nodes.proxy, PROXY_REQUESTS, false);
    proxy_bytewise(s->nodes.proxy, PROXY_REPLIES, false);
}

/* ---- Cuts at a byte: within a request, or behind it and before its reply -------------------- */

bool begin_drops(scene *s, fault *f) {
    (void)s;
    (void)f;
    return true;
}

static void cut_somewhere(scene *s, fault *f, proxy_way way) {
    if (f->steps++ % CUT_STEPS == 0)
        proxy_cut_after(s->nodes.proxy, way, (size_t)fault_chance(f, CUT_BYTES));
}

void step_drop_reply(scene *s, fault *f) {
    cut_somewhere(s, f, PROXY_REPLIES);
}

void step_drop_request(scene *s, fault *f) {
    cut_somewhere(s, f, PROXY_REQUESTS);
}

void end_drops(scene *s, fault *f) {
    (void)f;
    proxy_cut(s->nodes.proxy);
}

/* ---- Late: requests come to the server when nobody waits for them any more ------------------ */

/* The connections that are there hold back what they are given, longer than a client waits; it
 * makes others, which work. Or the client is killed meanwhile. */
bool begin_late(scene *s, fault *f) {
    proxy_hold(s->nodes.proxy, PROXY_REQUESTS);
    f->variant = (unsigned)fault_chance(f, 2);
    if (f->variant == 0)
        return true;
    fault death = {.chance = f->seed + 1};
    death.record = (history_record){.kind = HISTORY_FAULT, .flags = HISTORY_DEAD};
    snprintf(death.record.text, sizeof death.record.text, "late-kill");
    if (fault_chance(f, 2) == 0 ? begin_kill_producer(s, &death) : begin_kill_consumer(s, &death))
        f->place = death.place;
    return true;
}

void end_late(scene *s, fault *f) {
    proxy_pass(s->nodes.proxy, PROXY_REQUESTS);
    if (f->place != NULL)
        end_kill(s, f);
}
