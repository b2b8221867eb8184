/* private.h - a private Redis or Valkey server on a unix socket, for trying things. */
#ifndef SEGMENTER_CLI_PRIVATE_H
#define SEGMENTER_CLI_PRIVATE_H
#include <stdbool.h>
#include <sys/types.h>

typedef struct cli_private {
    char *dir;
    char *socket;
    char *url; /* "unix:///.../redis.sock" */
    char *program;
    bool temporary; /* the directory goes with the server */
    int lock_fd;
    pid_t pid; /* -1 where it does not run */
} cli_private;

/* Start a server without a TCP port and wait until it answers. `dir` NULL: a new directory, nothing
 * is saved. Otherwise `dir` is made where it is missing, and keeps the data. `program` NULL: the
 * redis-server, else the valkey-server, that is found in PATH. Returns an exit code. */
int cli_private_start(cli_private *s, const char *dir, const char *program);

/* End it and remove a temporary directory. Fine on what was never started. */
void cli_private_stop(cli_private *s);

#endif
