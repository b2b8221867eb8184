/* The scripts that look for operators, and write nothing: partition_describe, partition_lag,
 * group_summary. Each part that can be missing is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script.h"
#include "scripts_rig.h"
#include "test.h"

static const char *ends(const raw *r) {
    return raw_call(r, "partition_describe", RAW_INC, "", "", NULL);
}

static const char *place(const raw *r) {
    return raw_call(r, "partition_describe", RAW_INC, "g", RAW_GID, NULL);
}

static const char *lag(const raw *r) {
    return raw_call(r, "partition_lag", RAW_INC, "g", RAW_GID, NULL);
}

static const char *summary(const raw *r) {
    return raw_call(r, "group_summary", RAW_INC, r->group, NULL);
}

/* A partition with two batches, of the offsets 0 to 3 and 4 to 9, and the group "g" at its start. */
static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 1, 100, "block");
    CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 4}), "[OK 0] 1-3");
    CHECK_STR(raw_append(r, (raw_batch){.first = 5, .n = 6}), "[OK 4] 1-9");
    raw_create_group(r, 1, "earliest");
}

/* By hand; the rest of the cursor stays. */
static void put_at(const raw *r, const char *offset) {
    raw_cmd(r, "ZADD %s %s g", RAW_KEY(r, 'K'), offset);
}

static void check_header(const raw *r, const char *expected) {
    const char *const args[] = {RAW_INC, "g", RAW_GID};
    redisReply *reply = raw_call_argv(r, "partition_describe", 3, args);
    CHECK_EQ(reply->elements, 13);
    CHECK_STR(reply->element[12]->str, expected);
    freeReplyObject(reply);
}

TEST(a_partition_is_told) {
    raw r;
    start(&r);
    CHECK_STR(ends(&r), "OK 1:0 0 10 0 1");
    CHECK_STR(place(&r), "OK 1:0 0 10 0 1 0 0    0 p1 1 1 4");
    raw_cmd(&r, "HSET %s foreign 7 producers 3 first 2", RAW_KEY(&r, 'S'));
    CHECK_STR(ends(&r), "OK 1:0 2 10 7 3");
    raw_cmd(&r, "HDEL %s foreign producers", RAW_KEY(&r, 'S'));
    CHECK_STR(ends(&r), "OK 1:0 2 10 0 0");
    raw_cmd(&r, "HSET %s g:epoch 4 g:acks A g:tries T g:high 8 g:since 3", RAW_KEY(&r, 'C'));
    put_at(&r, "5");
    CHECK_STR(place(&r), "OK 1:0 2 10 0 0 5 4 A T 8 3 p1 1 5 6");
    raw_cmd(&r, "HDEL %s g:acks g:tries g:high g:since", RAW_KEY(&r, 'C'));
    CHECK_STR(place(&r), "OK 1:0 2 10 0 0 5 4    0 p1 1 5 6");
    CHECK_STR(lag(&r), "OK 2 10 [5]");
    CHECK_STR(raw_call(&r, "partition_lag", RAW_INC, NULL), "OK 2 10 []");
    raw_stop(&r);
}

/* Large numbers keep their digits. */
TEST(offsets_are_told_in_full) {
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s next 9007199254740993", RAW_KEY(&r, 'S'));
    put_at(&r, "9007199254740991");
    CHECK_STR(place(&r), "OK 1:0 0 9007199254740993 0 1 9007199254740991 0    0 ");
    CHECK_STR(lag(&r), "OK 0 9007199254740993 [9007199254740991]");
    raw_stop(&r);
}

TEST(what_is_missing_of_a_partition_is_named) {
    static const char *const fields[] = {"eras", "first", "next"};
    raw r;
    start(&r);
    CHECK_STR(raw_call(&r, "partition_describe", "other", "", "", NULL), "LOST incarnation");
    CHECK_STR(raw_call(&r, "partition_lag", "other", NULL), "LOST incarnation");
    for (size_t i = 0; i < 3; i++) {
        const char *value = raw_cmd(&r, "HGET %s %s", RAW_KEY(&r, 'S'), fields[i]);
        raw_cmd(&r, "HDEL %s %s", RAW_KEY(&r, 'S'), fields[i]);
        CHECK_STR(ends(&r), "LOST state");
        CHECK_STR(lag(&r), i == 0 ? "OK 0 10 [0]" : "LOST state");
        raw_cmd(&r, "HSET %s %s %s", RAW_KEY(&r, 'S'), fields[i], value);
    }
    raw_cmd(&r, "HSET %s next x", RAW_KEY(&r, 'S'));
    CHECK_STR(ends(&r), "LOST state");
    raw_cmd(&r, "HSET %s next 10 first x", RAW_KEY(&r, 'S'));
    CHECK_STR(ends(&r), "LOST state");
    raw_cmd(&r, "HSET %s first 0", RAW_KEY(&r, 'S'));
    raw_cmd(&r, "RENAME %s away", RAW_KEY(&r, 'L'));
    CHECK_STR(ends(&r), "LOST log");
    CHECK_STR(lag(&r), "LOST log");
    raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'L'));
    CHECK_CONTAINS(ends(&r), "-WRONGTYPE");
    CHECK_CONTAINS(lag(&r), "-WRONGTYPE");
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'S'));
    CHECK_STR(ends(&r), "LOST state");
    CHECK_STR(lag(&r), "LOST state");
    raw_stop(&r);
}

TEST(a_place_that_is_missing_is_none) {
    raw r;
    start(&r);
    CHECK_STR(raw_call(&r, "partition_describe", RAW_INC, "g", "other", NULL), "LOST cursor");
    CHECK_STR(raw_call(&r, "partition_describe", RAW_INC, "h", RAW_GID, NULL), "LOST cursor");
    CHECK_STR(
        raw_call(&r, "partition_lag", RAW_INC, "g", "other", "h", RAW_GID, "g", RAW_GID, NULL),
        "OK 0 10 [  0]");
    raw_cmd(&r, "ZADD %s 3 h", RAW_KEY(&r, 'K')); /* a place, and no group that it is of */
    CHECK_STR(raw_call(&r, "partition_lag", RAW_INC, "h", RAW_GID, NULL), "OK 0 10 []");
    raw_cmd(&r, "HDEL %s g:epoch", RAW_KEY(&r, 'C'));
    CHECK_STR(place(&r), "LOST cursor");
    raw_cmd(&r, "HSET %s g:epoch 0", RAW_KEY(&r, 'C'));
    raw_cmd(&r, "ZREM %s g", RAW_KEY(&r, 'K'));
    CHECK_STR(place(&r), "LOST cursor");
    CHECK_STR(lag(&r), "OK 0 10 []");
    raw_stop(&r);
}

/* ---- the batch of the oldest message ------------------------------------------------------ */

TEST(the_oldest_batch_holds_the_place) {
    static const struct {
        const char *at, *header;
    } cases[] = {{"0", "p1 1 1 4"}, {"1", "p1 1 1 4"}, {"3", "p1 1 1 4"}, {"4", "p1 1 5 6"},
                 {"9", "p1 1 5 6"}, {"10", ""},        {"12", ""}};
    raw r;
    start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_at(&r, cases[i].at);
        check_header(&r, cases[i].header);
    }
    put_at(&r, "1"); /* overtaken */
    raw_cmd(&r, "HSET %s first 6", RAW_KEY(&r, 'S'));
    check_header(&r, "p1 1 5 6");
    raw_cmd(&r, "XDEL %s 1-9", RAW_KEY(&r, 'L'));
    check_header(&r, "");
    raw_stop(&r);
}

/* Of a batch no more is told than its header. */
TEST(no_more_than_a_header_is_told) {
    raw r;
    start(&r);
    raw_unseal(&r);
    raw_cmd(&r, "HSET %s next 11", RAW_KEY(&r, 'S'));
    raw_cmd(&r, "XADD %s 1-10 b 0123456789012345678901234567", RAW_KEY(&r, 'L'));
    put_at(&r, "10");
    check_header(&r, "012345678901234567890123");
    raw_stop(&r);
}

/* The era of a message is the last that begins at or before it: what is behind it in an older one is
 * nobody's. */
TEST(the_oldest_batch_is_of_its_era) {
    raw r;
    start(&r);
    raw_stray(&r, "1-12", "b", "stray");
    raw_cmd(&r, "HSET %s era 5 eras %s", RAW_KEY(&r, 'S'), "1:0 5:10");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 11, .n = 10, .era = 5}), "[OK 10] 5-19");
    put_at(&r, "9");
    check_header(&r, "p1 1 5 6");
    put_at(&r, "10");
    check_header(&r, "p1 1 11 10");
    put_at(&r, "19");
    check_header(&r, "p1 1 11 10");
    raw_cmd(&r, "HSET %s eras none", RAW_KEY(&r, 'S'));
    check_header(&r, "");
    raw_stop(&r);
}

TEST(entries_of_others_are_stepped_over) {
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s next 20 eras %s", RAW_KEY(&r, 'S'), "1:0 5:10");
    put_at(&r, "9");
    raw_cmd(&r, "XDEL %s 1-9", RAW_KEY(&r, 'L'));
    raw_unseal(&r);
    static const char *const strays[] = {"1-11 a x", "1-12 b x c y", "1-20 b x", "1-21 b x",
                                         "3-15 b x", "3-16 b x",     "5-11 a x"};
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
        char text[64], *word = text;
        const char *argv[8] = {"XADD", RAW_KEY(&r, 'L')};
        int n = 2;
        snprintf(text, sizeof text, "%s", strays[i]);
        for (char *part; (part = strsep(&word, " ")) != NULL;)
            argv[n++] = part;
        CHECK_STR(raw_text(redisCommandArgv(r.c, n, argv, NULL)), argv[2]);
    }
    check_header(&r, "");
    raw_cmd(&r, "XADD %s 5-12 b ours", RAW_KEY(&r, 'L'));
    check_header(&r, "ours"); /* the eighth */
    raw_cmd(&r, "XDEL %s 5-12", RAW_KEY(&r, 'L'));
    raw_cmd(&r, "XADD %s 5-13 a x", RAW_KEY(&r, 'L'));
    raw_cmd(&r, "XADD %s 5-14 b ours", RAW_KEY(&r, 'L'));
    check_header(&r, ""); /* no more than so many are looked at */
    raw_stop(&r);
}

/* ---- group_summary ------------------------------------------------------------------------ */

static const char *join(const raw *r, const char *member) {
    return raw_call(r, "group_sync", RAW_INC, RAW_GID, "join", member, "n", "10000", "0", "host",
                    "0", RAW_KEY(r, 'w'), NULL);
}

TEST(members_and_what_they_own_are_counted) {
    raw r;
    raw_start(&r);
    CHECK_STR(summary(&r), "NONE");
    raw_create_stream(&r, 3, 100, "block");
    CHECK_STR(summary(&r), "OK []");
    raw_create_group(&r, 3, "earliest");
    CHECK_STR(summary(&r), "OK [" RAW_GID " 0 0 0]");
    CHECK_CONTAINS(join(&r, "a"), "OK ");
    CHECK_STR(summary(&r), "OK [" RAW_GID " 1 3 3]");
    CHECK_CONTAINS(join(&r, "b"), "OK ");
    CHECK_STR(summary(&r), "OK [" RAW_GID " 2 3 3]");
    /* The lease of a ends, then that of b; nobody has come yet who says so. */
    raw_cmd(&r, "HINCRBY %s wall 100000",
            RAW_KEY(&r, 'g')); /* a clock that steps back revives nobody */
    raw_cmd(&r, "HSET %s clock 5000", RAW_KEY(&r, 'g'));
    raw_cmd(&r, "ZADD %s 5000 a 5001 b", RAW_KEY(&r, 'l'));
    CHECK_STR(summary(&r), "OK [" RAW_GID " 1 0 3]");
    raw_cmd(&r, "ZADD %s 5001 a 5000 b", RAW_KEY(&r, 'l'));
    CHECK_STR(summary(&r), "OK [" RAW_GID " 1 3 3]");
    raw_cmd(&r, "HINCRBY %s wall -110000", RAW_KEY(&r, 'g'));
    CHECK_STR(summary(&r), "OK [" RAW_GID " 0 0 3]");
    raw_stop(&r);
}

TEST(a_lease_without_a_member_is_none) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    CHECK_CONTAINS(join(&r, "a"), "OK ");
    raw_cmd(&r, "HDEL %s m:a", RAW_KEY(&r, 'g'));
    CHECK_STR(summary(&r), "OK [" RAW_GID " 0 0 1]");
    raw_stop(&r);
}

TEST(groups_that_are_not_there_or_broken_hide_no_other) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    raw_create_group(&r, 1, "earliest");
    raw h = r;
    h.group = "h";
    raw_create_group(&h, 1, "earliest");
    size_t len;
    const char *body = sg_script_body(sg_script_find("group_summary"), &len);
    sg_key k[11] = {raw_key(&r, 'm'), raw_key(&r, 'G')};
    raw none = r;
    none.group = "none";
    const raw *of[] = {&r, &none, &h};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++)
            k[2 + 3 * i + j] = raw_key(of[i], "glp"[j]);
    const char *argv[18] = {"EVAL", body, "11"};
    for (size_t i = 0; i < 11; i++)
        argv[3 + i] = k[i].text;
    argv[14] = RAW_INC;
    for (size_t i = 0; i < 3; i++)
        argv[15 + i] = of[i]->group;
    CHECK_STR(raw_text(redisCommandArgv(r.c, 18, argv, NULL)),
              "OK [" RAW_GID " 0 0 0] [] [" RAW_GID " 0 0 0]");
    raw_cmd(&r, "HSET %s phase deleting", RAW_KEY(&r, 'g'));
    raw_cmd(&r, "SET %s x", RAW_KEY(&none, 'g'));
    CHECK_STR(raw_text(redisCommandArgv(r.c, 18, argv, NULL)), "OK [] BROKEN [" RAW_GID " 0 0 0]");
    raw_cmd(&r, "HSET %s phase ready", RAW_KEY(&r, 'g'));
    raw_cmd(&r, "HDEL %s gid", RAW_KEY(&r, 'g'));
    raw_cmd(&r, "SET %s x", RAW_KEY(&h, 'p'));
    CHECK_STR(raw_text(redisCommandArgv(r.c, 18, argv, NULL)), "OK LOST BROKEN BROKEN");
    argv[14] = "other";
    CHECK_STR(raw_text(redisCommandArgv(r.c, 18, argv, NULL)), "NONE");
    argv[13] = RAW_INC;
    raw_cmd(&r, "HSET %s phase deleting", RAW_KEY(&r, 'm'));
    CHECK_STR(raw_text(redisCommandArgv(r.c, 18, argv, NULL)), "NONE");
    raw_stop(&r);
}
