/* story_say.c - the words of examples. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "story.h"

enum { SAY_BUFFERS = 16, SAY_BYTES = 160 };

/* One thread judges one history, and no sentence has more parts than there are buffers. */
static char *buffer(void) {
    static char buffers[SAY_BUFFERS][SAY_BYTES];
    static unsigned next;
    return buffers[next++ % SAY_BUFFERS];
}

static const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *say(const char *format, ...) {
    char *out = buffer();
    va_list args;
    va_start(args, format);
    vsnprintf(out, SAY_BYTES, format, args);
    va_end(args);
    return out;
}

const char *say_name(const story *s, uint64_t name) {
    return history_text(s->log, name, buffer(), SAY_BYTES);
}

const char *say_message(const story *s, const message *m) {
    if (!m)
        return "an unknown message";
    return say("%s key %s #%" PRIu64 "%s", say_name(s, m->producer), say_name(s, m->key),
               m->sequence, m->output ? say(" output %" PRIu32, m->index) : "");
}

const char *say_place(const story *s, const place *at) {
    return say("%s/%" PRIu32 " offset %" PRIu64 "-%" PRIu64, say_name(s, at->part->stream),
               at->part->number, at->era, at->offset);
}

const char *say_group(const story *s, const share *h) {
    return say("group %s, %s/%" PRIu32, say_name(s, h->group->name), say_name(s, h->part->stream),
               h->part->number);
}

const char *say_time(const story *s, const history_record *r) {
    return r ? say("+%.6f s", (double)(r->at - s->begin) / 1e9) : "never";
}
