/* dump_target.c - the file that a dump is written to; see dump.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump.h"

bool cli_is_zst(const char *name) {
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".zst") == 0;
}

static int conflict(const char *format, const char *name) {
    char text[512];
    snprintf(text, sizeof text, format, name, name);
    cli_failure("%s", text);
    return CLI_CONFLICT;
}

/* ---- Resuming -------------------------------------------------------------------------------- */

static bool has_same_parts(const cli_dump *a, const cli_dump *b) {
    for (uint32_t p = 0; p < a->partitions && a->partitions == b->partitions; p++) {
        if (a->parts[p].left_out != b->parts[p].left_out) {
            return false;
        }
    }
    return a->partitions == b->partitions;
}

/* Is the dump so far of the stream as it is now? */
static int check_same(const cli_dump_target *t, const cli_dump *so_far, const cli_dump *now) {
    if (strcmp(so_far->stream, now->stream) != 0 ||
        strcmp(so_far->name_space, now->name_space) != 0) {
        cli_failure("'%s' is a dump of stream '%s' in namespace '%s', not of '%s' in '%s'", t->part,
                    so_far->stream, so_far->name_space, now->stream, now->name_space);
        return CLI_CONFLICT;
    }
    if (so_far->created_ms != now->created_ms || so_far->partitions != now->partitions) {
        cli_failure("'%s' is a dump of another stream '%s', which was created at another time: "
                    "--force starts anew",
                    t->part, now->stream);
        return CLI_CONFLICT;
    }
    if (!has_same_parts(so_far, now)) {
        char *extent = cli_dump_extent(so_far);
        cli_failure("'%s' is a dump of %s, not of those that are asked for", t->part, extent);
        free(extent);
        return CLI_CONFLICT;
    }
    for (uint32_t p = 0; p < now->partitions; p++) {
        if (so_far->parts[p].era != now->parts[p].era ||
            so_far->parts[p].next > now->parts[p].next) {
            cli_failure("the server has lost messages of partition %" PRIu32
                        " since '%s' was begun: --force starts anew",
                        p, t->part);
            return CLI_CONFLICT;
        }
    }
    return CLI_OK;
}

typedef struct resume {
    cli_dump so_far; /* up to where the file can be cut */
    uint64_t cut;
    bool any, complete;
} resume;

static void remember(resume *r, const cli_dump_file *f) {
    uint64_t at;
    if (cli_archive_cut(f->archive, &at)) {
        cli_dump_fini(&r->so_far);
        r->so_far = cli_dump_copy(&f->dump);
        r->cut = at;
        r->any = true;
    }
}

/* Remembering copies the partitions: for a plain file, which can be cut behind each line, it would cost
 * more than reading. There, only the last line counts, which is known once it is torn. */
static cli_dump_item read_so_far(cli_dump_file *f, resume *r) {
    cli_dump_item item;
    remember(r, f);
    do {
        item = cli_dump_file_next(f);
        bool more = item == CLI_DUMP_MESSAGE || item == CLI_DUMP_SKIP;
        if (more && cli_archive_compressed(f->archive)) {
            remember(r, f);
        }
        if (!more) {
            break;
        }
    } while (true);
    if (item == CLI_DUMP_TORN && !cli_archive_compressed(f->archive)) {
        remember(r, f);
    }
    return item;
}

/* Read what is there of the file. Returns an exit code. */
static int look_back(cli_dump_target *t, const char *name, int fd, resume *r) {
    cli_dump_file f;
    int code = CLI_OK;
    *r = (resume){0};
    cli_dump_item item = cli_dump_file_open(&f, fd, name);
    if (item == CLI_DUMP_COMPLETE) {
        item = read_so_far(&f, r);
    } else if (item == CLI_DUMP_TORN && !cli_dump_may_begin(cli_archive_rest(f.archive))) {
        cli_failure("'%s' is no dump, and is left as it is", name);
        code = CLI_CONFLICT;
    }
    t->zstd = f.archive && r->any ? cli_archive_compressed(f.archive) : t->zstd;
    r->complete = item == CLI_DUMP_COMPLETE;
    if (item == CLI_DUMP_FAULT) {
        code = cli_failure("%s; --force starts anew", f.fault);
    } else if (item == CLI_DUMP_STOPPED) {
        code = cli_failure("interrupted before anything was done");
    }
    cli_dump_file_fini(&f);
    return code;
}

/* Cut the file behind its last whole line or frame, and go on there. */
static int go_on(cli_dump_target *t, cli_dump *d) {
    resume r;
    int code = look_back(t, t->part, t->fd, &r);
    if (code == CLI_OK && r.any) {
        code = check_same(t, &r.so_far, d);
    }
    if (code == CLI_OK &&
        (ftruncate(t->fd, (off_t)r.cut) != 0 || lseek(t->fd, (off_t)r.cut, SEEK_SET) < 0)) {
        code = cli_failure("cannot continue '%s': %s", t->part, strerror(errno));
    }
    if (code == CLI_OK && r.any) {
        cli_dump_fini(d);
        *d = r.so_far;
        t->resumed = true;
    } else {
        cli_dump_fini(&r.so_far);
    }
    return code;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static bool is_older(const struct stat *a, const struct stat *b) {
    return a->st_mtim.tv_sec < b->st_mtim.tv_sec ||
           (a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec <= b->st_mtim.tv_nsec);
}

/* FILE is there already. */
static int existing(cli_dump_target *t, const struct stat *st, const cli_dump *d, bool *complete) {
    if (!S_ISREG(st->st_mode)) {
        return cli_failure("'%s' is no regular file: without a FILE the dump goes to stdout",
                           t->name);
    }
    struct stat part;
    bool begun = t->opts->resume && stat(t->part, &part) == 0;
    t->replaces = t->opts->force || begun;
    if (t->opts->force) {
        return CLI_OK;
    }
    if (!t->opts->resume) {
        return conflict("'%s' exists: --force replaces it once the new dump is complete", t->name);
    }
    /* It was there when --force began the dump. What came after that is not to be lost. */
    if (begun) {
        return is_older(st, &part)
                   ? CLI_OK
                   : conflict(
                         "'%s' is newer than the dump that was interrupted, '%s.part': --force "
                         "starts anew, and replaces it",
                         t->name);
    }
    /* To be called again and again until it succeeds, it has to succeed in the end. */
    int fd = open(t->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_failure("cannot open '%s': %s", t->name, strerror(errno));
    }
    resume r;
    int code = look_back(t, t->name, fd, &r);
    close(fd);
    if (code == CLI_OK && !r.complete) {
        code = conflict("'%s' exists, and is no whole dump: --force replaces it", t->name);
    }
    if (code == CLI_OK && (strcmp(r.so_far.stream, d->stream) != 0 ||
                           strcmp(r.so_far.name_space, d->name_space) != 0)) {
        code = conflict("'%s' exists, and is a dump of another stream", t->name);
    }
    if (code == CLI_OK && !has_same_parts(&r.so_far, d)) {
        code = conflict("'%s' exists, and is a dump of other partitions", t->name);
    }
    *complete = code == CLI_OK;
    cli_dump_fini(&r.so_far);
    return code;
}

static int open_part(cli_dump_target *t, cli_dump *d) {
    bool there = access(t->part, F_OK) == 0;
    if (there && !t->opts->resume && !t->opts->force) {
        return conflict("'%s' is there from a dump that was interrupted: --resume continues it, "
                        "--force starts anew",
                        t->part);
    }
    t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t->fd < 0) {
        return cli_failure("cannot open '%s': %s", t->part, strerror(errno));
    }
    if (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
        return conflict("another dump is writing '%s'", t->part);
    }
    if (t->opts->resume) {
        return go_on(t, d);
    }
    return ftruncate(t->fd, 0) == 0
               ? CLI_OK
               : cli_failure("cannot write '%s': %s", t->part, strerror(errno));
}

int cli_dump_target_open(cli_dump_target *t, cli_dump *d, bool *complete) {
    struct stat st;
    *complete = false;
    t->fd = -1;
    t->zstd = t->opts->zstd || (t->name && cli_is_zst(t->name));
    if (!t->name) {
        t->fd = STDOUT_FILENO;
        return CLI_OK;
    }
    t->part = cli_format("%s.part", t->name);
    if (stat(t->name, &st) == 0) {
        int code = existing(t, &st, d, complete);
        if (code != CLI_OK || *complete) {
            return code;
        }
    }
    return open_part(t, d);
}

/* ---- The end --------------------------------------------------------------------------------- */

static bool sync_directory(const char *name) {
    const char *slash = strrchr(name, '/');
    char *directory =
        slash ? cli_format("%.*s", (int)(slash > name ? slash - name : 1), name) : cli_format(".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return done;
}

/* A link, unlike a rename, cannot replace what came to be there meanwhile. */
static bool give_name(const cli_dump_target *t) {
    if (t->replaces) {
        return rename(t->part, t->name) == 0;
    }
    if (link(t->part, t->name) == 0) {
        return unlink(t->part) == 0;
    }
    return errno != EEXIST && rename(t->part, t->name) == 0; /* without hard links */
}

int cli_dump_target_finish(cli_dump_target *t) {
    if (!t->name) {
        return CLI_OK;
    }
    if (fsync(t->fd) != 0) {
        return cli_failure("cannot write '%s': %s", t->part, strerror(errno));
    }
    if (!give_name(t)) {
        return cli_failure("the dump is complete in '%s', but cannot be renamed to '%s': %s",
                           t->part, t->name, strerror(errno));
    }
    if (!sync_directory(t->name)) {
        return cli_failure("'%s' is complete, but may not survive a crash: cannot sync its "
                           "directory: %s",
                           t->name, strerror(errno));
    }
    return CLI_OK;
}

void cli_dump_target_fini(cli_dump_target *t) {
    if (t->name && t->fd >= 0) {
        close(t->fd);
    }
    free(t->part);
    t->part = NULL;
}
