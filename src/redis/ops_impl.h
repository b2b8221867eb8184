/* ops_impl.h - for ops*.c: building calls, and reading what all answers have in common. */
#ifndef SG_REDIS_OPS_IMPL_H
#define SG_REDIS_OPS_IMPL_H
#include "redis/ops.h"
#include "redis/script.h"

void sg_call_key(sg_call *k, sg_key key);
void sg_arg_key(sg_conn *c, sg_key key);
/* SMEMBERS key, SADD key member ... */
bool sg_plain_command(sg_conn *c, const char *verb, sg_key key, const char *member,
                      sg_result_fn *fn, void *arg);

/* A call with the first four keys of a partition, in the order that all scripts of cursors take. */
sg_call *sg_partition_call(const char *script, const sg_stream *s, uint32_t p);
/* group, leases, parts */
void sg_call_group_keys(sg_call *k, const sg_stream *s, const char *group);
/* A call with `first`, then the keys of a group's state. */
sg_call *sg_group_call(const char *script, sg_key first, const sg_stream *s, const char *group);

/* The server's words, without the place in the script that Redis adds, and what they mean. */
seg_status sg_refusal(seg_error *err, seg_status status, const char *text);
/* The status of a refusal or a lost connection, with its text. SEG_OK: there is an answer to read.
 */
seg_status sg_base_status(const sg_result *r, seg_error *err, bool *lost);
/* EPROTO: `what`'s answer is none that we know. */
seg_status sg_nonsense(const sg_reply *reply, const char *what, seg_error *err);
/* ELOST: {'LOST', what is missing} of `what`. */
seg_status sg_lost_what(const sg_reply *reply, const char *what, seg_error *err);
/* A text of 1 to size - 1 bytes, none of them NUL; false otherwise, and nothing is written. */
bool sg_copy_text(char *out, size_t size, const sg_reply *r);
#endif
