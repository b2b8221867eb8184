/* crew.c - see crew.h. */
#include "crew.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { TAIL = 1500 };

/* Between fork and exec of a process that has threads: system calls only. */
_Noreturn static void become(const char *program, char **argv, char **env, int log, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execve(program, argv, env);
    _exit(127);
}

void crew_start(crew *c, crew_place *p) {
    extern char **environ;
    char *argv[CREW_ARGS + 4], name[80], dir[160], seed[64], log[512];
    unsigned n = 0;
    snprintf(p->process, sizeof p->process, "%s.%u", p->name, ++p->generation);
    snprintf(name, sizeof name, "name=%s", p->process);
    snprintf(dir, sizeof dir, "dir=%s", c->dir);
    snprintf(seed, sizeof seed, "seed=%" PRIu64, c->seed = c->seed * 69069 + 1);
    snprintf(log, sizeof log, "%s/%s.log", c->dir, p->process);
    argv[n++] = (char *)(uintptr_t)c->program;
    argv[n++] = name;
    argv[n++] = dir;
    argv[n++] = seed;
    for (unsigned i = 0; i < p->n_args; i++)
        argv[n++] = p->args[i];
    argv[n] = NULL;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    pid_t parent = getpid();
    p->struck = p->stopped = false;
    p->pid = fork();
    CHECK(p->pid >= 0);
    if (p->pid == 0)
        become(c->program, argv, environ, fd, parent);
    close(fd);
}

crew_place *crew_add(crew *c, crew_kind kind, const char *name, const char *const args[]) {
    CHECK_LT(c->n, CREW_MAX);
    crew_place *p = &c->places[c->n++];
    *p = (crew_place){.kind = kind};
    snprintf(p->name, sizeof p->name, "%s", name);
    for (; args[p->n_args] != NULL; p->n_args++) {
        CHECK_LT(p->n_args, CREW_ARGS - 4);
        snprintf(p->args[p->n_args], CREW_ARG, "%s", args[p->n_args]);
    }
    crew_start(c, p);
    return p;
}

/* ---- Ends ----------------------------------------------------------------------------------- */

static void show_tail(const crew *c, const crew_place *p) {
    char path[512], text[TAIL + 1];
    snprintf(path, sizeof path, "%s/%s.log", c->dir, p->process);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return;
    if (fseek(f, -TAIL, SEEK_END) != 0)
        rewind(f);
    size_t n = fread(text, 1, TAIL, f);
    text[n] = '\0';
    fclose(f);
    fprintf(stderr, "---- %s\n%s----\n", path, text);
}

/* It has ended: as it should? */
static int judge_end(crew *c, crew_place *p, int how) {
    int status = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    p->pid = 0;
    if (status == 0 || p->struck)
        return status;
    c->failed++;
    fprintf(stderr, "worker %s ended with %s %d\n", p->process,
            WIFEXITED(how) ? "status" : "signal", WIFEXITED(how) ? status : WTERMSIG(how));
    show_tail(c, p);
    return status;
}

static bool gone(crew *c, crew_place *p, int *status) {
    int how;
    if (p->pid == 0)
        return true;
    if (waitpid(p->pid, &how, WNOHANG) != p->pid)
        return false;
    *status = judge_end(c, p, how);
    return true;
}

int crew_wait(crew *c, crew_place *p, int64_t deadline_ms) {
    struct test_wait w = test_wait_start(deadline_ms);
    int status = -1;
    while (!gone(c, p, &status))
        if (!test_wait_more(&w)) {
            crew_kill(c, p);
            return -1;
        }
    return status;
}

void crew_kill(crew *c, crew_place *p) {
    int how;
    if (p->pid == 0)
        return;
    p->struck = true;
    kill(p->pid, SIGKILL);
    while (waitpid(p->pid, &how, 0) < 0 && errno == EINTR) {
    }
    judge_end(c, p, how);
}

void crew_stop(crew *c, crew_place *p) {
    (void)c;
    if (p->pid != 0 && kill(p->pid, SIGSTOP) == 0)
        p->stopped = true;
}

void crew_continue(crew *c, crew_place *p) {
    (void)c;
    if (p->pid != 0 && p->stopped)
        kill(p->pid, SIGCONT);
    p->stopped = false;
}

void crew_look(crew *c) {
    int status;
    for (unsigned i = 0; i < c->n; i++) {
        crew_place *p = &c->places[i];
        if (p->pid != 0 && gone(c, p, &status) && !p->guest)
            crew_start(c, p);
    }
}

bool crew_end(crew *c, unsigned kinds, int64_t deadline_ms) {
    struct test_wait w = test_wait_start(deadline_ms);
    bool all = true, more = true;
    int status;
    for (unsigned i = 0; i < c->n; i++) {
        crew_place *p = &c->places[i];
        crew_continue(c, p);
        if (p->pid != 0 && ((unsigned)p->kind & kinds) != 0)
            kill(p->pid, SIGTERM);
    }
    for (unsigned left = 1; left > 0 && more;) {
        left = 0;
        for (unsigned i = 0; i < c->n; i++)
            left += ((unsigned)c->places[i].kind & kinds) != 0 && !gone(c, &c->places[i], &status);
        more = left == 0 || test_wait_more(&w);
    }
    for (unsigned i = 0; i < c->n; i++) {
        crew_place *p = &c->places[i];
        if (p->pid == 0 || ((unsigned)p->kind & kinds) == 0)
            continue;
        fprintf(stderr, "worker %s did not end within %" PRId64 " ms\n", p->process, deadline_ms);
        show_tail(c, p);
        crew_kill(c, p);
        all = false;
    }
    return all;
}
