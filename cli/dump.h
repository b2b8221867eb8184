/* dump.h - what the files of `segmenter dump` share. */
#ifndef SEGMENTER_CLI_DUMP_H
#define SEGMENTER_CLI_DUMP_H
#include "cli.h"
#include "dump_file.h"

typedef struct cli_dump_opts {
    bool zstd;
    bool resume;
    bool force;
    int64_t limit;
    cli_list partitions;
} cli_dump_opts;

/* Where a dump is written to: stdout, or FILE.part, which becomes FILE once it is complete. So what is
 * called FILE is always a whole dump, also after a crash, and one that was there is not touched until
 * then. */
typedef struct cli_dump_target {
    const cli_dump_opts *opts;
    const char *name; /* FILE; NULL: stdout */
    char *part;
    int fd;
    bool zstd;
    bool resumed;  /* something of an interrupted dump is there, and `fd` stands behind it */
    bool whole;    /* and nothing is missing of it */
    bool replaces; /* FILE is there, and is to become the dump */
} cli_dump_target;

/* Open it. Where it is resumed, `resumed` is set and `d`, the dump as it would begin now, becomes the
 * dump so far; it is refused where that is of another stream, or the stream is another one. Returns an
 * exit code. `*complete`: FILE is a whole dump already, and nothing is left to do. */
int cli_dump_target_open(cli_dump_target *t, cli_dump *d, bool *complete);
/* All is written: make it last, and give it its name. Returns an exit code. */
int cli_dump_target_finish(cli_dump_target *t);
/* Close it; what is not finished stays as FILE.part. */
void cli_dump_target_fini(cli_dump_target *t);

/* "orders.zst" */
bool cli_is_zst(const char *name);

#endif
