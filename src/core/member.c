#include "core/member.h"

#include <string.h>

#include "base/alloc.h"

/* A lease is renewed each quarter of the session timeout, so that two may be lost. */
#define BEATS_PER_SESSION 4
/* Nothing is handed out in the last tenth of the lease: time for what is said to be over to be
 * over. */
#define MARGIN_PART 10
/* Past somebody's deadline by so much we look, so that it has surely run out. */
#define LATE_MS 5

typedef enum hold { NONE = 0, HELD, GIVING, RELEASED, SENT } hold;

typedef struct slot {
    uint64_t epoch;
    uint8_t hold;
    bool listed; /* in the answer that is being read */
} slot;

struct sg_member {
    int64_t session_timeout;
    uint32_t partitions;
    bool joined, awaiting, leaving, woken;
    bool known; /* the coordinator may know us: a join was sent */
    sg_member_end end;
    uint64_t version, floor;
    int64_t due, asked_at, safe_until;
    slot *slots;        /* by partition */
    uint32_t *released; /* of the question under way */
    uint64_t *epochs;
    sg_member_change *changes; /* ring of what is not yet taken: two for each partition at most */
    size_t head, count, room;
};

sg_member *sg_member_new(int64_t session_timeout, uint32_t partitions) {
    sg_member *m = sg_calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->session_timeout = session_timeout;
    m->partitions = partitions;
    m->safe_until = INT64_MIN;
    m->due = INT64_MIN;
    /* A partition can owe three changes at once: lost, granted anew and revoked. */
    m->room = 3 * (size_t)partitions;
    m->slots = sg_calloc(partitions, sizeof *m->slots);
    m->released = sg_calloc(partitions, sizeof *m->released);
    m->epochs = sg_calloc(partitions, sizeof *m->epochs);
    m->changes = sg_calloc(m->room, sizeof *m->changes);
    if (m->slots == NULL || m->released == NULL || m->epochs == NULL || m->changes == NULL) {
        sg_member_free(m);
        return NULL;
    }
    return m;
}

void sg_member_free(sg_member *m) {
    if (m == NULL)
        return;
    sg_free(m->slots);
    sg_free(m->released);
    sg_free(m->epochs);
    sg_free(m->changes);
    sg_free(m);
}

/* The consumer takes all changes after each answer, so the ring never fills: an answer makes at
 * most three for each partition. */
static void change(sg_member *m, sg_member_what what, uint32_t partition) {
    size_t at = (m->head + m->count) % m->room;
    m->changes[at] = (sg_member_change){what, partition, m->slots[partition].epoch};
    m->count++;
}

static void lose(sg_member *m, uint32_t partition) {
    slot *s = &m->slots[partition];
    if (s->hold == HELD || s->hold == GIVING)
        change(m, SG_PART_LOST, partition);
    s->hold = NONE;
}

int64_t sg_member_due(const sg_member *m) {
    if (m->awaiting || m->end != SG_END_NONE)
        return INT64_MAX;
    return m->woken ? INT64_MIN : m->due;
}

void sg_member_ask_now(sg_member *m, int64_t now, sg_member_ask *out) {
    m->awaiting = m->known = true;
    m->woken = false;
    m->asked_at = now;
    memset(out, 0, sizeof *out);
    out->op = m->leaving ? SG_MEMBER_LEAVE : m->joined ? SG_MEMBER_BEAT : SG_MEMBER_JOIN;
    out->version = m->joined ? m->version : 0;
    out->floor = m->floor;
    for (uint32_t p = 0; p < m->partitions; p++) {
        slot *s = &m->slots[p];
        if (s->hold != RELEASED && s->hold != SENT)
            continue;
        s->hold = SENT;
        m->released[out->n_released] = p;
        m->epochs[out->n_released++] = s->epoch;
    }
    out->released = m->released;
    out->epochs = m->epochs;
}

void sg_member_unanswered(sg_member *m, int64_t now, int64_t retry) {
    m->awaiting = false;
    m->version = 0;
    m->due = now + retry;
    m->woken = false;
}

/* One line of the answer. */
static void learn(sg_member *m, const sg_grant *g) {
    slot *s = &m->slots[g->partition];
    if (s->listed)
        return; /* twice in one answer: no sense, and more changes than there is room for */
    if (s->hold != NONE && s->epoch > g->epoch && s->epoch > m->floor)
        m->floor = s->epoch; /* the coordinator lost its later grants: it is to go on above them */
    if (s->hold != NONE && s->epoch != g->epoch)
        lose(m, g->partition);
    if (s->hold == NONE) {
        s->hold = HELD;
        s->epoch = g->epoch;
        change(m, SG_PART_GRANTED, g->partition);
    }
    s->listed = true;
    if (g->give && s->hold == HELD && s->epoch == g->epoch) {
        s->hold = GIVING;
        change(m, SG_PART_REVOKED, g->partition);
    }
}

void sg_member_answered(sg_member *m, int64_t now, uint64_t version, int64_t deadline, bool listed,
                        const sg_grant *grants, size_t n) {
    m->awaiting = false;
    m->joined = true;
    m->version = version;
    m->safe_until = m->asked_at + m->session_timeout - m->session_timeout / MARGIN_PART;
    m->due = m->asked_at + m->session_timeout / BEATS_PER_SESSION;
    if (deadline >= 0 && deadline < m->session_timeout && now + deadline + LATE_MS < m->due)
        m->due = now + deadline + LATE_MS;
    /* What this question handed back is no longer ours; it may be listed under a new epoch. */
    for (uint32_t p = 0; p < m->partitions; p++) {
        m->slots[p].listed = false;
        if (m->slots[p].hold == SENT)
            m->slots[p].hold = NONE;
    }
    if (!listed)
        return;
    for (size_t i = 0; i < n; i++)
        if (grants[i].partition < m->partitions)
            learn(m, &grants[i]);
    for (uint32_t p = 0; p < m->partitions; p++)
        if (m->slots[p].hold != NONE && !m->slots[p].listed)
            lose(m, p);
}

static void lose_all(sg_member *m) {
    for (uint32_t p = 0; p < m->partitions; p++)
        lose(m, p);
    m->safe_until = INT64_MIN;
}

void sg_member_expired(sg_member *m, int64_t now) {
    m->awaiting = false;
    m->joined = m->known = false;
    m->version = 0;
    m->due = now;
    lose_all(m);
    if (m->leaving)
        m->end = SG_END_LEFT; /* nothing is left to leave */
}

void sg_member_ended(sg_member *m, sg_member_end why) {
    m->awaiting = false;
    m->joined = false;
    m->end = why;
    lose_all(m);
}

void sg_member_wake(sg_member *m) {
    m->woken = true;
}

void sg_member_recall(sg_member *m) {
    m->version = 0;
    m->woken = true;
}

void sg_member_released(sg_member *m, uint32_t partition, uint64_t epoch) {
    slot *s = &m->slots[partition];
    if ((s->hold != HELD && s->hold != GIVING) || s->epoch != epoch)
        return;
    s->hold = RELEASED;
    m->woken = true;
}

void sg_member_stale(sg_member *m, uint32_t partition, uint64_t epoch, uint64_t stored) {
    if (stored > m->floor)
        m->floor = stored;
    sg_member_released(m, partition, epoch);
}

void sg_member_leave(sg_member *m) {
    m->leaving = true;
    m->woken = true;
    if (!m->known)
        m->end = SG_END_LEFT;
}

void sg_member_rejoin(sg_member *m, int64_t now) {
    if (m->end != SG_END_LEFT)
        return;
    m->end = SG_END_NONE;
    m->joined = m->known = m->leaving = m->awaiting = m->woken = false;
    m->version = 0;
    m->due = now;
    m->safe_until = INT64_MIN;
}

bool sg_member_change_next(sg_member *m, sg_member_change *out) {
    if (m->count == 0)
        return false;
    *out = m->changes[m->head];
    m->head = (m->head + 1) % m->room;
    m->count--;
    return true;
}

bool sg_member_joined(const sg_member *m) {
    return m->joined;
}

sg_member_end sg_member_over(const sg_member *m) {
    return m->end;
}

int64_t sg_member_safe_until(const sg_member *m) {
    return m->safe_until;
}
