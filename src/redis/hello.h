/* hello.h - the handshake of a new connection: what is asked, in one go, and what the answers mean.
 * No sockets, no clock. */
#ifndef SG_REDIS_HELLO_H
#define SG_REDIS_HELLO_H
#include <segmenter/segmenter.h>

#include "core/url.h"
#include "redis/out.h"
#include "redis/reply.h"

#define SG_HELLO_STEPS 6

typedef enum sg_hello_step {
    SG_HELLO_AUTH,
    SG_HELLO_SELECT,
    SG_HELLO_SETNAME,
    SG_HELLO_ID,
    SG_HELLO_DRYRUN, /* may the server's default user do what it must when it loads its AOF? */
    SG_HELLO_INFO
} sg_hello_step;

typedef struct sg_hello {
    const sg_url *url;
    sg_hello_step steps[SG_HELLO_STEPS]; /* what was asked, in order */
    size_t asked, answered;
    char where[300];    /* sg_url_show */
    char server[64];    /* "redis 7.0.15"; set by SG_HELLO_DONE */
    uint64_t client_id; /* 0 where the user may not ask for it */
    bool forgets;       /* the default user may not: an AOF would not bring back our writes */
    char remark[200];   /* a refusal that does not matter, unless the server then hangs up */
} sg_hello;

typedef enum sg_hello_outcome {
    SG_HELLO_MORE,    /* answers are still to come */
    SG_HELLO_DONE,    /* the server is fit for use */
    SG_HELLO_RETRY,   /* not now; it may pass by itself */
    SG_HELLO_OTHER,   /* not this server: hopeless where it was never fit, else it may pass */
    SG_HELLO_HOPELESS /* until somebody changes a setting */
} sg_hello_outcome;

/* Start over and append the commands. False: no memory. */
bool sg_hello_ask(sg_hello *h, const sg_url *url, const char *purpose, sg_out *out);

/* The next answer. `err` is set for the three failures. Not to be called after the last. */
sg_hello_outcome sg_hello_answer(sg_hello *h, const sg_reply *r, seg_error *err);

/* Judge the text of INFO: the last step, apart for tests. */
sg_hello_outcome sg_hello_check(sg_hello *h, seg_bytes info, seg_error *err);
#endif
