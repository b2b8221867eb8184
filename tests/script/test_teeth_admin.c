/* Checks of the scripts that create, describe and delete, and of the cursors', which only matter
 * where something is not as these scripts leave it: a field, a key or a right was removed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script.h"
#include "scripts_rig.h"
#include "test.h"

static const char *commit(const raw *r, const char *seq, const char *at) {
    return raw_call(r, "cursor_commit", RAW_INC, r->group, RAW_GID, "1", seq, at, "", "", "", "",
                    "n", NULL);
}

static const char *acquire(const raw *r) {
    return raw_call(r, "cursor_acquire", RAW_INC, r->group, RAW_GID, "1", "n", NULL);
}

static const char *seek(const raw *r, const char *epoch, const char *offset) {
    return raw_call(r, "cursor_seek", RAW_INC, r->group, RAW_GID, epoch, offset, NULL);
}

static const char *committed(const raw *r, const char *group) {
    return raw_cmd(r, "ZSCORE %s %s", RAW_KEY(r, 'K'), group);
}

/* A partition with 20 messages, and the group "g" at its start, owned under epoch 1. */
static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 1, 100, "block");
    CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 20}), "[OK 0] 1-19");
    raw_create_group(r, 1, "earliest");
    CHECK_EQ(strncmp(acquire(r), "OK ", 3), 0);
}

/* ---- cursors ------------------------------------------------------------------------------ */

/* The native group is for other tools to look at. A user who may not touch it reads and commits. */
TEST(without_the_right_to_native_groups) {
    raw r;
    start(&r);
    raw_cmd(&r, "ACL SETUSER default -xgroup");
    CHECK_STR(commit(&r, "1", "7"), "OK");
    CHECK_STR(committed(&r, "g"), "7");
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "h", RAW_GID, "latest", NULL), "OK");
    CHECK_STR(committed(&r, "h"), "20");
    CHECK_STR(seek(&r, "2", "3"), "OK 7 3");
    CHECK_STR(committed(&r, "g"), "3");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "3");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    CHECK_STR(committed(&r, "g"), "nil");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "0"); /* as it was before */
    raw_stop(&r);
}

TEST(a_commit_brings_back_a_low_that_was_lost) {
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s low %s", RAW_KEY(&r, 'S'), "");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "");
    CHECK_STR(commit(&r, "1", "7"), "OK");
    CHECK_STR(raw_cmd(&r, "HGET %s low", RAW_KEY(&r, 'S')), "7");
    raw_stop(&r);
}

/* ---- partitions and streams --------------------------------------------------------------- */

/* It is to be gone, whatever stands in its place. */
TEST(a_partition_is_deleted_whatever_its_state_is) {
    raw r;
    start(&r);
    raw_cmd(&r, "HDEL %s inc", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_call(&r, "partition_delete", RAW_INC, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'S'), RAW_KEY(&r, 'L')), "0");
    raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'S'));
    CHECK_STR(raw_call(&r, "partition_delete", RAW_INC, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'S')), "0");
    raw_stop(&r);
}

/* More keys than a Lua call takes arguments. */
TEST(a_stream_with_three_thousand_groups_is_dropped) {
    enum { KEYS = 9002 };
    static char names[KEYS][24];
    static const char *argv[3 + KEYS + 1];
    char count[8], inc[] = RAW_INC;
    size_t len;
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    snprintf(count, sizeof count, "%d", KEYS);
    argv[0] = "EVAL";
    argv[1] = sg_script_body(sg_script_find("stream_drop"), &len);
    argv[2] = count;
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "key%d", i);
        argv[3 + i] = names[i];
    }
    sg_key meta = raw_key(&r, 'm');
    argv[3] = meta.text;
    argv[3 + KEYS] = inc;
    static const int set[] = {1, 999, 1000, 1001, 7999, 8001, KEYS - 1};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        raw_cmd(&r, "SET %s x", names[set[i]]);
    }
    CHECK_STR(raw_text(redisCommandArgv(r.c, 3 + KEYS + 1, argv, NULL)), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", meta.text), "0");
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        CHECK_STR(raw_cmd(&r, "EXISTS %s", names[set[i]]), "0");
    }
    raw_stop(&r);
}

/* ---- groups ------------------------------------------------------------------------------- */

static const char *join(const raw *r) {
    return raw_call(r, "group_sync", RAW_INC, RAW_GID, "join", "a", "n", "10000", "0", "host", "0",
                    RAW_KEY(r, 'w'), NULL);
}

/* A lease that ended before the clock's last step back has ended all the same. */
TEST(a_clock_that_steps_back_revives_nobody) {
    raw r;
    start(&r);
    CHECK_STR(join(&r), "OK 2 -1 1 [0 1 keep]");
    raw_cmd(&r, "HSET %s clock 5000", RAW_KEY(&r, 'g'));
    raw_cmd(&r, "ZADD %s 4000 a", RAW_KEY(&r, 'l'));
    raw_cmd(&r, "HINCRBY %s wall 100000", RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "OK " RAW_GID " 1 [] [0  1] 1");
    CHECK_STR(raw_call(&r, "group_seek", RAW_INC, RAW_GID, "begin", "0", "0", "w", NULL), "OK 2");
    CHECK_STR(raw_call(&r, "group_delete", "g", NULL), "DELETING " RAW_GID);
    raw_stop(&r);
}

TEST(what_is_half_there_is_not_described) {
    raw r;
    start(&r);
    CHECK_STR(join(&r), "OK 2 -1 1 [0 1 keep]");
    raw_cmd(&r, "HDEL %s m:a", RAW_KEY(&r, 'g')); /* a lease, and nothing known of its member */
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "OK " RAW_GID " 1 [] [0  1] 1");
    raw_cmd(&r, "HDEL %s gid", RAW_KEY(&r, 'g'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "LOST group");
    raw_cmd(&r, "SREM %s g", RAW_KEY(&r, 'G'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE group");
    raw_cmd(&r, "HDEL %s inc", RAW_KEY(&r, 'm'));
    CHECK_STR(raw_call(&r, "group_describe", "g", NULL), "NONE stream");
    raw_stop(&r);
}
