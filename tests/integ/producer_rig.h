/* producer_rig.h - a server, a client of it (maybe through a proxy), a stream "s" and its producer.
 */
#ifndef SG_TEST_PRODUCER_RIG_H
#define SG_TEST_PRODUCER_RIG_H

#include <string.h>

#include "codec.h"
#include "ledger.h"
#include "proxy.h"
#include "server.h"
#include "status.h"
#include "test.h"

#define PATIENCE 30000 /* ms before a wait fails: only a broken test gets there */

typedef struct rig {
    /* Set before rig_open, where they differ from the defaults. */
    const char *const *server_args;
    bool proxied;
    seg_client_options client_options;
    seg_stream_options stream_options;
    seg_producer_options producer_options;

    server *server;
    proxy *proxy;
    seg_client *client;
    seg_producer *producer;
} rig;

static inline rig rig_new(uint32_t partitions) {
    rig r = {.server = NULL};
    SEG_INIT(&r.client_options);
    SEG_INIT(&r.stream_options);
    SEG_INIT(&r.producer_options);
    r.producer_options.codec = test_codec();
    r.stream_options.partitions = partitions;
    return r;
}

static inline seg_producer *rig_producer(rig *r) {
    seg_error err;
    seg_producer *p = NULL;
    CHECK_OK(seg_producer_open(&p, r->client, "s", &r->producer_options, &err), &err);
    return p;
}

static inline void rig_open(rig *r) {
    seg_error err;
    r->server = server_start(r->server_args);
    if (r->proxied)
        r->proxy = proxy_start(server_socket(r->server));
    if (r->client_options.url == NULL)
        r->client_options.url = r->proxied ? proxy_url(r->proxy) : server_url(r->server);
    CHECK_OK(seg_client_open(&r->client, &r->client_options, &err), &err);
    CHECK_OK(seg_stream_create(r->client, "s", &r->stream_options, &err), &err);
    r->producer = rig_producer(r);
}

static inline void rig_close(rig *r) {
    seg_producer_close(r->producer);
    seg_client_close(r->client);
    proxy_stop(r->proxy);
    server_stop(r->server);
}

static inline size_t rig_check(rig *r, ledger *l) {
    return ledger_check(l, r->server, "default", "s");
}

static inline seg_record record_of(const char *key, const char *value) {
    seg_record r;
    SEG_INIT(&r);
    r.key = (seg_bytes){key, strlen(key)};
    r.value = (seg_bytes){value, strlen(value)};
    return r;
}

static inline seg_producer_stats stats_of(const seg_producer *p) {
    seg_producer_stats s;
    SEG_INIT(&s);
    seg_producer_get_stats(p, &s);
    return s;
}

#endif
