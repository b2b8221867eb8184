#include "engine/client.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/tracing.h"

/* Idle memory for batches: of those under way to some dozens of partitions. */
#define POOL_KEEP ((size_t)16 * 1024 * 1024)

seg_status sg_options_copy(void *ours, size_t size, const void *theirs, const char *what,
                           seg_error *err) {
    size_t given;
    if (theirs == NULL)
        return SEG_OK;
    memcpy(&given, theirs, sizeof given);
    if (given < sizeof given || given > 4096)
        return sg_fail(err, SEG_EINVAL, "%s: its size member is %zu: set it with SEG_INIT", what,
                       given);
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)theirs)[i] != 0)
            return sg_fail(err, SEG_EINVAL,
                           "%s: a member is set that this version of the library "
                           "(%s) does not know: use a newer one",
                           what, SEG_VERSION_TEXT);
    memcpy(ours, theirs, given < size ? given : size);
    memcpy(ours, &size, sizeof size);
    return SEG_OK;
}

/* ---- connections (loop thread) ------------------------------------------------------------ */

static sg_conn *connect_with(seg_client *c, const char *purpose, sg_conn_state_fn *on_state,
                             sg_push_fn *on_push, void *arg) {
    sg_conn_options o = {.url = &c->url,
                         .connect_timeout = c->connect_timeout,
                         .command_timeout = c->command_timeout,
                         .purpose = purpose,
                         .log = &c->log,
                         .on_state = on_state,
                         .on_push = on_push,
                         .arg = arg,
                         .counts = &c->counts};
    sg_conn *conn = sg_conn_new(&o);
    if (conn != NULL && !sg_loop_attach(c->loop, conn)) {
        sg_conn_free(conn);
        conn = NULL;
    }
    return conn;
}

sg_conn *sg_client_connect(seg_client *c, const char *purpose, sg_conn_state_fn *on_state,
                           void *arg) {
    return connect_with(c, purpose, on_state, NULL, arg);
}

void sg_client_disconnect(seg_client *c, sg_conn *conn) {
    if (conn == NULL)
        return;
    sg_loop_detach(c->loop, conn);
    sg_conn_free(conn);
}

static void on_wake_state(void *arg, bool up, const seg_error *fatal) {
    seg_client *c = arg;
    (void)fatal;
    if (!up)
        return;
    for (sg_node *n = c->listeners.head.next; n != &c->listeners.head; n = n->next)
        sg_conn_subscribe(c->wake, SG_OF(n, sg_listener, node)->channel, true);
}

/* A message: ["smessage", channel, text]. */
static void on_wake_push(void *arg, sg_reply *reply) {
    seg_client *c = arg;
    if (sg_reply_error(reply) != NULL)
        sg_log_write(&c->log, SEG_LOG_WARN, "no-wake-ups",
                     "the server refused a subscription, so that "
                     "partitions are handed over late (the user needs the channels sg:*): %s",
                     sg_reply_error(reply));
    /* Once it is confirmed, too: what was said between the last sync and now was said to nobody. */
    if (!sg_reply_is(sg_reply_at(reply, 0), "smessage") &&
        !sg_reply_is(sg_reply_at(reply, 0), "ssubscribe"))
        return;
    const char *channel = sg_reply_text(sg_reply_at(reply, 1));
    for (sg_node *n = c->listeners.head.next; n != &c->listeners.head; n = n->next) {
        sg_listener *l = SG_OF(n, sg_listener, node);
        if (strcmp(l->channel, channel) == 0)
            l->fn(l->arg);
    }
}

bool sg_client_listen(seg_client *c, sg_listener *l) {
    sg_list_push(&c->listeners, &l->node);
    if (c->wake == NULL) {
        c->wake = connect_with(c, "wake", on_wake_state, on_wake_push, c);
        return c->wake != NULL;
    }
    sg_conn_subscribe(c->wake, l->channel, true);
    return true;
}

void sg_client_unlisten(seg_client *c, sg_listener *l) {
    if (!sg_node_linked(&l->node))
        return;
    sg_list_remove(&l->node);
    if (c->wake != NULL)
        sg_conn_subscribe(c->wake, l->channel, false);
}

/* ---- opening ------------------------------------------------------------------------------ */

static void on_commands_state(void *arg, bool up, const seg_error *fatal) {
    seg_client *c = arg;
    c->lives += up ? 1 : 0;
    sg_loop_wake_all(c->loop);
    if (fatal != NULL)
        sg_log_write(&c->log, SEG_LOG_ERROR, "unusable", "%s", fatal->text);
    sg_mutex_lock(&c->lock);
    if (up && !c->up) {
        c->up = true;
        strncpy(c->server, sg_conn_server(c->commands), sizeof c->server - 1);
        sg_cond_broadcast(&c->opened);
    } else if (!c->up && fatal != NULL) {
        c->fault = *fatal;
        sg_cond_broadcast(&c->opened);
    }
    sg_mutex_unlock(&c->lock);
}

/* While it opens, the first connection attempt that fails is the answer; only a server that is
 * still loading its data is waited for. */
static int64_t run(void *arg, int64_t now) {
    seg_client *c = arg;
    sg_mutex_lock(&c->lock);
    bool opening = !c->up && c->fault.status == SEG_OK;
    const seg_error *last = sg_conn_last_error(c->commands);
    if (opening && last->status != SEG_OK && strstr(last->text, "loading") == NULL) {
        c->fault = *last;
        sg_cond_broadcast(&c->opened);
    }
    sg_mutex_unlock(&c->lock);
    return opening ? now + 5 : INT64_MAX;
}

static void start(void *arg) {
    seg_client *c = arg;
    c->commands = connect_with(c, "commands", on_commands_state, NULL, c);
    if (c->commands == NULL)
        return;
    c->actor.run = run;
    c->actor.arg = c;
    sg_loop_add(c->loop, &c->actor);
}

static seg_status wait_open(seg_client *c, seg_error *err) {
    int64_t deadline = sg_clock_after(sg_clock_ms(), c->connect_timeout);
    seg_status status = SEG_OK;
    char where[160];
    sg_url_show(&c->url, where, sizeof where);
    sg_mutex_lock(&c->lock);
    while (!c->up && c->fault.status == SEG_OK) {
        int64_t left = deadline - sg_clock_ms();
        if (left <= 0)
            break;
        sg_cond_wait(&c->opened, &c->lock, left);
    }
    if (c->up)
        c->fault.status = SEG_OK;
    else if (c->fault.status != SEG_OK)
        status = sg_fail(err, c->fault.status, "%s", c->fault.text);
    else
        status = sg_fail(err, SEG_ETIMEDOUT, "no connection to %s within %lld ms", where,
                         (long long)c->connect_timeout);
    sg_mutex_unlock(&c->lock);
    return status;
}

/* sg_log knows no public types. */
static void pass_log(int level, const char *event, const char *text, void *arg) {
    seg_client *c = arg;
    c->log_fn((seg_log_level)level, event, text, c->log_arg);
}

static seg_status configure(seg_client *c, const seg_client_options *o, seg_error *err) {
    const char *ns = o->name_space != NULL ? o->name_space : "default";
    seg_status s = sg_name_check("namespace", ns, err);
    if (s != SEG_OK)
        return s;
    if (o->connect_timeout < 0 || o->command_timeout < 0)
        return sg_fail(err, SEG_EINVAL, "a timeout is negative");
    if ((unsigned)o->log_level > SEG_LOG_DEBUG)
        return sg_fail(err, SEG_EINVAL, "log_level %d is not one of SEG_LOG_*", (int)o->log_level);
    if ((s = sg_tracer_copy(&c->tracer, o->tracer, err)) != SEG_OK)
        return s;
    strcpy(c->ns, ns);
    c->connect_timeout = o->connect_timeout != 0 ? o->connect_timeout : 5000;
    c->command_timeout = o->command_timeout != 0 ? o->command_timeout : 5000;
    return sg_url_parse(&c->url, o->url != NULL ? o->url : "redis://127.0.0.1:6379", err);
}

static void free_client(seg_client *c) {
    sg_pool_free(c->pool);
    sg_codecs_fini(&c->codecs);
    sg_url_fini(&c->url);
    sg_log_fini(&c->log);
    sg_cond_fini(&c->opened);
    sg_mutex_fini(&c->lock);
    sg_free(c);
}

seg_status seg_client_open(seg_client **out, const seg_client_options *opts, seg_error *err) {
    seg_client_options o = {.size = sizeof o};
    seg_status s;
    if (out == NULL)
        return sg_fail(err, SEG_EINVAL, "out is NULL");
    if ((s = sg_options_copy(&o, sizeof o, opts, "client options", err)) != SEG_OK)
        return s;
    seg_client *c = sg_calloc(1, sizeof *c);
    if (c == NULL)
        return sg_fail_nomem(err);
    sg_list_init(&c->listeners);
    atomic_init(&c->references, 1);
    c->log_fn = o.log;
    c->log_arg = o.log_arg;
    c->pool = sg_pool_new(POOL_KEEP);
    if (c->pool == NULL || !sg_mutex_init(&c->lock) || !sg_cond_init(&c->opened) ||
        !sg_log_init(&c->log, (int)o.log_level, o.log != NULL ? pass_log : NULL, c) ||
        !sg_random_bytes(&c->rng, sizeof c->rng)) {
        sg_pool_free(c->pool);
        sg_free(c);
        return sg_fail_nomem(err);
    }
    if ((s = configure(c, &o, err)) != SEG_OK) {
        free_client(c);
        return s;
    }
    c->loop = sg_loop_open();
    if (c->loop == NULL) {
        s = sg_fail(err, SEG_ENOMEM, "no background thread: %s", strerror(errno));
        free_client(c);
        return s;
    }
    sg_loop_call(c->loop, start, c);
    s = c->commands != NULL ? wait_open(c, err) : sg_fail_nomem(err);
    if (s != SEG_OK) {
        seg_client_close(c);
        return s;
    }
    *out = c;
    return SEG_OK;
}

/* Every request under way ends as lost, and every actor finds the client closed. */
static void stop(void *arg) {
    seg_client *c = arg;
    sg_loop_remove(&c->actor);
    sg_client_disconnect(c, c->commands);
    sg_client_disconnect(c, c->wake);
    c->commands = c->wake = NULL;
    sg_loop_wake_all(c->loop);
}

void sg_client_ref(seg_client *c) {
    atomic_fetch_add(&c->references, 1);
}

void sg_client_unref(seg_client *c) {
    if (atomic_fetch_sub(&c->references, 1) != 1)
        return;
    sg_loop_close(c->loop);
    free_client(c);
}

void seg_client_close(seg_client *c) {
    if (c == NULL)
        return;
    atomic_store(&c->closed, true);
    sg_loop_call(c->loop, stop, c);
    sg_client_unref(c);
}

const char *seg_client_server(const seg_client *c) {
    return c->server;
}

void seg_client_get_stats(const seg_client *c, seg_client_stats *out) {
    const sg_conn_counts *n = &c->counts;
    size_t size = out->size;
    seg_client_stats now = {.connections = sg_counter_get(&n->up),
                            .reconnects = sg_counter_get(&n->reconnects),
                            .connect_failures = sg_counter_get(&n->failures),
                            .bytes_out = sg_counter_get(&n->bytes_out),
                            .bytes_in = sg_counter_get(&n->bytes_in),
                            .requests = sg_counter_get(&n->requests),
                            .refusals = sg_counter_get(&n->refusals),
                            .lost = sg_counter_get(&n->lost),
                            .under_way = sg_counter_get(&n->under_way)};
    if (size <= sizeof size)
        return;
    memcpy((char *)out + sizeof size, (const char *)&now + sizeof size,
           (size < sizeof now ? size : sizeof now) - sizeof size);
}
