/* A server that does not know the guards that producers go by: it has forgotten its scripts, or is another one.
 * It is told again; nothing is lost or doubled on the way, and order holds. */
#include <stdatomic.h>

#include "forward_rig.h"

enum { FLIGHTS = 5 }; /* batches under way in a partition */

/* How often the server did not know a script. */
static long unknown(server *s) {
    char *info = server_str(s, "INFO errorstats");
    const char *at = strstr(info, "errorstat_NOSCRIPT:count=");
    long n = at != NULL ? atol(strchr(at, '=') + 1) : 0;
    free(info);
    return n;
}

static void forget(server *s) {
    server_do(s, "SCRIPT FLUSH SYNC");
}

static rig proxied_rig(uint32_t partitions, const char *const *args) {
    rig r = rig_new(partitions);
    r.server_args = args;
    r.proxied = true;
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    return r;
}

/* ---- in flight ------------------------------------------------------------------------------ */

/* Several batches are on their way to each partition when the server forgets: all of them are refused, and
 * sent again in order. The first one brings the guard along. */
TEST(while_batches_are_in_flight) {
    enum { PARTITIONS = 3, ROUNDS = 5, EACH = 300 };
    rig r = proxied_rig(PARTITIONS, NULL);
    ledger *l = ledger_new(16);
    seg_error err;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        long before = unknown(r.server);
        uint64_t batches = stats_of(r.producer).batches;
        proxy_hold(r.proxy, PROXY_REQUESTS);
        for (unsigned i = 0; i < EACH; i++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, 100, &err), &err);
        WAIT_FOR(PATIENCE, stats_of(r.producer).batches == batches + PARTITIONS * FLIGHTS);
        forget(r.server);
        proxy_release(r.proxy);
        ledger_settle(l, r.producer, PATIENCE);
        CHECK_EQ(unknown(r.server) - before, PARTITIONS * FLIGHTS);
        CHECK_EQ(stats_of(r.producer).retries, round * PARTITIONS * FLIGHTS);
        CHECK_EQ(rig_check(&r, l), round * EACH);
    }
    CHECK_EQ(ledger_count(l, SEG_OK), ROUNDS * EACH);
    CHECK_EQ(proxy_accepted(r.proxy), 1);
    ledger_free(l);
    rig_close(&r);
}

/* Between two batches of those in flight: the first is stored, the others are not. */
TEST(between_batches_in_flight) {
    enum { EACH = 100 };
    rig r = proxied_rig(1, NULL);
    ledger *l = ledger_new(16);
    seg_error err;
    size_t sent = 0;
    for (int round = 0; round < 20; round++) {
        size_t before = ledger_count(l, SEG_OK);
        proxy_delay(r.proxy, PROXY_REPLIES, 2);
        for (unsigned i = 0; i < EACH; i++, sent++)
            CHECK_OK(ledger_send_async(l, r.producer, i % 16, 100, &err), &err);
        while (ledger_count(l, SEG_OK) == before)
            CHECK_OK(seg_producer_poll(r.producer, PATIENCE, &err), &err);
        forget(r.server);
        ledger_settle(l, r.producer, PATIENCE);
    }
    CHECK_GT(unknown(r.server), 0);
    CHECK_EQ(ledger_count(l, SEG_OK), sent);
    CHECK_EQ(rig_check(&r, l), sent);
    ledger_free(l);
    rig_close(&r);
}

/* Outputs and plain messages, each with a guard of its own, which are told again each for itself. */
TEST(while_outputs_are_in_flight) {
    enum { ROUNDS = 20, EACH = 40 };
    rig r = proxied_rig(2, NULL);
    book *b = book_new();
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t batches = stats_of(r.producer).batches;
        proxy_hold(r.proxy, PROXY_REQUESTS);
        for (unsigned n = round * EACH; n < (round + 1) * EACH; n++)
            if (n % 8 < 6 || round % 2 == 0)
                forward(b, r.producer, first_owner, n, 0);
            else
                send_plain(b, r.producer, n);
        push(r.producer);
        WAIT_FOR(PATIENCE, stats_of(r.producer).batches > batches);
        forget(r.server);
        proxy_release(r.proxy);
        settle(b, r.producer);
    }
    CHECK_GE(unknown(r.server), ROUNDS);
    CHECK_EQ(count(b, SEG_OK), ROUNDS * EACH);
    CHECK_EQ(check(&r, b), ROUNDS * EACH);
    /* The same ones once more, while it forgets again: all of them are known. */
    forget(r.server);
    for (unsigned n = 0; n < 6; n++)
        forward(b, r.producer, first_owner, n, 0);
    settle(b, r.producer);
    CHECK_EQ(check(&r, b), ROUNDS * EACH);
    book_free(b);
    rig_close(&r);
}

typedef struct flusher {
    server *server;
    pthread_t thread;
    atomic_bool stop;
} flusher;

static void *flush_scripts(void *arg) {
    flusher *f = arg;
    while (!atomic_load(&f->stop))
        forget(f->server);
    return NULL;
}

TEST(outputs_while_scripts_are_flushed_all_the_time) {
    enum { N = 2000 };
    rig r = rig_new(3);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    book *b = book_new();
    flusher f = {.server = r.server};
    CHECK_EQ(pthread_create(&f.thread, NULL, flush_scripts, &f), 0);
    for (unsigned n = 0; n < N; n++) {
        if (n % 16 < 12)
            forward(b, r.producer, first_owner, n, 0);
        else
            send_plain(b, r.producer, n);
        if (n % 100 == 0)
            settle(b, r.producer);
    }
    settle(b, r.producer);
    atomic_store(&f.stop, true);
    CHECK_EQ(pthread_join(f.thread, NULL), 0);
    CHECK_EQ(count(b, SEG_OK), N);
    CHECK_EQ(check(&r, b), N);
    book_free(b);
    rig_close(&r);
}

/* ---- another server ------------------------------------------------------------------------- */

/* The first guard on each connection has its body along, so nothing has to be asked twice. */
TEST(a_client_of_a_server_that_knows_nothing) {
    rig r = rig_new(2);
    rig_open(&r);
    ledger *l = ledger_new(4);
    book *b = book_new();
    seg_error err;
    for (int i = 0; i < 3; i++) {
        forget(r.server);
        long before = unknown(r.server);
        other o = other_open(&r);
        CHECK_OK(ledger_send_async(l, o.producer, 0, 20, &err), &err);
        push(o.producer);
        ledger_settle(l, o.producer, PATIENCE);
        CHECK_EQ(unknown(r.server), before);
        forward(b, o.producer, first_owner, (unsigned)i, 0);
        settle(b, o.producer);
        CHECK_EQ(unknown(r.server), before);
        other_close(&o);
    }
    CHECK_EQ(count(b, SEG_OK), 3);
    CHECK_EQ(ledger_count(l, SEG_OK), 3);
    book_free(b);
    ledger_free(l);
    rig_close(&r);
}

/* It was told on a connection: on the next one it is told anew. */
TEST(after_a_restart) {
    const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    rig r = proxied_rig(2, args);
    ledger *l = ledger_new(4);
    seg_error err;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
        CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
        server_kill9(r.server);
        server_restart(r.server);
        CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
        CHECK_OK(ledger_send(l, r.producer, 1, 20, &err), &err);
        CHECK_EQ(unknown(r.server), 0);
    }
    CHECK_EQ(rig_check(&r, l), 12);
    ledger_free(l);
    rig_close(&r);
}

TEST(on_a_promoted_replica) {
    rig r = rig_new(2);
    r.server = server_start_tcp((const char *const[]){"--repl-diskless-sync-delay", "0", NULL});
    server *replica = server_start(NULL);
    r.proxy = proxy_start(server_socket(r.server));
    r.client_options.url = proxy_url(r.proxy);
    seg_error err;
    CHECK_OK(seg_client_open(&r.client, &r.client_options, &err), &err);
    CHECK_OK(seg_stream_create(r.client, "s", &r.stream_options, &err), &err);
    r.producer = rig_producer(&r);
    ledger *l = ledger_new(4);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    server_do(replica, "REPLICAOF 127.0.0.1 %d", server_port(r.server));
    WAIT_FOR(PATIENCE, server_int(replica, "EXISTS sg:{default/s/0}:log") == 1);
    for (unsigned i = 0; i < 20; i++)
        CHECK_OK(ledger_send(l, r.producer, i % 4, 20, &err), &err);
    long long at = server_info(r.server, "master_repl_offset");
    WAIT_FOR(PATIENCE, server_info(replica, "slave_repl_offset") >= at);
    /* The client stays on its connection until that breaks; what it has was told to another server. */
    server_do(replica, "REPLICAOF NO ONE");
    proxy_retarget(r.proxy, server_socket(replica));
    proxy_cut(r.proxy);
    for (unsigned i = 0; i < 20; i++)
        CHECK_OK(ledger_send(l, r.producer, i % 4, 20, &err), &err);
    CHECK_EQ(unknown(replica), 0);
    CHECK_EQ(ledger_check(l, replica, "default", "s"), 41);
    ledger_free(l);
    rig_close(&r);
    server_stop(replica);
}

/* ---- opened by hand ------------------------------------------------------------------------- */

/* Nothing stops a batch whose guard the server does not know where somebody has opened the log. It is in it
 * then as a stranger's entry, which its own guard takes out when the batch is sent again. */
TEST(a_log_that_is_open_by_hand) {
    rig r = rig_new(1);
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
        long before = unknown(r.server);
        char id[32];
        snprintf(id, sizeof id, "1-%d", 2 * i);
        server_do(r.server, "XSETID sg:{default/s/0}:log %s", id);
        forget(r.server);
        CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
        CHECK_EQ(unknown(r.server), before + 1);
        CHECK_EQ(rig_check(&r, l), 2 * (i + 1));
    }
    char *foreign = server_str(r.server, "HGET sg:{default/s/0}:state foreign");
    CHECK_STR(foreign, "5");
    free(foreign);
    ledger_free(l);
    rig_close(&r);
}
