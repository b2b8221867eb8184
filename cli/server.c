/* server.c - segmenter server: a private server in the foreground. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "private.h"
#include "signals.h"

enum { LOOK_EVERY_MS = 200 };

typedef struct server_opts {
    const char *dir;
    const char *program;
    bool detach;
} server_opts;

static const cli_opt table[] = {
    {.name = "dir",
     .type = CLI_TEXT,
     .arg = "DIR",
     .at = offsetof(server_opts, dir),
     .text = "keep the data in DIR, with its append-only file (default: a new directory, removed "
             "at the end)"},
    {.name = "detach",
     .type = CLI_FLAG,
     .at = offsetof(server_opts, detach),
     .text =
         "go on in the background once the server answers; 'kill $(cat DIR/pid)' ends it. Needs "
         "--dir"},
    {.name = "program",
     .type = CLI_TEXT,
     .arg = "PROGRAM",
     .at = offsetof(server_opts, program),
     .env = "SEGMENTER_SERVER",
     .text = "the server to run; without it redis-server, else valkey-server, from PATH"},
};

/* Until a signal came, or the server ended by itself. */
static int wait_end(cli_private *s) {
    int status;
    while (!cli_signal_caught()) {
        if (cli_child_ended(s->pid, &status)) {
            s->pid = -1;
            return WIFSIGNALED(status)
                       ? cli_failure("the server was ended by signal %d", WTERMSIG(status))
                       : cli_failure("the server ended with exit code %d", WEXITSTATUS(status));
        }
        cli_pause(LOOK_EVERY_MS);
    }
    return CLI_OK;
}

static int write_pid(const char *dir) {
    char *path = cli_format("%s/pid", dir);
    FILE *file = fopen(path, "we");
    int code = CLI_OK;
    if (!file || fprintf(file, "%ld\n", (long)getpid()) < 0 || fclose(file) != 0) {
        code = cli_failure("cannot write '%s': %s", path, strerror(errno));
    }
    free(path);
    return code;
}

/* Whoever waits for the URL waits for the end of our output. */
static void leave_the_terminal(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null >= 0; fd++) {
        dup2(null, fd);
    }
    if (null > 2) {
        close(null);
    }
}

static int serve(const server_opts *o) {
    cli_private server;
    cli_signals_catch();
    int code = cli_private_start(&server, o->dir, o->program);
    if (code == CLI_OK && o->detach) {
        code = write_pid(server.dir);
    }
    if (code == CLI_OK) {
        puts(server.url);
        code = cli_flush_stdout() ? CLI_OK : CLI_FAILURE;
    }
    if (code == CLI_OK && o->detach) {
        leave_the_terminal();
    }
    if (code == CLI_OK) {
        code = wait_end(&server);
    }
    cli_private_stop(&server);
    return code;
}

/* The parent of the server in the background: hands its URL on, or what it ended with. */
static int hand_on(pid_t pid, int from) {
    char text[4096];
    size_t used = 0;
    ssize_t n;
    while (used < sizeof text && (n = read(from, text + used, sizeof text - used)) > 0) {
        used += (size_t)n;
    }
    close(from);
    if (used > 0) {
        fwrite(text, 1, used, stdout);
        return CLI_OK;
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILURE;
}

static int detach(const server_opts *o) {
    int ends[2];
    if (!o->dir) {
        return cli_usage("--detach needs --dir DIR: what ends the server is kept there");
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return cli_failure("cannot open a pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid < 0) {
        return cli_failure("cannot start a process: %s", strerror(errno));
    }
    if (pid > 0) {
        close(ends[1]);
        return hand_on(pid, ends[0]);
    }
    setsid();
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    return serve(o);
}

static int run_server(const cli_run *run) {
    const server_opts *o = run->opts;
    return o->detach ? detach(o) : serve(o);
}

const cli_command cli_server_command = {
    .name = "server",
    .args = "",
    .brief = "Run a private server for trying things",
    .about = "Start a Redis or Valkey server on a unix socket, without a TCP port, print its URL "
             "when it answers, and run until SIGINT or SIGTERM, or with --detach go on in the "
             "background:\n"
             "  export SEGMENTER_URL=$(segmenter server --dir ./try --detach)\n"
             "  ...\n"
             "  kill $(cat ./try/pid)\n"
             "The server ends with this command, however that ends.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(server_opts),
    .run = run_server,
};
