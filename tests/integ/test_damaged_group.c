/* A group whose keys on the server somebody wrote over, or deleted: it is named with what is wrong and with the way out,
 * hides no other, and can be deleted and created anew. */
#include <stdlib.h>
#include <string.h>

#include "seek_rig.h"

#define WAY_OUT                                                                                    \
    ": delete it (segmenter group rm g -s s --yes), then it is created anew where it starts"

/* What is written over, and how it is told. */
typedef struct damage {
    const char *command;
    const char *what;
    bool beats; /* a consumer that has all it wants does not come by it */
} damage;

#define GROUP "sg:{default/s}:group:g"
static const damage DAMAGES[] = {
    {"HSET " GROUP " clock x", "its clock is no number", false},
    {"HSET " GROUP " epoch x", "its epoch is no number", false},
    {"HDEL " GROUP " wall", "its wall is no number", false},
    {"SET " GROUP " x", "its hash is of another type", false},
    {"SET " GROUP ":leases x", "its leases are of another type", false},
    {"SET " GROUP ":parts x", "its parts are of another type", true},
    {"HSET " GROUP ":parts 0 x", "what it knows of a partition makes no sense", true},
};

enum { DAMAGED = sizeof DAMAGES / sizeof *DAMAGES };

static void ruin(const bench *b, const damage *d) {
    server_do(b->s, d->command);
}

static seg_groups *overview(const bench *b) {
    seg_groups *all = NULL;
    seg_error err;
    CHECK_OK(seg_group_overview(&all, b->c, "s", &err), &err);
    return all;
}

static void check_unknown(const seg_group_summary *s) {
    CHECK_STR(s->group, "g");
    CHECK_EQ(s->status, SEG_ELOST);
    CHECK_EQ(s->members, SEG_UNKNOWN);
    CHECK_EQ(s->lag, SEG_UNKNOWN);
    CHECK_EQ(s->epoch, SEG_UNKNOWN);
    CHECK_EQ(s->committed, SEG_UNKNOWN);
    CHECK_EQ(s->unowned, s->partitions);
}

/* Another group beside it, and six messages of which it has four. */
static bench damaged_bench(void) {
    bench b = set_up(1);
    seg_producer *p = rig_producer(b.c, "s");
    rig_put(p, (rig_run){.partitions = 1, .count = 6});
    seg_producer_close(p);
    seg_consumer_close(rig_consumer(b.c, "s", &(rig_join){.group = "a"}));
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .name = "x"});
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_take(k, in, 6);
    rig_ack(k, in->d, 4);
    rig_commit(k);
    seg_consumer_close(k);
    free(in);
    return b;
}

/* Until it has the partition: the messages that are left to it come. */
static void take_rest(seg_consumer *k, size_t n) {
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_take(k, in, n);
    free(in);
}

static void check_told(const bench *b, const damage *d) {
    seg_group_info *g = NULL;
    seg_seek_plan *plan = NULL;
    seg_consumer *k = NULL;
    seg_error err;
    CHECK_STATUS(seg_group_describe(&g, b->c, "s", "g", &err), SEG_EPROTO, &err);
    CHECK_CONTAINS(err.text, "group \"g\" of stream \"s\" is damaged on the server: ");
    CHECK_CONTAINS(err.text, d->what);
    CHECK_CONTAINS(err.text, WAY_OUT);
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = SEG_SEEK_START;
    CHECK_STATUS(seg_group_seek(&plan, b->c, "s", "g", &o, &err), SEG_EPROTO, &err);
    CHECK_CONTAINS(err.text, d->what);
    CHECK_CONTAINS(err.text, WAY_OUT);
    if (rig_try_consumer(&k, b->c, "s", &(rig_join){.group = "g", .name = "y"}, &err) == SEG_OK)
        rig_expect_end(k, SEG_EPROTO, &err);
    CHECK_STATUS(err.status, SEG_EPROTO, &err);
    CHECK_CONTAINS(err.text, d->what);
    CHECK_CONTAINS(err.text, WAY_OUT);
    seg_consumer_close(k);
    seg_groups *all = overview(b);
    CHECK_EQ(seg_groups_count(all), 2);
    CHECK_EQ(seg_groups_at(all, 0)->status, SEG_OK);
    CHECK_EQ(seg_groups_at(all, 0)->lag, 6);
    check_unknown(seg_groups_at(all, 1));
    seg_groups_free(all);
}

/* Deleted, it is a new one: it begins where it starts, and holds nothing back. */
static void check_repaired(const bench *b) {
    seg_error err;
    CHECK_OK(seg_group_delete(b->c, "s", "g", &err), &err);
    CHECK_STATUS(seg_group_delete(b->c, "s", "g", &err), SEG_ENOENT, &err);
    CHECK_PTR(server_str(b->s, "ZSCORE sg:{default/s/0}:committed g"), NULL);
    CHECK_EQ(server_int(b->s, "EXISTS " GROUP " " GROUP ":leases " GROUP ":parts"), 0);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(b->c, "s", &(rig_join){.group = "g"});
    rig_drain(k, in, 6);
    seg_consumer_close(k);
    free(in);
}

TEST(it_is_told_and_deleted) {
    for (size_t i = 0; i < DAMAGED; i++) {
        bench b = damaged_bench();
        ruin(&b, &DAMAGES[i]);
        check_told(&b, &DAMAGES[i]);
        check_repaired(&b);
        tear_down(&b);
    }
}

/* Its consumer ends with its next heartbeat, or, where that comes by nothing damaged, goes on until the members are
 * others. */
TEST(a_consumer_ends) {
    for (size_t i = 0; i < DAMAGED; i++) {
        bench b = damaged_bench();
        seg_error err;
        seg_consumer *k =
            rig_consumer(b.c, "s", &(rig_join){.group = "g", .session_timeout = 1000});
        take_rest(k, 2);
        ruin(&b, &DAMAGES[i]);
        if (DAMAGES[i].beats) {
            seg_producer *p = rig_producer(b.c, "s");
            rig_put(p, (rig_run){.partitions = 1, .first = 6, .count = 1});
            seg_producer_close(p);
            take_rest(k, 1);
        } else {
            rig_expect_end(k, SEG_EPROTO, &err);
            CHECK_CONTAINS(err.text, DAMAGES[i].what);
            CHECK_CONTAINS(err.text, WAY_OUT);
        }
        seg_consumer_close(k);
        tear_down(&b);
    }
}

/* Nobody can tell whether it has live members: deleting it is the only way to repair it. */
TEST(one_whose_liveness_cannot_be_told_is_deleted) {
    static const char *const commands[] = {"HSET " GROUP " clock x", "SET " GROUP " x",
                                           "SET " GROUP ":leases x"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        bench b = damaged_bench();
        seg_error err;
        seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
        take_rest(k, 2);
        CHECK_STATUS(seg_group_delete(b.c, "s", "g", &err), SEG_EEXIST, &err);
        server_do(b.s, commands[i]);
        check_repaired(&b);
        seg_consumer_close(k);
        tear_down(&b);
    }
}

/* Its hash is gone: its place in the partitions still holds the stream back. */
TEST(a_group_whose_hash_is_gone_is_seen) {
    bench b = damaged_bench();
    seg_group_info *g = NULL;
    seg_consumer *k = NULL;
    seg_error err;
    server_do(b.s, "DEL " GROUP);
    char *low = server_str(b.s, "HGET sg:{default/s/0}:state low");
    CHECK_STR(low, "0"); /* of the group "a" */
    free(low);
    CHECK_STATUS(seg_group_describe(&g, b.c, "s", "g", &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, "it is listed, and its hash is gone" WAY_OUT);
    CHECK_STATUS(rig_try_consumer(&k, b.c, "s", &(rig_join){.group = "g"}, &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, WAY_OUT);
    seg_seek_plan *plan = NULL;
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = SEG_SEEK_START;
    CHECK_STATUS(seg_group_seek(&plan, b.c, "s", "g", &o, &err), SEG_ELOST, &err);
    CHECK_CONTAINS(err.text, WAY_OUT);
    seg_groups *all = overview(&b);
    CHECK_EQ(seg_groups_count(all), 2);
    check_unknown(seg_groups_at(all, 1));
    seg_groups_free(all);
    check_repaired(&b);
    all = overview(&b);
    CHECK_EQ(seg_groups_at(all, 1)->status, SEG_OK);
    seg_groups_free(all);
    tear_down(&b);
}
