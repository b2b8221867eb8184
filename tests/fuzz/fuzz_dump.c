/* fuzz_dump.c - dump files, plain and compressed: whatever a file holds, it is read to an end that has a
 * reason, and no dump that was cut or continued with anything is taken as whole. The checksums are those
 * that everybody calls XXH64. */
#include "dump_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "digest.h"
#include "fuzz.h"

static int file_of(const uint8_t *data, size_t len) {
    int fd = memfd_create("dump", 0);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, data, len) == (ssize_t)len);
    FUZZ_CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* Read it; `*cut` is where it can be cut last. */
static cli_dump_item read_all(const uint8_t *data, size_t len, uint64_t *cut) {
    cli_dump_file f;
    int fd = file_of(data, len);
    uint64_t messages = 0;
    *cut = 0;
    cli_dump_item item = cli_dump_file_open(&f, fd, "file");
    bool begun = item == CLI_DUMP_COMPLETE;
    while (begun) {
        uint64_t at = 0;
        if (item != CLI_DUMP_TORN && cli_archive_cut(f.archive, &at)) {
            FUZZ_CHECK(at <= len && at >= *cut);
            *cut = at;
        }
        item = cli_dump_file_next(&f);
        if (item != CLI_DUMP_MESSAGE && item != CLI_DUMP_SKIP)
            break;
        messages += item == CLI_DUMP_MESSAGE;
        FUZZ_CHECK(f.dump.messages == messages);
        FUZZ_CHECK(item != CLI_DUMP_MESSAGE || f.partition < f.dump.partitions);
    }
    FUZZ_CHECK(item == CLI_DUMP_COMPLETE || f.fault[0] != '\0');
    cli_dump_file_fini(&f);
    close(fd);
    return item;
}

/* A row of frames is whole after each of them: there, only the dump's own end counts. */
static void check_whole(const uint8_t *data, size_t len) {
    uint64_t cut;
    uint8_t *more = malloc(len + 1);
    FUZZ_CHECK(more != NULL);
    memcpy(more, data, len);
    more[len] = '\n';
    FUZZ_CHECK(read_all(data, len - 1, &cut) != CLI_DUMP_COMPLETE);
    FUZZ_CHECK(read_all(data, len / 2, &cut) != CLI_DUMP_COMPLETE);
    FUZZ_CHECK(read_all(more, len + 1, &cut) != CLI_DUMP_COMPLETE);
    free(more);
}

static void check_digest(void) {
    static const struct {
        const char *text;
        uint64_t is;
    } known[] = {{"", 0xef46db3751d8e999},
                 {"a", 0xd24ec4f1a98c6e5b},
                 {"abc", 0x44bc2cf5ad770999},
                 {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        FUZZ_CHECK(cli_xxh64(known[i].text, strlen(known[i].text), 0) == known[i].is);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    uint64_t cut;
    check_digest();
    if (read_all(data, len, &cut) == CLI_DUMP_COMPLETE)
        check_whole(data, len);
    return 0;
}
