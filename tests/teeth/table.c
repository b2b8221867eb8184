/* table.c - in the place of the table of the embedded scripts: the same, but for those of which the
 * directory SEGMENTER_TEETH_SCRIPTS has others: NAME, the body, and NAME.sha1.
 *
 * Programs with this file are linked with --wrap=sg_script_texts, so that what is under test is
 * the library's own code, compiled once for all mutants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script_text.h"

enum { SCRIPTS_MAX = 64, BODY_MAX = 65536 };

/* The linker's names for what is wrapped and for what stands in its place. */
extern const struct sg_script_text __real_sg_script_texts[];
extern struct sg_script_text __wrap_sg_script_texts[];
struct sg_script_text __wrap_sg_script_texts[SCRIPTS_MAX];

static void fail(const char *what) {
    fprintf(stderr, "teeth: %s\n", what);
    exit(2);
}

/* The file's bytes and a NUL; NULL where there is none. */
static char *content(const char *directory, const char *name, const char *suffix, size_t *len) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    char *bytes = malloc(BODY_MAX);
    if (bytes == NULL) {
        fail("no memory");
    }
    *len = fread(bytes, 1, BODY_MAX - 1, f);
    bytes[*len] = '\0';
    fclose(f);
    return bytes;
}

__attribute__((constructor)) static void fill(void) {
    const char *directory = getenv("SEGMENTER_TEETH_SCRIPTS");
    if (sg_script_texts_count > SCRIPTS_MAX) {
        fail("more scripts than there is room for");
    }
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        struct sg_script_text *t = &__wrap_sg_script_texts[i];
        size_t digits = 0;
        *t = __real_sg_script_texts[i];
        char *body = directory ? content(directory, t->name, "", &t->len) : NULL;
        if (body != NULL) {
            char *sha1 = content(directory, t->name, ".sha1", &digits);
            if (sha1 == NULL || digits < 40) {
                fail("a script without its SHA-1");
            }
            sha1[40] = '\0';
            t->body = body;
            t->sha1 = sha1;
        }
    }
}
