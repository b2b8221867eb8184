/* ops_facts.h - questions to the server about itself. As in ops.h; any of them may be refused. */
#ifndef SG_REDIS_OPS_FACTS_H
#define SG_REDIS_OPS_FACTS_H
#include "redis/conn.h"

bool sg_ping_send(sg_conn *c, sg_result_fn *fn, void *arg);
bool sg_time_send(sg_conn *c, sg_result_fn *fn, void *arg);
/* Microseconds since 1970. False: that is no time. */
bool sg_time_read(const sg_reply *reply, int64_t *us);
/* All sections, or those that it tells by itself. */
bool sg_info_send(sg_conn *c, bool all, sg_result_fn *fn, void *arg);
/* All that is worth knowing; the answer is name, value, name, value ... */
bool sg_config_send(sg_conn *c, sg_result_fn *fn, void *arg);
bool sg_whoami_send(sg_conn *c, sg_result_fn *fn, void *arg);
#endif
