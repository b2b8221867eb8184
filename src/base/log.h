/* log.h - the log sink: formats, filters by level, calls the application's callback one call at a
 * time. Any thread. */
#ifndef SG_BASE_LOG_H
#define SG_BASE_LOG_H
#include "base/thread.h"

typedef struct sg_log {
    sg_mutex lock; /* guards the call of fn */
    int level;     /* messages with a greater one are dropped */
    void (*fn)(int level, const char *event, const char *text, void *arg); /* NULL: silent */
    void *arg;
} sg_log;

bool sg_log_init(sg_log *l, int level, void (*fn)(int, const char *, const char *, void *),
                 void *arg);
void sg_log_fini(sg_log *l);
/* Is anything of this level passed on? For what costs something to find out. */
bool sg_log_wants(const sg_log *l, int level);
/* The text is cut to 1023 bytes; control bytes become '?'. */
void sg_log_write(sg_log *l, int level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#endif
