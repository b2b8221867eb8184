/* history_log.c - reading what history.c wrote. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

static bool is_whole(const history_record *r) {
    return r->check == history_crc(r, offsetof(history_record, check));
}

/* Append the file's records; it ends with the first that is not whole. */
static bool read_file(history_log *l, size_t *cap, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    l->files++;
    history_record r;
    size_t got;
    while ((got = fread(&r, 1, sizeof r, f)) == sizeof r && is_whole(&r)) {
        if (l->n == *cap) {
            size_t more = *cap ? *cap * 2 : 4096;
            history_record *records = realloc(l->records, more * sizeof *records);
            if (!records)
                break;
            l->records = records;
            *cap = more;
        }
        l->records[l->n++] = r;
    }
    bool failed = ferror(f) || (l->n == *cap && got == sizeof r && is_whole(&r));
    l->torn += got != 0;
    fclose(f);
    return !failed;
}

bool history_load(history_log *out, const char *dir, char *error, size_t cap) {
    *out = (history_log){0};
    DIR *d = opendir(dir);
    if (!d) {
        snprintf(error, cap, "'%s' cannot be opened: %s", dir, strerror(errno));
        return false;
    }
    size_t room = 0;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));) {
        const char *end = strrchr(e->d_name, '.');
        if (!end || strcmp(end, ".history") != 0)
            continue;
        char path[4096];
        int len = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        ok = len > 0 && (size_t)len < sizeof path && read_file(out, &room, path);
        if (!ok)
            snprintf(error, cap, "'%s' cannot be read", e->d_name);
    }
    closedir(d);
    if (ok && out->files == 0) {
        snprintf(error, cap, "'%s' has no file *.history", dir);
        ok = false;
    }
    if (!ok) {
        history_log_fini(out);
        return false;
    }
    history_sort(out);
    return true;
}

void history_log_fini(history_log *l) {
    free(l->records);
    free(l->names);
    *l = (history_log){0};
}

/* ---- Order ----------------------------------------------------------------------------------- */

/* Merge sort, as it is stable: threads of one process can have one time stamp. */
static void merge(history_record *to, const history_record *from, size_t middle, size_t n) {
    size_t a = 0, b = middle;
    for (size_t i = 0; i < n; i++) {
        bool left = b == n || (a < middle && from[a].at <= from[b].at);
        to[i] = from[left ? a++ : b++];
    }
}

static void find_names(history_log *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->records[i].kind == HISTORY_NAME;
    free(l->names);
    l->names = malloc((n ? n : 1) * sizeof *l->names);
    if (!l->names)
        abort();
    l->n_names = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->records[i].kind == HISTORY_NAME)
            l->names[l->n_names++] = l->records[i];
    }
}

void history_sort(history_log *l) {
    history_record *spare = malloc((l->n ? l->n : 1) * sizeof *spare);
    if (!spare)
        abort();
    history_record *from = l->records, *to = spare;
    for (size_t width = 1; width < l->n; width *= 2) {
        for (size_t at = 0; at < l->n; at += 2 * width) {
            size_t left = l->n - at;
            merge(to + at, from + at, left < width ? left : width,
                  left < 2 * width ? left : 2 * width);
        }
        history_record *swap = from;
        from = to;
        to = swap;
    }
    l->records = from;
    free(to);
    find_names(l);
}

/* ---- Text ------------------------------------------------------------------------------------ */

const char *history_text(const history_log *l, uint64_t name, char *out, size_t cap) {
    for (size_t i = 0; i < l->n_names; i++) {
        if (l->names[i].stream == name) {
            snprintf(out, cap, "%.*s", HISTORY_TEXT_BYTES, l->names[i].text);
            return out;
        }
    }
    snprintf(out, cap, "%" PRIu64, name);
    return out;
}

const char *history_kind_name(unsigned kind) {
    switch (kind) {
#define X(name, value)                                                                             \
    case value:                                                                                    \
        return #name;
        HISTORY_KINDS(X)
#undef X
    default:
        return "?";
    }
}
