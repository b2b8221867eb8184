/* test_tries_model.c - random lives of one owner after another, against a model that is too simple
 * to be wrong: each works, commits now and then, and hands over or dies.
 *
 * A careful owner keeps the rule of window.h: it delivers for the first time only what is below the
 * `high` that it has stored, and again only what is marked in what is stored. Of its messages we
 * also know how often they were truly delivered, and compare that with what the next owner
 * believes. A careless one delivers as it likes: that only has to do as the model does. */
#include "core/window.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

enum { SPAN = 200 }; /* offsets of a sequence: base .. base + SPAN - 1 */

typedef enum model_state { UNSEEN, FLYING, WAITING, SETTLED } model_state;

typedef struct message {
    model_state state;
    bool known; /* UNSEEN: the last owner's tries had an entry */
    uint32_t failures;
    bool out, alone, killed;
    int64_t first, last;
    int64_t deadline; /* INT64_MAX: none */
} message;

typedef struct model {
    uint64_t base;
    uint32_t capacity;
    size_t committed; /* index: base + committed is the offset */
    message at[SPAN];
} model;

/* The two under test, what the last commit stored, and the truth. */
typedef struct life {
    sg_window *w;
    model m;
    sg_rng *rng;
    bool careful;
    int64_t now, wall;
    size_t announced; /* what this owner has stored as high; 0: nothing yet */

    model stored;              /* as it was at the last commit */
    size_t high;               /* stored with it; 0 after a hand-over: nothing is in hand */
    sg_buf map, tries;         /* stored, as bytes */
    bool mark_stored[SPAN];    /* the mark that it has now is stored */
    uint32_t deliveries[SPAN]; /* that were not released */

    uint64_t version;
    size_t said_committed;
    sg_buf said, says, expected;
} life;

/* ---- The model ---------------------------------------------------------------------------- */

static bool has_entry(const message *g) {
    return (g->state == UNSEEN && g->known) || g->state == WAITING ||
           (g->state == FLYING && (g->failures > 0 || g->out));
}

static void fail_message(message *g, int64_t wall) {
    g->failures++;
    if (wall > 0 && g->first == 0)
        g->first = wall;
    if (wall > 0)
        g->last = wall > g->first ? wall : g->first;
    g->out = g->alone = g->killed = false;
}

static sg_window_fate model_fate(const model *m, size_t i) {
    if (i < m->committed || m->at[i].state != UNSEEN)
        return SG_SKIP;
    return i - m->committed < m->capacity ? SG_DELIVER : SG_HOLD;
}

static void model_settle(model *m, size_t i) {
    m->at[i] = (message){.state = SETTLED, .deadline = INT64_MAX};
    while (m->committed < SPAN && m->at[m->committed].state == SETTLED)
        m->committed++;
}

/* What it may be told of again gets a slot, as waiting; false: not this one. */
static bool model_slot(model *m, size_t i) {
    if (m->at[i].state == SETTLED || model_fate(m, i) == SG_HOLD)
        return false;
    if (m->at[i].state == UNSEEN)
        m->at[i].state = WAITING;
    return true;
}

static bool same_entry(const message *a, const message *b) {
    return a->failures == b->failures && a->out == b->out &&
           (a->out ? a->alone == b->alone : a->killed == b->killed) &&
           a->first / 1000 == b->first / 1000 && a->last / 1000 == b->last / 1000;
}

/* The next offset at or past `i` that is not settled; SPAN where there is none. */
static size_t unsettled(const model *m, size_t i) {
    while (i < SPAN && m->at[i].state == SETTLED)
        i++;
    return i;
}

static void model_tries(const model *m, sg_buf *out) {
    size_t written = m->committed;
    sg_buf_clear(out);
    for (size_t i = unsettled(m, m->committed); i < SPAN;) {
        const message *g = &m->at[i];
        size_t end = i + 1, next = unsettled(m, i + 1);
        if (has_entry(g)) {
            for (; next < SPAN && has_entry(&m->at[next]) && same_entry(g, &m->at[next]);
                 next = unsettled(m, next + 1))
                end = next + 1;
            sg_buf_varint(out, i - written);
            sg_buf_varint(out, end - i);
            sg_buf_varint(out, g->failures * 4u + (g->out ? 1u + 2u * g->alone : 2u * g->killed));
            sg_buf_varint(out, (uint64_t)(g->first / 1000));
            sg_buf_varint(out, (uint64_t)(g->last / 1000 - g->first / 1000));
            written = end;
        }
        i = next;
    }
}

/* What the next owner finds; all times in seconds, nothing in a slot. */
static void model_next(model *m) {
    for (size_t i = 0; i < SPAN; i++) {
        message *g = &m->at[i];
        if (g->state == SETTLED)
            continue;
        g->known = has_entry(g);
        g->state = UNSEEN;
        g->first = g->first / 1000 * 1000;
        g->last = g->last / 1000 * 1000;
        g->deadline = INT64_MAX;
        if (g->out)
            g->killed = false;
        if (!g->known)
            *g = (message){.state = UNSEEN, .deadline = INT64_MAX};
    }
}

static void model_raise(model *m, size_t high, int64_t wall) {
    for (size_t i = 0; i < SPAN; i++) {
        message *g = &m->at[i];
        bool alone = g->out && g->alone;
        if (g->state == SETTLED || !(g->known ? g->out : i < high))
            continue;
        fail_message(g, wall / 1000 * 1000);
        g->killed = alone;
        g->known = true;
    }
}

static void model_give_up(model *m, int64_t wall) {
    for (size_t i = 0; i < SPAN; i++) {
        message *g = &m->at[i];
        if (g->state == FLYING)
            fail_message(g, wall);
        if (g->state == FLYING || g->state == WAITING) {
            g->out = g->alone = false;
            g->known = g->failures > 0;
            g->state = UNSEEN;
        } else if (g->state == UNSEEN) {
            g->known = g->known && (g->failures > 0 || g->out);
        }
    }
}

/* ---- Comparing ---------------------------------------------------------------------------- */

static void check_says(life *l) {
    uint64_t version = sg_window_version(l->w);
    model_tries(&l->m, &l->expected);
    sg_buf_clear(&l->says);
    CHECK(sg_window_tries(l->w, &l->says));
    CHECK_MEM(l->says.data, l->says.len, l->expected.data, l->expected.len);
    CHECK(sg_window_map(l->w, &l->says));
    bool same = l->said_committed == l->m.committed && l->said.len == l->says.len &&
                (l->says.len == 0 || memcmp(l->said.data, l->says.data, l->says.len) == 0);
    CHECK_EQ(version == l->version, same);
    l->version = version;
    l->said_committed = l->m.committed;
    sg_buf_clear(&l->said);
    CHECK(sg_buf_append(&l->said, l->says.data, l->says.len));
}

static void check_failed(life *l) {
    uint32_t count = (uint32_t)sg_rng_below(l->rng, 4);
    size_t i = sg_rng_below(l->rng, SPAN);
    uint64_t found = 0;
    bool any = sg_window_failed(l->w, l->m.base + i, count, &found);
    if (i < l->m.committed)
        i = l->m.committed;
    for (; i < SPAN; i++) {
        const message *g = &l->m.at[i];
        if ((g->state == WAITING || g->state == UNSEEN) && g->failures >= (count ? count : 1))
            break;
    }
    CHECK_EQ(any, i < SPAN);
    if (any)
        CHECK_EQ(found, l->m.base + i);
}

static void check_life(life *l) {
    const model *m = &l->m;
    uint32_t flying = 0;
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < SPAN; i++) {
        const message *g = &m->at[i];
        uint64_t o = m->base + i;
        sg_failures f = sg_window_failures(l->w, o);
        CHECK_EQ(f.count, g->failures);
        CHECK_EQ(f.alone, g->killed);
        CHECK_EQ(f.first, g->first);
        CHECK_EQ(f.last, g->last);
        CHECK_EQ(sg_window_fate_of(l->w, o), model_fate(m, i));
        CHECK_EQ(sg_window_waits(l->w, o), g->state == WAITING);
        CHECK_EQ(sg_window_marked(l->w, o), g->out);
        CHECK_EQ(sg_window_acked(l->w, o), g->state == SETTLED);
        CHECK_EQ(sg_window_in_hand(l->w, o, g->failures + 1), g->state == FLYING);
        flying += g->state == FLYING;
        if (g->state == FLYING && g->deadline < deadline)
            deadline = g->deadline;
    }
    CHECK_EQ(sg_window_committed(l->w), m->base + m->committed);
    CHECK_EQ(sg_window_in_flight(l->w), flying);
    CHECK_EQ(sg_window_deadline(l->w), deadline);
    check_failed(l);
    check_says(l);
}

/* ---- Steps -------------------------------------------------------------------------------- */

static int64_t pick_deadline(life *l) {
    uint64_t k = sg_rng_below(l->rng, 8);
    return k == 0 ? INT64_MAX : l->now + (k == 1 ? (int64_t)sg_rng_below(l->rng, 200) : 100);
}

static bool may_deliver(const life *l, size_t i) {
    const message *g = &l->m.at[i];
    if (!l->careful)
        return true;
    if (g->state == FLYING)
        return false;
    if (g->state == UNSEEN && g->failures == 0 && !g->out)
        return i < l->announced;
    return l->mark_stored[i];
}

static void deliver(life *l, size_t i) {
    message *g = &l->m.at[i];
    int64_t deadline = pick_deadline(l);
    if (!may_deliver(l, i))
        return;
    bool starve = sg_rng_below(l->rng, 8) == 0;
    if (starve)
        sg_alloc_fail_at(1, 1);
    uint32_t attempt = sg_window_deliver(l->w, l->m.base + i, deadline);
    sg_alloc_fail_at(0, 0);
    if (attempt == 0 && starve)
        return;
    bool first = g->state == UNSEEN && !g->known, again = g->state == FLYING;
    if (i < l->m.committed || !model_slot(&l->m, i)) {
        CHECK_EQ(attempt, 0);
        return;
    }
    if (again)
        fail_message(g, 0);
    CHECK_EQ(attempt, g->failures + 1);
    g->out = g->out || !first;
    g->state = FLYING;
    g->deadline = deadline;
    l->deliveries[i]++;
}

/* It is not in hand any more, or was marked otherwise. */
static void take_back(life *l, size_t i, bool counts) {
    message *g = &l->m.at[i];
    g->state = WAITING;
    g->deadline = INT64_MAX;
    l->mark_stored[i] = false;
    l->deliveries[i] -= counts ? 0 : 1;
}

static void fail(life *l, size_t i) {
    message *g = &l->m.at[i];
    int64_t wall = sg_rng_below(l->rng, 10) > 0 ? l->wall : 0;
    bool flies = g->state == FLYING;
    CHECK_EQ(sg_window_fail(l->w, l->m.base + i, wall), flies);
    if (!flies)
        return;
    fail_message(g, wall);
    take_back(l, i, true);
}

static void release(life *l, size_t i) {
    message *g = &l->m.at[i];
    bool flies = g->state == FLYING;
    CHECK_EQ(sg_window_release(l->w, l->m.base + i), flies);
    if (!flies)
        return;
    g->out = g->alone = false;
    take_back(l, i, false);
}

static void mark(life *l, size_t i) {
    message *g = &l->m.at[i];
    bool alone = sg_rng_below(l->rng, 3) == 0, starve = sg_rng_below(l->rng, 8) == 0;
    if (starve)
        sg_alloc_fail_at(1, 1);
    bool ok = sg_window_mark(l->w, l->m.base + i, alone);
    sg_alloc_fail_at(0, 0);
    if (!ok && starve)
        return;
    bool expected = i >= l->m.committed && model_slot(&l->m, i);
    CHECK_EQ(ok, expected);
    if (!ok || (g->out && g->alone == alone))
        return;
    l->mark_stored[i] = l->mark_stored[i] && g->out; /* alone or not: it counts either way */
    g->out = true;
    g->alone = alone;
}

static void unmark(life *l, size_t i) {
    message *g = &l->m.at[i];
    sg_window_unmark(l->w, l->m.base + i);
    if (g->state != WAITING)
        return;
    g->out = g->alone = false;
    l->mark_stored[i] = false;
}

static void ack(life *l, size_t i) {
    model_state state = l->m.at[i].state;
    sg_window_ack_result expected = state == SETTLED  ? SG_ACK_OLD
                                    : state == UNSEEN ? SG_ACK_NEVER
                                                      : SG_ACK_NEW;
    CHECK_EQ(sg_window_ack(l->w, l->m.base + i), expected);
    if (expected == SG_ACK_NEW)
        model_settle(&l->m, i);
}

static void ack_run(life *l, size_t i) {
    uint32_t n = (uint32_t)sg_rng_below(l->rng, 10), expected = 0;
    while (expected < n && i + expected < SPAN && l->m.at[i + expected].state == FLYING)
        model_settle(&l->m, i + expected++);
    CHECK_EQ(sg_window_ack_run(l->w, l->m.base + i, n), expected);
}

static void extend(life *l, size_t i) {
    message *g = &l->m.at[i];
    int64_t deadline = pick_deadline(l);
    sg_alloc_fail_at(1, 1);
    CHECK_EQ(sg_window_extend(l->w, l->m.base + i, deadline), g->state == FLYING);
    sg_alloc_fail_at(0, 0);
    if (g->state == FLYING)
        g->deadline = deadline;
}

static void expire(life *l) {
    model *m = &l->m;
    uint64_t offset;
    size_t first = SPAN;
    l->now += (int64_t)sg_rng_below(l->rng, 60);
    for (size_t i = 0; i < SPAN; i++)
        if (m->at[i].state == FLYING && m->at[i].deadline < INT64_MAX &&
            (first == SPAN || m->at[i].deadline < m->at[first].deadline))
            first = i;
    bool expected = first < SPAN && m->at[first].deadline <= l->now;
    CHECK_EQ(sg_window_expire(l->w, l->now, &offset), expected);
    if (!expected)
        return;
    CHECK_EQ(offset, m->base + first);
    m->at[first].deadline = INT64_MAX;
    if (sg_rng_below(l->rng, 4) > 0)
        fail(l, first);
}

static void skip(life *l, size_t from, size_t to) {
    CHECK(sg_window_skip(l->w, l->m.base + from, l->m.base + to));
    for (size_t i = from; i < to; i++)
        if (l->m.at[i].state == UNSEEN)
            model_settle(&l->m, i);
}

/* ---- Owners come and go ------------------------------------------------------------------- */

static void append(sg_buf *out, bool fn(const sg_window *w, sg_buf *out), const sg_window *w) {
    sg_buf_clear(out);
    CHECK(fn(w, out));
}

static void commit(life *l) {
    append(&l->map, sg_window_map, l->w);
    append(&l->tries, sg_window_tries, l->w);
    l->stored = l->m;
    size_t high = l->m.committed + sg_rng_below(l->rng, l->m.capacity + 5u);
    high = high < SPAN ? high : SPAN;
    /* What a dead owner announced need not be: it is in the tries now, or not in hand. */
    l->high = l->announced = l->announced > high ? l->announced : high;
    for (size_t i = 0; i < SPAN; i++)
        if (l->m.at[i].state == WAITING)
            l->mark_stored[i] = l->m.at[i].out;
}

static uint32_t pick_capacity(sg_rng *rng) {
    static const uint32_t some[] = {1, 2, 15, 16, 17, 64, 100, SPAN};
    return some[sg_rng_below(rng, sizeof some / sizeof some[0])];
}

static void new_owner(life *l, bool crashed, int64_t wall) {
    sg_window_free(l->w);
    l->m.capacity = pick_capacity(l->rng);
    l->w = sg_window_new(l->m.base + l->m.committed, l->m.capacity);
    CHECK(sg_window_load(l->w, l->map.data, l->map.len));
    CHECK(sg_window_load_tries(l->w, l->tries.data, l->tries.len));
    if (crashed)
        CHECK(sg_window_raise(l->w, l->m.base + l->high, wall));
    for (size_t i = 0; i < SPAN; i++)
        l->m.at[i].known = l->m.at[i].failures > 0 || l->m.at[i].out;
    memset(l->mark_stored, 0, sizeof l->mark_stored);
    l->announced = 0;
    /* A version is compared with that of the same window only. */
    l->version = sg_window_version(l->w);
    append(&l->said, sg_window_tries, l->w);
    CHECK(sg_window_map(l->w, &l->said));
    l->said_committed = l->m.committed;
}

/* What it believes against what was. In hand, as far as what was stored tells: all that is marked,
 * and below high all that has no entry. That may count once too often, nothing else may. */
static void check_truth(life *l, const model *died) {
    for (size_t i = l->m.committed; i < SPAN; i++) {
        const message *g = &l->m.at[i], *then = &l->stored.at[i];
        if (g->state == SETTLED)
            continue;
        bool maybe = has_entry(then) ? then->out : i < l->high;
        bool never_left = died->at[i].state == FLYING;
        CHECK_GE(g->failures, l->deliveries[i]);
        CHECK_LE(g->failures, l->deliveries[i] + (maybe && !never_left));
        l->deliveries[i] = g->failures; /* it counts from now on */
    }
}

static void crash(life *l) {
    static model died;
    int64_t wall = l->wall;
    died = l->m;
    l->m = l->stored;
    model_next(&l->m);
    model_raise(&l->m, l->high, wall);
    new_owner(l, true, wall);
    if (l->careful)
        check_truth(l, &died);
    l->stored.capacity = l->m.capacity; /* what is stored stays as it is until the next commit */
}

static void hand_over(life *l) {
    append(&l->map, sg_window_map, l->w);
    sg_buf_clear(&l->tries);
    CHECK(sg_window_tries_final(l->w, l->wall, &l->tries));
    model_give_up(&l->m, l->wall);
    model_next(&l->m);
    l->high = 0;
    new_owner(l, false, 0);
    l->stored = l->m;
    for (size_t i = l->m.committed; l->careful && i < SPAN; i++)
        if (l->m.at[i].state != SETTLED)
            CHECK_EQ(l->m.at[i].failures, l->deliveries[i]);
}

/* ---- Sequences ---------------------------------------------------------------------------- */

static void step(life *l) {
    /* From a little before committed to a little past the capacity. */
    size_t low = l->m.committed > 3 ? l->m.committed - 3 : 0;
    size_t i = low + sg_rng_below(l->rng, (uint64_t)l->m.capacity + 8);
    i = i < SPAN ? i : SPAN - 1;
    uint64_t what = sg_rng_below(l->rng, 100);
    l->wall += (int64_t)sg_rng_below(l->rng, 900) - 100;
    if (what < 35)
        deliver(l, i);
    else if (what < 40)
        ack(l, i);
    else if (what < 43)
        ack_run(l, i);
    else if (what < 53)
        fail(l, i);
    else if (what < 58)
        release(l, i);
    else if (what < 74)
        mark(l, i);
    else if (what < 77)
        unmark(l, i);
    else if (what < 81)
        extend(l, i);
    else if (what < 86)
        expire(l);
    else if (what < 88)
        skip(l, i, i + sg_rng_below(l->rng, SPAN - i < 6 ? SPAN - i + 1 : 6));
    else if (what < 97)
        commit(l);
    else if (what < 99)
        crash(l);
    else
        hand_over(l);
}

static void run_sequence(sg_rng *rng, bool careful) {
    static life l;
    memset(&l, 0, sizeof l);
    l.rng = rng;
    l.careful = careful;
    l.wall = INT64_C(1700000000000) + (int64_t)sg_rng_below(rng, 100000);
    l.m.base = sg_rng_next(rng) >> (11 + sg_rng_below(rng, 53)); /* below 2^53 */
    l.m.capacity = pick_capacity(rng);
    for (size_t i = 0; i < SPAN; i++)
        l.m.at[i].deadline = INT64_MAX;
    l.w = sg_window_new(l.m.base, l.m.capacity);
    l.stored = l.m;
    sg_buf *all[] = {&l.map, &l.tries, &l.said, &l.says, &l.expected};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sg_buf_init(all[i], 1u << 20);
    for (int i = 0; i < 400 && l.m.committed < SPAN; i++) {
        step(&l);
        check_life(&l);
    }
    sg_window_free(l.w);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sg_buf_fini(all[i]);
}

TEST_DEADLINE(attempts_are_never_fewer_than_deliveries, 300) {
    sg_rng rng = {test_seed()};
    int sequences = test_sanitized() ? 200 : 1500;
    for (int i = 0; i < sequences; i++)
        run_sequence(&rng, true);
}

TEST_DEADLINE(careless_owners_behave_as_the_model, 300) {
    sg_rng rng = {test_seed()};
    int sequences = test_sanitized() ? 200 : 1500;
    for (int i = 0; i < sequences; i++)
        run_sequence(&rng, false);
}
