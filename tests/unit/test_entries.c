/* test_entries.c - the answer to an XREAD: what is read from it, however it comes, and what it must not
 * be. */
#include "entries_rig.h"

static sg_entries_state feed_text(sg_entries *e, const char *text) {
    size_t used;
    return feed_piece(e, text, strlen(text), &used);
}

/* What is read from a text, which is the whole answer, wherever it is cut in two. */
static void check_reads(const char *text, const char *expected) {
    sg_pool *pool = sg_pool_new(0);
    size_t len = strlen(text), used;
    sg_entries e;
    sg_buf shown;
    sg_entries_init(&e, pool);
    sg_buf_init(&shown, SHOWN_MAX);
    for (size_t cut = 0; cut < len; cut++) {
        sg_entries_expect(&e, asked, ASKED, MOST);
        CHECK_EQ(feed_steps(&e, (const uint8_t *)text, len, cut, 0, &used), SG_ENTRIES_DONE);
        CHECK_EQ(used, len);
        CHECK(e.fault == NULL && !e.starved);
        show_all(&shown, &e);
        CHECK(sg_buf_byte(&shown, '\0'));
        CHECK_STR((const char *)shown.data, expected);
        CHECK_EQ(e.nothing, strcmp(text, "*-1\r\n") == 0);
    }
    sg_buf_fini(&shown);
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

#define STREAM(key, entries) "*2\r\n" key "\r\n*" entries "\r\n"
#define A(entries)           STREAM("$1\r\na", entries)
#define ENTRY(id, rest)      "*2\r\n$3\r\n" id "\r\n" rest
#define VALUE(v)             "*2\r\n$1\r\nb\r\n" v "\r\n"

/* ---- What it says ------------------------------------------------------------------------- */

TEST(an_answer_may_be_of_nothing) {
    check_reads("*-1\r\n", "");
    check_reads("*1\r\n" A("0"), "");
    check_reads("*2\r\n" A("0") STREAM("$1\r\ne", "0"), "");
}

TEST(each_entry_is_read) {
    check_reads("*1\r\n" A("1") ENTRY("3-4", VALUE("$0\r\n")), "0 3-4 0:00000000\n");
    check_reads("*1\r\n" A("2") ENTRY("3-4", VALUE("$9\r\n123456789"))
                    ENTRY("3-5", VALUE("$0\r\n")),
                "0 3-4 9:e3069283\n0 3-5 0:00000000\n");
    check_reads("*3\r\n" A("1") ENTRY("3-4", VALUE("$9\r\n123456789")) STREAM("$3\r\nccc", "1")
                    ENTRY("1-0", VALUE("$0\r\n")) STREAM("$1\r\ne", "1")
                        ENTRY("0-7", VALUE("$9\r\n123456789")),
                "0 3-4 9:e3069283\n2 1-0 0:00000000\n4 0-7 9:e3069283\n");
}

TEST(what_is_not_ours_keeps_its_place) {
    static const char *const fields[] = {
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n$1\r\nb\r\n",
        "*2\r\n$0\r\n\r\n$1\r\nb\r\n",
        "*2\r\n$2\r\nbb\r\n$1\r\nb\r\n",
        "*2\r\n$1\r\nc\r\n$0\r\n\r\n",
        "*3\r\n$1\r\nb\r\n$1\r\nv\r\n$1\r\nc\r\n",
        "*4\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\nc\r\n$1\r\nd\r\n",
    };
    static const char next[] = ENTRY("3-5", VALUE("$9\r\n123456789"));
    char text[300];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        snprintf(text, sizeof text, "*1\r\n" A("2") ENTRY("3-4", "%s%s"), fields[i], next);
        check_reads(text, "0 3-4 its fields\n0 3-5 9:e3069283\n");
    }
    snprintf(text, sizeof text, "*1\r\n" A("2") ENTRY("3x4", VALUE("$0\r\n")) "%s", next);
    check_reads(text, "0 0-18446744073709551615 0:00000000\n0 3-5 9:e3069283\n");
}

/* What is not looked at is not mistaken for what stood in its place before: a key, or an ID. */
TEST(texts_that_are_too_long_are_not_those_before) {
    static const char key[] =
        "1-00000000000000000000000000000000000000002"; /* one more than an ID */
    static const sg_fetch_from from = {key, 1, 0};
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    char text[300];
    CHECK_EQ(strlen(key), 43);
    sg_entries_init(&e, pool);
    sg_entries_expect(&e, &from, 1, 1);
    snprintf(text, sizeof text, "*1\r\n*2\r\n$43\r\n%s\r\n*1\r\n*2\r\n$43\r\n%043d\r\n%s", key, 0,
             VALUE("$1\r\nv"));
    CHECK_EQ(feed_text(&e, text), SG_ENTRIES_DONE);
    CHECK_EQ(e.count, 1);
    CHECK_EQ(e.list[0].offset, UINT64_MAX);
    sg_entries_fini(&e);
    sg_pool_free(pool);
    check_reads("*1\r\n" A("1") ENTRY("bbb", "*2\r\n$2\r\nxx\r\n$1\r\nv\r\n"),
                "0 0-18446744073709551615 its fields\n");
}

/* No byte after the answer is used: it is for another. */
TEST(it_ends_where_it_ends) {
    static const char *const answers[] = {
        "*-1\r\n", "*1\r\n" A("0"), "*1\r\n" A("1") ENTRY("3-4", VALUE("$1\r\nv")),
        "*1\r\n" A("1") ENTRY("3-4", "*1\r\n$1\r\nb\r\n"), "*1\r\n" A("1") ENTRY("3-4", "*-1\r\n")};
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    sg_entries_init(&e, pool);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        char longer[200];
        size_t used, n = (size_t)snprintf(longer, sizeof longer, "%s*1\r\n", answers[i]);
        sg_entries_expect(&e, asked, ASKED, MOST);
        CHECK_EQ(feed_piece(&e, longer, n, &used), SG_ENTRIES_DONE);
        CHECK_EQ(used, strlen(answers[i]));
    }
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

TEST_DEADLINE(cuts_and_places_change_nothing, 120) {
    sg_rng rng = {test_seed()};
    sg_pool *pool = sg_pool_new(1 << 20);
    sg_entries e;
    sample s;
    int rounds = test_sanitized() ? 250 : 2500;
    sg_entries_init(&e, pool);
    sample_init(&s);
    for (int i = 0; i < rounds; i++) {
        sample_make(&rng, &s);
        for (int how = 0; how < 4; how++) {
            size_t used, len = s.bytes.len, cut = how == 0 ? 0 : sg_rng_below(&rng, len);
            sg_entries_expect(&e, asked, ASKED, MOST);
            sg_entries_state state = how < 2 ? feed_steps(&e, s.bytes.data, len, cut, 0, &used)
                                             : feed_random(&e, s.bytes.data, len, &rng, &used);
            CHECK_EQ(state, SG_ENTRIES_DONE);
            CHECK_EQ(used, len);
            check_shows(&e, &s.shown);
        }
    }
    sample_fini(&s);
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

/* ---- Large values ------------------------------------------------------------------------- */

#define VALUE_MAX (SG_BATCH_SIZE_MAX + SG_BATCH_HEADER)
#define SIZED     "*1\r\n" A("1") ENTRY("3-5", "*2\r\n$1\r\nb\r\n$%zu\r\n")

/* Only its head is looked at: 65 MiB pass, and nobody takes memory for them. */
TEST(a_value_that_is_too_large_is_passed) {
    enum { PIECE = 1 << 20 };
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    uint8_t *piece = calloc(1, PIECE), *to;
    char head[100];
    size_t left = VALUE_MAX + 1, used;
    sg_entries_init(&e, pool);
    sg_entries_expect(&e, asked, ASKED, MOST);
    CHECK_EQ(feed_text(&e, "*1\r\n" A("3") ENTRY("3-4", VALUE("$1\r\nv"))), SG_ENTRIES_MORE);
    snprintf(head, sizeof head, ENTRY("3-5", "*2\r\n$1\r\nb\r\n$%zu\r\n"), left);
    sg_alloc_fail_at(0, 0);
    size_t n = strlen(head);
    CHECK_EQ(sg_entries_feed(&e, (const uint8_t *)head, n, &used), SG_ENTRIES_MORE);
    CHECK_EQ(sg_entries_place(&e, &to), 0);
    for (; left > 0; left -= n) {
        n = left < PIECE ? left : PIECE;
        CHECK_EQ(sg_entries_feed(&e, piece, n, &used), SG_ENTRIES_MORE);
        CHECK_EQ(used, n);
    }
    CHECK_EQ(sg_alloc_fail_at(0, 0), 0);
    CHECK_EQ(feed_text(&e, "\r\n" ENTRY("3-6", VALUE("$1\r\nw"))), SG_ENTRIES_DONE);
    CHECK_EQ(e.count, 3);
    CHECK_EQ(e.list[1].offset, 5);
    CHECK(e.list[1].block == NULL && e.list[1].why != NULL);
    CHECK_MEM(sg_block_room(e.list[2].block), e.list[2].block->len, "w", 1);
    CHECK(!e.starved);
    sg_entries_expect(&e, asked, ASKED, MOST);
    snprintf(head, sizeof head, SIZED, SIZE_MAX / 2); /* the largest number that is read */
    CHECK_EQ(feed_text(&e, head), SG_ENTRIES_MORE);
    CHECK_EQ(sg_entries_feed(&e, piece, PIECE, &used), SG_ENTRIES_MORE);
    CHECK_LE(e.last_value, 1); /* nor are others expected to be so large */
    free(piece);
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

TEST(the_largest_value_is_received_into_its_place) {
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    uint8_t *to;
    char head[100];
    sg_entries_init(&e, pool);
    sg_entries_expect(&e, asked, ASKED, MOST);
    snprintf(head, sizeof head, SIZED, VALUE_MAX);
    CHECK_EQ(feed_text(&e, head), SG_ENTRIES_MORE);
    CHECK_EQ(sg_entries_place(&e, &to), VALUE_MAX);
    CHECK_PTR(to, sg_block_room(e.list[0].block));
    to[0] = 'x';
    sg_entries_placed(&e, VALUE_MAX - 1); /* as if they had come */
    CHECK_EQ(sg_entries_place(&e, &to), 1);
    *to = 'y';
    sg_entries_placed(&e, 1);
    CHECK_EQ(sg_entries_place(&e, &to), 0);
    CHECK_EQ(feed_text(&e, "\r\n"), SG_ENTRIES_DONE);
    CHECK_EQ(e.list[0].block->len, VALUE_MAX);
    CHECK_EQ(sg_block_room(e.list[0].block)[0], 'x');
    CHECK_EQ(sg_block_room(e.list[0].block)[VALUE_MAX - 1], 'y');
    CHECK_EQ(e.last_value, VALUE_MAX);
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

/* ---- What it must not be ------------------------------------------------------------------ */

static const struct {
    const char *text, *fault;
} broken[] = {
    /* the answer */
    {"*0\r\n", "an answer of no streams"},
    {"*6\r\n", "more streams than were asked for"},
    {"*9223372036854775807\r\n", "more streams than were asked for"},
    {"*9223372036854775808\r\n", "not in the form"},
    {"*-2\r\n", "not in the form"},
    {"*\r\n", "not in the form"},
    {"*x\r\n", "not in the form"},
    {"*+1\r\n", "not in the form"},
    {"*1 \r\n", "not in the form"},
    {"*1\n", "a line without an end"},
    {"*\n", "a line without an end"},
    {"*1\r\n\n", "a line without an end"},
    {"*1\r\n\r\n", "a line without an end"},
    {"*111111111111111111111111", "a length that is too long"},
    {"*1\r\n*000000000000000000000000\r\n", "a length that is too long"},
    /* a stream */
    {"*1\r\n$1\r\n", "a string where an array has to be"},
    {"*1\r\n*-1\r\n", "a nil where"},
    {"*1\r\n*1\r\n", "not a key and its entries"},
    {"*1\r\n*3\r\n", "not a key and its entries"},
    {"*1\r\n:1\r\n", "not in the form"},
    {"*1\r\n+OK\r\n", "not in the form"},
    {"*1\r\n-ERR no\r\n", "not in the form"},
    /* its key */
    {"*1\r\n*2\r\n*1\r\n", "a key that is no string"},
    {"*1\r\n*2\r\n*-1\r\n", "a nil where"},
    {"*1\r\n*2\r\n$-1\r\n", "not in the form"},
    {"*1\r\n*2\r\n:1\r\n", "not in the form"},
    {"*1\r\n*2\r\n$832\r\n", "a key that is too long"},
    {"*1\r\n*2\r\n$0\r\n\r\n", "a key that was not asked for"},
    {"*1\r\n*2\r\n$1\r\nx\r\n", "a key that was not asked for"},
    {"*1\r\n*2\r\n$1\r\nb\r\n", "a key that was not asked for"},
    {"*1\r\n*2\r\n$4\r\ncccc\r\n", "a key that was not asked for"},
    {"*2\r\n" STREAM("$2\r\nbb", "0") A("0"), "a key that was not asked for"},
    {"*2\r\n" STREAM("$2\r\nbb", "0") "*2\r\n$2\r\nbb\r\n", "a key that was not asked for"},
    {"*2\r\n" STREAM("$1\r\ne", "0") "*2\r\n$2\r\ncc\r\n", "a key that was not asked for"},
    /* its entries */
    {"*1\r\n*2\r\n$1\r\na\r\n$1\r\n", "a string where an array has to be"},
    {"*1\r\n*2\r\n$1\r\na\r\n*-1\r\n", "a nil where"},
    {"*1\r\n" A("7"), "more entries than were asked for"},
    {"*1\r\n" A("1") "$1\r\n", "a string where an array has to be"},
    {"*1\r\n" A("1") "*-1\r\n", "a nil where"},
    {"*1\r\n" A("1") "*1\r\n", "not an ID and its fields"},
    {"*1\r\n" A("1") "*3\r\n", "not an ID and its fields"},
    {"*1\r\n" A("1") "*2\r\n*1\r\n", "an ID that is no string"},
    {"*1\r\n" A("1") "*2\r\n*-1\r\n", "a nil where"},
    {"*1\r\n" A("1") "*2\r\n:1\r\n", "not in the form"},
    {"*1\r\n" A("1") ENTRY("3-4", "$1\r\n"), "a string where an array has to be"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n*1\r\n"), "a field whose name is no string"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n*-1\r\n"), "a nil where"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n*1\r\n"), "value is no string"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n*-1\r\n"), "a nil where"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n$-1\r\n"), "not in the form"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n:1\r\n"), "not in the form"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nc\r\n*1\r\n"), "a field that is no string"},
    {"*1\r\n" A("1") ENTRY("3-4", "*1\r\n*1\r\n"), "a field that is no string"},
    {"*1\r\n" A("1") ENTRY("3-4", "*3\r\n$1\r\nb\r\n*-1\r\n"), "a nil where"},
    /* strings that go on, or end in another way */
    {"*1\r\n*2\r\n$1\r\nab", "another length"},
    {"*1\r\n*2\r\n$1\r\na\n", "another length"},
    {"*1\r\n*2\r\n$1\r\na\r\r", "another length"},
    {"*1\r\n" A("1") "*2\r\n$2\r\n3-4\r\n", "another length"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$0\r\nb"), "another length"},
    {"*1\r\n" A("1") ENTRY("3-4", VALUE("$2\r\nabc")), "another length"},
    {"*1\r\n" A("1") ENTRY("3-4", VALUE("$0\r\nb")), "another length"},
    {"*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n$1\r\nv\rx"), "another length"},
    {"*1\r\n" A("1") ENTRY("3-4", "*1\r\n$1\r\nxy"), "another length"},
    /* the head of one that comes later */
    {"*1\r\n" A("2") ENTRY("3-4", VALUE("$1\r\nv")) "x\r\n", "not in the form"},
    {"*1\r\n" A("2") ENTRY("3-4", VALUE("$1\r\nv")) "\r\n", "a line without an end"},
    {"*2\r\n" A("1") ENTRY("3-4", VALUE("$1\r\nv")) ENTRY("3-5", "*0\r\n"), "not asked for"},
};

/* The fault is the same wherever it is cut. */
TEST(what_has_another_form_is_told) {
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    sg_entries_init(&e, pool);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const uint8_t *text = (const uint8_t *)broken[i].text;
        size_t len = strlen(broken[i].text), used;
        for (size_t cut = 0; cut < len; cut++) {
            sg_entries_expect(&e, asked, ASKED, MOST);
            CHECK(e.fault == NULL);
            sg_entries_state state = feed_steps(&e, text, len, cut, cut % 2, &used);
            if (state != SG_ENTRIES_BROKEN)
                FAIL("\"%s\" cut at %zu: state %d", broken[i].text, cut, (int)state);
            CHECK_CONTAINS(e.fault, broken[i].fault);
        }
    }
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

/* A key that is as long as keys may be, and one byte more. */
TEST(the_longest_key) {
    static char key[SG_KEY_MAX + 1], text[SG_KEY_MAX + 40];
    sg_entries e;
    sg_fetch_from from = {key, 1, 0};
    memset(key, 'k', SG_KEY_MAX - 1);
    sg_entries_init(&e, NULL);
    sg_entries_expect(&e, &from, 1, 1);
    snprintf(text, sizeof text, "*1\r\n*2\r\n$%d\r\n%s\r\n*0\r\n", SG_KEY_MAX - 1, key);
    CHECK_EQ(feed_text(&e, text), SG_ENTRIES_DONE);
    key[SG_KEY_MAX - 1] = 'k';
    sg_entries_expect(&e, &from, 1, 1);
    snprintf(text, sizeof text, "*1\r\n*2\r\n$%d\r\n%s\r\n*0\r\n", SG_KEY_MAX, key);
    CHECK_EQ(feed_text(&e, text), SG_ENTRIES_BROKEN);
    sg_entries_fini(&e);
}

/* Other bytes in the place of some: whatever is made of them, it is the same for each cut. */
TEST(what_is_damaged_is_the_same_for_each_cut) {
    static const char some[] = "*$-0123456789\r\nb";
    sg_rng rng = {test_seed()};
    sg_pool *pool = sg_pool_new(0);
    sg_entries whole, cuts;
    sg_buf shown;
    sample s;
    int refused = 0;
    sg_entries_init(&whole, pool);
    sg_entries_init(&cuts, pool);
    sg_buf_init(&shown, SHOWN_MAX);
    sample_init(&s);
    for (int i = 0; i < (test_sanitized() ? 800 : 8000); i++) {
        size_t used[2];
        sample_make(&rng, &s);
        size_t near = s.bytes.len < 300 ? s.bytes.len : 300;
        for (uint64_t k = 1 + sg_rng_below(&rng, 3); k > 0; k--)
            s.bytes.data[sg_rng_below(&rng, near)] = (uint8_t)some[sg_rng_below(&rng, 16)];
        sg_entries_expect(&whole, asked, ASKED, MOST);
        sg_entries_expect(&cuts, asked, ASKED, MOST);
        sg_entries_state a = feed_steps(&whole, s.bytes.data, s.bytes.len, 0, 0, &used[0]);
        sg_entries_state b = feed_random(&cuts, s.bytes.data, s.bytes.len, &rng, &used[1]);
        CHECK_EQ(a, b);
        CHECK_STR(whole.fault, cuts.fault);
        show_all(&shown, &whole);
        if (a == SG_ENTRIES_DONE) {
            CHECK_EQ(used[0], used[1]);
            check_shows(&cuts, &shown);
        }
        refused += a == SG_ENTRIES_BROKEN;
    }
    CHECK_GT(refused, 50);
    sample_fini(&s);
    sg_buf_fini(&shown);
    sg_entries_fini(&whole);
    sg_entries_fini(&cuts);
    sg_pool_free(pool);
}

/* ---- Other answers ------------------------------------------------------------------------ */

/* An error, or what answers another question: also where its later pieces begin like one of ours. */
TEST(an_answer_to_another_is_left_alone) {
    static const char *const others[] = {"-ERR *1\r\n", "+OK\r\n", ":1\r\n", "$-1\r\n",
                                         "_\r\n",       "\r\n",    "x",      "$1\r\n*\r\n"};
    sg_entries e;
    size_t used = 99;
    sg_entries_init(&e, NULL);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t len = strlen(others[i]);
        for (size_t cut = 1; cut <= len; cut++) {
            sg_entries_expect(&e, asked, ASKED, MOST);
            CHECK_EQ(feed_piece(&e, NULL, 0, &used), SG_ENTRIES_MORE);
            CHECK_EQ(feed_piece(&e, others[i], cut, &used), SG_ENTRIES_OTHER);
            CHECK_EQ(used, 0);
            CHECK_EQ(feed_piece(&e, others[i] + cut, len - cut, &used), SG_ENTRIES_OTHER);
            CHECK_EQ(used, 0);
            CHECK_EQ(feed_piece(&e, "*0\r\n", 4, &used), SG_ENTRIES_OTHER);
            CHECK_EQ(used, 0);
            CHECK_EQ(sg_entries_place(&e, &(uint8_t *){NULL}), 0);
            CHECK_EQ(e.count, 0);
            CHECK(e.fault == NULL && !e.nothing);
        }
    }
    sg_entries_expect(&e, asked, ASKED, MOST); /* and the next one is ours again */
    CHECK_EQ(feed_piece(&e, "*-1\r\n", 5, &used), SG_ENTRIES_DONE);
    sg_entries_fini(&e);
}

/* ---- One after another -------------------------------------------------------------------- */

static void let_go(sg_entries *e, int how) {
    if (how < 2)
        sg_entries_expect(e, asked, ASKED, MOST);
    else if (how == 2)
        sg_entries_clear(e);
    else
        sg_entries_fini(e);
    CHECK_EQ(e->count, 0);
}

TEST(the_next_answer_lets_go_of_the_blocks) {
    static const char text[] = "*1\r\n" A("3") ENTRY("3-4", VALUE("$1\r\nv"))
        ENTRY("3-5", VALUE("$1\r\nw")) ENTRY("3-6", VALUE("$3\r\nabc"));
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    size_t used, len = strlen(text);
    sg_entries_init(&e, pool);
    for (int how = 0; how < 4; how++) {
        sg_entries_expect(&e, asked, ASKED, MOST);
        CHECK_EQ(feed_piece(&e, text, how == 0 ? len - 4 : len, &used),
                 how == 0 ? SG_ENTRIES_MORE : SG_ENTRIES_DONE);
        CHECK_EQ(e.count, 3);
        sg_block *blocks[3];
        for (size_t i = 0; i < 3; i++) {
            blocks[i] = e.list[i].block;
            sg_block_ref(blocks[i]);
        }
        e.list[1].block = NULL; /* taken: both references are ours */
        sg_block_unref(blocks[1]);
        let_go(&e, how);
        for (size_t i = 0; i < 3; i++) {
            CHECK_EQ(atomic_load(&blocks[i]->references), 1);
            sg_block_unref(blocks[i]);
        }
    }
    sg_pool_free(pool);
}

TEST(the_size_of_values_is_remembered_for_a_while) {
    sg_entries e;
    sg_pool *pool = sg_pool_new(0);
    sg_entries_init(&e, pool);
    sg_entries_expect(&e, asked, ASKED, MOST);
    CHECK_EQ(e.last_value, 0);
    CHECK_EQ(feed_text(&e, "*1\r\n" A("1") ENTRY("3-4", "*2\r\n$1\r\nb\r\n$16000\r\nx")),
             SG_ENTRIES_MORE);
    CHECK_EQ(e.last_value, 16000);
    for (int i = 0; i < 3; i++) {
        sg_entries_expect(&e, asked, ASKED, MOST);
        CHECK_EQ(feed_text(&e, "*1\r\n" A("1") ENTRY("3-4", VALUE("$1\r\nv"))), SG_ENTRIES_DONE);
    }
    CHECK_LT(e.last_value, 12000);
    CHECK_GT(e.last_value, 8000);
    sg_entries_fini(&e);
    sg_pool_free(pool);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* The list is a beginning of what it ought to be, with no gap; all of it, or the end was told. */
static void check_beginning(const sg_entries *e, const sample *s) {
    sg_buf shown;
    sg_buf_init(&shown, SHOWN_MAX);
    show_all(&shown, e);
    CHECK_LE(shown.len, s->shown.len);
    CHECK_MEM(shown.data, shown.len, s->shown.data, shown.len);
    CHECK_EQ(e->starved, e->count < s->entries);
    sg_buf_fini(&shown);
}

enum { EACH = 50 };

/* Several streams of several entries, so many that the list grows twice. Some entries want no block, and
 * have their place all the same. */
static void make_many(sample *s) {
    put_head(&s->bytes, '*', ASKED);
    for (size_t i = 0; i < ASKED; i++) {
        put_head(&s->bytes, '*', 2);
        put_text(&s->bytes, asked[i].key);
        put_head(&s->bytes, '*', EACH);
        for (uint64_t k = 0; k < EACH; k++) {
            if (k % 10 != 3) {
                put_entry(s, i, 7, k, "some value", 5 + k % 6);
                continue;
            }
            put_head(&s->bytes, '*', 2);
            put_id(&s->bytes, 7, k);
            put_head(&s->bytes, '*', 0);
            show_entry(&s->shown, i, 7, k, NULL, 0, "its fields");
            s->entries++;
        }
    }
}

/* Whole, or in pieces of up to `most` bytes; no allocation but those of what is tested. */
static void feed_starving(sg_entries *e, const sample *s, sg_rng *rng, size_t most) {
    sg_entries_state state = SG_ENTRIES_MORE;
    for (size_t at = 0, used; at < s->bytes.len; at += used) {
        size_t piece = most > 0 ? 1 + sg_rng_below(rng, most) : s->bytes.len;
        piece = piece < s->bytes.len - at ? piece : s->bytes.len - at;
        state = sg_entries_feed(e, s->bytes.data + at, piece, &used);
        if (used != piece)
            break;
    }
    sg_alloc_fail_at(0, 0);
    CHECK_EQ(state, SG_ENTRIES_DONE);
    check_beginning(e, s);
}

TEST(where_memory_ends_so_does_the_list) {
    sg_pool *pool = sg_pool_new(0);
    sg_rng rng = {test_seed()};
    sample s;
    sample_init(&s);
    make_many(&s);
    for (int forever = 0; forever < 2; forever++) {
        bool starved = true;
        for (uint64_t n = 1; starved; n++) {
            sg_entries e;
            CHECK_LT(n, 1000);
            sg_entries_init(&e, pool);
            sg_entries_expect(&e, asked, ASKED, EACH);
            sg_alloc_fail_at(n, forever);
            feed_starving(&e, &s, &rng, n % 2 == 0 ? 0 : 100);
            starved = e.starved;
            sg_entries_expect(&e, asked, ASKED, EACH); /* and all of it, when there is some */
            feed_starving(&e, &s, &rng, 0);
            CHECK(!e.starved);
            sg_entries_fini(&e);
        }
    }
    sample_fini(&s);
    sg_pool_free(pool);
}
