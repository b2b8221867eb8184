/* append.lua where something is wrong: keys of another type, missing, of somebody else; entries
 * that somebody else has put into the log; no memory, no rights, a replica. Whatever happens, the
 * XADD behind the guard must not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_rig.h"
#include "test.h"

#define WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

static void start(raw *r, const char *policy) {
    raw_start(r);
    raw_create_stream(r, 1, 100, policy);
    CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
}

/* The state's fields as text. */
static char *state_of(const raw *r) {
    redisReply *all = raw_cmd_reply(r, "HGETALL %s", RAW_KEY(r, 'S'));
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    CHECK(out != NULL);
    for (size_t i = 0; i + 1 < all->elements; i += 2) {
        fprintf(out, "%s=%s ", all->element[i]->str, all->element[i + 1]->str);
    }
    freeReplyObject(all);
    fclose(out);
    return text;
}

/* ---- keys --------------------------------------------------------------------------------- */

TEST(no_state) {
    raw r;
    start(&r, "block");
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "[LOST state] " RAW_SEALED);
    CHECK_STR(raw_probe(&r), "LOST state");
    CHECK_STR(raw_log_info(&r, "length"), "1");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'S')), "0");
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "[OK 3] 1-4");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(no_log) {
    raw r;
    start(&r, "block");
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[LOST log] nil");
    CHECK_STR(raw_probe(&r), "LOST log");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'L')), "0");
    CHECK_EQ(raw_number(&r, 'S', "next"), 3);
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(nothing_at_all) {
    raw r;
    start(&r, "block");
    raw_cmd(&r, "FLUSHALL");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[LOST state] nil");
    CHECK_STR(raw_cmd(&r, "DBSIZE"), "0");
    raw_stop(&r);
}

TEST(another_incarnation) {
    raw r;
    start(&r, "block");
    char *before = raw_contents(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1, .inc = "other"}),
              "[LOST incarnation] " RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3, .inc = "other"}),
              "[LOST incarnation] " RAW_SEALED);
    raw_check_contents(&r, before);
    free(before);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(the_state_is_of_another_type) {
    raw r;
    start(&r, "block");
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'S'));
    raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'S'));
    const char *answer = raw_append(&r, (raw_batch){.first = 4, .n = 2});
    CHECK_EQ(strncmp(answer, "[BROKEN ", 8), 0);
    CHECK_CONTAINS(answer, WRONGTYPE);
    CHECK_CONTAINS(answer, "] " RAW_SEALED);
    CHECK_CONTAINS(raw_probe(&r), WRONGTYPE);
    CHECK_STR(raw_log_info(&r, "length"), "1");
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "[OK 3] 1-4");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(the_log_is_of_another_type) {
    static const char *const makers[] = {"SET %s x", "HSET %s a b", "LPUSH %s x", "ZADD %s 1 x"};
    raw r;
    start(&r, "block");
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'L'));
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        raw_cmd(&r, makers[i], RAW_KEY(&r, 'L'));
        const char *answer = raw_append(&r, (raw_batch){.first = 4, .n = 1});
        CHECK_EQ(strncmp(answer, "[BROKEN ", 8), 0);
        CHECK_CONTAINS(answer, "] -" WRONGTYPE);
        CHECK_CONTAINS(raw_probe(&r), WRONGTYPE);
        CHECK_EQ(raw_number(&r, 'S', "next"), 3);
        raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'L'));
    }
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    raw_stop(&r);
}

/* Each field of the state that the guard needs, spoilt: it forbids, and changes nothing. (`low`
 * that is no number counts as the first retained: also safe.) */
TEST(a_damaged_state) {
    static const char *const fields[] = {"next", "first", "bound", "producers", "prune_at", "p:p2"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        raw r;
        start(&r, "block");
        raw_cmd(&r, "HSET %s %s damaged", RAW_KEY(&r, 'S'), fields[i]);
        char *before = raw_contents(&r);
        const char *answer = raw_append(&r, (raw_batch){.pid = "p2", .first = 1, .n = 2});
        if (strncmp(answer, "[BROKEN ", 8) != 0 || !strstr(answer, RAW_SEALED)) {
            FAIL("with a damaged \"%s\": %s", fields[i], answer);
        }
        raw_check_contents(&r, before);
        free(before);
        raw_stop(&r);
    }
}

/* ---- entries of somebody else ------------------------------------------------------------- */

static void check_mended(const raw *r, const char *foreign) {
    raw_check_log(r);
    CHECK_STR(raw_cmd(r, "HGET %s foreign", RAW_KEY(r, 'S')), foreign);
}

TEST(foreign_entries_are_taken_out_and_counted) {
    static const uint64_t sizes[] = {1, 2, 10};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        raw r;
        start(&r, "block");
        raw_stray(&r, "*", "a", "1");
        raw_stray(&r, "*", "a", "2");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = sizes[i]}),
                  raw_line("[OK 3] 1-%d", (int)sizes[i] + 2));
        check_mended(&r, "2");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = sizes[i]}), "[DUP 3] " RAW_SEALED);
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4 + sizes[i], .n = 2}),
                  raw_line("[OK %d] 1-%d", (int)sizes[i] + 3, (int)sizes[i] + 4));
        check_mended(&r, "2");
        raw_stop(&r);
    }
}

TEST(foreign_entries_in_an_empty_log) {
    static const char *const ids[] = {"*", "0-1", "1-0", "1-500", "7-7", "18446744073709551615-0"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        for (unsigned n = 1; n <= 3; n++) {
            raw r;
            raw_start(&r);
            raw_create_stream(&r, 1, 100, "block");
            raw_stray(&r, ids[i], "b", "x");
            CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = n}),
                      raw_line("[OK 0] 1-%u", n - 1));
            check_mended(&r, "1");
            raw_stop(&r);
        }
    }
}

/* An ID of our era: past the batch, right at its end, and within it. */
TEST(foreign_entries_of_our_era) {
    for (int offset = 3; offset <= 14; offset++) {
        raw r;
        start(&r, "block");
        raw_stray(&r, raw_line("1-%d", offset), "b", "x");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 10}), "[OK 3] 1-12");
        check_mended(&r, "1");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 14, .n = 1}), "[OK 13] 1-13");
        check_mended(&r, "1");
        raw_stop(&r);
    }
}

TEST(many_foreign_entries) {
    raw r;
    start(&r, "drop-oldest");
    for (int i = 0; i < 1234; i++) {
        raw_stray(&r, "*", "a", raw_line("%d", i));
    }
    CHECK_STR(raw_probe(&r), "OK 3 1:0 0 0");
    check_mended(&r, "1234");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "[OK 3] 1-4");
    check_mended(&r, "1234");
    raw_stop(&r);
}

TEST(a_sealed_log_takes_no_foreign_entries) {
    raw r;
    start(&r, "block");
    CHECK_STR(raw_cmd(&r, "XADD %s * a 1", RAW_KEY(&r, 'L')), RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[DUP 0] " RAW_SEALED);
    CHECK_STR(raw_cmd(&r, "XADD %s * a 1", RAW_KEY(&r, 'L')), RAW_SEALED);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    CHECK_STR(raw_cmd(&r, "XADD %s * a 1", RAW_KEY(&r, 'L')), RAW_SEALED);
    CHECK_STR(raw_cmd(&r, "XADD %s 1-4 b x", RAW_KEY(&r, 'L')), RAW_SEALED);
    raw_check_log(&r);
    raw_stop(&r);
}

/* Entries that somebody deleted or trimmed by hand are lost, but appending goes on. */
TEST(entries_deleted_by_hand) {
    raw r;
    start(&r, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_cmd(&r, "XDEL %s 1-3", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 5, .n = 1}), "[OK 4] 1-4");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 6, .n = 5}), "[OK 5] 1-9");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 6, .n = 5}), "[DUP 5] " RAW_SEALED);
    raw_cmd(&r, "XTRIM %s MAXLEN 0", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 5}), "[OK 10] 1-14");
    CHECK_STR(raw_log_info(&r, "entries-added"), "15");
    CHECK_STR(raw_log_info(&r, "length"), "1");
    raw_stop(&r);
}

/* ---- memory, replicas, rights ------------------------------------------------------------- */

TEST(a_full_server_refuses_the_whole_transaction) {
    raw r;
    start(&r, "block");
    raw_create_group(&r, 1, "earliest");
    char *before = raw_contents(&r);
    raw_cmd(&r, "CONFIG SET maxmemory-policy noeviction maxmemory 1000");
    CHECK_CONTAINS(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "-EXECABORT");
    CHECK_CONTAINS(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "-EXECABORT");
    raw_check_contents(&r, before);
    free(before);
    /* It can be drained all the same, and probed. */
    CHECK_STR(raw_probe(&r), "OK 3 1:0 0 0");
    CHECK_STR(raw_call(&r, "cursor_acquire", RAW_INC, "g", RAW_GID, "1", "n", NULL),
              "OK 1:0 0 0 3     0");
    CHECK_STR(raw_call(&r, "cursor_commit", RAW_INC, "g", RAW_GID, "1", "1", "3", "", "", "", "",
                       "n", NULL),
              "OK");
    raw_cmd(&r, "CONFIG SET maxmemory 0");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2}), "[OK 3] 1-4");
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(a_replica_refuses) {
    raw r, replica;
    server *primary =
        server_start_tcp((const char *const[]){"--repl-diskless-sync-delay", "0", NULL});
    r = (raw){.server = primary, .c = server_connect(primary), .group = "g"};
    raw_create_stream(&r, 1, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    raw_start(&replica);
    raw_cmd(&replica, "REPLICAOF 127.0.0.1 %d", server_port(primary));
    WAIT_FOR(30000, raw_number(&replica, 'S', "next") == 3);
    CHECK_CONTAINS(raw_append(&replica, (raw_batch){.first = 4, .n = 2}), "-EXECABORT");
    CHECK_CONTAINS(raw_probe(&replica), "READONLY");
    raw_check_log(&replica);
    /* What was decided on the primary arrives as it was: also the sealing. */
    CHECK_CONTAINS(raw_append(&r, (raw_batch){.first = 4, .n = 40}), "[ERA ");
    uint64_t era =
        (uint64_t)raw_number(&r, 'S', "era"); /* the first replica changes the primary's id */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 40, .era = era}),
              raw_line("[OK 3] %" PRIu64 "-42", era));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 40, .era = era}), "[DUP 3] " RAW_SEALED);
    CHECK_EQ(atoll(raw_cmd(&r, "WAIT 1 30000")), 1);
    raw_check_log(&replica);
    /* A replica that becomes the primary goes on. */
    raw_cmd(&replica, "REPLICAOF NO ONE");
    CHECK_STR(raw_append(&replica, (raw_batch){.first = 4, .n = 40, .era = era}),
              "[DUP 3] " RAW_SEALED);
    CHECK_CONTAINS(raw_append(&replica, (raw_batch){.first = 44, .n = 2, .era = era}), "[ERA ");
    uint64_t next_era = (uint64_t)raw_number(&replica, 'S', "era");
    CHECK_GT(next_era, era);
    CHECK_STR(raw_append(&replica, (raw_batch){.first = 44, .n = 2, .era = next_era}),
              raw_line("[OK 43] %" PRIu64 "-44", next_era));
    raw_check_log(&replica);
    raw_stop(&replica);
    raw_stop(&r);
}

/* A user who may do everything but `command`. */
static raw restricted(const raw *r, const char *command) {
    raw user = raw_other(r);
    CHECK_STR(raw_cmd(r, "ACL SETUSER u reset on >pw ~* &* +@all -%s", command), "OK");
    CHECK_STR(raw_cmd(&user, "AUTH u pw"), "OK");
    return user;
}

/* The probe before the first append needs the same rights, so that a missing one is found before
 * anything is sent. */
TEST(the_probe_finds_missing_rights) {
    static const char *const needed[] = {"xsetid",  "hset",   "hmget", "eval",  "evalsha",
                                         "xtrim",   "xrange", "xdel",  "xinfo", "hincrby",
                                         "hgetall", "hdel",   "info"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        raw r;
        start(&r, "block");
        char *before = raw_contents(&r);
        raw user = restricted(&r, needed[i]);
        user.whole = true; /* as an append's guard travels */
        const char *answer = raw_probe(&user);
        if (strncmp(answer, "OK", 2) == 0) {
            FAIL("without the right to %s the probe answers \"%s\"", needed[i], answer);
        }
        raw_check_contents(&r, before);
        free(before);
        redisFree(user.c);
        raw_stop(&r);
    }
}

/* Each append has an XSETID of its own, to which the right is asked when it is queued. */
TEST(without_xsetid_the_transaction_is_refused) {
    raw r;
    start(&r, "block");
    char *before = raw_contents(&r);
    raw user = restricted(&r, "xsetid");
    for (uint64_t n = 1; n <= 3; n++) {
        CHECK_CONTAINS(raw_append(&user, (raw_batch){.first = 4, .n = n}), "-EXECABORT");
    }
    raw_check_contents(&r, before);
    raw_check_log(&r);
    free(before);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    redisFree(user.c);
    raw_stop(&r);
}

/* The guard opens and seals by XSETID. One that runs although its user has no right to that must not let
 * an XADD through, whether the log was sealed before or open: it has another way. */
static void guard_without_xsetid(uint64_t n, bool open) {
    raw r;
    start(&r, "block");
    char *before = raw_contents(&r);
    raw user = restricted(&r, "xsetid"), reader = raw_other(&r);
    redisAppendCommand(reader.c, "XREAD BLOCK 0 STREAMS %s 1-2", RAW_KEY(&r, 'L'));
    int done = 0;
    CHECK_EQ(redisBufferWrite(reader.c, &done), REDIS_OK);
    WAIT_FOR(20000, server_info(r.server, "blocked_clients") == 1);
    if (open) {
        raw_unseal(&r);
    }
    for (int again = 0; again < 2; again++) {
        const char *answer = raw_guard(&user, (raw_batch){.first = 4, .n = n});
        CHECK_EQ(strncmp(answer, "BROKEN ", 7), 0);
        raw_check_sealed(&r);
        CHECK_STR(raw_cmd(&user, "XADD %s NOMKSTREAM 1-* b x", RAW_KEY(&r, 'L')), RAW_SEALED);
    }
    raw_check_contents(&r, before);
    free(before);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    raw_check_log(&r);
    /* The reader may have been woken for nothing; it never sees what forbids. */
    redisReply *reply = NULL;
    CHECK_EQ(redisGetReply(reader.c, (void **)&reply), REDIS_OK);
    CHECK(strstr(raw_text(reply), "seal") == NULL);
    redisFree(reader.c);
    redisFree(user.c);
    raw_stop(&r);
}

TEST(without_xsetid_the_guard_still_forbids) {
    for (uint64_t n = 1; n <= 3; n++) {
        guard_without_xsetid(n, false);
    }
}

TEST(without_xsetid_the_guard_seals_an_open_log) {
    for (uint64_t n = 1; n <= 3; n++) {
        guard_without_xsetid(n, true);
    }
}

static void refused_without_a_trace(const raw *r, const char *command, const char *answer,
                                    const char *before) {
    if (strncmp(answer, "[BROKEN ", 8) != 0 || !strstr(answer, RAW_SEALED)) {
        FAIL("without the right to %s: %s", command, answer);
    }
    /* An idle producer and the foreign entry may be gone, and the number of producers too large:
     * the next pruning counts them anew. */
    raw_cmd(r, "HDEL %s p:old", RAW_KEY(r, 'S'));
    CHECK_GE(raw_number(r, 'S', "producers"), 1);
    raw_cmd(r, "HSET %s producers 1", RAW_KEY(r, 'S'));
    char *now = state_of(r);
    CHECK_STR(now, before);
    free(now);
    CHECK_STR(raw_append(r, (raw_batch){.pid = "p2", .first = 1, .n = 2}), "[OK 10] 1-11");
    raw_check_log(r);
}

/* Any other right that is missing: refused, with nothing written. The batch is the first of a
 * 64th producer, needs room, and finds a foreign entry, so that each command is called. */
TEST(any_other_missing_right_refuses_without_a_trace) {
    static const char *const commands[] = {"time",   "xtrim", "hincrby", "hgetall", "hdel",
                                           "xrange", "xdel",  "xinfo",   "hmget",   "hset"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        bool mends = commands[i][0] == 'x' && strcmp(commands[i], "xtrim") != 0;
        bool prunes = strcmp(commands[i], "hgetall") == 0 || strcmp(commands[i], "hdel") == 0;
        raw r;
        raw_start(&r);
        raw_create_stream(&r, 1, 10, "drop-oldest");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 10}), "[OK 0] 1-9");
        if (prunes) {
            raw_cmd(&r, "HSET %s prune_at 2", RAW_KEY(&r, 'S'));
        }
        if (mends) {
            raw_stray(&r, "*", "a", "1");
        }
        char *before = state_of(&r);
        if (prunes) {
            raw_cmd(&r, "HSET %s p:old %s", RAW_KEY(&r, 'S'), "1 1 1 1:0");
        }
        raw user = restricted(&r, commands[i]);
        const char *answer = raw_append(&user, (raw_batch){.pid = "p2", .first = 1, .n = 2});
        if (strcmp(answer, "[OK 10] 1-11") == 0) {
            raw_check_log(&r); /* the guard does without it */
        } else {
            refused_without_a_trace(&r, commands[i], answer, before);
        }
        free(before);
        redisFree(user.c);
        raw_stop(&r);
    }
}

TEST(script_flush_between_changes_nothing) {
    raw r;
    start(&r, "block");
    raw_create_group(&r, 1, "earliest");
    for (unsigned i = 0; i < 5; i++) {
        raw_cmd(&r, "SCRIPT FLUSH SYNC");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4 + 2 * i, .n = 2}),
                  raw_line("[OK %u] 1-%u", 3 + 2 * i, 4 + 2 * i));
        raw_cmd(&r, "SCRIPT FLUSH SYNC");
        CHECK_STR(raw_call(&r, "cursor_acquire", RAW_INC, "g", RAW_GID, "1", "n", NULL),
                  raw_line("OK 1:0 0 0 %u     0", 5 + 2 * i));
    }
    raw_check_log(&r);
    raw_stop(&r);
}
