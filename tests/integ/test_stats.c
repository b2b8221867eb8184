/* The counters, against what was really done. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static seg_error err;

static seg_client_stats client_stats(const seg_client *c) {
    seg_client_stats st;
    SEG_INIT(&st);
    seg_client_get_stats(c, &st);
    return st;
}

static seg_producer_stats producer_stats(const seg_producer *p) {
    seg_producer_stats st;
    SEG_INIT(&st);
    seg_producer_get_stats(p, &st);
    return st;
}

TEST(a_client_counts_what_it_asks) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    seg_client_stats before = client_stats(c), now;
    CHECK_EQ(before.connections, 1);
    CHECK_EQ(before.requests, 0);
    CHECK_GT(before.bytes_out, 50); /* the handshake */
    CHECK_GT(before.bytes_in, 1000);
    seg_names *names = NULL;
    CHECK_OK(seg_stream_list(&names, c, &err), &err);
    seg_names_free(names);
    now = client_stats(c);
    CHECK_EQ(now.requests, 1);
    CHECK_EQ(now.bytes_out - before.bytes_out,
             strlen("*2\r\n$8\r\nSMEMBERS\r\n$20\r\nsg:{default}:streams\r\n"));
    CHECK_EQ(now.bytes_in - before.bytes_in, strlen("*0\r\n"));
    CHECK_EQ(now.under_way, 0);
    CHECK_EQ(now.refusals, 0);
    server_do(s, "SET sg:{default}:streams text");
    CHECK_STATUS(seg_stream_list(&names, c, &err), SEG_EPROTO, &err);
    CHECK_EQ(client_stats(c).refusals, 1);
    CHECK_EQ(client_stats(c).lost, 0);
    seg_client_stats old = {.size = sizeof(size_t) + sizeof(uint64_t), .reconnects = 77};
    seg_client_get_stats(c, &old); /* of an older version: no more is written than it has */
    CHECK_EQ(old.connections, 1);
    CHECK_EQ(old.reconnects, 77);
    seg_client_close(c);
    server_stop(s);
}

TEST(a_client_counts_what_breaks) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    rig_stream(c, "s", 1);
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g"});
    rig_settle(k, 1);
    WAIT_FOR(RIG_MS, client_stats(c).connections == 3); /* commands, fetch, wake */
    WAIT_FOR(RIG_MS, client_stats(c).under_way > 0);    /* the waiting read */
    CHECK_EQ(client_stats(c).reconnects, 0);
    server_kill9(s);
    WAIT_FOR(RIG_MS, client_stats(c).connections == 0);
    WAIT_FOR(RIG_MS, client_stats(c).connect_failures >= 3);
    CHECK_GE(client_stats(c).lost, 1);
    CHECK_EQ(client_stats(c).under_way, 0);
    server_restart(s);
    WAIT_FOR(RIG_MS, client_stats(c).connections == 3);
    CHECK_EQ(client_stats(c).reconnects, 3);
    seg_consumer_close(k);
    WAIT_FOR(RIG_MS, client_stats(c).connections == 2);
    seg_client_close(c);
    server_stop(s);
}

TEST(producer_and_consumer_count_batches_and_bytes) {
    server *s = server_start(NULL);
    seg_client *c = rig_client(s);
    rig_stream(c, "s", 1);
    seg_producer *p = NULL;
    seg_producer_options o;
    SEG_INIT(&o);
    o.codec = SEG_LZ4;
    o.linger = RIG_MS;
    CHECK_OK(seg_producer_open(&p, c, "s", &o, &err), &err);
    rig_put(p, (rig_run){.partitions = 1, .count = 10, .bytes = 1000});
    rig_put(p, (rig_run){.partitions = 1, .first = 10, .count = 10, .bytes = 1000});
    seg_producer_stats sent = producer_stats(p);
    CHECK_EQ(sent.batches, 2);
    CHECK_EQ(sent.stored, 20);
    CHECK_GT(sent.stored_bytes, 20 * 1000);
    CHECK_LT(sent.stored_bytes, 20 * 1100);
    CHECK_GT(sent.batch_bytes, 2 * 28);
    CHECK_LT(sent.batch_bytes, 2000); /* spaces */
    CHECK_EQ(sent.queued_bytes, 0);
    CHECK_EQ(sent.duplicates + sent.fenced, 0);
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    seg_consumer *k = rig_consumer(c, "s", &(rig_join){.group = "g"});
    rig_take(k, in, 20);
    seg_consumer_stats got = rig_stats(k);
    CHECK_EQ(got.entries, 2);
    CHECK_EQ(got.entry_bytes, sent.batch_bytes);
    CHECK_GE(got.fetches, 1);
    CHECK_GE(got.syncs, 1);
    CHECK_EQ(got.partitions, 1);
    CHECK_EQ(got.in_flight, 20);
    rig_ack(k, in->d, 20);
    rig_commit(k);
    got = rig_stats(k);
    CHECK_EQ(got.in_flight, 0);
    CHECK_GE(got.commits, 1);
    free(in);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_client_close(c);
    server_stop(s);
}
