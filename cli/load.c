/* load.c - segmenter load: a dump back into a stream. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signals.h"

static const cli_opt table[] = {
    {.name = "check",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, check),
     .text = "only see whether FILE is whole; no stream is named, and no server is needed"},
    {.name = "resume",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, resume),
     .text = "go on with a load that was interrupted, behind what the stream holds of FILE"},
    {.name = "append",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, append),
     .text = "also to a stream that holds something"},
    {.name = "no-create",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, no_create),
     .text = "the stream must be there"},
    {.name = "repartition",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, repartition),
     .text = "send each message to the partition of its key, also where the stream has another "
             "number of partitions"},
    {.name = "no-verify",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, no_verify),
     .text = "do not read the stream back in the end"},
    {.name = "force",
     .type = CLI_FLAG,
     .at = offsetof(cli_load_opts, force),
     .text = "also more than the stream can keep, and what there is of a FILE that was cut off"},
    {.name = "codec",
     .type = CLI_CHOICE,
     .arg = "plain|lz4|zstd",
     .at = offsetof(cli_load_opts, codec),
     .fallback = "plain",
     .text = "how batches of messages are compressed; consumers read any"},
};

/* ---- The file -------------------------------------------------------------------------------- */

static int open_file(cli_loading *l, const char *path) {
    struct stat st;
    bool is_stdin = !path || strcmp(path, "-") == 0;
    l->name = is_stdin ? "stdin" : path;
    l->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0) {
        return cli_failure("cannot open '%s': %s", path, strerror(errno));
    }
    l->again = fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode);
    if (l->opts->resume && !l->again) {
        return cli_usage("--resume needs a FILE that can be read more than once");
    }
    return CLI_OK;
}

static void print_check(const cli_loading *l) {
    const cli_dump *d = &l->dump;
    char *extent = cli_load_is_part(l) ? cli_dump_extent(d)
                                       : cli_format("%" PRIu32 " partition%s", d->partitions,
                                                    d->partitions == 1 ? "" : "s");
    printf("%s is whole: %" PRIu64 " message%s of stream %s, %s\n", l->name, d->messages,
           d->messages == 1 ? "" : "s", d->stream, extent);
    free(extent);
}

static void say_skipped(const cli_loading *l) {
    if (l->dump.skipped > 0) {
        cli_note("the dump lacks %" PRIu64 " message%s of its stream: see its lines with "
                 "\"dump\":\"skip\"",
                 l->dump.skipped, l->dump.skipped == 1 ? "" : "s");
    }
}

bool cli_load_is_part(const cli_loading *l) {
    return cli_dump_chosen(&l->dump) < l->dump.partitions;
}

bool cli_load_touches(const cli_loading *l, uint32_t p) {
    return l->opts->repartition || (p < l->dump.partitions && !l->dump.parts[p].left_out);
}

uint32_t *cli_load_touched(const cli_loading *l, size_t *n) {
    uint32_t *list = cli_alloc(l->target.partitions, sizeof *list);
    *n = 0;
    for (uint32_t p = 0; p < l->target.partitions; p++) {
        if (cli_load_touches(l, p)) {
            list[(*n)++] = p;
        }
    }
    return list;
}

/* ---- The stream ------------------------------------------------------------------------------ */

static uint64_t count_of(const cli_loading *l, uint32_t p) {
    const cli_dump_part *part = &l->dump.parts[p];
    return l->known ? part->messages : part->next - part->first;
}

/* A stream that cannot keep it all would refuse it in the middle, wait for ever where nobody reads, or
 * drop what was loaded first. */
static int check_size(const cli_loading *l) {
    const cli_load_target *t = &l->target;
    uint64_t all = 0;
    if (l->opts->force) {
        return CLI_OK;
    }
    for (uint32_t p = 0; p < l->dump.partitions; p++) {
        uint64_t there = l->opts->append && !l->opts->repartition ? t->next[p] - t->first[p] : 0;
        uint64_t n = count_of(l, p);
        all += n;
        if (!l->opts->repartition &&
            (n > t->max_messages || (t->on_full != SEG_BLOCK && n + there > t->max_messages))) {
            return cli_failure("partition %" PRIu32 " has %" PRIu64 " messages in the dump, and "
                               "stream '%s' keeps %" PRIu64 "%s: load into a larger stream, or "
                               "with --force",
                               p, n, l->stream, t->max_messages,
                               there ? " with those that it has" : "");
        }
    }
    if (l->opts->repartition && all / t->partitions > t->max_messages) {
        return cli_failure("the dump has %" PRIu64 " messages, more than stream '%s' keeps in its "
                           "%" PRIu32 " partitions: load into a larger stream, or with --force",
                           all, l->stream, t->partitions);
    }
    return CLI_OK;
}

static int check_fits(const cli_loading *l) {
    const cli_load_target *t = &l->target;
    if (t->partitions != l->dump.partitions && !l->opts->repartition) {
        cli_failure("stream '%s' has %" PRIu32 " partitions, and the dump %" PRIu32
                    ": --repartition sends each message to the partition of its key",
                    l->stream, t->partitions, l->dump.partitions);
        return CLI_CONFLICT;
    }
    for (uint32_t p = 0; p < t->partitions; p++) {
        if (cli_load_touches(l, p) && t->next[p] > 0 && !l->opts->append && !l->opts->resume) {
            cli_failure(
                "stream '%s' is not empty: --resume goes on with an interrupted load of this "
                "dump, --append adds to what is there",
                l->stream);
            return CLI_CONFLICT;
        }
    }
    return check_size(l);
}

static int take_info(cli_loading *l, const seg_stream_info *info) {
    cli_load_target *t = &l->target;
    t->partitions = seg_stream_info_partitions(info);
    t->max_messages = seg_stream_info_max_messages(info);
    t->on_full = seg_stream_info_on_full(info);
    t->first = cli_alloc(t->partitions, sizeof *t->first);
    t->next = cli_alloc(t->partitions, sizeof *t->next);
    for (uint32_t p = 0; p < t->partitions; p++) {
        const seg_stream_partition *part = seg_stream_info_partition(info, p);
        if (part->status != SEG_OK && cli_load_touches(l, p)) {
            return cli_failure("partition %" PRIu32 " of stream '%s' is damaged", p, l->stream);
        }
        t->first[p] = part->first;
        t->next[p] = part->next;
    }
    return CLI_OK;
}

static int create(cli_loading *l) {
    seg_stream_options opts;
    seg_error err;
    cli_load_target *t = &l->target;
    t->partitions = l->dump.partitions;
    t->max_messages = l->dump.max_messages;
    t->on_full = l->dump.on_full;
    t->first = cli_alloc(t->partitions, sizeof *t->first);
    t->next = cli_alloc(t->partitions, sizeof *t->next);
    int code = check_size(l);
    if (code != CLI_OK) {
        return code;
    }
    SEG_INIT(&opts);
    opts.partitions = t->partitions;
    opts.max_messages = t->max_messages;
    opts.on_full = t->on_full;
    if (seg_stream_create(l->client, l->stream, &opts, &err) != SEG_OK) {
        return cli_error(&err);
    }
    cli_note("created stream %s: %" PRIu32 " partition%s of %" PRIu64 " messages, on full %s",
             l->stream, t->partitions, t->partitions == 1 ? "" : "s", t->max_messages,
             seg_on_full_name(t->on_full));
    return CLI_OK;
}

/* Find the stream, or create it. Returns an exit code. */
static int find_target(cli_loading *l) {
    seg_stream_info *info;
    seg_error err;
    seg_status status = seg_stream_describe(&info, l->client, l->stream, &err);
    if (status == SEG_ENOENT && !l->opts->no_create) {
        return create(l);
    }
    if (status != SEG_OK) {
        return cli_error(&err);
    }
    int code = take_info(l, info);
    seg_stream_info_free(info);
    return code == CLI_OK ? check_fits(l) : code;
}

/* ---- The command ----------------------------------------------------------------------------- */

/* Of a pipe, the first line is all that is known before it is sent. */
static int look_at_file(cli_loading *l) {
    if (l->again || l->opts->check) {
        return cli_load_check(l);
    }
    int code = cli_load_rewind(l, &l->pipe);
    if (code == CLI_OK) {
        l->piped = true;
        l->dump = cli_dump_copy(&l->pipe.dump);
    } else {
        cli_dump_file_fini(&l->pipe);
    }
    return code;
}

static int load(cli_loading *l) {
    int code = find_target(l);
    if (code == CLI_OK && l->opts->resume) {
        l->held = cli_alloc(l->target.partitions, sizeof *l->held);
        code = cli_load_compare(l);
    }
    if (code == CLI_OK) {
        code = cli_load_send(l);
    }
    if (code == CLI_OK && !l->opts->no_verify) {
        code = cli_load_verify(l);
    }
    return code;
}

static void say_part(const cli_loading *l) {
    if (cli_load_is_part(l)) {
        char *extent = cli_dump_extent(&l->dump);
        cli_note("the dump is of %s alone", extent);
        free(extent);
    }
}

static int report(const cli_loading *l, bool verbose) {
    say_part(l);
    say_skipped(l);
    if (verbose || isatty(STDERR_FILENO)) {
        double seconds = cli_progress_seconds(&l->progress);
        cli_note("%" PRIu64 " message%s loaded%s%s, %.1f s, %.0f/s", l->stored,
                 l->stored == 1 ? "" : "s", l->before ? " behind those that were there" : "",
                 l->opts->no_verify ? "" : ", and verified", seconds,
                 seconds > 0 ? (double)l->stored / seconds : 0.0);
    }
    return CLI_OK;
}

static int load_file(cli_loading *l, const cli_run *run) {
    int code = look_at_file(l);
    if (code == CLI_OK && l->opts->check) {
        print_check(l);
        say_skipped(l);
        return CLI_OK;
    }
    if (code == CLI_OK) {
        code = cli_open(&l->client, run->globals, true);
    }
    if (code == CLI_OK) {
        code = load(l);
        seg_client_close(l->client);
        code = code == CLI_OK ? report(l, run->globals->verbose) : code;
    }
    return code;
}

static int check_options(const cli_load_opts *o, const cli_run *run) {
    if (o->check && run->n_args > 1) {
        return cli_usage("--check takes a FILE, and no stream");
    }
    if (!o->check && !cli_name_ok(run->args[0])) {
        return cli_usage("a name has 1 to 200 of the characters A-Z a-z 0-9 . _ -, not '%s'",
                         run->args[0]);
    }
    if (o->resume && (o->append || o->repartition)) {
        return cli_usage("--resume compares the stream with the file, and excludes --append and "
                         "--repartition");
    }
    return CLI_OK;
}

static int run_load(const cli_run *run) {
    const cli_load_opts *o = run->opts;
    cli_loading l = {.opts = o, .stream = run->args[0], .fd = -1};
    int code = check_options(o, run);
    if (code != CLI_OK) {
        return code;
    }
    cli_signals_catch();
    code = open_file(&l, o->check ? run->args[0] : run->n_args > 1 ? run->args[1] : NULL);
    cli_progress_start(&l.progress, isatty(STDERR_FILENO) && l.fd >= 0 && !isatty(l.fd));
    if (code == CLI_OK) {
        code = load_file(&l, run);
    }
    if (l.fd > STDIN_FILENO) {
        close(l.fd);
    }
    if (l.piped) {
        cli_dump_file_fini(&l.pipe);
    }
    cli_dump_fini(&l.dump);
    free(l.target.first);
    free(l.target.next);
    free(l.held);
    return code;
}

const cli_command cli_load = {
    .name = "load",
    .args = "STREAM [FILE]",
    .min_args = 1,
    .max_args = 2,
    .any_word = true,
    .brief = "Load a dump into a stream",
    .about =
        "Load what segmenter dump wrote, from FILE or stdin, compressed or not. The stream is "
        "created as it was, if it is not there. Each message goes to its partition, in its order, "
        "with its timestamp, key, value and headers; its offset is new, and counts from 0.\n\n"
        "A FILE is looked through before: one that is damaged or cut off, or has more messages "
        "than "
        "the stream keeps, is refused before anything is done. In the end the stream is read back, "
        "and its messages are compared with the dump's checksums.\n\n"
        "A load that was interrupted, however, goes on with --resume: it compares what the stream "
        "holds with the beginning of FILE, and sends what is missing, each message once. Nobody "
        "else may send to the stream meanwhile. A full stream with the policy block waits.\n\n"
        "Of a dump of some partitions alone these are loaded, into the same partitions; what the "
        "stream holds in others is none of its business, so that several such dumps go into one "
        "stream.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(cli_load_opts),
    .run = run_load,
};
