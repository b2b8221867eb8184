/* group_sync.lua: what a call costs in which nothing has changed, as the commands that it runs on the server. They
 * are most of its time, and none of these takes longer in a large group, but for a logarithm. How long they take
 * is printed by `scale URL sync` (bench/scale.c). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups_rig.h"
#include "test.h"

enum { NAME = 16, TEXT = 4096 };

static const char *name_of(char name[NAME], uint32_t i) {
    snprintf(name, NAME, "m%" PRIu32, i);
    return name;
}

/* A settled group, written by hand: to let each member join would share everything out as often. */
static void gather(const group *g, uint32_t members) {
    char name[NAME];
    long long clock = raw_number(&g->raw, 'g', "clock");
    for (uint32_t i = 0; i < members; i++) {
        name_of(name, i);
        raw_cmd(&g->raw, "HSET %s m:%s n|10000|2|host", RAW_KEY(&g->raw, 'g'), name);
        raw_cmd(&g->raw, "ZADD %s %lld %s", RAW_KEY(&g->raw, 'l'), clock + 10000 + i, name);
    }
    for (uint32_t p = 0; p < g->partitions; p++) {
        name_of(name, p % members);
        raw_cmd(&g->raw, "HSET %s %" PRIu32 " %s|%" PRIu32 "|%s", RAW_KEY(&g->raw, 'p'), p, name,
                p + 1, name);
    }
    raw_cmd(&g->raw, "HSET %s cap 5000 epoch %" PRIu32, RAW_KEY(&g->raw, 'g'), g->partitions);
    group_check_settled(g);
}

/* Adds a command that MONITOR shows, `1795.123 [0 lua] "ZCARD" "key"`, to `text` if a script ran it. */
static void add_command(char text[TEXT], const char *shown) {
    const char *from = strstr(shown, " lua] ");
    size_t len = strlen(text);
    if (from == NULL) {
        return;
    }
    for (from += strlen(" lua] "); *from != '\0'; from++) {
        CHECK_LT(len + 2, TEXT);
        if (*from != '"') {
            text[len++] = *from;
        }
    }
    memcpy(text + len, "\n", 2);
}

/* The commands that one call of the script runs, a line each. */
static const char *commands_of(const group *g, const char *member, sync_args a) {
    static char text[TEXT];
    raw other = raw_other(&g->raw);
    void *shown;
    text[0] = '\0';
    CHECK_STR(raw_cmd(&other, "MONITOR"), "OK");
    freeReplyObject(group_sync_reply(g, member, a, a.back ? 1 : 0, &a.back));
    raw_cmd(&g->raw, "ECHO the-end");
    for (bool end = false; !end; freeReplyObject(shown)) {
        CHECK_EQ(redisGetReply(other.c, &shown), REDIS_OK);
        add_command(text, ((redisReply *)shown)->str);
        end = strstr(((redisReply *)shown)->str, "the-end") != NULL;
    }
    redisFree(other.c);
    return text;
}

/* The very commands, with what they say. The epoch that the member asks for was given before, so that is no news. */
static void check_beat(const group *g, const char *name, sync_args a, const char *deadlines) {
    a.seen = 2;
    a.floor = g->partitions;
    const char *commands = commands_of(g, name, a);
    long long clock = raw_number(&g->raw, 'g', "clock");
    const char *expected =
        raw_line("HMGET %s inc phase\n"
                 "HMGET %s gid phase epoch clock wall cap m:%s\n"
                 "TIME\n"
                 "ZADD %s %lld %s\n"
                 "ZCARD %s\n"
                 "%s"
                 "HSET %s clock %lld wall %lld\n",
                 RAW_KEY(&g->raw, 'm'), RAW_KEY(&g->raw, 'g'), name, RAW_KEY(&g->raw, 'l'),
                 clock + (a.timeout ? a.timeout : 10000), name, RAW_KEY(&g->raw, 'l'), deadlines,
                 RAW_KEY(&g->raw, 'g'), clock, raw_number(&g->raw, 'g', "wall"));
    CHECK_STR(commands, expected);
}

static void beats_cost_the_same(uint32_t partitions, uint32_t members) {
    group g;
    char name[NAME];
    group_start(&g, partitions);
    gather(&g, members);
    /* The server gets to know the script. */
    CHECK_STR(group_sync_masked(&g, name_of(name, 0), (sync_args){.seen = 2}),
              raw_line("OK 2 DUE %" PRIu32, members));
    for (uint32_t k = 1; k <= 4; k++) {
        check_beat(&g, name_of(name, k * (members - 1) / 4), (sync_args){0},
                   raw_line("ZRANGE %s 0 0 WITHSCORES\n", RAW_KEY(&g.raw, 'l')));
    }
    group_check_settled(&g);
    group_stop(&g);
}

TEST(a_beat_of_4_members) {
    beats_cost_the_same(16, 4);
}

TEST(a_beat_of_100_members) {
    beats_cost_the_same(1024, 100);
}

TEST(a_beat_of_1000_members) {
    beats_cost_the_same(4096, 1000);
}

/* Nobody else's lease can run out. */
TEST(a_beat_of_the_only_member) {
    group g;
    group_start(&g, 4);
    gather(&g, 1);
    CHECK_STR(group_sync(&g, "m0", (sync_args){.seen = 2}), "OK 2 -1 1");
    check_beat(&g, "m0", (sync_args){0}, "");
    group_stop(&g);
}

/* Its own lease is the first to run out, so the second one's end is what it has to know. */
TEST(a_beat_of_the_most_hurried_member) {
    group g;
    group_start(&g, 4);
    gather(&g, 4);
    raw_cmd(&g.raw, "HSET %s m:m3 n|5000|2|host cap 2500", RAW_KEY(&g.raw, 'g'));
    CHECK_STR(group_sync(&g, "m3", (sync_args){.seen = 2, .timeout = 5000}), "OK 2 2480 4");
    check_beat(&g, "m3", (sync_args){.timeout = 5000},
               raw_line("ZRANGE %s 0 0 WITHSCORES\nZRANGE %s 1 1 WITHSCORES\n",
                        RAW_KEY(&g.raw, 'l'), RAW_KEY(&g.raw, 'l')));
    group_stop(&g);
}
