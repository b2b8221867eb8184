/* Dead letters: looked at, replayed, dropped. */
#include "dlq_rig.h"
#include "engine/letters.h"

/* ---- Looking --------------------------------------------------------------------------------- */

TEST(they_are_listed_as_they_were) {
    bench b = set_up();
    rig_stream(b.c, "s", 2);
    seg_producer *p = rig_producer(b.c, "s");
    seg_bytes headers[] = {{"h1", 2}, {"v1", 2}, {"h1", 2}, {"", 0}};
    seg_record r;
    seg_error err;
    SEG_INIT(&r);
    r.key = (seg_bytes){"k", 1};
    r.value = (seg_bytes){"17", 2};
    r.headers = headers;
    r.n_headers = 2;
    r.timestamp = 1234567;
    seg_position where;
    rig_queue(p, "k", 1, 0);
    CHECK_OK(seg_send_async(p, &r, NULL, NULL, &err), &err);
    rig_flush(p);
    seg_producer_close(p);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, 2);
    where = (seg_position){in->d[1].id, in->d[1].partition};
    rig_ack(k, &in->d[0], 1);
    rig_settle_as(k, &in->d[1], SEG_REJECT, 0, "that will\nnever do");
    rig_commit(k);

    seg_dlq *q = open_dlq(b.c, "s", "g");
    const seg_letter *l = NULL;
    CHECK_OK(seg_dlq_next(&l, q, &err), &err);
    CHECK(l != NULL);
    CHECK_EQ(l->at.id.era, 1);
    CHECK_EQ(l->at.id.offset, 0);
    CHECK_EQ(l->at.partition, 0);
    CHECK_EQ(l->origin.partition, where.partition);
    CHECK_EQ(l->origin.id.era, where.id.era);
    CHECK_EQ(l->origin.id.offset, where.id.offset);
    CHECK_EQ(l->attempts, 1);
    CHECK_STR(l->reason, "rejected");
    CHECK_STR(l->error, "that will\nnever do");
    CHECK_GT(l->first_failed, 1000);
    CHECK_GE(l->last_failed, l->first_failed);
    CHECK_STR(l->replaying, NULL);
    seg_bytes name, value;
    CHECK_EQ(rig_number(l->message), 17);
    CHECK_EQ(seg_message_timestamp(l->message), 1234567);
    CHECK_EQ(seg_message_headers(l->message), 2);
    CHECK(seg_message_header(l->message, 0, &name, &value));
    CHECK_MEM(name.data, name.len, "h1", 2);
    CHECK_MEM(value.data, value.len, "v1", 2);
    CHECK(seg_message_header(l->message, 1, &name, &value));
    CHECK_EQ(value.len, 0);
    CHECK(!seg_message_header(l->message, 2, &name, &value));
    for (int i = 0; i < 2; i++) { /* the end stays the end */
        CHECK_OK(seg_dlq_next(&l, q, &err), &err);
        CHECK(l == NULL);
    }
    CHECK_EQ(ls(q)->n, 1);
    seg_dlq_close(q);
    seg_consumer_close(k);
    free(in);
    tear_down(&b);
}

TEST(many_are_listed_in_order) {
    bench b = set_up();
    rig_stream(b.c, "s", 3);
    bury(b.c, "s", "g", 0, 1000);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    unsigned count[MAX] = {0};
    for (int round = 0; round < 2; round++) {
        const listing *l = ls(q);
        CHECK_EQ(l->n, 1000);
        for (size_t i = 0; i < l->n; i++) {
            CHECK_EQ(l->at[i].id.offset, i);
            count[l->number[i]] += round == 0;
        }
    }
    check_once(count, 1000);
    seg_dlq_close(q);
    tear_down(&b);
}

TEST(nothing_to_open) {
    bench b = set_up();
    seg_dlq *q = NULL;
    seg_error err;
    char name[202];
    memset(name, 'x', 200);
    name[200] = '\0';
    CHECK_STATUS(seg_dlq_open(&q, b.c, "s", "g", &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "no stream \"s\"");
    rig_stream(b.c, "s", 1);
    CHECK_STATUS(seg_dlq_open(&q, b.c, "s", "g", &err), SEG_ENOENT, &err);
    CHECK_CONTAINS(err.text, "group \"g\" of stream \"s\" has no dead letters");
    CHECK_STATUS(seg_dlq_open(&q, b.c, name, "g", &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_open(&q, b.c, "s", "no/name", &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_open(&q, b.c, "s", NULL, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_open(NULL, b.c, "s", "g", &err), SEG_EINVAL, &err);
    CHECK(q == NULL);
    seg_dlq_close(NULL);
    seg_dlq_rewind(NULL);
    tear_down(&b);
}

enum { LETTER = SG_LETTER_COUNT };
static const char *const names[LETTER] = {
#define X(name, text) text,
    SG_LETTER_HEADERS(X)
#undef X
};
static const char *const proper[LETTER] = {"s", "0",        "1",       "7",    "g",
                                           "2", "rejected", "because", "1000", "2000"};

/* A letter by hand, with one header's value, or name, replaced; only the last `n` headers. */
static void put_by_hand(seg_producer *p, unsigned number, int which, const char *value,
                        const char *name, int n) {
    seg_bytes h[2 * LETTER];
    char text[16];
    seg_record r;
    seg_error err;
    for (int i = 0; i < LETTER; i++) {
        const char *a = i == which && name ? name : names[i];
        const char *v = i == which && value ? value : proper[i];
        h[2 * i] = (seg_bytes){a, strlen(a)};
        h[2 * i + 1] = (seg_bytes){v, strlen(v)};
    }
    SEG_INIT(&r);
    r.key = (seg_bytes){"k", 1};
    r.value = (seg_bytes){text, (size_t)snprintf(text, sizeof text, "%u", number)};
    r.headers = h + 2 * (LETTER - n);
    r.n_headers = (size_t)n;
    CHECK_OK(seg_send_async(p, &r, NULL, NULL, &err), &err);
}

/* Numbers that do not fit, texts that are none, another's letters: they are neither shown nor
 * moved, and those between them are. */
TEST(what_is_no_letter_is_passed_over) {
    static const struct {
        int which;
        const char *value, *name;
        int n;
    } wrong[] = {
        {1, "-1", NULL, LETTER},
        {1, "4294967296", NULL, LETTER},
        {2, "18446744073709551616", NULL, LETTER},
        {2, "000000000000000000001", NULL, LETTER},
        {3, "", NULL, LETTER},
        {3, "7 ", NULL, LETTER},
        {5, "99999999999", NULL, LETTER},
        {6, "", NULL, LETTER},
        {6, "re\x01", NULL, LETTER},
        {8, "9223372036854775808", NULL, LETTER},
        {9, "0x10", NULL, LETTER},
        {0, "s2", NULL, LETTER},
        {0, "", NULL, LETTER},
        {4, "g2", NULL, LETTER},
        {4, NULL, "sg-grou", LETTER},
        {0, NULL, "", LETTER},
        {-1, NULL, NULL, LETTER - 1},
        {-1, NULL, NULL, 0},
    };
    enum { N = sizeof wrong / sizeof wrong[0] };
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "s.g.dlq", 1);
    seg_producer *p = rig_producer(b.c, "s.g.dlq");
    for (unsigned i = 0; i < N; i++) {
        put_by_hand(p, 100 + i, wrong[i].which, wrong[i].value, wrong[i].name, wrong[i].n);
        put_by_hand(p, i, -1, NULL, NULL, LETTER);
    }
    rig_flush(p);
    seg_producer_close(p);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const listing *l = ls(q);
    CHECK_EQ(l->n, N);
    seg_position all[2 * N];
    for (unsigned i = 0; i < N; i++) {
        CHECK_EQ(l->number[i], i);
        all[2 * i] = all[2 * i + 1] = l->at[i];
        all[2 * i].id.offset--; /* those that are none are named as well */
    }
    CHECK_EQ(replay(q, all, 2 * N, NULL), N);
    CHECK_EQ(drop(q, all, 2 * N), 0);
    unsigned count[MAX] = {0};
    census(b.c, "s", count);
    check_once(count, N);
    CHECK_EQ(rig_messages(b.c, "s"), N);
    CHECK_EQ(rig_cursor(b.c, "s.g.dlq", "dlq", 0).acked, N); /* and the others are left alone */
    seg_dlq_close(q);
    tear_down(&b);
}

/* Small batches first, so that many are asked for at once, then some that stand for much more. */
TEST(compressed_ones_are_listed_in_order) {
    enum { SMALL = 100, LARGE = 20, EACH = 15 };
    static char error[20001];
    bench b = set_up();
    unsigned n = 0;
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "s.g.dlq", 1);
    memset(error, 'e', sizeof error - 1);
    for (seg_codec codec = SEG_LZ4; codec <= SEG_ZSTD; codec++) {
        seg_producer_options o;
        seg_producer *p = NULL;
        seg_error err;
        SEG_INIT(&o);
        o.linger = 60000;
        o.max_batch = 1024 * 1024;
        o.codec = codec;
        CHECK_OK(seg_producer_open(&p, b.c, "s.g.dlq", &o, &err), &err);
        for (unsigned i = 0; i < SMALL + LARGE; i++) {
            for (unsigned k = 0; k < (i < SMALL ? 1 : EACH); k++) {
                put_by_hand(p, n++, 7, i < SMALL ? "small" : error, NULL, LETTER);
            }
            rig_flush(p);
        }
        seg_producer_close(p);
    }
    seg_dlq *q = open_dlq(b.c, "s", "g");
    for (int round = 0; round < 2; round++) {
        const listing *l = ls(q);
        CHECK_EQ(l->n, n);
        for (unsigned i = 0; i < n; i++) {
            CHECK_EQ(l->number[i], i);
        }
    }
    seg_dlq_close(q);
    tear_down(&b);
}

/* "a.b" with "c" and "a" with "b.c" have one stream of dead letters. */
TEST(two_groups_whose_names_make_one) {
    bench b = set_up();
    rig_stream(b.c, "a", 1);
    rig_stream(b.c, "a.b", 1);
    bury(b.c, "a", "b.c", 0, 3);
    bury(b.c, "a.b", "c", 3, 4);
    seg_dlq *q = open_dlq(b.c, "a", "b.c"), *other = open_dlq(b.c, "a.b", "c");
    const listing *l = ls(other);
    CHECK_EQ(l->n, 4);
    CHECK_EQ(l->number[0], 3);
    CHECK_EQ(drop(q, l->at, 4), 0);
    CHECK_EQ(ls(other)->n, 4);
    l = ls(q);
    CHECK_EQ(l->n, 3);
    CHECK_EQ(replay(q, l->at, 3, NULL), 3);
    CHECK_EQ(ls(q)->n, 0);
    CHECK_EQ(ls(other)->n, 4);
    CHECK_EQ(rig_messages(b.c, "a"), 6);
    CHECK_EQ(rig_messages(b.c, "a.b"), 4);
    seg_dlq_close(q);
    seg_dlq_close(other);
    tear_down(&b);
}

TEST(deleted_while_looked_at) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 3);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const seg_letter *l = NULL;
    size_t done;
    seg_error err;
    seg_position at = {{1, 0}, 0};
    CHECK_OK(seg_stream_delete(b.c, "s.g.dlq", &err), &err);
    CHECK_STATUS(seg_dlq_next(&l, q, &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_dlq_drop(q, &at, 1, &done, &err), SEG_ENOENT, &err);
    bury(b.c, "s", "g", 0, 1); /* made anew: the handle is of the old one */
    CHECK_STATUS(seg_dlq_next(&l, q, &err), SEG_ENOENT, &err);
    CHECK_STATUS(seg_dlq_drop(q, &at, 1, &done, &err), SEG_ENOENT, &err);
    CHECK_EQ(done, 0);
    seg_dlq_close(q);
    q = open_dlq(b.c, "s", "g");
    CHECK_EQ(ls(q)->n, 1);
    seg_dlq_close(q);
    tear_down(&b);
}

/* ---- Moving ---------------------------------------------------------------------------------- */

/* Back where they came from: in the order of their keys, and into the same partitions. */
TEST(all_are_replayed) {
    enum { N = 700 };
    bench b = set_up();
    rig_stream(b.c, "s", 4);
    bury(b.c, "s", "g", 0, N);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const listing *l = ls(q);
    CHECK_EQ(l->n, N);
    CHECK_EQ(replay(q, l->at, N, NULL), N);
    CHECK_EQ(ls(q)->n, 0);
    CHECK_EQ(rig_lag(b.c, "s.g.dlq", "dlq"), 0);
    CHECK_EQ(rig_messages(b.c, "s"), 2 * N);

    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(b.c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, N);
    unsigned count[MAX] = {0}, last[5] = {0};
    for (size_t i = 0; i < N; i++) {
        unsigned number = in->number[i], key = number % 5;
        CHECK_EQ(in->d[i].partition, seg_partition_of((seg_bytes){keys[key], 1}, 4));
        CHECK(last[key] == 0 || number > last[key]);
        last[key] = number;
        count[number]++;
    }
    check_once(count, N);
    seg_consumer_close(k);
    seg_dlq_close(q);
    free(in);
    tear_down(&b);
}

TEST(some_are_replayed_once) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "t", 1);
    bury(b.c, "s", "g", 0, 10);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at[] = {{{1, 8}, 0}, {{1, 2}, 0}, {{1, 2}, 0},          {{1, 10}, 0},
                         {{2, 3}, 0}, {{1, 4}, 7}, {{1, UINT64_MAX}, 0}, {{1, 5}, 0}};
    CHECK_EQ(replay(q, at, 8, "t"), 3);
    CHECK_EQ(replay(q, at, 8, "t"), 0);
    CHECK_EQ(replay(q, at, 8, NULL), 0);
    CHECK_EQ(replay(q, NULL, 0, NULL), 0);
    const listing *l = ls(q);
    CHECK_EQ(l->n, 7);
    CHECK_EQ(l->at[2].id.offset, 3);
    CHECK_EQ(drop(q, at, 8), 0);
    at[0].id.offset = 9;
    CHECK_EQ(drop(q, at, 8), 1);
    seg_dlq_close(q);
    q = open_dlq(b.c, "s", "g"); /* with the others passed by, and given back */
    CHECK_EQ(ls(q)->n, 6);
    at[0].id.offset = 7;
    CHECK_EQ(replay(q, at, 1, "t"), 1);
    CHECK_EQ(ls(q)->n, 5);
    seg_dlq_close(q);
    unsigned count[MAX] = {0};
    census(b.c, "t", count);
    CHECK_EQ(count[2] + count[5] + count[7] + count[8], 4);
    CHECK_EQ(rig_messages(b.c, "t"), 4);
    CHECK_EQ(rig_messages(b.c, "s"), 10);
    tear_down(&b);
}

/* One after another, as they are looked at; and what was moved meanwhile is not shown any more. */
TEST(moved_while_looked_at) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 20);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    const seg_letter *l = NULL;
    seg_error err;
    seg_position at[] = {{{1, 11}, 0}, {{1, 13}, 0}};
    size_t seen = 0;
    while (seg_dlq_next(&l, q, &err) == SEG_OK && l != NULL) {
        CHECK_EQ(l->at.id.offset, seen < 11 ? seen : seen == 11 ? 12 : seen + 2);
        CHECK_EQ(drop(q, &l->at, 1), 1);
        if (seen++ == 5) {
            CHECK_EQ(drop(q, at, 2), 2);
        }
    }
    CHECK_EQ(seen, 18);
    CHECK_EQ(ls(q)->n, 0);
    seg_dlq_close(q);
    tear_down(&b);
}

TEST(nowhere_to_go) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 3);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at = {{1, 0}, 0};
    size_t done = 7;
    seg_error err;
    CHECK_STATUS(seg_dlq_replay(q, &at, 1, "t", &done, &err), SEG_ENOENT, &err);
    CHECK_EQ(done, 0);
    CHECK_CONTAINS(err.text, "\"t\"");
    CHECK_STATUS(seg_dlq_replay(q, &at, 1, "s.g.dlq", &done, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_replay(q, &at, 1, "a/b", &done, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_replay(q, NULL, 1, "t", &done, &err), SEG_EINVAL, &err);
    CHECK_STATUS(seg_dlq_drop(q, &at, 1, NULL, &err), SEG_EINVAL, &err);
    CHECK_EQ(ls(q)->n, 3);
    CHECK_EQ(ls(q)->replaying, 0);
    seg_dlq_close(q);
    tear_down(&b);
}

/* A letter that is replayed and fails again is another letter; and the dead letters of a group that
 * reads dead letters are like all others. */
TEST(dead_letters_of_dead_letters) {
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    bury(b.c, "s", "g", 0, 2);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(b.c, "s.g.dlq", &(rig_join){.group = "h"});
    rig_take(k, in, 2);
    rig_settle_as(k, &in->d[1], SEG_REJECT, 0, "not even that");
    rig_commit(k);
    seg_consumer_close(k);
    free(in);
    seg_dlq *q = open_dlq(b.c, "s", "g"), *second = open_dlq(b.c, "s.g.dlq", "h");
    const seg_letter *l = NULL;
    seg_error err;
    CHECK_OK(seg_dlq_next(&l, second, &err), &err);
    CHECK(l != NULL);
    CHECK_STR(l->error, "not even that");
    CHECK_EQ(l->origin.id.offset, 1);
    CHECK_EQ(seg_message_headers(l->message), LETTER); /* those of the letter that it was */
    seg_position at = l->at;
    CHECK_EQ(replay(second, &at, 1, NULL), 1);
    CHECK_EQ(ls(second)->n, 0);
    const listing *all = ls(q); /* it is a letter again */
    CHECK_EQ(all->n, 3);
    CHECK_EQ(all->number[1], 1);
    CHECK_EQ(all->number[2], 1);
    CHECK_EQ(replay(q, all->at, 3, NULL), 3);
    CHECK_EQ(rig_messages(b.c, "s"), 5);
    seg_dlq_close(q);
    seg_dlq_close(second);
    tear_down(&b);
}

/* One in the middle is replayed though so many older ones stay: up to a limit, which says what to
 * do. */
TEST_DEADLINE(too_many_before_it, 120) {
    enum { N = 66000 };
    bench b = set_up();
    rig_stream(b.c, "s", 1);
    rig_stream(b.c, "s.g.dlq", 1);
    seg_producer *p = rig_producer(b.c, "s.g.dlq");
    for (unsigned i = 0; i < N; i++) {
        put_by_hand(p, i, -1, NULL, NULL, LETTER);
        if (i % 10000 == 0) {
            rig_flush(p);
        }
    }
    rig_flush(p);
    seg_producer_close(p);
    seg_dlq *q = open_dlq(b.c, "s", "g");
    seg_position at[1000] = {{{1, 65000}, 0}, {{1, N - 1}, 0}};
    size_t done;
    seg_error err;
    CHECK_STATUS(seg_dlq_replay(q, at, 2, NULL, &done, &err), SEG_EFULL, &err);
    CHECK_EQ(done, 0);
    CHECK_CONTAINS(err.text, "replay or drop the older ones first");
    CHECK_EQ(replay(q, at, 1, NULL), 1);
    for (unsigned i = 0; i < 1000; i++) {
        at[i] = (seg_position){{1, i}, 0};
    }
    CHECK_EQ(drop(q, at, 1000), 1000);
    at[0] = (seg_position){{1, N - 1}, 0};
    CHECK_EQ(replay(q, at, 1, NULL), 1);
    CHECK_EQ(rig_messages(b.c, "s"), 2);
    seg_dlq_close(q);
    tear_down(&b);
}
