/* Every allocation of the calls for dead letters fails in its turn: each letter is in one place. */
#include "../integ/dlq_rig.h"
#include "memory_rig.h"

enum { LETTERS = 5, MOVED = 2, AT_A_TIME = 100 };

TEST_DEADLINE(opening_dead_letters, 120) {
    seg_error err;
    char stream[24] = "s";
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, stream, 1);
    bury(s.calm, stream, "g", 0, LETTERS);
    while (sweep_more(&s)) {
        seg_dlq *q = NULL;
        sweep_arm(&s);
        seg_status status = seg_dlq_open(&q, s.client, stream, "g", &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, q != NULL);
        if (q != NULL) {
            CHECK_EQ(ls(q)->n, LETTERS);
        }
        seg_dlq_close(q);
    }
    sweep_end(&s);
}

/* All of them, one by one: a call that failed is made again, and gives the next. */
TEST_DEADLINE(looking_at_dead_letters, 120) {
    seg_error err;
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", 1);
    bury(s.calm, "s", "g", 0, LETTERS);
    while (sweep_more(&s)) {
        seg_dlq *q = open_dlq(s.client, "s", "g");
        unsigned found = 0;
        seg_status worst = SEG_OK;
        seg_error why = {.status = SEG_OK};
        sweep_arm(&s);
        for (const seg_letter *l = NULL; found < LETTERS + 1; found++) {
            seg_status status = seg_dlq_next(&l, q, &err);
            if (status != SEG_OK) {
                worst = status;
                why = err;
                WAIT_FOR(RIG_MS, seg_dlq_next(&l, q, &err) == SEG_OK);
            }
            if (l == NULL) {
                break;
            }
            CHECK_EQ(rig_number(l->message), found);
            CHECK_STR(l->reason, "rejected");
            CHECK_EQ(l->origin.id.offset, found);
        }
        sweep_disarm(&s);
        CHECK_EQ(found, LETTERS);
        sweep_judge(&s, worst, ASKS, &why);
        seg_dlq_close(q);
    }
    sweep_end(&s);
}

/* ---- Moving --------------------------------------------------------------------------------- */

typedef seg_status moving(seg_dlq *q, const seg_position *at, size_t n, size_t *done,
                          seg_error *err);

static seg_status replay_to_t(seg_dlq *q, const seg_position *at, size_t n, size_t *done,
                              seg_error *err) {
    return seg_dlq_replay(q, at, n, "t", done, err);
}

/* What it says is done is done, also where it failed; the same call finishes the rest. */
static void sweep_moving(moving *move, bool replays) {
    seg_error err;
    sweep s;
    unsigned moved = 0, buried = 0;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", 1);
    rig_stream(s.calm, "t", 2);
    while (sweep_more(&s)) {
        size_t done = 0, rest = 0;
        const seg_position at[MOVED] = {{{1, moved}, 0}, {{1, moved + 1}, 0}};
        if (moved + MOVED > buried) {
            bury(s.calm, "s", "g", buried, AT_A_TIME);
            buried += AT_A_TIME;
        }
        seg_dlq *q = open_dlq(s.client, "s", "g");
        sweep_arm(&s);
        seg_status status = move(q, at, MOVED, &done, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_LE(done, MOVED);
        if (status == SEG_OK) {
            CHECK_EQ(done, MOVED);
        } else {
            WAIT_FOR(RIG_MS, move(q, at, MOVED, &rest, &err) == SEG_OK);
            CHECK_LE(done + rest, MOVED);
        }
        moved += MOVED;
        CHECK_EQ(rig_messages(s.calm, "t"), replays ? moved : 0);
        seg_dlq_close(q);
    }
    seg_dlq *all = open_dlq(s.calm, "s", "g");
    const listing *left = ls(all);
    CHECK_EQ(left->n, buried - moved);
    for (size_t i = 0; i < left->n; i++) {
        CHECK_EQ(left->at[i].id.offset, moved + i);
    }
    seg_dlq_close(all);
    sweep_end(&s);
}

TEST_DEADLINE(replaying_dead_letters, 120) {
    sweep_moving(replay_to_t, true);
}

TEST_DEADLINE(dropping_dead_letters, 120) {
    sweep_moving(seg_dlq_drop, false);
}
