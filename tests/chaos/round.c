/* round.c - see round.h.
 *
 *     servers, streams, workers
 *       faults, one after another or two at a time      a ruined stream: all end, a new one is made
 *     heal; producers end; everything is drained; the final state is written down; all end
 *     judge */
#include "round.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "checker.h"
#include "test.h"

enum {
    SESSION_MS = 1500,
    BOUND_MS = 2000, /* what a busy machine may take longer than the session timeout */
    PARTITIONS = 4,
    OUTPUTS = 2,
    RING = 500,
    TICK_MS = 20,
    CREATE_MS = 15000,
    PRODUCERS_END_MS = 12000,
    END_MS = 8000,
    RUIN_END_MS = 4000,
    ABLE_MS = 1200 /* a round's workers have begun */
};

typedef struct round {
    const round_order *order;
    tally *tally;
    scene scene;
    plan plan;
    char dir[200];
    unsigned epoch; /* of the streams: each is made anew after it was ruined */
    unsigned finals;
} round;

static void tick(void) {
    nanosleep(&(struct timespec){0, TICK_MS * 1000000L}, NULL);
}

/* ---- Streams and workers -------------------------------------------------------------------- */

static const char *alias(const round *r, const char *stream, char out[40]) {
    snprintf(out, 40, r->epoch > 1 ? "%s#%u" : "%s", stream, r->epoch);
    return out;
}

/* The words of a worker: "role=poll stream=in group=poll"; those that all have are added. */
static crew_place *hire(round *r, crew_kind kind, const char *name, const char *words) {
    char text[400], full[CREW_NAME], url[160], session[40], in[64], out[64], partitions[40];
    const char *args[CREW_ARGS];
    unsigned n = 0;
    snprintf(full, sizeof full, r->epoch > 1 ? "%s-%u" : "%s", name, r->epoch);
    snprintf(text, sizeof text, "%s", words);
    char stream[40] = "in", target[40] = "", *rest = text;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        args[n++] = word;
        sscanf(word, "stream=%39s", stream);
        sscanf(word, "target=%39s", target);
    }
    snprintf(url, sizeof url, "url=%s", r->scene.url);
    snprintf(session, sizeof session, "session=%d", SESSION_MS);
    snprintf(in, sizeof in, "alias=%s", alias(r, stream, (char[40]){0}));
    snprintf(out, sizeof out, "target-alias=%s", alias(r, target, (char[40]){0}));
    snprintf(partitions, sizeof partitions, "partitions=%d", PARTITIONS);
    args[n++] = url;
    args[n++] = session;
    args[n++] = in;
    args[n++] = partitions;
    if (target[0] != '\0')
        args[n++] = out;
    args[n] = NULL;
    return crew_add(&r->scene.crew, kind, full, args);
}

static void write_stream(round *r, const char *stream, bool drops) {
    char name[40];
    history *h = r->scene.h;
    history_event(h, &(history_record){.kind = HISTORY_STREAM,
                                       .stream = history_name(h, alias(r, stream, name)),
                                       .partition = PARTITIONS,
                                       .flags = drops ? HISTORY_DROPS : 0});
}

static void write_group(round *r, const char *stream, const char *group, unsigned flags) {
    char name[40];
    history *h = r->scene.h;
    history_event(h, &(history_record){.kind = HISTORY_GROUP,
                                       .stream = history_name(h, alias(r, stream, name)),
                                       .group = history_name(h, group),
                                       .partition = HISTORY_ALL,
                                       .end = (uint64_t)SESSION_MS * 1000000,
                                       .first = (uint64_t)BOUND_MS * 1000000,
                                       .flags = (uint16_t)flags});
}

static bool create_streams(round *r) {
    static const struct {
        const char *name, *words;
    } streams[] = {
        {"create-in", "role=create stream=in"},
        {"create-out", "role=create stream=out"},
        {"create-ring", "role=create stream=ring drop=1 bound=500"},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        crew_place *p = hire(r, CREW_OTHER, streams[i].name, streams[i].words);
        p->guest = true;
        good &= crew_wait(&r->scene.crew, p, CREATE_MS) == 0;
    }
    write_stream(r, "in", false);
    write_stream(r, "out", false);
    write_stream(r, "ring", true);
    write_group(r, "in", "poll", 0);
    write_group(r, "in", "retry", HISTORY_RETRIES);
    write_group(r, "in", "handle", HISTORY_RETRIES);
    write_group(r, "in", "stage", HISTORY_RETRIES);
    write_group(r, "out", "out", 0);
    write_group(r, "ring", "ring", 0);
    char name[40];
    history *h = r->scene.h;
    history_event(h, &(history_record){.kind = HISTORY_STAGE,
                                       .stream = history_name(h, alias(r, "in", name)),
                                       .group = history_name(h, "stage"),
                                       .target = history_name(h, alias(r, "out", name)),
                                       .index = OUTPUTS});
    return good;
}

static void hire_all(round *r) {
    static const struct {
        crew_kind kind;
        const char *name, *words;
    } workers[] = {
        {CREW_PRODUCER, "produce-1", "role=produce keys=30 rate=150"},
        {CREW_PRODUCER, "produce-2", "role=produce keys=8 rate=150 timeout=10000"},
        {CREW_PRODUCER, "hasty-1", "role=produce keys=12 rate=80 timeout=300"},
        {CREW_PRODUCER, "sync-1", "role=produce-sync bare=1 keys=10 rate=60 timeout=4000"},
        {CREW_PRODUCER, "ring-1", "role=produce stream=ring rate=200 timeout=5000"},
        {CREW_CONSUMER, "poll-1", "role=poll group=poll"},
        {CREW_CONSUMER, "poll-2", "role=poll group=poll"},
        {CREW_CONSUMER, "poll-3", "role=poll group=poll bare=1"},
        {CREW_CONSUMER, "gadabout-1", "role=come-and-go group=poll"},
        {CREW_CONSUMER, "retry-1", "role=poll group=retry retry=20"},
        {CREW_CONSUMER, "retry-2", "role=poll group=retry retry=20"},
        {CREW_CONSUMER, "handle-1", "role=handle group=handle retry=30 reject=2"},
        {CREW_CONSUMER, "handle-2", "role=handle bare=1 group=handle retry=30 reject=2"},
        {CREW_CONSUMER, "stage-1", "role=forward group=stage target=out"},
        {CREW_CONSUMER, "stage-2", "role=forward-run group=stage target=out"},
        {CREW_CONSUMER, "out-1", "role=poll stream=out group=out"},
        {CREW_CONSUMER, "out-2", "role=poll stream=out group=out"},
        {CREW_CONSUMER, "lag-1", "role=poll stream=ring group=ring rate=5"},
        {CREW_OTHER, "watch-1", "role=watch"},
        {CREW_OTHER, "watch-2", "role=watch stream=out"},
    };
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        hire(r, workers[i].kind, workers[i].name, workers[i].words);
}

/* ---- Faults --------------------------------------------------------------------------------- */

static bool scope_taken(const plan *p, fault_scope scope) {
    for (unsigned i = 0; i < p->n; i++)
        if (p->faults[i].begun && !p->faults[i].over && p->faults[i].kind->scope == scope)
            return true;
    return false;
}

static void begin_one(round *r, fault *f) {
    fprintf(stderr, "round %" PRIu64 " %" PRId64 ": %s for %" PRId64 " ms\n", r->order->number,
            test_now_ms(), f->kind->name, f->length);
    if (fault_begin(&r->scene, f))
        r->tally->faults[f->kind - fault_kinds]++;
    else
        r->tally->passed_over++;
}

static void run_faults(round *r) {
    int64_t start = test_now_ms();
    for (int64_t now = 0; now < r->order->faults_ms; now = test_now_ms() - start) {
        for (unsigned i = 0; i < r->plan.n; i++) {
            fault *f = &r->plan.faults[i];
            if (f->over)
                continue;
            if (!f->begun && now >= f->at && !scope_taken(&r->plan, f->kind->scope)) {
                f->at = now; /* it may come late, and then lasts as long */
                begin_one(r, f);
            } else if (f->begun && now >= f->at + f->length) {
                fault_end(&r->scene, f);
            } else if (f->begun) {
                fault_step(&r->scene, f);
            }
        }
        crew_look(&r->scene.crew);
        tick();
    }
    for (unsigned i = 0; i < r->plan.n; i++)
        if (r->plan.faults[i].begun && !r->plan.faults[i].over)
            fault_end(&r->scene, &r->plan.faults[i]);
}

static void wait_ms(round *r, int64_t ms) {
    for (int64_t end = test_now_ms() + ms; test_now_ms() < end; tick())
        crew_look(&r->scene.crew);
}

/* Ruined, looked at for a while, and made anew: nobody knows the old streams after that. */
static void ruin_one(round *r, fault *f) {
    wait_ms(r, ABLE_MS);
    begin_one(r, f);
    wait_ms(r, f->length);
    if (!crew_end(&r->scene.crew, ~0u, RUIN_END_MS))
        r->tally->failed++;
    fault_end(&r->scene, f);
    freeReplyObject(nodes_ask(nodes_primary(&r->scene.nodes), "FLUSHALL"));
    r->scene.crew.n = 0;
    r->epoch++;
    create_streams(r);
    hire_all(r);
}

static void run_ruin(round *r) {
    int64_t end = test_now_ms() + r->order->faults_ms;
    for (unsigned i = 0; i < r->plan.n && test_now_ms() < end; i++)
        ruin_one(r, &r->plan.faults[i]);
    wait_ms(r, ABLE_MS);
}

/* ---- The end -------------------------------------------------------------------------------- */

static bool read_final(round *r, const char *stream, int64_t until) {
    char words[400], name[40];
    int64_t left = until - test_now_ms();
    snprintf(name, sizeof name, "final-%u", ++r->finals);
    server *s = nodes_primary(&r->scene.nodes);
    snprintf(words, sizeof words, "role=final stream=%s socket=%s deadline=%" PRId64, stream,
             server_socket(s), left > 0 ? left : 0);
    crew_place *p = hire(r, CREW_OTHER, name, words);
    p->guest = true;
    return crew_wait(&r->scene.crew, p, (left > 0 ? left : 0) + END_MS) == 0;
}

/* What takes how long is for people who look for what hangs. */
static void say_phase(const round *r, const char *phase) {
    fprintf(stderr, "round %" PRIu64 " %" PRId64 ": %s\n", r->order->number, test_now_ms(), phase);
}

static void drain(round *r) {
    int64_t until = test_now_ms() + r->order->drain_ms;
    say_phase(r, "healing");
    faults_heal(&r->scene);
    say_phase(r, "producers end");
    crew_look(&r->scene.crew);
    if (!crew_end(&r->scene.crew, CREW_PRODUCER, PRODUCERS_END_MS))
        r->tally->failed++;
    say_phase(r, "draining");
    bool good = read_final(r, "in", until);
    good &= read_final(r, "out", until);
    good &= read_final(r, "ring", until);
    say_phase(r, "all end");
    good &= crew_end(&r->scene.crew, ~0u, END_MS);
    say_phase(r, "judging");
    if (!good)
        r->tally->failed++;
}

typedef struct extent {
    uint64_t stream, largest[PARTITIONS]; /* offsets that senders were told */
    uint64_t ruined;                      /* when; 0: not */
} extent;

static bool stored_in(const history_record *done, const history_record *r) {
    return r->kind == HISTORY_SEND && r->phase == HISTORY_OK && r->offset != UINT64_MAX &&
           r->stream == done->stream && r->partition == done->partition;
}

/* Was it sent after the ruin, and after the answer to one that lies behind it? */
static bool begins_anew(const history_log *l, size_t i, uint64_t ruined) {
    const history_record *done = &l->records[i];
    while (i > 0 && !(l->records[i].phase == HISTORY_INVOKE && l->records[i].call == done->call &&
                      l->records[i].process == done->process))
        i--;
    bool late = l->records[i].at > ruined, behind = false;
    for (; late && !behind && i > 0; i--)
        behind = stored_in(done, &l->records[i]) && l->records[i].offset > done->offset;
    return behind;
}

/* After a stream was ruined, nothing may be stored in it as if it were new. */
static uint64_t count_restarted(const history_log *l) {
    static extent extents[3 * PLAN_MAX];
    size_t n = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < l->n; i++) {
        const history_record *r = &l->records[i];
        if (r->kind == HISTORY_STREAM && n < sizeof extents / sizeof *extents)
            extents[n++] = (extent){.stream = r->stream};
        if (r->kind == HISTORY_FAULT && (r->flags & HISTORY_DESTROYS) != 0)
            for (size_t k = 0; k < n; k++)
                extents[k].ruined = extents[k].ruined != 0 ? extents[k].ruined : r->at;
        if (!stored_in(r, r) || r->partition >= PARTITIONS)
            continue;
        extent *e = extents + (n > 0 ? n - 1 : 0);
        while (e > extents && e->stream != r->stream)
            e--;
        if (e->stream == r->stream && e->ruined != 0 && r->offset < e->largest[r->partition])
            count += begins_anew(l, i, e->ruined);
        if (e->stream == r->stream && r->offset > e->largest[r->partition])
            e->largest[r->partition] = r->offset;
    }
    return count;
}

static void add_verdict(tally *t, const verdict *v) {
    verdict *sum = &t->verdict;
    for (size_t i = 0; i < ANOMALY_KINDS; i++)
        sum->counts[i] += v->counts[i];
    const uint64_t *from = (const uint64_t *)&v->losses;
    uint64_t *to = (uint64_t *)&sum->losses;
    for (size_t i = 0; i < sizeof v->losses / sizeof *from; i++)
        to[i] += from[i];
    sum->records += v->records;
    sum->sends += v->sends;
    sum->stored += v->stored;
    sum->failed += v->failed;
    sum->unknown += v->unknown;
    sum->deliveries += v->deliveries;
    sum->redeliveries += v->redeliveries;
    sum->commits += v->commits;
    sum->settled += v->settled;
}

static bool judge(round *r) {
    static verdict v;
    char error[200];
    history_log log;
    memset(&v, 0, sizeof v);
    if (!history_load(&log, r->dir, error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        return false;
    }
    checker_judge(&v, &log);
    takeovers_add(&r->tally->takeovers, &log);
    uint64_t restarted = r->order->kind == ROUND_RUIN ? count_restarted(&log) : 0;
    history_log_fini(&log);
    add_verdict(r->tally, &v);
    r->tally->restarted += restarted;
    printf("---- round %" PRIu64 ", %s\n", r->order->number, r->dir);
    verdict_print(&v, stdout);
    fflush(stdout);
    return verdict_total(&v) == 0 && restarted == 0;
}

bool round_run(const round_order *o, tally *t) {
    static round r;
    static unsigned dirs;
    uint64_t failed = t->failed;
    memset(&r, 0, sizeof r);
    r.order = o;
    r.tally = t;
    r.epoch = 1;
    snprintf(r.dir, sizeof r.dir, "%s/round-%u", o->dir, ++dirs);
    CHECK_EQ(mkdir(r.dir, 0700), 0);
    plan_make(&r.plan, o->seed, o->kind, o->kinds, o->faults_ms);
    nodes_start(&r.scene.nodes, o->clock, o->kind == ROUND_LOSSY ? NODES_EVERYSEC : NODES_ALWAYS,
                o->kind == ROUND_LOSSY);
    r.scene.session = SESSION_MS;
    snprintf(r.scene.url, sizeof r.scene.url, "%s", proxy_url(r.scene.nodes.proxy));
    r.scene.crew = (crew){.program = o->worker, .dir = r.dir, .seed = o->seed};
    r.scene.h = history_open(r.dir, "driver");
    bool good = create_streams(&r);
    hire_all(&r);
    if (o->kind == ROUND_RUIN)
        run_ruin(&r);
    else
        run_faults(&r);
    drain(&r);
    history_close(r.scene.h);
    nodes_stop(&r.scene.nodes);
    t->failed += r.scene.crew.failed;
    good &= judge(&r) && t->failed == failed;
    t->rounds++;
    t->bad += !good;
    return good;
}
