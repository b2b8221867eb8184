/* load_file.c - reading a dump before it is loaded: is it whole, and how much of it is there already?
 * See load.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "load.h"
#include "reading.h"

int cli_load_rewind(cli_loading *l, cli_dump_file *f) {
    if (l->piped) {
        *f = l->pipe;
        l->piped = false;
        return CLI_OK;
    }
    if (l->again && lseek(l->fd, 0, SEEK_SET) < 0) {
        *f = (cli_dump_file){0};
        return cli_failure("cannot read '%s' again: %s", l->name, strerror(errno));
    }
    switch (cli_dump_file_open(f, l->fd, l->name)) {
    case CLI_DUMP_COMPLETE:
        return CLI_OK;
    case CLI_DUMP_STOPPED:
        return cli_failure("interrupted: nothing was loaded");
    default:
        return cli_failure("%s", f->fault);
    }
}

static bool goes_on(cli_dump_item item) {
    return item == CLI_DUMP_MESSAGE || item == CLI_DUMP_SKIP;
}

/* What the end of the reading means. */
static int judge(cli_loading *l, const cli_dump_file *f, cli_dump_item item) {
    if (item == CLI_DUMP_STOPPED) {
        return cli_failure("interrupted: nothing was loaded");
    }
    if (item == CLI_DUMP_TORN && l->opts->force && !l->opts->check) {
        cli_note("%s", f->fault);
        return CLI_OK;
    }
    if (item == CLI_DUMP_TORN && !l->opts->check) {
        return cli_failure("%s; --force loads what there is", f->fault);
    }
    return item == CLI_DUMP_COMPLETE ? CLI_OK : cli_failure("%s", f->fault);
}

int cli_load_check(cli_loading *l) {
    cli_dump_file f;
    cli_dump_item item = CLI_DUMP_FAULT;
    int code = cli_load_rewind(l, &f);
    if (code == CLI_OK) {
        while (goes_on(item = cli_dump_file_next(&f))) {
            cli_progress_draw(&l->progress, "checked", f.dump.messages, 0);
        }
        cli_progress_erase(&l->progress);
        code = judge(l, &f, item);
    }
    if (code == CLI_OK) {
        cli_dump_fini(&l->dump);
        l->dump = cli_dump_copy(&f.dump);
        l->known = true;
    }
    cli_dump_file_fini(&f);
    return code;
}

/* ---- What the stream holds already ----------------------------------------------------------- */

typedef struct comparison {
    cli_loading *load;
    cli_reading reading;
    const seg_message *next; /* of the stream; NULL: there are no more */
    cli_buf scratch;
} comparison;

static int refuse(const comparison *c, uint32_t partition, uint64_t offset, const char *why) {
    cli_progress_erase(&c->load->progress);
    cli_failure("cannot resume: partition %" PRIu32 ", offset %" PRIu64 " of stream '%s' %s",
                partition, offset, c->load->stream, why);
    return CLI_CONFLICT;
}

/* The stream's next message. What cannot be read, cannot be compared. */
static int advance(comparison *c) {
    int code = cli_reading_next(&c->reading, &c->next, 0);
    if (code == CLI_OK && c->reading.dropped + c->reading.broken > 0) {
        cli_failure(
            "cannot resume: not all that was loaded into stream '%s' is there to be compared",
            c->load->stream);
        code = CLI_CONFLICT;
    }
    return code;
}

/* The file's next message: the stream has it, or nothing of its partition any more. */
static int compare_one(comparison *c, const cli_dump_file *f) {
    cli_loading *l = c->load;
    if (!c->next) {
        return CLI_OK;
    }
    seg_delivery at = seg_message_delivery(c->next);
    if (at.partition > f->partition) {
        return CLI_OK;
    }
    if (at.partition < f->partition) {
        return refuse(c, at.partition, at.id.offset, "is none of the file's");
    }
    if (at.id.offset != l->held[at.partition] ||
        cli_digest_message(0, c->next, &c->scratch) !=
            cli_digest_record(0, &f->message, &c->scratch)) {
        return refuse(c, at.partition, at.id.offset, "is not what the file has in its place");
    }
    l->held[at.partition]++;
    l->before++;
    cli_progress_draw(&l->progress, "compared", l->before, 0);
    return advance(c);
}

static int compare_all(comparison *c, cli_dump_file *f) {
    int code = advance(c);
    cli_dump_item item = CLI_DUMP_SKIP;
    while (code == CLI_OK && goes_on(item = cli_dump_file_next(f))) {
        code = item == CLI_DUMP_MESSAGE ? compare_one(c, f) : CLI_OK;
    }
    if (code == CLI_OK && item == CLI_DUMP_STOPPED) {
        return cli_failure("interrupted: nothing was loaded");
    }
    if (code == CLI_OK && c->next) {
        seg_delivery at = seg_message_delivery(c->next);
        code = refuse(c, at.partition, at.id.offset, "is none of the file's");
    }
    return code;
}

int cli_load_compare(cli_loading *l) {
    comparison c = {.load = l};
    cli_dump_file f;
    seg_reader_options opts;
    SEG_INIT(&opts);
    opts.ends = true;
    for (uint32_t p = 0; p < l->target.partitions; p++) {
        if (cli_load_touches(l, p) && l->target.first[p] > 0) {
            return refuse(&c, p, 0, "was dropped, and cannot be compared any more");
        }
    }
    uint32_t *partitions = cli_load_touched(l, &opts.n_partitions);
    opts.partitions = partitions;
    int code = cli_load_rewind(l, &f);
    if (code == CLI_OK) {
        code = cli_reading_open(&c.reading, l->client, l->stream, &opts);
    }
    if (code == CLI_OK) {
        code = compare_all(&c, &f);
    }
    free(partitions);
    cli_progress_erase(&l->progress);
    cli_reading_close(&c.reading);
    cli_dump_file_fini(&f);
    cli_buf_fini(&c.scratch);
    return code;
}
