/* pool.c - a stack of idle pieces for each power of two. Each piece remembers its pool, and keeps it
 * alive: the last one that comes back after sg_pool_free takes it along. */
#include "base/pool.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/thread.h"

#define POOLED_MIN ((size_t)8 * 1024) /* smaller ones are the heap's: it keeps those itself */
#define POOLED_MAX ((size_t)4 * 1024 * 1024)
#define CLASSES    10 /* 8 KiB, 16 KiB ... 4 MiB */

#if defined(__SANITIZE_ADDRESS__)
#define KEEPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS 0
#endif
#endif
#if !defined(KEEPS)
#define KEEPS 1
#endif

typedef struct piece {
    sg_pool *pool; /* NULL: too small or too large, the heap's own */
    size_t room;   /* bytes behind this head */
    struct piece *next;
    alignas(max_align_t) unsigned char bytes[];
} piece;

struct sg_pool {
    sg_mutex lock; /* guards all below */
    piece *idle[CLASSES];
    size_t idle_bytes, keep;
    size_t out; /* pieces that are not here, and one for its owner */
};

static piece *head_of(const void *bytes) {
    return (piece *)(void *)((char *)(uintptr_t)bytes - offsetof(piece, bytes));
}

/* The smallest power of two that holds it; the index of its stack. */
static size_t class_of(size_t size, unsigned *index) {
    size_t room = POOLED_MIN;
    for (*index = 0; room < size; ++*index)
        room *= 2;
    return room;
}

sg_pool *sg_pool_new(size_t keep) {
    sg_pool *p = sg_calloc(1, sizeof *p);
    if (p == NULL || !sg_mutex_init(&p->lock)) {
        sg_free(p);
        return NULL;
    }
    p->keep = KEEPS ? keep : 0;
    p->out = 1;
    return p;
}

static void destroy(sg_pool *p) {
    sg_mutex_fini(&p->lock);
    sg_free(p);
}

static void empty(sg_pool *p) {
    for (unsigned i = 0; i < CLASSES; i++)
        for (piece *k; (k = p->idle[i]) != NULL;) {
            p->idle[i] = k->next;
            sg_free(k);
        }
    p->idle_bytes = 0;
}

void sg_pool_free(sg_pool *p) {
    if (p == NULL)
        return;
    sg_mutex_lock(&p->lock);
    p->keep = 0;
    empty(p);
    bool last = --p->out == 0;
    sg_mutex_unlock(&p->lock);
    if (last)
        destroy(p);
}

static piece *from_heap(sg_pool *p, size_t room) {
    if (room > SIZE_MAX - sizeof(piece))
        return NULL;
    piece *k = sg_alloc(sizeof *k + room);
    if (k != NULL)
        *k = (piece){.pool = p, .room = room};
    return k;
}

void *sg_pool_take(sg_pool *p, size_t size) {
    piece *k;
    unsigned i;
    if (size < POOLED_MIN || size > POOLED_MAX) {
        k = from_heap(NULL, size);
        return k != NULL ? k->bytes : NULL;
    }
    size_t room = class_of(size, &i);
    sg_mutex_lock(&p->lock);
    k = p->idle[i];
    if (k != NULL) {
        p->idle[i] = k->next;
        p->idle_bytes -= room;
    }
    p->out++;
    sg_mutex_unlock(&p->lock);
    if (k == NULL && (k = from_heap(p, room)) == NULL) {
        sg_mutex_lock(&p->lock); /* its owner holds it, so this is not the last */
        p->out--;
        sg_mutex_unlock(&p->lock);
        return NULL;
    }
    return k->bytes;
}

void *sg_pool_grow(sg_pool *p, void *old, size_t used, size_t size) {
    if (old != NULL && size <= head_of(old)->room)
        return old;
    void *more = sg_pool_take(p, size);
    if (more == NULL)
        return NULL;
    if (used > 0)
        memcpy(more, old, used);
    sg_pool_give(old);
    return more;
}

size_t sg_pool_room(const void *bytes) {
    return head_of(bytes)->room;
}

void sg_pool_give(void *bytes) {
    if (bytes == NULL)
        return;
    piece *k = head_of(bytes);
    sg_pool *p = k->pool;
    if (p == NULL) {
        sg_free(k);
        return;
    }
    unsigned i;
    class_of(k->room, &i);
    sg_mutex_lock(&p->lock);
    bool kept = k->room <= p->keep - p->idle_bytes && p->keep > 0;
    if (kept) {
        k->next = p->idle[i];
        p->idle[i] = k;
        p->idle_bytes += k->room;
    }
    bool last = --p->out == 0;
    sg_mutex_unlock(&p->lock);
    if (!kept)
        sg_free(k);
    if (last)
        destroy(p);
}
