/* XREAD's answers on a connection, from a server that the test plays itself: however they arrive, each
 * question ends once, and with all of its entries or as lost. */
#include "fake_rig.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "redis/ops.h"

static const sg_fetch_from from[] = {{"a", 1, 5}, {"bb", 1, 7}};

enum { COUNT = 4, LARGE = 3 << 20 };

typedef struct bench {
    fake f;
    rig t;
    sg_pool *pool;
    sg_entries in;
    int calls, again; /* `again`: questions that its answer is followed by at once */
    bool drop;        /* the connection, when the answer is there */
    seg_status status;
    bool lost;
    char text[200];
    sg_buf shown; /* all entries of the answers */
} bench;

static bool ask(bench *b);

static void on_entries(void *arg, const sg_result *r) {
    bench *b = arg;
    b->calls++;
    b->status = r->status;
    b->lost = r->lost;
    snprintf(b->text, sizeof b->text, "%s", r->text != NULL ? r->text : "");
    for (size_t i = 0; i < b->in.count && r->status == SEG_OK; i++) {
        const sg_entry *e = &b->in.list[i];
        CHECK(sg_buf_printf(&b->shown, "%zu:%d-%d=", e->from, (int)e->era, (int)e->offset));
        CHECK(e->block != NULL);
        CHECK(sg_buf_append(&b->shown, sg_block_room(e->block), e->block->len));
        CHECK(sg_buf_byte(&b->shown, ' '));
    }
    if (b->drop)
        sg_conn_drop(b->t.conn, "it was told to");
    if (b->again-- > 0)
        CHECK(ask(b));
}

static bool ask(bench *b) {
    return sg_fetch_send(b->t.conn, &b->in, from, 2, COUNT, 0, on_entries, b);
}

static void open_bench(bench *b) {
    *b = (bench){.pool = sg_pool_new(1 << 20)};
    sg_entries_init(&b->in, b->pool);
    sg_buf_init(&b->shown, SIZE_MAX);
    open_both(&b->f, &b->t, 5000, false);
    fake_welcome(&b->f, &b->t);
}

static void close_bench(bench *b) {
    close_both(&b->f, &b->t);
    sg_entries_fini(&b->in);
    sg_buf_fini(&b->shown);
    sg_pool_free(b->pool);
}

static void forget(bench *b) {
    sg_buf_clear(&b->shown);
    b->calls = 0;
    b->f.len = 0;
}

static void see_question(bench *b) {
    RIG_WAIT(&b->t, fake_got(&b->f, "$2\r\nbb\r\n$3\r\n1-4\r\n$3\r\n1-6\r\n"));
}

/* Ask, and see the server have the question. */
static void ask_now(bench *b) {
    forget(b);
    CHECK(ask(b));
    see_question(b);
}

static void check_answer(bench *b, const char *expected) {
    CHECK_EQ(b->calls, 1);
    CHECK_EQ(b->status, SEG_OK);
    CHECK(!b->lost);
    CHECK_MEM(b->shown.data, b->shown.len, expected, strlen(expected));
    CHECK(sg_conn_up(b->t.conn));
    CHECK_EQ(sg_conn_pending(b->t.conn), 0);
}

#define ENTRY(id, value) "*2\r\n$3\r\n" id "\r\n*2\r\n$1\r\nb\r\n" value "\r\n"
static const char two_streams[] = "*2\r\n*2\r\n$1\r\na\r\n*2\r\n" ENTRY("1-5", "$3\r\none")
    ENTRY("1-6", "$7\r\n\r\n*1\r\n-") "*2\r\n$2\r\nbb\r\n*1\r\n" ENTRY("2-7", "$0\r\n");
static const char in_two_streams[] = "0:1-5=one 0:1-6=\r\n*1\r\n- 1:2-7= ";

/* One that nothing happens to. */
static void ask_and_answer(bench *b) {
    ask_now(b);
    fake_say(&b->f, two_streams);
    RIG_WAIT(&b->t, b->calls > 0);
    check_answer(b, in_two_streams);
}

/* ---- Cut ------------------------------------------------------------------------------------ */

TEST(an_answer_that_is_cut_at_every_byte) {
    bench b;
    size_t len = strlen(two_streams);
    open_bench(&b);
    for (size_t cut = 0; cut < len; cut++) {
        ask_now(&b);
        if (cut > 0) {
            fake_say_bytes(&b.f, two_streams, cut);
            rig_step(&b.t, 1000);
            CHECK_EQ(b.calls, 0);
        }
        fake_say_bytes(&b.f, two_streams + cut, len - cut);
        RIG_WAIT(&b.t, b.calls > 0);
        check_answer(&b, in_two_streams);
    }
    ask_now(&b);
    for (size_t i = 0; i < len; i++) {
        CHECK_EQ(b.calls, 0);
        fake_say_bytes(&b.f, &two_streams[i], 1);
        rig_step(&b.t, 1000);
    }
    check_answer(&b, in_two_streams);
    CHECK_EQ(b.t.downs, 0);
    close_bench(&b);
}

TEST(nothing_came_and_then_something) {
    bench b;
    open_bench(&b);
    ask_now(&b);
    fake_say(&b.f, "*-1\r\n");
    RIG_WAIT(&b.t, b.calls > 0);
    check_answer(&b, "");
    CHECK(b.in.nothing);
    ask_and_answer(&b);
    CHECK(!b.in.nothing);
    close_bench(&b);
}

/* An error is an answer like any other, also where its later part could be taken for entries. */
TEST(a_refusal_that_is_cut) {
    static const char refusal[] = "-NOPERM *-1\r\n";
    bench b;
    open_bench(&b);
    for (size_t cut = 1; cut < sizeof refusal - 1; cut++) {
        ask_now(&b);
        fake_say_bytes(&b.f, refusal, cut);
        rig_step(&b.t, 1000);
        CHECK_EQ(b.calls, 0);
        fake_say(&b.f, refusal + cut);
        RIG_WAIT(&b.t, b.calls > 0);
        CHECK_EQ(b.calls, 1);
        CHECK_EQ(b.status, SEG_EACCES);
        CHECK_STR(b.text, "NOPERM *-1");
        CHECK(!b.lost);
    }
    ask_and_answer(&b);
    close_bench(&b);
}

/* ---- Large ---------------------------------------------------------------------------------- */

/* As much at a time as the socket takes, and what comes of it. */
static void say_slowly(bench *b, const uint8_t *bytes, size_t n) {
    while (n > 0) {
        ssize_t sent = write(b->f.peer, bytes, n);
        CHECK(sent > 0 || errno == EAGAIN);
        bytes += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
        rig_step(&b->t, 0);
    }
}

static void put_entry(sg_buf *answer, sg_buf *shown, unsigned number, size_t len) {
    CHECK(sg_buf_printf(answer, "*2\r\n$3\r\n1-%u\r\n*2\r\n$1\r\nb\r\n$%zu\r\n", number, len));
    CHECK(sg_buf_printf(shown, "0:1-%u=", number));
    CHECK(sg_buf_reserve(answer, len) && sg_buf_reserve(shown, len));
    for (size_t i = 0; i < len; i++) {
        uint8_t v = (uint8_t)((i * 2654435761u + number) >> 11);
        CHECK(sg_buf_byte(answer, v) && sg_buf_byte(shown, v));
    }
    CHECK(sg_buf_str(answer, "\r\n") && sg_buf_str(shown, " "));
}

/* Larger than a socket's buffer, and than what is read at a time; beside small ones, which have come
 * with it into the place of what is read ahead. */
TEST(entries_that_are_larger_than_the_socket_takes) {
    static const size_t sizes[][COUNT] = {{LARGE, 1, 0, 5000},
                                          {16384, 16383, 16385, 1},
                                          {1, LARGE / 2, LARGE, 10},
                                          {100000, 70000, 4096, 4097},
                                          {0, 0, 0, 0},
                                          {2, 300000, 3, 300000}};
    bench b;
    sg_buf answer, shown;
    open_bench(&b);
    sg_buf_init(&answer, SIZE_MAX);
    sg_buf_init(&shown, SIZE_MAX);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        sg_buf_clear(&answer);
        sg_buf_clear(&shown);
        CHECK(sg_buf_printf(&answer, "*1\r\n*2\r\n$1\r\na\r\n*%d\r\n", COUNT));
        for (unsigned k = 0; k < COUNT; k++)
            put_entry(&answer, &shown, k, sizes[i / 2][k]);
        ask_now(&b);
        say_slowly(&b, answer.data, answer.len);
        RIG_WAIT(&b.t, b.calls > 0);
        CHECK_EQ(b.calls, 1);
        CHECK_EQ(b.status, SEG_OK);
        CHECK_MEM(b.shown.data, b.shown.len, shown.data, shown.len);
    }
    CHECK_EQ(b.t.downs, 0);
    sg_buf_fini(&answer);
    sg_buf_fini(&shown);
    close_bench(&b);
}

/* ---- Over ----------------------------------------------------------------------------------- */

/* It ends as lost, once, and the next connection begins anew. */
TEST(a_connection_that_dies_in_the_middle_of_an_answer) {
    bench b;
    size_t len = strlen(two_streams);
    open_bench(&b);
    for (size_t cut = 0; cut < len; cut += 5) {
        ask_now(&b);
        fake_say_bytes(&b.f, two_streams, cut);
        fake_hang_up(&b.f);
        RIG_WAIT(&b.t, b.calls > 0);
        CHECK_EQ(b.calls, 1);
        CHECK(b.lost);
        CHECK_EQ(b.status, SEG_ECONN);
        CHECK(!sg_conn_up(b.t.conn));
        CHECK(!ask(&b));
        b.t.skew += 2000;
        fake_welcome(&b.f, &b.t);
        ask_and_answer(&b);
    }
    close_bench(&b);
}

TEST(an_answer_of_another_form_ends_the_connection) {
    static const struct {
        const char *answer, *fault;
    } bad[] = {
        {"*3\r\n", "more streams than were asked for"},
        {"*1\r\n*2\r\n$1\r\nx\r\n*0\r\n", "a key that was not asked for"},
        {"*1\r\n*2\r\n$1\r\na\r\n*5\r\n", "more entries than were asked for"},
        {"*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1-5", "$3\r\nfour"), "another length"},
        {"*1\r\n*2\r\n$1\r\na\r\n*2\r\n" ENTRY("1-5", "$1\r\nv") "+OK\r\n", "not in the form"},
        {"*1111111111111111111111111111\r\n", "too long"},
        {"*0\r\n", "no streams"},
        {"+OK\r\n", "not in the form"},
        {":1\r\n", "not in the form"},
        {"$-1\r\n", "not in the form"},
        {"$2\r\nno\r\n", "not in the form"},
    };
    bench b;
    open_bench(&b);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int downs = b.t.downs;
        ask_now(&b);
        fake_say(&b.f, bad[i].answer);
        RIG_WAIT(&b.t, b.calls > 0);
        CHECK_EQ(b.calls, 1);
        CHECK(b.lost);
        CHECK_EQ(b.t.downs, downs + 1);
        CHECK_EQ(b.t.hopeless, 0); /* it was understood before: it is tried again */
        CHECK_CONTAINS(b.text, bad[i].fault);
        CHECK_CONTAINS(b.t.logged, "does not speak the protocol any more");
        fake_hang_up(&b.f);
        b.t.skew += 2000;
        fake_welcome(&b.f, &b.t);
        ask_and_answer(&b);
    }
    close_bench(&b);
}

/* ---- Questions ------------------------------------------------------------------------------ */

/* Its answer would be looked for among the entries. */
TEST(while_entries_are_awaited_nothing_else_is_asked) {
    bench b;
    outcome o;
    open_bench(&b);
    ask_now(&b);
    for (int i = 0; i < 2; i++) { /* before and amid the answer */
        CHECK(!rig_ask(&b.t, &o, 0, "GET k"));
        CHECK(!sg_conn_begin(b.t.conn));
        CHECK_EQ(sg_conn_pending(b.t.conn), 1);
        CHECK_EQ(sg_conn_unsent(b.t.conn), 0);
        if (i == 0) {
            fake_say_bytes(&b.f, two_streams, 50);
            rig_step(&b.t, 1000);
        }
    }
    fake_say(&b.f, two_streams + 50);
    RIG_WAIT(&b.t, b.calls > 0);
    check_answer(&b, in_two_streams);
    CHECK(rig_ask(&b.t, &o, 0, "GET k")); /* nor entries while another is under way */
    CHECK(!ask(&b));
    CHECK_EQ(sg_conn_pending(b.t.conn), 1);
    RIG_WAIT(&b.t, fake_got(&b.f, "\r\nk\r\n"));
    CHECK(strstr(strstr(b.f.got, "GET"), "XREAD") == NULL);
    fake_say(&b.f, "$1\r\nv\r\n");
    RIG_WAIT(&b.t, o.calls == 1);
    CHECK_STR(o.text, "v");
    ask_and_answer(&b);
    close_bench(&b);
}

/* Let the connection ask its silent server for a sign, and then ask for entries. */
static void ask_behind_a_ping(bench *b, const char *early) {
    outcome o;
    forget(b);
    b->t.skew += 5001;
    RIG_WAIT(&b->t, fake_got(&b->f, "PING\r\n"));
    if (early[0] != '\0') { /* of its answer */
        fake_say(&b->f, early);
        rig_step(&b->t, 1000);
    }
    CHECK(ask(b));
    CHECK(!ask(b));
    CHECK(!rig_ask(&b->t, &o, 0, "GET k"));
    CHECK_EQ(sg_conn_pending(b->t.conn), 1);
    see_question(b);
}

/* Both answers, cut somewhere. */
TEST(entries_are_asked_for_behind_a_ping) {
    static const char *const signs[] = {"+PONG\r\n", "-ERR \r*1\r\n", "$3\r\na\nb\r\n",
                                        "*2\r\n$4\r\npong\r\n$0\r\n\r\n"};
    bench b;
    char all[300];
    open_bench(&b);
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        size_t len = (size_t)snprintf(all, sizeof all, "%s%s", signs[i], two_streams);
        for (size_t cut = 1; cut <= len; cut++) {
            ask_behind_a_ping(&b, "");
            fake_say_bytes(&b.f, all, cut);
            rig_step(&b.t, 1000);
            CHECK_EQ(b.calls, cut == len);
            CHECK(!sg_conn_begin(b.t.conn) || cut == len);
            fake_say_bytes(&b.f, all + cut, len - cut);
            RIG_WAIT(&b.t, b.calls > 0);
            check_answer(&b, in_two_streams);
        }
    }
    CHECK_EQ(b.t.downs, 0);
    close_bench(&b);
}

TEST(what_comes_behind_half_a_pong) {
    bench b;
    open_bench(&b);
    for (int i = 0; i < 3; i++) {
        ask_behind_a_ping(&b, "+PO");
        b.again = i; /* answers that follow at once */
        fake_say(&b.f, "NG\r\n-NOPERM no\r\n");
        if (i > 0)
            fake_say(&b.f, "*-1\r\n");
        if (i > 1)
            fake_say(&b.f, two_streams);
        RIG_WAIT(&b.t, b.calls == i + 1);
        CHECK_EQ(b.status, i == 0 ? SEG_EACCES : SEG_OK);
        CHECK_EQ(sg_conn_pending(b.t.conn), 0);
    }
    CHECK_MEM(b.shown.data, b.shown.len, in_two_streams, strlen(in_two_streams));
    CHECK_EQ(b.t.downs, 0);
    close_bench(&b);
}

/* Each has its own time, which begins when the one before it is answered. */
TEST(a_ping_before_entries_is_answered_in_time) {
    bench b;
    open_bench(&b);
    ask_behind_a_ping(&b, "");
    b.t.skew += 4000;
    fake_say(&b.f, "+PONG\r\n");
    rig_step(&b.t, 1000);
    b.t.skew += 4000;
    rig_step(&b.t, 0);
    fake_say(&b.f, two_streams);
    RIG_WAIT(&b.t, b.calls > 0);
    check_answer(&b, in_two_streams);
    ask_behind_a_ping(&b, "");
    b.t.skew += 5001;
    RIG_WAIT(&b.t, b.calls > 0);
    CHECK(b.lost);
    CHECK_EQ(b.calls, 1);
    CHECK_CONTAINS(b.text, "did not answer within 5000 ms");
    close_bench(&b);
}

/* The callback asks again, and the answers have come with the first one. */
TEST(answers_that_follow_one_another_at_once) {
    bench b;
    sg_buf all;
    open_bench(&b);
    sg_buf_init(&all, 1u << 20);
    ask_now(&b);
    b.again = 2;
    CHECK(sg_buf_str(&all, two_streams) && sg_buf_str(&all, "*-1\r\n"));
    CHECK(sg_buf_str(&all, two_streams));
    fake_say_bytes(&b.f, all.data, all.len);
    RIG_WAIT(&b.t, b.calls == 3);
    CHECK_EQ(b.shown.len, 2 * strlen(in_two_streams));
    CHECK(sg_conn_up(b.t.conn));
    CHECK_EQ(sg_conn_pending(b.t.conn), 0);
    sg_buf_fini(&all);
    close_bench(&b);
}

TEST(the_callback_may_end_the_connection) {
    bench b;
    sg_buf all;
    open_bench(&b);
    sg_buf_init(&all, 1u << 20);
    CHECK(sg_buf_str(&all, two_streams) && sg_buf_str(&all, "*1\r\n+more"));
    ask_now(&b);
    b.drop = true;
    fake_say_bytes(&b.f, all.data, all.len);
    RIG_WAIT(&b.t, b.calls > 0);
    CHECK_EQ(b.calls, 1);
    CHECK_EQ(b.status, SEG_OK);
    CHECK_EQ(b.t.downs, 1);
    CHECK_CONTAINS(b.t.logged, "it was told to");
    sg_buf_fini(&all);
    close_bench(&b);
}

/* Entries that find no memory are missing from there on; the connection is as good as before. */
TEST(no_memory_for_entries_is_no_fault_of_the_connection) {
    bench b;
    open_bench(&b);
    for (uint64_t n = 1; n < 6; n++) {
        ask_now(&b);
        fake_say(&b.f, two_streams);
        sg_alloc_fail_at(n, 0);
        RIG_WAIT(&b.t, b.calls > 0);
        sg_alloc_fail_at(0, 0);
        CHECK_EQ(b.status, SEG_OK);
        CHECK_EQ(b.in.starved, b.in.count < 3);
        CHECK_LE(b.shown.len, strlen(in_two_streams));
        CHECK_MEM(b.shown.data, b.shown.len, in_two_streams, b.shown.len);
    }
    ask_and_answer(&b);
    CHECK_EQ(b.t.downs, 0);
    close_bench(&b);
}

/* An answer before the question was sent: what is unsent of it is kept, or memory was the reason. */
TEST(no_memory_for_a_question_that_is_answered_before_it_is_sent) {
    static const char *const answers[] = {"*-1\r\n", "-ERR no\r\n"};
    static char key[5000];
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < 4; i++) {
        bench b;
        open_bench(&b);
        sg_entries_expect(&b.in, from, 2, COUNT);
        sg_conn_begin(b.t.conn);
        sg_conn_command(b.t.conn, 4);
        sg_conn_arg_str(b.t.conn, "XREAD");
        sg_conn_arg_str(b.t.conn, "STREAMS");
        sg_conn_arg_there(b.t.conn, key, sizeof key);
        sg_conn_arg_str(b.t.conn, "1-1");
        CHECK(sg_conn_end_entries(b.t.conn, &b.in, on_entries, &b, 0));
        fake_say(&b.f, answers[i / 2]);
        sg_alloc_fail_at(i % 2, 0);
        sg_conn_ready(b.t.conn, POLLIN, rig_now(&b.t));
        sg_alloc_fail_at(0, 0);
        CHECK_EQ(b.calls, 1);
        CHECK_EQ(b.lost, i % 2 > 0);
        CHECK_EQ(b.t.downs, i % 2);
        if (i % 2 > 0)
            CHECK_CONTAINS(b.text, "memory");
        close_bench(&b);
    }
}

TEST(entries_that_do_not_come_in_time_end_the_connection) {
    bench b;
    open_bench(&b);
    ask_now(&b);
    fake_say_bytes(&b.f, two_streams, 60); /* in the middle of a value */
    rig_step(&b.t, 1000);
    CHECK_EQ(b.calls, 0);
    b.t.skew += 5001;
    RIG_WAIT(&b.t, b.calls > 0);
    CHECK(b.lost);
    CHECK_CONTAINS(b.text, "did not answer within 5000 ms");
    close_bench(&b);
}
