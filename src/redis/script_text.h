/* script_text.h - the server-side scripts as they are embedded in the library.
 *
 * The table is generated at build time by cmake/embed_scripts.cmake from
 * src/redis/scripts/NAME.lua, in the order of the names. It knows nothing of what a script does or
 * how it is called. */
#ifndef SG_REDIS_SCRIPT_TEXT_H
#define SG_REDIS_SCRIPT_TEXT_H

#include <stddef.h>

struct sg_script_text {
    const char *name; /* the file's name without ".lua" */
    const char *body; /* the file's bytes, byte for byte; a NUL that `len` does not count follows */
    size_t len;
    const char *sha1; /* of the body: 40 lower-case hex digits, as EVALSHA wants them */
};

extern const struct sg_script_text sg_script_texts[];
extern const size_t sg_script_texts_count;

#endif
