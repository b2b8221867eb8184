/* damage.c - see damage.h. */
#include "damage.h"

#include <stdlib.h>
#include <string.h>

bool cli_is_damage(seg_status status) {
    return status == SEG_EPROTO || status == SEG_ELOST;
}

static bool is_among(const seg_names *names, const char *name) {
    for (size_t i = 0; i < seg_names_count(names); i++) {
        if (strcmp(seg_names_at(names, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_there(const seg_groups *groups, const char *name) {
    for (size_t i = 0; i < seg_groups_count(groups); i++) {
        if (strcmp(seg_groups_at(groups, i)->group, name) == 0) {
            return true;
        }
    }
    return false;
}

/* It was listed, then it was not there: that is only so where it is listed still. */
static seg_status look_closer(cli_leftovers *out, seg_client *client, const char *stream,
                              seg_error *err) {
    seg_names *names = NULL;
    seg_status status = seg_group_list(&names, client, stream, err);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        seg_group_info *info = NULL;
        bool listed = status == SEG_OK && is_among(names, out->names[i]);
        if (listed && seg_group_describe(&info, client, stream, out->names[i], err) == SEG_ENOENT) {
            out->names[kept++] = out->names[i];
        } else {
            free(out->names[i]);
        }
        seg_group_info_free(info);
    }
    out->n = kept;
    seg_names_free(names);
    return status;
}

seg_status cli_leftovers_find(cli_leftovers *out, seg_client *client, const char *stream,
                              seg_error *err) {
    seg_names *names = NULL;
    seg_groups *groups = NULL;
    *out = (cli_leftovers){0};
    seg_status status = seg_group_list(&names, client, stream, err);
    if (status == SEG_OK) {
        status = seg_group_overview(&groups, client, stream, err);
    }
    if (status == SEG_OK) {
        size_t n = seg_names_count(names);
        out->names = cli_alloc(n, sizeof *out->names);
        for (size_t i = 0; i < n; i++) {
            if (!is_there(groups, seg_names_at(names, i))) {
                out->names[out->n++] = cli_format("%s", seg_names_at(names, i));
            }
        }
    }
    if (out->n > 0) {
        status = look_closer(out, client, stream, err);
    }
    seg_names_free(names);
    seg_groups_free(groups);
    return status;
}

void cli_leftovers_fini(cli_leftovers *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->names[i]);
    }
    free(l->names);
    *l = (cli_leftovers){0};
}
