/* process.h - commands that consume runs for its messages: each a shell in a process group of its
 * own, started and ended from any thread.
 *
 * A Ctrl-C on the terminal reaches only us, so that what runs can finish. The other end of that is
 * cli_processes_kill(): when we are to end at once, so are they. */
#ifndef SEGMENTER_CLI_PROCESS_H
#define SEGMENTER_CLI_PROCESS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct cli_process {
    pid_t pid; /* 0: none */
    int alive; /* becomes readable when it has ended; -1 where the system cannot tell */
    int in;    /* our ends of its stdin, stdout and stderr; -1: not ours, or closed */
    int out;
    int err;
} cli_process;

typedef struct cli_process_plan {
    const char *command; /* for /bin/sh -c */
    char *const *env;
    int stdin_fd;     /* its stdin; -1: a pipe, whose end is `in` */
    bool capture_out; /* its stdout is a pipe, whose end is `out`; otherwise ours */
    bool capture_err;
} cli_process_plan;

/* Start it. Our ends do not block. Returns 0 or an errno. ECANCELED: after cli_processes_kill(). */
int cli_process_start(cli_process *p, const cli_process_plan *plan);

/* Has it ended? Does not wait, and does not take its status. */
bool cli_process_ended(const cli_process *p);

/* End it and its process group. */
void cli_process_kill(const cli_process *p);

/* Wait for it, close our ends, and return its status as of waitpid(2). */
int cli_process_finish(cli_process *p);

void cli_process_close_in(cli_process *p);

/* "exit code 3", "killed by signal 9" */
void cli_process_tell(char out[32], int status);

/* Kill all that run, with their process groups; from now on none is started. */
void cli_processes_kill(void);

#endif
