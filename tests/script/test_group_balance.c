/* group_sync.lua: how partitions are shared out: evenly, and with as few moves as can be. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "groups_rig.h"
#include "test.h"

enum { MEMBERS_MAX = 24, PARTITIONS_MAX = 256, NAME = 16 };

struct people {
    char text[MEMBERS_MAX][NAME];
    const char *names[MEMBERS_MAX];
    size_t n;
};

static void come(struct people *all, int number) {
    CHECK_LT(all->n, MEMBERS_MAX);
    snprintf(all->text[all->n], NAME, "m%d", number);
    all->n++;
    for (size_t i = 0; i < all->n; i++) {
        all->names[i] = all->text[i];
    }
}

static void go(struct people *all, size_t k) {
    memmove(all->text + k, all->text + k + 1, (all->n - k - 1) * NAME);
    all->n--;
}

struct targets {
    char of[PARTITIONS_MAX][NAME];
};

static struct targets targets_of(const group *g) {
    struct targets t = {.of = {""}};
    CHECK_LE(g->partitions, PARTITIONS_MAX);
    redisReply *parts = raw_cmd_reply(&g->raw, "HGETALL %s", RAW_KEY(&g->raw, 'p'));
    for (size_t i = 0; i < parts->elements; i += 2) {
        const char *value = parts->element[i + 1]->str;
        unsigned long p = strtoul(parts->element[i]->str, NULL, 10);
        CHECK_LT(p, g->partitions);
        snprintf(t.of[p], NAME, "%s", strrchr(value, '|') + 1);
    }
    freeReplyObject(parts);
    return t;
}

/* How many targets changed, and that all that did were from `from` (if not NULL) or to `to`. */
static size_t moved(const group *g, const struct targets *a, const struct targets *b,
                    const char *from, const char *to) {
    size_t n = 0;
    for (uint32_t p = 0; p < g->partitions; p++) {
        if (strcmp(a->of[p], b->of[p]) != 0) {
            if (from) {
                CHECK_STR(a->of[p], from);
            }
            if (to) {
                CHECK_STR(b->of[p], to);
            }
            n++;
        }
    }
    return n;
}

static size_t owned(const group *g, const struct targets *t, const char *name) {
    size_t n = 0;
    for (uint32_t p = 0; p < g->partitions; p++) {
        n += strcmp(t->of[p], name) == 0;
    }
    return n;
}

/* A member joins a settled group: exactly its share moves, and to nobody else. */
static void join_and_check(group *g, struct people *all, int number) {
    struct targets before = targets_of(g);
    come(all, number);
    const char *name = all->text[all->n - 1];
    group_sync(g, name, (sync_args){.op = "join"});
    struct targets after = targets_of(g);
    CHECK_EQ(moved(g, &before, &after, NULL, name), g->partitions / all->n);
    group_settle(g, all->n, all->names);
    struct targets settled = targets_of(g);
    CHECK_EQ(moved(g, &after, &settled, NULL, NULL), 0);
}

/* A member leaves a settled group: only what was its moves. */
static void leave_and_check(group *g, struct people *all, size_t k) {
    struct targets before = targets_of(g);
    char name[NAME];
    snprintf(name, sizeof name, "%s", all->text[k]);
    group_sync(g, name, (sync_args){.op = "leave"});
    go(all, k);
    struct targets after = targets_of(g);
    CHECK_EQ(moved(g, &before, &after, name, NULL), owned(g, &before, name));
    if (all->n > 0) {
        group_check_settled(g); /* nobody has to hand anything back: the leaver has */
    }
}

static void grow_and_shrink(uint32_t partitions, int members) {
    sg_rng rng = {test_seed()};
    struct people all = {.n = 0};
    group g;
    group_start(&g, partitions);
    for (int i = 0; i < members; i++) {
        join_and_check(&g, &all, i);
    }
    while (all.n > 0) {
        leave_and_check(&g, &all, (size_t)sg_rng_below(&rng, all.n));
    }
    group_stop(&g);
}

TEST(grow_and_shrink_14_by_9) {
    grow_and_shrink(14, 9);
}

TEST(grow_and_shrink_5_by_4) {
    grow_and_shrink(5, 4);
}

TEST(grow_and_shrink_2_by_3) {
    grow_and_shrink(2, 3);
}

TEST(grow_and_shrink_1_by_5) {
    grow_and_shrink(1, 5);
}

TEST(grow_and_shrink_100_by_20) {
    grow_and_shrink(100, 20);
}

TEST(by_chance_each_move_is_minimal) {
    sg_rng rng = {test_seed()};
    struct people all = {.n = 0};
    group g;
    group_start(&g, 1 + (uint32_t)sg_rng_below(&rng, 40));
    for (int i = 0; i < 150; i++) {
        if (all.n == 0 || (all.n < 20 && sg_rng_below(&rng, 2))) {
            join_and_check(&g, &all, i);
        } else {
            leave_and_check(&g, &all, (size_t)sg_rng_below(&rng, all.n));
        }
    }
    group_stop(&g);
}

/* Several come before anybody has handed anything back: sizes are right at each step, and when all
 * is settled, nobody ever had a partition that was not its own in the end but the first owner. */
TEST(many_join_at_once) {
    struct people all = {.n = 0};
    group g;
    group_start(&g, 14);
    for (int i = 0; i < 9; i++) {
        come(&all, i);
        group_sync(&g, all.text[i], (sync_args){.op = "join"});
        struct targets t = targets_of(&g);
        for (size_t k = 0; k < all.n; k++) {
            CHECK_GE(owned(&g, &t, all.text[k]), 14 / all.n);
            CHECK_LE(owned(&g, &t, all.text[k]), (14 + all.n - 1) / all.n);
        }
    }
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), 14); /* nothing was given twice */
    group_settle(&g, all.n, all.names);
    CHECK_LE(raw_number(&g.raw, 'g', "epoch"), 14 + 13);
    group_stop(&g);
}

/* Two members whose partitions are on their way to each other, or to a third one. */
static void arrange(const group *g, const char *first, const char *second, const char *third) {
    raw_cmd(&g->raw, "HSET %s 0 %s 1 %s 2 %s", RAW_KEY(&g->raw, 'p'), first, second, third);
    raw_cmd(&g->raw, "HSET %s epoch 100", RAW_KEY(&g->raw, 'g'));
}

TEST(what_is_on_its_way_already_goes_first) {
    group g;
    group_start(&g, 3);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    arrange(&g, "a|1|b", "a|2|a", "a|3|a");
    group_sync(&g, "c", (sync_args){.op = "join"}); /* a keeps one, and not the one it is to give */
    CHECK_NE(strcmp(group_part(&g, 0), "a|1|a"), 0);
    CHECK_STR(group_part(&g, 1), "a|2|a");
    group_stop(&g);
}

TEST(what_the_leaver_was_to_give_arrives_where_it_was_to_go) {
    group g;
    group_start(&g, 3);
    group_sync(&g, "a", (sync_args){.op = "join"});
    group_sync(&g, "b", (sync_args){.op = "join"});
    group_sync(&g, "c", (sync_args){.op = "join"});
    arrange(&g, "a|1|a", "a|2|c", "a|3|b");
    group_sync(&g, "a", (sync_args){.op = "leave"});
    CHECK_EQ(strncmp(group_part(&g, 1), "c|", 2), 0);
    CHECK_EQ(strncmp(group_part(&g, 2), "b|", 2), 0);
    group_check_settled(&g);
    group_stop(&g);
}

/* ---- the largest -------------------------------------------------------------------------- */

enum { MANY = 1000, LARGEST = 4096 };

/* 999 members as their joins would have left them, with nothing shared out yet. */
static void preload(const group *g) {
    for (int i = 0; i < MANY - 1; i++) {
        redisAppendCommand(g->raw.c, "HSET %s m:m%d n|100000|1|host", RAW_KEY(&g->raw, 'g'), i);
        redisAppendCommand(g->raw.c, "ZADD %s 100000 m%d", RAW_KEY(&g->raw, 'l'), i);
    }
    for (int i = 0; i < 2 * (MANY - 1); i++) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(g->raw.c, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
    }
}

TEST(the_largest_stream_and_group) {
    group g;
    group_start(&g, LARGEST);
    preload(&g);
    int64_t begin = test_now_ms();
    group_sync(&g, "last", (sync_args){.op = "join", .timeout = 100000});
    printf("4096 partitions over 1000 members: %lld ms\n", (long long)(test_now_ms() - begin));
    group_check_settled(&g); /* all were free: given at once */
    CHECK_EQ(raw_number(&g.raw, 'g', "epoch"), LARGEST);

    begin = test_now_ms();
    group_sync(&g, "m7", (sync_args){.op = "leave"});
    printf("one of them leaves: %lld ms\n", (long long)(test_now_ms() - begin));
    group_check_settled(&g);
    CHECK_LE(raw_number(&g.raw, 'g', "epoch"), LARGEST + 5);

    begin = test_now_ms();
    for (int i = 0; i < 1000; i++) {
        long long version = i == 0 ? 0 : 2;
        freeReplyObject(
            group_sync_reply(&g, "last", (sync_args){.timeout = 100000, .seen = version}, 0, NULL));
    }
    printf("1000 beats with nothing changed: %lld ms\n", (long long)(test_now_ms() - begin));
    group_stop(&g);
}
