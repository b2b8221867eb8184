/* exec.c - see exec.h.
 *
 * The value is the command's stdin as a file in memory, not through a pipe. So it is all there before
 * the command starts: when we die, it cannot take the half that it was sent for the whole. And it may
 * read as little of it as it likes.
 *
 * Its stderr comes through us. What it said last is why the message failed. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "env.h"
#include "process.h"
#include "text.h"

enum {
    REJECT_CODE = 65, /* EX_DATAERR of sysexits.h */
    LINE_MAX_BYTES = 4096,
    LAST_MAX = 200,
    TICK_MS = 20,         /* where the system cannot tell that a process has ended */
    LEFT_MAX = 64 * 1024, /* what a pipe holds */
    FD_MIN = 3
};

/* ---- stderr ---------------------------------------------------------------------------------- */

/* Lines go on whole, so that those of several commands do not mix; a long one in pieces. */
typedef struct relay {
    char line[LINE_MAX_BYTES];
    size_t used;
    bool midway;         /* a piece of this line was passed on */
    char last[LAST_MAX]; /* the last line that was not empty */
    size_t last_len;
} relay;

static void pass_on(relay *r, bool complete) {
    size_t text = r->used - (complete && r->used && r->line[r->used - 1] == '\n');
    if (text > 0 && !r->midway) {
        r->last_len = text < sizeof r->last ? text : sizeof r->last;
        memcpy(r->last, r->line, r->last_len);
    }
    if (r->used) {
        fwrite(r->line, 1, r->used, stderr);
    }
    r->used = 0;
    r->midway = !complete;
}

static void relay_bytes(relay *r, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        r->line[r->used++] = bytes[i];
        if (bytes[i] == '\n' || r->used == sizeof r->line) {
            pass_on(r, bytes[i] == '\n');
        }
    }
}

/* One read. False at the end. */
static bool relay_read(relay *r, int fd, size_t *total) {
    char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n > 0) {
        relay_bytes(r, bytes, (size_t)n);
        *total += (size_t)n;
        return true;
    }
    return n < 0 && errno == EINTR;
}

/* What it had said when it ended. Whom it left behind may go on talking: nobody listens then. */
static void relay_rest(relay *r, int fd) {
    size_t total = 0;
    while (total < LEFT_MAX && relay_read(r, fd, &total)) {
    }
    if (r->used) {
        relay_bytes(r, "\n", 1);
    }
}

/* ---- The process ----------------------------------------------------------------------------- */

/* A file in memory with these bytes, at its beginning; -1 with errno. */
static int value_file(seg_bytes value) {
    int fd = memfd_create("segmenter-message", MFD_CLOEXEC);
    if (fd >= 0 && fd < FD_MIN) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
        close(fd);
        fd = moved;
    }
    const char *at = value.data;
    size_t left = value.len;
    while (fd >= 0 && left > 0) {
        ssize_t n = write(fd, at, left);
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            int error = n == 0 ? ENOSPC : errno;
            close(fd);
            errno = error;
            return -1;
        }
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

static int time_left(int64_t deadline_us) {
    if (deadline_us == 0) {
        return -1;
    }
    int64_t left = (deadline_us - cli_now_us() + 999) / 1000;
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Pass its stderr on until it has ended: true; or the time is over: false. The end of its stderr is
 * not its own: it may close that, or leave it to others. */
static bool follow(const cli_process *p, relay *r, int64_t deadline_us) {
    struct pollfd fds[] = {{.fd = p->err, .events = POLLIN}, {.fd = p->alive, .events = POLLIN}};
    size_t total = 0;
    for (;;) {
        int wait = time_left(deadline_us);
        if (p->alive < 0 && (wait < 0 || wait > TICK_MS)) {
            wait = TICK_MS;
        }
        poll(fds, CLI_COUNT(fds), wait);
        if (cli_process_ended(p)) {
            relay_rest(r, p->err);
            return true;
        }
        if (fds[0].revents && !relay_read(r, p->err, &total)) {
            fds[0].fd = -1;
        }
        if (deadline_us && cli_now_us() >= deadline_us) {
            return false;
        }
    }
}

static void explain(cli_outcome *out, const char *what, const relay *r) {
    char said[LAST_MAX + 1];
    cli_text_clean(said, sizeof said, (seg_bytes){r->last, r->last_len});
    snprintf(out->reason, sizeof out->reason, "%.50s%s%.200s", what, said[0] ? ": " : "", said);
}

static void judge(cli_outcome *out, int status, const relay *r) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        out->verdict = SEG_ACK;
        return;
    }
    char what[32];
    cli_process_tell(what, status);
    bool hopeless = WIFEXITED(status) && WEXITSTATUS(status) == REJECT_CODE;
    out->verdict = hopeless ? SEG_REJECT : SEG_RETRY;
    explain(out, what, r);
}

static int start(cli_process *p, const cli_exec *e, const seg_message *m) {
    int fd = value_file(seg_message_value(m));
    if (fd < 0) {
        return errno;
    }
    cli_env env;
    cli_env_init(&env, e->origin, m);
    cli_process_plan plan = {e->command, env.vars, fd, false, true};
    int error = cli_process_start(p, &plan);
    cli_env_fini(&env);
    close(fd);
    return error;
}

void cli_exec_message(const cli_exec *e, const seg_message *m, cli_outcome *out) {
    *out = (cli_outcome){.verdict = SEG_RETRY};
    cli_process p;
    int error = start(&p, e, m);
    if (error) {
        snprintf(out->reason, sizeof out->reason, "cannot start the command: %s", strerror(error));
        return;
    }
    relay *r = cli_alloc(1, sizeof *r);
    bool in_time = follow(&p, r, e->timeout ? cli_now_us() + e->timeout * 1000 : 0);
    if (!in_time) {
        cli_process_kill(&p);
        relay_rest(r, p.err);
    }
    int status = cli_process_finish(&p);
    if (in_time) {
        judge(out, status, r);
    } else {
        char limit[24], what[64];
        cli_duration_print(limit, e->timeout);
        snprintf(what, sizeof what, "no end within %s", limit);
        explain(out, what, r);
    }
    free(r);
}
