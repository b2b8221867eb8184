/* memory.c - allocations that need no check: out of memory ends the command, with a report. */
#include <stdarg.h>
#include <stdlib.h>

#include "cli.h"

static int fatal_code = CLI_FAILURE;

void cli_set_fatal_code(int code) {
    fatal_code = code;
}

void cli_no_memory(void) {
    fputs("segmenter: out of memory\n", stderr);
    exit(fatal_code);
}

static void *must(void *block) {
    if (!block) {
        cli_no_memory();
    }
    return block;
}

void *cli_alloc(size_t count, size_t size) {
    return must(calloc(count ? count : 1, size ? size : 1));
}

void *cli_grow(void *block, size_t count, size_t size) {
    return must(size && count > SIZE_MAX / size ? NULL : realloc(block, count * size));
}

char *cli_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t size = len < 0 ? 1 : (size_t)len + 1;
    char *text = cli_alloc(size, 1);
    vsnprintf(text, size, format, again);
    va_end(again);
    return text;
}
