/* Eras: a server that may have lost the end of a log gives its offsets again, but in another era. */
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

/* As if the state had been written under another server. */
static void move_to_another_server(const raw *r) {
    raw_cmd(r, "HSET %s life %s", RAW_KEY(r, 'S'), "0123");
}

static uint64_t era_now(const raw *r) {
    return (uint64_t)raw_number(r, 'S', "era");
}

static const char *eras(const raw *r) {
    return raw_cmd(r, "HGET %s eras", RAW_KEY(r, 'S'));
}

/* The next append finds that it must have another era, and gets it. */
static uint64_t begin_era(const raw *r, uint64_t sequence) {
    uint64_t before = era_now(r);
    move_to_another_server(r);
    const char *answer = raw_append(r, (raw_batch){.first = sequence, .n = 1, .era = before});
    CHECK_STR(answer, raw_line("[ERA %" PRIu64 "] " RAW_SEALED, era_now(r)));
    CHECK_GT(era_now(r), before);
    return era_now(r);
}

TEST(another_server_begins_a_new_era) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    uint64_t era = begin_era(&r, 4);
    CHECK_GT(era, 1700000000000); /* the time */
    CHECK_STR(eras(&r), raw_line("1:0 %" PRIu64 ":3", era));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 1, .era = era}),
              raw_line("[OK 3] %" PRIu64 "-3", era));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 5, .n = 5, .era = era}),
              raw_line("[OK 4] %" PRIu64 "-8", era));
    /* What was stored before is still known. */
    CHECK_STR(raw_append(&r, (raw_batch){.first = 5, .n = 5, .era = era}), "[DUP 4] " RAW_SEALED);
    CHECK_EQ(era_now(&r), era);
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(a_new_era_of_an_empty_log) {
    raw r;
    start(&r, 100, "block");
    uint64_t era = begin_era(&r, 1);
    CHECK_STR(eras(&r), raw_line("%" PRIu64 ":0", era));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 1, .era = era}),
              raw_line("[OK 0] %" PRIu64 "-0", era));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 4, .era = era}),
              raw_line("[OK 1] %" PRIu64 "-4", era));
    raw_check_log(&r);
    raw_stop(&r);
}

/* Of an era in which nothing was stored nobody needs to know; and none is used twice, also where the
 * clock stands still or goes back. */
TEST(eras_without_messages_are_not_kept) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    begin_era(&r, 4);
    raw_cmd(&r, "HSET %s era 9000000000000 eras %s", RAW_KEY(&r, 'S'), "1:0 9000000000000:3");
    uint64_t era = begin_era(&r, 4);
    CHECK_EQ(era, 9000000000001);
    CHECK_STR(eras(&r), "1:0 9000000000001:3");
    raw_stop(&r);
}

/* drop-oldest: messages of two eras are dropped, and those that are kept stay. */
TEST(trimming_goes_over_eras) {
    raw r;
    start(&r, 10, "drop-oldest");
    uint64_t next = 0, era = 1;
    for (uint64_t first = 1; first <= 31; first += 2) {
        if (first % 10 == 1 && first > 1)
            era = begin_era(&r, first);
        CHECK_STR(raw_append(&r, (raw_batch){.first = first, .n = 2, .era = era}),
                  raw_line("[OK %" PRIu64 "] %" PRIu64 "-%" PRIu64, next, era, next + 1));
        next += 2;
        CHECK_EQ(raw_number(&r, 'S', "first"), next > 10 ? (long long)next - 10 : 0);
        CHECK_EQ(atoi(raw_cmd(&r, "XLEN %s", RAW_KEY(&r, 'L'))), next > 10 ? 5 : (int)next / 2);
        raw_check_log(&r);
    }
    /* 22 to 31 are kept: the eras that began at 10 and 20 have nothing of them but the second. */
    begin_era(&r, 33);
    CHECK_EQ(strncmp(eras(&r), "1:", 2) != 0, 1);
    raw_stop(&r);
}

/* What somebody has put behind the end by hand goes before the new era begins: with an ID below it, it
 * would stand between the eras for good. */
TEST(foreign_entries_do_not_get_between_eras) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    raw_stray(&r, "5-1", "x", "y");
    uint64_t era = begin_era(&r, 4);
    CHECK_EQ(raw_number(&r, 'S', "foreign"), 1);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2, .era = era}),
              raw_line("[OK 3] %" PRIu64 "-4", era));
    raw_check_log(&r);
    raw_stop(&r);
}

static const char *probe(const raw *r, uint64_t era, uint64_t known) {
    char e[24], k[24];
    snprintf(e, sizeof e, "%" PRIu64, era);
    snprintf(k, sizeof k, "%" PRIu64, known);
    return raw_call(r, "append", RAW_INC, e, "p1", "1", "0", "0", k, NULL);
}

/* Somebody knows of messages that there are not: what comes next must not be taken for them. */
TEST(who_knows_more_begins_a_new_era) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(probe(&r, 1, 3), "OK 3 1:0 1 3");
    CHECK_STR(probe(&r, 1, 0), "OK 3 1:0 1 3");
    CHECK_EQ(strncmp(probe(&r, 1, 5), "OK 3 1:0 ", 9), 0);
    uint64_t era = era_now(&r);
    CHECK_GT(era, 1);
    CHECK_STR(eras(&r), raw_line("1:0 %" PRIu64 ":3", era));
    /* It is told by the list now, and says nothing of the new era. */
    CHECK_STR(probe(&r, 1, 5), raw_line("OK 3 1:0 %" PRIu64 ":3 1 3", era));
    CHECK_EQ(era_now(&r), era);
    /* An era that is unknown here. */
    probe(&r, 9000000000000, 2);
    CHECK_EQ(era_now(&r), 9000000000001);
    raw_stop(&r);
}

/* Reading and committing go over the boundary, and the server's own lag stays exact. */
TEST(cursors_stay_where_they_are) {
    raw r;
    start(&r, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "g", "0123", "earliest", NULL), "OK");
    CHECK_STR(raw_call(&r, "cursor_acquire", RAW_INC, "g", "0123", "1", "n", NULL),
              "OK 1:0 0 0 3     0");
    uint64_t era = begin_era(&r, 4);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 4, .n = 2, .era = era}),
              raw_line("[OK 3] %" PRIu64 "-4", era));
    CHECK_STR(raw_call(&r, "cursor_commit", RAW_INC, "g", "0123", "1", "1", "4", "", "", "", "",
                       "n", NULL),
              "OK");
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL),
              raw_line("OK 1:0 %" PRIu64 ":3 0 5 4 1     0 n", era));
    raw_stop(&r);
}
