/* Between appends a log is sealed: its last ID is the largest there is, and no XADD can follow that. So an
 * append whose guard the server does not know by its digest is refused like any stranger's, whatever came
 * before it. And readers see nothing of all that. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_rig.h"
#include "test.h"

static void start(raw *r, uint64_t bound, const char *policy) {
    raw_start(r);
    raw_create_stream(r, 1, bound, policy);
}

static uint64_t era_now(const raw *r) {
    return (uint64_t)raw_number(r, 'S', "era");
}

/* The script cache is lost: SCRIPT FLUSH, or one that keeps only so many. */
static void forget_scripts(const raw *r) {
    CHECK_STR(raw_cmd(r, "SCRIPT FLUSH SYNC"), "OK");
    raw_check_unguarded(r);
}

static raw_output output(uint64_t offset) {
    return (raw_output){.input = "i", .epoch = 1, .offset = offset};
}

/* What begins with `expected` was answered. */
static void check_answer(const char *answer, const char *expected) {
    if (strncmp(answer, expected, strlen(expected)) != 0) {
        FAIL("answered \"%s\", expected \"%s\"", answer, expected);
    }
}

/* The next message is stored, under the era that there is. */
static void append_one(const raw *r, uint64_t sequence) {
    check_answer(raw_append(r, (raw_batch){.first = sequence, .n = 1, .era = era_now(r)}), "[OK ");
}

/* ---- who does not know the guard ---------------------------------------------------------- */

TEST(a_fresh_partition) {
    raw r;
    start(&r, 100, "block");
    forget_scripts(&r);
    CHECK_STR(raw_call(&r, "partition_create", RAW_INC, "100", "block", NULL), "OK"); /* again */
    forget_scripts(&r);
    CHECK_STR(raw_call(&r, "partition_create", "1newer", "100", "block", NULL), "OK");
    forget_scripts(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.inc = "1newer", .first = 1, .n = 1}), "[OK 0] 1-0");
    raw_check_log(&r);
    raw_stop(&r);
}

/* Without the right to seal there is no partition, nor anything in its way later. */
TEST(a_partition_that_cannot_be_sealed_is_not_made) {
    raw r;
    raw_start(&r);
    raw user = raw_other(&r);
    CHECK_STR(raw_cmd(&r, "ACL SETUSER u reset on >pw ~* &* +@all -xsetid"), "OK");
    CHECK_STR(raw_cmd(&user, "AUTH u pw"), "OK");
    CHECK_EQ(raw_call(&user, "partition_create", RAW_INC, "9", "block", NULL)[0], '-');
    CHECK_STR(raw_cmd(&r, "DBSIZE"), "0");
    CHECK_STR(raw_call(&r, "partition_create", RAW_INC, "9", "block", NULL), "OK");
    raw_check_log(&r);
    redisFree(user.c);
    raw_stop(&r);
}

TEST(after_appends) {
    raw r;
    start(&r, 10, "drop-oldest");
    for (uint64_t i = 0; i < 20; i++) { /* the later ones trim */
        if (i % 2 == 0) {
            append_one(&r, i + 1);
        } else {
            raw_output o = output(i);
            CHECK_STR(raw_forward(&r, (raw_batch){.first = i + 1, .n = 1}, &o),
                      raw_line("[OK %" PRIu64 "] 1-%" PRIu64, i, i));
        }
        forget_scripts(&r);
        raw_check_log(&r);
    }
    raw_stop(&r);
}

/* Every way to be refused. */
TEST(after_a_refused_append) {
    static const struct {
        const char *answer, *field, *value; /* of the state, by hand before it */
        raw_batch b;
    } cases[] = {
        {"[DUP 0] " RAW_SEALED, NULL, NULL, {.first = 1, .n = 8}},
        {"[GAP 8] " RAW_SEALED, NULL, NULL, {.first = 10, .n = 1}},
        {"[FULL 10 2] " RAW_SEALED, NULL, NULL, {.first = 9, .n = 3}},
        {"[TOOBIG 10] " RAW_SEALED, NULL, NULL, {.first = 9, .n = 11}},
        {"[ERA 1] " RAW_SEALED, NULL, NULL, {.first = 9, .n = 1, .era = 2}},
        {"[LOST incarnation] " RAW_SEALED, NULL, NULL, {.first = 9, .n = 1, .inc = "other"}},
        {"[ERA 1", "life", "0123", {.first = 9, .n = 1}},
        {"[BROKEN ", "p:p2", "damaged", {.pid = "p2", .first = 1, .n = 1}},
        {"[STALE 3] " RAW_SEALED, "p:p3", "3 1 1 1:0", {.pid = "p3", .first = 1, .n = 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int open = 0; open < 2; open++) {
            raw r;
            start(&r, 10, "block");
            CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 8}), "[OK 0] 1-7");
            if (cases[i].field != NULL) {
                raw_cmd(&r, "HSET %s %s %s", RAW_KEY(&r, 'S'), cases[i].field, cases[i].value);
            }
            if (open) {
                raw_unseal(&r); /* whoever refuses seals */
            }
            check_answer(raw_append(&r, cases[i].b), cases[i].answer);
            forget_scripts(&r);
            raw_stop(&r);
        }
    }
}

TEST(after_outputs_that_are_held) {
    raw r;
    start(&r, 100, "block");
    raw_output o = output(7);
    CHECK_STR(raw_forward(&r, (raw_batch){.first = 1, .n = 1}, &o), "[OK 0] 1-0");
    raw_unseal(&r);
    CHECK_STR(raw_forward(&r, (raw_batch){.first = 2, .n = 1}, &o), "[HELD 0  ] " RAW_SEALED);
    forget_scripts(&r);
    raw_check_log(&r);
    raw_stop(&r);
}

/* A guard alone, too: it does not count on what seals behind it. */
TEST(after_a_probe) {
    raw r;
    start(&r, 100, "block");
    for (uint64_t i = 0; i < 3; i++) {
        const char *probe = i == 1 ? "append_forward" : "append";
        for (int open = 0; open < 3; open++) {
            if (open == 1) {
                raw_unseal(&r);
            } else if (open == 2) {
                raw_stray(&r, "*", "a", "1");
            }
            /* The last one begins another era. */
            check_answer(raw_call(&r, probe, RAW_INC, "1", "p1", "1", "0", "0",
                                  i == 2 && open == 2 ? "50" : "0", NULL),
                         raw_line("OK %" PRIu64 " ", i));
            forget_scripts(&r);
            raw_check_log(&r);
        }
        append_one(&r, i + 1);
    }
    CHECK_GT(era_now(&r), 1);
    raw_stop(&r);
}

/* Whatever else is done to a partition, by scripts, and by those who look at it or move it. */
TEST(after_every_other_script) {
    raw r;
    start(&r, 10, "drop-oldest");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 8}), "[OK 0] 1-7");
    raw_create_group(&r, 1, "earliest"); /* cursor_create */
    forget_scripts(&r);
    check_answer(raw_call(&r, "cursor_acquire", RAW_INC, "g", RAW_GID, "1", "n", NULL), "OK ");
    forget_scripts(&r);
    for (int native = 1; native >= 0; native--) { /* with the native group, and without */
        CHECK_STR(raw_call(&r, "cursor_commit", RAW_INC, "g", RAW_GID, "1", native ? "1" : "2",
                           native ? "3" : "5", "", "", "", "", "n", NULL),
                  "OK");
        forget_scripts(&r);
        CHECK_STR(raw_cmd(&r, "XGROUP DESTROY %s g", RAW_KEY(&r, 'L')), "1");
    }
    check_answer(raw_call(&r, "cursor_read", RAW_INC, "g", NULL), "OK ");
    forget_scripts(&r);
    check_answer(raw_call(&r, "cursor_seek", RAW_INC, "g", RAW_GID, "7", "2", NULL), "OK ");
    forget_scripts(&r);
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    forget_scripts(&r);
    CHECK_STR(raw_call(&r, "partition_delete", "00older", NULL), "OK");
    forget_scripts(&r);
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(after_what_others_do_to_the_log) {
    static const char *const commands[] = {"XTRIM %s MINID 1-3", "XDEL %s 1-7",
                                           "XGROUP CREATE %s other 0", "XTRIM %s MAXLEN 0"};
    raw r;
    start(&r, 100, "block");
    for (uint64_t i = 1; i <= 8; i++) {
        append_one(&r, i);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        CHECK(raw_cmd(&r, commands[i], RAW_KEY(&r, 'L'))[0] != '-');
        forget_scripts(&r);
    }
    CHECK_STR(raw_cmd(&r, "COPY %s {ns/s/0}copy", RAW_KEY(&r, 'L')), "1");
    CHECK_STR(raw_cmd(&r, "RENAME {ns/s/0}copy %s", RAW_KEY(&r, 'L')), "OK");
    forget_scripts(&r);
    redisReply *dump = raw_cmd_reply(&r, "DUMP %s", RAW_KEY(&r, 'L'));
    CHECK_EQ(dump->type, REDIS_REPLY_STRING);
    CHECK_STR(raw_cmd(&r, "RESTORE %s 0 %b REPLACE", RAW_KEY(&r, 'L'), dump->str, dump->len), "OK");
    freeReplyObject(dump);
    forget_scripts(&r);
    append_one(&r, 9);
    forget_scripts(&r);
    raw_stop(&r);
}

/* ---- another server ----------------------------------------------------------------------- */

enum { FRESH, SOME, REFUSED, PROBED, EMPTIED, PARTITIONS };

/* A partition for each way to be left. */
static void fill(raw *r) {
    raw_create_stream(r, PARTITIONS, 100, "block");
    for (r->partition = SOME; r->partition < PARTITIONS; r->partition++) {
        CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
        if (r->partition == REFUSED) {
            CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 3}), "[DUP 0] " RAW_SEALED);
        } else if (r->partition == PROBED) {
            CHECK_STR(raw_probe(r), "OK 3 1:0 0 0");
        } else if (r->partition == EMPTIED) {
            CHECK_STR(raw_cmd(r, "XTRIM %s MAXLEN 0", RAW_KEY(r, 'L')), "1");
        }
    }
}

/* It knows no scripts, and all of the partitions; the appends go on. */
static void check_another_server(raw *r) {
    for (r->partition = 0; r->partition < PARTITIONS; r->partition++) {
        raw_check_unguarded(r);
    }
    for (r->partition = 0; r->partition < PARTITIONS; r->partition++) {
        uint64_t next = (uint64_t)raw_number(r, 'S', "next");
        CHECK_EQ(next, r->partition == FRESH ? 0 : 3);
        check_answer(raw_append(r, (raw_batch){.first = next + 1, .n = 2}), "[ERA ");
        CHECK_STR(raw_append(r, (raw_batch){.first = next + 1, .n = 2, .era = era_now(r)}),
                  raw_line("[OK %" PRIu64 "] %" PRIu64 "-%" PRIu64, next, era_now(r), next + 1));
        if (r->partition != EMPTIED) {
            raw_check_log(r);
        }
        raw_check_sealed(r);
    }
    r->partition = 0;
}

static void restart(raw *r) {
    redisFree(r->c);
    server_kill9(r->server);
    server_restart(r->server);
    r->c = server_connect(r->server);
}

static void restarted_from_the_aof(const char *preamble, bool rewritten) {
    raw r;
    raw_start_with(&r, (const char *const[]){"--appendonly", "yes", "--appendfsync", "always",
                                             "--aof-use-rdb-preamble", preamble, NULL});
    fill(&r);
    if (rewritten) {
        raw_cmd(&r, "BGREWRITEAOF");
        WAIT_FOR(30000, server_info(r.server, "aof_rewrite_in_progress") == 0 &&
                            server_info(r.server, "aof_rewrite_scheduled") == 0);
        r.partition = SOME; /* something is behind what was rewritten */
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[DUP 0] " RAW_SEALED);
    }
    restart(&r);
    check_another_server(&r);
    raw_stop(&r);
}

TEST(after_a_restart_from_the_aof) {
    restarted_from_the_aof("yes", false);
}

TEST(after_a_restart_from_an_aof_that_was_rewritten) {
    restarted_from_the_aof("yes", true);
}

TEST(after_a_restart_from_an_aof_that_was_rewritten_as_commands) {
    restarted_from_the_aof("no", true);
}

TEST(after_a_restart_from_a_snapshot) {
    raw r;
    raw_start(&r);
    fill(&r);
    CHECK_STR(raw_cmd(&r, "SAVE"), "OK");
    restart(&r);
    check_another_server(&r);
    raw_stop(&r);
}

TEST(on_a_promoted_replica) {
    for (int early = 0; early < 2; early++) { /* there before the appends, and after */
        raw r, replica;
        server *primary =
            server_start_tcp((const char *const[]){"--repl-diskless-sync-delay", "0", NULL});
        r = (raw){.server = primary, .c = server_connect(primary), .group = "g"};
        raw_start(&replica);
        if (!early) {
            fill(&r);
        }
        raw_cmd(&replica, "REPLICAOF 127.0.0.1 %d", server_port(primary));
        WAIT_FOR(30000, strstr(raw_cmd(&replica, "INFO replication"), "master_link_status:up"));
        if (early) {
            fill(&r);
        }
        CHECK_EQ(atoll(raw_cmd(&r, "WAIT 1 30000")), 1);
        replica.partition = SOME;
        CHECK_CONTAINS(raw_append(&replica, (raw_batch){.first = 4, .n = 2, .by_digest = true}),
                       "-EXECABORT");
        raw_stop(&r);
        raw_cmd(&replica, "REPLICAOF NO ONE");
        check_another_server(&replica);
        raw_stop(&replica);
    }
}

/* ---- a log that was opened by hand -------------------------------------------------------- */

/* Whoever opens a log by hand, and does not wait for the next append to seal it, takes this protection away:
 * what comes without its guard then is in the log, as a stranger's entry. The next guard takes it out, also
 * when it comes with the same batch. */
TEST(what_came_unguarded_is_taken_out) {
    for (uint64_t n = 1; n <= 3; n++) {
        raw r;
        start(&r, 100, "block");
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
        CHECK_STR(raw_cmd(&r, "SCRIPT FLUSH SYNC"), "OK");
        raw_unseal(&r);
        const char *answer = raw_append(&r, (raw_batch){.first = 4, .n = n, .by_digest = true});
        check_answer(answer, "-NOSCRIPT ");
        CHECK_CONTAINS(answer, " 1-3");
        raw_check_unguarded(&r); /* and no second one */
        CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = n}),
                  raw_line("[OK 3] 1-%" PRIu64, n + 2));
        CHECK_EQ(raw_number(&r, 'S', "foreign"), 1);
        raw_check_log(&r);
        raw_stop(&r);
    }
}

/* ---- readers ------------------------------------------------------------------------------ */

enum { READERS = 3 };

static void read_on(const raw *reader, const char *id) {
    int done = 0;
    redisAppendCommand(reader->c, "XREAD BLOCK 0 STREAMS %s %s", RAW_KEY(reader, 'L'), id);
    CHECK_EQ(redisBufferWrite(reader->c, &done), REDIS_OK);
    CHECK(done);
}

/* Each waits at the end of a sealed log, and gets each append, whole and once; what is refused in
 * between wakes nobody. */
TEST(readers_see_each_append) {
    raw r, readers[READERS];
    const char *last = "0-18446744073709551615";
    char id[64];
    start(&r, 1000, "drop-oldest");
    for (int i = 0; i < READERS; i++) {
        readers[i] = raw_other(&r);
    }
    for (uint64_t k = 0, next = 0, n; k < 30; k++, next += n) {
        n = 1 + k % 4;
        for (int i = 0; i < READERS; i++) {
            read_on(&readers[i], last);
        }
        WAIT_FOR(20000, server_info(r.server, "blocked_clients") == READERS);
        check_answer(raw_append(&r, (raw_batch){.first = next + 2, .n = n}), "[GAP ");
        check_answer(raw_probe(&r), "OK ");
        CHECK_STR(raw_cmd(&r, "SCRIPT FLUSH SYNC"), "OK");
        check_answer(raw_append(&r, (raw_batch){.first = next + 1, .n = n, .by_digest = true}),
                     "-NOSCRIPT ");
        CHECK_EQ(server_info(r.server, "blocked_clients"), READERS);
        snprintf(id, sizeof id, "1-%" PRIu64, next + n - 1);
        CHECK_STR(raw_append(&r, (raw_batch){.first = next + 1, .n = n}),
                  raw_line("[OK %" PRIu64 "] %s", next, id));
        for (int i = 0; i < READERS; i++) {
            redisReply *reply = NULL;
            CHECK_EQ(redisGetReply(readers[i].c, (void **)&reply), REDIS_OK);
            CHECK_STR(raw_text(reply), raw_line("[%s [[%s [b p1 1 %" PRIu64 " %" PRIu64 "]]]]",
                                                RAW_KEY(&r, 'L'), id, next + 1, n));
        }
        last = id;
    }
    for (int i = 0; i < READERS; i++) {
        redisFree(readers[i].c);
    }
    raw_stop(&r);
}

/* Where a native group goes, Redis looks after all who wait for its stream, and goes by the last ID: they
 * may get an answer with no entries. Nobody gets anything else, and who asks again waits as before. */
TEST(readers_while_groups_go) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    raw_create_group(&r, 1, "earliest");
    raw reader = raw_other(&r);
    redisReply *reply = NULL;
    read_on(&reader, "1-2");
    WAIT_FOR(20000, server_info(r.server, "blocked_clients") == 1);
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    if (server_info(r.server, "blocked_clients") == 0) {
        CHECK_EQ(redisGetReply(reader.c, (void **)&reply), REDIS_OK);
        CHECK_STR(raw_text(reply), raw_line("[%s []]", RAW_KEY(&r, 'L')));
        read_on(&reader, "1-2");
        WAIT_FOR(20000, server_info(r.server, "blocked_clients") == 1);
    }
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1}), "[OK 3] 1-3");
    CHECK_EQ(redisGetReply(reader.c, (void **)&reply), REDIS_OK);
    CHECK_STR(raw_text(reply), raw_line("[%s [[1-3 [b p1 1 4 1]]]]", RAW_KEY(&r, 'L')));
    redisFree(reader.c);
    raw_stop(&r);
}
