/* fuzz_answers.c - the typed reading of answers: whatever comes, the outcome is one of those that
 * the header names, what it says is set is set and makes sense, and a refusal says why. */
#include "base/alloc.h"
#include "core/batch.h"
#include "core/block.h"
#include "core/window.h"
#include "fuzz_replies.h"
#include "redis/ops_describe.h"
#include "redis/ops_range.h"
#include "redis/ops_seek.h"

#define NUMBER_MAX (UINT64_C(1) << 53)

static sg_era eras[] = {{1, 0}, {5, 100}};
static const sg_eras ERAS = {eras, 2};
static const sg_stream STREAM = {.ns = "n", .name = "s", .inc = "i", .partitions = 2, .bound = 9};

static void check_refusal(const seg_error *err, seg_status status) {
    FUZZ_CHECK(status != SEG_OK && err->status == status && err->text[0] != '\0');
}

static void check_lost(const sg_result *r, bool lost) {
    FUZZ_CHECK(lost == r->lost);
}

static void read_append(const sg_result *r, bool probe) {
    sg_append_answer a;
    uint32_t n;
    sg_append_read(r, probe, &a);
    check_lost(r, a.lost);
    FUZZ_CHECK(!a.unsure || a.kind == SG_APPEND_REFUSED);
    if (a.kind == SG_APPEND_STORED) {
        FUZZ_CHECK(!a.duplicate || sg_reply_is(sg_reply_at(sg_reply_at(r->reply, 0), 0), "DUP"));
        FUZZ_CHECK(a.duplicate || a.offset != UINT64_MAX);
        FUZZ_CHECK(!probe || a.eras.data != NULL);
    } else {
        check_refusal(&a.err, a.err.status);
    }
    if (a.kind == SG_APPEND_HELD) {
        FUZZ_CHECK(a.dups.len + a.fenced.len + a.differs.len > 0);
        seg_bytes lists[] = {a.dups, a.fenced, a.differs};
        for (size_t i = 0; i < 3; i++)
            for (size_t before = lists[i].len; sg_numbers_next(&lists[i], &n);
                 before = lists[i].len)
                FUZZ_CHECK(lists[i].len < before);
    }
}

static void read_eras(sg_cursor_answer *a) {
    sg_eras e = {NULL, 0};
    if (a->eras.data == NULL) /* the answer to a commit has none */
        return;
    if (sg_cursor_take_eras(a, &e)) {
        FUZZ_CHECK(e.n > 0 && sg_eras_newest(&e) == a->era);
    } else {
        FUZZ_CHECK(a->kind == SG_CURSOR_REFUSED && e.n == 0);
        check_refusal(&a->err, SEG_EPROTO);
    }
    sg_eras_fini(&e);
}

static void read_cursor(const sg_result *r) {
    sg_cursor_answer a;
    uint64_t count = 0;
    sg_cursor_read_answer(r, &a);
    check_lost(r, a.lost);
    if (a.kind == SG_CURSOR_REFUSED || a.kind == SG_CURSOR_LOST)
        check_refusal(&a.err, a.err.status);
    if (a.kind != SG_CURSOR_OK)
        return;
    size_t n = sg_reply_count(r->reply);
    FUZZ_CHECK(n == 1 || n == 4 || n == 10 || n == 11);
    FUZZ_CHECK(a.era <= NUMBER_MAX && a.first <= NUMBER_MAX && a.next <= NUMBER_MAX);
    FUZZ_CHECK(a.committed <= NUMBER_MAX && a.epoch <= NUMBER_MAX && a.high <= NUMBER_MAX);
    if (sg_ackmap_count(a.acks.data, a.acks.len, &count))
        FUZZ_CHECK(count < 65536);
    (void)sg_tries_check(a.tries.data, a.tries.len);
    read_eras(&a);
}

/* What only operators look at: a part that makes no sense is damage, not a refusal. */
static void read_looks(const sg_result *r) {
    enum { GROUPS = 2 };
    sg_partition_answer p;
    sg_lag_answer l;
    sg_summary_answer s;
    sg_summary one;
    sg_partition_describe_read(r, &p);
    check_lost(r, p.lost);
    if (p.status != SEG_OK)
        check_refusal(&p.err, p.status);
    else
        FUZZ_CHECK(p.first <= p.next && p.next <= NUMBER_MAX && p.high <= p.next);
    sg_partition_lag_read(r, GROUPS, &l);
    check_lost(r, l.lost);
    if (l.status != SEG_OK)
        check_refusal(&l.err, l.status);
    for (size_t i = 0; i < GROUPS; i++) {
        uint64_t lag, committed;
        bool known = sg_lag_at(&l, i, &lag, &committed);
        FUZZ_CHECK(lag == SEG_UNKNOWN || (known && lag <= l.next - l.first));
        FUZZ_CHECK(known ? committed <= NUMBER_MAX : committed == SEG_UNKNOWN);
    }
    sg_group_summary_read(r, GROUPS, &s);
    check_lost(r, s.lost);
    if (s.status != SEG_OK)
        check_refusal(&s.err, s.status);
    for (size_t i = 0; s.status == SEG_OK && i < GROUPS; i++)
        FUZZ_CHECK((sg_summary_at(&s, i, &one) == SEG_OK) == (one.gid[0] != '\0'));
}

static void read_stream(const sg_result *r, bool create) {
    sg_stream_answer a;
    if (create)
        sg_stream_create_read(r, &STREAM, &a);
    else
        sg_stream_get_read(r, &STREAM, &a);
    check_lost(r, a.lost);
    if (a.status != SEG_OK) {
        check_refusal(&a.err, a.status);
        return;
    }
    FUZZ_CHECK(strcmp(a.stream.ns, "n") == 0 && strcmp(a.stream.name, "s") == 0);
    FUZZ_CHECK(a.stream.partitions >= 1 && a.stream.partitions <= 4096);
    FUZZ_CHECK(a.stream.inc[0] != '\0' && a.stream.on_full <= SEG_DROP_OLDEST);
    FUZZ_CHECK(a.stream.bound >= 1);
    FUZZ_CHECK(a.stream.seed == sg_batch_seed(a.stream.inc));
}

static void read_group(const sg_result *r) {
    sg_group_answer a;
    sg_stream s = {.name = "s"};
    sg_group_open_read(r, &s, "g", &a);
    check_lost(r, a.lost);
    if (a.status != SEG_OK)
        check_refusal(&a.err, a.status);
    else
        FUZZ_CHECK(a.gid[0] != '\0' && a.start.kind <= SEG_AT_TIME && a.start.at >= 0);
}

static void read_plain(const sg_result *r) {
    sg_plain_answer a;
    sg_plain_read(r, "something", &a);
    check_lost(r, a.lost);
    if (a.status != SEG_OK)
        check_refusal(&a.err, a.status);
}

static void read_seek(const sg_result *r) {
    sg_seek_answer a;
    sg_seek_read(r, &a);
    check_lost(r, a.lost);
    FUZZ_CHECK(a.kind <= SG_SEEK_REFUSED);
    if (a.kind == SG_SEEK_REFUSED || a.kind == SG_SEEK_GONE)
        check_refusal(&a.err, a.err.status);
}

/* What a block is made of has offsets. */
static void make_block(seg_bytes batch, uint64_t last) {
    const char *why;
    sg_codecs codecs;
    sg_pool *pool = sg_pool_new(0);
    sg_block *b = sg_block_new(pool, batch.len);
    FUZZ_CHECK(pool != NULL && b != NULL);
    if (batch.len > 0)
        memcpy(sg_block_room(b), batch.data, batch.len);
    sg_codecs_init(&codecs);
    b = sg_block_open(b, last, 0, &codecs, pool, &why);
    sg_codecs_fini(&codecs);
    sg_pool_free(pool);
    if (b == NULL) {
        FUZZ_CHECK(why != NULL);
        return;
    }
    FUZZ_CHECK(b->count >= 1 && b->first <= last && last - b->first == b->count - 1);
    sg_block_unref(b);
}

static void read_range(const sg_result *r) {
    sg_range_answer a;
    sg_range_read(r, &a);
    check_lost(r, a.lost);
    if (a.status != SEG_OK) {
        check_refusal(&a.err, a.status);
        return;
    }
    for (size_t i = 0; i < a.count; i++) {
        uint64_t last = 0;
        seg_bytes batch;
        if (sg_range_entry(&a, i, &ERAS, &last, &batch))
            make_block(batch, last);
    }
    FUZZ_CHECK(!sg_range_entry(&a, a.count, &ERAS, &(uint64_t){0}, &(seg_bytes){0}));
}

static void read_entry(const sg_result *r) {
    sg_entry_answer a;
    sg_batch_reader reader;
    sg_entry_find_read(r, &a);
    check_lost(r, a.lost);
    if (a.status != SEG_OK)
        check_refusal(&a.err, a.status);
    FUZZ_CHECK(a.found || a.batch.len == 0);
    (void)sg_batch_open(&reader, a.batch.data, a.batch.len, 0, NULL);
}

/* Just two numbers and what is between them; leading zeros are the server's own affair. */
static void read_id(const sg_result *r) {
    uint64_t era, offset;
    char text[64];
    seg_bytes id = sg_reply_bytes(r->reply);
    const char *at = id.data;
    if (!sg_entry_id_read(r->reply, &era, &offset))
        return;
    size_t zeros = strspn(at, "0"), dash = strcspn(at, "-");
    size_t more = strspn(at + dash + 1, "0");
    zeros -= zeros == dash;
    more -= dash + 1 + more == id.len;
    size_t n = (size_t)snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, era, offset);
    FUZZ_CHECK(n == id.len - zeros - more && memcmp(text, at + zeros, dash - zeros + 1) == 0);
    FUZZ_CHECK(strcmp(text + dash - zeros + 1, at + dash + 1 + more) == 0);
}

/* Read by all: they expect different answers, and each may get any. */
static void read_by(uint8_t which, const sg_result *r, bool probe) {
    switch (which % 10) {
    case 0:
        read_append(r, probe);
        break;
    case 1:
        read_cursor(r);
        break;
    case 2:
        read_stream(r, probe);
        break;
    case 3:
        read_group(r);
        break;
    case 4:
        read_plain(r);
        read_looks(r);
        break;
    case 5:
        read_seek(r);
        break;
    case 6:
        read_entry(r);
        break;
    case 7:
        read_id(r);
        break;
    default:
        read_range(r); /* last of all: it takes the answer apart */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t which = fuzz_byte(&in), flags = fuzz_byte(&in);
    sg_reader reader;
    FUZZ_CHECK(sg_reader_init(&reader));
    for (sg_reply *reply; (reply = fuzz_next(&reader, &in)) != NULL;) {
        const char *refusal = sg_reply_error(reply);
        sg_result r = {.status = SEG_OK, .reply = reply};
        if (refusal != NULL)
            r = (sg_result){sg_reply_error_status(refusal), false, reply, refusal};
        if ((flags & 2) != 0)
            r = (sg_result){.status = SEG_ECONN, .lost = true, .text = "gone"};
        for (uint8_t i = 0; i < ((flags & 4) != 0 ? 10 : 1); i++)
            read_by((uint8_t)(which + i), &r, (flags & 1) != 0);
        sg_reply_free(reply);
    }
    sg_reader_fini(&reader);
    return 0;
}
