/* The connection against a peer that the test plays itself, byte by byte, in the same thread: so
 * each fault happens at just the moment that it is about. */
#include "fake_rig.h"

TEST(answers_one_byte_at_a_time) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    RIG_WAIT(&t, fake_accepted(&f));
    RIG_WAIT(&t, fake_got(&f, "INFO\r\n"));
    for (size_t i = 0; welcome[i] != '\0'; i++) {
        CHECK_EQ(t.ups, 0);
        CHECK_EQ(write(f.peer, &welcome[i], 1), 1);
        rig_step(&t, 1000);
    }
    CHECK_EQ(t.ups, 1);
    CHECK_EQ(sg_conn_client_id(t.conn), 42);
    CHECK_STR(sg_conn_server(t.conn), "redis 7.0.0");
    outcome o;
    CHECK(rig_ask(&t, &o, 0, "GET k"));
    RIG_WAIT(&t, fake_got(&f, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"));
    const char answer[] = "*2\r\n$2\r\nab\r\n:-5\r\n";
    for (size_t i = 0; answer[i] != '\0'; i++) {
        CHECK_EQ(o.calls, 0);
        CHECK_EQ(write(f.peer, &answer[i], 1), 1);
        rig_step(&t, 1000);
    }
    CHECK_EQ(o.calls, 1);
    CHECK_EQ(o.count, 2);
    close_both(&f, &t);
}

TEST(another_protocol_is_hopeless_at_first_and_not_later) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    RIG_WAIT(&t, fake_accepted(&f));
    fake_say(&f, "HTTP/1.1 400 Bad Request\r\n\r\n");
    RIG_WAIT(&t, t.hopeless == 1);
    CHECK_STATUS(t.fatal.status, SEG_ECONN, &t.fatal);
    CHECK_CONTAINS(t.fatal.text, "does not speak the protocol of Redis");
    CHECK_CONTAINS(t.fatal.text, "/fake'");
    CHECK_EQ(t.failed, 1);
    fake_hang_up(&f);
    fake_welcome(&f, &t); /* it has gone on trying */
    fake_say(&f, "HTTP");
    RIG_WAIT(&t, t.downs == 1);
    CHECK_EQ(t.hopeless, 1);
    CHECK_CONTAINS(t.logged, "any more");
    close_both(&f, &t);
}

TEST(a_peer_that_closes_at_once_is_told_once) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    for (int i = 0; i < 4; i++) {
        RIG_WAIT(&t, fake_accepted(&f));
        fake_hang_up(&f);
        RIG_WAIT(&t, sg_conn_fd(t.conn) < 0);
        CHECK_STATUS(sg_conn_last_error(t.conn)->status, SEG_ECONN, sg_conn_last_error(t.conn));
    }
    CHECK_CONTAINS(sg_conn_last_error(t.conn)->text, "the handshake");
    CHECK_EQ(t.failed, 1); /* the same reason each time */
    CHECK_EQ(t.ups + t.downs + t.hopeless, 0);
    close_both(&f, &t);
}

TEST(what_was_said_before_hanging_up_is_passed_on) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    RIG_WAIT(&t, fake_accepted(&f));
    RIG_WAIT(&t, fake_got(&f, "INFO\r\n"));
    fake_say(&f, "-ERR max number of clients reached\r\n");
    shutdown(f.peer, SHUT_WR);
    RIG_WAIT(&t, t.failed == 1);
    CHECK_CONTAINS(t.logged, "closed the connection during the handshake");
    CHECK_CONTAINS(t.logged, "max number of clients");
    close_both(&f, &t);
}

TEST(silence_in_the_handshake_ends_at_the_timeout) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    RIG_WAIT(&t, fake_accepted(&f));
    RIG_WAIT(&t, fake_got(&f, "INFO\r\n"));
    t.skew += 4000;
    rig_step(&t, 0);
    CHECK_EQ(t.failed, 0);
    t.skew += 1001;
    rig_step(&t, 0);
    CHECK_EQ(t.failed, 1);
    CHECK_STATUS(sg_conn_last_error(t.conn)->status, SEG_ETIMEDOUT, sg_conn_last_error(t.conn));
    CHECK_CONTAINS(t.logged, "within 5000 ms during the handshake");
    close_both(&f, &t);
}

TEST(an_endless_greeting_is_cut) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    RIG_WAIT(&t, fake_accepted(&f));
    char block[4096];
    memset(block, 'a', sizeof block);
    fake_say(&f, "+");
    while (t.hopeless == 0) {
        CHECK(send(f.peer, block, sizeof block, MSG_NOSIGNAL) > 0 || errno == EAGAIN ||
              errno == EPIPE);
        rig_step(&t, 0);
    }
    CHECK_CONTAINS(t.fatal.text, "too much of an answer");
    close_both(&f, &t);
}

TEST(an_overdue_answer_ends_the_connection) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome a, b;
    CHECK(rig_ask(&t, &a, 0, "GET a"));
    CHECK(rig_ask(&t, &b, 0, "GET b"));
    RIG_WAIT(&t, fake_got(&f, "\r\nb\r\n"));
    CHECK_EQ(sg_conn_pending(t.conn), 2);
    t.skew += 5001;
    rig_step(&t, 0);
    CHECK_EQ(t.downs, 1);
    CHECK_EQ(a.calls, 1);
    CHECK_EQ(b.calls, 1);
    CHECK(a.lost && b.lost);
    CHECK_EQ(a.status, SEG_ECONN);
    CHECK_CONTAINS(a.text, "did not answer within 5000 ms");
    CHECK_EQ(sg_conn_pending(t.conn), 0);
    close_both(&f, &t);
}

TEST(being_stopped_for_an_hour_loses_no_answer) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome a, b;
    CHECK(rig_ask(&t, &a, 0, "GET a"));
    CHECK(rig_ask(&t, &b, 0, "GET b"));
    RIG_WAIT(&t, fake_got(&f, "\r\nb\r\n"));
    fake_say(&f, "+A\r\n");
    t.skew += 3600 * 1000;
    sg_conn_tick(t.conn, rig_now(&t)); /* the timer first, as a loop may well do */
    CHECK_STR(a.text, "A");
    CHECK_EQ(b.calls, 0); /* its own time begins now */
    CHECK(sg_conn_up(t.conn));
    fake_say(&f, "+B\r\n");
    RIG_WAIT(&t, b.calls == 1);
    CHECK_STR(b.text, "B");
    close_both(&f, &t);
}

TEST(a_blocking_request_holds_up_those_behind_it) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome a, b;
    CHECK(rig_ask(&t, &a, 10000, "XREAD BLOCK"));
    CHECK(rig_ask(&t, &b, 0, "GET b"));
    RIG_WAIT(&t, fake_got(&f, "\r\nb\r\n"));
    t.skew += 14000;
    rig_step(&t, 0);
    CHECK_EQ(a.calls + b.calls, 0);
    fake_say(&f, "*-1\r\n");
    RIG_WAIT(&t, a.calls == 1);
    t.skew += 4000;
    rig_step(&t, 0);
    CHECK_EQ(b.calls, 0);
    t.skew += 1001;
    rig_step(&t, 0);
    CHECK_EQ(b.calls, 1);
    CHECK(b.lost);
    close_both(&f, &t);
}

TEST(a_large_request_over_a_slow_line_is_not_overdue) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    enum { SIZE = 4 * 1024 * 1024 };
    char *value = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)('a' + i % 23);
    outcome o = {0};
    CHECK(sg_conn_begin(t.conn));
    sg_conn_command(t.conn, 1);
    sg_conn_arg(t.conn, value, SIZE);
    CHECK(sg_conn_end(t.conn, rig_on_result, &o, 0));
    const char head[] = "*1\r\n$4194304\r\n";
    size_t whole = strlen(head) + SIZE + 2;
    rig_step(&t, 0);
    CHECK_GT(sg_conn_unsent(t.conn), 0);
    while (f.len < whole) {
        t.skew += 1000; /* far more than the timeout, all in all */
        fake_read(&f, 65536);
        rig_step(&t, 0);
        CHECK_EQ(o.calls, 0);
    }
    CHECK_EQ(f.len, whole);
    CHECK_EQ(memcmp(f.got, head, strlen(head)), 0);
    CHECK_EQ(memcmp(f.got + strlen(head), value, SIZE), 0);
    CHECK_STR(f.got + whole - 2, "\r\n");
    CHECK_EQ(sg_conn_unsent(t.conn), 0);
    t.skew += 5001; /* sent, and now nothing comes */
    rig_step(&t, 0);
    CHECK_EQ(o.calls, 1);
    CHECK(o.lost);
    free(value);
    close_both(&f, &t);
}

TEST(a_large_answer_over_a_slow_line_is_not_overdue_a_trickle_is) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome o;
    CHECK(rig_ask(&t, &o, 0, "GET a"));
    RIG_WAIT(&t, fake_got(&f, "\r\na\r\n"));
    char *block = malloc(65536 + 1);
    memset(block, 'a', 65536);
    block[65536] = '\0';
    fake_say(&f, "$1048576\r\n");
    for (int i = 0; i < 8; i++) {
        fake_say(&f, block);
        t.skew += 4000;
        while (poll(&(struct pollfd){.fd = sg_conn_fd(t.conn), .events = POLLIN}, 1, 0) > 0)
            rig_step(&t, 0);
        CHECK_EQ(o.calls, 0);
    }
    for (int i = 0; i < 6; i++) {
        if (o.calls == 0)
            fake_say(&f, "a");
        t.skew += 1000;
        rig_step(&t, 0);
    }
    CHECK_EQ(o.calls, 1);
    CHECK(o.lost);
    free(block);
    close_both(&f, &t);
}

TEST(a_silent_peer_is_asked_for_a_sign) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    t.skew += 4000;
    rig_step(&t, 0);
    CHECK_EQ(fake_read(&f, 100), 0);
    t.skew += 1001;
    RIG_WAIT(&t, fake_got(&f, "PING\r\n"));
    CHECK_EQ(sg_conn_pending(t.conn), 0); /* not the user's */
    fake_say(&f, "+PONG\r\n");
    rig_step(&t, 1000);
    CHECK_GT(sg_conn_deadline(t.conn) - rig_now(&t), 4000);
    f.len = 0;
    t.skew += 5001;
    RIG_WAIT(&t, fake_got(&f, "PING\r\n"));
    t.skew += 5001;
    RIG_WAIT(&t, t.downs == 1);
    CHECK_CONTAINS(t.logged, "did not answer");
    close_both(&f, &t);
}

TEST(a_subscriber_is_asked_for_a_sign_too) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, true);
    fake_welcome(&f, &t);
    CHECK(sg_conn_subscribe(t.conn, "ch", true));
    RIG_WAIT(&t, fake_got(&f, "*2\r\n$10\r\nSSUBSCRIBE\r\n$2\r\nch\r\n"));
    fake_say(&f, "*3\r\n$10\r\nssubscribe\r\n$2\r\nch\r\n:1\r\n");
    RIG_WAIT(&t, t.pushes == 1);
    CHECK_STR(t.push[0], "ssubscribe");
    t.skew += 5001;
    RIG_WAIT(&t, fake_got(&f, "PING\r\n"));
    fake_say(&f, "*3\r\n$8\r\nsmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    RIG_WAIT(&t, t.pushes == 2);
    CHECK_STR(t.push[2], "hi");
    rig_step(&t, 0);
    CHECK(sg_conn_up(t.conn));
    CHECK_GT(sg_conn_deadline(t.conn) - rig_now(&t), 4000);
    close_both(&f, &t);
}

TEST(the_server_may_unsubscribe_by_itself_and_refuse) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, true);
    CHECK(!sg_conn_subscribe(t.conn, "ch", true)); /* not up */
    fake_welcome(&f, &t);
    fake_say(&f, "*3\r\n$12\r\nsunsubscribe\r\n$2\r\nch\r\n:0\r\n");
    RIG_WAIT(&t, t.pushes == 1);
    CHECK(sg_conn_subscribe(t.conn, "ch", true));
    CHECK(sg_conn_subscribe(t.conn, "ch", false));
    CHECK_EQ(sg_conn_pending(t.conn), 0);
    fake_say(&f, "-NOPERM no channel\r\n*3\r\n$12\r\nsunsubscribe\r\n$2\r\nch\r\n:0\r\n");
    RIG_WAIT(&t, t.pushes == 3);
    fake_say(&f, "-ERR unasked\r\n");
    RIG_WAIT(&t, t.downs == 1);
    CHECK_CONTAINS(t.logged, "ERR unasked");
    close_both(&f, &t);
}

TEST(an_answer_that_nobody_asked_for_ends_the_connection) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    fake_say(&f, "+SURPRISE\r\n");
    RIG_WAIT(&t, t.downs == 1);
    CHECK_CONTAINS(t.logged, "SURPRISE");
    close_both(&f, &t);
}

TEST(answers_before_the_end_are_given_out) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome a, b;
    CHECK(rig_ask(&t, &a, 0, "GET a"));
    RIG_WAIT(&t, fake_got(&f, "\r\na\r\n"));
    fake_say(&f, "+A\r\n");
    fake_hang_up(&f);
    CHECK(rig_ask(&t, &b, 0, "GET b"));
    sg_conn_flush(t.conn, rig_now(&t)); /* EPIPE */
    CHECK_EQ(a.calls + b.calls, 0);     /* flush calls nobody back */
    RIG_WAIT(&t, t.downs == 1);
    CHECK_STR(a.text, "A");
    CHECK_EQ(b.calls, 1);
    CHECK(b.lost);
    close_both(&f, &t);
}

TEST(the_first_refusal_of_several_commands_counts) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome o = {0};
    CHECK(sg_conn_begin(t.conn));
    for (int i = 0; i < 4; i++) {
        sg_conn_command(t.conn, 1);
        sg_conn_arg_u64(t.conn, UINT64_MAX);
    }
    CHECK(sg_conn_end(t.conn, rig_on_result, &o, 0));
    CHECK_EQ(sg_conn_pending(t.conn), 1);
    RIG_WAIT(&t, fake_got(&f, "18446744073709551615\r\n"));
    fake_say(&f, "+OK\r\n-OOM first\r\n-ERR second\r\n");
    rig_step(&t, 1000);
    CHECK_EQ(o.calls, 0);
    fake_say(&f, "-EXECABORT third\r\n");
    RIG_WAIT(&t, o.calls == 1);
    CHECK_EQ(o.status, SEG_EOOM);
    CHECK_STR(o.text, "OOM first");
    close_both(&f, &t);
}

TEST(a_request_built_wrongly_is_not_sent) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    outcome o = {0};
    CHECK(sg_conn_begin(t.conn));
    CHECK(!sg_conn_end(t.conn, rig_on_result, &o, 0)); /* no command */
    CHECK(sg_conn_begin(t.conn));
    sg_conn_command(t.conn, 2);
    sg_conn_arg_str(t.conn, "GET");
    CHECK(!sg_conn_end(t.conn, rig_on_result, &o, 0)); /* too few */
    CHECK(sg_conn_begin(t.conn));
    sg_conn_command(t.conn, 1);
    sg_conn_arg_str(t.conn, "GET");
    sg_conn_arg_str(t.conn, "k");
    CHECK(!sg_conn_end(t.conn, rig_on_result, &o, 0)); /* too many */
    CHECK(!sg_conn_end(t.conn, rig_on_result, &o, 0)); /* not begun */
    CHECK_EQ(sg_conn_unsent(t.conn), 0);
    CHECK_EQ(sg_conn_pending(t.conn), 0);
    CHECK_EQ(o.calls, 0);
    close_both(&f, &t);
}

TEST(reconnects_at_once_only_after_a_steady_connection) {
    fake f = {0};
    rig t = {0};
    open_both(&f, &t, 5000, false);
    fake_welcome(&f, &t);
    t.skew += 1500;
    fake_hang_up(&f);
    RIG_WAIT(&t, t.downs == 1);
    CHECK_GE(sg_conn_fd(t.conn), 0); /* the same round has begun to connect */
    fake_welcome(&f, &t);
    fake_hang_up(&f);
    int64_t before = rig_now(&t);
    RIG_WAIT(&t, t.downs == 2);
    CHECK_GE(sg_conn_deadline(t.conn), before + 10);
    CHECK_LE(sg_conn_deadline(t.conn), rig_now(&t) + 20);
    close_both(&f, &t);
}
