/* faults_worker.c - workers that die, sleep, and come in crowds. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "test.h"

enum { GUESTS = 5, STEPS_UNTIL_DEATH = 30, END_MS = 8000 };

static bool pick(scene *s, fault *f, crew_kind kind) {
    crew_place *able[CREW_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < s->crew.n; i++) {
        crew_place *p = &s->crew.places[i];
        if (p->kind == kind && p->pid != 0 && !p->guest && !p->stopped)
            able[n++] = p;
    }
    if (n == 0)
        return false;
    f->place = able[fault_chance(f, n)];
    f->record.target = history_name(s->h, f->place->process);
    history_invoke(s->h, &f->record);
    return true;
}

static bool begin_kill(scene *s, fault *f, crew_kind kind) {
    if (!pick(s, f, kind))
        return false;
    crew_kill(&s->crew, f->place);
    history_done(s->h, &f->record, HISTORY_OK, SEG_OK); /* it is over: the process is gone */
    return true;
}

bool begin_kill_consumer(scene *s, fault *f) {
    return begin_kill(s, f, CREW_CONSUMER);
}

bool begin_kill_producer(scene *s, fault *f) {
    return begin_kill(s, f, CREW_PRODUCER);
}

void end_kill(scene *s, fault *f) {
    if (f->place->pid == 0)
        crew_start(&s->crew, f->place);
}

static bool begin_stop(scene *s, fault *f, crew_kind kind) {
    if (!pick(s, f, kind))
        return false;
    crew_stop(&s->crew, f->place);
    return true;
}

bool begin_stop_consumer(scene *s, fault *f) {
    return begin_stop(s, f, CREW_CONSUMER);
}

bool begin_stop_producer(scene *s, fault *f) {
    return begin_stop(s, f, CREW_PRODUCER);
}

void end_stop(scene *s, fault *f) {
    crew_continue(&s->crew, f->place);
}

/* ---- Storm: consumers that join all at once, come and go, and die ---------------------------- */

static crew_place *guest(scene *s, unsigned i) {
    char name[CREW_NAME], url[160], session[64];
    snprintf(name, sizeof name, "guest-%u", i);
    for (unsigned k = 0; k < s->crew.n; k++)
        if (strcmp(s->crew.places[k].name, name) == 0) {
            if (s->crew.places[k].pid == 0)
                crew_start(&s->crew, &s->crew.places[k]);
            return &s->crew.places[k];
        }
    snprintf(url, sizeof url, "url=%s", s->url);
    snprintf(session, sizeof session, "session=%lld", (long long)s->session);
    const char *const args[] = {"role=come-and-go", "stream=in", "group=poll", url, session, NULL};
    crew_place *p = crew_add(&s->crew, CREW_CONSUMER, name, args);
    p->guest = true;
    return p;
}

bool begin_storm(scene *s, fault *f) {
    for (unsigned i = 0; i < GUESTS; i++)
        guest(s, i);
    (void)f;
    return true;
}

/* Now and then one dies, and another one comes in its place. */
void step_storm(scene *s, fault *f) {
    if (++f->steps % STEPS_UNTIL_DEATH != 0)
        return;
    crew_place *p = guest(s, (unsigned)fault_chance(f, GUESTS));
    history_record r = {.kind = HISTORY_FAULT, .flags = HISTORY_DEAD};
    snprintf(r.text, sizeof r.text, "storm-kill");
    r.target = history_name(s->h, p->process);
    history_invoke(s->h, &r);
    crew_kill(&s->crew, p);
    history_done(s->h, &r, HISTORY_OK, SEG_OK);
    crew_start(&s->crew, p);
}

void end_storm(scene *s, fault *f) {
    (void)f;
    for (unsigned i = 0; i < GUESTS; i++) {
        crew_place *p = guest(s, i);
        p->struck = true;
        kill(p->pid, SIGTERM);
    }
}
