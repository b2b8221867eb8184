/* Every allocation of reading without a group fails in its turn: nothing is returned twice, left
 * out, or told of that did not happen. */
#include "../integ/reader_rig.h"
#include "memory_rig.h"

enum { PARTITIONS = 2, EACH = 9 };

static void fill(seg_client *c) {
    seg_producer *p = rig_producer(c, "s");
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        rig_put(p, (rig_run){.partition = i, .partitions = PARTITIONS, .count = 8});
        rig_put_singly(p,
                       (rig_run){.partition = i, .partitions = PARTITIONS, .first = 8, .count = 1});
    }
    seg_producer_close(p);
}

static seg_status open_it(seg_reader **r, seg_client *c, seg_start start, skips *k,
                          seg_error *err) {
    seg_reader_options o;
    SEG_INIT(&o);
    o.on_skip = note_skip;
    o.skip_arg = k;
    o.start = start;
    o.start_at = 1;
    *r = NULL;
    return seg_reader_open(r, c, "s", &o, err);
}

TEST_DEADLINE(opening_a_reader, 120) {
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", PARTITIONS);
    fill(s.calm);
    while (sweep_more(&s)) {
        seg_reader *r;
        seg_error err;
        skips k = {0};
        sweep_arm(&s);
        seg_status status = open_it(&r, s.client, SEG_AT_TIME, &k, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, r != NULL);
        if (r != NULL)
            expect_run(r, 0, 0, 0, EACH);
        seg_reader_close(r);
    }
    sweep_end(&s);
}

/* What a call that failed would have returned, the same call returns the next time. */
static void read_all(seg_reader *r, unsigned from, seg_status *worst, seg_error *why) {
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (unsigned i = p == 0 ? from : 0; i <= EACH; i++) {
            const seg_message *m = NULL;
            seg_error err;
            if (i == EACH && p + 1 < PARTITIONS)
                break;
            seg_status status = seg_reader_next(&m, r, 0, &err);
            if (status != SEG_OK) {
                *worst = status;
                *why = err;
                WAIT_FOR(RIG_MS, seg_reader_next(&m, r, 0, &err) == SEG_OK);
            }
            CHECK_EQ(m == NULL, i == EACH);
            if (m != NULL) {
                CHECK_EQ(seg_message_delivery(m).partition, p);
                CHECK_EQ(seg_message_delivery(m).id.offset, i);
                CHECK_EQ(rig_number(m), i);
            }
        }
    }
}

TEST_DEADLINE(reading, 120) {
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", PARTITIONS);
    fill(s.calm);
    while (sweep_more(&s)) {
        seg_reader *r;
        seg_error err, why = {.status = SEG_OK};
        seg_status worst = SEG_OK;
        skips k = {0};
        CHECK_OK(open_it(&r, s.client, SEG_EARLIEST, &k, &err), &err);
        sweep_arm(&s);
        read_all(r, 0, &worst, &why);
        sweep_disarm(&s);
        sweep_judge(&s, worst, ASKS, &why);
        CHECK_EQ(k.n, 0);
        seg_reader_close(r);
    }
    sweep_end(&s);
}

/* A seek, and then what it has to ask the server about: messages that are gone. */
TEST_DEADLINE(seeking_and_skipping, 120) {
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", PARTITIONS);
    fill(s.calm);
    server_do(s.server, "XDEL sg:{default/s/0}:log 1-7");
    while (sweep_more(&s)) {
        seg_reader *r;
        seg_error err, why = {.status = SEG_OK};
        skips k = {0};
        CHECK_OK(open_it(&r, s.client, SEG_EARLIEST, &k, &err), &err);
        sweep_arm(&s);
        seg_status worst = seg_reader_seek(r, 0, 5, &why);
        if (worst != SEG_OK)
            WAIT_FOR(RIG_MS, seg_reader_seek(r, 0, 5, &err) == SEG_OK);
        read_all(r, 8, &worst, &why);
        sweep_disarm(&s);
        sweep_judge(&s, worst, ASKS, &why);
        CHECK_EQ(k.n, 1);
        check_skip(&k, 0, SEG_SKIP_MISSING, 0, 5, 3);
        seg_reader_close(r);
    }
    sweep_end(&s);
}
