/* group_sync.lua: what holds in every history. Members join, beat, hand back, leave, fall silent,
 * are replaced, and time passes, in an order by chance; before and after each call the group's
 * whole state is read and compared. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "groups_rig.h"
#include "test.h"

enum { PEOPLE = 8, PARTS_MAX = 24, NOBODY = -1, STEPS = 2500 };

/* ---- the group as it is on the server ----------------------------------------------------- */

struct part {
    int owner, target; /* members, or NOBODY */
    long long epoch;
};

struct snapshot {
    struct part parts[PARTS_MAX];
    bool present[PEOPLE];
    long long lease[PEOPLE], version[PEOPLE];
    char nonce[PEOPLE][24];
    long long clock, cap, epoch;
    size_t n;
};

static int person(const char *name) {
    return *name == 'm' ? name[1] - '0' : NOBODY;
}

static void read_part(struct part *out, const char *text) {
    const char *epoch = strchr(text, '|'), *target = strrchr(text, '|');
    *out = (struct part){person(text), person(target + 1), strtoll(epoch + 1, NULL, 10)};
}

static void read_member(struct snapshot *s, int who, const char *text) {
    CHECK_EQ(sscanf(text, "%23[^|]|%*d|%lld|", s->nonce[who], &s->version[who]), 2);
    s->present[who] = true;
}

static struct snapshot look(const group *g) {
    struct snapshot s = {.n = 0};
    redisReply *parts = raw_cmd_reply(&g->raw, "HGETALL %s", RAW_KEY(&g->raw, 'p'));
    redisReply *fields = raw_cmd_reply(&g->raw, "HGETALL %s", RAW_KEY(&g->raw, 'g'));
    redisReply *leases = raw_cmd_reply(&g->raw, "ZRANGE %s 0 -1 WITHSCORES", RAW_KEY(&g->raw, 'l'));
    for (uint32_t p = 0; p < g->partitions; p++) {
        s.parts[p] = (struct part){NOBODY, NOBODY, 0};
    }
    for (size_t i = 0; i < parts->elements; i += 2) {
        read_part(&s.parts[strtoul(parts->element[i]->str, NULL, 10)], parts->element[i + 1]->str);
    }
    for (size_t i = 0; i < fields->elements; i += 2) {
        const char *name = fields->element[i]->str, *value = fields->element[i + 1]->str;
        if (strncmp(name, "m:", 2) == 0) {
            read_member(&s, person(name + 2), value);
            s.n++;
        } else if (strcmp(name, "clock") == 0) {
            s.clock = strtoll(value, NULL, 10);
        } else if (strcmp(name, "cap") == 0) {
            s.cap = strtoll(value, NULL, 10);
        } else if (strcmp(name, "epoch") == 0) {
            s.epoch = strtoll(value, NULL, 10);
        }
    }
    CHECK_EQ(leases->elements / 2, s.n); /* the same members in both */
    for (size_t i = 0; i < leases->elements; i += 2) {
        CHECK(s.present[person(leases->element[i]->str)]);
        s.lease[person(leases->element[i]->str)] = strtoll(leases->element[i + 1]->str, NULL, 10);
    }
    freeReplyObject(parts);
    freeReplyObject(fields);
    freeReplyObject(leases);
    return s;
}

/* ---- the members' own view ---------------------------------------------------------------- */

struct view {
    bool joined;
    int incarnation; /* of the consumer under this name: its nonce */
    long long seen, timeout;
    long long holds[PARTS_MAX]; /* the epoch, 0: not ours */
    bool give[PARTS_MAX];
};

struct call {
    int who;
    const char *op;
    bool replaces; /* a join of another consumer */
    bool late;     /* its answer goes nowhere */
    char nonce[24], back[PARTS_MAX][32];
    const char *back_list[PARTS_MAX];
    bool handed[PARTS_MAX];
    size_t n_back;
    long long seen, timeout, floor;
};

struct world {
    group g;
    sg_rng rng;
    struct view views[PEOPLE];
    struct call past; /* one call that was made, to be made again */
    redisContext *ears;
    long long expired, moved; /* counted, so that we know that they happen */
};

/* ---- what must hold ----------------------------------------------------------------------- */

static bool handed_back(const struct call *c, uint32_t p, long long epoch) {
    char text[32];
    snprintf(text, sizeof text, "%u:%lld", p, epoch);
    for (size_t i = 0; i < c->n_back; i++) {
        if (strcmp(c->back[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* Why an owner may lose a partition. */
static bool may_lose(const struct call *c, const struct snapshot *b, const struct snapshot *a,
                     uint32_t p) {
    int owner = b->parts[p].owner;
    if (owner == c->who) {
        return strcmp(c->op, "leave") == 0 || c->replaces || handed_back(c, p, b->parts[p].epoch);
    }
    return !a->present[owner] && b->lease[owner] <= a->clock;
}

static void check_parts(struct world *w, const struct call *c, const struct snapshot *b,
                        const struct snapshot *a) {
    for (uint32_t p = 0; p < w->g.partitions; p++) {
        const struct part *was = &b->parts[p], *is = &a->parts[p];
        if (is->epoch != was->epoch) { /* a grant */
            CHECK_GT(is->epoch, b->epoch);
            CHECK_GT(is->epoch, c->floor);
            CHECK_LE(is->epoch, a->epoch);
            /* To its target: as it is now, or as it was before the same call changed who is there.
             */
            CHECK(is->owner == is->target || is->owner == was->target);
            w->moved++;
        } else if (is->owner != NOBODY) {
            CHECK_EQ(is->owner, was->owner);
        }
        if (was->owner != NOBODY && (is->owner != was->owner || is->epoch != was->epoch)) {
            CHECK(may_lose(c, b, a, p));
        }
        for (uint32_t q = 0; q < p; q++) {
            CHECK(is->epoch == 0 || a->parts[q].epoch != is->epoch);
        }
    }
    CHECK_GE(a->epoch, b->epoch);
}

/* Sizes of the targets differ by at most one; all are of members; nobody's only without any. */
static void check_balance(const struct world *w, const struct snapshot *a) {
    size_t sizes[PEOPLE] = {0};
    for (uint32_t p = 0; p < w->g.partitions; p++) {
        if (a->n == 0) {
            CHECK_EQ(a->parts[p].owner, NOBODY);
            continue;
        }
        CHECK_GE(a->parts[p].owner, 0);
        CHECK_GE(a->parts[p].target, 0);
        CHECK(a->present[a->parts[p].owner]);
        CHECK(a->present[a->parts[p].target]);
        sizes[a->parts[p].target]++;
    }
    for (int i = 0; i < PEOPLE; i++) {
        if (a->present[i]) {
            CHECK_GE(sizes[i], w->g.partitions / a->n);
            CHECK_LE(sizes[i], (w->g.partitions + a->n - 1) / a->n);
        }
    }
}

static void check_members(struct world *w, const struct call *c, const struct snapshot *b,
                          const struct snapshot *a) {
    CHECK_GE(a->clock, b->clock);
    CHECK_LE(a->clock, b->clock + b->cap);
    for (int i = 0; i < PEOPLE; i++) {
        if (i == c->who) {
            CHECK_EQ(a->present[i], strcmp(c->op, "leave") != 0);
        } else {
            CHECK_EQ(a->present[i], b->present[i] && b->lease[i] > a->clock);
            w->expired += b->present[i] && !a->present[i];
        }
    }
    if (a->present[c->who]) {
        CHECK_EQ(a->lease[c->who], a->clock + c->timeout);
    }
}

/* Did what `who` would be told of its partitions change, or the target of one that it owns? */
static bool concerned(const struct world *w, const struct snapshot *b, const struct snapshot *a,
                      int who) {
    for (uint32_t p = 0; p < w->g.partitions; p++) {
        const struct part *was = &b->parts[p], *is = &a->parts[p];
        bool touched =
            is->owner != was->owner || is->epoch != was->epoch || is->target != was->target;
        if (touched && (was->owner == who || is->owner == who)) {
            return true;
        }
    }
    return false;
}

/* What was published up to now: one bit a member. */
static unsigned heard(const struct world *w, const char *word) {
    unsigned bits = 0;
    redisAppendCommand(w->ears, "PING");
    for (;;) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(w->ears, (void **)&reply), REDIS_OK);
        bool pong = strcmp(reply->element[0]->str, "pong") == 0;
        if (!pong && strcmp(reply->element[2]->str, word) == 0) {
            const char *name = strrchr(reply->element[1]->str, ':') + 1;
            bits |= 1u << person(name);
        }
        freeReplyObject(reply);
        if (pong) {
            return bits;
        }
    }
}

static void check_wake_ups(const struct world *w, const struct call *c, const struct snapshot *b,
                           const struct snapshot *a) {
    unsigned woken = heard(w, "sync");
    for (int i = 0; i < PEOPLE; i++) {
        bool newer = a->present[i] && a->version[i] != b->version[i];
        if (i == c->who) {
            CHECK_EQ(woken >> i & 1, 0); /* it has the answer */
        } else {
            CHECK_EQ(woken >> i & 1, newer);
            CHECK(!newer || concerned(w, b, a, i));
        }
    }
}

/* Whoever knows the present version knows the present list. */
static void check_views(const struct world *w, const struct snapshot *a) {
    for (int i = 0; i < PEOPLE; i++) {
        const struct view *v = &w->views[i];
        char nonce[24];
        snprintf(nonce, sizeof nonce, "n%d", v->incarnation);
        if (!v->joined || !a->present[i] || strcmp(a->nonce[i], nonce) != 0 ||
            v->seen != a->version[i]) {
            continue;
        }
        for (uint32_t p = 0; p < w->g.partitions; p++) {
            bool mine = a->parts[p].owner == i;
            CHECK_EQ(v->holds[p], mine ? a->parts[p].epoch : 0);
            CHECK(!mine || v->give[p] == (a->parts[p].target != i));
        }
    }
}

/* ---- one call ----------------------------------------------------------------------------- */

static void forget(struct view *v) {
    memset(v->holds, 0, sizeof v->holds);
    v->joined = false;
    v->seen = 0;
}

static void take_list(struct world *w, struct view *v, const redisReply *list) {
    memset(v->holds, 0, sizeof v->holds);
    for (size_t i = 0; i < list->elements; i += 3) {
        unsigned long p = strtoul(list->element[i]->str, NULL, 10);
        CHECK_LT(p, w->g.partitions);
        CHECK_EQ(v->holds[p], 0);
        v->holds[p] = strtoll(list->element[i + 1]->str, NULL, 10);
        v->give[p] = strcmp(list->element[i + 2]->str, "give") == 0;
    }
}

static void check_due(const struct snapshot *a, int who, long long due) {
    long long soonest = -1, most = a->cap - 20 > 1 ? a->cap - 20 : 1;
    for (int i = 0; i < PEOPLE; i++) {
        if (a->present[i] && i != who && (soonest < 0 || a->lease[i] < soonest)) {
            soonest = a->lease[i];
        }
    }
    long long left = soonest - a->clock > 0 ? soonest - a->clock : 0;
    CHECK_EQ(due, soonest < 0 ? -1 : left < most ? left : most);
}

static void learn(struct world *w, const struct call *c, const redisReply *r,
                  const struct snapshot *a) {
    struct view *v = &w->views[c->who];
    if (strcmp(c->op, "leave") == 0) {
        forget(v);
        v->incarnation++; /* whoever comes next under this name is another */
        return;
    }
    CHECK_EQ(r->element[3]->integer, a->n);
    CHECK_EQ(strtoll(r->element[1]->str, NULL, 10), a->version[c->who]);
    check_due(a, c->who, strtoll(r->element[2]->str, NULL, 10));
    CHECK_EQ(r->elements, a->version[c->who] == c->seen ? 4 : 5);
    for (uint32_t p = 0; p < w->g.partitions; p++) {
        v->holds[p] = c->handed[p] ? 0 : v->holds[p];
    }
    if (r->elements == 5) {
        take_list(w, v, r->element[4]);
    }
    v->joined = true;
    v->seen = a->version[c->who];
}

static void make(struct world *w, struct call *c) {
    char name[8];
    snprintf(name, sizeof name, "m%d", c->who);
    for (size_t i = 0; i < c->n_back; i++) {
        c->back_list[i] = c->back[i];
    }
    struct snapshot before = look(&w->g);
    c->replaces = strcmp(c->op, "join") == 0 && before.present[c->who] &&
                  strcmp(before.nonce[c->who], c->nonce) != 0;
    bool known = before.present[c->who], same = strcmp(before.nonce[c->who], c->nonce) == 0;
    redisReply *r = group_sync_reply(&w->g, name,
                                     (sync_args){.op = c->op,
                                                 .nonce = c->nonce,
                                                 .seen = c->seen,
                                                 .timeout = c->timeout,
                                                 .floor = c->floor},
                                     c->n_back, c->back_list);
    CHECK_EQ(r->type, REDIS_REPLY_ARRAY);
    struct snapshot after = look(&w->g);
    if (strcmp(c->op, "join") != 0 && (!known || !same)) {
        CHECK_STR(r->element[0]->str, known ? "REPLACED" : "UNKNOWN");
        CHECK_EQ(after.clock, before.clock); /* nothing happened */
        CHECK_EQ(after.n, before.n);
        if (!c->late) {
            forget(&w->views[c->who]);
        }
    } else {
        CHECK_STR(r->element[0]->str, "OK");
        check_members(w, c, &before, &after);
        check_parts(w, c, &before, &after);
        check_balance(w, &after);
        check_wake_ups(w, c, &before, &after);
        if (!c->late) {
            learn(w, c, r, &after);
        }
    }
    freeReplyObject(r);
    check_views(w, &after);
}

/* ---- by chance ---------------------------------------------------------------------------- */

static void hand_back(struct world *w, struct call *c, uint32_t p, long long epoch) {
    snprintf(c->back[c->n_back++], sizeof c->back[0], "%u:%lld", p, epoch);
    c->handed[p] = c->handed[p] || epoch == w->views[c->who].holds[p];
}

static void some_beat(struct world *w, struct call *c) {
    const struct view *v = &w->views[c->who];
    uint64_t given = (uint64_t)raw_number(&w->g.raw, 'g', "epoch");
    for (uint32_t p = 0; p < w->g.partitions; p++) {
        uint64_t chance = sg_rng_below(&w->rng, 40);
        if (v->holds[p] != 0 && (v->give[p] ? chance < 20 : chance == 0)) {
            hand_back(w, c, p, v->holds[p]);
        } else if (chance == 1 && given > 0) { /* not ours, or not any more, or unknown to us */
            hand_back(w, c, p, 1 + (long long)sg_rng_below(&w->rng, given));
        }
    }
    if (sg_rng_below(&w->rng, 50) == 0) {
        c->floor = (long long)(given + sg_rng_below(&w->rng, 5));
    }
}

static void step(struct world *w, int silent) {
    struct call c = {.who = (int)sg_rng_below(&w->rng, PEOPLE), .op = "beat"};
    struct view *v = &w->views[c.who];
    uint64_t chance = sg_rng_below(&w->rng, 60);
    if (c.who == silent) {
        return; /* dead for a while */
    }
    if (sg_rng_below(&w->rng, 3) == 0) {
        group_pass(&w->g, (long long)sg_rng_below(&w->rng, 3000));
    }
    if (chance == 0 && w->past.op) {
        /* What a dead connection left behind, executed now. */
        c = w->past;
        c.late = true;
        make(w, &c);
        return;
    }
    if (!v->joined || chance == 1) {
        c.op = "join";
        v->incarnation += v->joined; /* another consumer takes the name */
        v->timeout = 8000 + (long long)sg_rng_below(&w->rng, 3) * 2000;
        forget(v);
    } else if (chance < 4) {
        c.op = "leave";
        some_beat(w, &c);
    } else {
        some_beat(w, &c);
    }
    c.seen = v->joined ? v->seen : 0;
    c.timeout = v->timeout;
    snprintf(c.nonce, sizeof c.nonce, "n%d", v->incarnation);
    make(w, &c);
    if (strcmp(c.op, "join") != 0 && sg_rng_below(&w->rng, 10) == 0) {
        w->past = c;
    }
}

/* Everybody who is there beats and hands back: each partition is where it belongs. */
static void converge(struct world *w) {
    struct snapshot s;
    for (int i = 0; i < PEOPLE; i++) {
        forget(&w->views[i]); /* below it is the server's idea of them that acts */
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PEOPLE; i++) {
            struct call c = {.who = i, .op = "beat", .timeout = w->views[i].timeout};
            s = look(&w->g);
            if (!s.present[i]) {
                continue;
            }
            snprintf(c.nonce, sizeof c.nonce, "%s", s.nonce[i]);
            c.late = true;
            for (uint32_t p = 0; p < w->g.partitions; p++) {
                if (s.parts[p].owner == i && s.parts[p].target != i) {
                    hand_back(w, &c, p, s.parts[p].epoch);
                }
            }
            make(w, &c);
        }
    }
    s = look(&w->g);
    if (s.n > 0) {
        group_check_settled(&w->g);
    }
    for (int i = 0; i < PEOPLE; i++) {
        w->views[i].incarnation++;
    }
}

static void history(uint32_t partitions) {
    static struct world w;
    w = (struct world){.rng = {test_seed()}};
    int silent = NOBODY;
    group_start(&w.g, partitions);
    w.ears = server_connect(w.g.raw.server);
    for (int i = 0; i < PEOPLE; i++) {
        freeReplyObject(redisCommand(w.ears, "SSUBSCRIBE %sm%d", RAW_KEY(&w.g.raw, 'w'), i));
        w.views[i].timeout = 10000;
    }
    for (int i = 0; i < STEPS; i++) {
        if (i % 40 == 0) {
            silent = sg_rng_below(&w.rng, 2) ? (int)sg_rng_below(&w.rng, PEOPLE) : NOBODY;
        }
        if (i % 500 == 499) {
            converge(&w);
        }
        step(&w, silent);
    }
    CHECK_GT(w.expired, 0);
    CHECK_GT(w.moved, 20);
    redisFree(w.ears);
    group_stop(&w.g);
}

TEST(history_of_14_partitions) {
    history(14);
}

TEST(history_of_5_partitions) {
    history(5);
}

TEST(history_of_2_partitions) {
    history(2);
}

TEST(history_of_24_partitions) {
    history(24);
}
