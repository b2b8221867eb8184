/* cursor_seek.lua and group_seek.lua, call by call: how a group is moved, and who is fenced. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "groups_rig.h"
#include "redis/script.h"
#include "test.h"

/* An answer's end: no acks, no tries, no high, no note; then the epoch of the last move. */
#define NEW "    "

/* The scripts of this file, with their keys; the arguments go up to NULL. */
static const char *call(const raw *r, const char *script, const char *letters, ...) {
    const char *argv[48];
    char count[24];
    sg_key keys[8];
    size_t n = 0, len;
    va_list list;
    snprintf(count, sizeof count, "%zu", strlen(letters));
    argv[n++] = "EVAL";
    argv[n++] = sg_script_body(sg_script_find(script), &len);
    argv[n++] = count;
    for (size_t i = 0; letters[i] != '\0'; i++) {
        keys[i] = raw_key(r, letters[i]);
        argv[n++] = keys[i].text;
    }
    va_start(list, letters);
    for (const char *a; (a = va_arg(list, const char *)) != NULL; argv[n++] = a) {
        CHECK_LT(n, sizeof argv / sizeof *argv);
    }
    va_end(list);
    return raw_text(redisCommandArgv(r->c, (int)n, argv, NULL));
}

/* ---- cursor_seek ---------------------------------------------------------------------------- */

static const char *seek(const raw *r, const char *epoch, const char *offset) {
    return call(r, "cursor_seek", "SLCK", RAW_INC, r->group, RAW_GID, epoch, offset, NULL);
}

static const char *acquire_as(const raw *r, const char *nonce, const char *epoch) {
    return raw_call(r, "cursor_acquire", RAW_INC, r->group, RAW_GID, epoch, nonce, NULL);
}

static const char *commit(const raw *r, const char *epoch, const char *seq, const char *at) {
    return raw_call(r, "cursor_commit", RAW_INC, r->group, RAW_GID, epoch, seq, at, "", "", "", "",
                    "n", NULL);
}

/* Without its last word, the owner's nonce. */
static const char *read_back(const raw *r) {
    char *text = (char *)(uintptr_t)raw_call(r, "cursor_read", RAW_INC, r->group, NULL), *last;
    if (strncmp(text, "OK ", 3) == 0 && (last = strrchr(text, ' ')) != NULL)
        *last = '\0';
    return text;
}

static const char *low(const raw *r) {
    return raw_cmd(r, "HGET %s low", RAW_KEY(r, 'S'));
}

/* A partition with the messages 0..19 in entries of five, and the group "g" at its start. */
static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 1, 20, "block");
    for (unsigned i = 0; i < 4; i++) {
        CHECK_STR(raw_append(r, (raw_batch){.first = 5 * i + 1, .n = 5}),
                  raw_line("[OK %u] 1-%u", 5 * i, 5 * i + 4));
    }
    raw_create_group(r, 1, "earliest");
}

TEST(a_cursor_moves_on_and_back) {
    raw r;
    start(&r);
    CHECK_STR(seek(&r, "3", "12"), "OK 0 12");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 12 3 " NEW "3");
    CHECK_STR(low(&r), "12");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "12");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "8");
    CHECK_STR(seek(&r, "4", "7"), "OK 12 7"); /* in the middle of an entry */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 7 4 " NEW "4");
    CHECK_STR(low(&r), "7");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "13");
    CHECK_STR(acquire_as(&r, "n", "5"), "OK 1:0 7 0 20 " NEW "4");
    raw_check_log(&r);
    raw_stop(&r);
}

/* Whatever was acknowledged, tried and noted belongs to the old place. */
TEST(a_move_forgets_what_was_known_there) {
    raw r;
    start(&r);
    CHECK_STR(acquire_as(&r, "n", "1"), "OK 1:0 0 0 20 " NEW "0");
    CHECK_STR(raw_call(&r, "cursor_commit", RAW_INC, "g", RAW_GID, "1", "1", "5", "acks", "tries",
                       "9", "note", "n", NULL),
              "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 1 acks tries 9 note 0");
    CHECK_STR(seek(&r, "2", "5"), "OK 5 5"); /* also where the offset is the same */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 2 " NEW "2");
    CHECK_STR(raw_cmd(&r, "HGET %s g:owner", RAW_KEY(&r, 'C')), "");
    CHECK_STR(acquire_as(&r, "n", "3"), "OK 1:0 5 0 20 " NEW "2");
    CHECK_STR(commit(&r, "3", "1", "6"), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 6 3 " NEW "2"); /* since stays */
    raw_stop(&r);
}

TEST(the_place_is_cut_to_what_the_partition_holds) {
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s first 7", RAW_KEY(&r, 'S'));
    CHECK_STR(seek(&r, "1", "3"), "OK 0 7");
    CHECK_STR(seek(&r, "2", "21"), "OK 7 20");
    CHECK_STR(seek(&r, "3", "0"), "OK 20 7");
    CHECK_STR(seek(&r, "4", "9223372036854775807"), "OK 7 20");
    CHECK_STR(seek(&r, "5", "18446744073709551615"), "OK 20 20");
    CHECK_STR(low(&r), "20");
    raw_stop(&r);
}

TEST(an_empty_partition) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "latest");
    CHECK_STR(seek(&r, "1", "9"), "OK 0 0");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "3");
    raw_stop(&r);
}

TEST(owners_of_before_are_fenced) {
    raw r;
    start(&r);
    acquire_as(&r, "n", "3");
    CHECK_STR(commit(&r, "3", "1", "10"), "OK");
    CHECK_STR(seek(&r, "4", "2"), "OK 10 2");
    CHECK_STR(commit(&r, "3", "2", "11"), "FENCED 4");
    CHECK_STR(commit(&r, "4", "1", "11"), "FENCED 4"); /* nobody owns it */
    CHECK_STR(acquire_as(&r, "n", "3"), "STALE 4");    /* its first answer was lost */
    CHECK_STR(acquire_as(&r, "n", "4"), "STALE 4");    /* begin's epoch is no grant */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 2 4 " NEW "4");
    CHECK_STR(acquire_as(&r, "n", "5"), "OK 1:0 2 0 20 " NEW "4");
    CHECK_STR(commit(&r, "5", "1", "3"), "OK");
    CHECK_STR(commit(&r, "3", "3", "12"), "FENCED 5");
    raw_stop(&r);
}

/* A copy of a move that some dead connection still holds must not move back who has read on. */
TEST(a_late_move_moves_nothing) {
    raw r;
    start(&r);
    acquire_as(&r, "n", "7");
    CHECK_STR(seek(&r, "5", "9"), "STALE 7");
    CHECK_STR(seek(&r, "7", "9"), "STALE 7");
    CHECK_STR(seek(&r, "8", "9"), "OK 0 9");
    CHECK_STR(seek(&r, "8", "11"), "STALE 8");
    acquire_as(&r, "n", "9");
    CHECK_STR(commit(&r, "9", "1", "15"), "OK");
    CHECK_STR(seek(&r, "8", "9"), "STALE 9");
    CHECK_STR(seek(&r, "9", "9"), "STALE 9");
    CHECK_STR(seek(&r, "10", "9"), "OK 15 9"); /* 10 is more than 9, as numbers are */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 9 10 " NEW "10");
    raw_stop(&r);
}

/* What a group is moved back to is unread again: an append may not take its room. */
TEST(low_falls_with_the_slowest) {
    raw r;
    start(&r);
    raw other = r;
    other.group = "other";
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "other", RAW_GID, "latest", NULL), "OK");
    CHECK_STR(seek(&r, "1", "20"), "OK 0 20");
    CHECK_STR(low(&r), "20");
    CHECK_STR(seek(&other, "1", "5"), "OK 20 5");
    CHECK_STR(low(&r), "5");
    CHECK_STR(seek(&r, "2", "3"), "OK 20 3");
    CHECK_STR(low(&r), "3");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 21, .n = 4}), "[FULL 20 3] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 21, .n = 3}), "[OK 20] 1-22");
    CHECK_STR(seek(&r, "3", "20"), "OK 3 20");
    CHECK_STR(low(&r), "5");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 24, .n = 2}), "[OK 23] 1-24");
    CHECK_EQ(raw_number(&r, 'S', "first"), 5);
    CHECK_STR(seek(&r, "4", "0"), "OK 20 5");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(a_native_group_that_was_destroyed_comes_back) {
    raw r;
    start(&r);
    raw_cmd(&r, "XGROUP DESTROY %s g", RAW_KEY(&r, 'L'));
    CHECK_STR(seek(&r, "1", "15"), "OK 0 15");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "15");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "5");
    raw_stop(&r);
}

static void check_untouched(const raw *r, const char *key, const char *answer) {
    raw_cmd(r, "RENAME %s aside", key);
    CHECK_STR(seek(r, "9", "4"), answer);
    CHECK_STR(raw_cmd(r, "EXISTS %s", key), "0");
    raw_cmd(r, "SET %s x", key); /* not lost, but something else: an error */
    CHECK_CONTAINS(seek(r, "9", "4"), "-WRONGTYPE");
    raw_cmd(r, "DEL %s", key);
    raw_cmd(r, "RENAME aside %s", key);
    CHECK_STR(read_back(r), "OK 1:0 0 20 0 0 " NEW "0");
    CHECK_STR(low(r), "0");
}

TEST(what_is_missing_is_said_and_nothing_moves) {
    raw r;
    start(&r);
    CHECK_STR(call(&r, "cursor_seek", "SLCK", "other", "g", RAW_GID, "9", "4", NULL),
              "LOST incarnation");
    CHECK_STR(call(&r, "cursor_seek", "SLCK", RAW_INC, "g", "older", "9", "4", NULL),
              "LOST cursor");
    CHECK_STR(call(&r, "cursor_seek", "SLCK", RAW_INC, "none", RAW_GID, "9", "4", NULL),
              "LOST cursor");
    check_untouched(&r, RAW_KEY(&r, 'S'), "LOST state");
    check_untouched(&r, RAW_KEY(&r, 'L'), "LOST log");
    check_untouched(&r, RAW_KEY(&r, 'C'), "LOST cursor");
    check_untouched(&r, RAW_KEY(&r, 'K'), "LOST cursor");
    CHECK_STR(seek(&r, "9", "4"), "OK 0 4");
    raw_stop(&r);
}

/* Owners, moves and their late copies in any order; a model says who may do what. */
TEST(moves_and_commits_by_chance) {
    uint64_t epoch = 0, owner = 0, seq = 0, at = 0;
    sg_rng rng = {test_seed()};
    raw r;
    start(&r);
    for (int i = 0; i < 3000; i++) {
        uint64_t e = epoch + sg_rng_below(&rng, 5), to = sg_rng_below(&rng, 25);
        e = e > 2 ? e - 2 : 1;
        const char *e_text = raw_line("%" PRIu64, e);
        if (sg_rng_below(&rng, 3) == 0) {
            const char *to_text = raw_line("%" PRIu64, to);
            uint64_t cut = to > 20 ? 20 : to;
            CHECK_STR(seek(&r, e_text, to_text),
                      e <= epoch ? raw_line("STALE %" PRIu64, epoch)
                                 : raw_line("OK %" PRIu64 " %" PRIu64, at, cut));
            if (e > epoch) {
                epoch = e;
                owner = seq = 0;
                at = cut;
            }
        } else if (sg_rng_below(&rng, 2) == 0) {
            const char *answer = acquire_as(&r, "n", e_text);
            bool taken = e > epoch || (e == epoch && owner == e);
            CHECK_EQ(strncmp(answer, "OK 1:0 ", 7) == 0, taken);
            if (taken) {
                CHECK_EQ(strtoull(answer + 7, NULL, 10), at);
                seq = e > epoch ? 0 : seq;
                epoch = owner = e;
            }
        } else {
            uint64_t next = at + sg_rng_below(&rng, 3);
            bool ours = e == epoch && owner == e, ahead = next > 20;
            CHECK_STR(commit(&r, e_text, raw_line("%" PRIu64, seq + 1), raw_line("%" PRIu64, next)),
                      !ours   ? raw_line("FENCED %" PRIu64, epoch)
                      : ahead ? "AHEAD 20"
                              : "OK");
            if (ours && !ahead) {
                at = next;
                seq++;
            }
        }
        CHECK_STR(low(&r), raw_line("%" PRIu64, at));
        CHECK_STR(raw_group_info(&r, "g", "lag"), raw_line("%" PRIu64, 20 - at));
    }
    raw_stop(&r);
}

/* ---- group_seek ----------------------------------------------------------------------------- */

static const char *begin(const group *g, const char *force, const char *floor) {
    return call(&g->raw, "group_seek", "mglp", RAW_INC, RAW_GID, "begin", force, floor,
                RAW_KEY(&g->raw, 'w'), NULL);
}

/* Up to two partitions, each as "partition:epoch". */
static const char *finish(const group *g, const char *one, const char *two) {
    return call(&g->raw, "group_seek", "mglp", RAW_INC, RAW_GID, "finish", "0", "0",
                RAW_KEY(&g->raw, 'w'), one, two, NULL);
}

TEST(an_active_group_is_not_moved_unless_that_is_asked_for) {
    group g;
    group_start(&g, 2);
    CHECK_STR(begin(&g, "0", "0"), "OK 1");
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    long long epoch = raw_number(&g.raw, 'g', "epoch");
    CHECK_STR(begin(&g, "0", "0"), "ACTIVE 2");
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), epoch);
    CHECK_STR(begin(&g, "1", "0"), raw_line("OK %lld", epoch + 1));
    group_sync(&g, "a", (sync_args){.op = "leave"});
    CHECK_STR(begin(&g, "0", "0"), "ACTIVE 1");
    group_pass(&g, 10001); /* the other one is dead, though nobody has removed it yet */
    CHECK_EQ(strncmp(begin(&g, "0", "0"), "OK ", 3), 0);
    group_stop(&g);
}

/* No epoch is given twice, to a move or to a member. */
/* The server was replaced, and what it gave last is lost: neither begin nor finish gives it again. */
TEST(another_life_gives_other_epochs) {
    group g;
    group_start(&g, 1);
    CHECK_STR(begin(&g, "0", "0"), "OK 1");
    group_sync(&g, "a", (sync_args){.op = "join"});
    raw_cmd(&g.raw, "HSET %s life 0123456789", RAW_KEY(&g.raw, 'g'));
    long long epoch = strtoll(begin(&g, "1", "0") + 3, NULL, 10);
    CHECK_GT(epoch, 1000000000000LL);
    CHECK_STR(begin(&g, "1", "0"), raw_line("OK %lld", epoch + 1));
    group_stop(&g);
    group_start(&g, 1);
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(begin(&g, "1", "0"), "OK 2");
    raw_cmd(&g.raw, "HSET %s life 0123456789", RAW_KEY(&g.raw, 'g'));
    CHECK_GT(strtoll(finish(&g, "0:2", NULL) + 3, NULL, 10), 1000000000000LL);
    group_stop(&g);
}

TEST(every_begin_takes_an_epoch) {
    group g;
    group_start(&g, 1);
    CHECK_STR(begin(&g, "0", "0"), "OK 1");
    CHECK_STR(begin(&g, "0", "0"), "OK 2");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "OK 2 -1 1 0:3:keep");
    CHECK_STR(begin(&g, "1", "0"), "OK 4");
    CHECK_STR(begin(&g, "1", "50"), "OK 51"); /* a cursor had seen 50 */
    CHECK_STR(begin(&g, "1", "20"), "OK 52");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1"); /* and nobody was told */
    group_stop(&g);
}

TEST(finish_grants_what_was_moved_anew) {
    group g;
    group_start(&g, 3);
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}),
              "OK 2 -1 1 0:1:keep 1:2:keep 2:3:keep");
    CHECK_STR(begin(&g, "1", "0"), "OK 4");
    CHECK_STR(finish(&g, "2:4", "0:4"), "OK 6");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 3 -1 1 0:5:keep 1:2:keep 2:6:keep");
    /* Again, as after a lost answer: nobody is disturbed. */
    CHECK_STR(finish(&g, "2:4", "0:4"), "OK 6");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 3}), "OK 3 -1 1");
    /* What the owner has handed back before, because it was refused, is let be too. */
    CHECK_STR(begin(&g, "1", "0"), "OK 7");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 3, .back = "1:2"}),
              "OK 4 -1 1 0:5:keep 1:8:keep 2:6:keep");
    CHECK_STR(finish(&g, "1:7", NULL), "OK 8");
    CHECK_STR(group_part(&g, 1), "a|8|a");
    /* A hand-back of before the move that comes late. */
    CHECK_STR(begin(&g, "1", "0"), "OK 9");
    CHECK_STR(finish(&g, "0:9", NULL), "OK 10");
    group_sync(&g, "a", (sync_args){.back = "0:5"});
    CHECK_STR(group_part(&g, 0), "a|10|a");
    group_check_settled(&g);
    group_stop(&g);
}

/* One on its way goes on being so: its owner gives it away under the new epoch. */
TEST(a_partition_on_its_way_stays_so) {
    group g;
    group_start(&g, 2);
    static const char *const names[] = {"a", "b"};
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    CHECK_STR(group_part(&g, 1), "a|2|b");
    CHECK_STR(begin(&g, "1", "0"), "OK 3");
    CHECK_STR(finish(&g, "1:3", "0:3"), "OK 5");
    CHECK_STR(group_part(&g, 0), "a|4|a");
    CHECK_STR(group_part(&g, 1), "a|5|b");
    CHECK_STR(group_sync_masked(&g, "a", (sync_args){0}), "OK 4 DUE 2 0:4:keep 1:5:give");
    group_settle(&g, 2, names);
    group_check_settled(&g);
    CHECK_STR(group_part(&g, 1), "b|6|b");
    group_stop(&g);
}

/* Without an owner there is nobody to tell; with a dead one nobody who would mind. */
TEST(partitions_without_a_live_owner) {
    group g;
    group_start(&g, 2);
    CHECK_STR(begin(&g, "0", "0"), "OK 1");
    CHECK_STR(finish(&g, "0:1", "1:1"), "OK 1");
    CHECK_STR(group_part(&g, 0), "nil");
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_pass(&g, 10001);
    CHECK_STR(begin(&g, "0", "0"), "OK 4");
    CHECK_STR(finish(&g, "0:4", "1:4"), "OK 6");
    CHECK_STR(group_part(&g, 0), "a|5|a");
    /* It was only slow, and is back. */
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 3 -1 1 0:5:keep 1:6:keep");
    group_sync(&g, "a", (sync_args){.op = "leave"});
    CHECK_STR(finish(&g, "0:9", "7:9"), "OK 9");
    CHECK_STR(group_part(&g, 0), "|5|");
    group_stop(&g);
}

/* A failover has lost what begin took: what is granted now is above it all the same. */
TEST(finish_stays_above_the_moves) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(finish(&g, "1:40", NULL), "OK 41");
    CHECK_STR(group_part(&g, 0), "a|1|a");
    CHECK_STR(group_part(&g, 1), "a|41|a");
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), 41);
    group_stop(&g);
}

/* How often it was told to sync. A PING behind the messages comes back after them. */
static int heard(redisContext *c) {
    int n = 0;
    redisAppendCommand(c, "PING");
    for (;; n++) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(c, (void **)&reply), REDIS_OK);
        bool pong = strcmp(reply->element[0]->str, "pong") == 0;
        if (!pong) {
            CHECK_STR(reply->element[2]->str, "sync");
        }
        freeReplyObject(reply);
        if (pong) {
            return n;
        }
    }
}

TEST(owners_are_woken_once) {
    group g;
    group_start(&g, 3);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "2:3"});
    raw a = raw_other(&g.raw), b = raw_other(&g.raw);
    freeReplyObject(redisCommand(a.c, "SSUBSCRIBE %sa", RAW_KEY(&g.raw, 'w')));
    freeReplyObject(redisCommand(b.c, "SSUBSCRIBE %sb", RAW_KEY(&g.raw, 'w')));
    CHECK_STR(begin(&g, "1", "0"), "OK 5");
    CHECK_EQ(heard(a.c) + heard(b.c), 0);
    CHECK_STR(finish(&g, "2:5", NULL), "OK 6");
    CHECK_EQ(heard(a.c), 0);
    CHECK_EQ(heard(b.c), 1);
    CHECK_STR(finish(&g, "0:5", "1:5"), "OK 8");
    CHECK_EQ(heard(a.c), 1);
    CHECK_STR(finish(&g, "0:5", "1:5"), "OK 8");
    CHECK_EQ(heard(a.c) + heard(b.c), 0);
    redisFree(a.c);
    redisFree(b.c);
    group_stop(&g);
}

TEST(a_group_that_is_gone_is_not_moved) {
    group g;
    group_start(&g, 1);
    static const char *const ops[] = {"begin", "finish"};
    for (size_t i = 0; i < 2; i++) {
        CHECK_STR(call(&g.raw, "group_seek", "mglp", "other", RAW_GID, ops[i], "0", "0", "w", NULL),
                  "LOST stream");
        CHECK_STR(call(&g.raw, "group_seek", "mglp", RAW_INC, "other", ops[i], "0", "0", "w", NULL),
                  "LOST group");
        raw_cmd(&g.raw, "HSET %s phase deleting", RAW_KEY(&g.raw, 'g'));
        CHECK_STR(call(&g.raw, "group_seek", "mglp", RAW_INC, RAW_GID, ops[i], "1", "0", "w", NULL),
                  "GONE group");
        raw_cmd(&g.raw, "HSET %s phase ready", RAW_KEY(&g.raw, 'g'));
        raw_cmd(&g.raw, "HSET %s phase deleting", RAW_KEY(&g.raw, 'm'));
        CHECK_STR(call(&g.raw, "group_seek", "mglp", RAW_INC, RAW_GID, ops[i], "1", "0", "w", NULL),
                  "GONE stream");
        raw_cmd(&g.raw, "HSET %s phase ready", RAW_KEY(&g.raw, 'm'));
    }
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), 0);
    raw_cmd(&g.raw, "DEL %s", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(begin(&g, "1", "0"), "GONE group");
    CHECK_STR(raw_cmd(&g.raw, "EXISTS %s", RAW_KEY(&g.raw, 'g')), "0");
    group_stop(&g);
}

TEST(four_thousand_partitions_at_once) {
    enum { N = 4096 };
    group g;
    static char text[N][16];
    static const char *argv[16 + N];
    char n_keys[] = "4";
    size_t n = 0, len;
    sg_key keys[4];
    group_start(&g, N);
    freeReplyObject(group_sync_reply(&g, "a", (sync_args){.op = "join"}, 0, NULL));
    CHECK_STR(begin(&g, "1", "0"), raw_line("OK %d", N + 1));
    argv[n++] = "EVAL";
    argv[n++] = sg_script_body(sg_script_find("group_seek"), &len);
    argv[n++] = n_keys;
    for (size_t i = 0; i < 4; i++) {
        keys[i] = raw_key(&g.raw, "mglp"[i]);
        argv[n++] = keys[i].text;
    }
    const char *const args[] = {RAW_INC, RAW_GID, "finish", "0", "0", "w"};
    for (size_t i = 0; i < sizeof args / sizeof *args; i++) {
        argv[n++] = args[i];
    }
    for (unsigned p = 0; p < N; p++) {
        snprintf(text[p], sizeof text[p], "%u:%d", p, N + 1);
        argv[n++] = text[p];
    }
    CHECK_STR(raw_text(redisCommandArgv(g.raw.c, (int)n, argv, NULL)),
              raw_line("OK %d", 2 * N + 1));
    CHECK_STR(group_part(&g, 0), raw_line("a|%d|a", N + 2));
    CHECK_STR(group_part(&g, N - 1), raw_line("a|%d|a", 2 * N + 1));
    group_stop(&g);
}

/* ---- group_open ----------------------------------------------------------------------------- */

/* Who finishes a creation goes by the start of who began it. */
TEST(the_start_of_a_group_is_stored) {
    static const char *const starts[] = {"earliest", "latest", "offset:12", "time:1700000000000"};
    static const char *const names[] = {"a", "b", "c", "d"};
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 20, "block");
    for (size_t i = 0; i < 4; i++) {
        r.group = names[i];
        const char *answer = raw_call(&r, "group_open", RAW_INC, r.group, RAW_GID, starts[i], NULL);
        CHECK_EQ(strncmp(answer, "CREATE ", 7), 0);
        CHECK_STR(strrchr(answer, ' ') + 1, starts[i]);
        answer = raw_call(&r, "group_open", RAW_INC, r.group, RAW_GID, "latest", NULL);
        CHECK_STR(strrchr(answer, ' ') + 1, starts[i]);
    }
    raw_stop(&r);
}
