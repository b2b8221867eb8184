/* cursor_*.lua: a group's place in one partition, and who may move it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../integ/conn_rig.h"
#include "base/random.h"
#include "redis/ops.h"
#include "scripts_rig.h"
#include "test.h"

/* An answer's end: no tries, no high, no note, never moved. */
#define NEW "    0"

static const char *create(const raw *r, const char *start) {
    return raw_call(r, "cursor_create", RAW_INC, r->group, RAW_GID, start, NULL);
}

static const char *acquire_as(const raw *r, const char *nonce, const char *epoch) {
    return raw_call(r, "cursor_acquire", RAW_INC, r->group, RAW_GID, epoch, nonce, NULL);
}

static const char *acquire(const raw *r, const char *epoch) {
    return acquire_as(r, "n", epoch);
}

static const char *commit_all(const raw *r, const char *epoch, const char *seq, const char *at,
                              const char *acks, const char *tries, const char *high,
                              const char *note) {
    return raw_call(r, "cursor_commit", RAW_INC, r->group, RAW_GID, epoch, seq, at, acks, tries,
                    high, note, "n", NULL);
}

static const char *commit_as(const raw *r, const char *nonce, const char *epoch, const char *seq,
                             const char *at) {
    return raw_call(r, "cursor_commit", RAW_INC, r->group, RAW_GID, epoch, seq, at, "", "", "", "",
                    nonce, NULL);
}

static const char *commit(const raw *r, const char *epoch, const char *seq, const char *at,
                          const char *acks) {
    return commit_all(r, epoch, seq, at, acks, "", "", "");
}

/* Without its last word, the owner's nonce. */
static const char *read_back(const raw *r) {
    char *text = (char *)(uintptr_t)raw_call(r, "cursor_read", RAW_INC, r->group, NULL), *last;
    if (strncmp(text, "OK ", 3) == 0 && (last = strrchr(text, ' ')) != NULL)
        *last = '\0';
    return text;
}

static const char *low(const raw *r) {
    return raw_cmd(r, "HGET %s low", RAW_KEY(r, 'S'));
}

/* A partition with the messages 0..19 in entries of five. */
static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 1, 100, "block");
    for (unsigned i = 0; i < 4; i++) {
        CHECK_STR(raw_append(r, (raw_batch){.first = 5 * i + 1, .n = 5}),
                  raw_line("[OK %u] 1-%u", 5 * i, 5 * i + 4));
    }
}

TEST(earliest_and_latest) {
    raw r;
    start(&r);
    raw latest = r, trimmed = r;
    latest.group = "latest";
    trimmed.group = "trimmed";
    CHECK_STR(low(&r), "");
    CHECK_STR(create(&latest, "latest"), "OK");
    CHECK_STR(low(&r), "20");
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(low(&r), "0");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 0 0 " NEW);
    CHECK_STR(read_back(&latest), "OK 1:0 0 20 20 0 " NEW);
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "0");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "20");
    CHECK_STR(raw_group_info(&r, "latest", "entries-read"), "20");
    CHECK_STR(raw_group_info(&r, "latest", "lag"), "0");
    /* Earliest is the first one retained. */
    raw_cmd(&r, "HSET %s first 7", RAW_KEY(&r, 'S'));
    CHECK_STR(create(&trimmed, "earliest"), "OK");
    CHECK_STR(read_back(&trimmed), "OK 1:0 7 20 7 0 " NEW);
    CHECK_STR(raw_group_info(&r, "trimmed", "entries-read"), "7");
    CHECK_STR(raw_group_info(&r, "trimmed", "lag"), "13");
    raw_stop(&r);
}

TEST(creating_again_changes_nothing) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    acquire(&r, "4");
    CHECK_STR(commit(&r, "4", "1", "9", "map"), "OK");
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(create(&r, "latest"), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 9 4 map" NEW);
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "g", "0older", "earliest", NULL), "FOREIGN");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 9 4 map" NEW);
    /* What an older group of that name left is no cursor of ours: it begins anew. */
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "g", "gnewer", "latest", NULL), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 20 0 " NEW);
    CHECK_STR(low(&r), "20");
    CHECK_STR(commit(&r, "4", "2", "10", ""), "LOST cursor");
    CHECK_STR(acquire(&r, "5"), "LOST cursor");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK"); /* late: not its own */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 20 0 " NEW);
    raw_stop(&r);
}

TEST(a_native_group_of_that_name_is_taken_over) {
    raw r;
    start(&r);
    raw_cmd(&r, "XGROUP CREATE %s g 1-4", RAW_KEY(&r, 'L'));
    CHECK_STR(create(&r, "latest"), "OK");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "20");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "0");
    acquire(&r, "1");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 21, .n = 5}), "[OK 20] 1-24");
    /* And one that somebody has destroyed comes back. */
    raw_cmd(&r, "XGROUP DESTROY %s g", RAW_KEY(&r, 'L'));
    CHECK_STR(commit(&r, "1", "1", "22", ""), "OK");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "22");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "3");
    raw_stop(&r);
}

TEST(an_empty_log) {
    raw r;
    raw_start(&r);
    raw_create_stream(&r, 1, 100, "block");
    CHECK_STR(create(&r, "latest"), "OK");
    CHECK_STR(acquire(&r, "1"), "OK 1:0 0 0 0 " NEW);
    CHECK_STR(commit(&r, "1", "1", "0", ""), "OK");
    CHECK_STR(commit(&r, "1", "2", "1", ""), "AHEAD 0");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 1}), "[OK 0] 1-0");
    CHECK_STR(raw_group_info(&r, "g", "lag"), "1");
    CHECK_STR(commit(&r, "1", "3", "1", ""), "OK");
    CHECK_STR(raw_group_info(&r, "g", "entries-read"), "1");
    raw_stop(&r);
}

TEST(only_the_latest_owner_commits) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(commit(&r, "1", "1", "5", ""), "FENCED 0"); /* nobody has acquired yet */
    CHECK_STR(acquire(&r, "3"), "OK 1:0 0 0 20 " NEW);
    CHECK_STR(acquire(&r, "3"), "OK 1:0 0 0 20 " NEW); /* its answer was lost: again */
    CHECK_STR(acquire(&r, "2"), "STALE 3");
    CHECK_STR(commit(&r, "2", "9", "5", ""), "FENCED 3");
    CHECK_STR(commit(&r, "4", "9", "5", ""), "FENCED 3"); /* granted, but not begun */
    CHECK_STR(commit(&r, "3", "1", "5", "m1"), "OK");
    CHECK_STR(acquire(&r, "7"), "OK 1:0 5 0 20 m1" NEW);
    CHECK_STR(commit(&r, "3", "2", "6", ""), "FENCED 7");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 7 m1" NEW);
    CHECK_STR(commit(&r, "7", "1", "6", ""), "OK"); /* sequences begin anew in each epoch */
    CHECK_STR(acquire(&r, "3"), "STALE 7");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 6 7 " NEW);
    raw_stop(&r);
}

/* A coordinator that lost its last grant gives the same epoch to somebody else: the first one who
 * began with it keeps it, the other one learns that it needs a higher one. */
TEST(two_consumers_never_share_an_epoch) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(acquire_as(&r, "first", "9"), "OK 1:0 0 0 20 " NEW);
    CHECK_STR(commit_as(&r, "first", "9", "1", "5"), "OK");
    CHECK_STR(acquire_as(&r, "second", "9"), "STALE 9");
    CHECK_STR(commit_as(&r, "second", "9", "2", "6"), "FENCED 9");
    CHECK_STR(raw_call(&r, "cursor_read", RAW_INC, "g", NULL), "OK 1:0 0 20 5 9     0 first");
    CHECK_STR(acquire_as(&r, "first", "9"), "OK 1:0 5 0 20 " NEW);
    CHECK_STR(commit_as(&r, "first", "9", "2", "6"), "OK");
    CHECK_STR(acquire_as(&r, "second", "10"), "OK 1:0 6 0 20 " NEW);
    CHECK_STR(acquire_as(&r, "first", "9"), "STALE 10");
    CHECK_STR(acquire_as(&r, "first", "10"), "STALE 10");
    CHECK_STR(commit_as(&r, "first", "9", "3", "7"), "FENCED 10");
    raw_stop(&r);
}

TEST(commits_in_the_wrong_order) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    acquire(&r, "1");
    CHECK_STR(commit(&r, "1", "2", "8", "new"), "OK");
    CHECK_STR(commit(&r, "1", "1", "9", "late"), "OLD");
    CHECK_STR(commit(&r, "1", "2", "8", "same"), "OLD");
    CHECK_STR(commit(&r, "1", "3", "7", "back"), "OLD"); /* never falls */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 8 1 new" NEW);
    CHECK_STR(commit(&r, "1", "3", "8", "map"), "OK"); /* only the ack map is new */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 8 1 map" NEW);
    CHECK_STR(commit(&r, "1", "10", "9", ""), "OK"); /* 10 comes after 3, as numbers do */
    CHECK_STR(commit(&r, "1", "9", "10", ""), "OLD");
    CHECK_STR(commit(&r, "1", "11", "10", ""), "OK");
    CHECK_STR(commit(&r, "1", "12", "9", ""), "OLD");
    /* Acquired again under the same epoch: its sequence goes on. */
    CHECK_STR(acquire(&r, "1"), "OK 1:0 10 0 20 " NEW);
    CHECK_STR(commit(&r, "1", "11", "11", ""), "OLD");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 10 1 " NEW);
    raw_stop(&r);
}

TEST(past_the_end_of_the_log) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    acquire(&r, "1");
    CHECK_STR(commit(&r, "1", "1", "20", ""), "OK");
    CHECK_STR(commit(&r, "1", "2", "21", ""), "AHEAD 20");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 20 1 " NEW);
    /* The log has lost its tail: whoever comes sees it from committed and next. */
    raw_cmd(&r, "HSET %s next 15", RAW_KEY(&r, 'S'));
    CHECK_STR(acquire(&r, "2"), "OK 1:0 20 0 15 " NEW);
    CHECK_STR(commit(&r, "2", "1", "20", ""), "AHEAD 15");
    raw_stop(&r);
}

TEST(low_is_the_slowest_of_all) {
    raw r;
    start(&r);
    raw a = r, b = r, c = r;
    a.group = "a";
    b.group = "b";
    c.group = "c";
    CHECK_STR(create(&a, "earliest"), "OK");
    CHECK_STR(create(&b, "earliest"), "OK");
    CHECK_STR(create(&c, "latest"), "OK");
    acquire(&a, "1");
    acquire(&b, "1");
    CHECK_STR(commit(&a, "1", "1", "12", ""), "OK");
    CHECK_STR(low(&r), "0");
    CHECK_STR(commit(&b, "1", "1", "4", ""), "OK");
    CHECK_STR(low(&r), "4");
    CHECK_STR(commit(&b, "1", "2", "15", ""), "OK");
    CHECK_STR(low(&r), "12");
    CHECK_STR(raw_call(&r, "cursor_delete", "a", RAW_GID, NULL), "OK");
    CHECK_STR(low(&r), "15");
    CHECK_STR(raw_call(&r, "cursor_delete", "a", RAW_GID, NULL), "OK");
    CHECK_STR(low(&r), "15");
    CHECK_STR(raw_call(&r, "cursor_delete", "b", RAW_GID, NULL), "OK");
    CHECK_STR(low(&r), "20");
    CHECK_STR(raw_call(&r, "cursor_delete", "c", RAW_GID, NULL), "OK");
    CHECK_STR(low(&r), "");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'C'), RAW_KEY(&r, 'K')), "0");
    CHECK_STR(raw_cmd(&r, "XINFO GROUPS %s", RAW_KEY(&r, 'L')), "");
    CHECK_STR(commit(&a, "1", "2", "13", ""), "LOST cursor");
    CHECK_STR(acquire(&a, "2"), "LOST cursor");
    CHECK_STR(read_back(&a), "LOST cursor");
    raw_stop(&r);
}

TEST(ack_maps_are_bytes) {
    static const char map[] = {0, 1, '\r', '\n', (char)0xff, 0, ' '};
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    acquire(&r, "1");
    raw_cmd(&r, "HSET %s g:acks %b", RAW_KEY(&r, 'C'), map, sizeof map);
    redisReply *reply = raw_call_argv(&r, "cursor_read", 2, (const char *const[]){RAW_INC, "g"});
    CHECK_EQ(reply->elements, 12);
    CHECK_MEM(reply->element[6]->str, (size_t)reply->element[6]->len, map, sizeof map);
    freeReplyObject(reply);
    raw_stop(&r);
}

/* All that a commit stores comes back as it was, to a read and to the next owner. */
TEST(commits_store_everything_together) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(acquire(&r, "1"), "OK 1:0 0 0 20 " NEW);
    CHECK_STR(commit_all(&r, "1", "1", "5", "acks", "tries", "12", "note"), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 1 acks tries 12 note 0");
    /* What an earlier owner or an earlier commit says changes none of it. */
    CHECK_STR(commit_all(&r, "1", "1", "6", "old", "old", "13", "old"), "OLD");
    CHECK_STR(commit_all(&r, "1", "2", "4", "old", "old", "13", "old"), "OLD");
    CHECK_STR(commit_all(&r, "2", "2", "6", "no", "no", "13", "no"), "FENCED 1");
    CHECK_STR(commit_all(&r, "1", "2", "21", "no", "no", "13", "no"), "AHEAD 20");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 1 acks tries 12 note 0");
    /* Nor does a new owner, until it commits: it may die at once. */
    CHECK_STR(acquire(&r, "2"), "OK 1:0 5 0 20 acks tries 12 note 0");
    CHECK_STR(acquire(&r, "3"), "OK 1:0 5 0 20 acks tries 12 note 0");
    CHECK_STR(commit_all(&r, "3", "1", "5", "", "", "", "kept"), "OK"); /* it hands over */
    CHECK_STR(acquire(&r, "4"), "OK 1:0 5 0 20    kept 0");
    CHECK_STR(create(&r, "latest"), "OK"); /* again: changes nothing */
    CHECK_STR(read_back(&r), "OK 1:0 0 20 5 4    kept 0");
    raw_stop(&r);
}

TEST(tries_and_notes_are_bytes) {
    static const char bytes[] = {0, 1, '\r', '\n', (char)0xff, 0, ' '};
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(acquire(&r, "1"), "OK 1:0 0 0 20 " NEW);
    raw_cmd(&r, "HSET %s g:tries %b g:note %b", RAW_KEY(&r, 'C'), bytes, sizeof bytes, bytes,
            sizeof bytes);
    redisReply *reply = raw_call_argv(&r, "cursor_acquire", 5,
                                      (const char *const[]){RAW_INC, "g", RAW_GID, "2", "n"});
    CHECK_EQ(reply->elements, 10);
    CHECK_MEM(reply->element[6]->str, (size_t)reply->element[6]->len, bytes, sizeof bytes);
    CHECK_MEM(reply->element[8]->str, (size_t)reply->element[8]->len, bytes, sizeof bytes);
    freeReplyObject(reply);
    raw_stop(&r);
}

/* Fields that somebody has removed are as they were at first; nothing of a deleted group stays. */
TEST(fields_that_are_missing) {
    static const char *const fields[] = {"acks", "tries", "high", "note", "since"};
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    CHECK_STR(raw_cmd(&r, "HLEN %s", RAW_KEY(&r, 'C')), "9");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        CHECK_STR(raw_cmd(&r, "HDEL %s g:%s", RAW_KEY(&r, 'C'), fields[i]), "1");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 0 0 " NEW);
    CHECK_STR(acquire(&r, "1"), "OK 1:0 0 0 20 " NEW);
    CHECK_STR(commit_all(&r, "1", "1", "5", "a", "t", "6", "n"), "OK");
    raw_cmd(&r, "HSET %s g:since 17", RAW_KEY(&r, 'C'));
    CHECK_STR(commit_all(&r, "1", "2", "6", "", "", "7", ""), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 6 1   7  17");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'C'), RAW_KEY(&r, 'K')), "0");
    CHECK_STR(create(&r, "latest"), "OK");
    CHECK_STR(read_back(&r), "OK 1:0 0 20 20 0 " NEW);
    raw_stop(&r);
}

TEST(a_group_may_start_at_an_offset) {
    static const struct {
        const char *start, *at;
    } starts[] = {{"7", "7"},
                  {"12", "12"},
                  {"20", "20"},
                  {"3", "5"},
                  {"0", "5"},
                  {"21", "20"},
                  {"007", "7"},
                  {"9007199254740991", "20"},
                  {"99999999999999999999999", "20"}};
    raw r;
    start(&r);
    raw_cmd(&r, "HSET %s first 5", RAW_KEY(&r, 'S'));
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        CHECK_STR(create(&r, starts[i].start), "OK");
        CHECK_STR(read_back(&r), raw_line("OK 1:0 5 20 %s 0 " NEW, starts[i].at));
        CHECK_STR(low(&r), starts[i].at);
        CHECK_STR(raw_group_info(&r, "g", "entries-read"), starts[i].at);
        CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    }
    static const char *const wrong[] = {"", "-1", "0x10", "1e3", "nan", "7 ", "Latest"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ(create(&r, wrong[i])[0], '-');
        CHECK_STR(raw_cmd(&r, "EXISTS %s %s", RAW_KEY(&r, 'C'), RAW_KEY(&r, 'K')), "0");
        CHECK_STR(raw_group_info(&r, "g", "entries-read"), "none");
    }
    raw_stop(&r);
}

static void check_all(const raw *r, const char *answer, const char *acquired) {
    CHECK_STR(commit(r, "1", "2", "6", ""), answer);
    CHECK_STR(read_back(r), answer);
    CHECK_STR(acquire(r, "1"), acquired);
}

TEST(what_is_lost_is_said) {
    raw r;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    acquire(&r, "1");
    CHECK_STR(raw_call(&r, "cursor_commit", "other", "g", RAW_GID, "1", "1", "5", "", "", "", "",
                       "n", NULL),
              "LOST incarnation");
    CHECK_STR(raw_call(&r, "cursor_acquire", "other", "g", RAW_GID, "1", "n", NULL),
              "LOST incarnation");
    CHECK_STR(raw_call(&r, "cursor_create", "other", "h", RAW_GID, "latest", NULL),
              "LOST incarnation");
    CHECK_STR(raw_call(&r, "cursor_read", "other", "g", NULL), "LOST incarnation");
    CHECK_STR(raw_call(&r, "cursor_read", "", "", NULL), "OK 1:0 0 20"); /* any; without a group */
    CHECK_STR(raw_call(&r, "cursor_commit", RAW_INC, "g", "older", "1", "1", "5", "", "", "", "",
                       "n", NULL),
              "LOST cursor");
    CHECK_STR(raw_call(&r, "cursor_acquire", RAW_INC, "g", "older", "1", "n", NULL), "LOST cursor");

    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'K'));
    check_all(&r, "LOST cursor", "LOST cursor");
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'K'));
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'C'));
    check_all(&r, "LOST cursor", "LOST cursor");
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'C'));
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'S'));
    check_all(&r, "LOST state", "LOST state");
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "h", RAW_GID, "latest", NULL), "LOST state");
    CHECK_STR(raw_call(&r, "cursor_read", "", "", NULL), "LOST state");
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'S'));
    raw_cmd(&r, "RENAME %s aside", RAW_KEY(&r, 'L'));
    CHECK_STR(read_back(&r), "LOST log");
    CHECK_STR(acquire(&r, "1"), "LOST log");
    CHECK_STR(raw_call(&r, "cursor_create", RAW_INC, "h", RAW_GID, "latest", NULL), "LOST log");
    CHECK_STR(raw_cmd(&r, "EXISTS %s", RAW_KEY(&r, 'L')), "0");
    CHECK_STR(raw_cmd(&r, "ZSCORE %s h", RAW_KEY(&r, 'K')), "nil");
    raw_cmd(&r, "SET %s x", RAW_KEY(&r, 'L')); /* not lost, but something else: an error */
    CHECK_CONTAINS(read_back(&r), "-WRONGTYPE");
    CHECK_CONTAINS(acquire(&r, "1"), "-WRONGTYPE");
    raw_cmd(&r, "DEL %s", RAW_KEY(&r, 'L'));
    raw_cmd(&r, "RENAME aside %s", RAW_KEY(&r, 'L'));
    CHECK_STR(acquire(&r, "1"), "OK 1:0 0 0 20 " NEW);
    raw_cmd(&r, "FLUSHALL");
    CHECK_STR(raw_call(&r, "cursor_delete", "g", RAW_GID, NULL), "OK");
    CHECK_STR(raw_cmd(&r, "DBSIZE"), "0");
    raw_stop(&r);
}

/* ---- the same through redis/ops ----------------------------------------------------------- */

typedef struct heard {
    int calls;
    sg_cursor_answer a;
    char bytes[100]; /* acks, tries, note */
} heard;

static void on_cursor(void *arg, const sg_result *r) {
    heard *h = arg;
    h->calls++;
    sg_cursor_read_answer(r, &h->a);
    snprintf(h->bytes, sizeof h->bytes, "%.*s/%.*s/%.*s", (int)h->a.acks.len,
             h->a.acks.len > 0 ? (const char *)h->a.acks.data : "", (int)h->a.tries.len,
             h->a.tries.len > 0 ? (const char *)h->a.tries.data : "", (int)h->a.note.len,
             h->a.note.len > 0 ? (const char *)h->a.note.data : "");
}

static void check_place(const heard *h, uint64_t committed, bool clean, uint64_t high,
                        const char *bytes) {
    CHECK_EQ(h->a.kind, SG_CURSOR_OK);
    CHECK_EQ(h->a.era, 1);
    CHECK_EQ(h->a.first, 0);
    CHECK_EQ(h->a.next, 20);
    CHECK_EQ(h->a.committed, committed);
    CHECK_EQ(h->a.clean, clean);
    CHECK_EQ(h->a.high, high);
    CHECK_STR(h->bytes, bytes);
}

#define CURSOR(send)                                                                               \
    do {                                                                                           \
        h = (heard){0};                                                                            \
        CHECK(send);                                                                               \
        RIG_WAIT(&t, h.calls > 0);                                                                 \
    } while (0)

TEST(cursors_of_the_library) {
    sg_stream s = {.ns = RAW_NS, .name = RAW_STREAM, .inc = RAW_INC, .partitions = 1};
    sg_group g = {.name = "g", .gid = RAW_GID};
    raw r;
    rig t = {0};
    heard h;
    start(&r);
    CHECK_STR(create(&r, "earliest"), "OK");
    rig_connect(&t, server_url(r.server));
    CURSOR(sg_cursor_acquire_send(t.conn, &s, &g, 0, 3, "n", on_cursor, &h));
    check_place(&h, 0, true, 0, "//");
    CHECK_EQ(h.a.since, 0);
    sg_commit m = {.stream = &s,
                   .group = &g,
                   .epoch = 3,
                   .seq = 1,
                   .committed = 4,
                   .high = UINT64_C(1) << 52,
                   .acks = {"aa", 2},
                   .tries = {"t", 1},
                   .note = {"nnn", 3},
                   .nonce = "n"};
    CURSOR(sg_cursor_commit_send(t.conn, &m, on_cursor, &h));
    CHECK_EQ(h.a.kind, SG_CURSOR_OK);
    CURSOR(sg_cursor_commit_send(t.conn, &m, on_cursor, &h));
    CHECK_EQ(h.a.kind, SG_CURSOR_OLD);
    CURSOR(sg_cursor_read_send(t.conn, &s, "g", 0, on_cursor, &h));
    check_place(&h, 4, false, UINT64_C(1) << 52, "aa/t/nnn");
    CHECK_EQ(h.a.epoch, 3);
    m = (sg_commit){.stream = &s,
                    .group = &g,
                    .epoch = 3,
                    .seq = 2,
                    .committed = 5,
                    .clean = true,
                    .nonce = "n"};
    raw_cmd(&r, "HSET %s g:since 9", RAW_KEY(&r, 'C'));
    CURSOR(sg_cursor_commit_send(t.conn, &m, on_cursor, &h));
    CURSOR(sg_cursor_acquire_send(t.conn, &s, &g, 0, 4, "n", on_cursor, &h));
    check_place(&h, 5, true, 0, "//");
    CHECK_EQ(h.a.since, 9);
    raw_cmd(&r, "HSET %s g:high nonsense", RAW_KEY(&r, 'C'));
    CURSOR(sg_cursor_read_send(t.conn, &s, "g", 0, on_cursor, &h));
    CHECK_EQ(h.a.kind, SG_CURSOR_REFUSED);
    CHECK_EQ(h.a.err.status, SEG_EPROTO);
    CURSOR(sg_cursor_read_send(t.conn, &s, NULL, 0, on_cursor, &h));
    CHECK(h.a.kind == SG_CURSOR_OK && h.a.next == 20);
    rig_close(&t);
    raw_stop(&r);
}

/* ---- by chance ---------------------------------------------------------------------------- */

/* Owners of several groups commit with old and new epochs and sequences; a model says what is
 * taken. */
TEST(by_chance) {
    static const char *const names[] = {"a", "b", "c"};
    struct {
        uint64_t epoch, seq, at;
        const char *acks;
    } m[3] = {{.acks = ""}, {.acks = ""}, {.acks = ""}};
    sg_rng rng = {test_seed()};
    raw r;
    start(&r);
    for (size_t i = 0; i < 3; i++) {
        r.group = names[i];
        CHECK_STR(create(&r, "earliest"), "OK");
    }
    for (int step = 0; step < 2000; step++) {
        size_t i = sg_rng_below(&rng, 3);
        uint64_t epoch = m[i].epoch + sg_rng_below(&rng, 4), seq = m[i].seq + sg_rng_below(&rng, 3);
        uint64_t at = m[i].at + sg_rng_below(&rng, 3), lowest = UINT64_MAX;
        epoch = epoch > 1 ? epoch - 1 : 1;
        at = at > 0 ? at - (at > 1 && sg_rng_below(&rng, 2)) : 0;
        r.group = names[i];
        const char *e = raw_line("%" PRIu64, epoch), *expected;
        if (sg_rng_below(&rng, 10) == 0) {
            const char *answer = acquire(&r, e);
            CHECK_STR(answer, epoch < m[i].epoch
                                  ? raw_line("STALE %" PRIu64, m[i].epoch)
                                  : raw_line("OK 1:0 %" PRIu64 " 0 20 %s" NEW, m[i].at, m[i].acks));
            m[i].seq = epoch > m[i].epoch ? 0 : m[i].seq;
            m[i].epoch = epoch > m[i].epoch ? epoch : m[i].epoch;
        } else {
            expected = epoch != m[i].epoch               ? raw_line("FENCED %" PRIu64, m[i].epoch)
                       : seq <= m[i].seq || at < m[i].at ? "OLD"
                       : at > 20                         ? "AHEAD 20"
                                                         : "OK";
            CHECK_STR(commit(&r, e, raw_line("%" PRIu64, seq), raw_line("%" PRIu64, at), "x"),
                      expected);
            if (strcmp(expected, "OK") == 0) {
                m[i].seq = seq;
                m[i].at = at;
                m[i].acks = "x";
            }
        }
        for (size_t k = 0; k < 3; k++) {
            lowest = m[k].at < lowest ? m[k].at : lowest;
        }
        CHECK_STR(low(&r), raw_line("%" PRIu64, lowest));
        CHECK_STR(raw_group_info(&r, names[i], "lag"), raw_line("%" PRIu64, 20 - m[i].at));
    }
    raw_stop(&r);
}
