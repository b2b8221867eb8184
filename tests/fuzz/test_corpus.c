/* test_corpus.c - every input that was kept, through its target: what fuzzing has found once stays
 * found, with any compiler and in every build. A target that fails ends its case, and the last line
 * that it printed is the input. */
#include <dirent.h>

#include "fuzz.h"
#include "test.h"

typedef int target_fn(const uint8_t *data, size_t len);

/* A block of just the file's size. */
static uint8_t *read_file(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        FAIL("cannot open %s", path);
    CHECK_EQ(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    CHECK(size >= 0);
    rewind(f);
    *len = (size_t)size;
    uint8_t *data = fuzz_alloc(*len);
    CHECK_EQ(fread(data, 1, *len, f), *len);
    fclose(f);
    return data;
}

static void run_corpus(const char *name, target_fn *target) {
    const char *source = getenv("SEGMENTER_SOURCE_DIR");
    char directory[1024], path[2048];
    if (source == NULL)
        SKIP("SEGMENTER_SOURCE_DIR is not set");
    snprintf(directory, sizeof directory, "%s/tests/fuzz/corpus/%s", source, name);
    DIR *d = opendir(directory);
    if (d == NULL)
        FAIL("there is no corpus %s", directory);
    size_t inputs = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        printf("%s\n", path);
        fflush(stdout);
        size_t len;
        uint8_t *data = read_file(path, &len);
        CHECK_EQ(target(data, len), 0);
        free(data);
        inputs++;
    }
    closedir(d);
    CHECK_EQ(target((const uint8_t *)"", 0), 0);
    CHECK_GT(inputs, 0);
}

#define X(name)                                                                                    \
    target_fn run_##name;                                                                          \
    TEST(name) {                                                                                   \
        run_corpus(#name, run_##name);                                                             \
    }
#include "fuzz_targets.h"
#undef X
