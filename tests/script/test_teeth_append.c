/* Checks of append and of its part forward that only matter at one number, when two things go wrong
 * at once, or for a caller that makes no sense. */
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

static uint64_t begin_era(const raw *r) {
    move_to_another_server(r);
    CHECK_EQ(strncmp(raw_probe(r), "OK ", 3), 0);
    return era_now(r);
}

static const char *eras(const raw *r) {
    return raw_cmd(r, "HGET %s eras", RAW_KEY(r, 'S'));
}

static const char *probe(const raw *r, uint64_t era, uint64_t known) {
    char e[24], k[24];
    snprintf(e, sizeof e, "%" PRIu64, era);
    snprintf(k, sizeof k, "%" PRIu64, known);
    return raw_call(r, "append", RAW_INC, e, "p1", "1", "0", "0", k, NULL);
}

/* One message, under the era that there is. */
static void append_one(const raw *r, uint64_t sequence) {
    const char *answer = raw_append(r, (raw_batch){.first = sequence, .n = 1, .era = era_now(r)});
    CHECK_EQ(strncmp(answer, "[OK ", 4), 0);
}

/* ---- what others put into the log --------------------------------------------------------- */

TEST(the_only_message_is_none_of_the_foreign_ones) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    raw_stray(&r, "*", "a", "1");
    append_one(&r, 2);
    CHECK_STR(raw_log_info(&r, "length"), "2");
    CHECK_STR(raw_cmd(&r, "XRANGE %s - + COUNT 1", RAW_KEY(&r, 'L')), "[1-0 [b p1 1 1 1]]");
    raw_check_log(&r);
    raw_stop(&r);
}

/* Whoever may not set the log's last ID takes nothing out of it either. */
TEST(without_xsetid_foreign_entries_stay) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    raw_stray(&r, "7-7", "a", "1");
    raw user = raw_other(&r);
    CHECK_STR(raw_cmd(&r, "ACL SETUSER u reset on >pw ~* &* +@all -xsetid"), "OK");
    CHECK_STR(raw_cmd(&user, "AUTH u pw"), "OK");
    CHECK_CONTAINS(raw_append(&user, (raw_batch){.first = 2, .n = 1}), "-EXECABORT");
    CHECK_CONTAINS(raw_cmd(&r, "XRANGE %s - +", RAW_KEY(&r, 'L')), "[7-7 [a 1]]");
    const char *answer = raw_guard(&user, (raw_batch){.first = 2, .n = 1});
    CHECK_EQ(strncmp(answer, "BROKEN ", 7), 0);
    CHECK_CONTAINS(raw_cmd(&r, "XRANGE %s - +", RAW_KEY(&r, 'L')), "[7-7 [a 1]]");
    redisFree(user.c);
    raw_stop(&r);
}

/* ---- no log ------------------------------------------------------------------------------- */

/* Whatever the guard is about to do, a log that is missing is told as that, and nothing moves. */
TEST(without_a_log) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'L'));
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 3}), "[LOST log] nil");
    move_to_another_server(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 2, .n = 1}), "[LOST log] nil");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 1}), "[LOST log] nil"); /* a duplicate */
    CHECK_STR(raw_probe(&r), "LOST log");
    CHECK_STR(eras(&r), "1:0");
    CHECK_STR(raw_cmd(&r, "HGET %s life", RAW_KEY(&r, 'S')), "0123");
    raw_stop(&r);
}

/* ---- eras --------------------------------------------------------------------------------- */

/* The trimming goes by the era of the first message that stays, not by the first in the list. */
TEST(what_is_dropped_ends_in_a_later_era) {
    raw r;
    start(&r, 10, "drop-oldest");
    for (uint64_t i = 1; i <= 22; i++) {
        if (i == 6) {
            begin_era(&r);
        }
        append_one(&r, i);
        CHECK_STR(raw_log_info(&r, "length"), raw_line("%" PRIu64, i < 10 ? i : 10));
        raw_check_log(&r);
    }
    raw_stop(&r);
}

/* An era leaves the list with its last message. */
TEST(an_era_of_which_everything_is_dropped) {
    raw r;
    start(&r, 5, "drop-oldest");
    for (uint64_t i = 1; i <= 5; i++) {
        append_one(&r, i);
    }
    uint64_t second = begin_era(&r);
    for (uint64_t i = 6; i <= 9; i++) {
        append_one(&r, i);
    }
    uint64_t third = begin_era(&r);
    CHECK_STR(eras(&r), raw_line("1:0 %" PRIu64 ":5 %" PRIu64 ":9", second, third));
    append_one(&r, 10);
    CHECK_EQ(raw_number(&r, 'S', "first"), 5);
    uint64_t fourth = begin_era(&r);
    CHECK_STR(eras(&r),
              raw_line("%" PRIu64 ":5 %" PRIu64 ":9 %" PRIu64 ":10", second, third, fourth));
    raw_stop(&r);
}

/* Both reasons for a new era in one probe: the server has changed, and the caller knows more. */
TEST(one_probe_with_two_reasons) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    move_to_another_server(&r);
    CHECK_EQ(strncmp(probe(&r, 9000000000000, 5), "OK 1 ", 5), 0);
    CHECK_EQ(era_now(&r), 9000000000001);
    append_one(&r, 2); /* and the server is known now: no third one */
    CHECK_EQ(era_now(&r), 9000000000001);
    raw_stop(&r);
}

/* Who knows of no messages has lost none, whichever era it names. */
TEST(a_probe_that_knows_of_nothing) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    CHECK_STR(probe(&r, 9000000000000, 0), "OK 1 1:0 1 1");
    CHECK_EQ(era_now(&r), 1);
    raw_stop(&r);
}

/* ---- producers ---------------------------------------------------------------------------- */

TEST(a_producer_is_counted_once) {
    raw r;
    start(&r, 100, "block");
    for (uint64_t i = 1; i <= 5; i++) {
        append_one(&r, i);
    }
    CHECK_EQ(raw_number(&r, 'S', "producers"), 1);
    raw_stop(&r);
}

/* The number that is stored may be too large: there may be nobody to forget. */
TEST(there_is_nobody_to_forget) {
    raw r;
    start(&r, 100, "block");
    raw_cmd(&r, "HSET %s producers 63", RAW_KEY(&r, 'S'));
    append_one(&r, 1);
    CHECK_STR(raw_cmd(&r, "HMGET %s producers prune_at", RAW_KEY(&r, 'S')), "1 64");
    raw_stop(&r);
}

/* A record that cannot be read says nothing of when it was used. */
TEST(a_damaged_producer_is_forgotten) {
    raw r;
    start(&r, 100, "block");
    append_one(&r, 1);
    raw_cmd(&r, "HSET %s p:damaged x p:other y producers 63", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_append(&r, (raw_batch){.pid = "p2", .first = 1, .n = 1}), "[OK 1] 1-1");
    CHECK_STR(raw_cmd(&r, "HMGET %s p:damaged p:other producers", RAW_KEY(&r, 'S')), "nil nil 2");
    raw_stop(&r);
}

/* Looking for the idle costs as much as there are producers: next when there are twice as many. */
TEST(the_next_look_for_idle_producers_is_far_off) {
    raw r;
    start(&r, 1000, "block");
    for (int i = 0; i < 64; i++) {
        const char *pid = raw_line("p%d", i);
        CHECK_EQ(strncmp(raw_append(&r, (raw_batch){.pid = pid, .first = 1, .n = 1}), "[OK ", 4),
                 0);
    }
    CHECK_STR(raw_cmd(&r, "HMGET %s producers prune_at", RAW_KEY(&r, 'S')), "64 126");
    raw_stop(&r);
}

/* ---- outputs ------------------------------------------------------------------------------ */

/* append_forward of two messages, with the arguments for where they come from as they are. */
static const char *forward_two(const raw *r, const char *count, const char *one, const char *two,
                               const char *three) {
    return raw_call(r, "append_forward", RAW_INC, "1", "p1", "1", "1", "2", "i", "0000000000000001",
                    "0000000000000000", count, one, two, three, NULL);
}

#define ONE   "0000000000000001:0000000000:00000000"
#define TWO   "0000000000000002:0000000000:00000000"
#define THREE "0000000000000003:0000000000:00000000"

TEST(origins_that_do_not_fit_the_batch) {
    /* Of the right length as a whole, but not in their parts. */
    static const char *const shifted[] = {"000000000000001:0000000000:000000000",
                                          "0000000000000001:000000000:000000000",
                                          "00000000000000001:0000000000:0000000"};
    raw r;
    start(&r, 100, "block");
    for (size_t i = 0; i < sizeof shifted / sizeof *shifted; i++) {
        CHECK_EQ(strlen(shifted[i]), strlen(ONE));
        CHECK_CONTAINS(forward_two(&r, "2", ONE, shifted[i], NULL), "BROKEN forward: ");
    }
    /* More than the batch has, in one run; and something behind the last one. */
    CHECK_STR(forward_two(&r, "3", ONE, TWO, THREE), "BROKEN forward: not 2 messages");
    CHECK_STR(forward_two(&r, "2", ONE, TWO, "x"), "BROKEN forward: not 2 messages");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'F')), "0");
    CHECK_EQ(raw_number(&r, 'S', "next"), 0);
    CHECK_STR(forward_two(&r, "2", ONE, TWO, NULL), "OK 0");
    raw_stop(&r);
}

/* More members than a Lua call takes arguments. */
TEST(outputs_of_a_batch_of_four_thousand) {
    enum { N = 4100 };
    raw r;
    start(&r, 100000, "block");
    raw_output *b = calloc(N, sizeof *b);
    CHECK(b != NULL);
    for (uint32_t i = 0; i < N; i++) {
        b[i] = (raw_output){.input = "i", .epoch = 1, .offset = i};
    }
    CHECK_STR(raw_forward(&r, (raw_batch){.first = 1, .n = N}, b), "[OK 0] 1-4099");
    CHECK_STR(raw_cmd(&r, "ZCARD %s", RAW_KEY(&r, 'F')), "4101");
    free(b);
    raw_stop(&r);
}
