/* fuzz_group.c - the coordinator's answers, from bytes to what a member does with its partitions:
 * it is granted what it does not have, gives back or loses only what it has, and at any time knows
 * what that is.
 *
 * coordinate.c is included, not linked: the reading of an answer is its own. */
#include "engine/coordinate.c"

#include "fuzz_replies.h"

enum { PARTITIONS = 5, SESSION = 1000 };

typedef enum belief { NOT_OURS, OURS, GIVING_BACK, HANDED_BACK } belief;

typedef struct world {
    seg_client client;
    seg_consumer consumer;
    belief beliefs[PARTITIONS];
    uint64_t epochs[PARTITIONS];
    int64_t now;
} world;

static void world_init(world *x) {
    memset(x, 0, sizeof *x);
    x->consumer.client = &x->client;
    x->consumer.stream.partitions = PARTITIONS;
    x->consumer.member = sg_member_new(SESSION, PARTITIONS);
    x->now = 1;
    sg_backoff_init(&x->consumer.sync_backoff, 20, 1000);
    FUZZ_CHECK(x->consumer.member != NULL && sg_cond_init(&x->consumer.changed));
}

static void world_fini(world *x) {
    sg_member_free(x->consumer.member);
    sg_cond_fini(&x->consumer.changed);
}

static void take(world *x) {
    sg_member_change change;
    size_t n = 0;
    while (sg_member_change_next(x->consumer.member, &change)) {
        FUZZ_CHECK(change.partition < PARTITIONS && ++n <= 3 * PARTITIONS);
        belief *b = &x->beliefs[change.partition];
        uint64_t *epoch = &x->epochs[change.partition];
        switch (change.what) {
        case SG_PART_GRANTED:
            FUZZ_CHECK(*b == NOT_OURS || *b == HANDED_BACK);
            *b = OURS;
            *epoch = change.epoch;
            break;
        case SG_PART_REVOKED:
            FUZZ_CHECK(*b == OURS && *epoch == change.epoch);
            *b = GIVING_BACK;
            break;
        case SG_PART_LOST:
            FUZZ_CHECK((*b == OURS || *b == GIVING_BACK) && *epoch == change.epoch);
            *b = NOT_OURS;
        }
    }
}

/* What the application does between two answers. */
static void act(world *x, uint8_t what) {
    sg_member *m = x->consumer.member;
    uint32_t p = what % PARTITIONS;
    switch (what / PARTITIONS % 6) {
    case 0:
        sg_member_released(m, p, x->epochs[p]);
        if (x->beliefs[p] == OURS || x->beliefs[p] == GIVING_BACK)
            x->beliefs[p] = HANDED_BACK;
        break;
    case 1:
        sg_member_stale(m, p, x->epochs[p], x->epochs[p]);
        if (x->beliefs[p] == OURS || x->beliefs[p] == GIVING_BACK)
            x->beliefs[p] = HANDED_BACK;
        break;
    case 2:
        sg_member_recall(m);
        break;
    case 3:
        x->now += what;
        break;
    case 4:
        if (what > 240) {
            sg_member_leave(m);
            x->consumer.left = true;
        }
        break;
    default:
        sg_member_rejoin(m, x->now);
    }
}

static void ask_now(world *x) {
    sg_member_ask q;
    sg_member_ask_now(x->consumer.member, x->now, &q);
    FUZZ_CHECK(q.n_released <= PARTITIONS && q.op <= SG_MEMBER_LEAVE);
    for (size_t i = 0; i < q.n_released; i++)
        FUZZ_CHECK(q.released[i] < PARTITIONS && x->beliefs[q.released[i]] == HANDED_BACK &&
                   q.epochs[i] == x->epochs[q.released[i]]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len}, plan = fuzz_take(&in, 16);
    world x;
    sg_reader reader;
    world_init(&x);
    FUZZ_CHECK(sg_reader_init(&reader));
    sg_member *m = x.consumer.member;
    for (sg_reply *reply; sg_member_over(m) == SG_END_NONE && (reply = fuzz_next(&reader, &in));) {
        const char *refusal = sg_reply_error(reply);
        sg_result r = {.status = SEG_OK, .reply = reply};
        if (refusal != NULL)
            r = (sg_result){sg_reply_error_status(refusal), false, reply, refusal};
        ask_now(&x);
        read_sync(&x.consumer, &r, x.now);
        take(&x);
        FUZZ_CHECK(sg_member_over(m) == SG_END_NONE || sg_member_due(m) == INT64_MAX);
        FUZZ_CHECK(sg_member_joined(m) || sg_member_over(m) != SG_END_NONE ||
                   sg_member_due(m) < INT64_MAX);
        act(&x, fuzz_byte(&plan));
        take(&x);
        sg_reply_free(reply);
    }
    sg_reader_fini(&reader);
    world_fini(&x);
    return 0;
}
