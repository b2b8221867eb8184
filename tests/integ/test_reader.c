/* Reading without a group: from where, in which order, up to where, and that nothing is changed. */
#include <pthread.h>

#include "reader_rig.h"

static void put(desk *d, uint32_t partition, uint32_t partitions, unsigned first, unsigned count) {
    rig_put(d->p,
            (rig_run){
                .partition = partition, .partitions = partitions, .first = first, .count = count});
}

TEST(all_of_one_partition) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    const seg_reader_place *at;
    open_reader(d, &o);
    expect_end(d->r);
    put(d, 0, 1, 0, 10);
    rig_put_singly(d->p, (rig_run){.partitions = 1, .first = 10, .count = 90});
    expect_run(d->r, 0, 0, 0, 100);
    expect_end(d->r);
    expect_end(d->r);
    open_reader(d, &o);
    CHECK((at = seg_reader_place_at(d->r, 0)) != NULL);
    CHECK(seg_reader_place_at(d->r, 1) == NULL);
    CHECK_EQ(at->first, 0);
    CHECK_EQ(at->next, 100);
    CHECK_EQ(at->at, 0);
    CHECK_EQ(at->era, 1);
    expect_run(d->r, 0, 0, 0, 100);
    expect_end(d->r);
    CHECK((at = seg_reader_place_at(d->r, 0)) != NULL);
    CHECK_EQ(at->at, 100);
    CHECK_EQ(at->next, 100);
    CHECK_EQ(stats_of(d->r).messages, 100);
    CHECK_EQ(stats_of(d->r).prefetched_bytes, 0);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

/* Partition by partition, whatever their sizes are; some are empty. */
TEST(all_of_many_partitions) {
    enum { P = 64 };
    desk *d = desk_new(P);
    seg_reader_options o = reading(d);
    for (uint32_t p = 0; p < P; p++)
        if (p % 5 != 0) {
            put(d, p, P, 100 * p, p);
            rig_put_singly(
                d->p,
                (rig_run){.partition = p, .partitions = P, .first = 100 * p + p, .count = p % 7});
        }
    open_reader(d, &o);
    for (uint32_t p = 0; p < P; p++)
        if (p % 5 != 0)
            expect_run(d->r, p, 0, 100 * p, p + p % 7);
    expect_end(d->r);
    put(d, 5, P, 7, 3);
    put(d, 3, P, 9, 1);
    expect(d->r, 3, 6, 9);
    expect_run(d->r, 5, 0, 7, 3);
    expect_end(d->r);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

TEST(chosen_partitions_in_the_order_asked_for) {
    desk *d = desk_new(8);
    seg_reader_options o = reading(d);
    uint32_t chosen[] = {6, 1};
    const seg_reader_place *at;
    for (uint32_t p = 0; p < 8; p++)
        put(d, p, 8, 10 * p, 5);
    o.partitions = chosen;
    o.n_partitions = 2;
    open_reader(d, &o);
    CHECK((at = seg_reader_place_at(d->r, 0)) != NULL);
    CHECK_EQ(at->partition, 6);
    expect_run(d->r, 6, 0, 60, 5);
    expect_run(d->r, 1, 0, 10, 5);
    expect_end(d->r);
    desk_free(d);
}

TEST(keys_headers_and_times) {
    desk *d = desk_new(4);
    seg_error err;
    const seg_message *m;
    seg_bytes name, value;
    const seg_bytes headers[] = {{"a", 1}, {"1", 1}, {"b", 1}, {"", 0}};
    seg_record r;
    uint32_t partition = 3;
    SEG_INIT(&r);
    r.key = (seg_bytes){"key", 3};
    r.value = (seg_bytes){"value", 5};
    r.headers = headers;
    r.n_headers = 2;
    r.timestamp = -5;
    r.exact_timestamp = true;
    r.partition = &partition;
    CHECK_OK(seg_send_async(d->p, &r, NULL, NULL, &err), &err);
    rig_flush(d->p);
    open_reader(d, NULL);
    m = next_of(d->r, 0);
    CHECK(m != NULL);
    CHECK_EQ(seg_message_delivery(m).partition, 3);
    CHECK_EQ(seg_message_timestamp(m), -5);
    CHECK_MEM(seg_message_key(m).data, seg_message_key(m).len, "key", 3);
    CHECK_MEM(seg_message_value(m).data, seg_message_value(m).len, "value", 5);
    CHECK_EQ(seg_message_headers(m), 2);
    CHECK(seg_message_header(m, 1, &name, &value));
    CHECK_MEM(name.data, name.len, "b", 1);
    CHECK_EQ(value.len, 0);
    expect_end(d->r);
    desk_free(d);
}

/* ---- From where ----------------------------------------------------------------------------- */

TEST(from_an_offset_in_the_middle_of_a_batch) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    for (unsigned i = 0; i < 10; i++)
        put(d, 0, 1, 10 * i, 10);
    o.start = SEG_AT_OFFSET;
    o.start_at = 57;
    open_reader(d, &o);
    expect_run(d->r, 0, 57, 57, 43);
    expect_end(d->r);
    o.start_at = 100000; /* the nearest there is */
    open_reader(d, &o);
    expect_end(d->r);
    put(d, 0, 1, 100, 1);
    expect(d->r, 0, 100, 100);
    desk_free(d);
}

static void send_at(seg_producer *p, int64_t time, unsigned number) {
    char text[24];
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.timestamp = time;
    r.value = (seg_bytes){text, (size_t)snprintf(text, sizeof text, "%u", number)};
    CHECK_OK(seg_send_async(p, &r, NULL, NULL, &err), &err);
}

TEST(from_a_time) {
    desk *d = desk_new(1);
    seg_reader_options o = reading(d);
    for (unsigned i = 0; i < 100; i++) {
        send_at(d->p, 1000 + 10 * i, i);
        if (i % 7 == 6)
            rig_flush(d->p);
    }
    rig_flush(d->p);
    o.start = SEG_AT_TIME;
    o.start_at = 1501;
    open_reader(d, &o);
    expect_run(d->r, 0, 51, 51, 49);
    expect_end(d->r);
    o.start_at = 5000;
    open_reader(d, &o);
    expect_end(d->r);
    desk_free(d);
}

TEST(from_the_end_and_before_it) {
    desk *d = desk_new(2);
    seg_reader_options o = reading(d);
    put(d, 0, 2, 0, 30);
    put(d, 1, 2, 100, 3);
    o.start = SEG_LATEST;
    open_reader(d, &o);
    expect_end(d->r);
    put(d, 0, 2, 30, 1);
    expect(d->r, 0, 30, 30);
    o.last = 5;
    open_reader(d, &o);
    expect_run(d->r, 0, 26, 26, 5);
    expect_run(d->r, 1, 0, 100, 3); /* as many as there are */
    expect_end(d->r);
    desk_free(d);
}

TEST(seeking) {
    desk *d = desk_new(2);
    seg_reader_options o = reading(d);
    const seg_reader_place *at;
    seg_error err;
    put(d, 0, 2, 0, 50);
    put(d, 1, 2, 100, 50);
    o.start = SEG_LATEST;
    open_reader(d, &o);
    CHECK_OK(seg_reader_seek(d->r, 1, 20, &err), &err);
    expect_run(d->r, 1, 20, 120, 5);
    CHECK_OK(seg_reader_seek(d->r, 1, 49, &err), &err); /* in the middle of what was read ahead */
    CHECK((at = seg_reader_place_at(d->r, 1)) != NULL);
    CHECK_EQ(at->at, 49);
    expect(d->r, 1, 49, 149);
    expect_end(d->r);
    CHECK_OK(seg_reader_seek(d->r, 0, 0, &err), &err);
    CHECK_OK(seg_reader_seek(d->r, 1, 48, &err), &err);
    unsigned n[2] = {0};
    for (const seg_message *m; (m = next_of(d->r, 0)) != NULL;)
        n[seg_message_delivery(m).partition]++;
    CHECK_EQ(n[0], 50);
    CHECK_EQ(n[1], 2);
    CHECK_OK(seg_reader_seek(d->r, 1, 50, &err), &err);
    expect_end(d->r);
    CHECK_STATUS(seg_reader_seek(d->r, 1, 51, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "behind the end");
    CHECK_STATUS(seg_reader_seek(d->r, 2, 0, &err), SEG_EINVAL, &err);
    desk_free(d);
}

/* ---- Up to where ---------------------------------------------------------------------------- */

TEST(up_to_the_ends_as_they_were) {
    desk *d = desk_new(4);
    seg_reader_options o = reading(d);
    seg_error err;
    put(d, 0, 4, 0, 10);
    put(d, 2, 4, 20, 10);
    o.ends = true;
    open_reader(d, &o);
    put(d, 0, 4, 10, 10);
    put(d, 3, 4, 30, 10);
    expect_run(d->r, 0, 0, 0, 10);
    expect_run(d->r, 2, 0, 20, 10);
    CHECK(next_of(d->r, SEG_FOREVER) == NULL);
    CHECK_OK(seg_reader_seek(d->r, 2, 8, &err), &err);
    expect_run(d->r, 2, 8, 28, 2);
    CHECK(next_of(d->r, SEG_FOREVER) == NULL);
    desk_free(d);
}

static void *send_later(void *arg) {
    desk *d = arg;
    for (unsigned i = 0; i < 200; i++)
        rig_put(d->p, (rig_run){.partition = i % 16, .partitions = 16, .first = i, .count = 1});
    return NULL;
}

TEST(following) {
    desk *d = desk_new(16);
    seg_reader_options o = reading(d);
    pthread_t t;
    open_reader(d, &o);
    CHECK(next_of(d->r, 20) == NULL);
    CHECK_EQ(pthread_create(&t, NULL, send_later, d), 0);
    uint64_t seen[16] = {0};
    for (unsigned i = 0; i < 200; i++) {
        const seg_message *m = next_of(d->r, SEG_FOREVER);
        seg_delivery at = seg_message_delivery(m);
        CHECK_EQ(at.id.offset, seen[at.partition]++);
        CHECK_EQ(rig_number(m), at.id.offset * 16 + at.partition);
    }
    pthread_join(t, NULL);
    CHECK(next_of(d->r, 20) == NULL);
    desk_free(d);
}

/* One that waits asks once, and is answered as soon as there is something. */
TEST(waiting_costs_nothing) {
    desk *d = desk_new(16);
    seg_reader_options o = reading(d);
    open_reader(d, &o);
    expect_end(d->r);
    long long before = rig_calls(d->s, "xread");
    CHECK(next_of(d->r, 300) == NULL);
    CHECK_LE(rig_calls(d->s, "xread") - before, 8);
    desk_free(d);
}

static void *wait_for_it(void *arg) {
    desk *d = arg;
    const seg_message *m;
    seg_error err;
    CHECK_STATUS(seg_reader_next(&m, d->r, SEG_FOREVER, &err), SEG_ECLOSED, &err);
    CHECK_STATUS(seg_reader_next(&m, d->r, 0, &err), SEG_ECLOSED, &err);
    return NULL;
}

TEST(stopping) {
    desk *d = desk_new(4);
    const seg_message *m;
    pthread_t t;
    seg_error err;
    open_reader(d, NULL);
    CHECK_EQ(pthread_create(&t, NULL, wait_for_it, d), 0);
    WAIT_FOR(RIG_MS, server_info(d->s, "blocked_clients") == 1);
    CHECK_STATUS(seg_reader_next(&m, d->r, 0, &err), SEG_EBUSY, &err);
    CHECK_STATUS(seg_reader_seek(d->r, 0, 0, &err), SEG_EBUSY, &err);
    seg_reader_stop(d->r);
    pthread_join(t, NULL);
    desk_free(d);
}

/* ---- What is read, and what it costs -------------------------------------------------------- */

/* Large and compressed batches, and less room than one of them takes. */
TEST(more_than_fits) {
    desk *d = desk_new(4);
    seg_reader_options o = reading(d);
    seg_producer_options po;
    seg_producer *p, *plain;
    seg_error err;
    static char big[300000];
    memset(big, ' ', sizeof big);
    SEG_INIT(&po);
    CHECK_OK(seg_producer_open(&plain, d->c, "s", &po, &err), &err);
    po.codec = SEG_LZ4;
    CHECK_OK(seg_producer_open(&p, d->c, "s", &po, &err), &err);
    for (uint32_t i = 0; i < 80; i++) {
        uint32_t partition = i / 20;
        seg_record r;
        SEG_INIT(&r);
        r.value = (seg_bytes){big, sizeof big};
        r.partition = &partition;
        big[snprintf(big, sizeof big, "%u", i)] = ' ';
        CHECK_OK(seg_send(i % 2 != 0 ? p : plain, &r, NULL, &err), &err);
    }
    seg_producer_close(plain);
    seg_producer_close(p);
    o.max_prefetch = 64 * 1024;
    open_reader(d, &o);
    for (uint32_t i = 0; i < 80; i++) {
        expect(d->r, i / 20, i % 20, i);
        CHECK_LE(stats_of(d->r).prefetched_bytes, 5 * sizeof big);
    }
    expect_end(d->r);
    desk_free(d);
}

static bool reads_only(const char *line) {
    static const char *const allowed[] = {
        "hello",   "client", "info",   "config", "ping",   "hgetall", "hmget", "xread", "xrange",
        "evalsha", "eval",   "exists", "xlen",   "select", "command", "auth",  "hget",  "acl"};
    char name[64];
    if (sscanf(line, "cmdstat_%63[a-z|_-]", name) != 1)
        return true;
    name[strcspn(name, "|")] = '\0';
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (strcmp(name, allowed[i]) == 0)
            return true;
    printf("the reader sent: %s\n", line);
    return false;
}

static char *digest(server *s) {
    return server_str(s, "DEBUG DIGEST");
}

/* A foreign entry in the log, reading from everywhere, following: nothing but reads, and the data
 * is as it was. */
static void only_reads(uint32_t partitions) {
    static const char *const args[] = {"--enable-debug-command", "yes", NULL};
    desk *d = calloc(1, sizeof *d);
    CHECK(d != NULL);
    d->s = server_start(args);
    d->c = rig_client(d->s);
    rig_stream(d->c, "s", partitions);
    d->p = rig_producer(d->c, "s");
    for (uint32_t p = 0; p < partitions; p++)
        put(d, p, partitions, 0, 10);
    seg_producer_close(d->p);
    d->p = NULL;
    server_do(d->s, "XSETID sg:{default/s/0}:log 1-9");
    server_do(d->s, "XADD sg:{default/s/0}:log 1-20 x y");
    char *before = digest(d->s);
    server_do(d->s, "CONFIG RESETSTAT");
    for (int start = SEG_EARLIEST; start <= SEG_AT_TIME; start++) {
        seg_reader_options o = reading(d);
        seg_error err;
        o.start = (seg_start)start;
        open_reader(d, &o);
        while (next_of(d->r, 10) != NULL)
            continue;
        CHECK_OK(seg_reader_seek(d->r, 0, 3, &err), &err);
        expect_run(d->r, 0, 3, 3, 7);
        CHECK_EQ(stats_of(d->r).foreign, 1);
    }
    redisReply *stats = server_cmd(d->s, "INFO commandstats");
    CHECK_EQ(stats->type, REDIS_REPLY_STRING);
    size_t lines = 0;
    for (char *line = strtok(stats->str, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        /* Whoever asks is the test. */
        if (strstr(line, "cmdstat_debug") == NULL && strstr(line, "cmdstat_config") == NULL)
            CHECK(reads_only(line));
        lines++;
    }
    CHECK_GT(lines, 4);
    freeReplyObject(stats);
    char *after = digest(d->s);
    CHECK_STR(after, before);
    free(before);
    free(after);
    CHECK_EQ(d->skips.n, 0);
    desk_free(d);
}

TEST(only_reads_of_one_partition) {
    only_reads(1);
}

TEST(only_reads_of_many_partitions) {
    only_reads(64);
}

TEST(arguments) {
    desk *d = desk_new(2);
    seg_reader *r = NULL;
    seg_error err;
    const seg_message *m;
    uint32_t bad[] = {1, 2}, twice[] = {1, 1};
    seg_reader_options o = reading(d);
    CHECK_STATUS(seg_reader_open(NULL, d->c, "s", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_reader_open(&r, NULL, "s", &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_reader_open(&r, d->c, NULL, &o, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_reader_open(&r, d->c, "none", &o, &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_reader_next(&m, NULL, 0, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_reader_seek(NULL, 0, 0, &err), SEG_EINVAL, &err);
    o.partitions = bad;
    o.n_partitions = 2;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    CHECK_CONTAINS(err.text, "no partition 2");
    o.partitions = twice;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    o = reading(d);
    o.last = 1;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    o = reading(d);
    o.start_at = -1;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    o = reading(d);
    o.start = (seg_start)9;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    o = reading(d);
    o.max_prefetch = 1;
    CHECK_STATUS(seg_reader_open(&r, d->c, "s", &o, &err), SEG_EINVAL, &err);
    CHECK(r == NULL);
    seg_reader_close(NULL);
    seg_reader_stop(NULL);
    desk_free(d);
}
