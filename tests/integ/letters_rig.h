/* letters_rig.h - what the tests of verdicts and of dead letters share. */
#ifndef SG_TEST_LETTERS_RIG_H
#define SG_TEST_LETTERS_RIG_H

#include <stdlib.h>

#include "rig.h"

enum { LETTERS = 4096 };

/* A server, a client, the stream "s", a producer, an empty inbox, room for dead letters. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
    rig_letter *letters;
} bench;

static inline void connect_bench(bench *b) {
    b->c = rig_client(b->s);
    b->p = rig_producer(b->c, "s");
}

static inline bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL),
               .in = calloc(1, sizeof *b.in),
               .letters = calloc(LETTERS, sizeof *b.letters)};
    CHECK(b.in != NULL && b.letters != NULL);
    seg_client *c = rig_client(b.s);
    rig_stream(c, "s", partitions);
    seg_client_close(c);
    connect_bench(&b);
    return b;
}

/* No thread of ours is left, so that the case may fork. */
static inline void disconnect(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    b->p = NULL;
    b->c = NULL;
}

static inline void tear_down(bench *b) {
    disconnect(b);
    server_stop(b->s);
    free(b->in);
    free(b->letters);
}

/* Where the message with that number was delivered last. */
static inline const seg_delivery *last_of(const rig_inbox *in, unsigned number) {
    for (size_t i = in->n; i-- > 0;) {
        if (in->number[i] == number) {
            return &in->d[i];
        }
    }
    FAIL("number %u was not delivered", number);
}

static inline size_t letters_of(bench *b) {
    return rig_letters(b->c, "s", "g", b->letters, LETTERS);
}

/* Wait until `n` dead letters are stored, and read them. */
static inline void wait_letters(bench *b, size_t n) {
    WAIT_FOR(RIG_MS, rig_messages(b->c, "s.g.dlq") >= n);
    CHECK_EQ(letters_of(b), n);
}

static inline const rig_letter *letter_of(const bench *b, size_t n, unsigned number) {
    const rig_letter *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (b->letters[i].number == number) {
            CHECK(found == NULL);
            found = &b->letters[i];
        }
    }
    CHECK(found != NULL);
    return found;
}

#endif
