/* info.h - what the server answers to INFO: lines "name:value", and others that tell nothing. */
#ifndef SG_REDIS_INFO_H
#define SG_REDIS_INFO_H
#include <segmenter/segmenter.h>

/* Take the next field off the front: views into it. False: there is no further one. */
bool sg_info_next(seg_bytes *rest, seg_bytes *name, seg_bytes *value);

/* The value of the field `name`; "" where there is none. Cut to fit; returns `out`. */
const char *sg_info_field(seg_bytes info, const char *name, char *out, size_t size);
#endif
