/* history.c - records are stamped before they are written where they say that a call begins, and a
 * call's outcome after it returned: so what the records claim to be one after another was. */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"

_Static_assert(sizeof(history_record) == 200, "a record has no padding, as it is compared by CRC");

struct history {
    int file;
    uint64_t process;
    atomic_uint_fast64_t calls;
    pthread_mutex_t lock; /* guards names */
    uint64_t *names;      /* those that are written down */
    size_t n_names, cap_names;
};

static void die(const char *what) {
    fprintf(stderr, "history: %s: %s\n", what, strerror(errno));
    _exit(99);
}

uint64_t history_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint32_t history_crc(const void *data, size_t len) {
    return sg_crc32c(0, data, len);
}

history_phase history_outcome(seg_status s) {
    return s == SEG_OK ? HISTORY_OK : s == SEG_EUNKNOWN ? HISTORY_UNKNOWN : HISTORY_FAIL;
}

static void put(const history *h, history_record *r) {
    r->process = h->process;
    r->check = history_crc(r, offsetof(history_record, check));
    ssize_t n;
    do {
        n = write(h->file, r, sizeof *r);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *r)
        die("a record cannot be written");
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits: the same in all processes, without asking anybody. */
static uint64_t name_number(const char *name) {
    uint64_t hash = 14695981039346656037u;
    for (const char *p = name; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return hash ? hash : 1;
}

/* Is it new? Called with the lock held. */
static bool remember(history *h, uint64_t name) {
    for (size_t i = 0; i < h->n_names; i++) {
        if (h->names[i] == name)
            return false;
    }
    if (h->n_names == h->cap_names) {
        h->cap_names = h->cap_names ? h->cap_names * 2 : 16;
        h->names = realloc(h->names, h->cap_names * sizeof *h->names);
        if (!h->names)
            die("no memory for names");
    }
    h->names[h->n_names++] = name;
    return true;
}

uint64_t history_name(history *h, const char *name) {
    if (!name || !*name)
        return 0;
    uint64_t number = name_number(name);
    pthread_mutex_lock(&h->lock);
    bool new = remember(h, number);
    pthread_mutex_unlock(&h->lock);
    if (new) {
        history_record r = {.kind = HISTORY_NAME, .stream = number};
        snprintf(r.text, sizeof r.text, "%s", name);
        history_event(h, &r);
    }
    return number;
}

/* ---- Writing --------------------------------------------------------------------------------- */

history *history_open(const char *dir, const char *process) {
    history *h = calloc(1, sizeof *h);
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s.history", dir, process);
    if (!h || len < 0 || (size_t)len >= sizeof path)
        die("no room for a path");
    h->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (h->file < 0)
        die(path);
    pthread_mutex_init(&h->lock, NULL);
    h->process = name_number(process);
    history_name(h, process);
    return h;
}

void history_close(history *h) {
    if (!h)
        return;
    if (close(h->file) != 0)
        die("the file cannot be closed");
    pthread_mutex_destroy(&h->lock);
    free(h->names);
    free(h);
}

void history_invoke(history *h, history_record *r) {
    r->call = atomic_fetch_add(&h->calls, 1) + 1;
    r->phase = HISTORY_INVOKE;
    r->at = history_now();
    put(h, r);
}

void history_done(history *h, history_record *r, history_phase outcome, seg_status status) {
    r->phase = (uint16_t)outcome;
    r->status = (uint8_t)status;
    r->at = history_now();
    put(h, r);
}

void history_event(history *h, history_record *r) {
    r->call = 0;
    r->phase = HISTORY_EVENT;
    r->at = history_now();
    put(h, r);
}
