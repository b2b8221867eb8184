/* seg_names: a sorted list of names. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/admin.h"

struct seg_names {
    size_t count;
    const char *at[]; /* each its own allocation */
};

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

seg_names *sg_names_from(const sg_reply *reply) {
    size_t n = sg_reply_count(reply);
    seg_names *names = sg_calloc(1, sizeof *names + n * sizeof *names->at);
    if (names == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        names->at[names->count] = sg_strdup(sg_reply_text(sg_reply_at(reply, i)));
        if (names->at[names->count++] == NULL) {
            seg_names_free(names);
            return NULL;
        }
    }
    qsort(names->at, names->count, sizeof *names->at, by_name);
    return names;
}

void sg_names_clean(seg_names *n) {
    size_t kept = 0;
    for (size_t i = 0; i < n->count; i++) {
        if (sg_name_ok(n->at[i]))
            n->at[kept++] = n->at[i];
        else
            sg_free((char *)(uintptr_t)n->at[i]);
    }
    n->count = kept;
}

size_t seg_names_count(const seg_names *n) {
    return n == NULL ? 0 : n->count;
}

const char *seg_names_at(const seg_names *n, size_t i) {
    return n == NULL || i >= n->count ? NULL : n->at[i];
}

void seg_names_free(seg_names *n) {
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->count; i++)
        sg_free((char *)(uintptr_t)n->at[i]);
    sg_free(n);
}

const char *const *sg_names_all(const seg_names *n) {
    return n == NULL ? NULL : n->at;
}
