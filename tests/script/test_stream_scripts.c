/* stream_*.lua, partition_*.lua, group_open/ready/delete/drop/describe.lua: registering and
 * deleting, and being interrupted at any step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_rig.h"
#include "test.h"

/* ---- streams ------------------------------------------------------------------------------ */

static const char *create_stream(const raw *r, const char *const settings[3], const char *accept) {
    return raw_call(r, "stream_create", RAW_INC, settings[0], settings[1], settings[2], accept,
                    NULL);
}

static const char *const SETTINGS[] = {"4", "100", "block"};

/* The second word of an answer. */
static const char *id_in(const char *answer) {
    const char *space = strchr(answer, ' ');
    CHECK(space != NULL);
    return raw_line("%.*s", (int)strcspn(space + 1, " "), space + 1);
}

TEST(a_stream_is_created_once) {
    char inc[33];
    raw r;
    raw_start(&r);
    snprintf(inc, sizeof inc, "%s", id_in(create_stream(&r, SETTINGS, "0")));
    CHECK_EQ(strlen(inc), 32);
    CHECK_EQ(strspn(inc, "0123456789abcdef"), 32);
    CHECK_CONTAINS(inc, "0123456789abcdef0123"); /* of what the caller made up */
    CHECK_STR(raw_cmd(&r, "HMGET %s inc phase partitions messages policy format", RAW_KEY(&r, 'm')),
              raw_line("%s creating 4 100 block 1", inc));
    CHECK_GT(raw_number(&r, 'm', "created"), 1700000000000);
    /* Somebody else, while it is being created: finishes it, under the first incarnation. */
    CHECK_STR(create_stream(&r, SETTINGS, "0"), raw_line("CREATE %s 4 100 block", inc));
    CHECK_STR(raw_call(&r, "stream_create", RAW_INC, "5", "100", "block", "0", NULL),
              "CONFLICT creating 4 100 block");
    CHECK_STR(raw_call(&r, "stream_ready", "other", NULL), "GONE");
    CHECK_STR(raw_call(&r, "stream_ready", inc, NULL), "OK");
    CHECK_STR(raw_call(&r, "stream_ready", inc, NULL), "OK");
    CHECK_STR(create_stream(&r, SETTINGS, "0"), raw_line("READY %s 4 100 block", inc));
    raw_stop(&r);
}

/* Incarnations sort by age: what a deletion left is told from what came after it. */
TEST(a_later_incarnation_sorts_after_an_earlier_one) {
    raw r;
    char first[33];
    raw_start(&r);
    snprintf(first, sizeof first, "%s", id_in(create_stream(&r, SETTINGS, "0")));
    long long created = raw_number(&r, 'm', "created");
    WAIT_FOR(20000, raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'm')) && create_stream(&r, SETTINGS, "0") &&
                        raw_number(&r, 'm', "created") > created);
    CHECK_GT(strcmp(raw_cmd(&r, "HGET %s inc", RAW_KEY(&r, 'm')), first), 0);
    raw_stop(&r);
}

TEST(other_settings_conflict_unless_they_are_accepted) {
    static const char *const settings[][3] = {
        {"5", "100", "block"}, {"4", "101", "block"}, {"4", "100", "reject"}};
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 4, 100, "block");
    for (size_t i = 0; i < 3; i++) {
        CHECK_STR(create_stream(&r, settings[i], "0"), "CONFLICT ready 4 100 block");
        CHECK_STR(create_stream(&r, settings[i], "1"), "READY " RAW_INC " 4 100 block");
    }
    raw_stop(&r);
}

TEST(a_stream_being_deleted_is_neither_there_nor_free) {
    raw r;
    raw_start(&r);
    CHECK_STR(raw_call(&r, "stream_delete", NULL), "NONE");
    CHECK_STR(raw_cmd(&r, "DBSIZE"), "0");
    raw_create_stream(&r, 4, 100, "block");
    CHECK_STR(raw_call(&r, "stream_delete", NULL), "DELETING " RAW_INC " 4 []");
    CHECK_STR(create_stream(&r, SETTINGS, "0"), "DELETING");
    CHECK_STR(create_stream(&r, SETTINGS, "1"), "DELETING");
    CHECK_STR(raw_call(&r, "stream_ready", RAW_INC, NULL), "GONE");
    raw_cmd(&r, "SADD %s g1", RAW_KEY(&r, 'G'));
    /* Again, by one who continues it. */
    CHECK_STR(raw_call(&r, "stream_delete", NULL), "DELETING " RAW_INC " 4 [g1]");
    CHECK_STR(raw_call(&r, "stream_drop", "other", NULL), "OK");
    CHECK_STR(raw_call(&r, "stream_delete", NULL), "DELETING " RAW_INC " 4 [g1]");
    CHECK_STR(raw_call(&r, "stream_drop", RAW_INC, NULL), "OK");
    CHECK_STR(raw_call(&r, "stream_drop", RAW_INC, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'm'), RAW_KEY(&r, 'G')), "0");
    CHECK_STR(raw_call(&r, "stream_ready", RAW_INC, NULL), "GONE");
    CHECK_EQ(strncmp(create_stream(&r, SETTINGS, "0"), "CREATE ", 7), 0);
    raw_stop(&r);
}

static const char *make_partition(const raw *r, const char *inc) {
    return raw_call(r, "partition_create", inc, "100", "block", NULL);
}

TEST(a_partition_is_created_once) {
    raw r;
    raw_start(&r);
    CHECK_STR(make_partition(&r, RAW_INC), "OK");
    CHECK_STR(raw_cmd(&r, "TYPE %s", RAW_KEY(&r, 'L')), "stream");
    CHECK_STR(raw_cmd(&r, "XINFO GROUPS %s", RAW_KEY(&r, 'L')), "");
    CHECK_STR(raw_cmd(&r, "HMGET %s inc era next first low bound policy producers prune_at",
                      RAW_KEY(&r, 'S')),
              RAW_INC " 1 0 0  100 block 0 64");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(make_partition(&r, RAW_INC), "OK");
    CHECK_EQ(raw_number(&r, 'S', "next"), 3);
    raw_check_log(&r);
    raw_stop(&r);
}

TEST(a_partition_is_never_made_over_a_newer_one_or_something_else) {
    raw r;
    raw_start(&r);
    for (const char *k = "LCK"; *k; k++) { /* without a state to say whose it is */
        raw_cmd(&r, "SET %s x", RAW_KEY(&r, *k));
        CHECK_STR(make_partition(&r, RAW_INC), "FOREIGN");
        CHECK_STR(raw_cmd(&r, "DBSIZE"), "1");
        raw_cmd(&r, "DEL %s", RAW_KEY(&r, *k));
    }
    raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'S'));
    CHECK_STR(make_partition(&r, RAW_INC), "FOREIGN");
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'S'));
    raw_cmd(&r, "HSET %s a b", RAW_KEY(&r, 'S'));
    CHECK_STR(make_partition(&r, RAW_INC), "FOREIGN");
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'S'));
    CHECK_STR(make_partition(&r, RAW_INC), "OK");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    CHECK_STR(make_partition(&r, "00older"), "FOREIGN");
    CHECK_STR(raw_call(&r, "partition_delete", "00older", NULL), "OK"); /* came late */
    CHECK_EQ(raw_number(&r, 'S', "next"), 3);
    raw_check_log(&r);
    /* What an older one left goes, all of it. */
    raw_cmd(&r, "ZADD %s 1 g", RAW_KEY(&r, 'K'));
    raw_cmd(&r, "HSET %s g:gid x", RAW_KEY(&r, 'C'));
    CHECK_STR(make_partition(&r, "1newer"), "OK");
    CHECK_STR(raw_cmd(&r, "HMGET %s inc next", RAW_KEY(&r, 'S')), "1newer 0");
    CHECK_STR(raw_log_info(&r, "length"), "0");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'C'), RAW_KEY(&r, 'K')), "0");
    CHECK_STR(raw_call(&r, "partition_delete", "1newer", NULL), "OK");
    CHECK_STR(raw_call(&r, "partition_delete", "1newer", NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'S'), RAW_KEY(&r, 'L')), "0");
    raw_stop(&r);
}

/* ---- groups ------------------------------------------------------------------------------- */

TEST(a_group_is_opened_once) {
    raw r;
    char gid[33];
    raw_start(&r);
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", RAW_GID, "latest", NULL), "LOST meta");
    create_stream(&r, SETTINGS, "0");
    raw_cmd(&r, "HSET %s inc " RAW_INC, RAW_KEY(&r, 'm'));
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", RAW_GID, "latest", NULL), "LOST meta");
    raw_call(&r, "stream_ready", RAW_INC, NULL);
    CHECK_STR(raw_call(&r, "group_open", "other", "g", RAW_GID, "latest", NULL), "LOST meta");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'g')), "0");
    const char *answer = raw_call(&r, "group_open", RAW_INC, "g", RAW_GID, "latest", NULL);
    snprintf(gid, sizeof gid, "%s", id_in(answer));
    CHECK_STR(answer, raw_line("CREATE %s latest", gid));
    CHECK_EQ(strlen(gid), 32);
    CHECK_STR(raw_cmd(&r, "HMGET %s gid phase start format epoch clock cap", RAW_KEY(&r, 'g')),
              raw_line("%s creating latest 1 0 0 0", gid));
    CHECK_STR(raw_cmd(&r, "SMEMBERS %s", RAW_KEY(&r, 'G')), "g");
    /* One who finds it half made goes on with what the first one wanted. */
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", "other", "earliest", NULL),
              raw_line("CREATE %s latest", gid));
    CHECK_STR(raw_call(&r, "group_ready", "other", NULL), "GONE");
    CHECK_STR(raw_call(&r, "group_ready", gid, NULL), "OK");
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", "other", "earliest", NULL),
              raw_line("READY %s latest", gid));
    raw_stop(&r);
}

TEST(a_group_whose_state_is_gone_does_not_start_over) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", "new", "earliest", NULL), "LOST group");
    CHECK_STR(raw_call(&r, "group_ready", RAW_GID, NULL), "GONE");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'g')), "0");
    /* It can be deleted, and is new then. */
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "DELETING lost");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", "lost", NULL), "OK");
    CHECK_STR(raw_call(&r, "group_drop", "g", "lost", NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'C'), RAW_KEY(&r, 'G')), "0");
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "NONE");
    const char *answer = raw_call(&r, "group_open", RAW_INC, "g", "new", "earliest", NULL);
    CHECK_EQ(strncmp(answer, "CREATE ", 7), 0);
    raw_stop(&r);
}

TEST(a_late_group_drop_does_not_touch_another_group) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    CHECK_STR(raw_call(&r, "group_drop", "g", "older", NULL), "OK");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", "00older", NULL), "OK");
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", "x", "latest", NULL),
              "READY " RAW_GID " earliest");
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL), "OK 1:0 0 0 0 0     0 ");
    CHECK_STR(raw_call(&r, "partition_describe", RAW_INC, "g", RAW_GID, NULL),
              "OK 1:0 0 0 0 0 0 0    0 ");
    CHECK_STR(raw_call(&r, "partition_lag", RAW_INC, "g", RAW_GID, NULL), "OK 0 0 [0]");
    CHECK_STR(raw_call(&r, "group_summary", RAW_INC, "g", NULL), "OK [" RAW_GID " 0 0 0]");
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "DELETING " RAW_GID);
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    CHECK_STR(raw_call(&r, "group_drop", "g", RAW_GID, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s %s %s", RAW_KEY(&r, 'g'), RAW_KEY(&r, 'G'),
                      RAW_KEY(&r, 'l'), RAW_KEY(&r, 'p')),
              "0");
    raw_stop(&r);
}

static const char *sync_as(const raw *r, const char *op, const char *member) {
    return raw_call(r, "group_sync", RAW_INC, RAW_GID, op, member, "n", "10000", "0", "host|1", "0",
                    RAW_KEY(r, 'w'), NULL);
}

TEST(a_group_with_live_members_is_not_deleted) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    sync_as(&r, "join", "a");
    sync_as(&r, "join", "b");
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "ACTIVE 2");
    sync_as(&r, "leave", "a");
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "ACTIVE 1");
    /* The other one has been silent for longer than its lease. */
    raw_cmd(&r, "HINCRBY %s wall -10001", RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "DELETING " RAW_GID);
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "DELETING " RAW_GID);
    CHECK_STR(sync_as(&r, "beat", "b"), "GONE group");
    CHECK_STR(sync_as(&r, "join", "c"), "GONE group");
    CHECK_STR(raw_call(&r, "group_ready", RAW_GID, NULL), "GONE");
    CHECK_STR(raw_call(&r, "group_open", RAW_INC, "g", RAW_GID, "earliest", NULL), "DELETING");
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE group");
    raw_stop(&r);
}

TEST(a_group_is_described_as_of_now) {
    raw r;
    raw_start(&r);
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE stream");
    raw_create_stream(&r, 1, 100, "block");
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE group");
    raw_call(&r, "group_open", RAW_INC, "g", RAW_GID, "earliest", NULL);
    raw_cmd(&r, "HSET %s gid " RAW_GID, RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE group"); /* not ready yet */
    raw_call(&r, "group_ready", RAW_GID, NULL);
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "OK " RAW_GID " 1 [] [] 0");
    sync_as(&r, "join", "a");
    raw_cmd(&r, "HINCRBY %s wall 100000", RAW_KEY(&r, 'g')); /* the group's clock stands still */
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL),
              "OK " RAW_GID " 1 [a host|1 10000 10000] [0 a 1] 1");
    raw_cmd(&r, "ZINCRBY %s -2500 a", RAW_KEY(&r, 'l'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL),
              "OK " RAW_GID " 1 [a host|1 10000 7500] [0 a 1] 1");
    /* Its lease has run out, and nobody has come yet who says so. */
    raw_cmd(&r, "HINCRBY %s wall -107501", RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "OK " RAW_GID " 1 [] [0  1] 1");
    CHECK_STR(raw_cmd(&r, "ZCARD %s", RAW_KEY(&r, 'l')), "1"); /* nothing was written */
    raw_call(&r, "stream_delete", NULL);
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE stream");
    CHECK_STR(sync_as(&r, "beat", "a"), "GONE stream");
    raw_stop(&r);
}

/* What only reads may be asked of a replica, and of a full server. */
TEST(what_only_reads_works_on_a_replica) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    raw_cmd(&r, "REPLICAOF 127.0.0.1 1");
    raw_cmd(&r, "CONFIG SET maxmemory 1000");
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "OK " RAW_GID " 1 [] [] 0");
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL), "OK 1:0 0 0 0 0     0 ");
    CHECK_STR(raw_call(&r, "partition_describe", RAW_INC, "g", RAW_GID, NULL),
              "OK 1:0 0 0 0 0 0 0    0 ");
    CHECK_STR(raw_call(&r, "partition_lag", RAW_INC, "g", RAW_GID, NULL), "OK 0 0 [0]");
    CHECK_STR(raw_call(&r, "group_summary", RAW_INC, "g", NULL), "OK [" RAW_GID " 0 0 0]");
    CHECK_CONTAINS(raw_call(&r, "stream_delete", NULL), "-READONLY");
    raw_cmd(&r, "REPLICAOF NO ONE");
    const char *joined = sync_as(&r, "join", "a"); /* allowed when full; in another life */
    CHECK_EQ(strncmp(joined, "OK 2 -1 1 [0 1", 14), 0);
    CHECK_CONTAINS(joined, " keep]");
    CHECK_STR(raw_call(&r, "cursor_acquire", RAW_INC, "g", RAW_GID, "1", "n", NULL),
              "OK 1:0 0 0 0     0");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    raw_stop(&r);
}
