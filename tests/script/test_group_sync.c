/* group_sync.lua, call by call: what each answers. Its properties over random histories are in
 * test_group_chance.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups_rig.h"
#include "test.h"

#define BEAT                                                                                       \
    (sync_args) {                                                                                  \
        .op = "beat"                                                                               \
    }

TEST(one_member_gets_everything_at_once) {
    group g;
    group_start(&g, 3);
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}),
              "OK 2 -1 1 0:1:keep 1:2:keep 2:3:keep");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 1}), "OK 2 -1 1 0:1:keep 1:2:keep 2:3:keep");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}),
              "OK 2 -1 1 0:1:keep 1:2:keep 2:3:keep");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "leave"}), "OK 0 -1 0");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "beat"}), "UNKNOWN");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "leave"}), "UNKNOWN");
    /* Epochs go on from where they were, although the group was empty. */
    CHECK_STR(group_sync(&g, "b", (sync_args){.op = "join"}),
              "OK 4 -1 1 0:4:keep 1:5:keep 2:6:keep");
    group_stop(&g);
}

TEST(a_partition_moves_when_it_is_handed_back) {
    group g;
    group_start(&g, 2);
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "OK 2 -1 1 0:1:keep 1:2:keep");
    /* The newcomer gets its share once the owner is done with it, and not before. */
    CHECK_STR(group_sync_masked(&g, "b", (sync_args){.op = "join"}), "OK 1 DUE 2 ");
    CHECK_STR(group_sync_masked(&g, "b", (sync_args){.seen = 1}), "OK 1 DUE 2");
    CHECK_STR(group_sync_masked(&g, "a", (sync_args){.seen = 2}), "OK 3 DUE 2 0:1:keep 1:2:give");
    CHECK_STR(group_sync_masked(&g, "a", (sync_args){.seen = 3}), "OK 3 DUE 2");
    CHECK_STR(group_sync_masked(&g, "a", (sync_args){.seen = 3, .back = "1:2"}), "OK 3 DUE 2");
    CHECK_STR(group_sync_masked(&g, "b", (sync_args){.seen = 1}), "OK 2 DUE 2 1:3:keep");
    CHECK_STR(group_sync_masked(&g, "a", BEAT), "OK 3 DUE 2 0:1:keep");
    group_check_settled(&g);
    group_stop(&g);
}

TEST(late_and_repeated_hand_backs_do_nothing) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "1:2"});
    CHECK_STR(group_part(&g, 1), "b|3|b");
    /* The same again, as a lost answer brings it; and epochs that are not, or not yet. */
    group_sync(&g, "a", (sync_args){.back = "1:2"});
    group_sync(&g, "a", (sync_args){.back = "1:3"});
    group_sync(&g, "a", (sync_args){.back = "0:9"});
    group_sync(&g, "b", (sync_args){.back = "1:2"});
    group_sync(&g, "b", (sync_args){.back = "0:1"});
    group_sync(&g, "b", (sync_args){.back = "7:1"});
    CHECK_STR(group_part(&g, 0), "a|1|a");
    CHECK_STR(group_part(&g, 1), "b|3|b");
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), 3);
    group_stop(&g);
}

TEST(what_is_handed_back_unasked_comes_again_under_a_new_epoch) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2, .back = "1:2"}),
              "OK 3 -1 1 0:1:keep 1:3:keep");
    /* Above what a cursor has seen already, where the coordinator fell back behind it. */
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 3, .floor = 100, .back = "0:1"}),
              "OK 4 -1 1 0:101:keep 1:3:keep");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 4, .floor = 50, .back = "1:3"}),
              "OK 5 -1 1 0:101:keep 1:102:keep");
    group_stop(&g);
}

TEST(an_idle_member_takes_over_when_needed) {
    group g;
    group_start(&g, 2);
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        group_sync(&g, names[i], (sync_args){.op = "join"});
    }
    group_settle(&g, 3, names);
    CHECK_STR(group_part(&g, 0), "a|1|a");
    CHECK_STR(group_part(&g, 1), "b|3|b");
    CHECK_STR(group_sync_masked(&g, "c", BEAT), "OK 1 DUE 3 ");
    group_sync(&g, "a", (sync_args){.op = "leave"});
    CHECK_STR(group_sync_masked(&g, "c", (sync_args){.seen = 1}), "OK 2 DUE 2 0:4:keep");
    CHECK_STR(group_part(&g, 1), "b|3|b");
    group_stop(&g);
}

/* ---- leaving, dying, being replaced ------------------------------------------------------- */

TEST(one_who_leaves_gives_everything_at_once) {
    group g;
    group_start(&g, 4);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "2:3"});
    CHECK_STR(group_part(&g, 2), "b|5|b");
    CHECK_STR(group_part(&g, 3), "a|4|b"); /* on its way */
    group_sync(&g, "a", (sync_args){.op = "leave", .back = "0:1"});
    for (uint32_t p = 0; p < 4; p++) {
        CHECK_EQ(strncmp(group_part(&g, p), "b|", 2), 0);
    }
    CHECK_STR(group_part(&g, 2), "b|5|b"); /* that one never moved */
    CHECK_STR(group_sync(&g, "a", BEAT), "UNKNOWN");
    group_stop(&g);
}

TEST(a_target_who_leaves_before_the_hand_back) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    CHECK_STR(group_part(&g, 1), "a|2|b");
    group_sync(&g, "b", (sync_args){.op = "leave"});
    CHECK_STR(group_part(&g, 1), "a|2|a");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 3}), "OK 4 -1 1 0:1:keep 1:2:keep");
    /* It had begun to hand it back: it comes again. */
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 4, .back = "1:2"}),
              "OK 5 -1 1 0:1:keep 1:3:keep");
    group_stop(&g);
}

TEST(the_dead_are_found_by_the_living) {
    group g;
    group_start(&g, 4);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "2:3"});
    group_sync(&g, "a", (sync_args){.back = "3:4"});
    /* Time goes by in quarters of the session timeout; only b calls. */
    for (int i = 0; i < 3; i++) {
        group_pass(&g, 2500);
        CHECK_EQ(strncmp(group_sync(&g, "b", BEAT), "OK ", 3), 0);
        CHECK_EQ(strncmp(group_part(&g, 0), "a|", 2), 0);
    }
    group_pass(&g, 2500);
    CHECK_STR(group_sync(&g, "b", (sync_args){.seen = 3}),
              "OK 4 -1 1 0:7:keep 1:8:keep 2:5:keep 3:6:keep");
    CHECK_STR(group_sync(&g, "a", BEAT), "UNKNOWN");
    CHECK_STR(group_sync(&g, "a", (sync_args){.back = "0:1"}), "UNKNOWN");
    CHECK_STR(group_part(&g, 0), "b|7|b");
    /* It joins again, under the same name and nonce: as new. */
    CHECK_STR(group_sync_masked(&g, "a", (sync_args){.op = "join"}), "OK 4 DUE 2 ");
    group_stop(&g);
}

TEST(who_is_a_member_again_without_knowing_it_gets_its_list) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "1:2"});
    CHECK_STR(group_sync_masked(&g, "b", (sync_args){.seen = 1}), "OK 2 DUE 2 1:3:keep");
    for (int i = 0; i < 4; i++) {
        group_pass(&g, 2500);
        group_sync(&g, "a", BEAT);
    }
    CHECK_STR(group_part(&g, 1), "a|4|a");
    /* A copy of b's join, from a connection that is dead, is run only now. b knows version 2. */
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "a", (sync_args){.back = "1:4"});
    CHECK_STR(group_part(&g, 1), "b|5|b");
    CHECK_STR(group_sync_masked(&g, "b", (sync_args){.seen = 2}), "OK 4 DUE 2 1:5:keep");
    group_stop(&g);
}

TEST(the_time_to_the_next_deadline_is_that_of_somebody_else) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", (sync_args){.op = "join", .timeout = 60000});
    group_sync(&g, "b", (sync_args){.op = "join", .timeout = 90000});
    long long now = raw_number(&g.raw, 'g', "clock");
    CHECK_STR(raw_cmd(&g.raw, "ZSCORE %s b", RAW_KEY(&g.raw, 'l')), raw_line("%lld", now + 90000));
    /* But no more than half of the shortest session timeout, by which the clock advances in a call
     * at most; a little less, so that a late answer does not lose any of it. */
    CHECK_EQ(group_due(group_sync(&g, "a", (sync_args){.timeout = 60000})), 29980);
    for (long long left = 90000; left > 30000;
         left = now + 90000 - raw_number(&g.raw, 'g', "clock")) {
        group_pass(&g, 25000);
        group_sync(&g, "a", (sync_args){.timeout = 60000});
    }
    long long due = group_due(group_sync(&g, "a", (sync_args){.timeout = 60000}));
    CHECK_EQ(due, now + 90000 - raw_number(&g.raw, 'g', "clock"));
    CHECK_STR(raw_cmd(&g.raw, "HGET %s cap", RAW_KEY(&g.raw, 'g')), "30000");
    group_stop(&g);
}

TEST(a_new_consumer_of_the_same_name_replaces_the_old_one) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"}),
              "OK 4 -1 1 0:3:keep 1:4:keep");
    CHECK_STR(group_sync(&g, "a", BEAT), "REPLACED");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "leave"}), "REPLACED");
    CHECK_STR(group_sync(&g, "a", (sync_args){.back = "0:3"}), "REPLACED");
    CHECK_STR(group_part(&g, 0), "a|3|a");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 4, .nonce = "n2"}), "OK 4 -1 1");
    /* What was on its way to somebody else arrives there: its owner is gone. */
    group_sync(&g, "b", (sync_args){.op = "join"});
    CHECK_STR(group_part(&g, 1), "a|4|b");
    group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n3"});
    CHECK_EQ(strncmp(group_part(&g, 1), "b|", 2), 0);
    CHECK_EQ(strncmp(group_part(&g, 0), "a|", 2), 0);
    group_check_settled(&g);
    group_stop(&g);
}

TEST(what_is_gone_and_what_is_lost) {
    group g;
    group_start(&g, 1);
    raw *r = &g.raw;
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(group_sync(&g, "a", (sync_args){.inc = "other"}), "LOST stream");
    CHECK_STR(group_sync(&g, "a", (sync_args){.gid = "other"}), "LOST group");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join", .gid = "other"}), "LOST group");
    raw_cmd(r, "HSET %s phase deleting", RAW_KEY(r, 'g'));
    CHECK_STR(group_sync(&g, "a", BEAT), "GONE group");
    raw_cmd(r, "HSET %s phase ready", RAW_KEY(r, 'g'));
    raw_cmd(r, "HSET %s phase deleting", RAW_KEY(r, 'm'));
    CHECK_STR(group_sync(&g, "a", BEAT), "GONE stream");
    raw_cmd(r, "HSET %s phase ready", RAW_KEY(r, 'm'));
    CHECK_STR(group_sync(&g, "a", BEAT), "OK 2 -1 1 0:1:keep");
    raw_cmd(r, "RENAME %s aside", RAW_KEY(r, 'g'));
    CHECK_STR(group_sync(&g, "a", BEAT), "GONE group");
    raw_cmd(r, "RENAME aside %s", RAW_KEY(r, 'g'));
    raw_cmd(r, "DEL %s", RAW_KEY(r, 'm'));
    CHECK_STR(group_sync(&g, "a", BEAT), "GONE stream");
    raw_cmd(r, "FLUSHALL");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "GONE stream");
    CHECK_STR(raw_cmd(r, "DBSIZE"), "0");
    group_stop(&g);
}

TEST(it_works_on_a_full_server_and_after_script_flush) {
    group g;
    group_start(&g, 2);
    raw_cmd(&g.raw, "CONFIG SET maxmemory-policy noeviction maxmemory 1000");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "OK 2 -1 1 0:1:keep 1:2:keep");
    raw_cmd(&g.raw, "SCRIPT FLUSH SYNC");
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1");
    group_stop(&g);
}

/* ---- the group's clock -------------------------------------------------------------------- */

/* A call in which nothing is new has a short way through the script. */
TEST(the_usual_beat_keeps_time_and_epoch) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    long long before = raw_number(&g.raw, 'g', "clock");
    group_pass(&g, 2000);
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1");
    long long clock = raw_number(&g.raw, 'g', "clock");
    CHECK_GE(clock, before + 2000);
    CHECK_STR(raw_cmd(&g.raw, "ZSCORE %s a", RAW_KEY(&g.raw, 'l')),
              raw_line("%lld", clock + 10000));
    /* What has passed does not count once more; and no more than half a session timeout does. */
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1");
    CHECK_LT(raw_number(&g.raw, 'g', "clock"), clock + 2000);
    clock = raw_number(&g.raw, 'g', "clock");
    group_pass(&g, 60000);
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2}), "OK 2 -1 1");
    CHECK_EQ(raw_number(&g.raw, 'g', "clock"), clock + 5000);
    /* The epochs that are given next are above the one that it has seen somewhere. */
    CHECK_STR(group_sync(&g, "a", (sync_args){.seen = 2, .floor = 100}), "OK 2 -1 1");
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), 100);
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "leave", .seen = 2}), "OK 0 -1 0");
    group_stop(&g);
}

/* The server's clock steps, by which way ever: who beats is never expired. */
TEST(clock_steps_expire_nobody_who_beats) {
    static const long long steps[] = {3600000, -3600000, 86400000, -86400000, 20000, -20000};
    static const char *const names[] = {"a", "b", "c"};
    group g;
    group_start(&g, 5);
    for (size_t i = 0; i < 3; i++) {
        group_sync(&g, names[i], (sync_args){.op = "join"});
    }
    group_settle(&g, 3, names);
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        long long before = raw_number(&g.raw, 'g', "clock");
        group_pass(&g, steps[k]);
        for (size_t i = 0; i < 3; i++) {
            CHECK_EQ(strncmp(group_sync(&g, names[i], BEAT), "OK ", 3), 0);
            CHECK_GE(raw_number(&g.raw, 'g', "clock"), before); /* never back */
            CHECK_LE(raw_number(&g.raw, 'g', "clock"), before + 5000 * (long long)(i + 1));
        }
        for (int quarter = 0; quarter < 4; quarter++) {
            group_pass(&g, 2500);
            for (size_t i = 0; i < 3; i++) {
                CHECK_EQ(strncmp(group_sync(&g, names[i], BEAT), "OK ", 3), 0);
            }
        }
    }
    group_check_settled(&g);
    group_stop(&g);
}

/* And one who does not is found all the same, in at most one session timeout of the living. */
TEST(clock_steps_do_not_save_the_dead) {
    static const long long steps[] = {3600000, -3600000};
    for (size_t k = 0; k < 2; k++) {
        group g;
        group_start(&g, 2);
        group_sync(&g, "a", (sync_args){.op = "join"});
        group_sync(&g, "b", (sync_args){.op = "join"});
        group_pass(&g, steps[k]);
        int beats = 0;
        while (strcmp(group_sync(&g, "a", BEAT), "UNKNOWN") == 0 ||
               strcmp(raw_cmd(&g.raw, "ZCARD %s", RAW_KEY(&g.raw, 'l')), "1") != 0) {
            CHECK_LE(++beats, 5);
            group_pass(&g, 2500);
        }
        CHECK_STR(group_part(&g, 1), "a|2|a");
        group_stop(&g);
    }
}

/* A pause of the whole server, or of all members, longer than any lease: whoever comes first
 * expires nobody; those who do not come are gone one session timeout later. */
TEST(a_long_silence_expires_only_those_who_stay_away) {
    static const char *const names[] = {"a", "b", "c"};
    group g;
    group_start(&g, 3);
    for (size_t i = 0; i < 3; i++) {
        group_sync(&g, names[i], (sync_args){.op = "join"});
    }
    group_settle(&g, 3, names);
    group_pass(&g, 600000);
    CHECK_EQ(strncmp(group_sync(&g, "a", BEAT), "OK ", 3), 0);
    CHECK_EQ(strncmp(group_sync(&g, "b", BEAT), "OK ", 3), 0);
    group_check_settled(&g);
    for (int quarter = 0; quarter < 2; quarter++) {
        group_pass(&g, 2500);
        group_sync(&g, "a", BEAT);
        group_sync(&g, "b", BEAT);
    }
    CHECK_STR(raw_cmd(&g.raw, "ZSCORE %s c", RAW_KEY(&g.raw, 'l')), "nil");
    CHECK_STR(group_sync(&g, "c", BEAT), "UNKNOWN");
    group_stop(&g);
}

/* Somebody deleted the leases: whoever beats next brings them back for everyone, so that the dead
 * among them are found. */
TEST(leases_that_were_deleted_come_back) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    raw_cmd(&g.raw, "DEL %s", RAW_KEY(&g.raw, 'l'));
    CHECK_EQ(strncmp(group_sync(&g, "a", BEAT), "OK ", 3), 0);
    CHECK_STR(raw_cmd(&g.raw, "ZCARD %s", RAW_KEY(&g.raw, 'l')), "2");
    CHECK_EQ(strncmp(group_sync(&g, "b", BEAT), "OK ", 3), 0);
    for (int quarter = 0; quarter < 4; quarter++) {
        group_pass(&g, 2500);
        group_sync(&g, "a", BEAT);
    }
    CHECK_STR(group_sync(&g, "b", BEAT), "UNKNOWN");
    CHECK_STR(group_part(&g, 1), "a|2|a");
    group_stop(&g);
}

/* Also where only some were, and whether or not the call brings anything new. */
TEST(some_leases_that_were_deleted_come_back) {
    static const char *const names[] = {"a", "b", "c"};
    group g;
    group_start(&g, 2);
    for (size_t i = 0; i < 3; i++) {
        group_sync(&g, names[i], (sync_args){.op = "join"});
    }
    for (long long seen = 0; seen <= 3; seen += 3) {
        raw_cmd(&g.raw, "ZREM %s a b", RAW_KEY(&g.raw, 'l'));
        CHECK_STR(group_sync_masked(&g, "a", (sync_args){.seen = seen}),
                  seen == 0 ? "OK 3 DUE 3 0:1:keep 1:2:give" : "OK 3 DUE 3");
        CHECK_STR(raw_cmd(&g.raw, "ZCARD %s", RAW_KEY(&g.raw, 'l')), "3");
    }
    group_stop(&g);
}

/* The same where the first to call is a new one, for the session timeout that each has. */
TEST(leases_that_were_deleted_come_back_with_a_join) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", (sync_args){.op = "join", .timeout = 30000});
    group_sync(&g, "b", (sync_args){.op = "join", .timeout = 4000});
    raw_cmd(&g.raw, "DEL %s", RAW_KEY(&g.raw, 'l'));
    group_sync(&g, "c", (sync_args){.op = "join"});
    CHECK_STR(raw_cmd(&g.raw, "ZCARD %s", RAW_KEY(&g.raw, 'l')), "3");
    for (int quarter = 0; quarter < 4; quarter++) {
        group_pass(&g, 2500);
        group_sync(&g, "c", BEAT);
    }
    CHECK_STR(group_sync(&g, "b", BEAT), "UNKNOWN");
    CHECK_EQ(strncmp(group_sync(&g, "a", (sync_args){.timeout = 30000}), "OK ", 3), 0);
    group_stop(&g);
}

/* The server was replaced, and its grants from 2 on are lost: their numbers are not given again. */
TEST(another_life_gives_other_epochs) {
    group g;
    group_start(&g, 1);
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join"}), "OK 2 -1 1 0:1:keep");
    raw_cmd(&g.raw, "HSET %s life 0123456789", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(group_sync(&g, "a", BEAT), "OK 2 -1 1 0:1:keep");
    group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"});
    CHECK_GT(strtoll(strchr(group_part(&g, 0), '|') + 1, NULL, 10), 1000000000000LL);
    group_stop(&g);
}

/* With real time, once: nobody touches the clock, the server's own TIME does it. */
TEST(a_real_lease_runs_out) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", (sync_args){.op = "join", .timeout = 300});
    int64_t begin = test_now_ms();
    group_sync(&g, "b", (sync_args){.op = "join", .timeout = 300});
    WAIT_FOR(30000,
             strcmp(group_sync(&g, "b", (sync_args){.timeout = 300}), "OK 2 -1 1 0:2:keep") == 0);
    CHECK_GE(test_now_ms() - begin, 290);
    group_stop(&g);
}

/* ---- wake-ups ----------------------------------------------------------------------------- */

static redisContext *listen_for(const group *g, const char *member) {
    redisContext *c = server_connect(g->raw.server);
    freeReplyObject(redisCommand(c, "SSUBSCRIBE %s%s", RAW_KEY(&g->raw, 'w'), member));
    return c;
}

/* What a member was told up to now, in a word each. The publisher's own answer came after the
 * messages were put into the subscribers' sockets, and a PING behind them comes back after. */
static const char *heard(redisContext *c) {
    char text[256] = "";
    redisAppendCommand(c, "PING");
    for (;;) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(c, (void **)&reply), REDIS_OK);
        bool pong = strcmp(reply->element[0]->str, "pong") == 0;
        if (!pong) {
            CHECK_STR(reply->element[0]->str, "smessage");
            size_t at = strlen(text);
            snprintf(text + at, sizeof text - at, "%s ", reply->element[2]->str);
        }
        freeReplyObject(reply);
        if (pong) {
            return raw_line("%s", text);
        }
    }
}

TEST(wake_ups_go_to_those_with_something_to_do) {
    group g;
    group_start(&g, 3);
    redisContext *a = listen_for(&g, "a"), *b = listen_for(&g, "b"), *c = listen_for(&g, "c");
    group_sync(&g, "a", (sync_args){.op = "join"});
    CHECK_STR(heard(a), ""); /* it has its answer */
    group_sync(&g, "b", (sync_args){.op = "join"});
    CHECK_STR(heard(a), "sync ");
    CHECK_STR(heard(b), "");
    group_sync(&g, "a", BEAT);
    group_sync(&g, "b", BEAT);
    CHECK_STR(heard(a), "");
    CHECK_STR(heard(b), "");
    group_sync(&g, "a", (sync_args){.back = "2:3"});
    CHECK_STR(heard(a), "");
    CHECK_STR(heard(b), "sync ");
    group_sync(&g, "c", (sync_args){.op = "join"}); /* takes one of a's two */
    CHECK_STR(heard(a), "sync ");
    CHECK_STR(heard(b), "");
    CHECK_STR(heard(c), "");
    group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"});
    CHECK_STR(heard(a), "replaced ");
    CHECK_STR(heard(b), "");
    CHECK_STR(heard(c), "sync ");
    group_sync(&g, "a", (sync_args){.op = "leave", .nonce = "n2"});
    CHECK_STR(heard(a), "");
    CHECK_CONTAINS(raw_line("%s%s", heard(b), heard(c)), "sync ");
    redisFree(a);
    redisFree(b);
    redisFree(c);
    group_stop(&g);
}
