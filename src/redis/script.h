/* script.h - the server-side scripts by name, and calling them. */
#ifndef SG_REDIS_SCRIPT_H
#define SG_REDIS_SCRIPT_H
#include "redis/conn.h"

typedef struct sg_script sg_script; /* static; one for each file in redis/scripts */

/* The script of scripts/<name>.lua; aborts where there is none (a typo of ours; tested). */
const sg_script *sg_script_find(const char *name);
const char *sg_script_body(const sg_script *s, size_t *len);
/* Its SHA-1, by which EVALSHA calls it. */
const char *sg_script_digest(const sg_script *s, size_t *len);

/* A call: EVALSHA, and where the server does not know the script (NOSCRIPT: restarted, SCRIPT
 * FLUSH), once more as EVAL with the body, which makes it known. fn gets only the final result. The
 * second time it is a new request, behind all those that were sent meanwhile.
 *
 *     sg_call *k = sg_call_new(script, n_keys);
 *     sg_call_arg(k, ...) for each key, then for each argument;
 *     sg_call_send(k, conn, fn, arg);
 *
 * Errors of building (no memory) are kept: send is false then. send frees `k` in every case (kept
 * internally until the result where it needs the arguments again); false means that fn is never
 * called (not up, or no memory). */
typedef struct sg_call sg_call;
sg_call *sg_call_new(const sg_script *s, size_t n_keys); /* never checked: NULL is accepted below */
void sg_call_arg(sg_call *k, const void *data, size_t len);
void sg_call_str(sg_call *k, const char *s);
void sg_call_u64(sg_call *k, uint64_t v);
bool sg_call_send(sg_call *k, sg_conn *c, sg_result_fn *fn, void *arg);
#endif
