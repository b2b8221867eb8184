/* lua.h - reads a Lua 5.1 chunk and names what can be taken out of it.
 *
 * Each find is a stretch of the text and what to put in its place. The kinds:
 *
 *     never, always   the condition of an `if` is false, or true
 *     without-K       an `and` or `or` has lost its K-th operand
 *     edge            < for <=, > for >=, and the other way round
 *     clamp-K         math.min or math.max has lost its K-th argument
 *     entry-K         a list of tables has lost its K-th entry
 *     pcall           an error is no longer caught
 *     gone            a call or an assignment that stands for itself is left out */
#ifndef SG_TEETH_LUA_H
#define SG_TEETH_LUA_H

#include <stddef.h>

typedef struct lua_find {
    size_t from, to; /* bytes of the text */
    char kind[40];
    char put[4096];
} lua_find;

typedef void lua_found_fn(const lua_find *find, void *arg);

/* Ends the program, naming the line, where the text is not what it knows. */
void lua_read(const char *name, const char *text, lua_found_fn *fn, void *arg);

#endif
