/* The connection against a real server: what it asks of it, what it takes from it, and how it gets
 * over the server's going away. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "conn_rig.h"
#include "redis/script.h"
#include "server.h"

static void check_server_name(const rig *t, const server *s) {
    CHECK_CONTAINS(sg_conn_server(t->conn), server_is_valkey(s) ? "valkey " : "redis ");
}

TEST(connects_by_unix_socket) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    CHECK_EQ(t.ups, 1);
    CHECK_EQ(t.connected, 1);
    check_server_name(&t, s);
    CHECK_STR(rig_call(&t, "PING").text, "PONG");
    CHECK_EQ(rig_call(&t, "CLIENT ID").number, sg_conn_client_id(t.conn));
    CHECK_STR(rig_call(&t, "CLIENT GETNAME").text, "segmenter-test");
    CHECK_EQ(sg_conn_last_error(t.conn)->status, SEG_OK);
    rig_close(&t);
    server_stop(s);
}

TEST(connects_by_address) {
    server *s = server_start_tcp(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    CHECK_STR(rig_call(&t, "PING").text, "PONG");
    rig_close(&t);
    server_stop(s);
}

/* The server does not listen on ::1, so where the name has that address the next is tried. */
TEST(connects_by_name) {
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &found) != 0)
        SKIP("this machine does not know the name localhost");
    freeaddrinfo(found);
    server *s = server_start_tcp(NULL);
    rig t = {0};
    char url[64];
    snprintf(url, sizeof url, "redis://localhost:%d/5", server_port(s));
    rig_connect(&t, url);
    CHECK_STR(rig_call(&t, "SET k v").text, "OK");
    CHECK_EQ(server_int(s, "DBSIZE"), 0);
    server_do(s, "SELECT 5");
    CHECK_EQ(server_int(s, "DBSIZE"), 1);
    rig_close(&t);
    server_stop(s);
}

TEST(says_who_does_not_listen) {
    rig t = {0};
    char url[128];
    snprintf(url, sizeof url, "unix://%s/none", test_dir());
    rig_open(&t, url, 5000, false);
    for (int i = 0; i < 3; i++) {
        int64_t before = sg_conn_deadline(t.conn);
        RIG_WAIT(&t, sg_conn_deadline(t.conn) > before);
    }
    CHECK_EQ(t.failed, 1);
    CHECK_STATUS(sg_conn_last_error(t.conn)->status, SEG_ECONN, sg_conn_last_error(t.conn));
    CHECK_CONTAINS(t.logged, "/none': no such socket");
    rig_close(&t);

    /* A port that nobody listens on: bound, and kept, so that nobody else gets it. */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)(void *)&a, size), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)(void *)&a, &size), 0);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", ntohs(a.sin_port));
    rig r = {0};
    rig_open(&r, url, 5000, false);
    RIG_WAIT(&r, r.failed == 1);
    CHECK_CONTAINS(r.logged, "connection refused");
    CHECK_CONTAINS(r.logged, url + strlen("redis://"));
    rig_close(&r);
    close(fd);
}

TEST(an_unknown_name_neither_blocks_nor_outlives) {
    rig t = {0};
    rig_open(&t, "redis://no-such-host.invalid", 2000, false);
    int64_t before = test_now_ms();
    rig_step(&t, 0); /* begins the look-up */
    CHECK_LT(test_now_ms() - before, 1500);
    RIG_WAIT(&t, t.failed >= 1); /* unknown, or no resolver in reach: at the timeout */
    CHECK_CONTAINS(t.logged, "no-such-host.invalid:6379");
    rig_close(&t); /* while one may be under way */
}

TEST(pipelines_ten_thousand_requests) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    enum { N = 10000 };
    outcome *o = calloc(N, sizeof *o);
    for (int i = 0; i < N; i++)
        CHECK(rig_ask(&t, &o[i], 0, "INCR n"));
    CHECK_EQ(sg_conn_pending(t.conn), N);
    RIG_WAIT(&t, sg_conn_pending(t.conn) == 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(o[i].calls, 1);
        CHECK_EQ(o[i].number, i + 1);
    }
    free(o);
    rig_close(&t);
    server_stop(s);
}

TEST(carries_large_values_both_ways) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    enum { SIZE = 20 * 1024 * 1024 };
    char *value = malloc(SIZE);
    memset(value, 'v', SIZE);
    outcome o = {0};
    CHECK(sg_conn_begin(t.conn));
    sg_conn_command(t.conn, 3);
    sg_conn_arg_str(t.conn, "SET");
    sg_conn_arg_str(t.conn, "k");
    sg_conn_arg(t.conn, value, SIZE);
    CHECK(sg_conn_end(t.conn, rig_on_result, &o, 0));
    free(value);
    RIG_WAIT(&t, o.calls == 1);
    CHECK_STR(o.text, "OK");
    CHECK_EQ(rig_call(&t, "STRLEN k").number, SIZE);
    outcome got = rig_call(&t, "GET k");
    CHECK_EQ(got.status, SEG_OK);
    CHECK_EQ(got.text[0], 'v');
    rig_close(&t);
    server_stop(s);
}

static void add_command(rig *t, const char *a, const char *b, const char *c) {
    sg_conn_command(t->conn, b == NULL ? 1 : c == NULL ? 2 : 3);
    sg_conn_arg_str(t->conn, a);
    if (b != NULL)
        sg_conn_arg_str(t->conn, b);
    if (c != NULL)
        sg_conn_arg_str(t->conn, c);
}

static outcome transact(rig *t, const char *a, const char *b, const char *c) {
    outcome o = {0};
    CHECK(sg_conn_begin(t->conn));
    add_command(t, "MULTI", NULL, NULL);
    add_command(t, "INCR", "n", NULL);
    add_command(t, a, b, c);
    add_command(t, "EXEC", NULL, NULL);
    CHECK(sg_conn_end(t->conn, rig_on_result, &o, 0));
    CHECK_EQ(sg_conn_pending(t->conn), 1);
    RIG_WAIT(t, o.calls == 1);
    return o;
}

TEST(a_transaction_is_one_request) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    outcome o = transact(&t, "SET", "k", "v");
    CHECK_EQ(o.status, SEG_OK);
    CHECK_EQ(o.count, 2);
    o = transact(&t, "NOSUCH", "k", NULL); /* refused when queued: nothing is done */
    CHECK_EQ(o.status, SEG_ESERVER);
    CHECK_CONTAINS(o.text, "unknown command");
    CHECK_EQ(rig_call(&t, "GET n").number, 1);
    o = transact(&t, "LPUSH", "k", "v"); /* refused when run: an element of the answer */
    CHECK_EQ(o.status, SEG_OK);
    CHECK_EQ(o.count, 2);
    CHECK_EQ(rig_call(&t, "GET n").number, 2);
    rig_close(&t);
    server_stop(s);
}

TEST(refusals_have_their_status) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    CHECK_EQ(rig_call(&t, "SET k v").status, SEG_OK);
    CHECK_EQ(rig_call(&t, "LPUSH k v").status, SEG_EPROTO);
    CHECK_EQ(rig_call(&t, "NOSUCH").status, SEG_ESERVER);
    server_do(s, "CONFIG SET maxmemory 1");
    outcome o = rig_call(&t, "SET k v");
    CHECK_EQ(o.status, SEG_EOOM);
    CHECK_CONTAINS(o.text, "OOM");
    CHECK(!o.lost);
    server_do(s, "CONFIG SET maxmemory 0");
    server_do(s, "CONFIG SET min-replicas-to-write 1");
    CHECK_EQ(rig_call(&t, "SET k v").status, SEG_ECONN);
    server_do(s, "ACL SETUSER default -set");
    CHECK_EQ(rig_call(&t, "SET k v").status, SEG_EACCES);
    CHECK(sg_conn_up(t.conn));
    rig_close(&t);
    server_stop(s);
}

static void call_ready(rig *t, outcome *o) {
    *o = (outcome){0};
    sg_call *k = sg_call_new(sg_script_find("stream_ready"), 1);
    sg_call_str(k, "sg:{a/b}:meta");
    sg_call_str(k, "no such incarnation");
    CHECK(sg_call_send(k, t->conn, rig_on_result, o));
}

TEST(a_script_that_the_server_forgot_is_sent_again) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    outcome o[3];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            call_ready(&t, &o[i]); /* all under way at once */
        RIG_WAIT(&t, sg_conn_pending(t.conn) == 0);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(o[i].calls, 1);
            CHECK_EQ(o[i].status, SEG_OK);
            CHECK_EQ(o[i].count, 1); /* {'GONE'}: there is no such stream */
        }
        if (round > 0)
            server_do(s, "SCRIPT FLUSH");
    }
    size_t len;
    CHECK_CONTAINS(sg_script_body(sg_script_find("stream_ready"), &len), "#!lua");
    CHECK_GT(len, 20);
    rig_close(&t);
    server_stop(s);
}

TEST(a_script_call_ends_with_its_connection) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    outcome o;
    call_ready(&t, &o);
    sg_conn_drop(t.conn, "a test");
    CHECK_EQ(o.calls, 1);
    CHECK(o.lost);
    sg_call *k = sg_call_new(sg_script_find("stream_ready"), 1);
    sg_call_u64(k, 1);
    CHECK(!sg_call_send(k, t.conn, rig_on_result, &o)); /* not up: never called, and freed */
    CHECK(!sg_call_send(NULL, t.conn, rig_on_result, &o));
    CHECK_EQ(o.calls, 1);
    rig_close(&t);
    server_stop(s);
}

TEST(comes_back_after_a_kill_and_restart) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    outcome o;
    for (int i = 1; i <= 3; i++) {
        CHECK(rig_ask(&t, &o, 60000, "BLPOP none 0"));
        sg_conn_flush(t.conn, rig_now(&t));
        server_kill9(s);
        RIG_WAIT(&t, t.downs == i);
        CHECK_EQ(o.calls, 1);
        CHECK(o.lost);
        CHECK(!rig_ask(&t, &o, 0, "PING"));
        CHECK_EQ(sg_conn_client_id(t.conn), 0);
        check_server_name(&t, s); /* of the last time */
        RIG_WAIT(&t, t.failed == i);
        server_restart(s);
        RIG_WAIT(&t, t.ups == i + 1);
        CHECK_STR(rig_call(&t, "PING").text, "PONG");
    }
    CHECK_EQ(t.disconnected, 3);
    CHECK_EQ(t.connected, 4);
    rig_close(&t);
    server_stop(s);
}

TEST(a_stopped_server_is_overdue_and_then_found_again) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    server_pause(s);
    outcome o;
    CHECK(rig_ask(&t, &o, 0, "PING"));
    rig_step(&t, 0);
    t.skew += 5001;
    RIG_WAIT(&t, t.downs == 1);
    CHECK(o.lost);
    CHECK_CONTAINS(o.text, "did not answer");
    RIG_WAIT(&t, sg_conn_fd(t.conn) >= 0); /* its kernel still accepts */
    rig_step(&t, 0);
    t.skew += 5001;
    RIG_WAIT(&t, t.failed == 1);
    CHECK_CONTAINS(t.logged, "handshake");
    server_resume(s);
    RIG_WAIT(&t, t.ups == 2);
    rig_close(&t);
    server_stop(s);
}

/* Wait for a hopeless attempt; the text of it. */
static const char *hopeless_text(rig *t, const char *url, seg_status status) {
    rig_open(t, url, 5000, false);
    RIG_WAIT(t, t->hopeless == 1);
    CHECK_STATUS(t->fatal.status, status, &t->fatal);
    CHECK(strstr(t->fatal.text, "secret") == NULL);
    CHECK(strstr(t->logged, "secret") == NULL);
    return t->fatal.text;
}

TEST(passwords_right_wrong_and_missing) {
    const char *const args[] = {"--requirepass", "secret", NULL};
    server *s = server_start_tcp(NULL);
    server_do(s, "CONFIG SET requirepass secret");
    char url[128];
    rig right = {0}, user = {0}, wrong = {0}, missing = {0}, unix_missing = {0};
    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%d", server_port(s));
    rig_connect(&right, url);
    rig_close(&right);
    snprintf(url, sizeof url, "redis://default:secret@127.0.0.1:%d", server_port(s));
    rig_connect(&user, url);
    rig_close(&user);
    snprintf(url, sizeof url, "redis://:secret2@127.0.0.1:%d", server_port(s));
    CHECK_CONTAINS(hopeless_text(&wrong, url, SEG_EACCES), "does not accept");
    rig_close(&wrong);
    CHECK_CONTAINS(hopeless_text(&missing, server_url(s), SEG_EACCES), "needs a password");
    rig_close(&missing);
    server_stop(s);

    s = server_start_unready(args);
    CHECK_CONTAINS(hopeless_text(&unix_missing, server_url(s), SEG_EACCES),
                   "unix://user:password@");
    rig_close(&unix_missing);
    server_stop(s);
}

TEST(a_password_that_nobody_asked_for) {
    server *s = server_start_tcp(NULL);
    char url[128];
    rig t = {0};
    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%d", server_port(s));
    CHECK_CONTAINS(hopeless_text(&t, url, SEG_EACCES), "no password set");
    rig_close(&t);
    server_stop(s);
}

TEST(a_user_with_few_rights) {
    server *s = server_start_tcp(NULL);
    server_do(s, "ACL SETUSER me on >secret ~* +get");
    char url[128];
    rig t = {0};
    snprintf(url, sizeof url, "redis://me:secret@127.0.0.1:%d", server_port(s));
    CHECK_CONTAINS(hopeless_text(&t, url, SEG_EACCES), "ACL SETUSER me +info");
    /* Granted, it comes up by itself; CLIENT it can do without. */
    server_do(s, "ACL SETUSER me +info");
    RIG_WAIT(&t, sg_conn_up(t.conn));
    CHECK_EQ(sg_conn_client_id(t.conn), 0);
    CHECK_EQ(rig_call(&t, "GET k").status, SEG_OK);
    CHECK_EQ(rig_call(&t, "DEL k").status, SEG_EACCES);
    rig_close(&t);
    server_stop(s);
}

TEST(a_database_that_is_not_there) {
    server *s = server_start(NULL);
    char url[128];
    rig t = {0};
    snprintf(url, sizeof url, "%s?db=99", server_url(s));
    CHECK_CONTAINS(hopeless_text(&t, url, SEG_ESERVER), "database 99");
    rig_close(&t);
    server_stop(s);
}

TEST(a_replica_is_hopeless_at_first_and_waited_for_later) {
    server *s = server_start(NULL);
    rig first = {0}, later = {0};
    rig_connect(&later, server_url(s));
    server_do(s, "REPLICAOF 127.0.0.1 1");
    const char *text = hopeless_text(&first, server_url(s), SEG_ESERVER);
    CHECK_CONTAINS(text, "read-only replica of 127.0.0.1:1");
    rig_close(&first);
    CHECK_EQ(rig_call(&later, "SET k v").status, SEG_ECONN); /* READONLY */
    sg_conn_drop(later.conn, "it became a replica");
    CHECK_EQ(later.downs, 1);
    RIG_WAIT(&later, later.failed == 1);
    CHECK_STATUS(sg_conn_last_error(later.conn)->status, SEG_ECONN, sg_conn_last_error(later.conn));
    CHECK_EQ(later.hopeless, 0);
    server_do(s, "REPLICAOF NO ONE");
    RIG_WAIT(&later, later.ups == 2);
    rig_close(&later);
    server_stop(s);
}

TEST(a_server_that_evicts) {
    server *s = server_start(NULL);
    server_do(s, "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lfu");
    rig t = {0};
    CHECK_CONTAINS(hopeless_text(&t, server_url(s), SEG_ESERVER), "'allkeys-lfu'");
    CHECK_EQ(t.failed, 1);
    server_do(s, "CONFIG SET maxmemory-policy volatile-lru");
    RIG_WAIT(&t, sg_conn_up(t.conn));
    CHECK_EQ(t.hopeless, 1);
    rig_close(&t);
    server_stop(s);
}

/* ---- Callbacks that turn on the connection -------------------------------------------------- */

typedef struct turncoat {
    rig *t;
    int calls;
    bool drop;
    outcome nested;
    bool nested_taken;
} turncoat;

static void drop_inside(void *arg, const sg_result *r) {
    turncoat *c = arg;
    c->calls++;
    c->nested_taken = rig_ask(c->t, &c->nested, 0, "PING");
    if (c->drop)
        sg_conn_drop(c->t->conn, "a callback says so");
    /* The answer is still whole. */
    CHECK(r->lost || strcmp(sg_reply_text(r->reply), "PONG") == 0);
}

static bool ask_turncoat(turncoat *c, rig *t, bool drop) {
    *c = (turncoat){.t = t, .drop = drop};
    sg_conn_begin(t->conn);
    sg_conn_command(t->conn, 1);
    sg_conn_arg_str(t->conn, "PING");
    return sg_conn_end(t->conn, drop_inside, c, 0);
}

TEST(a_drop_inside_a_result) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    turncoat c[4];
    for (int i = 0; i < 4; i++)
        CHECK(ask_turncoat(&c[i], &t, i >= 1)); /* the later ones drop in vain */
    RIG_WAIT(&t, t.downs == 1);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(c[i].calls, 1);
    CHECK(c[0].nested_taken && c[1].nested_taken);
    CHECK(!c[2].nested_taken && !c[3].nested_taken);
    CHECK_EQ(c[0].nested.calls, 1);
    CHECK(c[0].nested.lost && c[1].nested.lost);
    CHECK_EQ(c[2].nested.calls, 0);
    RIG_WAIT(&t, t.ups == 2);
    CHECK_STR(rig_call(&t, "PING").text, "PONG");
    CHECK_EQ(t.downs, 1);
    rig_close(&t);
    server_stop(s);
}

static void drop_first_time(rig *t) {
    if (t->ups == 1)
        sg_conn_drop(t->conn, "not this one");
}

TEST(a_drop_inside_the_state_callback) {
    server *s = server_start(NULL);
    rig t = {.on_up = drop_first_time};
    rig_open(&t, server_url(s), 5000, false);
    RIG_WAIT(&t, t.ups == 2);
    CHECK_EQ(t.downs, 1);
    CHECK_STR(rig_call(&t, "PING").text, "PONG");
    rig_close(&t);
    server_stop(s);
}

TEST(freed_with_requests_under_way) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_connect(&t, server_url(s));
    turncoat c;
    CHECK(ask_turncoat(&c, &t, true));
    rig_close(&t);
    CHECK_EQ(c.calls, 1);
    CHECK(!c.nested_taken);
    CHECK_EQ(t.downs, 0); /* the state callback is not called */
    sg_conn_free(NULL);
    server_stop(s);
}

/* ---- Pub/Sub, memory ------------------------------------------------------------------------ */

TEST(subscribes_hears_and_is_refused) {
    server *s = server_start(NULL);
    rig t = {0};
    rig_open(&t, server_url(s), 5000, true);
    RIG_WAIT(&t, sg_conn_up(t.conn));
    CHECK(sg_conn_subscribe(t.conn, "ch", true));
    RIG_WAIT(&t, t.pushes == 1);
    CHECK_STR(t.push[0], "ssubscribe");
    CHECK_EQ(server_int(s, "SPUBLISH ch hello"), 1);
    RIG_WAIT(&t, t.pushes == 2);
    CHECK_STR(t.push[0], "smessage");
    CHECK_STR(t.push[1], "ch");
    CHECK_STR(t.push[2], "hello");
    t.skew += 5001; /* it asks for a sign and hears one */
    rig_step(&t, 0);
    rig_step(&t, 1000);
    t.skew += 4000;
    rig_step(&t, 0);
    CHECK(sg_conn_up(t.conn));
    CHECK(sg_conn_subscribe(t.conn, "ch", false));
    RIG_WAIT(&t, t.pushes == 3);
    CHECK_STR(t.push[0], "sunsubscribe");
    server_do(s, "ACL SETUSER default resetchannels &other");
    RIG_WAIT(&t, sg_conn_up(t.conn));
    t.pushes = 0;
    CHECK(sg_conn_subscribe(t.conn, "ch", true));
    RIG_WAIT(&t, t.pushes == 1);
    CHECK_CONTAINS(t.push[0], "NOPERM");
    CHECK(sg_conn_up(t.conn));
    rig_close(&t);
    server_stop(s);
}

/* Each allocation fails in its turn: the connection comes up all the same, later, and what was not
 * taken is taken the next time. */
TEST(gets_over_every_failed_allocation) {
    server *s = server_start(NULL);
    uint64_t made = 0;
    for (uint64_t n = 1; n <= made + 1; n++) {
        rig t = {0};
        rig_open(&t, server_url(s), 5000, false);
        CHECK(t.conn != NULL);
        sg_alloc_fail_at(n, 0);
        RIG_WAIT(&t, sg_conn_up(t.conn));
        outcome o;
        if (!rig_ask(&t, &o, 0, "PING"))
            CHECK(rig_ask(&t, &o, 0, "PING"));
        RIG_WAIT(&t, o.calls == 1);
        CHECK_STR(o.text, "PONG");
        made = sg_alloc_fail_at(0, 0);
        rig_close(&t);
    }
    CHECK_GT(made, 2);
    server_stop(s);
}
