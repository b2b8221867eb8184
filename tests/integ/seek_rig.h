/* seek_rig.h - what the tests of moving a group share. Every call ends the case where it fails. */
#ifndef SG_TEST_SEEK_RIG_H
#define SG_TEST_SEEK_RIG_H
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* A server, a client, the stream "s", a producer and an empty inbox. */
typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p;
    rig_inbox *in;
    uint32_t partitions;
} bench;

static inline bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in), .partitions = partitions};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    b.p = rig_producer(b.c, "s");
    return b;
}

static inline void tear_down(bench *b) {
    seg_producer_close(b->p);
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

/* The group "g" at the start of everything, without members. */
static inline void make_group(const bench *b) {
    seg_consumer_close(rig_consumer(b->c, "s", &(rig_join){.group = "g"}));
}

static inline seg_seek_options to(seg_seek_to where, int64_t value) {
    seg_seek_options o;
    SEG_INIT(&o);
    o.to = where;
    o.value = value;
    o.execute = true;
    return o;
}

static inline seg_status try_seek(seg_client *c, const char *group, seg_seek_options o,
                                  seg_error *err) {
    seg_seek_plan *plan = NULL;
    seg_status s = seg_group_seek(&plan, c, "s", group, &o, err);
    CHECK_EQ(plan != NULL, s == SEG_OK);
    seg_seek_plan_free(plan);
    return s;
}

static inline seg_seek_plan *must_seek(seg_client *c, const char *group, seg_seek_options o) {
    seg_seek_plan *plan = NULL;
    seg_error err;
    CHECK_OK(seg_group_seek(&plan, c, "s", group, &o, &err), &err);
    return plan;
}

/* Of a plan for one partition: it is 0, and goes from `before` to `after`. */
static inline void check_one(seg_seek_plan *plan, uint64_t before, uint64_t after) {
    CHECK_EQ(seg_seek_plan_count(plan), 1);
    const seg_seek_step *step = seg_seek_plan_at(plan, 0);
    CHECK_EQ(step->partition, 0);
    CHECK_EQ(step->era, 1);
    CHECK_EQ(step->before, before);
    CHECK_EQ(step->after, after);
    CHECK_PTR(seg_seek_plan_at(plan, 1), NULL);
    seg_seek_plan_free(plan);
}

static inline uint64_t committed(const bench *b, const char *group, uint32_t p) {
    return rig_cursor(b->c, "s", group, p).committed;
}

/* The lag of group "g" that the server itself computes for partition p. */
static inline long long native_lag(server *s, uint32_t p) {
    redisReply *r = server_cmd(s, "XINFO GROUPS sg:{default/s/%u}:log", p);
    CHECK_EQ(r->elements, 1);
    long long lag = -1;
    for (size_t i = 0; i + 1 < r->element[0]->elements; i += 2) {
        if (strcmp(r->element[0]->element[i]->str, "lag") == 0) {
            CHECK_EQ(r->element[0]->element[i + 1]->type, REDIS_REPLY_INTEGER);
            lag = r->element[0]->element[i + 1]->integer;
        }
    }
    freeReplyObject(r);
    return lag;
}

static inline void must_be_stored(seg_status status, const seg_position *where,
                                  const seg_error *err, void *arg) {
    (void)where;
    (void)arg;
    CHECK_OK(status, err);
}

/* One batch of `n` messages with these times. */
static inline void put_times(const bench *b, uint32_t partition, size_t n, const int64_t times[]) {
    char key[24];
    seg_record r;
    seg_error err;
    rig_key(key, partition, b->partitions);
    SEG_INIT(&r);
    r.key = (seg_bytes){key, strlen(key)};
    for (size_t i = 0; i < n; i++) {
        r.timestamp = times[i];
        CHECK_OK(seg_send_async(b->p, &r, must_be_stored, NULL, &err), &err);
    }
    CHECK_OK(seg_producer_flush(b->p, RIG_MS, &err), &err);
}
#endif
