/* dlq_rig.h - what the tests of dead letters share. Every call ends the case where it fails. */
#ifndef SG_TEST_DLQ_RIG_H
#define SG_TEST_DLQ_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { MAX = 1024 };

typedef struct bench {
    server *s;
    seg_client *c;
} bench;

static inline bench set_up(void) {
    bench b = {.s = server_start(NULL)};
    b.c = rig_client(b.s);
    return b;
}

static inline void tear_down(bench *b) {
    seg_client_close(b->c);
    server_stop(b->s);
}

/* ---- Letters --------------------------------------------------------------------------------- */

static const char *const keys[] = {"a", "b", "c", "d", "e"};

/* The numbers first .. first + count - 1 are sent to `stream` and rejected by `group`. */
static inline void bury(seg_client *c, const char *stream, const char *group, unsigned first,
                        unsigned count) {
    rig_inbox *in = calloc(1, sizeof *in);
    seg_producer *p = rig_producer(c, stream);
    CHECK(in != NULL);
    rig_put_keys(p, keys, 5, first, count);
    seg_producer_close(p);
    seg_consumer *k = rig_consumer(c, stream, &(rig_join){.group = group});
    rig_take(k, in, count);
    for (size_t i = 0; i < in->n; i++) {
        char reason[32];
        snprintf(reason, sizeof reason, "no %u", in->number[i]);
        rig_settle_as(k, &in->d[i], SEG_REJECT, 0, reason);
    }
    rig_commit(k);
    seg_consumer_close(k);
    free(in);
}

static inline seg_dlq *open_dlq(seg_client *c, const char *stream, const char *group) {
    seg_dlq *q = NULL;
    seg_error err;
    CHECK_OK(seg_dlq_open(&q, c, stream, group, &err), &err);
    return q;
}

typedef struct listing {
    size_t n, replaying;
    seg_position at[MAX];
    unsigned number[MAX];
} listing;

static inline listing *ls(seg_dlq *q) {
    static listing l;
    seg_error err;
    l.n = l.replaying = 0;
    seg_dlq_rewind(q);
    for (;;) {
        const seg_letter *letter = NULL;
        CHECK_OK(seg_dlq_next(&letter, q, &err), &err);
        if (letter == NULL) {
            return &l;
        }
        CHECK_LT(l.n, MAX);
        l.replaying += letter->replaying != NULL;
        l.at[l.n] = letter->at;
        l.number[l.n++] = rig_number(letter->message);
    }
}

static inline size_t replay(seg_dlq *q, const seg_position *at, size_t n, const char *to) {
    seg_error err;
    size_t done = 0;
    CHECK_OK(seg_dlq_replay(q, at, n, to, &done, &err), &err);
    return done;
}

static inline size_t drop(seg_dlq *q, const seg_position *at, size_t n) {
    seg_error err;
    size_t done = 0;
    CHECK_OK(seg_dlq_drop(q, at, n, &done, &err), &err);
    return done;
}

/* Add to `count` how often each number is in `stream`. */
static inline void census(seg_client *c, const char *stream, unsigned count[MAX]) {
    static unsigned readers;
    char group[32];
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    snprintf(group, sizeof group, "census-%u", readers++);
    seg_consumer *k = rig_consumer(c, stream, &(rig_join){.group = group});
    rig_take(k, in, rig_messages(c, stream));
    for (size_t i = 0; i < in->n; i++) {
        CHECK_LT(in->number[i], MAX);
        count[in->number[i]]++;
    }
    seg_consumer_close(k);
    seg_error err;
    CHECK_OK(seg_group_delete(c, stream, group, &err), &err);
    free(in);
}

static inline void check_once(const unsigned count[MAX], unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (count[i] != 1) {
            FAIL("message %u is there %u times", i, count[i]);
        }
    }
}

#endif
