/* The scripts of groups, where somebody wrote over what is stored of one: each says what is damaged, none runs into an
 * error, and the group can be deleted and created anew. */
#include <stdio.h>
#include <string.h>

#include "scripts_rig.h"
#include "test.h"

#define MEMBER "DAMAGED what it knows of a member makes no sense"
#define PART   "DAMAGED what it knows of a partition makes no sense"
#define TYPE   "of another type"

static const char *sync_as(const raw *r, const char *op, const char *member) {
    return raw_call(r, "group_sync", RAW_INC, RAW_GID, op, member, "n", "10000", "0", "host", "0",
                    RAW_KEY(r, 'w'), NULL);
}

/* Of a member that has nothing new to hear. */
static const char *usual_beat(const raw *r) {
    return raw_call(r, "group_sync", RAW_INC, RAW_GID, "beat", "a", "n", "10000", "1", "host", "0",
                    RAW_KEY(r, 'w'), NULL);
}

static const char *seek(const raw *r, const char *op, const char *force) {
    return raw_call(r, "group_seek", RAW_INC, RAW_GID, op, force, "0", RAW_KEY(r, 'w'), "0:9",
                    NULL);
}

typedef struct damage {
    char key;
    const char *command; /* with the key in place of %s */
    const char *beat, *join, *describe, *summary, *begin, *finish, *remove, *open;
} damage;

#define OPEN "READY " RAW_GID " earliest"
#define GONE "DELETING " RAW_GID
#define SEEN "OK [" RAW_GID " 1 2 2]"

#define NO_NUMBER(name)                                                                            \
    .beat = "DAMAGED its " name " is no number", .join = "DAMAGED its " name " is no number",      \
    .describe = "DAMAGED its " name " is no number", .summary = "OK BROKEN",                       \
    .begin = "DAMAGED its " name " is no number", .finish = "DAMAGED its " name " is no number",   \
    .remove = GONE, .open = OPEN

static const damage DAMAGES[] = {
    {'g', "HSET %s clock x", NO_NUMBER("clock")},
    {'g', "HDEL %s clock", NO_NUMBER("clock")},
    {'g', "HSET %s clock nan", NO_NUMBER("clock")},
    {'g', "HSET %s wall x", NO_NUMBER("wall")},
    {'g', "HSET %s wall inf", NO_NUMBER("wall")},
    {'g', "HSET %s cap x", "DAMAGED its cap is no number", "DAMAGED its cap is no number", "OK ",
     SEEN, "ACTIVE 1", "OK 10", "ACTIVE 1", OPEN},
    {'g', "HSET %s epoch x", "DAMAGED its epoch is no number", "DAMAGED its epoch is no number",
     "DAMAGED its epoch is no number", "OK BROKEN", "DAMAGED its epoch is no number",
     "DAMAGED its epoch is no number", "ACTIVE 1", OPEN},
    {'g', "HSET %s used x", "OK 1 -1 1", "DAMAGED its used is no number", "OK ", SEEN, "ACTIVE 1",
     "OK 10", "ACTIVE 1", OPEN},
    {'g', "HSET %s m:a x", MEMBER, MEMBER, MEMBER, "OK BROKEN", "ACTIVE 1", "OK 10", "ACTIVE 1",
     OPEN},
    {'g', "HSET %s m:a n|x|1|host", MEMBER, MEMBER, MEMBER, "OK BROKEN", "ACTIVE 1", "OK 10",
     "ACTIVE 1", OPEN},
    {'p', "HSET %s 0 x", "OK 1 -1 1", PART, PART, "OK BROKEN", "ACTIVE 1", PART, "ACTIVE 1", OPEN},
    {'p', "HSET %s x a|1|a", "OK 1 -1 1", PART, "OK ", "OK [" RAW_GID " 1 3 2]", "ACTIVE 1",
     "OK 10", "ACTIVE 1", OPEN},
    {'p', "SET %s x", "OK 1 -1 1", "DAMAGED its parts are " TYPE, "DAMAGED its parts are " TYPE,
     "OK BROKEN", "ACTIVE 1", "DAMAGED its parts are " TYPE, "ACTIVE 1", OPEN},
    {'l', "SET %s x", "DAMAGED its leases are " TYPE, "DAMAGED its leases are " TYPE,
     "DAMAGED its leases are " TYPE, "OK BROKEN", "DAMAGED its leases are " TYPE, "OK 10", GONE,
     OPEN},
    {'g', "SET %s x", "DAMAGED its hash is " TYPE, "DAMAGED its hash is " TYPE,
     "DAMAGED its hash is " TYPE, "OK BROKEN", "DAMAGED its hash is " TYPE,
     "DAMAGED its hash is " TYPE, "DELETING lost", "DAMAGED its hash is " TYPE},
};

/* A group of two partitions with a member who has both. */
static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 2, 100, "block");
    raw_create_group(r, 2, "earliest");
    CHECK_CONTAINS(sync_as(r, "join", "a"), "0 1 keep");
    raw_cmd(r, "HSET %s m:a n|10000|1|host", RAW_KEY(r, 'g'));
}

static void ruin(const raw *r, const damage *d) {
    if (strncmp(d->command, "SET", 3) == 0)
        raw_cmd(r, "DEL %s", RAW_KEY(r, d->key));
    CHECK(raw_cmd(r, d->command, RAW_KEY(r, d->key)) != NULL);
}

static void check_begins(const char *answer, const char *expected) {
    CHECK_EQ(strncmp(answer, expected, strlen(expected)), 0);
}

typedef const char *asks(const raw *r);

static const char *asks_beat(const raw *r) {
    return usual_beat(r);
}
static const char *asks_join(const raw *r) {
    return sync_as(r, "join", "b");
}
static const char *asks_describe(const raw *r) {
    return raw_call(r, "group_describe", "g", NULL);
}
static const char *asks_summary(const raw *r) {
    return raw_call(r, "group_summary", RAW_INC, "g", NULL);
}
static const char *asks_begin(const raw *r) {
    return seek(r, "begin", "0");
}
static const char *asks_finish(const raw *r) {
    return seek(r, "finish", "0");
}
static const char *asks_remove(const raw *r) {
    return raw_call(r, "group_delete", "g", NULL);
}
static const char *asks_open(const raw *r) {
    return raw_call(r, "group_open", RAW_INC, "g", "x", "latest", NULL);
}

/* Each on a fresh group. */
static void check_each(asks *ask, const char *(*expected)(const damage *)) {
    for (size_t i = 0; i < sizeof DAMAGES / sizeof *DAMAGES; i++) {
        const damage *d = &DAMAGES[i];
        raw r;
        start(&r);
        ruin(&r, d);
        const char *answer = ask(&r);
        if (strncmp(answer, expected(d), strlen(expected(d))) != 0)
            FAIL("after %s of '%c': \"%s\" and not \"%s\"", d->command, d->key, answer,
                 expected(d));
        raw_stop(&r);
    }
}

#define EXPECTED(member)                                                                           \
    static const char *of_##member(const damage *d) {                                              \
        return d->member;                                                                          \
    }
EXPECTED(beat)
EXPECTED(join)
EXPECTED(describe)
EXPECTED(summary)
EXPECTED(begin)
EXPECTED(finish)
EXPECTED(remove)
EXPECTED(open)

TEST(a_beat) {
    check_each(asks_beat, of_beat);
}
TEST(a_join) {
    check_each(asks_join, of_join);
}
TEST(a_description) {
    check_each(asks_describe, of_describe);
}
TEST(a_summary) {
    check_each(asks_summary, of_summary);
}
TEST(the_begin_of_a_seek) {
    check_each(asks_begin, of_begin);
}
TEST(the_end_of_a_seek) {
    check_each(asks_finish, of_finish);
}
TEST(a_deletion) {
    check_each(asks_remove, of_remove);
}
TEST(an_opening) {
    check_each(asks_open, of_open);
}

/* What is damaged stays as it is: a join that is refused has not become a member. */
TEST(nothing_is_written_before_it_is_found_out) {
    static const damage parts[] = {{'p', "HSET %s 0 x", .join = PART},
                                   {'p', "SET %s x", .join = "DAMAGED its parts are " TYPE},
                                   {'g', "HSET %s m:z x", .join = MEMBER},
                                   {'g', "HSET %s used x", .join = "DAMAGED its used"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        raw r;
        char before[512];
        start(&r);
        ruin(&r, &parts[i]);
        snprintf(before, sizeof before, "%s", raw_cmd(&r, "HGETALL %s", RAW_KEY(&r, 'g')));
        check_begins(sync_as(&r, "join", "b"), parts[i].join);
        check_begins(sync_as(&r, "leave", "a"), parts[i].join);
        CHECK_STR(raw_cmd(&r, "HGETALL %s", RAW_KEY(&r, 'g')), before);
        CHECK_STR(raw_cmd(&r, "ZCARD %s", RAW_KEY(&r, 'l')), "1");
        raw_stop(&r);
    }
}

/* A hand-back reads its own partition alone. */
TEST(a_partition_that_is_handed_back) {
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s 0 x", RAW_KEY(&r, 'p'));
    const char *back = raw_call(&r, "group_sync", RAW_INC, RAW_GID, "beat", "a", "n", "10000", "1",
                                "host", "0", RAW_KEY(&r, 'w'), "0:1", NULL);
    CHECK_STR(back, PART);
    raw_stop(&r);
}

TEST(it_is_deleted_and_created_anew) {
    static const damage some[] = {
        {'g', "SET %s x", .remove = "lost"},
        {'g', "HSET %s gid 0123456789abcdef0123456789abcdef0", .remove = "lost"},
        {'g', "EVAL redis.call('HSET',KEYS[1],'gid','') 1 %s", .remove = "lost"},
        {'g', "HSET %s clock x", .remove = RAW_GID},
        {'l', "SET %s x", .remove = RAW_GID}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        raw r;
        char deleting[64];
        start(&r);
        ruin(&r, &some[i]);
        raw_cmd(&r, "ZREM %s a", RAW_KEY(&r, 'l'));
        raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'p'));
        snprintf(deleting, sizeof deleting, "DELETING %s", some[i].remove);
        CHECK_STR(raw_call(&r, "group_delete", "g", NULL), deleting);
        CHECK_STR(raw_call(&r, "group_delete", "g", NULL), deleting); /* again */
        CHECK_STR(raw_call(&r, "cursor_delete", "g", some[i].remove, NULL), "OK");
        CHECK_STR(raw_call(&r, "group_drop", "g", some[i].remove, NULL), "OK");
        CHECK_STR(raw_cmd(&r, "EXISTS %s %s %s %s", RAW_KEY(&r, 'g'), RAW_KEY(&r, 'G'),
                          RAW_KEY(&r, 'l'), RAW_KEY(&r, 'p')),
                  "0");
        check_begins(raw_call(&r, "group_open", RAW_INC, "g", "x", "latest", NULL), "CREATE ");
        raw_stop(&r);
    }
}

/* One whose hash is gone holds the stream back as before, so whoever looks is told of it. */
TEST(a_group_whose_hash_is_gone_is_still_listed) {
    raw r;
    start(&r);
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'g'));
    CHECK_STR(asks_describe(&r), "LOST group");
    CHECK_STR(asks_summary(&r), "OK LOST");
    raw_cmd(&r, "SREM %s g", RAW_KEY(&r, 'G'));
    CHECK_STR(asks_describe(&r), "NONE group");
    CHECK_STR(asks_summary(&r), "OK []");
    raw_stop(&r);
}
