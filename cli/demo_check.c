/* demo_check.c - was every message handled, in order, and none again after its commit?
 *
 * Events of several processes reach the parent in no useful order: consumer B's first message after
 * a takeover may be read from its pipe before A's last ones. So they are only stored while the demo
 * runs, and judged in the end in the order of their time stamps. Those are taken when poll or
 * commit returned, on a clock that all processes share, and a partition changes hands only after
 * its former owner's commits (or with them refused), so the order of the stamps is the order of
 * what happened.
 *
 * At least once means: what the killed consumer had handled but not yet committed comes again. That
 * is counted as redelivered. Duplicated is only what no crash excuses: a message delivered again
 * after its commit was answered, or stored at two offsets. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "demo.h"

typedef struct demo_stored {
    demo_event event;
    size_t arrival;
} demo_stored;

typedef struct message_state {
    int64_t committed_us; /* 0: not yet */
    uint64_t offset;
    bool handled;
} message_state;

typedef struct partition_state {
    uint64_t epoch, offset;
    bool started;
} partition_state;

typedef struct judge {
    const demo_check *check;
    message_state *messages;
    uint32_t *next; /* sequence that each key goes on with */
    partition_state partitions[DEMO_PARTITIONS];
    uint32_t *pending[DEMO_CONSUMERS]; /* handled, not yet committed */
    size_t n_pending[DEMO_CONSUMERS];
    size_t capacity[DEMO_CONSUMERS];
    demo_result result;
} judge;

/* ---- Messages as text ------------------------------------------------------------------------ */

size_t demo_key(char out[16], uint32_t message, uint32_t keys) {
    return (size_t)snprintf(out, 16, "key-%06u", (unsigned)(message % keys));
}

void demo_value(char out[DEMO_VALUE_SIZE + 1], uint32_t message, uint32_t keys) {
    int n = snprintf(out, DEMO_VALUE_SIZE + 1, "%u ", (unsigned)(message / keys));
    memset(out + n, '.', (size_t)(DEMO_VALUE_SIZE - n));
    out[DEMO_VALUE_SIZE] = '\0';
}

/* Digits in `bytes` from `from` on. */
static bool parse_number(seg_bytes bytes, size_t from, uint32_t *out) {
    const char *text = bytes.data;
    uint64_t n = 0;
    size_t i = from;
    for (; i < bytes.len && text[i] >= '0' && text[i] <= '9' && n <= UINT32_MAX; i++) {
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *out = (uint32_t)n;
    return i > from && n <= UINT32_MAX;
}

bool demo_parse(const seg_message *m, uint32_t keys, uint32_t *message) {
    uint32_t key, sequence;
    char text[16], value[DEMO_VALUE_SIZE + 1];
    seg_bytes k = seg_message_key(m), v = seg_message_value(m);
    if (k.len < 5 || !parse_number(k, 4, &key) || !parse_number(v, 0, &sequence) || key >= keys ||
        sequence > UINT32_MAX / keys - 1) {
        return false;
    }
    *message = sequence * keys + key;
    demo_value(value, *message, keys);
    return demo_key(text, *message, keys) == k.len && memcmp(text, k.data, k.len) == 0 &&
           v.len == DEMO_VALUE_SIZE && memcmp(value, v.data, v.len) == 0;
}

/* ---- Collecting ------------------------------------------------------------------------------ */

void demo_check_init(demo_check *c, uint32_t messages, uint32_t keys) {
    *c = (demo_check){.messages = messages, .keys = keys, .takeover_us = -1};
    c->seen = cli_alloc(messages, 1);
}

void demo_check_fini(demo_check *c) {
    free(c->stored);
    free(c->seen);
    *c = (demo_check){0};
}

static bool is_known(const demo_check *c, const demo_event *e) {
    return e->message < c->messages && e->partition < DEMO_PARTITIONS;
}

void demo_check_add(demo_check *c, const demo_event *e) {
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 4096;
        c->stored = cli_grow(c->stored, c->capacity, sizeof *c->stored);
    }
    c->stored[c->n] = (demo_stored){*e, c->n};
    c->n++;
    if (e->kind != DEMO_HANDLED || !is_known(c, e)) {
        return;
    }
    if (c->seen[e->message]) {
        c->redelivered++;
    } else {
        c->seen[e->message] = 1;
        c->distinct++;
    }
    if (c->killed_us && c->taken[e->partition] && e->member != c->killed &&
        e->at_us > c->killed_us) {
        int64_t took = e->at_us - c->killed_us;
        if (c->takeover_us < 0 || took < c->takeover_us) {
            c->takeover_us = took;
        }
    }
}

/* ---- Judging --------------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b) {
    const demo_stored *x = a, *y = b;
    if (x->event.at_us != y->event.at_us) {
        return x->event.at_us < y->event.at_us ? -1 : 1;
    }
    return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

static void add_pending(judge *j, uint32_t member, uint32_t message) {
    if (j->n_pending[member] == j->capacity[member]) {
        j->capacity[member] = j->capacity[member] ? 2 * j->capacity[member] : 1024;
        j->pending[member] =
            cli_grow(j->pending[member], j->capacity[member], sizeof *j->pending[member]);
    }
    j->pending[member][j->n_pending[member]++] = message;
}

static void judge_committed(judge *j, const demo_event *e) {
    for (size_t i = 0; i < j->n_pending[e->member]; i++) {
        message_state *m = &j->messages[j->pending[e->member][i]];
        if (!m->committed_us) {
            m->committed_us = e->at_us;
        }
    }
    j->n_pending[e->member] = 0;
}

/* The first delivery of a message must not come before one of its key's earlier ones; an owner's
 * deliveries must ascend, except where an ack timeout ran out. */
static void judge_order(judge *j, const demo_event *e, bool first) {
    uint32_t *next = &j->next[e->message % j->check->keys];
    uint32_t sequence = e->message / j->check->keys;
    partition_state *p = &j->partitions[e->partition];
    bool same_owner = p->started && p->epoch == e->epoch;
    bool back = same_owner && e->offset <= p->offset && e->attempt == 1;
    if ((first && sequence != *next) || back) {
        j->result.out_of_order++;
    }
    if (first && sequence >= *next) {
        *next = sequence + 1;
    }
    *p = (partition_state){e->epoch, e->offset, true};
}

static void judge_handled(judge *j, const demo_event *e) {
    message_state *m = &j->messages[e->message];
    bool first = !m->handled;
    judge_order(j, e, first);
    if (first) {
        m->handled = true;
        m->offset = e->offset;
    } else if (m->committed_us || m->offset != e->offset) {
        j->result.duplicated++;
    }
    add_pending(j, e->member, e->message);
}

static void judge_event(judge *j, const demo_event *e) {
    if (e->member >= DEMO_CONSUMERS) {
        j->result.corrupt++;
        return;
    }
    switch (e->kind) {
    case DEMO_HANDLED:
        if (is_known(j->check, e)) {
            judge_handled(j, e);
        } else {
            j->result.corrupt++;
        }
        break;
    case DEMO_COMMITTED:
        judge_committed(j, e);
        break;
    case DEMO_FENCED:
        j->n_pending[e->member] = 0;
        break;
    default:
        j->result.corrupt++;
    }
}

demo_result demo_check_finish(demo_check *c) {
    judge j = {.check = c,
               .messages = cli_alloc(c->messages, sizeof *j.messages),
               .next = cli_alloc(c->keys, sizeof *j.next)};
    if (c->n > 0) {
        qsort(c->stored, c->n, sizeof *c->stored, by_time);
    }
    for (size_t i = 0; i < c->n; i++) {
        judge_event(&j, &c->stored[i].event);
    }
    for (uint32_t i = 0; i < c->messages; i++) {
        j.result.lost += !j.messages[i].handled;
    }
    for (size_t i = 0; i < DEMO_CONSUMERS; i++) {
        free(j.pending[i]);
    }
    free(j.messages);
    free(j.next);
    return j.result;
}
