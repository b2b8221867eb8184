/* The embedded scripts are the files, byte for byte, under the SHA-1 that the server computes. */
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
        FILE *f = fopen(path, "rb");
        CHECK(f != NULL);
        char *bytes = malloc(t->len + 2);
        CHECK(bytes != NULL);
        size_t len = fread(bytes, 1, t->len + 2, f);
        fclose(f);
        CHECK_MEM(t->body, t->len, bytes, len);
        CHECK_EQ(t->body[t->len], 0);
        free(bytes);
    }
}
