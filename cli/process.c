/* process.c - see process.h.
 *
 * The pids of what runs are kept in a list under a lock. A pid is in it from before anybody can know
 * of the process until after it ended, but leaves it before it is reaped: as long as it is in the
 * list the number is not given to another process, and a kill hits what it means. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t *running;
static size_t n_running, capacity;
static bool killed;

static void forget(pid_t pid) {
    for (size_t i = 0; i < n_running; i++) {
        if (running[i] == pid) {
            running[i] = running[--n_running];
            break;
        }
    }
    if (n_running == 0) {
        free(running);
        running = NULL;
        capacity = 0;
    }
}

void cli_processes_kill(void) {
    pthread_mutex_lock(&lock);
    killed = true;
    for (size_t i = 0; i < n_running; i++) {
        kill(-running[i], SIGKILL);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static void close_end(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Where the command was started with stdin, stdout or stderr closed, a pipe could get their numbers,
 * and would be overwritten while the child's are put in place. */
static bool move_up(int *fd) {
    if (*fd > STDERR_FILENO) {
        return true;
    }
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    close(*fd);
    *fd = moved;
    errno = error;
    return moved >= 0;
}

static bool open_pipe(int *read_end, int *write_end, int *ours) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return move_up(read_end) && move_up(write_end) && fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

static int spawn_shell(pid_t *pid, const cli_process_plan *plan, int in, int out, int err) {
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)plan->command, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int error = posix_spawn_file_actions_init(&files);
    if (error) {
        return error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&files);
        return error;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    error = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    if (!error && out >= 0) {
        error = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    }
    if (!error && err >= 0) {
        error = posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    }
    if (!error) {
        error = posix_spawn(pid, "/bin/sh", &files, &attributes, argv, plan->env);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

/* A signal that asks us to end at once finds the process in the list, or keeps it from starting:
 * never in between. */
static int spawn_listed(cli_process *p, const cli_process_plan *plan, int in, int out, int err) {
    pthread_mutex_lock(&lock);
    int error = killed ? ECANCELED : 0;
    if (!error && n_running == capacity) {
        capacity = capacity ? 2 * capacity : 16;
        running = cli_grow(running, capacity, sizeof *running);
    }
    if (!error) {
        error = spawn_shell(&p->pid, plan, in, out, err);
    }
    if (!error) {
        running[n_running++] = p->pid;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int open_alive(pid_t pid) {
#if defined(SYS_pidfd_open)
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    return -1;
#endif
}

int cli_process_start(cli_process *p, const cli_process_plan *plan) {
    *p = (cli_process){.alive = -1, .in = -1, .out = -1, .err = -1};
    int in = -1, out = -1, err = -1;
    bool ok = plan->stdin_fd >= 0 || open_pipe(&in, &p->in, &p->in);
    ok = ok && (!plan->capture_out || open_pipe(&p->out, &out, &p->out));
    ok = ok && (!plan->capture_err || open_pipe(&p->err, &err, &p->err));
    int error = ok ? 0 : errno;
    if (ok) {
        error = spawn_listed(p, plan, plan->stdin_fd >= 0 ? plan->stdin_fd : in, out, err);
    }
    close_end(&in);
    close_end(&out);
    close_end(&err);
    if (error) {
        close_end(&p->in);
        close_end(&p->out);
        close_end(&p->err);
        p->pid = 0;
    } else {
        p->alive = open_alive(p->pid);
    }
    return error;
}

/* ---- Ending ---------------------------------------------------------------------------------- */

/* WNOWAIT: whoever ended stays as he is, and in the list. */
static bool look(pid_t pid, int flags) {
    siginfo_t info;
    int failed;
    do {
        info.si_pid = 0;
        failed = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | flags);
    } while (failed && errno == EINTR);
    return failed || info.si_pid == pid;
}

bool cli_process_ended(const cli_process *p) {
    return look(p->pid, WNOHANG);
}

void cli_process_kill(const cli_process *p) {
    kill(-p->pid, SIGKILL);
}

void cli_process_close_in(cli_process *p) {
    close_end(&p->in);
}

int cli_process_finish(cli_process *p) {
    int status;
    close_end(&p->in);
    close_end(&p->out);
    close_end(&p->err);
    close_end(&p->alive);
    look(p->pid, 0);
    pthread_mutex_lock(&lock);
    forget(p->pid);
    if (waitpid(p->pid, &status, 0) != p->pid) {
        status = SIGKILL; /* whatever became of it: not taken for a success */
    }
    pthread_mutex_unlock(&lock);
    p->pid = 0;
    return status;
}

void cli_process_tell(char out[32], int status) {
    if (WIFSIGNALED(status)) {
        snprintf(out, 32, "killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(out, 32, "exit code %d", WEXITSTATUS(status));
    }
}
