/* The client: ways to connect, reasons not to, and that closing always ends. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "producer_rig.h"

static seg_client_options options(const char *url) {
    seg_client_options o;
    SEG_INIT(&o);
    o.url = url;
    return o;
}

static seg_client *open_at(const char *url) {
    seg_client_options o = options(url);
    seg_client *c = NULL;
    seg_error err;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    return c;
}

/* It must not open; `text` is in the reason. */
static void check_refused(const seg_client_options *o, seg_status status, const char *text) {
    seg_client *c = NULL;
    seg_error err;
    CHECK_STATUS(seg_client_open(&c, o, &err), status, &err);
    CHECK_STATUS(err.status, status, &err);
    CHECK_CONTAINS(err.text, text);
    CHECK_PTR(c, NULL);
    CHECK_STATUS(seg_client_open(&c, o, NULL), status, NULL);
}

static void make_stream(seg_client *c, const char *name) {
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = 2;
    CHECK_OK(seg_stream_create(c, name, &o, &err), &err);
}

/* ---- URLs ----------------------------------------------------------------------------------- */

static void check_connects(server *s, const char *url, int db) {
    seg_client *c = open_at(url);
    CHECK_CONTAINS(seg_client_server(c), server_is_valkey(s) ? "valkey " : "redis ");
    server_do(s, "SELECT %d", db);
    CHECK_EQ(server_int(s, "DBSIZE"), 0);
    make_stream(c, "s");
    CHECK_GT(server_int(s, "DBSIZE"), 0);
    server_do(s, "FLUSHDB");
    seg_client_close(c);
}

TEST(opens_by_unix_socket) {
    server *s = server_start(NULL);
    char url[128];
    check_connects(s, server_url(s), 0);
    snprintf(url, sizeof url, "%s?db=7", server_url(s));
    check_connects(s, url, 7);
    server_stop(s);
}

TEST(opens_by_address) {
    server *s = server_start_tcp(NULL);
    char url[128];
    check_connects(s, server_url(s), 0);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/", server_port(s));
    check_connects(s, url, 0);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/15", server_port(s));
    check_connects(s, url, 15);
    server_do(s, "ACL SETUSER app on >s3:/@%% ~* &* +@all");
    snprintf(url, sizeof url, "redis://app:s3%%3a%%2F%%40%%25@127.0.0.1:%d/3", server_port(s));
    check_connects(s, url, 3);
    server_do(s, "CONFIG SET requirepass secret");
    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%d", server_port(s));
    check_connects(s, url, 0);
    server_stop(s);
}

/* Whatever is stored there would be gone after its next restart. */
TEST(a_server_that_cannot_load_its_aof_is_refused) {
    server *s = server_start((const char *const[]){"--appendonly", "yes", NULL});
    seg_client_options o;
    seg_client *c;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(s);
    server_do(s, "ACL SETUSER default -xsetid");
    CHECK_STATUS(seg_client_open(&c, &o, &err), SEG_ESERVER, &err);
    CHECK_CONTAINS(err.text, "appendonly");
    CHECK_CONTAINS(err.text, "ACL SETUSER default");
    server_do(s, "ACL SETUSER default +xsetid");
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    seg_client_close(c);
    server_stop(s);
}

TEST(malformed_urls) {
    static const char *const urls[] = {"",
                                       "redis:",
                                       "localhost:6379",
                                       "http://localhost",
                                       "redis://",
                                       "redis://h:0",
                                       "redis://h:65536",
                                       "redis://h:12x",
                                       "redis://h/x",
                                       "redis://h/-1",
                                       "redis://h?db=1",
                                       "redis://h/0?timeout=5",
                                       "unix://",
                                       "unix:///tmp/x?db=x",
                                       "unix:///tmp/x?database=1",
                                       "unix:///tmp/x?db=1&name=y",
                                       "redis://us%zz@h"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        seg_client_options o = options(urls[i]);
        check_refused(&o, SEG_EINVAL, "");
    }
}

/* ---- Refusals ------------------------------------------------------------------------------- */

TEST(absent_server) {
    char url[128];
    snprintf(url, sizeof url, "unix://%s/none", test_dir());
    seg_client_options o = options(url);
    int64_t start = test_now_ms();
    check_refused(&o, SEG_ECONN, "/none");
    CHECK_LT(test_now_ms() - start, 4000); /* at once, not after the connect timeout */
}

TEST(nobody_listens) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    char url[64], address[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)(void *)&a, size), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)(void *)&a, &size), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(a.sin_port));
    snprintf(url, sizeof url, "redis://%s", address);
    seg_client_options o = options(url);
    check_refused(&o, SEG_ECONN, address);
    close(fd);
}

TEST(silent_server) {
    server *s = server_start(NULL);
    proxy *p = proxy_start(server_socket(s));
    proxy_hold_all(p, PROXY_REPLIES);
    seg_client_options o = options(proxy_url(p));
    o.connect_timeout = 200;
    int64_t start = test_now_ms();
    check_refused(&o, SEG_ETIMEDOUT, "");
    CHECK_GE(test_now_ms() - start, 2 * 199);
    CHECK_LT(test_now_ms() - start, 2 * 200 + 10000);
    proxy_stop(p);
    server_pause(s);
    o.url = server_url(s);
    check_refused(&o, SEG_ETIMEDOUT, "");
    server_stop(s);
}

TEST(server_that_hangs_up) {
    server *s = server_start(NULL);
    proxy *p = proxy_start(server_socket(s));
    proxy_refuse(p, true);
    seg_client_options o = options(proxy_url(p));
    check_refused(&o, SEG_ECONN, proxy_url(p) + strlen("unix://"));
    proxy_stop(p);
    server_stop(s);
}

TEST(wrong_password) {
    server *s = server_start_tcp(NULL);
    char url[128];
    server_do(s, "CONFIG SET requirepass secret");
    seg_client_options o = options(server_url(s));
    check_refused(&o, SEG_EACCES, "password");
    snprintf(url, sizeof url, "redis://:not-it@127.0.0.1:%d", server_port(s));
    o.url = url;
    seg_error err;
    seg_client *c = NULL;
    CHECK_STATUS(seg_client_open(&c, &o, &err), SEG_EACCES, &err);
    CHECK_PTR(strstr(err.text, "not-it"), NULL); /* passwords are in no text */
    snprintf(url, sizeof url, "redis://nobody:secret@127.0.0.1:%d", server_port(s));
    check_refused(&o, SEG_EACCES, "");
    server_stop(s);
}

TEST(replica) {
    server *s = server_start(NULL);
    server_do(s, "REPLICAOF 127.0.0.1 1");
    seg_client_options o = options(server_url(s));
    check_refused(&o, SEG_ESERVER, "read-only");
    server_stop(s);
}

TEST(evicting_server) {
    server *s = server_start(NULL);
    seg_client_options o = options(server_url(s));
    server_do(s, "CONFIG SET maxmemory-policy allkeys-lru");
    seg_client_close(open_at(server_url(s))); /* with no maxmemory nothing is evicted */
    server_do(s, "CONFIG SET maxmemory 100mb");
    check_refused(&o, SEG_ESERVER, "maxmemory-policy");
    server_do(s, "CONFIG SET maxmemory-policy volatile-lru");
    seg_client_close(open_at(server_url(s)));
    server_do(s, "CONFIG SET maxmemory-policy noeviction");
    seg_client_close(open_at(server_url(s)));
    server_stop(s);
}

TEST(bad_namespaces_and_timeouts) {
    static char long_name[202];
    memset(long_name, 'n', 201);
    const char *const names[] = {"", " ", "a b", "a/b", "a{b", "a:b", "\xc3\xa4", long_name};
    server *s = server_start(NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        seg_client_options o = options(server_url(s));
        o.name_space = names[i];
        check_refused(&o, SEG_EINVAL, "namespace");
    }
    long_name[200] = '\0';
    seg_client_options o = options(server_url(s));
    o.name_space = long_name;
    seg_client *c = NULL;
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    make_stream(c, long_name);
    seg_client_close(c);
    o = options(server_url(s));
    o.connect_timeout = -1;
    check_refused(&o, SEG_EINVAL, "");
    o = options(server_url(s));
    o.command_timeout = -1;
    check_refused(&o, SEG_EINVAL, "");
    o = options(server_url(s));
    o.log_level = (seg_log_level)4;
    check_refused(&o, SEG_EINVAL, "log_level");
    server_stop(s);
}

/* ---- Options -------------------------------------------------------------------------------- */

/* As a newer version of the library may have them. */
typedef struct newer_options {
    seg_client_options o;
    int64_t unknown;
} newer_options;

TEST(option_sizes) {
    server *s = server_start(NULL);
    seg_client_options o;
    memset(&o, 0xff, sizeof o);
    SEG_INIT(&o);
    CHECK_EQ(o.size, sizeof o);
    for (size_t i = sizeof o.size; i < sizeof o; i++)
        CHECK_EQ(((const unsigned char *)&o)[i], 0);
    o.url = server_url(s);
    newer_options n = {.o = o};
    n.o.size = sizeof n;
    seg_client *c = NULL;
    CHECK_OK(seg_client_open(&c, &n.o, NULL), NULL); /* not used: as good as not there */
    seg_client_close(c);
    n.unknown = 1;
    check_refused(&n.o, SEG_EINVAL, "newer");
    o.size = 0;
    check_refused(&o, SEG_EINVAL, "SEG_INIT");
    o.size = 1;
    check_refused(&o, SEG_EINVAL, "SEG_INIT");
    o.size = SIZE_MAX;
    check_refused(&o, SEG_EINVAL, "SEG_INIT");
    /* An older caller's: it ends after the url. What lies behind is not looked at. */
    memset(&o, 0xff, sizeof o);
    o.size = offsetof(seg_client_options, name_space);
    o.url = server_url(s);
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    seg_client_close(c);
    CHECK_STATUS(seg_client_open(NULL, &o, NULL), SEG_EINVAL, NULL);
    seg_client_close(NULL);
    server_stop(s);
}

/* ---- Together ------------------------------------------------------------------------------- */

TEST(two_clients_in_one_process) {
    server *a = server_start(NULL), *b = server_start(NULL);
    seg_client *ca = open_at(server_url(a)), *cb = open_at(server_url(b));
    seg_client *also_a = open_at(server_url(a));
    make_stream(ca, "in-a");
    make_stream(cb, "in-b");
    seg_names *names = NULL;
    CHECK_OK(seg_stream_list(&names, also_a, NULL), NULL);
    CHECK_EQ(seg_names_count(names), 1);
    CHECK_STR(seg_names_at(names, 0), "in-a");
    CHECK_PTR(seg_names_at(names, 1), NULL);
    seg_names_free(names);
    seg_client_close(ca);
    CHECK_OK(seg_stream_list(&names, cb, NULL), NULL);
    CHECK_STR(seg_names_at(names, 0), "in-b");
    seg_names_free(names);
    seg_client_close(also_a);
    seg_client_close(cb);
    server_stop(a);
    server_stop(b);
}

typedef struct asker {
    pthread_t thread;
    seg_client *c;
} asker;

static void *ask_often(void *arg) {
    asker *a = arg;
    for (int i = 0; i < 50; i++) {
        seg_names *names = NULL;
        seg_error err;
        CHECK_OK(seg_stream_list(&names, a->c, &err), &err);
        CHECK_EQ(seg_names_count(names), 1);
        seg_names_free(names);
    }
    return NULL;
}

TEST(any_thread_may_ask) {
    server *s = server_start(NULL);
    asker askers[8];
    seg_client *c = open_at(server_url(s));
    make_stream(c, "s");
    for (size_t i = 0; i < 8; i++) {
        askers[i].c = c;
        CHECK_EQ(pthread_create(&askers[i].thread, NULL, ask_often, &askers[i]), 0);
    }
    for (size_t i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(askers[i].thread, NULL), 0);
    seg_client_close(c);
    server_stop(s);
}

/* ---- The log -------------------------------------------------------------------------------- */

typedef struct heard {
    atomic_int levels[4], connected, disconnected;
    atomic_int inside;
} heard;

static void on_log(seg_log_level level, const char *event, const char *text, void *arg) {
    heard *h = arg;
    CHECK_EQ(atomic_fetch_add(&h->inside, 1), 0); /* one at a time */
    CHECK(event[0] != '\0' && text[0] != '\0');
    CHECK_LE((int)level, SEG_LOG_DEBUG);
    atomic_fetch_add(&h->levels[level], 1);
    atomic_fetch_add(&h->connected, strcmp(event, "connected") == 0);
    atomic_fetch_add(&h->disconnected, strcmp(event, "disconnected") == 0);
    atomic_fetch_sub(&h->inside, 1);
}

TEST(log_levels) {
    server *s = server_start(NULL);
    for (int level = SEG_LOG_ERROR; level <= SEG_LOG_DEBUG; level++) {
        heard h = {.inside = 0};
        seg_client_options o = options(server_url(s));
        o.log = on_log;
        o.log_arg = &h;
        o.log_level = (seg_log_level)level;
        seg_client *c = NULL;
        CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
        CHECK_EQ(h.connected, level >= SEG_LOG_INFO);
        server_do(s, "CLIENT KILL TYPE normal SKIPME yes");
        make_stream(c, "s"); /* on a new connection */
        CHECK_EQ(h.disconnected, level >= SEG_LOG_WARN);
        CHECK_EQ(h.connected, level >= SEG_LOG_INFO ? 2 : 0);
        for (int above = level + 1; above <= SEG_LOG_DEBUG; above++)
            CHECK_EQ(h.levels[above], 0);
        seg_client_close(c);
    }
    server_stop(s);
}

/* Whatever goes wrong: only the callback tells, and there is none. */
TEST(never_prints) {
    char path[64];
    server *s = server_start(NULL);
    snprintf(path, sizeof path, "%s/printed", test_dir());
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(out >= 0 && err >= 0 && file >= 0);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    seg_client_options o = options("unix:///nowhere/at/all");
    seg_client *c = NULL;
    seg_status none = seg_client_open(&c, &o, NULL);
    o.url = server_url(s);
    o.command_timeout = 300;
    o.log_level = SEG_LOG_DEBUG;
    seg_status opened = seg_client_open(&c, &o, NULL), sent = SEG_OK;
    seg_stream_options so;
    SEG_INIT(&so);
    so.partitions = 1;
    seg_producer *p = NULL;
    if (opened == SEG_OK && seg_stream_create(c, "s", &so, NULL) == SEG_OK &&
        seg_producer_open(&p, c, "s", NULL, NULL) == SEG_OK) {
        seg_record rec = record_of("k", "v");
        server_kill9(s);
        server_restart(s);
        sent = seg_send(p, &rec, NULL, NULL);
    }
    seg_producer_close(p);
    seg_client_close(c);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    CHECK_STATUS(none, SEG_ECONN, NULL);
    CHECK_STATUS(opened, SEG_OK, NULL);
    CHECK_STATUS(sent, SEG_ENOENT, NULL);
    CHECK_EQ(lseek(file, 0, SEEK_END), 0);
    close(file);
    close(out);
    close(err);
    server_stop(s);
}

/* ---- Away and back -------------------------------------------------------------------------- */

TEST(reconnects_after_a_restart) {
    const char *const args[] = {"--appendonly", "yes", NULL};
    server *s = server_start(args);
    seg_client *c = open_at(server_url(s));
    make_stream(c, "s");
    for (int round = 0; round < 3; round++) {
        seg_names *names = NULL;
        seg_error err;
        server_restart(s);
        CHECK_OK(seg_stream_list(&names, c, &err), &err);
        CHECK_EQ(seg_names_count(names), 1);
        seg_names_free(names);
    }
    seg_client_close(c);
    server_stop(s);
}

TEST(calls_end_while_the_server_is_away) {
    server *s = server_start(NULL);
    seg_client_options o = options(server_url(s));
    o.command_timeout = 300;
    o.connect_timeout = 300;
    seg_client *c = NULL;
    seg_names *names = NULL;
    seg_error err;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    make_stream(c, "s");
    server_pause(s);
    int64_t start = test_now_ms();
    /* Whether the call or its connection gives up first is chance: both wait for so long. */
    seg_status s1 = seg_stream_list(&names, c, &err);
    CHECK(s1 == SEG_ETIMEDOUT || s1 == SEG_ECONN);
    CHECK_GE(test_now_ms() - start, 250);
    server_resume(s);
    WAIT_FOR(PATIENCE, seg_stream_list(&names, c, &err) == SEG_OK);
    seg_names_free(names);
    names = NULL;
    server_kill9(s);
    WAIT_FOR(PATIENCE, seg_stream_list(&names, c, &err) == SEG_ECONN);
    CHECK_CONTAINS(err.text, server_socket(s));
    CHECK_PTR(names, NULL);
    server_restart(s);
    WAIT_FOR(PATIENCE, seg_stream_list(&names, c, &err) == SEG_OK);
    seg_names_free(names);
    seg_client_close(c);
    server_stop(s);
}

TEST(one_byte_at_a_time) {
    server *s = server_start(NULL);
    proxy *p = proxy_start(server_socket(s));
    proxy_bytewise(p, PROXY_REPLIES, true);
    proxy_bytewise(p, PROXY_REQUESTS, true);
    seg_client *c = open_at(proxy_url(p));
    make_stream(c, "s");
    seg_client_close(c);
    proxy_stop(p);
    server_stop(s);
}

/* ---- Closing -------------------------------------------------------------------------------- */

static void check_closes_soon(seg_client *c) {
    int64_t start = test_now_ms();
    seg_client_close(c);
    CHECK_LT(test_now_ms() - start, 10000);
}

TEST(close_ends_while_the_server_is_stopped) {
    server *s = server_start(NULL);
    seg_client_options o = options(server_url(s));
    o.command_timeout = 3600000;
    seg_client *c = NULL;
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    server_pause(s);
    check_closes_soon(c);
    server_stop(s);
}

TEST(close_ends_in_a_black_hole) {
    server *s = server_start(NULL);
    proxy *p = proxy_start(server_socket(s));
    seg_client_options o = options(proxy_url(p));
    o.command_timeout = o.connect_timeout = 3600000;
    seg_client *c = NULL;
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    proxy_hold_all(p, PROXY_REQUESTS);
    proxy_hold_all(p, PROXY_REPLIES);
    check_closes_soon(c);
    proxy_release(p);
    /* And while it connects again, which never ends either. */
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    size_t before = proxy_accepted(p);
    proxy_cut(p);
    proxy_hold_all(p, PROXY_REPLIES);
    WAIT_FOR(PATIENCE, proxy_accepted(p) > before);
    check_closes_soon(c);
    proxy_stop(p);
    server_stop(s);
}

TEST(close_ends_with_the_server_gone) {
    server *s = server_start(NULL);
    seg_client *c = open_at(server_url(s));
    server_kill9(s);
    check_closes_soon(c);
    server_stop(s);
}

typedef struct blocked {
    pthread_t thread;
    seg_client *client;
    seg_producer *producer;
    seg_status status;
} blocked;

static void *send_blocked(void *arg) {
    blocked *b = arg;
    seg_record rec = record_of("k", "v");
    b->status = seg_send(b->producer, &rec, NULL, NULL);
    return NULL;
}

static void *list_blocked(void *arg) {
    blocked *b = arg;
    seg_names *names = NULL;
    b->status = seg_stream_list(&names, b->client, NULL);
    seg_names_free(names);
    return NULL;
}

/* Those still open are cut off; they must be closed afterwards, in any order. */
TEST(close_with_producers_and_consumers_open) {
    rig r = rig_new(2);
    rig_open(&r);
    seg_error err;
    seg_consumer *consumer = NULL;
    seg_consumer_options co;
    SEG_INIT(&co);
    co.group = "g";
    CHECK_OK(seg_consumer_open(&consumer, r.client, "s", &co, &err), &err);
    seg_producer *idle = rig_producer(&r);
    ledger *l = ledger_new(4);
    blocked sending = {.producer = idle};
    seg_batch *b = NULL;
    size_t got = 0;
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    while (got == 0) {
        seg_batch_free(b);
        CHECK_OK(seg_consumer_poll(&b, consumer, 10, PATIENCE, &err), &err);
        got = seg_batch_count(b);
    }
    server_pause(r.server);
    CHECK_OK(seg_ack_batch(consumer, b, &err), &err);
    seg_batch_free(b);
    b = NULL;
    for (unsigned i = 0; i < 20; i++)
        CHECK_OK(ledger_send_async(l, r.producer, i % 4, 20, &err), &err);
    CHECK_EQ(pthread_create(&sending.thread, NULL, send_blocked, &sending), 0);
    WAIT_FOR(PATIENCE, stats_of(idle).batches == 1);
    check_closes_soon(r.client);
    r.client = NULL;
    CHECK_EQ(pthread_join(sending.thread, NULL), 0);
    CHECK(sending.status == SEG_ECLOSED || sending.status == SEG_EUNKNOWN);
    ledger_settle(l, r.producer, PATIENCE);
    CHECK_EQ(ledger_count(l, SEG_OK), 1);
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_ECLOSED, &err);
    CHECK_STATUS(ledger_send_async(l, r.producer, 0, 20, &err), SEG_ECLOSED, &err);
    CHECK_STATUS(seg_consumer_poll(&b, consumer, 10, PATIENCE, &err), SEG_ECLOSED, &err);
    CHECK_PTR(b, NULL);
    CHECK_STATUS(seg_consumer_commit(consumer, PATIENCE, &err), SEG_ECLOSED, &err);
    server_resume(r.server);
    seg_producer_close(idle);
    seg_consumer_close(consumer);
    ledger_free(l);
    rig_close(&r);
}

/* A call that is under way in another thread returns. */
TEST(close_ends_a_call_under_way) {
    server *s = server_start(NULL);
    seg_client_options o = options(server_url(s));
    o.command_timeout = 3600000;
    seg_client *c = NULL;
    CHECK_OK(seg_client_open(&c, &o, NULL), NULL);
    make_stream(c, "s");
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, c, "s", NULL, NULL), NULL); /* keeps the client's memory */
    blocked listing = {.client = c};
    server_pause(s);
    CHECK_EQ(pthread_create(&listing.thread, NULL, list_blocked, &listing), 0);
    check_closes_soon(c);
    CHECK_EQ(pthread_join(listing.thread, NULL), 0);
    CHECK_STATUS(listing.status, SEG_ECLOSED, NULL);
    seg_producer_close(p);
    server_stop(s);
}

TEST(opened_and_closed_many_times) {
    server *s = server_start(NULL);
    for (int i = 0; i < 50; i++)
        seg_client_close(open_at(server_url(s)));
    WAIT_FOR(PATIENCE, server_info(s, "connected_clients") == 1);
    server_stop(s);
}
