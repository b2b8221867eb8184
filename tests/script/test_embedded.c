/* The embedded scripts are the files without their comments and indentation, under the SHA-1 that
 * the server computes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script_text.h"
#include "server.h"
#include "test.h"

TEST(the_server_agrees_with_each_sha1) {
    server *s = server_start(NULL);
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        const struct sg_script_text *t = &sg_script_texts[i];
        char *sha1 = server_str(s, "SCRIPT LOAD %b", t->body, t->len);
        CHECK_STR(sha1, t->sha1);
        free(sha1);
    }
    server_stop(s);
}

/* The file as it is embedded: each line without what is in front of it, empty where it is a
 * comment. */
static char *stripped(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    char line[1024], *text = calloc(1, 65536);
    CHECK(text != NULL);
    *len = 0;
    for (int n = 0; fgets(line, sizeof line, f) != NULL; n++) {
        const char *from = line + (n > 0 ? strspn(line, " ") : 0);
        if (n > 0 && strncmp(from, "--", 2) == 0 && strncmp(from, "-- KEYS", 7) != 0)
            from = "\n";
        CHECK_LT(*len + strlen(from), 65536);
        memcpy(text + *len, from, strlen(from));
        *len += strlen(from);
    }
    fclose(f);
    return text;
}

TEST(names_are_sorted_and_bodies_are_the_files) {
    const char *root = getenv("SEGMENTER_SOURCE_DIR");
    if (!root) {
        SKIP("SEGMENTER_SOURCE_DIR is not set: run it through ctest");
    }
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        const struct sg_script_text *t = &sg_script_texts[i];
        CHECK(i == 0 || strcmp(sg_script_texts[i - 1].name, t->name) < 0);
        char path[1024];
        snprintf(path, sizeof path, "%s/src/redis/scripts/%s.lua", root, t->name);
        size_t len;
        char *text = stripped(path, &len);
        CHECK_MEM(t->body, t->len, text, len);
        CHECK_EQ(t->body[t->len], 0);
        free(text);
    }
}
