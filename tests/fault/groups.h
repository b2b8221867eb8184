/* groups.h - groups without members, for the tests of failing memory. */
#ifndef SG_TEST_FAULT_GROUPS_H
#define SG_TEST_FAULT_GROUPS_H

#include "memory_rig.h"

/* One at the start of the stream. */
static inline void make_group(seg_client *c, const char *stream, const char *group) {
    seg_seek_plan *plan = NULL;
    seg_seek_options o;
    seg_error err;
    SEG_INIT(&o);
    o.to = SEG_SEEK_START;
    o.execute = true;
    CHECK_OK(seg_group_seek(&plan, c, stream, group, &o, &err), &err);
    seg_seek_plan_free(plan);
}

static inline bool group_exists(seg_client *c, const char *stream, const char *group) {
    seg_group_info *info = NULL;
    seg_error err;
    seg_status s = seg_group_describe(&info, c, stream, group, &err);
    seg_group_info_free(info);
    if (s != SEG_ENOENT) {
        CHECK_OK(s, &err);
    }
    return s == SEG_OK;
}

#endif
