/* fuzz_describe.c - what a group looks like: the coordinator's lists and the cursors. However they
 * contradict each other, the snapshot is one.
 *
 * describe.c is included, not linked: the reading of its answers is its own. */
#include "engine/describe.c"

#include "fuzz_replies.h"

enum { PARTITIONS = 6 };

/* Each partition that has an owner is in just this member's list, which is ascending. */
static void check_members(const seg_group_info *g) {
    size_t listed = 0, owned = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        owned += seg_group_info_partition(g, p)->owner != NULL;
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        size_t n;
        const uint32_t *list = seg_group_info_owned(g, i, &n);
        const char *id = seg_group_info_member(g, i);
        FUZZ_CHECK(id != NULL && seg_group_info_host(g, i) != NULL);
        for (size_t k = 0; k < n; k++) {
            FUZZ_CHECK(list[k] < PARTITIONS && (k == 0 || list[k - 1] < list[k]));
            FUZZ_CHECK(strcmp(seg_group_info_partition(g, list[k])->owner, id) == 0);
        }
        listed += n;
    }
    FUZZ_CHECK(listed == owned);
    FUZZ_CHECK(seg_group_info_member(g, seg_group_info_members(g)) == NULL);
    FUZZ_CHECK(seg_group_info_partition(g, PARTITIONS) == NULL);
}

/* Its numbers are known all together, or not at all. */
static void check_partition(const seg_group_partition *part, const sg_partition_answer *a) {
    if (part->status != SEG_OK) {
        FUZZ_CHECK(part->status == SEG_ELOST && part->lag == SEG_UNKNOWN);
        FUZZ_CHECK(part->committed == SEG_UNKNOWN && part->attempts == 0 && part->oldest_ms == 0);
        return;
    }
    FUZZ_CHECK(part->first <= part->next && part->epoch >= a->epoch && part->acked < 65536);
    FUZZ_CHECK((part->lag == SEG_UNKNOWN) == (part->committed > part->next));
    FUZZ_CHECK(part->lag == SEG_UNKNOWN || part->lag <= part->next - part->first);
    FUZZ_CHECK(part->in_flight <= 65536 && part->attempts <= 1u << 20);
}

static void take_cursors(job *j, sg_reader *reader, fuzz_input *in) {
    sg_reply *reply;
    for (uint32_t p = 0; p < PARTITIONS && (reply = fuzz_next(reader, in)) != NULL; p++) {
        sg_result r = {.status = SEG_OK, .reply = reply};
        sg_partition_answer a;
        sg_partition_describe_read(&r, &a);
        uint64_t before = j->group_info->parts[p].epoch, lag = j->group_info->lag;
        FUZZ_CHECK(a.status == SEG_OK || a.err.text[0] != '\0');
        if (a.status == SEG_OK || a.status == SEG_ELOST) {
            group_partition(j, p, &a);
            const seg_group_partition *part = seg_group_info_partition(j->group_info, p);
            check_partition(part, &a);
            FUZZ_CHECK(part->epoch >= before);
            FUZZ_CHECK(part->lag != SEG_UNKNOWN || j->group_info->lag == SEG_UNKNOWN);
            FUZZ_CHECK(j->group_info->lag >= lag);
        }
        sg_reply_free(reply);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    job j = {.of_group = true,
             .group = {.name = "g"},
             .stream = {.name = "s", .partitions = PARTITIONS}};
    sg_reader reader;
    seg_error err;
    FUZZ_CHECK(sg_reader_init(&reader) && make_room(&j));
    sg_reply *reply = fuzz_next(&reader, &in);
    if (reply != NULL && read_group(&j, reply, &err) == SEG_OK) {
        sg_reply_free(reply);
        reply = NULL;
        check_members(j.group_info);
        take_cursors(&j, &reader, &in);
        check_members(j.group_info);
    }
    sg_reply_free(reply);
    sg_reader_fini(&reader);
    seg_group_info_free(j.group_info);
    sg_free(j.asks);
    return 0;
}
