/* The producer when what it works on is taken away or spoilt: the stream deleted, keys missing or
 * of another type, rights withdrawn. Each is a clear error, soon, and never a hang. */
#include <stdio.h>
#include <stdlib.h>

#include "producer_rig.h"

/* Queue some, and end with their outcome: all of them the same. */
static void check_all_end(rig *r, seg_status expected) {
    ledger *l = ledger_new(4);
    seg_error err;
    int64_t start = test_now_ms();
    for (unsigned i = 0; i < 20; i++) {
        seg_status s = ledger_send_async(l, r->producer, i % 4, 20, &err);
        CHECK(s == SEG_OK || s == expected);
    }
    ledger_settle(l, r->producer, PATIENCE);
    CHECK_LT(test_now_ms() - start, 10000);
    seg_error last = ledger_last_error(l);
    CHECK_STATUS(last.status, expected, &last);
    CHECK_EQ(ledger_count(l, expected), 20);
    CHECK_STATUS(ledger_send(l, r->producer, 0, 20, &err), expected, &err);
    ledger_free(l);
}

TEST(stream_deleted) {
    rig r = rig_new(2);
    rig_open(&r);
    seg_error err;
    CHECK_OK(seg_stream_delete(r.client, "s", &err), &err);
    check_all_end(&r, SEG_ENOENT);
    rig_close(&r);
}

/* The old producer does not write into the new stream of that name. */
TEST(stream_deleted_and_made_anew) {
    rig r = rig_new(2);
    rig_open(&r);
    seg_error err;
    CHECK_OK(seg_stream_delete(r.client, "s", &err), &err);
    CHECK_OK(seg_stream_create(r.client, "s", &r.stream_options, &err), &err);
    check_all_end(&r, SEG_ENOENT);
    CHECK_EQ(log_each_partition(r.server, "default", "s", NULL, NULL), 0);
    seg_producer *p = rig_producer(&r);
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_send(p, &rec, NULL, &err), &err);
    CHECK_EQ(log_each_partition(r.server, "default", "s", NULL, NULL), 1);
    seg_producer_close(p);
    rig_close(&r);
}

/* Batches are on their way, and others wait, while it is deleted. */
TEST(stream_deleted_while_sending) {
    rig r = rig_new(2);
    r.producer_options.max_batch = 1024;
    rig_open(&r);
    ledger *l = ledger_new(4);
    seg_error err;
    for (unsigned i = 0; i < 2000; i++) {
        seg_status s = ledger_send_async(l, r.producer, i % 4, 100, &err);
        CHECK(s == SEG_OK || s == SEG_ENOENT);
        if (i == 1000)
            CHECK_OK(seg_stream_delete(r.client, "s", &err), &err);
    }
    ledger_settle(l, r.producer, PATIENCE);
    CHECK_EQ(ledger_count(l, SEG_OK) + ledger_count(l, SEG_ENOENT), 2000);
    CHECK_GT(ledger_count(l, SEG_ENOENT), 0);
    CHECK_EQ(server_int(r.server, "DBSIZE"), 0);
    ledger_free(l);
    rig_close(&r);
}

TEST(everything_flushed) {
    rig r = rig_new(2);
    rig_open(&r);
    server_do(r.server, "FLUSHALL");
    check_all_end(&r, SEG_ENOENT);
    CHECK_EQ(server_int(r.server, "DBSIZE"), 0);
    rig_close(&r);
}

static void ruin(const char *command, seg_status expected) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    server_do(r.server, command);
    check_all_end(&r, expected);
    rig_close(&r);
}

TEST(log_deleted) {
    ruin("DEL sg:{default/s/0}:log", SEG_ELOST);
}

TEST(state_deleted) {
    ruin("DEL sg:{default/s/0}:state", SEG_ELOST);
}

TEST(log_of_another_type) {
    ruin("SET sg:{default/s/0}:log x", SEG_EPROTO);
}

TEST(state_of_another_type) {
    ruin("SET sg:{default/s/0}:state x", SEG_EPROTO);
}

TEST(state_of_another_incarnation) {
    ruin("HSET sg:{default/s/0}:state inc 00000000000000000000000000000000", SEG_ELOST);
}

TEST(state_not_a_number) {
    ruin("HSET sg:{default/s/0}:state next many", SEG_ESERVER);
}

/* Remove what the server knows of all producers of partition 0, as if it had lost its last writes.
 */
static void forget_producers(server *s) {
    redisReply *fields = server_cmd(s, "HKEYS sg:{default/s/0}:state");
    size_t forgotten = 0;
    for (size_t i = 0; i < fields->elements; i++)
        if (strncmp(fields->element[i]->str, "p:", 2) == 0) {
            server_do(s, "HDEL sg:{default/s/0}:state %s", fields->element[i]->str);
            forgotten++;
        }
    freeReplyObject(fields);
    CHECK_GT(forgotten, 0);
}

/* The server knows less of this producer than it had acknowledged, and its log is whole: it has
 * forgotten a producer, and lost nothing. */
TEST(a_producer_that_the_server_forgot) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_record rec = record_of("k", "v");
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    forget_producers(r.server);
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    CHECK_EQ(log_each(r.server, "default", "s", 0, NULL, NULL), 2);
    rig_close(&r);
}

/* One partition's ruin leaves the others alone, until it is known that the stream is damaged. */
TEST(one_partition_of_another_type) {
    rig r = rig_new(2);
    rig_open(&r);
    seg_error err;
    char key[16] = "k";
    for (int i = 0; seg_partition_of((seg_bytes){key, strlen(key)}, 2) != 0; i++)
        snprintf(key, sizeof key, "k%d", i);
    seg_record bad = record_of(key, "v");
    char other[16] = "o";
    for (int i = 0; seg_partition_of((seg_bytes){other, strlen(other)}, 2) != 1; i++)
        snprintf(other, sizeof other, "o%d", i);
    seg_record good = record_of(other, "v");
    server_do(r.server, "SET sg:{default/s/0}:log x");
    CHECK_STATUS(seg_send(r.producer, &bad, NULL, &err), SEG_EPROTO, &err);
    CHECK_OK(seg_send(r.producer, &good, NULL, &err), &err);
    CHECK_EQ(log_each(r.server, "default", "s", 1, NULL, NULL), 1);
    rig_close(&r);
}

/* Somebody's own entries in the log: above ours they are taken out, and offsets stay dense. */
TEST(foreign_entries_in_the_log) {
    rig r = rig_new(1);
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    log_stray(r.server, "default", "s", 0, "*", "f", "v", 1);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    log_stray(r.server, "default", "s", 0, "*", "f", "v", 1);
    log_stray(r.server, "default", "s", 0, "*", "f", "w", 1);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    log_stray(r.server, "default", "s", 0, "1-99", "f", "v", 1);
    for (int i = 0; i < 200; i++)
        CHECK_OK(ledger_send_async(l, r.producer, 0, 20, &err), &err);
    ledger_settle(l, r.producer, PATIENCE);
    CHECK_EQ(ledger_count(l, SEG_OK), 202);
    CHECK_EQ(rig_check(&r, l), 202);
    ledger_free(l);
    rig_close(&r);
}

/* Whether somebody has opened a log by hand or not, the next append finds its place and seals it, and so
 * does opening a producer. */
TEST(a_log_opened_by_hand_is_sealed_again) {
    rig r = rig_new(1);
    rig_open(&r);
    ledger *l = ledger_new(1);
    seg_error err;
    server_do(r.server, "XSETID sg:{default/s/0}:log 0-0");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 1);
    server_do(r.server, "XSETID sg:{default/s/0}:log 1-0");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    server_do(r.server, "XSETID sg:{default/s/0}:log 1-1000");
    seg_producer_close(r.producer);
    r.producer = rig_producer(&r);
    CHECK_EQ(rig_check(&r, l), 2);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 3);
    ledger_free(l);
    rig_close(&r);
}

/* The server remembers a producer for an hour, and looks when their number has doubled. */
TEST(producers_are_forgotten_by_and_by) {
    rig r = rig_new(1);
    rig_open(&r);
    seg_error err;
    seg_record rec = record_of("k", "v");
    for (int i = 0; i < 200; i++) {
        char field[64];
        snprintf(field, sizeof field, "p:%032d", i);
        server_do(r.server, "HSET sg:{default/s/0}:state %s %s", field, "1 1 1000 1:0");
    }
    server_do(r.server, "HSET sg:{default/s/0}:state producers 200 prune_at 201");
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    CHECK_LT(server_int(r.server, "HLEN sg:{default/s/0}:state"), 20);
    CHECK_OK(seg_send(r.producer, &rec, NULL, &err), &err);
    CHECK_EQ(log_each(r.server, "default", "s", 0, NULL, NULL), 2);
    rig_close(&r);
}

/* ---- Rights --------------------------------------------------------------------------------- */

/* A user with all rights but those in `without`; the url to connect by. */
static const char *make_user(rig *r, const char *without) {
    static char url[128];
    char rules[256];
    snprintf(rules, sizeof rules, "ACL SETUSER app on >secret ~sg:* &sg:* +@all %s", without);
    server_do(r->server, rules);
    snprintf(url, sizeof url, "redis://app:secret@127.0.0.1:%d", server_port(r->server));
    return url;
}

static void check_needs(const char *right) {
    rig r = rig_new(1);
    seg_error err;
    seg_client_options o;
    SEG_INIT(&o);
    r.server = server_start_tcp(NULL);
    o.url = make_user(&r, "");
    CHECK_OK(seg_client_open(&r.client, &o, &err), &err);
    CHECK_OK(seg_stream_create(r.client, "s", &r.stream_options, &err), &err);
    char without[32];
    snprintf(without, sizeof without, "-%s", right);
    make_user(&r, without);
    seg_producer *p = NULL;
    CHECK_STATUS(seg_producer_open(&p, r.client, "s", NULL, &err), SEG_EACCES, &err);
    char command[32];
    snprintf(command, sizeof command, "+%s", right);
    make_user(&r, command);
    CHECK_OK(seg_producer_open(&p, r.client, "s", NULL, &err), &err);
    seg_producer_close(p);
    seg_client_close(r.client);
    server_stop(r.server);
}

TEST(open_needs_hmget) {
    check_needs("hmget");
}

TEST(open_needs_eval) {
    check_needs("eval");
}

TEST(open_needs_evalsha) {
    check_needs("evalsha");
}

TEST(open_needs_xadd) {
    check_needs("xadd");
}

TEST(open_needs_multi) {
    check_needs("multi");
}

TEST(open_needs_exec) {
    check_needs("exec");
}

TEST(open_needs_xsetid) {
    check_needs("xsetid");
}

TEST(open_needs_hset) {
    check_needs("hset");
}

TEST(open_needs_xtrim) {
    check_needs("xtrim");
}

/* A right that is taken away later: the send says so, and nothing hangs. */
TEST(a_right_is_withdrawn_while_sending) {
    rig r = rig_new(1);
    seg_error err;
    r.server = server_start_tcp(NULL);
    r.client_options.url = make_user(&r, "");
    CHECK_OK(seg_client_open(&r.client, &r.client_options, &err), &err);
    CHECK_OK(seg_stream_create(r.client, "s", &r.stream_options, &err), &err);
    r.producer = rig_producer(&r);
    ledger *l = ledger_new(1);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    make_user(&r, "-xadd");
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_EACCES, &err);
    make_user(&r, "+xadd");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    make_user(&r, "-evalsha");
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_EACCES, &err);
    make_user(&r, "+evalsha");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    make_user(&r, "-eval"); /* which is needed again only where the server forgets the script */
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    server_do(r.server, "SCRIPT FLUSH SYNC");
    CHECK_STATUS(ledger_send(l, r.producer, 0, 20, &err), SEG_EACCES, &err);
    make_user(&r, "+eval");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 5);
    ledger_free(l);
    rig_close(&r);
}

/* The guard can then neither open nor seal the log. Nothing may get past it all the same: what
 * failed was certainly not done. */
TEST(a_withdrawn_xsetid_lets_nothing_through) {
    rig r = rig_new(1);
    seg_error err;
    r.server = server_start_tcp(NULL);
    r.client_options.url = make_user(&r, "");
    CHECK_OK(seg_client_open(&r.client, &r.client_options, &err), &err);
    CHECK_OK(seg_stream_create(r.client, "s", &r.stream_options, &err), &err);
    r.producer = rig_producer(&r);
    ledger *l = ledger_new(1);
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    make_user(&r, "-xsetid");
    seg_status s = ledger_send(l, r.producer, 0, 20, &err);
    CHECK_EQ(rig_check(&r, l), 1);
    CHECK_STATUS(s, SEG_EACCES, &err);
    make_user(&r, "+xsetid");
    CHECK_OK(ledger_send(l, r.producer, 0, 20, &err), &err);
    CHECK_EQ(rig_check(&r, l), 2);
    ledger_free(l);
    rig_close(&r);
}
