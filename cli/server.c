/* server.c - segmenter server: a private server in the foreground. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "child.h"
#include "cli.h"
#include "private.h"
#include "signals.h"

enum { LOOK_EVERY_MS = 200 };

typedef struct server_opts {
    const char *dir;
    const char *program;
} server_opts;

static const cli_opt table[] = {
    {.name = "dir",
     .type = CLI_TEXT,
     .arg = "DIR",
     .at = offsetof(server_opts, dir),
     .text = "keep the data in DIR, with its append-only file (default: a new directory, removed "
             "at the end)"},
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

static int run_server(const cli_run *run) {
    const server_opts *o = run->opts;
    cli_private server;
    cli_signals_catch();
    int code = cli_private_start(&server, o->dir, o->program);
    if (code != CLI_OK) {
        return code;
    }
    puts(server.url);
    code = cli_flush_stdout() ? wait_end(&server) : CLI_FAILURE;
    cli_private_stop(&server);
    return code;
}

const cli_command cli_server_command = {
    .name = "server",
    .args = "",
    .brief = "Run a private server for trying things",
    .about = "Start a Redis or Valkey server on a unix socket, without a TCP port, print its URL "
             "when it answers, and run until SIGINT or SIGTERM:\n"
             "  segmenter server --dir ./try &\n"
             "  export SEGMENTER_URL=unix://$PWD/try/redis.sock\n"
             "The server ends with this command, however that ends.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(server_opts),
    .run = run_server,
};
