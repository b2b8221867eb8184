#include "groups_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

enum { MEMBERS_MAX = 1024, BACK_MAX = 4096 };

void group_start(group *g, uint32_t partitions) {
    raw_start(&g->raw);
    g->partitions = partitions;
    /* group_sync needs no partition's keys: only the meta says how many there are. */
    raw_create_stream(&g->raw, 1, 100, "block");
    raw_cmd(&g->raw, "HSET %s partitions %u", RAW_KEY(&g->raw, 'm'), partitions);
    raw_create_group(&g->raw, 1, "earliest");
}

void group_stop(group *g) {
    raw_stop(&g->raw);
}

redisReply *group_sync_reply(const group *g, const char *member, sync_args a, size_t n_back,
                             const char *const back[]) {
    static const char *args[10 + BACK_MAX];
    sg_key wake = raw_key(&g->raw, 'w');
    char numbers[3][24];
    CHECK_LE(n_back, BACK_MAX);
    snprintf(numbers[0], sizeof numbers[0], "%lld", a.timeout ? a.timeout : 10000);
    snprintf(numbers[1], sizeof numbers[1], "%lld", a.seen);
    snprintf(numbers[2], sizeof numbers[2], "%lld", a.floor);
    args[0] = a.inc ? a.inc : RAW_INC;
    args[1] = a.gid ? a.gid : RAW_GID;
    args[2] = a.op ? a.op : "beat";
    args[3] = member;
    args[4] = a.nonce ? a.nonce : "n";
    args[5] = numbers[0];
    args[6] = numbers[1];
    args[7] = "host";
    args[8] = numbers[2];
    args[9] = wake.text;
    for (size_t i = 0; i < n_back; i++) {
        args[10 + i] = back[i];
    }
    return raw_call_argv(&g->raw, "group_sync", 10 + n_back, args);
}

/* Grants come in no order: in that of the partitions they can be compared. */
static const char *line_of(const group *g, redisReply *reply, bool masked) {
    char text[4096];
    int at = 0;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4) {
        return raw_text(reply);
    }
    redisReply **e = reply->element;
    at += snprintf(text, sizeof text, "%s %s %s %lld", e[0]->str, e[1]->str,
                   masked && strcmp(e[2]->str, "-1") != 0 ? "DUE" : e[2]->str, e[3]->integer);
    if (reply->elements == 5 && e[4]->elements == 0) {
        at += snprintf(text + at, sizeof text - (size_t)at, " ");
    }
    for (uint32_t p = 0; reply->elements == 5 && p < g->partitions; p++) {
        redisReply **list = e[4]->element;
        for (size_t i = 0; i < e[4]->elements; i += 3) {
            if (strtoul(list[i]->str, NULL, 10) == p) {
                at += snprintf(text + at, sizeof text - (size_t)at, " %s:%s:%s", list[i]->str,
                               list[i + 1]->str, list[i + 2]->str);
            }
        }
    }
    freeReplyObject(reply);
    return raw_line("%s", text);
}

const char *group_sync(const group *g, const char *member, sync_args a) {
    return line_of(g, group_sync_reply(g, member, a, a.back ? 1 : 0, &a.back), false);
}

const char *group_sync_masked(const group *g, const char *member, sync_args a) {
    return line_of(g, group_sync_reply(g, member, a, a.back ? 1 : 0, &a.back), true);
}

long long group_due(const char *answer) {
    long long due;
    CHECK_EQ(sscanf(answer, "OK %*d %lld", &due), 1);
    return due;
}

const char *group_part(const group *g, uint32_t partition) {
    return raw_cmd(&g->raw, "HGET %s %u", RAW_KEY(&g->raw, 'p'), partition);
}

void group_pass(const group *g, long long ms) {
    raw_cmd(&g->raw, "HINCRBY %s wall %lld", RAW_KEY(&g->raw, 'g'), -ms);
}

/* One beat, and a second one that hands back what the first one's list says is to be given.
 * Returns how much that was. */
static size_t beat_and_hand_back(const group *g, const char *member) {
    static char text[BACK_MAX][32];
    static const char *back[BACK_MAX];
    size_t n = 0;
    redisReply *reply = group_sync_reply(g, member, (sync_args){.seen = 0}, 0, NULL);
    CHECK_EQ(reply->elements, 5);
    const redisReply *list = reply->element[4];
    for (size_t i = 0; i < list->elements; i += 3) {
        if (strcmp(list->element[i + 2]->str, "give") == 0) {
            snprintf(text[n], sizeof text[n], "%s:%s", list->element[i]->str,
                     list->element[i + 1]->str);
            back[n] = text[n];
            n++;
        }
    }
    freeReplyObject(reply);
    if (n > 0) {
        freeReplyObject(group_sync_reply(g, member, (sync_args){.seen = 0}, n, back));
    }
    return n;
}

void group_settle(const group *g, size_t n, const char *const members[]) {
    size_t moved = 1;
    for (int round = 0; moved > 0; round++) {
        CHECK_LE(round, 2); /* one round hands everything back, the next finds nothing */
        moved = 0;
        for (size_t i = 0; i < n; i++) {
            moved += beat_and_hand_back(g, members[i]);
        }
    }
    group_check_settled(g);
}

void group_check_settled(const group *g) {
    redisReply *names = raw_cmd_reply(&g->raw, "ZRANGE %s 0 -1", RAW_KEY(&g->raw, 'l'));
    redisReply *parts = raw_cmd_reply(&g->raw, "HGETALL %s", RAW_KEY(&g->raw, 'p'));
    static size_t sizes[MEMBERS_MAX];
    size_t n = names->elements, most = 0, least = SIZE_MAX;
    CHECK_LE(n, MEMBERS_MAX);
    CHECK_EQ(parts->elements / 2, g->partitions);
    memset(sizes, 0, sizeof sizes);
    for (size_t i = 1; i < parts->elements; i += 2) {
        char owner[201] = "", target[201] = "";
        CHECK_EQ(sscanf(parts->element[i]->str, "%200[^|]|%*u|%200s", owner, target), 2);
        CHECK_STR(owner, target);
        size_t k = 0;
        while (k < n && strcmp(names->element[k]->str, owner) != 0) {
            k++;
        }
        CHECK_LT(k, n);
        sizes[k]++;
    }
    for (size_t k = 0; k < n; k++) {
        most = sizes[k] > most ? sizes[k] : most;
        least = sizes[k] < least ? sizes[k] : least;
    }
    CHECK_LE(most - least, 1);
    freeReplyObject(names);
    freeReplyObject(parts);
}
