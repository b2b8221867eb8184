/* child.h - processes that this command starts: they die with it and only it talks to them. */
#ifndef SEGMENTER_CLI_CHILD_H
#define SEGMENTER_CLI_CHILD_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Start `path` with `argv`, stdin empty, stdout `out_fd` (-1: empty too), stderr ours, in a process
 * group of its own: a Ctrl-C on the terminal reaches only us, and we end it in our order. When we
 * die it gets `death_signal`. Returns its pid, or -1 with errno, also where exec failed. */
pid_t cli_child_start(const char *path, char *const argv[], int out_fd, int death_signal);

/* True once it has ended; `status` as of waitpid(2). Does not wait. */
bool cli_child_ended(pid_t pid, int *status);

/* Send SIGTERM, after `patience_ms` SIGKILL, and wait for it. Returns its status. */
int cli_child_stop(pid_t pid, int64_t patience_ms);

/* Wait for it until `deadline_us`, then SIGKILL. Returns its status. */
int cli_child_reap(pid_t pid, int64_t deadline_us);

/* Sleep until a signal (a child that ended is one only where it is caught) or the time is over. */
void cli_pause(int64_t ms);

#endif
