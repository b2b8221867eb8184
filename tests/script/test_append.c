/* append.lua as the transaction that carries it: what it answers, what it stores. See
 * test_append_faults.c for what goes wrong around it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "scripts_rig.h"
#include "test.h"

/* Commit everything up to `at` as the group's owner. */
static void commit(const raw *r, const char *epoch, const char *seq, const char *at) {
    CHECK_STR(raw_call(r, "cursor_commit", RAW_INC, r->group, RAW_GID, epoch, seq, at, "", "", "",
                       "", "n", NULL),
              "OK");
}

static void join_cursor(const raw *r, const char *start, const char *epoch) {
    CHECK_STR(raw_call(r, "cursor_create", RAW_INC, r->group, RAW_GID, start, NULL), "OK");
    const char *answer =
        raw_call(r, "cursor_acquire", RAW_INC, r->group, RAW_GID, epoch, "n", NULL);
    CHECK_EQ(strncmp(answer, "OK ", 3), 0);
}

TEST(ids_and_offsets_are_exact) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 1000, "block");
    raw_check_log(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 1}), "[OK 0] 1-0");
    raw_check_log(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 1}), "[OK 1] 1-1");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 3, .n = 100}), "[OK 2] 1-101");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 103, .n = 2}), "[OK 102] 1-103");
    raw_check_log(&r);
    CHECK_STR(raw_cmd(&r, "HGET %s next", RAW_KEY(&r, 'S')), "104");
    CHECK_STR(raw_log_info(&r, "entries-added"), "104");
    CHECK_STR(raw_log_info(&r, "length"), "4");
    raw_check_sealed(&r);
    raw_stop(&r);
}

TEST(the_first_batch_may_hold_many) {
    for (uint64_t n = 1; n <= 3; n++) {
        raw r;
        raw_start(&r);
        raw_create_stream(&r, 1, 1000, "block");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = n}),
                  raw_line("[OK 0] 1-%" PRIu64, n - 1));
        raw_check_log(&r);
        raw_stop(&r);
    }
}

TEST(the_native_group_lags_in_messages) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 1000, "block");
    join_cursor(&r, "earliest", "1");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 40}), "[OK 0] 1-39");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 41, .n = 10}), "[OK 40] 1-49");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "50");
    commit(&r, "1", "1", "40");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "40");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "10");
    commit(&r, "1", "2", "45"); /* inside a batch */
    CHECK_STR(raw_group_info(&r, "g", "lag"), "5");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 40}), "[DUP 0] " RAW_SEALED);
    CHECK_STR(raw_group_info(&r, "g", "lag"), "5");
    commit(&r, "1", "3", "50");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "0");
    raw_stop(&r);
}

TEST(a_duplicate_gets_its_first_offset_for_five_batches) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 1000, "block");
    static const uint64_t sizes[] = {4, 1, 7, 2, 1, 30, 3};
    uint64_t seq[8] = {1}, offset[8] = {0};
    for (size_t i = 0; i < 7; i++) {
        CHECK_STR(raw_append(&r, (raw_batch){.first = seq[i], .n = sizes[i]}),
                  raw_line("[OK %" PRIu64 "] 1-%" PRIu64, offset[i], offset[i] + sizes[i] - 1));
        seq[i + 1] = seq[i] + sizes[i];
        offset[i + 1] = offset[i] + sizes[i] + 2;
        /* Another producer's messages in between: offsets and sequences drift apart. */
        CHECK_STR(raw_append(&r, (raw_batch){.pid = "p2", .first = 2 * i + 1, .n = 2}),
                  raw_line("[OK %" PRIu64 "] 1-%" PRIu64, offset[i] + sizes[i],
                           offset[i] + sizes[i] + 1));
    }
    for (size_t i = 0; i < 7; i++) {
        const char *known = i < 2 ? "-1" : raw_line("%" PRIu64, offset[i]);
        CHECK_STR(raw_append(&r, (raw_batch){.first = seq[i], .n = sizes[i]}),
                  raw_line("[DUP %s] " RAW_SEALED, known));
    }
    /* Not cut as they were: stored, but nobody knows where. */
    CHECK_STR(raw_append(&r, (raw_batch){.first = seq[5], .n = 29}), "[DUP -1] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = seq[5] + 1, .n = 29}), "[DUP -1] " RAW_SEALED);
    raw_check_log(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = seq[7], .n = 1}),
              raw_line("[OK %" PRIu64 "] 1-%" PRIu64, offset[7], offset[7]));
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(gaps_and_generations) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 1000, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 1}), "[GAP 0] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 5}), "[OK 0] 1-4");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 7, .n = 1}), "[GAP 5] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 6, .n = 1, .gen = 3}), "[GAP 0] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 2, .gen = 3}), "[OK 5] 1-6");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 6, .n = 1}), "[STALE 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 5, .gen = 2}), "[STALE 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 2, .gen = 3}), "[DUP 5] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 3, .n = 1, .gen = 3}), "[OK 7] 1-7");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(another_era_is_refused_but_a_duplicate_is_still_known) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 1000, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 2}), "[OK 0] 1-1");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 3, .n = 1, .era = 2}), "[ERA 1] " RAW_SEALED);
    raw_cmd(&r, "HSET %s era 2", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 3, .n = 1}), "[ERA 2] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 2}), "[DUP 0] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 3, .n = 2, .era = 2}), "[OK 2] 2-3");
    CHECK_STR(raw_log_info(&r, "length"), "2");
    raw_stop(&r);
}

TEST(the_bound_with_no_group) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 10, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 11}), "[TOOBIG 10] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 7}), "[OK 0] 1-6");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 8, .n = 4}), "[FULL 10 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 8, .n = 3}), "[OK 7] 1-9");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 1}), "[FULL 10 0] " RAW_SEALED);
    /* What was stored is recognised although there is no room for more. */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 8, .n = 3}), "[DUP 7] " RAW_SEALED);
    raw_check_log(&r);
    CHECK_STR(raw_cmd(&r, "HGET %s first", RAW_KEY(&r, 'S')), "0");
    raw_stop(&r);
}

TEST(the_slowest_group_makes_room) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 10, "reject");
    raw slow = r, late = r;
    slow.group = "slow";
    late.group = "late";
    join_cursor(&r, "earliest", "1");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 6}), "[OK 0] 1-5");
    join_cursor(&slow, "earliest", "1");
    join_cursor(&late, "latest", "1");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "0");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 7, .n = 4}), "[OK 6] 1-9");
    commit(&r, "1", "1", "10");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 1}), "[FULL 10 0] " RAW_SEALED);
    commit(&slow, "1", "1", "3");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "3");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 4}), "[FULL 10 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 3}), "[OK 10] 1-12");
    /* The entry of 0..5 holds unread messages: it stays whole. */
    CHECK_STR(raw_cmd(&r, "HGET %s first", RAW_KEY(&r, 'S')), "3");
    raw_check_log(&r);
    commit(&slow, "1", "2", "8");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "6"); /* now it is `late` */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 14, .n = 4}), "[FULL 10 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 14, .n = 3}), "[OK 13] 1-15");
    CHECK_STR(raw_cmd(&r, "HGET %s first", RAW_KEY(&r, 'S')), "6");
    CHECK_STR(raw_log_info(&r, "length"), "3");
    raw_check_log(&r);
    CHECK_STR(raw_call(&late, "cursor_delete", "late", RAW_GID, NULL), "OK");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 17, .n = 2}), "[OK 16] 1-17");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(drop_oldest_keeps_exactly_the_bound) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 10, "drop-oldest");
    join_cursor(&r, "earliest", "1");
    for (uint64_t i = 0; i < 50; i++) {
        CHECK_STR(raw_append(&r, (raw_batch){.first = i + 1, .n = 1}),
                  raw_line("[OK %" PRIu64 "] 1-%" PRIu64, i, i));
        CHECK_EQ(raw_number(&r, 'S', "first"), i < 10 ? 0 : (long long)i - 9);
        CHECK_STR(raw_log_info(&r, "length"), raw_line("%" PRIu64, i < 10 ? i + 1 : 10));
        raw_check_log(&r);
    }
    CHECK_STR(raw_append(&r, (raw_batch){.first = 51, .n = 11}), "[TOOBIG 10] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 51, .n = 10}), "[OK 50] 1-59");
    CHECK_STR(raw_log_info(&r, "length"), "1");
    /* An entry of which one message must stay, stays. */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 61, .n = 9}), "[OK 60] 1-68");
    CHECK_STR(raw_log_info(&r, "length"), "2");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 70, .n = 1}), "[OK 69] 1-69");
    CHECK_STR(raw_log_info(&r, "length"), "2");
    raw_check_log(&r);
    /* The group was overtaken; its own place is as it left it. */
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL), "OK 1:0 60 70 0 1     0 n");
    raw_stop(&r);
}

/* A reader that waits sees what is accepted, and nothing of what is refused. */
TEST(readers_see_nothing_of_the_sealing) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 10, "block");
    raw reader = raw_other(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 10}), "[OK 0] 1-9");
    redisAppendCommand(reader.c, "XREAD BLOCK 0 STREAMS %s 1-9", RAW_KEY(&r, 'L'));
    int done = 0;
    CHECK_EQ(redisBufferWrite(reader.c, &done), REDIS_OK);
    WAIT_FOR(20000, server_info(r.server, "blocked_clients") == 1);
    for (int i = 0; i < 20; i++) {
        CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 1}), "[FULL 10 0] " RAW_SEALED);
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 10}), "[DUP 0] " RAW_SEALED);
        CHECK_STR(raw_append(&r, (raw_batch){.first = 12, .n = 1}), "[GAP 10] " RAW_SEALED);
        CHECK_EQ(server_info(r.server, "blocked_clients"), 1);
    }
    /* The same for one that comes while the log is sealed, and for ranges. */
    raw_check_sealed(&r);
    CHECK_STR(raw_cmd(&r, "XREAD STREAMS %s 1-9", RAW_KEY(&r, 'L')), "nil");
    CHECK_STR(raw_cmd(&r, "XRANGE %s 1-3 + COUNT 1", RAW_KEY(&r, 'L')), "[1-9 [b p1 1 1 10]]");
    raw_cmd(&r, "HSET %s low 5", RAW_KEY(&r, 'S')); /* as if a group had read so far */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 5}), "[OK 10] 1-14");
    redisReply *reply = NULL;
    CHECK_EQ(redisGetReply(reader.c, (void **)&reply), REDIS_OK);
    CHECK_STR(raw_text(reply), raw_line("[%s [[1-14 [b p1 1 11 5]]]]", RAW_KEY(&r, 'L')));
    redisFree(reader.c);
    raw_stop(&r);
}

TEST(the_probe_writes_nothing_but_mends) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 10, "block");
    CHECK_STR(raw_probe(&r), "OK 0 1:0 0 0");
    raw_check_log(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 5, .n = 3}), "[GAP 3] " RAW_SEALED);
    raw_check_log(&r);
    CHECK_STR(raw_probe(&r), "OK 3 1:0 0 0");
    raw_check_log(&r);
    /* What somebody has opened by hand is sealed again, and counts what it did. */
    CHECK_STR(raw_cmd(&r, "XSETID %s 1-2 ENTRIESADDED 77", RAW_KEY(&r, 'L')), "OK");
    CHECK_STR(raw_probe(&r), "OK 3 1:0 0 0");
    CHECK_STR(raw_cmd(&r, "HEXISTS %s p:probe", RAW_KEY(&r, 'S')), "0");
    CHECK_STR(raw_cmd(&r, "HGET %s producers", RAW_KEY(&r, 'S')), "1");
    raw_check_log(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(offsets_near_2_to_the_53) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_cmd(&r, "HSET %s next 9007199254740900 first 9007199254740900", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 1}),
              "[OK 9007199254740900] 1-9007199254740900");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 50}),
              "[OK 9007199254740901] 1-9007199254740950");
    join_cursor(&r, "earliest", "9007199254740950");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "51");
    commit(&r, "9007199254740950", "9007199254740951", "9007199254740949");
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL),
              "OK 1:0 9007199254740900 9007199254740951 9007199254740949 9007199254740950     0 n");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 50}),
              "[DUP 9007199254740901] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.pid = "p2", .gen = 9007199254740990, .first = 1, .n = 1}),
              "[OK 9007199254740951] 1-9007199254740951");
    CHECK_STR(raw_append(&r, (raw_batch){.pid = "p2", .first = 1, .n = 1}),
              "[STALE 9007199254740990] " RAW_SEALED);
    CHECK_STR(raw_log_info(&r, "entries-added"), "9007199254740952");
    raw_check_log(&r);
    raw_stop(&r);
}

/* ---- producers ---------------------------------------------------------------------------- */

static long long producers(const raw *r) {
    redisReply *fields = raw_cmd_reply(r, "HKEYS %s", RAW_KEY(r, 'S'));
    long long n = 0;
    for (size_t i = 0; i < fields->elements; i++) {
        n += strncmp(fields->element[i]->str, "p:", 2) == 0;
    }
    freeReplyObject(fields);
    return n;
}

static void append_as(const raw *r, const char *kind, int i) {
    const char *answer =
        raw_append(r, (raw_batch){.pid = raw_line("%s%d", kind, i), .first = 1, .n = 1});
    CHECK_EQ(strncmp(answer, "[OK ", 4), 0);
}

TEST(idle_producers_are_forgotten) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100000, "block");
    for (int i = 0; i < 40; i++) {
        append_as(&r, "old", i);
    }
    CHECK_EQ(producers(&r), 40);
    /* All that were used so far, more than an hour ago; but one. */
    redisReply *time = raw_cmd_reply(&r, "TIME");
    long long now = strtoll(time->element[0]->str, NULL, 10) * 1000;
    freeReplyObject(time);
    for (int i = 0; i < 40; i++) {
        raw_cmd(&r, "HSET %s p:old%d %s", RAW_KEY(&r, 'S'), i,
                raw_line("1 1 %lld 1:%d", now - (i == 7 ? 3000000 : 3700000), i));
    }
    for (int i = 0; i < 23; i++) {
        append_as(&r, "new", i);
    }
    CHECK_EQ(producers(&r), 63);
    append_as(&r, "new", 23); /* the 64th */
    CHECK_EQ(producers(&r), 25);
    CHECK_STR(raw_cmd(&r, "HMGET %s producers prune_at", RAW_KEY(&r, 'S')), "25 64");
    CHECK_STR(raw_append(&r, (raw_batch){.pid = "old7", .first = 2, .n = 1}), "[OK 64] 1-64");
    /* One that was forgotten cannot go on: it does not know whether the server lost something. */
    CHECK_STR(raw_append(&r, (raw_batch){.pid = "old8", .first = 2, .n = 1}),
              "[GAP 0] " RAW_SEALED);
    raw_check_log(&r);
    for (int i = 24; i < 200; i++) {
        append_as(&r, "new", i);
    }
    CHECK_EQ(producers(&r), 201); /* none is idle: none is forgotten */
    CHECK_EQ(raw_number(&r, 'S', "producers"), 201);
    raw_stop(&r);
}

TEST(the_number_of_producers_is_bounded) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100000, "block");
    append_as(&r, "first", 0);
    redisReply *time = raw_cmd_reply(&r, "TIME");
    long long now = strtoll(time->element[0]->str, NULL, 10) * 1000;
    freeReplyObject(time);
    for (int i = 0; i < 10100; i++) {
        redisAppendCommand(r.c, "HSET %s p:x%d %s", RAW_KEY(&r, 'S'), i,
                           raw_line("1 1 %lld 1:0", now - 11000 + i));
    }
    for (int i = 0; i < 10100; i++) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(r.c, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
    }
    raw_cmd(&r, "HSET %s producers 10101 prune_at 10102", RAW_KEY(&r, 'S'));
    append_as(&r, "last", 0);
    CHECK_LE(producers(&r), 10000);
    CHECK_GE(producers(&r), 9999);
    CHECK_EQ(raw_number(&r, 'S', "producers"), producers(&r));
    CHECK_STR(raw_cmd(&r, "HEXISTS %s p:x0", RAW_KEY(&r, 'S')), "0");
    CHECK_STR(raw_cmd(&r, "HEXISTS %s p:x10099", RAW_KEY(&r, 'S')), "1");
    CHECK_STR(raw_cmd(&r, "HEXISTS %s p:last0", RAW_KEY(&r, 'S')), "1");
    raw_check_log(&r);
    raw_stop(&r);
}

/* ---- by chance ---------------------------------------------------------------------------- */

enum { PRODUCERS = 4, BOUND = 60, HISTORY = 5 };

struct past {
    uint64_t first, n, offset;
};
struct producer {
    uint64_t gen, seq;
    struct past past[HISTORY]; /* newest first */
};
struct model {
    uint64_t next, low;
    struct producer producers[PRODUCERS];
};

static const char *expect(struct model *m, const char *policy, size_t who, raw_batch b) {
    struct producer *p = &m->producers[who];
    if (b.gen < p->gen) {
        return raw_line("[STALE %" PRIu64 "] " RAW_SEALED, p->gen);
    }
    uint64_t seq = b.gen == p->gen ? p->seq : 0;
    if (b.first <= seq) {
        for (size_t i = 0; i < HISTORY; i++) {
            if (p->past[i].n == b.n && p->past[i].first == b.first) {
                return raw_line("[DUP %" PRIu64 "] " RAW_SEALED, p->past[i].offset);
            }
        }
        return "[DUP -1] " RAW_SEALED;
    }
    if (b.first > seq + 1) {
        return raw_line("[GAP %" PRIu64 "] " RAW_SEALED, seq);
    }
    if (b.n > BOUND) {
        return raw_line("[TOOBIG %d] " RAW_SEALED, BOUND);
    }
    if (strcmp(policy, "block") == 0 && m->next + b.n - m->low > BOUND) {
        return raw_line("[FULL %d %" PRIu64 "] " RAW_SEALED, BOUND, BOUND - (m->next - m->low));
    }
    if (b.gen > p->gen) {
        memset(p->past, 0, sizeof p->past);
    }
    memmove(p->past + 1, p->past, (HISTORY - 1) * sizeof *p->past);
    p->past[0] = (struct past){b.first, b.n, m->next};
    p->gen = b.gen;
    p->seq = b.first + b.n - 1;
    m->next += b.n;
    return raw_line("[OK %" PRIu64 "] 1-%" PRIu64, p->past[0].offset, m->next - 1);
}

static raw_batch some_batch(sg_rng *rng, const struct producer *p, const char *pid) {
    raw_batch b = {.pid = pid, .gen = p->gen ? p->gen : 1, .n = 1 + sg_rng_below(rng, 9)};
    uint64_t kind = sg_rng_below(rng, 16);
    b.first = p->seq + 1;
    if (kind == 0) {
        b.n = BOUND + 1;
    } else if (kind == 1) {
        b.first += 1 + sg_rng_below(rng, 5);
    } else if (kind == 2) {
        b.gen++;
        b.first = 1;
    } else if (kind == 3 && b.gen > 1) {
        b.gen--;
    } else if (kind < 7 && p->past[kind - 4].n > 0) {
        b.first = p->past[kind - 4].first;
        b.n = p->past[kind - 4].n;
    } else if (kind == 7) {
        b.first = 1 + sg_rng_below(rng, p->seq + 1);
    }
    return b;
}

static void appends_by_chance(const char *policy) {
    static const char *const pids[PRODUCERS] = {"a", "b", "c", "d"};
    sg_rng rng = {test_seed()};
    struct model m = {0};
    uint64_t commits = 0;
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, BOUND, policy);
    join_cursor(&r, "earliest", "1");
    for (int step = 0; step < 1500; step++) {
        if (m.next > m.low && sg_rng_below(&rng, 8) == 0) {
            m.low += 1 + sg_rng_below(&rng, m.next - m.low);
            commit(&r, "1", raw_line("%" PRIu64, ++commits), raw_line("%" PRIu64, m.low));
        }
        size_t who = sg_rng_below(&rng, PRODUCERS);
        raw_batch b = some_batch(&rng, &m.producers[who], pids[who]);
        const char *expected = expect(&m, policy, who, b);
        CHECK_STR(raw_append(&r, b), expected);
        CHECK_EQ(raw_number(&r, 'S', "next"), m.next);
        if (step % 10 == 0) {
            raw_check_log(&r);
        }
        CHECK_STR(raw_group_info(&r, "g", "lag"), raw_line("%" PRIu64, m.next - m.low));
    }
    raw_stop(&r);
}

TEST(by_chance_block) {
    appends_by_chance("block");
}

TEST(by_chance_drop_oldest) {
    appends_by_chance("drop-oldest");
}
