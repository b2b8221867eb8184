/* conn_rig.h - one sg_conn with a poll loop of the test's own, and what it told. Time is the
 * clock plus `skew`, so that a test steps over a timeout instead of waiting for it. */
#ifndef SG_TEST_CONN_RIG_H
#define SG_TEST_CONN_RIG_H

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "redis/conn.h"
#include "status.h"
#include "test.h"

typedef struct rig {
    sg_conn *conn;
    sg_url url;
    sg_log log;
    int64_t skew;
    int ups, downs, hopeless;
    seg_error fatal; /* the latest */
    int connected, disconnected, failed;
    char logged[600]; /* the latest line */
    int pushes;
    char push[3][200]; /* the latest push: its first elements, or its error text */
    void (*on_up)(struct rig *);
} rig;

/* What became of one request. */
typedef struct outcome {
    int calls;
    seg_status status;
    bool lost;
    char text[200]; /* of the answer or the refusal */
    int64_t number; /* of the answer */
    size_t count;   /* its elements */
} outcome;

static inline void rig_on_result(void *arg, const sg_result *r) {
    outcome *o = arg;
    o->calls++;
    o->status = r->status;
    o->lost = r->lost;
    o->number = -1;
    sg_reply_i64(r->reply, &o->number);
    o->count = sg_reply_count(r->reply);
    snprintf(o->text, sizeof o->text, "%s", r->text != NULL ? r->text : sg_reply_text(r->reply));
}

static inline void rig_on_log(int level, const char *event, const char *text, void *arg) {
    rig *t = arg;
    (void)level;
    t->connected += strcmp(event, "connected") == 0;
    t->disconnected += strcmp(event, "disconnected") == 0;
    t->failed += strcmp(event, "connect-failed") == 0;
    snprintf(t->logged, sizeof t->logged, "%s", text);
}

static inline void rig_on_state(void *arg, bool up, const seg_error *fatal) {
    rig *t = arg;
    CHECK_EQ(sg_conn_up(t->conn), up);
    t->ups += up;
    t->downs += !up && fatal == NULL;
    if (fatal != NULL) {
        t->hopeless++;
        t->fatal = *fatal;
    }
    if (up && t->on_up != NULL)
        t->on_up(t);
}

static inline void rig_on_push(void *arg, sg_reply *r) {
    rig *t = arg;
    t->pushes++;
    for (size_t i = 0; i < 3; i++)
        snprintf(t->push[i], sizeof t->push[i], "%s", sg_reply_text(sg_reply_at(r, i)));
    if (sg_reply_error(r) != NULL)
        snprintf(t->push[0], sizeof t->push[0], "%s", sg_reply_error(r));
}

static inline int64_t rig_now(const rig *t) {
    return sg_clock_ms() + t->skew;
}

/* `t` is zeroed but for what the test has set. NULL connection only where memory ran out. */
static inline void rig_open(rig *t, const char *url, int64_t timeout, bool pubsub) {
    seg_error err;
    CHECK_OK(sg_url_parse(&t->url, url, &err), &err);
    CHECK(sg_log_init(&t->log, SEG_LOG_INFO, rig_on_log, t));
    sg_conn_options o = {.url = &t->url,
                         .connect_timeout = timeout,
                         .command_timeout = timeout,
                         .purpose = "test",
                         .log = &t->log,
                         .on_state = rig_on_state,
                         .on_push = pubsub ? rig_on_push : NULL,
                         .arg = t};
    t->conn = sg_conn_new(&o);
}

static inline void rig_close(rig *t) {
    sg_conn_free(t->conn);
    sg_url_fini(&t->url);
    sg_log_fini(&t->log);
}

/* One round of a loop, at most `wait` ms long. */
static inline void rig_step(rig *t, int64_t wait) {
    int64_t now = rig_now(t), left = sg_conn_deadline(t->conn) - now;
    if (left < wait)
        wait = left > 0 ? left : 0;
    struct pollfd p = {.fd = sg_conn_fd(t->conn), .events = sg_conn_events(t->conn)};
    int n = poll(&p, 1, (int)wait);
    now = rig_now(t);
    if (n > 0)
        sg_conn_ready(t->conn, p.revents, now);
    if (now >= sg_conn_deadline(t->conn))
        sg_conn_tick(t->conn, now);
    sg_conn_flush(t->conn, now);
}

/* Go round until the condition holds. */
#define RIG_WAIT(t, condition)                                                                     \
    do {                                                                                           \
        int64_t end_ = test_now_ms() + 10000;                                                      \
        while (!(condition)) {                                                                     \
            if (test_now_ms() >= end_)                                                             \
                FAIL("RIG_WAIT(%s): still false after 10 s; last error: %s; logged: %s",           \
                     #condition, sg_conn_last_error((t)->conn)->text, (t)->logged);                \
            rig_step(t, 20);                                                                       \
        }                                                                                          \
    } while (0)

static inline void rig_connect(rig *t, const char *url) {
    rig_open(t, url, 5000, false);
    CHECK(t->conn != NULL);
    RIG_WAIT(t, sg_conn_up(t->conn));
}

/* Queue a command of words that a space separates. False: it was not taken. */
static inline bool rig_ask(rig *t, outcome *o, int64_t wait, const char *words) {
    char copy[256], *save = NULL;
    const char *argv[16];
    size_t argc = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    *o = (outcome){0};
    sg_conn_begin(t->conn);
    sg_conn_command(t->conn, argc);
    for (size_t i = 0; i < argc; i++)
        sg_conn_arg_str(t->conn, argv[i]);
    return sg_conn_end(t->conn, rig_on_result, o, wait);
}

/* The same, and wait for what becomes of it. */
static inline outcome rig_call(rig *t, const char *words) {
    outcome o;
    CHECK(rig_ask(t, &o, 0, words));
    RIG_WAIT(t, o.calls > 0);
    CHECK_EQ(o.calls, 1);
    return o;
}

#endif
