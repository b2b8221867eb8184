/* Records that choose their partition, and their time stamp exactly. */
#include "reader_rig.h"

static seg_record record(const char *key, const uint32_t *partition, const char *value) {
    seg_record r;
    SEG_INIT(&r);
    r.key = (seg_bytes){key, strlen(key)};
    r.value = (seg_bytes){value, strlen(value)};
    r.partition = partition;
    return r;
}

static void queue(desk *d, const char *key, const uint32_t *partition, unsigned number) {
    char text[24];
    seg_error err;
    snprintf(text, sizeof text, "%u", number);
    seg_record r = record(key, partition, text);
    CHECK_OK(seg_send_async(d->p, &r, NULL, NULL, &err), &err);
}

/* Whatever the key says, with one and without, and in the order of the calls. */
TEST(a_partition_is_chosen) {
    enum { P = 8, N = 40 };
    desk *d = desk_new(P);
    seg_reader_options o = reading(d);
    char elsewhere[24];
    rig_key(elsewhere, 2, P);
    for (unsigned i = 0; i < N; i++)
        for (uint32_t p = 0; p < P; p++)
            queue(d, i % 3 == 0 ? "" : elsewhere, &p, 100 * p + i);
    rig_flush(d->p);
    open_reader(d, &o);
    for (uint32_t p = 0; p < P; p++)
        expect_run(d->r, p, 0, 100 * p, N);
    expect_end(d->r);
    desk_free(d);
}

/* Without it, all is as it was: a key's partition, and turns for those without one. */
TEST(between_those_that_do_not) {
    enum { P = 4 };
    desk *d = desk_new(P);
    seg_reader_options o = reading(d);
    char key[24];
    uint32_t other = 1;
    rig_key(key, 3, P);
    queue(d, key, NULL, 1);
    queue(d, key, &other, 2);
    queue(d, key, NULL, 3);
    rig_flush(d->p);
    open_reader(d, &o);
    expect(d->r, 1, 0, 2);
    expect(d->r, 3, 0, 1);
    expect(d->r, 3, 1, 3);
    expect_end(d->r);
    desk_free(d);
}

TEST(a_partition_that_is_not_there) {
    desk *d = desk_new(4);
    seg_error err;
    seg_position at;
    uint32_t partition = 4;
    seg_record r = record("k", &partition, "v");
    CHECK_STATUS(seg_send_async(d->p, &r, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "no partition 4: stream \"s\" has 4");
    CHECK_STATUS(seg_send(d->p, &r, &at, &err), SEG_EINVAL, &err);
    partition = UINT32_MAX;
    CHECK_STATUS(seg_send_async(d->p, &r, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_EQ(rig_messages(d->c, "s"), 0);
    desk_free(d);
}

/* A caller that was built before there was such a thing: its record ends before it. */
TEST(an_older_record) {
    desk *d = desk_new(4);
    seg_reader_options o = reading(d);
    seg_error err;
    uint32_t partition = 77;
    char key[24];
    rig_key(key, 1, 4);
    seg_record r = record(key, &partition, "5");
    r.exact_timestamp = true;
    r.size = offsetof(seg_record, partition);
    CHECK_OK(seg_send_async(d->p, &r, NULL, NULL, &err), &err);
    rig_flush(d->p);
    open_reader(d, &o);
    const seg_message *m = next_of(d->r, 0);
    CHECK(m != NULL);
    CHECK_EQ(seg_message_delivery(m).partition, 1);
    CHECK_GT(seg_message_timestamp(m), 0);
    desk_free(d);
}

/* What is read can be sent again as it was, to the place where it was. */
TEST(exact_time_stamps) {
    static const int64_t times[] = {0, -1, 1, INT64_MIN, INT64_MAX, 1700000000000};
    enum { N = sizeof times / sizeof times[0] };
    desk *d = desk_new(2);
    seg_reader_options o = reading(d);
    seg_error err;
    for (size_t i = 0; i < N; i++) {
        uint32_t partition = 1;
        seg_record r = record("", &partition, "1");
        r.timestamp = times[i];
        r.exact_timestamp = true;
        CHECK_OK(seg_send_async(d->p, &r, NULL, NULL, &err), &err);
    }
    rig_flush(d->p);
    open_reader(d, &o);
    for (size_t i = 0; i < N; i++) {
        const seg_message *m = next_of(d->r, 0);
        CHECK(m != NULL);
        CHECK_EQ(seg_message_timestamp(m), times[i]);
    }
    seg_record plain = record("", NULL, "1");
    plain.timestamp = -1;
    CHECK_STATUS(seg_send_async(d->p, &plain, NULL, NULL, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "negative");
    desk_free(d);
}

/* An output's partition must follow from it; its time may be exact. */
TEST(outputs_do_not_choose) {
    desk *d = desk_new(2);
    seg_error err;
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    uint32_t partition = 1;
    rig_stream(d->c, "t", 2);
    seg_producer *t = rig_producer(d->c, "t");
    rig_put(d->p, (rig_run){.partitions = 2, .count = 1});
    seg_consumer *k = rig_consumer(d->c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, 1);
    seg_record r = record("a", &partition, "7");
    CHECK_STATUS(seg_forward(k, &in->d[0], t, &r, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "partition");
    r.partition = NULL;
    r.timestamp = 0;
    r.exact_timestamp = true;
    CHECK_OK(seg_forward(k, &in->d[0], t, &r, &err), &err);
    rig_ack(k, in->d, 1);
    rig_flush(t);
    rig_commit(k);
    seg_reader *reader;
    CHECK_OK(seg_reader_open(&reader, d->c, "t", NULL, &err), &err);
    const seg_message *m = next_of(reader, RIG_MS);
    CHECK(m != NULL);
    CHECK_EQ(rig_number(m), 7);
    CHECK_EQ(seg_message_timestamp(m), 0);
    CHECK(next_of(reader, 0) == NULL);
    seg_reader_close(reader);
    seg_consumer_close(k);
    seg_producer_close(t);
    free(in);
    desk_free(d);
}
