/* Checks of group_sync and group_seek that only matter when several things happen in one call, or
 * where something is not as these scripts leave it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups_rig.h"
#include "test.h"

#define JOIN                                                                                       \
    (sync_args) {                                                                                  \
        .op = "join"                                                                               \
    }
#define LEAVE                                                                                      \
    (sync_args) {                                                                                  \
        .op = "leave"                                                                              \
    }

/* The version of a member's assignment: it grows when there is news for it. */
static long long version(const group *g, const char *member) {
    long long n;
    const char *text = raw_cmd(&g->raw, "HGET %s m:%s", RAW_KEY(&g->raw, 'g'), member);
    CHECK_EQ(sscanf(text, "%*[^|]|%*d|%lld|", &n), 1);
    return n;
}

static long long epoch_of(const group *g) {
    return raw_number(&g->raw, 'g', "epoch");
}

static const char *life(const group *g) {
    return raw_cmd(&g->raw, "HGET %s life", RAW_KEY(&g->raw, 'g'));
}

static void set_part(const group *g, const char *partition, const char *text) {
    raw_cmd(&g->raw, "HSET %s %s %s", RAW_KEY(&g->raw, 'p'), partition, text);
}

/* Its lease has run out, and the next call finds it. */
static void expire(const group *g, const char *member) {
    raw_cmd(&g->raw, "ZADD %s %lld %s", RAW_KEY(&g->raw, 'l'), raw_number(&g->raw, 'g', "clock"),
            member);
}

/* ---- who gets what ------------------------------------------------------------------------ */

/* A partition that was to go stays with its owner when there is room for it again, rather than that
 * its owner gets another one for it. */
TEST(what_is_on_its_way_may_stay) {
    static const char *const names[] = {"a", "b"};
    group g;
    group_start(&g, 4);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    group_settle(&g, 2, names);
    group_sync(&g, "c", JOIN);
    group_sync(&g, "d", JOIN);
    CHECK_STR(group_part(&g, 1), "a|2|c");
    CHECK_STR(group_part(&g, 3), "b|6|d");
    group_sync(&g, "d", LEAVE);
    CHECK_STR(group_part(&g, 0), "a|1|a");
    CHECK_STR(group_part(&g, 1), "a|2|a");
    CHECK_STR(group_part(&g, 2), "b|5|b");
    CHECK_STR(group_part(&g, 3), "b|6|c");
    group_stop(&g);
}

/* Who has to give something away does not care who gets it. */
TEST(another_target_is_no_news_to_the_owner) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    group_sync(&g, "c", JOIN);
    CHECK_STR(group_part(&g, 1), "a|2|b");
    long long before = version(&g, "a");
    group_sync(&g, "b", LEAVE);
    CHECK_STR(group_part(&g, 1), "a|2|c");
    CHECK_EQ(version(&g, "a"), before);
    group_sync(&g, "c", LEAVE); /* but it does when it may keep it */
    CHECK_EQ(version(&g, "a"), before + 1);
    group_stop(&g);
}

/* ---- one grant for each that changes hands ------------------------------------------------ */

TEST(what_a_leaver_hands_back_is_granted_once) {
    group g;
    group_start(&g, 4);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    CHECK_EQ(epoch_of(&g), 4);
    group_sync(&g, "a", (sync_args){.op = "leave", .back = "0:1"});
    CHECK_STR(group_part(&g, 0), "b|5|b");
    CHECK_STR(group_part(&g, 3), "b|8|b");
    CHECK_EQ(epoch_of(&g), 8);
    group_stop(&g);
}

/* A server that was restarted may have lost grants: what it gives is past all of them, from the next
 * grant on, and only once. */
TEST(grants_of_another_server) {
    char id[64];
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    CHECK_STR(group_part(&g, 0), "a|1|a"); /* the first server that the group has seen */
    snprintf(id, sizeof id, "%s", life(&g));
    CHECK_EQ(strlen(id), 40);
    CHECK_CONTAINS(raw_cmd(&g.raw, "INFO replication"), raw_line("master_replid:%s", id));
    raw_cmd(&g.raw, "HSET %s life 0123", RAW_KEY(&g.raw, 'g'));
    group_sync(&g, "a", (sync_args){.op = "beat"}); /* nothing is granted */
    CHECK_EQ(epoch_of(&g), 1);
    group_sync(&g, "a", (sync_args){.back = "0:1"});
    long long epoch = epoch_of(&g);
    CHECK_GT(epoch, 1700000000000); /* the time */
    CHECK_STR(life(&g), id);
    group_sync(&g, "a", (sync_args){.back = raw_line("0:%lld", epoch)});
    CHECK_EQ(epoch_of(&g), epoch + 1);
    /* Also where the epochs are ahead of the time. */
    raw_cmd(&g.raw, "HSET %s life 0123 epoch 9000000000000", RAW_KEY(&g.raw, 'g'));
    group_sync(&g, "a", (sync_args){.back = raw_line("0:%lld", epoch + 1)});
    CHECK_EQ(epoch_of(&g), 9000000000001);
    /* Of a group without a life nothing is known to be lost. */
    raw_cmd(&g.raw, "HSET %s epoch 1", RAW_KEY(&g.raw, 'g'));
    raw_cmd(&g.raw, "HDEL %s life", RAW_KEY(&g.raw, 'g'));
    group_sync(&g, "a", (sync_args){.back = "0:9000000000001"});
    CHECK_STR(group_part(&g, 0), "a|2|a");
    CHECK_STR(life(&g), id);
    group_stop(&g);
}

/* Nor to the dead, for whom it was meant. */
TEST(what_is_handed_back_for_the_dead_is_granted_once) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    CHECK_STR(group_part(&g, 1), "a|2|b");
    expire(&g, "b");
    CHECK_STR(group_sync(&g, "a", (sync_args){.back = "1:2"}), "OK 4 -1 1 0:1:keep 1:3:keep");
    CHECK_EQ(epoch_of(&g), 3);
    group_stop(&g);
}

/* The one for whom a partition was meant dies, and its owner is replaced, in the same call: the new
 * consumer does not get the epoch of the old one. */
TEST(a_replacement_and_a_death_in_one_call) {
    group g;
    group_start(&g, 2);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    CHECK_STR(group_part(&g, 1), "a|2|b");
    expire(&g, "b");
    CHECK_EQ(strncmp(group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"}), "OK ", 3), 0);
    group_check_settled(&g);
    for (uint32_t p = 0; p < 2; p++) {
        long long epoch;
        CHECK_EQ(sscanf(group_part(&g, p), "a|%lld|a", &epoch), 1);
        CHECK_GT(epoch, 2);
    }
    group_stop(&g);
}

/* An owner without a target: these scripts make none. */
TEST(an_owner_without_a_target) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    set_part(&g, "0", "a|1|");
    group_sync(&g, "a", (sync_args){.back = "0:1"});
    CHECK_STR(group_part(&g, 0), "|1|");
    set_part(&g, "0", "a|1|");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"}), "OK 4 -1 1 0:2:keep");
    CHECK_STR(group_part(&g, 0), "a|2|a");
    group_stop(&g);
}

TEST(what_is_no_hand_back_is_passed_over) {
    static const char *const wrong[] = {"", "0", "0:", ":1", "x:1", "0:1:1", "-0:1"};
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_STR(group_sync(&g, "a", (sync_args){.back = wrong[i]}), "OK 2 -1 1 0:1:keep");
    }
    /* Of a partition that the stream does not have. */
    set_part(&g, "1", "a|1|a");
    set_part(&g, "2", "a|1|a");
    group_sync(&g, "a", (sync_args){.back = "1:1"});
    group_sync(&g, "a", (sync_args){.back = "2:1"});
    CHECK_STR(group_part(&g, 1), "a|1|a");
    CHECK_STR(group_part(&g, 2), "a|1|a");
    group_stop(&g);
}

/* ---- versions ----------------------------------------------------------------------------- */

/* Whoever comes again begins above all versions that were ever used, and not only above those of the
 * one who went last. */
TEST(versions_do_not_come_again) {
    group g;
    group_start(&g, 1);
    for (int i = 0; i < 5; i++) {
        group_sync(&g, "a", JOIN);
        group_sync(&g, "a", (sync_args){.back = raw_line("0:%lld", epoch_of(&g))});
    }
    group_sync(&g, "b", JOIN);
    long long used = version(&g, "a");
    CHECK_GT(used, version(&g, "b") + 2);
    group_sync(&g, "a", LEAVE);
    group_sync(&g, "b", LEAVE);
    group_sync(&g, "a", JOIN);
    CHECK_GT(version(&g, "a"), used);
    group_stop(&g);
}

/* A lease of nobody who is known runs out like others. */
TEST(a_lease_without_a_member) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    expire(&g, "ghost");
    CHECK_STR(group_sync(&g, "a", (sync_args){.op = "beat"}), "OK 2 -1 1 0:1:keep");
    CHECK_STR(raw_cmd(&g.raw, "ZCARD %s", RAW_KEY(&g.raw, 'l')), "1");
    group_stop(&g);
}

/* ---- the group's clock -------------------------------------------------------------------- */

/* The server's clock is behind what the group has seen, so its own stands still: the call comes at the very
 * end of the lease, however long it takes. */
TEST(a_lease_that_ends_now_has_ended) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", JOIN);
    raw_cmd(&g.raw, "HSET %s wall 9000000000000", RAW_KEY(&g.raw, 'g'));
    expire(&g, "b");
    group_sync(&g, "a", (sync_args){.op = "beat"});
    CHECK_STR(raw_cmd(&g.raw, "ZRANGE %s 0 -1", RAW_KEY(&g.raw, 'l')), "a");
    group_stop(&g);
}

/* The cap is half of the shortest session timeout there is, whoever has it, and grows again when
 * that one goes. */
TEST(the_cap_goes_by_those_who_are_there) {
    static const char *const names[] = {"a", "b", "c"};
    for (size_t shortest = 0; shortest < 3; shortest++) {
        group g;
        group_start(&g, 3);
        for (size_t i = 0; i < 3; i++) {
            group_sync(&g, names[i],
                       (sync_args){.op = "join", .timeout = i == shortest ? 20000 : 60000});
        }
        CHECK_EQ(raw_number(&g.raw, 'g', "cap"), 10000);
        group_sync(&g, names[shortest], LEAVE);
        CHECK_EQ(raw_number(&g.raw, 'g', "cap"), 30000);
        group_stop(&g);
    }
}

/* Even the shortest timeouts do not make anybody call without a pause. */
TEST(the_next_call_is_not_due_at_once) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", (sync_args){.op = "join", .timeout = 30});
    CHECK_EQ(group_due(group_sync(&g, "b", (sync_args){.op = "join", .timeout = 30})), 1);
    group_stop(&g);
}

/* ---- what others have removed ------------------------------------------------------------- */

/* Leases are those of members: a nonce that looks like a field's name is none. */
TEST(only_members_get_a_lease_back) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    group_sync(&g, "b", (sync_args){.op = "join", .nonce = "m:x"});
    raw_cmd(&g.raw, "DEL %s", RAW_KEY(&g.raw, 'l'));
    group_sync(&g, "a", (sync_args){.op = "beat"});
    CHECK_STR(raw_cmd(&g.raw, "ZRANGEBYLEX %s - +", RAW_KEY(&g.raw, 'l')), "a b");
    group_stop(&g);
}

TEST(without_the_right_to_wake_others) {
    group g;
    group_start(&g, 2);
    raw_cmd(&g.raw, "ACL SETUSER default -spublish");
    group_sync(&g, "a", JOIN);
    CHECK_EQ(strncmp(group_sync(&g, "b", JOIN), "OK 1 ", 5), 0);
    CHECK_EQ(strncmp(group_sync(&g, "a", (sync_args){.op = "join", .nonce = "n2"}), "OK ", 3), 0);
    CHECK_STR(group_part(&g, 1), "b|4|b");
    CHECK_STR(
        raw_call(&g.raw, "group_seek", RAW_INC, RAW_GID, "finish", "0", "0", "w", "1:9", NULL),
        "OK 10");
    CHECK_STR(group_part(&g, 1), "b|10|b");
    group_stop(&g);
}

/* ---- group_seek --------------------------------------------------------------------------- */

static const char *finish(const group *g, const char *moved) {
    return raw_call(&g->raw, "group_seek", RAW_INC, RAW_GID, "finish", "0", "0", "w", moved, NULL);
}

static const char *begin(const group *g) {
    return raw_call(&g->raw, "group_seek", RAW_INC, RAW_GID, "begin", "1", "0", "w", NULL);
}

/* The server's other life is noted with the first epoch that it gives, or each one would jump to the time. */
TEST(moves_of_another_server) {
    char id[64];
    group g;
    group_start(&g, 1);
    snprintf(id, sizeof id, "%s", life(&g));
    /* What is ahead of the time already stays so: going back would give what was given before. */
    raw_cmd(&g.raw, "HSET %s life 0123 epoch 9000000000000", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(begin(&g), "OK 9000000000001");
    CHECK_STR(life(&g), id);
    /* Of a group without a life nothing is known to be lost. */
    raw_cmd(&g.raw, "HSET %s epoch 1", RAW_KEY(&g.raw, 'g'));
    raw_cmd(&g.raw, "HDEL %s life", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(begin(&g), "OK 2");
    CHECK_STR(life(&g), id);
    group_stop(&g);
}

/* A finish that grants nothing leaves the jump to the next grant: its answer is the largest epoch that was granted,
 * and nobody has one of this life yet. */
TEST(a_finish_without_grants_takes_no_epoch) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    CHECK_STR(finish(&g, "0:1"), "OK 2");
    raw_cmd(&g.raw, "HSET %s life 0123", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(finish(&g, "0:1"), "OK 2"); /* repeated: the grant is later than the move */
    CHECK_STR(group_part(&g, 0), "a|2|a");
    CHECK_STR(life(&g), "0123");
    group_stop(&g);
}

TEST(a_stream_without_settings_is_not_moved_in) {
    group g;
    group_start(&g, 1);
    raw_cmd(&g.raw, "HDEL %s inc", RAW_KEY(&g.raw, 'm'));
    CHECK_STR(finish(&g, "0:1"), "GONE stream");
    raw_cmd(&g.raw, "DEL %s", RAW_KEY(&g.raw, 'm'));
    CHECK_STR(finish(&g, "0:1"), "GONE stream");
    CHECK_STR(raw_cmd(&g.raw, "EXISTS %s", RAW_KEY(&g.raw, 'p')), "0");
    group_stop(&g);
}

TEST(what_is_no_move_is_passed_over) {
    static const char *const wrong[] = {"", "0", "0:", ":9", "x:9", "0:9:9"};
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_STR(finish(&g, wrong[i]), "OK 1");
    }
    CHECK_STR(group_part(&g, 0), "a|1|a");
    /* A move with the very epoch of the grant, which a failover took back and gave again. */
    CHECK_STR(finish(&g, "0:1"), "OK 2");
    CHECK_STR(group_part(&g, 0), "a|2|a");
    group_stop(&g);
}

/* An owner that nothing is known of any more is granted it all the same, and found dead later. */
TEST(an_owner_without_a_member) {
    group g;
    group_start(&g, 1);
    group_sync(&g, "a", JOIN);
    raw_cmd(&g.raw, "HDEL %s m:a", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(finish(&g, "0:5"), "OK 6");
    CHECK_STR(group_part(&g, 0), "a|6|a");
    CHECK_STR(raw_cmd(&g.raw, "HGET %s m:a", RAW_KEY(&g.raw, 'g')), "nil");
    group_stop(&g);
}
