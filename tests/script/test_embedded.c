/* The embedded scripts are the files without their comments and indentation, put together from
 * their parts, under the SHA-1 that the server computes. */
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

typedef struct text {
    char bytes[65536];
    size_t len;
} text;

static void put(text *t, const char *s) {
    CHECK_LT(t->len + strlen(s), sizeof t->bytes);
    memcpy(t->bytes + t->len, s, strlen(s));
    t->len += strlen(s);
}

/* The file as it is embedded: each line without what is in front of it, empty where it is a
 * comment. With `part`, "--PART: all" is the file of that name, and "--PART: code" is code. */
static void add_file(text *t, const char *name, const char *part) {
    char path[1024], line[1024], mark[64];
    snprintf(path, sizeof path, "%s/src/redis/scripts/%s.lua", getenv("SEGMENTER_SOURCE_DIR"),
             name);
    snprintf(mark, sizeof mark, "--%s: ", part != NULL ? part : "\n");
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        const char *from = line + strspn(line, " ");
        CHECK(strlen(line) < sizeof line - 1);
        if (strncmp(from, mark, strlen(mark)) == 0) {
            from += strlen(mark);
            if (strcmp(from, "all\n") == 0)
                add_file(t, part, NULL);
            else
                put(t, from);
        } else if (strncmp(from, "--", 2) == 0 && strncmp(from, "-- KEYS", 7) != 0) {
            put(t, "\n");
        } else {
            put(t, from);
        }
    }
    fclose(f);
}

/* A script named A_B is A.lua with the part B.lua, where there is no file A_B.lua. */
static void expected(text *t, const char *name) {
    char path[1024], base[64];
    snprintf(path, sizeof path, "%s/src/redis/scripts/%s.lua", getenv("SEGMENTER_SOURCE_DIR"),
             name);
    FILE *f = fopen(path, "rb");
    t->len = 0;
    if (f != NULL) {
        fclose(f);
        add_file(t, name, NULL);
        return;
    }
    snprintf(base, sizeof base, "%s", name);
    char *part = strrchr(base, '_');
    CHECK(part != NULL);
    *part++ = '\0';
    add_file(t, base, part);
}

TEST(names_are_sorted_and_bodies_are_the_files) {
    if (!getenv("SEGMENTER_SOURCE_DIR")) {
        SKIP("SEGMENTER_SOURCE_DIR is not set: run it through ctest");
    }
    text *e = calloc(1, sizeof *e);
    CHECK(e != NULL);
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        const struct sg_script_text *t = &sg_script_texts[i];
        CHECK(i == 0 || strcmp(sg_script_texts[i - 1].name, t->name) < 0);
        expected(e, t->name);
        CHECK_MEM(t->body, t->len, e->bytes, e->len);
        CHECK_EQ(t->body[t->len], 0);
    }
    free(e);
}

static const struct sg_script_text *find(const char *name) {
    for (size_t i = 0; i < sg_script_texts_count; i++)
        if (strcmp(sg_script_texts[i].name, name) == 0)
            return &sg_script_texts[i];
    return NULL;
}

/* A part is no script. What has one comes with it and without it, and pays for it only with it. */
TEST(the_append_comes_with_and_without_forwarding) {
    const struct sg_script_text *plain = find("append"), *with = find("append_forward");
    CHECK(find("forward") == NULL);
    CHECK(plain != NULL && with != NULL);
    CHECK(strstr(plain->body, "forward") == NULL);
    CHECK(strstr(with->body, "-- KEYS  3 forwards") != NULL);
    CHECK(strstr(with->body, "\nlocal holding = held(n)\nif holding then return holding end\n"));
    CHECK(strstr(with->body, "\nremember()\nredis.call('HSET', state, 'next'"));
    CHECK_EQ(strncmp(with->body, "#!lua flags=allow-oom\n", 22), 0);
    CHECK_LT(plain->len + 2000, with->len);
}
