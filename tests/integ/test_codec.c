/* Compressed batches on a real server: they are stored compressed, all kinds come from one stream in
 * order, what they take is counted as they are when they are read, and hostile ones do no harm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "core/batch.h"
#include "ledger.h"
#include "rig.h"

#define LOG   "sg:{default/s/0}:log"
#define STATE "sg:{default/s/0}:state"

typedef struct bench {
    server *s;
    seg_client *c;
    seg_producer *p[SEG_ZSTD + 1];
    rig_inbox *in;
} bench;

static seg_producer *producer(seg_client *c, const char *stream, seg_codec codec) {
    seg_producer_options o;
    seg_producer *p = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.linger = 60000;
    o.codec = codec;
    CHECK_OK(seg_producer_open(&p, c, stream, &o, &err), &err);
    return p;
}

static bench set_up(uint32_t partitions) {
    bench b = {.s = server_start(NULL), .in = calloc(1, sizeof *b.in)};
    CHECK(b.in != NULL);
    b.c = rig_client(b.s);
    rig_stream(b.c, "s", partitions);
    for (seg_codec k = SEG_PLAIN; k <= SEG_ZSTD; k++) {
        b.p[k] = producer(b.c, "s", k);
    }
    return b;
}

static void tear_down(bench *b) {
    for (seg_codec k = SEG_PLAIN; k <= SEG_ZSTD; k++) {
        seg_producer_close(b->p[k]);
    }
    seg_client_close(b->c);
    server_stop(b->s);
    free(b->in);
}

static seg_consumer_stats stats_of(const seg_consumer *k) {
    seg_consumer_stats st;
    SEG_INIT(&st);
    seg_consumer_get_stats(k, &st);
    return st;
}

/* ---- Stored and read ------------------------------------------------------------------------ */

/* How many messages are in batches of each codec. */
static void count_codec(const log_message *m, void *arg) {
    size_t *count = arg;
    count[m->codec]++;
}

TEST(all_kinds_come_from_one_stream_in_order) {
    enum { ROUNDS = 30, EACH = 50 };
    bench b = set_up(1);
    size_t count[SEG_ZSTD + 1] = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        rig_put(b.p[i % 3], (rig_run){.partitions = 1, .first = i * EACH, .count = EACH});
    }
    CHECK_EQ(log_each(b.s, "default", "s", 0, count_codec, count), ROUNDS * EACH);
    for (seg_codec k = SEG_PLAIN; k <= SEG_ZSTD; k++) {
        CHECK_EQ(count[k], ROUNDS * EACH / 3);
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_drain(k, b.in, ROUNDS * EACH);
    rig_check_run(b.in, 0, ROUNDS * EACH, 0);
    CHECK_EQ(stats_of(k).foreign, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

TEST(they_take_less_room) {
    bench b = set_up(3);
    for (uint32_t p = 0; p < 3; p++) {
        for (unsigned i = 0; i < 20; i++) {
            rig_put(b.p[p], (rig_run){.partition = p, .partitions = 3, .count = 500, .bytes = 60});
        }
    }
    long long plain = server_int(b.s, "MEMORY USAGE " LOG " SAMPLES 0");
    for (unsigned p = 1; p < 3; p++) {
        char command[80];
        snprintf(command, sizeof command, "MEMORY USAGE sg:{default/s/%u}:log SAMPLES 0", p);
        CHECK_LT(server_int(b.s, command), plain / 5);
    }
    tear_down(&b);
}

/* Noise, and one that is small. */
TEST(what_does_not_shrink_is_stored_plain) {
    bench b = set_up(1);
    seg_error err;
    size_t count[SEG_ZSTD + 1] = {0};
    static uint64_t noise[4096];
    uint64_t seed = test_seed();
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
        noise[i] = seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        noise[i] ^= noise[i] >> 29;
    }
    seg_record r;
    SEG_INIT(&r);
    for (seg_codec k = SEG_LZ4; k <= SEG_ZSTD; k++) {
        r.value = (seg_bytes){noise, sizeof noise};
        CHECK_OK(seg_send_async(b.p[k], &r, NULL, NULL, &err), &err);
        rig_flush(b.p[k]);
        r.value = (seg_bytes){"tiny", 4};
        CHECK_OK(seg_send_async(b.p[k], &r, NULL, NULL, &err), &err);
        rig_flush(b.p[k]);
    }
    CHECK_EQ(log_each(b.s, "default", "s", 0, count_codec, count), 4);
    CHECK_EQ(count[SEG_PLAIN], 4);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    for (size_t n = 0; n < 4;) {
        seg_batch *got = NULL;
        CHECK_OK(seg_consumer_poll(&got, k, 10, RIG_MS, &err), &err);
        for (size_t i = 0; i < seg_batch_count(got); i++, n++) {
            seg_bytes v = seg_message_value(seg_batch_at(got, i));
            CHECK_MEM(v.data, v.len, n % 2 == 0 ? (const void *)noise : "tiny",
                      n % 2 == 0 ? sizeof noise : 4);
        }
        seg_batch_free(got);
    }
    seg_consumer_close(k);
    tear_down(&b);
}

/* A message of 40 MB, and a batch of many that it goes by. */
TEST(large_ones) {
    enum { BYTES = 40 << 20 };
    bench b = set_up(1);
    seg_error err;
    seg_producer_options o;
    seg_producer *p = NULL;
    SEG_INIT(&o);
    o.max_message = o.max_batch = o.max_queued = 64 << 20;
    o.codec = SEG_ZSTD;
    o.linger = 60000;
    CHECK_OK(seg_producer_open(&p, b.c, "s", &o, &err), &err);
    rig_put(p, (rig_run){.partitions = 1, .count = 2000, .bytes = 1000});
    rig_put(p, (rig_run){.partitions = 1, .first = 2000, .count = 1, .bytes = BYTES});
    seg_producer_close(p);
    CHECK_LT(server_int(b.s, "MEMORY USAGE " LOG " SAMPLES 0"), 1 << 20);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 2001);
    rig_check_run(b.in, 0, 2001, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Places in time ------------------------------------------------------------------------- */

TEST(times_are_found) {
    enum { BATCHES = 60, EACH = 40 };
    bench b = set_up(1);
    seg_error err;
    for (int i = 0; i < BATCHES; i++) {
        for (int j = 0; j < EACH; j++) {
            seg_record r;
            SEG_INIT(&r);
            r.value = (seg_bytes){"at this time, as at any other", 29};
            r.timestamp = 1000 + 10 * (i * EACH + j);
            CHECK_OK(seg_send_async(b.p[i % 3], &r, NULL, NULL, &err), &err);
        }
        rig_flush(b.p[i % 3]);
    }
    static const uint64_t places[] = {0, 1, 39, 40, 41, 79, 80, 1234, 2399};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        seg_seek_plan *plan = NULL;
        seg_seek_options o;
        SEG_INIT(&o);
        o.to = SEG_SEEK_TIME;
        o.value = 1000 + 10 * (int64_t)places[i] - 3;
        CHECK_OK(seg_group_seek(&plan, b.c, "s", "g", &o, &err), &err);
        CHECK_EQ(seg_seek_plan_at(plan, 0)->after, places[i]);
        seg_seek_plan_free(plan);
    }
    seg_consumer *k = rig_consumer(
        b.c, "s", &(rig_join){.group = "late", .start = SEG_AT_TIME, .start_at = 1000 + 10 * 77});
    rig_take(k, b.in, BATCHES * EACH - 77);
    CHECK_EQ(b.in->d[0].id.offset, 77);
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Bounds --------------------------------------------------------------------------------- */

/* Small ones first, so that many are asked for at once; then a few bytes each that stand for 60 KB. */
TEST(prefetch_counts_what_they_take) {
    enum { SMALL = 400, LARGE = 300, BYTES = 60000, LIMIT = 256 * 1024 };
    bench b = set_up(1);
    rig_put_singly(b.p[SEG_LZ4], (rig_run){.partitions = 1, .count = SMALL});
    for (unsigned i = 0; i < LARGE; i++) {
        rig_put(b.p[SEG_LZ4 + i % 2],
                (rig_run){.partitions = 1, .first = SMALL + i, .count = 1, .bytes = BYTES});
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_prefetch = LIMIT});
    uint64_t most = 0;
    while (b.in->n < SMALL + LARGE) {
        uint64_t now = stats_of(k).prefetched_bytes;
        most = now > most ? now : most;
        if (rig_poll(k, b.in, 1, 1000) == 1) {
            rig_ack(k, b.in->d + b.in->n - 1, 1);
        }
    }
    rig_check_run(b.in, 0, SMALL + LARGE, 0);
    CHECK_GT(most, BYTES);
    CHECK_LE(most, 2 * LIMIT);
    rig_commit(k);
    CHECK_EQ(stats_of(k).prefetched_bytes, 0);
    seg_consumer_close(k);
    tear_down(&b);
}

/* Every partition's turn comes, though the first entry alone may be more than is fetched ahead. */
TEST(no_partition_starves) {
    enum { PARTITIONS = 4, EACH = 12, BYTES = 400000, LIMIT = 64 * 1024 };
    bench b = set_up(PARTITIONS);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        rig_put_singly(
            b.p[SEG_ZSTD],
            (rig_run){.partition = p, .partitions = PARTITIONS, .count = EACH, .bytes = BYTES});
    }
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g", .max_prefetch = LIMIT});
    uint64_t most = 0;
    while (b.in->n < PARTITIONS * EACH) {
        uint64_t now = stats_of(k).prefetched_bytes;
        most = now > most ? now : most;
        if (rig_poll(k, b.in, 1, 1000) == 1) {
            rig_ack(k, b.in->d + b.in->n - 1, 1);
        }
    }
    CHECK_LE(most, LIMIT + PARTITIONS * (BYTES + 1024)); /* as of plain ones */
    seg_consumer_close(k);
    tear_down(&b);
}

/* ---- Hostile ones --------------------------------------------------------------------------- */

static void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

/* An entry in the place of the next 10 messages, with a CRC that is right. */
static void forge(const bench *b, uint64_t next, seg_codec codec, uint32_t size, const void *body,
                  size_t len) {
    uint8_t bytes[200] = "SB\1";
    char *inc = server_str(b->s, "HGET " STATE " inc");
    CHECK(inc != NULL);
    uint32_t seed = sg_batch_seed(inc);
    free(inc);
    bytes[3] = (uint8_t)codec;
    put32(bytes + 4, 10);
    put32(bytes + 16, size);
    memcpy(bytes + SG_BATCH_HEADER, body, len);
    put32(bytes + 20, sg_crc32c(sg_crc32c(seed, bytes, 20), bytes + SG_BATCH_HEADER, len));
    server_do(b->s, "XSETID " LOG " 1-%llu", (unsigned long long)next - 1); /* it is sealed */
    server_do(b->s, "XADD " LOG " 1-%llu b %b", (unsigned long long)next + 9, bytes,
              SG_BATCH_HEADER + len);
    server_do(b->s, "HSET " STATE " next %llu", (unsigned long long)next + 10);
}

static const struct {
    seg_codec codec;
    uint32_t size;
    const char *body;
    size_t len;
} hostile[] = {
    {SEG_LZ4, UINT32_MAX, "\0", 1},
    {SEG_LZ4, 65 << 20, "\0", 1},
    {SEG_LZ4, 40, "", 0},
    {SEG_LZ4, 40, "\x1f\0\xff\xff\xff\xff", 6},
    {SEG_ZSTD, (65 << 20) + 1, "\x28\xb5\x2f\xfd\x20\x01\x01\0\0", 9},
    {SEG_ZSTD, 65 << 20, "\x28\xb5\x2f\xfd\0\xa8\x02\0\x10\0", 10}, /* less than it says */
    {SEG_ZSTD, 40, "garbage, and not a frame", 24},
    {SEG_ZSTD, 41, "\x28\xb5\x2f\xfd\0\x58\x4b\x01\0\xff", 10}, /* 41 bytes 0xff: no record */
};
enum { HOSTILE = sizeof hostile / sizeof hostile[0] };

TEST(hostile_entries_are_told_and_passed_over) {
    bench b = set_up(1);
    for (unsigned i = 0; i < HOSTILE; i++) {
        rig_put(b.p[i % 3], (rig_run){.partitions = 1, .first = 20 * i, .count = 10});
        forge(&b, 20 * i + 10, hostile[i].codec, hostile[i].size, hostile[i].body, hostile[i].len);
    }
    rig_put(b.p[SEG_ZSTD], (rig_run){.partitions = 1, .first = 20 * HOSTILE, .count = 10});
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, b.in, 10 * (HOSTILE + 1));
    for (unsigned i = 0; i <= HOSTILE; i++) {
        rig_check_run(b.in, 10 * i, 10, 20 * i);
        CHECK_EQ(b.in->d[10 * i].id.offset, 20 * i);
    }
    CHECK_EQ(stats_of(k).foreign, HOSTILE);
    CHECK_EQ(stats_of(k).overtaken, 10 * HOSTILE);
    rig_ack(k, b.in->d, b.in->n);
    rig_commit(k);
    seg_consumer_close(k);
    tear_down(&b);
}
