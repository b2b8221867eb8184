/* conn_impl.h - the connection's inside, for conn.c (its life) and exchange.c (requests and
 * answers) only. */
#ifndef SG_REDIS_CONN_IMPL_H
#define SG_REDIS_CONN_IMPL_H
#include "core/backoff.h"
#include "redis/conn.h"
#include "redis/dial.h"
#include "redis/hello.h"
#include "redis/out.h"
#include "redis/reader.h"
#include "redis/request.h"

typedef enum sg_conn_phase {
    SG_CONN_WAITING,
    SG_CONN_DIALING, /* and HELLO: one attempt, with one deadline */
    SG_CONN_HELLO,
    SG_CONN_UP
} sg_conn_phase;

/* Texts that were told already, by hash; the oldest is forgotten. */
typedef struct sg_told {
    uint32_t hashes[8];
    size_t count;
} sg_told;

struct sg_conn {
    sg_conn_options o;
    char where[300]; /* sg_url_show */
    sg_conn_phase phase;
    /* Raised when the socket is closed. Every callback may do that, through sg_conn_drop: whoever
     * called one looks whether this is still the life that it began in. */
    uint64_t life;

    /* Not up. */
    int64_t retry_at;         /* WAITING: when to try */
    int64_t attempt_deadline; /* DIALING, HELLO */
    sg_dial dial;
    sg_hello hello;
    sg_backoff backoff;
    sg_rng rng;
    seg_error error; /* why it is not up */
    sg_conn_counts own_counts, *counts;
    sg_told failures, hopeless;
    bool ever_up;

    /* HELLO and UP. */
    int fd;
    sg_reader reader;
    sg_out out;
    bool demoted;     /* an answer was READONLY: this is a replica now, look for the primary */
    int broken;       /* the errno of a failed send; the answers that came before are still read */
    int64_t heard_at; /* when bytes came last */
    size_t partial;   /* bytes received since `since` moved */

    /* UP. */
    char server[64]; /* of the latest time that it was up */
    int64_t up_at;
    uint32_t told; /* sg_conn_told */
    sg_requests requests;
    size_t internal; /* those of them that are not the user's */
    int64_t since;   /* when the server began to owe the oldest request's answer; see exchange.c */

    /* Between sg_conn_begin and sg_conn_end. */
    bool building, failed;
    size_t answers;   /* commands so far */
    size_t args_left; /* of the last of them */
    uint64_t from;    /* where they begin in `out` */
    char name[24];    /* of it, where requests are logged: "" at first */
};

/* ---- exchange.c --------------------------------------------------------------------------- */

/* Bytes came, or were sent: the clock of the oldest answer. */
void sg_exchange_heard(sg_conn *c, size_t bytes, int64_t now);
void sg_exchange_sent(sg_conn *c, uint64_t from, int64_t now);
/* When the oldest answer is overdue; INT64_MAX where none is awaited. */
int64_t sg_exchange_deadline(const sg_conn *c);
typedef enum sg_taken {
    SG_TAKEN,
    SG_UNASKED, /* nobody asked for it */
    SG_UNFIT,   /* it is no answer to what was asked */
    SG_NO_ROOM  /* no memory */
} sg_taken;
/* Give an answer or push to whom it belongs, and free it. Where it is not taken it is still the
 * caller's. */
sg_taken sg_exchange_answer(sg_conn *c, sg_reply *r, int64_t now);
/* Where the answer that comes is entries: the place of the bytes that come next, if they have one (0:
 * none); about how many bytes an entry has. */
size_t sg_exchange_place(const sg_conn *c, uint8_t **to, size_t *about);
void sg_exchange_placed(sg_conn *c, size_t n); /* so many came there */
/* The last answer to come is entries, whatever comes before it. */
bool sg_exchange_ends_in_entries(const sg_conn *c);
/* Bytes that may be of such an answer, of which `used` were: OTHER where they are not. The request is
 * ended when it is whole. BROKEN without a fault: no memory. */
sg_entries_state sg_exchange_entries(sg_conn *c, const uint8_t *data, size_t n, size_t *used,
                                     const char **fault, int64_t now);
/* Queue a PING of ours. False: no memory. */
bool sg_exchange_ping(sg_conn *c);
/* End every request with "lost". */
void sg_exchange_lost(sg_conn *c, const char *why);
#endif
