/* client.h - a connection to one server and namespace, shared by its producers and consumers. */
#ifndef SG_ENGINE_CLIENT_H
#define SG_ENGINE_CLIENT_H
#include <segmenter/segmenter.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/pool.h"
#include "base/thread.h"
#include "core/codec.h"
#include "core/names.h"
#include "core/url.h"
#include "engine/loop.h"
#include "redis/conn.h"

struct seg_client {
    sg_url url;
    char ns[SG_NAME_MAX + 1];
    int64_t connect_timeout, command_timeout;
    seg_log_fn *log_fn;
    void *log_arg;
    seg_tracer tracer; /* its functions are NULL where there are none */
    sg_log log;
    sg_loop *loop;
    sg_pool *pool;          /* of batches, sent and received */
    char server[96];        /* set before open returns */
    atomic_bool closed;     /* then the connections below are gone */
    sg_conn_counts counts;  /* of all connections; the loop thread counts */
    atomic_uint references; /* the application's, and one of each producer and consumer */

    /* Loop thread only. */
    sg_conn *commands;
    sg_conn *wake;     /* Pub/Sub; made with the first consumer */
    sg_list listeners; /* sg_listener */
    sg_rng rng;        /* jitter */
    sg_codecs codecs;
    sg_actor actor;
    uint64_t lives; /* times that the connection for commands came up */

    /* The opening: guarded by lock. */
    sg_mutex lock;
    sg_cond opened;
    bool up;
    seg_error fault;
};

/* One who waits for messages on a channel. */
typedef struct sg_listener {
    sg_node node;
    const char *channel;
    void (*fn)(void *arg);
    void *arg;
} sg_listener;

/* Loop thread: (un)subscribe. False: no memory. Without it the member is slower, not wrong. */
bool sg_client_listen(seg_client *c, sg_listener *l);
void sg_client_unlisten(seg_client *c, sg_listener *l);

/* A closed client lives on, without connections, until its last producer and consumer is closed.
 * Not on the loop thread. */
void sg_client_ref(seg_client *c);
void sg_client_unref(seg_client *c);

/* A further connection of this client's, attached to the loop. Loop thread. NULL: no memory. */
sg_conn *sg_client_connect(seg_client *c, const char *purpose, sg_conn_state_fn *on_state,
                           void *arg);
void sg_client_disconnect(seg_client *c, sg_conn *conn);

/* Copy an options struct of the caller's version into ours: what it does not know is zero, what we
 * do not know must be zero. */
seg_status sg_options_copy(void *ours, size_t size, const void *theirs, const char *what,
                           seg_error *err);
#endif
