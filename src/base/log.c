/* log.c - formats on the caller's stack and outside the lock, so that a slow callback delays only
 * those who log too. */
#include "base/log.h"

#include "base/text.h"

#define TEXT_SIZE 1024

bool sg_log_init(sg_log *l, int level, void (*fn)(int, const char *, const char *, void *),
                 void *arg) {
    l->level = level;
    l->fn = fn;
    l->arg = arg;
    return sg_mutex_init(&l->lock);
}

void sg_log_fini(sg_log *l) {
    sg_mutex_fini(&l->lock);
}

bool sg_log_wants(const sg_log *l, int level) {
    return l->fn != NULL && level <= l->level;
}

void sg_log_write(sg_log *l, int level, const char *event, const char *fmt, ...) {
    if (!sg_log_wants(l, level))
        return;
    char text[TEXT_SIZE];
    va_list ap;
    va_start(ap, fmt);
    sg_text_vprint(text, sizeof text, fmt, ap);
    va_end(ap);
    sg_mutex_lock(&l->lock);
    l->fn(level, event, text, l->arg);
    sg_mutex_unlock(&l->lock);
}
