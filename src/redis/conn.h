/* conn.h - one connection to the server: connects, introduces itself, pipelines requests, gives
 * each its answer, reconnects with backoff. Owned by one thread (the loop's); never blocks; never
 * calls back from within a call that its user made, except sg_conn_free and sg_conn_drop.
 *
 *            connect ok          handshake ok
 *   WAITING ───────────> HELLO ───────────────> UP
 *      ^  backoff          │ refused, timeout    │ EOF, error, an answer overdue
 *      └───────────────────┴─────────────────────┘   every request under way ends with "lost"
 *
 * A request that ends with "lost" may or may not have been executed, and may yet be.
 *
 * Callbacks may begin and end requests, flush, and drop the connection; they must not free it, nor
 * call sg_conn_ready or sg_conn_tick.
 *
 * A connection that was up for more than a second is made anew at once when it is lost; all else
 * waits, from 20 ms doubling to 1 s, with jitter. One that hears nothing for the command timeout
 * sends a PING, and is dropped where that is not answered. */
#ifndef SG_REDIS_CONN_H
#define SG_REDIS_CONN_H
#include <segmenter/segmenter.h>

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "core/url.h"
#include "redis/entries.h"
#include "redis/reply.h"

typedef struct sg_conn sg_conn;

/* What a request came to. */
typedef struct sg_result {
    /* SEG_OK: `reply` is the answer (of the last command, where a request is several) and no
     * error; the elements of an EXEC's answer may be. SEG_ECONN with lost set: the connection
     * ended first; `text` is why. Anything else: the server's refusal (of the first command that
     * it refused, sg_reply_error_status), `text` is its text, `reply` is the last command's answer.
     */
    seg_status status;
    bool lost;
    sg_reply *reply;  /* valid during the callback only */
    const char *text; /* NULL with SEG_OK; valid during the callback only */
} sg_result;

typedef void sg_result_fn(void *arg, const sg_result *result);

/* Told after the state has changed. `up`: requests are accepted from now on. Down: all requests
 * have had their results before. Down with `fatal` (else NULL): the server was reached and an
 * attempt to reconnect is hopeless without help (wrong password, too old, evicts; at the very first
 * connection also: a replica, or no such server at all); told once for each distinct text until it
 * is up again. It goes on trying all the same, with its longest backoff. */
typedef void sg_conn_state_fn(void *arg, bool up, const seg_error *fatal);

/* Every message that comes without a request (Pub/Sub), the confirmations of subscriptions, and
 * the error answer to one that was refused. reply is valid during the call only. */
typedef void sg_push_fn(void *arg, sg_reply *reply);

/* What connections have done, all that are given the same ones. Counted by their thread. */
typedef struct sg_conn_counts {
    sg_counter up;                  /* now */
    sg_counter reconnects;          /* times that one which was up before came up again */
    sg_counter failures;            /* attempts that came to nothing */
    sg_counter bytes_out, bytes_in; /* with the handshakes */
    sg_counter requests;            /* begun; those of the connection itself too */
    sg_counter refusals;            /* of these: answered with an error */
    sg_counter lost;                /* ended by the connection's end */
    sg_counter under_way;           /* now */
} sg_conn_counts;

typedef struct sg_conn_options {
    const sg_url *url; /* outlives the connection */
    int64_t connect_timeout, command_timeout;
    const char *purpose; /* "commands", "fetch", "wake": for the log and CLIENT SETNAME
                            segmenter-<purpose>; outlives it */
    sg_log *log;         /* outlives it */
    sg_conn_state_fn *on_state;
    sg_push_fn
        *on_push; /* may be NULL; set: this is a Pub/Sub connection (see sg_conn_subscribe) */
    void *arg;    /* of both */
    sg_conn_counts *counts; /* outlives it; NULL: it keeps its own */
} sg_conn_options;

/* NULL: no memory. The first sg_conn_tick, due at once, begins to connect. */
sg_conn *sg_conn_new(const sg_conn_options *o);
/* Ends every request with "lost" (results are called), then frees. on_state is not called. Accepts
 * NULL. */
void sg_conn_free(sg_conn *c);

/* For the loop: the socket (-1: none), what to poll for, when to call sg_conn_tick at the latest
 * (INT64_MAX: no need; times are sg_clock_ms()), and what happened. */
int sg_conn_fd(const sg_conn *c); /* ask again each time: it changes as the connection does */
short sg_conn_events(const sg_conn *c);
int64_t sg_conn_deadline(const sg_conn *c);
void sg_conn_ready(sg_conn *c, short revents, int64_t now);
void sg_conn_tick(sg_conn *c, int64_t now);
/* Write what is queued, as far as the socket takes it: call once for a round of requests. */
void sg_conn_flush(sg_conn *c, int64_t now);

/* A number that changes when its socket is closed. */
uint64_t sg_conn_life(const sg_conn *c);

bool sg_conn_up(const sg_conn *c);
/* What the server said of itself in the handshake of this connection; "" before the first.
 * "redis 7.0.15". */
const char *sg_conn_server(const sg_conn *c);
uint64_t sg_conn_client_id(const sg_conn *c); /* CLIENT ID of this connection; 0 while not up */
const seg_error *
sg_conn_last_error(const sg_conn *c); /* why it is not up; status SEG_OK where nothing failed yet */

/* Close it and reconnect (a server that became a replica, a request overdue for its own reasons):
 * at once, unless it was up for less than a second. All requests end with "lost". Nothing where it
 * is waiting to reconnect. */
void sg_conn_drop(sg_conn *c, const char *why);

/* A request is one or several commands (MULTI ... EXEC), written one after another:
 *
 *     sg_conn_begin(c);
 *     sg_conn_command(c, 2); sg_conn_arg_str(c, "GET"); sg_conn_arg(c, key.text, key.len);
 *     sg_conn_end(c, fn, arg, 0);
 *
 * begin is false where the connection is not up: the rest does nothing then, end is false and fn is
 * never called. end is false also where memory ran out or 1 GiB is unsent: the request is not sent,
 * fn is never called. Otherwise fn is called exactly once, later. `wait`: ms on top of the command
 * timeout before the answer is overdue and the connection is dropped (a blocking command's own
 * time). The time of a request begins when the server owes its answer next: not while answers to
 * requests before it are still to come. */
bool sg_conn_begin(sg_conn *c);
/* After it: what the log calls the request; without, its first word. */
void sg_conn_name(sg_conn *c, const char *name);
void sg_conn_command(sg_conn *c, size_t argc);
void sg_conn_arg(sg_conn *c, const void *data, size_t len);
/* As sg_conn_arg, but large bytes are not copied: they have to stay until fn is called. */
void sg_conn_arg_there(sg_conn *c, const void *data, size_t len);
void sg_conn_arg_str(sg_conn *c, const char *s);
void sg_conn_arg_u64(sg_conn *c, uint64_t v);
bool sg_conn_end(sg_conn *c, sg_result_fn *fn, void *arg, int64_t wait);
/* The same for an XREAD: what it answers is read into `into`, which expects it and stays until fn is
 * called. It is alone on its connection, but for a PING that the connection sent: false where others
 * are under way, and while it is, so is sg_conn_begin. */
bool sg_conn_end_entries(sg_conn *c, sg_entries *into, sg_result_fn *fn, void *arg, int64_t wait);
size_t sg_conn_pending(const sg_conn *c); /* requests without a result */
size_t sg_conn_unsent(const sg_conn *c);  /* bytes not yet taken by the socket */

/* Bits for whoever sends, of what this server was told on this very connection: all clear again on
 * the next one. */
uint32_t *sg_conn_told(sg_conn *c);

/* On a Pub/Sub connection, when up: SSUBSCRIBE / SUNSUBSCRIBE to a channel. No result: the answers
 * come as pushes. False: not up. A new connection starts with no subscription: subscribe again at
 * each up. */
bool sg_conn_subscribe(sg_conn *c, const char *channel, bool on);
#endif
