/* lookup.c - see lookup.h. */
#include "lookup.h"

#include <string.h>

/* How the i-th compares with what is looked for. */
typedef int compare_fn(const void *listing, size_t i, const char *stream, const char *group);

static size_t search(const void *listing, size_t n, compare_fn *compare, const char *stream,
                     const char *group) {
    size_t from = 0, to = n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare(listing, middle, stream, group);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return SIZE_MAX;
}

static int compare_stream(const void *listing, size_t i, const char *stream, const char *group) {
    (void)group;
    return strcmp(seg_streams_at(listing, i)->name, stream);
}

static int compare_group(const void *listing, size_t i, const char *stream, const char *group) {
    const seg_group_summary *g = seg_groups_at(listing, i);
    int order = strcmp(g->stream, stream);
    return order ? order : strcmp(g->group, group);
}

size_t cli_stream_index(const seg_streams *streams, const char *name) {
    return search(streams, seg_streams_count(streams), compare_stream, name, NULL);
}

size_t cli_group_index(const seg_groups *groups, const char *stream, const char *group) {
    return search(groups, seg_groups_count(groups), compare_group, stream, group);
}

const seg_stream_summary *cli_stream_of(const seg_streams *streams, const char *name) {
    return seg_streams_at(streams, cli_stream_index(streams, name));
}

const seg_group_summary *cli_group_of(const seg_groups *groups, const char *stream,
                                      const char *group) {
    return seg_groups_at(groups, cli_group_index(groups, stream, group));
}
