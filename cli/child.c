/* child.c - see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "signals.h"

typedef struct spawn {
    const char *path;
    char *const *argv;
    int null_fd;
    int out_fd;
    int report_fd;
    int death_signal;
    pid_t parent;
} spawn;

/* Runs in the child. Other threads may have held locks at the fork, so only async-signal-safe
 * calls are made here. */
__attribute__((noreturn)) static void child(const spawn *s) {
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++) {
        signal(sig, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, s->death_signal);
    /* A parent that died before prctl() sends nothing any more. */
    if (getppid() == s->parent && dup2(s->null_fd, STDIN_FILENO) >= 0 &&
        dup2(s->out_fd >= 0 ? s->out_fd : s->null_fd, STDOUT_FILENO) >= 0) {
        execv(s->path, s->argv);
    }
    int error = errno;
    ssize_t written = write(s->report_fd, &error, sizeof error);
    (void)written;
    _exit(127);
}

pid_t cli_child_start(const char *path, char *const argv[], int out_fd, int death_signal) {
    int report[2];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0) {
        return -1;
    }
    if (pipe2(report, O_CLOEXEC) != 0) {
        close(null_fd);
        return -1;
    }
    spawn s = {path, argv, null_fd, out_fd, report[1], death_signal, getpid()};
    pid_t pid = fork();
    if (pid == 0) {
        child(&s);
    }
    int error = errno;
    close(report[1]);
    close(null_fd);
    /* The pipe closes by itself at a successful exec; otherwise it says what went wrong. */
    if (pid > 0) {
        ssize_t n;
        do {
            n = read(report[0], &error, sizeof error);
        } while (n < 0 && errno == EINTR);
        if (n == (ssize_t)sizeof error) {
            waitpid(pid, NULL, 0);
            pid = -1;
        }
    }
    close(report[0]);
    errno = error;
    return pid;
}

bool cli_child_ended(pid_t pid, int *status) {
    return waitpid(pid, status, WNOHANG) == pid;
}

int cli_child_stop(pid_t pid, int64_t patience_ms) {
    kill(pid, SIGTERM);
    return cli_child_reap(pid, cli_now_us() + patience_ms * 1000);
}

int cli_child_reap(pid_t pid, int64_t deadline_us) {
    int status = 0;
    while (!cli_child_ended(pid, &status)) {
        if (cli_now_us() >= deadline_us) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        poll(NULL, 0, 5);
    }
    return status;
}

void cli_pause(int64_t ms) {
    struct pollfd fd = {.fd = cli_signal_fd(), .events = POLLIN};
    poll(&fd, 1, (int)ms);
}
