/* Every allocation of a seek fails in its turn. */
#include "groups.h"

enum { SEEK_PARTITIONS = 2, SEEK_MESSAGES = 24 };

/* Message number n has the timestamp 1000 + n; one batch for each. */
static void put_timed(seg_client *c) {
    seg_producer *p = rig_producer(c, "s");
    for (unsigned n = 0; n < SEEK_MESSAGES; n++) {
        char key[24], value[16];
        seg_error err;
        seg_record r;
        SEG_INIT(&r);
        snprintf(value, sizeof value, "%u", n);
        rig_key(key, n % SEEK_PARTITIONS, SEEK_PARTITIONS);
        r.key = (seg_bytes){key, strlen(key)};
        r.value = (seg_bytes){value, strlen(value)};
        r.timestamp = 1000 + n;
        CHECK_OK(seg_send_async(p, &r, NULL, NULL, &err), &err);
        rig_flush(p);
    }
    seg_producer_close(p);
}

/* Where the messages of that time and later begin, in each partition alike. */
enum { SEEK_PLACE = 7, SEEK_TIME = 1000 + SEEK_PARTITIONS * SEEK_PLACE };

static void check_plan(const seg_seek_plan *plan, uint64_t before) {
    CHECK_EQ(seg_seek_plan_count(plan), SEEK_PARTITIONS);
    for (size_t i = 0; i < SEEK_PARTITIONS; i++) {
        CHECK_EQ(seg_seek_plan_at(plan, i)->before, before);
        CHECK_EQ(seg_seek_plan_at(plan, i)->after, SEEK_PLACE);
    }
}

static void sweep_seeks(bool exists, seg_seek_to to, int64_t value, bool relieved) {
    seg_error err;
    char name[24];
    sweep s;
    sweep_init(&s, relieved);
    rig_stream(s.calm, "s", SEEK_PARTITIONS);
    put_timed(s.calm);
    while (sweep_more(&s)) {
        seg_seek_plan *plan = NULL;
        seg_seek_options o;
        SEG_INIT(&o);
        o.to = to;
        o.value = value;
        o.execute = true;
        sweep_name(&s, name);
        if (exists) {
            make_group(s.calm, "s", name);
        }
        sweep_arm(&s);
        seg_status status = seg_group_seek(&plan, s.client, "s", name, &o, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, CHANGES, &err);
        CHECK_EQ(status == SEG_OK, plan != NULL);
        if (plan != NULL) {
            check_plan(plan, exists ? 0 : UINT64_MAX);
        }
        seg_seek_plan_free(plan);
        if (status == SEG_ENOMEM) { /* nothing has happened */
            CHECK_EQ(group_exists(s.calm, "s", name), exists);
        }
        for (uint32_t p = 0; p < SEEK_PARTITIONS && status == SEG_ENOMEM && exists; p++) {
            CHECK_EQ(rig_cursor(s.calm, "s", name, p).committed, 0);
        }
        WAIT_FOR(RIG_MS, works(s.client));
        if (status != SEG_OK && to != SEG_SEEK_BY) { /* the same call, made again, finishes it */
            plan = NULL;
            WAIT_FOR(RIG_MS, seg_group_seek(&plan, s.client, "s", name, &o, &err) == SEG_OK);
            seg_seek_plan_free(plan);
            status = SEG_OK;
        }
        for (uint32_t p = 0; p < SEEK_PARTITIONS; p++) {
            uint64_t at = rig_cursor(s.calm, "s", name, p).committed;
            CHECK(at == SEEK_PLACE || (status != SEG_OK && at == 0));
        }
    }
    sweep_end(&s);
}

TEST(moving_a_group_on) {
    sweep_seeks(true, SEG_SEEK_BY, SEEK_PLACE, false);
}

TEST(moving_a_group_to_a_time) {
    sweep_seeks(true, SEG_SEEK_TIME, SEEK_TIME, true);
}

TEST(moving_a_group_that_does_not_exist_to_a_time) {
    sweep_seeks(false, SEG_SEEK_TIME, SEEK_TIME, true);
}
