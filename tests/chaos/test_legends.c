/* test_legends.c - good histories at random pass; with one thing changed they do not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "legend.h"
#include "test.h"

enum { GOOD = 400, BAD = 40 };

/* The trouble of the verdict's memory, once. */
static verdict judged;

static void show(const char *what, uint64_t seed, unsigned features) {
    printf("%s: legend_new(%" PRIu64 ", %u)\n", what, seed, features);
    verdict_print(&judged, stdout);
}

TEST_DEADLINE(what_keeps_its_promises_passes, 120) {
    sg_rng random = {test_seed()};
    for (unsigned i = 0; i < GOOD; i++) {
        uint64_t seed = sg_rng_next(&random);
        unsigned features = (unsigned)sg_rng_below(&random, LEGEND_ALL + 1);
        tale *t = legend_new(seed, features);
        tale_judge(t, &judged);
        if (verdict_total(&judged) ||
            judged.losses.messages_told + judged.losses.messages_untellable !=
                judged.losses.messages)
            show("it is good", seed, features);
        CHECK_EQ(verdict_total(&judged), 0);
        tale_free(t);
    }
}

/* ---- Changes --------------------------------------------------------------------------------- */

typedef struct change {
    const char *what;
    unsigned never; /* features without which it has to be found */
    unsigned always;
    bool (*make)(tale *t, sg_rng *random); /* false: there is nothing to change */
    anomaly found[4];                      /* one of these has to be; the rest is PHANTOM, 0 */
} change;

typedef bool test_record(const tale *t, const history_record *r);

/* A record at random of those that fit; NULL: none does. */
static history_record *any(tale *t, sg_rng *random, test_record *fits) {
    size_t n = 0;
    history_record *chosen = NULL;
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (fits(t, r) && sg_rng_below(random, ++n) == 0)
            chosen = r;
    }
    return chosen;
}

static bool same_message(const history_record *a, const history_record *b) {
    return a->producer == b->producer && a->key == b->key && a->sequence == b->sequence;
}

static bool same_place(const history_record *a, const history_record *b) {
    return a->partition == b->partition && a->era == b->era && a->offset == b->offset;
}

static history_record *find_at(tale *t, const history_record *at, history_kind kind,
                               history_phase phase, history_record *after) {
    for (size_t i = after ? (size_t)(after - t->log.records) + 1 : 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == kind && r->phase == phase && same_place(r, at))
            return r;
    }
    return NULL;
}

static bool is_entry(const tale *t, const history_record *r) {
    (void)t;
    return r->kind == HISTORY_ENTRY;
}

static bool is_answered_entry(const tale *t, const history_record *r) {
    for (size_t i = 0; r->kind == HISTORY_ENTRY && i < t->log.n; i++) {
        const history_record *s = &t->log.records[i];
        if (s->kind == HISTORY_SEND && s->phase == HISTORY_OK && same_message(s, r))
            return true;
    }
    return false;
}

static bool is_answered(const tale *t, const history_record *r) {
    for (size_t i = 0; r->kind == HISTORY_SEND && r->phase == HISTORY_OK && i < t->log.n; i++) {
        if (t->log.records[i].kind == HISTORY_ENTRY && same_message(&t->log.records[i], r))
            return true;
    }
    return false;
}

static bool lose(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_answered_entry);
    if (!r)
        return false;
    r->kind = 0;
    return true;
}

static bool damage(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_entry);
    if (!r)
        return false;
    r->crc ^= 1u << sg_rng_below(random, 32);
    return true;
}

static bool store_twice(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_entry);
    for (size_t i = 0; r && i < t->log.n; i++) {
        history_record *log = &t->log.records[i];
        if (log->kind != HISTORY_LOG || log->partition != r->partition)
            continue;
        history_record copy = *r;
        copy.offset = log->end++;
        copy.era = log->era;
        tale_add(t, copy);
        return true;
    }
    return false;
}

static bool swap_sent(tale *t, sg_rng *random) {
    history_record *a = any(t, random, is_entry), *b = NULL;
    for (size_t i = 0; a && i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == HISTORY_ENTRY && r != a && r->producer == a->producer && r->key == a->key)
            b = r;
    }
    if (!b)
        return false;
    history_record one = *a, other = *b;
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (!same_message(r, &one) && !same_message(r, &other))
            continue;
        const history_record *to = same_message(r, &one) ? &other : &one;
        r->sequence = to->sequence;
        r->crc = to->crc;
    }
    return true;
}

static bool deny(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_answered);
    if (!r)
        return false;
    r->phase = HISTORY_FAIL;
    return true;
}

static bool misplace(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_answered);
    if (!r)
        return false;
    r->offset += 1 + sg_rng_below(random, 1000);
    return true;
}

static void drop_all(tale *t, const history_record *at, history_kind kind) {
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == kind && same_place(r, at))
            r->kind = 0;
    }
}

static bool never_deliver(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_entry);
    if (!r)
        return false;
    drop_all(t, r, HISTORY_DELIVERED);
    drop_all(t, r, HISTORY_SETTLE);
    return true;
}

static bool never_settle(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_entry);
    if (!r)
        return false;
    drop_all(t, r, HISTORY_SETTLE);
    return true;
}

static bool has_company(const tale *t, const history_record *r) {
    for (size_t i = 0; r->kind == HISTORY_DELIVERED && i < t->log.n; i++) {
        const history_record *o = &t->log.records[i];
        if (o != r && o->kind == HISTORY_DELIVERED && o->partition == r->partition &&
            o->epoch == r->epoch)
            return true;
    }
    return false;
}

static bool share_epoch(tale *t, sg_rng *random) {
    history_record *r = any(t, random, has_company);
    if (!r)
        return false;
    r->member = M2;
    r->process = M2 + 100;
    return true;
}

/* Two first deliveries of one poll, of one key, swap their contents. */
static bool swap_delivered(tale *t, sg_rng *random) {
    history_record *a = any(t, random, has_company);
    for (size_t i = 0; a && i < t->log.n; i++) {
        history_record *b = &t->log.records[i];
        if (b->kind != HISTORY_DELIVERED || b->partition != a->partition || b->key != a->key ||
            b->epoch != a->epoch || b->first != a->first || b->offset <= a->offset ||
            b->attempt != 1 || a->attempt != 1)
            continue;
        uint64_t at = a->at;
        a->at = b->at;
        b->at = at;
        return true;
    }
    return false;
}

static bool was_higher(const tale *t, const history_record *r) {
    for (size_t i = 0; r->kind == HISTORY_OBSERVED && r->phase == HISTORY_OK && i < t->log.n; i++) {
        const history_record *o = &t->log.records[i];
        if (o == r)
            return false;
        if (o->kind == HISTORY_OBSERVED && o->phase == HISTORY_OK && o->partition == r->partition &&
            o->offset == r->offset && o->offset > 0)
            return true;
    }
    return false;
}

static bool fall_back(tale *t, sg_rng *random) {
    history_record *r = any(t, random, was_higher);
    if (!r)
        return false;
    r->offset--;
    return true;
}

static bool deliver_committed(tale *t, sg_rng *random) {
    history_record *entry = any(t, random, is_entry);
    history_record *r = entry ? find_at(t, entry, HISTORY_DELIVERED, HISTORY_EVENT, NULL) : NULL;
    if (!r)
        return false;
    history_record again = *r;
    again.epoch += 1000;
    again.member = M2;
    again.process = M2 + 100;
    again.attempt += 1000;
    again.first = t->now + 1;
    tale_add(t, again);
    return true;
}

static bool is_again(const tale *t, const history_record *r) {
    if (r->kind != HISTORY_DELIVERED)
        return false;
    for (const history_record *o = t->log.records; o < r; o++) {
        if (o->kind == HISTORY_DELIVERED && same_place(o, r))
            return true;
    }
    return false;
}

static bool forget_attempts(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_again);
    if (!r)
        return false;
    r->attempt = 1;
    return true;
}

static bool is_old(const tale *t, const history_record *r) {
    for (const history_record *o = r; r->kind == HISTORY_DELIVERED && o < t->log.records + t->log.n;
         o++) {
        if (o->kind == HISTORY_DELIVERED && o->partition == r->partition && o->epoch > r->epoch)
            return true;
    }
    return false;
}

static bool commit_as_zombie(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_old);
    if (!r)
        return false;
    history_record late = *r;
    spot at = {r->partition, r->era, r->offset};
    tale_ack(t, late.member, late.epoch, at);
    tale_commit(t, late.member);
    return true;
}

static bool tell_falsely(tale *t, sg_rng *random) {
    history_record *r = any(t, random, is_entry);
    if (!r)
        return false;
    spot at = {r->partition, r->era, r->offset};
    tale_loss(t, M2, HISTORY_LOST_MESSAGES, at, at.offset + 1);
    return true;
}

static bool is_loss_of_producer(const tale *t, const history_record *r) {
    (void)t;
    return r->kind == HISTORY_LOSS && r->producer;
}

/* Of none of its losses in that partition: what is told of a later one covers an earlier. */
static bool hush(tale *t, sg_rng *random) {
    const history_record *r = any(t, random, is_loss_of_producer);
    if (!r)
        return false;
    uint64_t process = r->process;
    uint32_t partition = r->partition;
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *other = &t->log.records[i];
        if (is_loss_of_producer(t, other) && other->process == process &&
            other->partition == partition)
            other->kind = 0;
    }
    return true;
}

/* The two looks at the owner with a long quiet between them show none. */
static bool orphan(tale *t, sg_rng *random) {
    (void)random;
    for (size_t i = 2; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind != HISTORY_OBSERVED || r->at - r[-1].at < 1000000000u)
            continue;
        for (history_record *o = r - 2; o < r + 2; o++)
            o->member = 0;
        return true;
    }
    return false;
}

static const change changes[] = {
    {"an entry less", LEGEND_LOSSES, 0, lose, {ANOMALY_LOST_WRITE}},
    {"a bit of an entry", 0, 0, damage, {ANOMALY_PHANTOM}},
    {"an entry twice", 0, 0, store_twice, {ANOMALY_DUPLICATE, ANOMALY_INCONSISTENT_OFFSET}},
    {"two sends swapped", 0, 0, swap_sent, {ANOMALY_NONMONOTONIC_SEND}},
    {"an answered send denied", 0, 0, deny, {ANOMALY_ABORTED_READ}},
    {"a send told another place", 0, 0, misplace, {ANOMALY_INCONSISTENT_OFFSET}},
    {"a message never delivered",
     0,
     0,
     never_deliver,
     {ANOMALY_UNSEEN, ANOMALY_SKIPPED_POLL, ANOMALY_KEY_REORDER}},
    {"a message never acknowledged",
     0,
     0,
     never_settle,
     {ANOMALY_COMMIT_AHEAD, ANOMALY_SKIPPED_POLL, ANOMALY_KEY_REORDER}},
    {"another member in an epoch", 0, 0, share_epoch, {ANOMALY_TWO_OWNERS}},
    {"two deliveries swapped",
     LEGEND_RETRIES | LEGEND_LOSSES, /* one of them may be of what is lost by then */
     0,
     swap_delivered,
     {ANOMALY_KEY_REORDER, ANOMALY_NONMONOTONIC_POLL, ANOMALY_SKIPPED_POLL}},
    {"a committed offset one less", LEGEND_LOSSES, 0, fall_back, {ANOMALY_COMMIT_REWIND}},
    {"a committed message again", LEGEND_LOSSES, 0, deliver_committed, {ANOMALY_COMMIT_REWIND}},
    {"attempts forgotten",
     LEGEND_LOSSES | LEGEND_RETRIES,
     0,
     forget_attempts,
     {ANOMALY_FALSE_ATTEMPT}},
    {"a zombie's commit", LEGEND_LOSSES, 0, commit_as_zombie, {ANOMALY_ZOMBIE_COMMIT}},
    {"a loss that is none", 0, 0, tell_falsely, {ANOMALY_FALSE_LOSS}},
    {"a producer not told", 0, LEGEND_LOSSES, hush, {ANOMALY_UNTOLD, ANOMALY_LOST_WRITE}},
    {"nobody owns it", 0, 0, orphan, {ANOMALY_ORPHANED}},
};

static bool is_found(const change *c) {
    for (size_t i = 0; i < 4 && (i == 0 || c->found[i]); i++) {
        if (judged.counts[c->found[i]])
            return true;
    }
    return false;
}

TEST_DEADLINE(one_change_is_found, 240) {
    sg_rng random = {test_seed()};
    for (const change *c = changes; c < changes + sizeof changes / sizeof *changes; c++) {
        unsigned made = 0;
        for (unsigned i = 0; made < BAD && i < 10 * BAD; i++) {
            uint64_t seed = sg_rng_next(&random);
            unsigned features = (unsigned)sg_rng_below(&random, LEGEND_ALL + 1);
            features = (features & ~c->never) | c->always;
            tale *t = legend_new(seed, features);
            if (c->make(t, &random)) {
                made++;
                tale_judge(t, &judged);
                if (!is_found(c))
                    show(c->what, seed, features);
                CHECK(is_found(c));
            }
            tale_free(t);
        }
        printf("%s: %u times\n", c->what, made);
        CHECK_GT(made, BAD / 4);
    }
}
