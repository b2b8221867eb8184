/* dump.c - segmenter dump: all messages of a stream, to a file. */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "partitions.h"
#include "place.h"
#include "progress.h"
#include "reading.h"
#include "signals.h"

static const cli_opt table[] = {
    {.name = "zstd",
     .type = CLI_FLAG,
     .at = offsetof(cli_dump_opts, zstd),
     .text = "compress it; a FILE that ends in .zst is compressed anyway"},
    {.name = "resume",
     .type = CLI_FLAG,
     .at = offsetof(cli_dump_opts, resume),
     .text = "go on with the dump that was interrupted, if there is one"},
    {.name = "force",
     .type = CLI_FLAG,
     .at = offsetof(cli_dump_opts, force),
     .text = "replace FILE, and forget a dump that was interrupted"},
    {.name = "partition",
     .type = CLI_LIST,
     .arg = "P",
     .at = offsetof(cli_dump_opts, partitions),
     .text = "only this partition; may be repeated (default: all)"},
    {.name = "limit",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(cli_dump_opts, limit),
     .min = 1,
     .max = INT64_MAX,
     .text = "stop, as if interrupted, after N messages; --resume goes on"},
};

typedef struct dumping {
    const cli_dump_opts *opts;
    uint32_t *partitions; /* of --partition, as many as the option has */
    seg_client *client;
    cli_reading reading;
    cli_dump dump;
    cli_dump_target target;
    cli_archive *archive;
    cli_buf line, scratch;
    cli_progress progress;
    uint64_t total, written; /* messages: of all, of this run */
    bool failed;             /* a write did, with errno */
    int error;
} dumping;

static bool put(dumping *d) {
    if (!d->failed && !cli_archive_put(d->archive, cli_buf_bytes(&d->line))) {
        d->failed = true;
        d->error = errno;
    }
    d->line.len = 0;
    return !d->failed;
}

static void on_skip(const seg_skip *s, void *arg) {
    dumping *d = arg;
    seg_skip cut = *s;
    uint64_t end = d->dump.parts[s->partition].next;
    /* What is behind the end that the dump had at its beginning is none of it. */
    if (cut.first < end) {
        cut.count = cut.count < end - cut.first ? cut.count : end - cut.first;
        cli_progress_erase(&d->progress);
        cli_skip_note(&cut);
        cli_dump_skip(&d->dump, &d->line, &cut);
        put(d);
    }
}

static bool limited(const dumping *d) {
    return d->opts->limit > 0 && d->written >= (uint64_t)d->opts->limit;
}

/* Returns an exit code. */
static int write_messages(dumping *d) {
    const seg_message *m;
    int code;
    while (!d->failed && !limited(d) &&
           (code = cli_reading_next(&d->reading, &m, 0), code == CLI_OK && m)) {
        seg_delivery at = seg_message_delivery(m);
        if (at.id.offset >= d->dump.parts[at.partition].next) {
            code = cli_reading_pass(&d->reading, at.partition);
            if (code != CLI_OK) {
                return code;
            }
            continue;
        }
        cli_dump_message(&d->dump, &d->line, m, &d->scratch);
        put(d);
        d->written++;
        cli_progress_draw(&d->progress, "dumped", d->dump.messages, d->total);
    }
    return d->failed || limited(d) ? CLI_OK : code;
}

/* ---- The beginning --------------------------------------------------------------------------- */

static bool is_chosen(const dumping *d, uint32_t p) {
    size_t n = d->opts->partitions.n;
    for (size_t i = 0; i < n; i++) {
        if (d->partitions[i] == p) {
            return true;
        }
    }
    return n == 0;
}

static int describe(dumping *d, const cli_run *run) {
    seg_stream_info *info;
    seg_error err;
    if (seg_stream_describe(&info, d->client, run->args[0], &err) != SEG_OK) {
        return cli_error(&err);
    }
    cli_dump *dump = &d->dump;
    *dump = (cli_dump){.stream = cli_format("%s", run->args[0]),
                       .name_space = cli_format("%s", run->globals->name_space),
                       .server = cli_format("%s", seg_client_server(d->client)),
                       .tool = cli_format("segmenter %s", seg_version()),
                       .made_ms = cli_wall_ms(),
                       .created_ms = seg_stream_info_created(info),
                       .partitions = seg_stream_info_partitions(info),
                       .max_messages = seg_stream_info_max_messages(info),
                       .on_full = seg_stream_info_on_full(info)};
    dump->parts = cli_alloc(dump->partitions, sizeof *dump->parts);
    size_t n = d->opts->partitions.n;
    int code = cli_partitions_judge(info, n ? d->partitions : NULL, n, true);
    for (uint32_t p = 0; code == CLI_OK && p < dump->partitions; p++) {
        const seg_stream_partition *part = seg_stream_info_partition(info, p);
        dump->parts[p] =
            is_chosen(d, p)
                ? (cli_dump_part){.era = part->era, .first = part->first, .next = part->next}
                : (cli_dump_part){.left_out = true};
    }
    seg_stream_info_free(info);
    return code;
}

/* Read from where the dump so far ends: its partitions from that one on. */
static int open_reader(dumping *d) {
    const cli_dump *dump = &d->dump;
    seg_reader_options opts;
    seg_error err;
    SEG_INIT(&opts);
    uint32_t *partitions = cli_alloc(dump->partitions, sizeof *partitions), n = 0;
    for (uint32_t p = dump->at; p < dump->partitions; p++) {
        if (!dump->parts[p].left_out) {
            partitions[n++] = p;
        }
    }
    opts.partitions = partitions;
    opts.n_partitions = n;
    opts.ends = true;
    d->reading = (cli_reading){.quiet = true, .on_skip = on_skip, .arg = d};
    int code = cli_reading_open(&d->reading, d->client, dump->stream, &opts);
    free(partitions);
    /* Those that the dump has not come to as well: what was dropped of them since it began is told. */
    for (uint32_t p = dump->at; code == CLI_OK && p < dump->partitions; p++) {
        seg_reader_place place;
        uint64_t from = dump->parts[p].at.offset;
        if (!dump->parts[p].left_out && cli_reading_at(&d->reading, p, &place) &&
            place.at != from && seg_reader_seek(d->reading.reader, p, from, &err) != SEG_OK) {
            code = cli_error(&err);
        }
    }
    return code;
}

/* ---- The end --------------------------------------------------------------------------------- */

static const char *how_to_go_on(const dumping *d) {
    return d->target.name ? "; --resume continues it" : "";
}

static int stopped(dumping *d, int code) {
    /* What is there is worth keeping, if it can be. */
    if (!d->failed && d->target.name) {
        cli_archive_flush(d->archive);
    }
    if (d->failed && d->error != EINTR) {
        return cli_failure("cannot write the dump: %s%s", strerror(d->error), how_to_go_on(d));
    }
    if (cli_signal_caught() || d->failed) {
        return cli_failure("interrupted after %" PRIu64 " message%s%s", d->dump.messages,
                           d->dump.messages == 1 ? "" : "s", how_to_go_on(d));
    }
    if (code == CLI_OK) {
        return cli_failure("stopped by --limit after %" PRIu64 " message%s%s", d->dump.messages,
                           d->dump.messages == 1 ? "" : "s", how_to_go_on(d));
    }
    cli_note("%" PRIu64 " message%s dumped before that%s", d->dump.messages,
             d->dump.messages == 1 ? "" : "s", how_to_go_on(d));
    return code;
}

static int report(const dumping *d, bool verbose) {
    if (d->dump.skipped > 0) {
        return cli_failure("the dump is complete, but for %" PRIu64
                           " message%s that could not be read: %" PRIu64 " are in it",
                           d->dump.skipped, d->dump.skipped == 1 ? "" : "s", d->dump.messages);
    }
    if (verbose || isatty(STDERR_FILENO)) {
        double seconds = cli_progress_seconds(&d->progress);
        cli_note("%" PRIu64 " message%s dumped, %.1f s, %.0f/s", d->written,
                 d->written == 1 ? "" : "s", seconds,
                 seconds > 0 ? (double)d->written / seconds : 0.0);
    }
    return CLI_OK;
}

static int finish(dumping *d, const cli_run *run) {
    int code = cli_dump_target_finish(&d->target);
    return code == CLI_OK ? report(d, run->globals->verbose) : code;
}

static int write_dump(dumping *d, const cli_run *run) {
    d->archive = cli_archive_write(d->target.fd, d->target.zstd);
    if (!d->target.resumed) {
        cli_dump_begin(&d->dump, &d->line);
        put(d);
    }
    for (uint32_t p = 0; p < d->dump.partitions; p++) {
        d->total += d->dump.parts[p].next - d->dump.parts[p].first;
    }
    cli_progress_start(&d->progress,
                       isatty(STDERR_FILENO) && (d->target.name || !isatty(STDOUT_FILENO)));
    int code = open_reader(d);
    code = code == CLI_OK ? write_messages(d) : code;
    cli_progress_erase(&d->progress);
    if (code != CLI_OK || d->failed || cli_signal_caught() || limited(d)) {
        return stopped(d, code);
    }
    cli_dump_end(&d->dump, &d->line);
    if (put(d) && !cli_archive_flush(d->archive)) {
        d->failed = true;
        d->error = errno;
    }
    if (d->failed) {
        return stopped(d, CLI_FAILURE);
    }
    return finish(d, run);
}

static int dump(dumping *d, const cli_run *run) {
    bool complete = false;
    int code = describe(d, run);
    if (code == CLI_OK) {
        code = cli_dump_target_open(&d->target, &d->dump, &complete);
        if (code == CLI_OK && complete) {
            cli_note("'%s' is a whole dump already", d->target.name);
        } else if (code == CLI_OK) {
            code = d->target.whole ? finish(d, run) : write_dump(d, run);
        }
        cli_reading_close(&d->reading);
        cli_archive_free(d->archive);
        cli_dump_target_fini(&d->target);
    }
    cli_dump_fini(&d->dump);
    cli_buf_fini(&d->line);
    cli_buf_fini(&d->scratch);
    return code;
}

static int run_dump(const cli_run *run) {
    const cli_dump_opts *o = run->opts;
    bool to_file = run->n_args > 1 && strcmp(run->args[1], "-") != 0;
    dumping d = {.opts = o, .target = {.opts = o, .name = to_file ? run->args[1] : NULL}};
    if (o->resume && o->force) {
        return cli_usage("--resume and --force exclude each other");
    }
    if (!to_file && (o->resume || o->force)) {
        return cli_usage("--resume and --force need a FILE");
    }
    if (!to_file && o->zstd && isatty(STDOUT_FILENO)) {
        return cli_usage("--zstd to a terminal would be no text: name a FILE");
    }
    if (!cli_partitions_parse(&d.partitions, &o->partitions)) {
        return CLI_USAGE;
    }
    cli_signals_catch();
    int code = cli_open(&d.client, run->globals, true);
    if (code == CLI_OK) {
        code = dump(&d, run);
        seg_client_close(d.client);
    }
    free(d.partitions);
    return code;
}

const cli_command cli_dump_command = {
    .name = "dump",
    .args = "STREAM [FILE]",
    .min_args = 1,
    .max_args = 2,
    .brief = "Write all messages of a stream to a file",
    .about =
        "Write the stream to FILE, or to stdout: a line that describes it, each message as consume "
        "-J writes it, and a line with counts and checksums. It holds what was there at the start. "
        "Nothing changes on the server, and no group is needed. segmenter load brings it back; "
        "segmenter produce -J can send its messages too.\n\n"
        "The dump is written to FILE.part and becomes FILE once it is complete and on the disk. "
        "One "
        "that was interrupted, however, is continued with --resume.\n\n"
        "Messages that the stream drops before they are read, or that are missing or damaged, are "
        "said on stderr and noted in the dump, and the exit code is 1. A stream with a partition "
        "that is damaged as a whole is refused; the others can be dumped with --partition.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(cli_dump_opts),
    .run = run_dump,
};
