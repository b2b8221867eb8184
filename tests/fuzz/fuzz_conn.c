/* fuzz_conn.c - a connection against a server that says anything, from the handshake on: what is
 * told, in which order, is the same however its bytes arrive, and every request ends just once.
 *
 * conn.c is included, not linked, so that a connection can begin on a socket that is there. */
#include "redis/conn.c"

#include <fcntl.h>

#include "fuzz_replies.h"

enum { REQUESTS = 6, NOW = 1000, TOLD_MAX = 1 << 22 };

typedef struct talk {
    sg_conn *conn;
    int peer;
    fuzz_input plan; /* what to do at each turn */
    bool pubsub;
    size_t begun, ended;
    sg_buf told;
} talk;

#define WELCOME "+OK\r\n:42\r\n+OK\r\n$34\r\nredis_version:7.0.0\r\nrole:master\r\n\r\n"

/* ---- Requests ----------------------------------------------------------------------------- */

static void on_result(void *arg, const sg_result *r);

static void ask(talk *t, uint8_t how) {
    if (t->begun == REQUESTS)
        return;
    bool sent;
    if (t->pubsub) { /* its confirmation is a push; a subscription has no result */
        (void)sg_conn_subscribe(t->conn, "channel", (how & 1) == 0);
        return;
    }
    sg_conn_begin(t->conn);
    for (int i = 0; i <= how % 4; i++) {
        sg_conn_command(t->conn, 2);
        sg_conn_arg_str(t->conn, "GET");
        sg_conn_arg_u64(t->conn, how);
    }
    sent = sg_conn_end(t->conn, on_result, t, 0);
    t->begun += sent;
    FUZZ_CHECK(sent == sg_conn_up(t->conn));
}

/* What a callback does next: nothing, one more request, or an end to it all. */
static void act(talk *t) {
    uint8_t what = fuzz_byte(&t->plan);
    if (what >= 0xf0)
        sg_conn_drop(t->conn, "it was told to");
    else if (what > 0)
        ask(t, what);
}

static void on_result(void *arg, const sg_result *r) {
    talk *t = arg;
    t->ended++;
    FUZZ_CHECK(t->ended <= t->begun);
    FUZZ_CHECK((r->status == SEG_OK) == (r->text == NULL));
    FUZZ_CHECK(!r->lost || (r->status == SEG_ECONN && r->reply == NULL));
    sg_buf_printf(&t->told, "result %d %d %s: ", (int)r->status, r->lost,
                  r->text != NULL ? r->text : "");
    fuzz_show(&t->told, r->reply);
    if (!r->lost)
        act(t);
}

static void on_push(void *arg, sg_reply *reply) {
    talk *t = arg;
    sg_buf_str(&t->told, "push ");
    fuzz_show(&t->told, reply);
    act(t);
}

static void on_state(void *arg, bool up, const seg_error *fatal) {
    talk *t = arg;
    FUZZ_CHECK(up == sg_conn_up(t->conn) && !(up && fatal != NULL));
    sg_buf_printf(&t->told, "%s %s\n", up ? "up" : "down", fatal != NULL ? fatal->text : "");
    if (!up)
        FUZZ_CHECK(sg_conn_last_error(t->conn)->status != SEG_OK && t->ended == t->begun);
    while (up && sg_conn_up(t->conn) && t->plan.len > 0 && t->plan.at[0] > 0)
        act(t);
    if (up)
        (void)fuzz_byte(&t->plan);
}

static void on_log(int level, const char *event, const char *text, void *arg) {
    talk *t = arg;
    sg_buf_printf(&t->told, "log %d %s %s\n", level, event, text);
}

/* ---- The talk ----------------------------------------------------------------------------- */

/* A new connection, whose handshake is sent. */
static void begin(talk *t, const sg_url *url, sg_log *log) {
    sg_conn_options o = {.url = url,
                         .connect_timeout = 5000,
                         .command_timeout = 5000,
                         .purpose = "fuzz",
                         .log = log,
                         .on_state = on_state,
                         .on_push = t->pubsub ? on_push : NULL,
                         .arg = t};
    int pair[2];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    t->conn = sg_conn_new(&o);
    FUZZ_CHECK(t->conn != NULL);
    t->peer = pair[1];
    t->conn->dial.fd = pair[0];
    t->conn->phase = SG_CONN_DIALING;
    say_hello(t->conn, NOW);
}

static void hear(talk *t, fuzz_input part) {
    while (part.len > 0 && sg_conn_fd(t->conn) >= 0) {
        ssize_t n = send(t->peer, part.at, part.len, MSG_NOSIGNAL);
        FUZZ_CHECK(n > 0);
        fuzz_take(&part, (size_t)n);
        sg_conn_ready(t->conn, POLLIN, NOW);
        sg_conn_flush(t->conn, NOW);
    }
}

/* The greeting, then the rest in pieces of `step` bytes (0: whole), then the end of the stream. */
static void converse(talk *t, const char *greeting, fuzz_input bytes, size_t step,
                     const sg_url *url, sg_log *log) {
    sg_buf_init(&t->told, TOLD_MAX);
    begin(t, url, log);
    hear(t, (fuzz_input){(const uint8_t *)greeting, strlen(greeting)});
    while (bytes.len > 0 && sg_conn_fd(t->conn) >= 0)
        hear(t, fuzz_take(&bytes, step > 0 ? step : bytes.len));
    FUZZ_CHECK(t->ended + sg_conn_pending(t->conn) == t->begun);
    shutdown(t->peer, SHUT_WR);
    sg_conn_ready(t->conn, POLLIN, NOW);
    FUZZ_CHECK(sg_conn_fd(t->conn) < 0 && !sg_conn_up(t->conn) && t->ended == t->begun);
    sg_buf_printf(&t->told, "%s", sg_conn_last_error(t->conn)->text);
    close(t->peer);
    sg_conn_free(t->conn);
}

/* flags: 1 Pub/Sub, 2 the handshake is the input's too, 4 a password is sent */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static const char *const urls[] = {"redis://h/", "redis://me:hunter2@h/"};
    static const char *const greetings[] = {WELCOME, "+OK\r\n" WELCOME};
    fuzz_input in = {data, len};
    uint8_t flags = fuzz_byte(&in), step = fuzz_byte(&in);
    bool password = (flags & 4) != 0;
    fuzz_input plan = fuzz_take(&in, 8);
    uint8_t *bytes = fuzz_copy(in);
    sg_url url;
    sg_log log;
    talk talks[3];
    FUZZ_CHECK(sg_url_parse(&url, urls[password], NULL) == SEG_OK);
    for (size_t i = 0; i < 3; i++) {
        talk *t = &talks[i];
        *t = (talk){.plan = plan, .pubsub = (flags & 1) != 0};
        FUZZ_CHECK(sg_log_init(&log, SEG_LOG_INFO, on_log, t));
        converse(t, (flags & 2) != 0 ? "" : greetings[password], (fuzz_input){bytes, in.len},
                 i == 0   ? 0
                 : i == 1 ? 1 + in.len / 128
                          : step,
                 &url, &log);
        sg_log_fini(&log);
        FUZZ_CHECK(t->told.len == talks[0].told.len &&
                   memcmp(t->told.data, talks[0].told.data, t->told.len) == 0);
    }
    for (size_t i = 0; i < 3; i++)
        sg_buf_fini(&talks[i].told);
    sg_url_fini(&url);
    free(bytes);
    return 0;
}
