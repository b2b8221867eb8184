/* request.h - the requests under way on one connection, oldest first: a ring that grows. Answers
 * come in the order of requests, so it is a plain queue. */
#ifndef SG_REDIS_REQUEST_H
#define SG_REDIS_REQUEST_H
#include "redis/conn.h"

typedef enum sg_request_kind {
    SG_REQUEST_USER,
    SG_REQUEST_PING,       /* ours, to hear from a silent server */
    SG_REQUEST_SUBSCRIBE,  /* answered by a push, or by an error */
    SG_REQUEST_UNSUBSCRIBE /* the same */
} sg_request_kind;

typedef struct sg_request {
    sg_request_kind kind;
    sg_result_fn *fn;
    void *arg;
    int64_t wait;      /* ms past the command timeout */
    sg_entries *into;  /* where the entries of its answer go; NULL: it is an ordinary one */
    size_t answers;    /* still to come */
    uint64_t end;      /* where its bytes end in the stream of all that was sent */
    sg_reply *refusal; /* the first error among its answers; owned */
    /* Only where requests are logged. */
    char name[24];
    int64_t began; /* us */
    size_t bytes;
} sg_request;

typedef struct sg_requests {
    sg_request *ring; /* NULL until the first */
    size_t cap, head, count;
} sg_requests;

bool sg_requests_reserve(sg_requests *q); /* room for one more; false: no memory */
void sg_requests_push(sg_requests *q, sg_request r);
sg_request *sg_requests_head(const sg_requests *q); /* NULL where there is none */
sg_request *sg_requests_last(const sg_requests *q); /* the same */
sg_request sg_requests_pop(sg_requests *q);
void sg_requests_fini(sg_requests *q); /* what is left in it is forgotten; as zeroed after */
#endif
