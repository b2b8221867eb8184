/* legend.c - the model. The server holds, for each partition, messages and what is acknowledged of
 * them; the owner holds where it reads and what it has in hand. */
#include "legend.h"

#include <string.h>

#include "base/random.h"
#include "test.h"

enum { PARTS = 2, KEYS = 6, PRODUCERS = 2, MESSAGES = 160, STEPS = 150, FIRST_MEMBER = 60 };

typedef struct item {
    uint64_t producer, key, sequence, era;
    uint32_t crc, deliveries, released;
    bool answered;      /* its producer was told that it is stored */
    bool acked, queued; /* on the server; by the owner, not stored yet */
    bool in_hand;       /* of the present owner */
} item;

typedef struct log_part {
    item items[MESSAGES];
    uint64_t n, era, epoch, owner, next;
    bool handlers; /* of the owner */
    uint64_t zombie, zombie_epoch;
} log_part;

typedef struct legend {
    tale *t;
    sg_rng random;
    unsigned features;
    log_part parts[PARTS];
    uint64_t members; /* how many there were */
    uint64_t sequences[PRODUCERS][KEYS + 1];
} legend;

static uint64_t pick(legend *l, uint64_t below) {
    return sg_rng_below(&l->random, below);
}

static uint32_t number(const legend *l, const log_part *p) {
    return (uint32_t)(p - l->parts);
}

static spot spot_of(const legend *l, const log_part *p, uint64_t offset) {
    return (spot){number(l, p), offset < p->n ? p->items[offset].era : p->era, offset};
}

static history_record record_of(const legend *l, const log_part *p, history_kind kind,
                                uint64_t offset) {
    const item *i = &p->items[offset];
    return (history_record){.kind = (uint16_t)kind,
                            .stream = TALE_STREAM,
                            .partition = number(l, p),
                            .era = i->era,
                            .offset = offset,
                            .producer = i->producer,
                            .key = i->key,
                            .sequence = i->sequence,
                            .crc = i->crc};
}

/* ---- Producers ------------------------------------------------------------------------------- */

static void send_by(legend *l, uint64_t producer, uint64_t key, unsigned fate) {
    log_part *p = &l->parts[key % PARTS];
    uint64_t sequence = ++l->sequences[producer][key];
    if (p->n == MESSAGES)
        return;
    item i = {.producer = 31 + producer,
              .key = key,
              .sequence = sequence,
              .era = p->era,
              .crc = (uint32_t)(producer * 1000000 + key * 10000 + sequence)};
    p->items[p->n] = i;
    history_record r = record_of(l, p, HISTORY_SEND, p->n);
    r.era = r.offset = 0;
    r.phase = HISTORY_INVOKE;
    size_t call = tale_add(l->t, r);
    bool stored = fate < 17, answered = fate < 15;
    if (stored) {
        p->items[p->n].answered = answered;
        l->t->log.records[call].offset = p->n;
        l->t->log.records[call].era = p->era;
        p->n++;
    }
    if (fate < 19)
        tale_answer(l->t, call,
                    answered             ? HISTORY_OK
                    : fate % 2 || stored ? HISTORY_UNKNOWN
                                         : HISTORY_FAIL);
}

static void step_send(legend *l) {
    for (uint64_t n = 1 + pick(l, 4); n; n--)
        send_by(l, pick(l, PRODUCERS), 1 + pick(l, KEYS), (unsigned)pick(l, 20));
}

/* ---- Owners ---------------------------------------------------------------------------------- */

static uint64_t committed(const log_part *p) {
    uint64_t c = 0;
    while (c < p->n && p->items[c].acked)
        c++;
    return c;
}

static void observe(legend *l, log_part *p) {
    tale_observe(l->t, (spot){number(l, p), p->era, committed(p)}, p->epoch, p->owner);
}

static void store_acks(log_part *p) {
    for (uint64_t i = 0; i < p->n; i++)
        p->items[i].acked |= p->items[i].queued;
}

static void new_owner(legend *l, log_part *p) {
    p->owner = FIRST_MEMBER + l->members++;
    p->epoch++;
    p->next = 0;
    p->handlers = (l->features & LEGEND_HANDLERS) && pick(l, 3) == 0;
    for (uint64_t i = 0; i < p->n; i++)
        p->items[i].queued = p->items[i].in_hand = false;
    tale_join(l->t, p->owner, p->handlers ? HISTORY_HANDLERS : 0);
}

static void deliver(legend *l, log_part *p, uint64_t offset) {
    item *i = &p->items[offset];
    history_record r = record_of(l, p, HISTORY_DELIVERED, offset);
    r.group = TALE_GROUP;
    r.member = p->owner;
    r.process = p->owner + 100;
    r.epoch = p->epoch;
    r.first = p->handlers ? 0 : l->t->poll;
    i->in_hand = true;
    i->deliveries++;
    r.attempt = i->deliveries - i->released;
    tale_add(l->t, r);
}

static void step_poll(legend *l, log_part *p, uint64_t max) {
    tale_poll(l->t);
    for (; max && p->next < p->n; p->next++) {
        if (!p->items[p->next].acked) {
            deliver(l, p, p->next);
            max--;
        }
    }
}

static void settle(legend *l, log_part *p, uint64_t offset, seg_verdict how) {
    tale_settle(l->t, p->owner, p->epoch, spot_of(l, p, offset), how);
    p->items[offset].in_hand = false;
    p->items[offset].queued = how == SEG_ACK;
    p->items[offset].released += how == SEG_RELEASE;
}

static void step_ack(legend *l, log_part *p, uint64_t percent) {
    for (uint64_t i = 0; i < p->n; i++) {
        if (p->items[i].in_hand && pick(l, 100) < percent)
            settle(l, p, i, SEG_ACK);
    }
    if (pick(l, 2))
        store_acks(p);
}

/* One comes again at once, before anything else of its key. */
static void step_retry(legend *l, log_part *p) {
    for (uint64_t i = 0; i < p->n; i++) {
        if (!p->items[i].in_hand || pick(l, 4))
            continue;
        settle(l, p, i, pick(l, 2) ? SEG_RETRY : SEG_RELEASE);
        tale_poll(l->t);
        deliver(l, p, i);
        return;
    }
}

static void step_commit(legend *l, log_part *p) {
    store_acks(p);
    tale_commit(l->t, p->owner);
}

/* ---- Crashes --------------------------------------------------------------------------------- */

static void step_kill(legend *l, log_part *p) {
    tale_answer(l->t, tale_fault(l->t, p->owner + 100, HISTORY_DEAD), HISTORY_OK);
    if (pick(l, 2))
        store_acks(p);
    new_owner(l, p);
}

static void step_hand_over(legend *l, log_part *p) {
    store_acks(p);
    tale_leave(l->t, p->owner);
    new_owner(l, p);
}

/* The owner is stopped; it wakes up when another has taken over, and is refused. */
static void step_stop(legend *l, log_part *p) {
    uint64_t old = p->owner, epoch = p->epoch, had = MESSAGES;
    for (uint64_t i = 0; i < p->n; i++)
        had = p->items[i].in_hand ? i : had;
    size_t fault = tale_fault(l->t, old + 100, HISTORY_STOPPED);
    new_owner(l, p);
    step_poll(l, p, 5);
    tale_answer(l->t, fault, HISTORY_OK);
    if (had < MESSAGES && p->next > had) {
        history_record r = record_of(l, p, HISTORY_SETTLE, had);
        r.producer = r.key = r.sequence = r.crc = 0;
        r.group = TALE_GROUP;
        r.member = old;
        r.epoch = epoch;
        r.what = SEG_ACK;
        r.phase = HISTORY_INVOKE;
        bool taken = pick(l, 2);
        tale_answer(l->t, tale_add(l->t, r), taken ? HISTORY_OK : HISTORY_FAIL);
        r.kind = HISTORY_COMMIT;
        if (taken)
            tale_answer(l->t, tale_add(l->t, r), HISTORY_FAIL);
    }
    tale_leave(l->t, old);
}

/* ---- Losses ---------------------------------------------------------------------------------- */

static void tell_producers(legend *l, const log_part *p, uint64_t cut) {
    for (uint64_t who = 31; who < 31 + PRODUCERS; who++) {
        for (uint64_t from = cut; from < p->n;) { /* each era by itself */
            uint64_t end = from;
            bool knew = false;
            for (; end < p->n && p->items[end].era == p->items[from].era; end++)
                knew |= p->items[end].answered && p->items[end].producer == who;
            history_record r = {.kind = HISTORY_LOSS,
                                .stream = TALE_STREAM,
                                .producer = who,
                                .partition = number(l, p),
                                .era = p->items[from].era,
                                .first = from,
                                .end = end,
                                .what = HISTORY_LOST_MESSAGES};
            if (knew)
                tale_add(l->t, r);
            from = end;
        }
    }
}

static void tell_owner(legend *l, const log_part *p, uint64_t cut) {
    for (uint64_t from = cut; from < p->next;) {
        uint64_t end = from;
        while (end < p->next && p->items[end].era == p->items[from].era)
            end++;
        tale_loss(l->t, p->owner, HISTORY_LOST_MESSAGES, spot_of(l, p, from), end);
        from = end;
    }
}

/* Another server, with fewer messages of a partition and fewer acknowledgements. */
static void step_lose(legend *l, log_part *p) {
    uint64_t cut = p->n - pick(l, p->n < 5 ? p->n + 1 : 5), was = committed(p);
    tale_answer(l->t, tale_fault(l->t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tell_producers(l, p, cut);
    tell_owner(l, p, cut);
    uint64_t fell = was - pick(l, was < 3 ? was + 1 : 3);
    fell = fell < cut ? fell : cut;
    if (fell < was)
        tale_loss(l->t, p->owner, HISTORY_LOST_ACKS, (spot){number(l, p), p->era, fell}, was);
    for (uint64_t i = fell; i < was && i < cut; i++)
        p->items[i].acked = false;
    p->n = cut;
    p->era++;
    p->next = p->next < cut ? p->next : cut;
    if (fell < was)
        step_hand_over(l, p); /* what it had acknowledged comes again, under a new epoch */
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void step(legend *l) {
    log_part *p = &l->parts[pick(l, PARTS)];
    uint64_t what = pick(l, 100);
    if (what < 35)
        step_send(l);
    else if (what < 55)
        step_poll(l, p, 1 + pick(l, 6));
    else if (what < 70)
        step_ack(l, p, 10 + pick(l, 90));
    else if (what < 76)
        step_commit(l, p);
    else if (what < 84)
        observe(l, p);
    else if (what < 87 && (l->features & LEGEND_RETRIES))
        step_retry(l, p);
    else if (what < 90)
        step_kill(l, p);
    else if (what < 93)
        step_hand_over(l, p);
    else if (what < 96)
        step_stop(l, p);
    else if (what < 98 && (l->features & LEGEND_LOSSES))
        step_lose(l, p);
}

static void end(legend *l) {
    for (uint64_t i = 0; i < PRODUCERS * KEYS; i++) /* everybody goes on, after whatever was lost */
        send_by(l, i / KEYS, 1 + i % KEYS, 0);
    for (log_part *p = l->parts; p < l->parts + PARTS; p++) {
        observe(l, p);
        tale_wait(l->t, 1500);
        observe(l, p);
        step_poll(l, p, MESSAGES);
        step_ack(l, p, 100);
        step_commit(l, p);
        observe(l, p);
    }
    for (log_part *p = l->parts; p < l->parts + PARTS; p++) {
        uint64_t first = l->features & LEGEND_TRIMS ? pick(l, p->n) : 0;
        tale_leave(l->t, p->owner);
        for (uint64_t i = first; i < p->n; i++)
            tale_add(l->t, record_of(l, p, HISTORY_ENTRY, i));
        history_record r = {.kind = HISTORY_LOG,
                            .stream = TALE_STREAM,
                            .partition = number(l, p),
                            .era = p->era,
                            .first = first,
                            .end = p->n};
        tale_add(l->t, r);
        r = (history_record){.kind = HISTORY_PLACE,
                             .stream = TALE_STREAM,
                             .group = TALE_GROUP,
                             .partition = number(l, p),
                             .era = p->era,
                             .offset = p->n,
                             .flags = HISTORY_DRAINED};
        tale_add(l->t, r);
    }
}

tale *legend_new(uint64_t seed, unsigned features) {
    static legend l; /* large; one at a time is made */
    memset(&l, 0, sizeof l);
    l.random.state = seed;
    l.features = features;
    l.t = tale_new(0, features & LEGEND_RETRIES ? HISTORY_RETRIES : 0);
    for (log_part *p = l.parts; p < l.parts + PARTS; p++) {
        p->era = 1;
        new_owner(&l, p);
    }
    for (int i = 0; i < STEPS; i++)
        step(&l);
    end(&l);
    return l.t;
}
