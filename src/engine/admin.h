/* admin.h - streams and groups: made, found, listed, described, deleted. The public functions are
 * in segmenter.h; here is what producers and consumers need of them. */
#ifndef SG_ENGINE_ADMIN_H
#define SG_ENGINE_ADMIN_H
#include "engine/client.h"
#include "redis/ops.h"

/* Fill a stream's ns and name, checked. */
seg_status sg_stream_name(sg_stream *s, const seg_client *c, const char *stream, seg_error *err);

/* The settings of s (ns and name are set). `probe`: also check, on partition 0, that the server's
 * user may append. Application thread. */
seg_status sg_stream_find(seg_client *c, sg_stream *s, bool probe, seg_error *err);

/* Find g (its name is set) on s, or create it with a cursor in every partition, at `start`.
 * Application thread. */
seg_status sg_group_find(seg_client *c, const sg_stream *s, sg_group *g, sg_start_at start,
                         seg_error *err);

/* A stream whose state is missing (LOST): the settings now, to tell deleted from damaged. */
void sg_stream_verdict(const sg_stream_answer *now, const sg_stream *was, seg_error *out);

/* Names from an array reply, sorted. NULL: no memory. */
struct seg_names *sg_names_from(const sg_reply *reply);
/* Take out what no stream and no group can be called. */
void sg_names_clean(struct seg_names *n);
/* All of them, seg_names_count many; borrowed. */
const char *const *sg_names_all(const struct seg_names *n);
#endif
