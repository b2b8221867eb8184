/* runner.c - main(): picks the cases, runs each in a process of its own, reports.
 *
 *     runner ──fork──> case (leader of a process group) ──fork──> servers, commands
 *
 * The parent has one thread, so forking is safe under every sanitizer. A case that is over, in
 * whatever way, takes its process group and its directory with it; when the runner itself is
 * killed, PR_SET_PDEATHSIG ends the cases, and theirs the servers. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

enum { MAX_JOBS = 64, MAX_SHOWN = 64 * 1024, LOG_TAIL = 4096 };

struct test_surroundings test_surroundings;

static struct test_case *first_case, **last_case = &first_case;

void test_add(struct test_case *t) {
    *last_case = t;
    last_case = &t->next;
}

/* A case that runs. */
struct job {
    const struct test_case *test; /* NULL: the slot is free */
    pid_t pid;
    int output; /* a file with what it printed */
    int64_t started_ms, deadline_ms;
    bool timed_out;
    struct test_surroundings around;
};

static struct runner {
    int jobs;
    bool list, verbose, until_failure;
    int deadline_s; /* the longest that a case may have; 0: its own */
    char **filters;
    const char *only; /* one more, from the environment */
    struct job job[MAX_JOBS];
    int passed, failed;
} runner;

_Noreturn static void die(const char *what) {
    fprintf(stderr, "test runner: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- One case: start ------------------------------------------------------------------------ */

/* An anonymous file for the output; a plain one where the kernel has no memfd. */
static int output_file(void) {
    int fd = memfd_create("output", MFD_CLOEXEC);
    if (fd < 0) {
        char path[] = "/tmp/sg-output-XXXXXX";
        fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0) {
            die("a file for the output");
        }
        unlink(path);
    }
    return fd;
}

static uint64_t new_seed(void) {
    const char *given = getenv("SEGMENTER_TEST_SEED");
    if (given) {
        return strtoull(given, NULL, 10);
    }
    uint64_t seed = (uint64_t)time(NULL);
    if (getrandom(&seed, sizeof seed, 0) < 0) {
        seed ^= (uint64_t)getpid() << 32;
    }
    return seed;
}

_Noreturn static void run_child(const struct job *j, pid_t parent, const sigset_t *mask) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(TEST_EXIT_FAILED); /* it died before the line above */
    }
    int input = open("/dev/null", O_RDONLY);
    if (dup2(j->output, STDOUT_FILENO) < 0 || dup2(j->output, STDERR_FILENO) < 0 ||
        (input >= 0 && dup2(input, STDIN_FILENO) < 0)) {
        _exit(TEST_EXIT_FAILED);
    }
    if (input > STDERR_FILENO) {
        close(input);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    test_surroundings = j->around;
    j->test->fn();
    exit(0); /* with its handlers: this is where a leak is reported */
}

static void start(struct job *j, const struct test_case *t, const sigset_t *mask) {
    *j = (struct job){.test = t, .output = output_file(), .started_ms = test_now_ms()};
    int deadline_s = t->deadline_s;
    if (runner.deadline_s > 0 && runner.deadline_s < deadline_s) {
        deadline_s = runner.deadline_s;
    }
    j->deadline_ms = j->started_ms + (int64_t)deadline_s * (test_sanitized() ? 2000 : 1000);
    j->around.seed = new_seed();
    strcpy(j->around.dir, "/tmp/sgXXXXXX");
    if (!mkdtemp(j->around.dir)) {
        die("a directory for the case");
    }
    fflush(NULL);
    pid_t parent = getpid();
    j->pid = fork();
    if (j->pid < 0) {
        die("fork");
    }
    if (j->pid == 0) {
        run_child(j, parent, mask);
    }
    setpgid(j->pid, j->pid); /* in both: whoever comes first */
}

/* ---- One case: end -------------------------------------------------------------------------- */

/* The last `max` bytes of a file. */
static void show_tail(int fd, off_t max) {
    off_t size = lseek(fd, 0, SEEK_END), at = size > max ? size - max : 0;
    char buf[4096], last = '\n';
    ssize_t n;
    if (at > 0) {
        printf("... %lld bytes before\n", (long long)at);
    }
    while ((n = pread(fd, buf, sizeof buf, at)) > 0) {
        fwrite(buf, 1, (size_t)n, stdout);
        last = buf[n - 1];
        at += n;
    }
    if (last != '\n') {
        putchar('\n');
    }
}

static int show_log(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)ftw;
    size_t len = strlen(path);
    if (type != FTW_F || len < 4 || strcmp(path + len - 4, ".log") != 0) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        printf("--- %s\n", path);
        show_tail(fd, LOG_TAIL);
        close(fd);
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path), 0;
}

static void explain(const struct job *j, const siginfo_t *end) {
    printf("--- %s.%s: ", j->test->suite, j->test->name);
    if (j->timed_out) {
        printf("no end after %" PRId64 " ms\n", j->deadline_ms - j->started_ms);
    } else if (end->si_code == CLD_EXITED) {
        printf("exit status %d\n", end->si_status);
    } else {
        printf("killed by signal %d (%s)\n", end->si_status, strsignal(end->si_status));
    }
    show_tail(j->output, MAX_SHOWN);
    nftw(j->around.dir, show_log, 16, FTW_PHYS);
}

static void report(const struct job *j, const siginfo_t *end) {
    int64_t ms = test_now_ms() - j->started_ms;
    bool exited = end->si_code == CLD_EXITED && !j->timed_out;
    if (exited && end->si_status == TEST_EXIT_SKIPPED) {
        printf("skip %s.%s ", j->test->suite, j->test->name);
        show_tail(j->output, 200);
    } else if (exited && end->si_status == 0) {
        if (runner.verbose) {
            explain(j, end);
        }
        printf("ok %s.%s %" PRId64 "\n", j->test->suite, j->test->name, ms);
        runner.passed++;
    } else {
        explain(j, end);
        printf("not ok %s.%s\n", j->test->suite, j->test->name);
        runner.failed++;
    }
    fflush(stdout);
}

/* True when the case has ended and is reported. */
static bool reap(struct job *j) {
    siginfo_t end = {0};
    if (waitid(P_PID, (id_t)j->pid, &end, WEXITED | WNOHANG | WNOWAIT) < 0) {
        die("waitid");
    }
    if (end.si_pid == 0) {
        return false;
    }
    /* Not reaped yet, so that its id still is its process group's and nobody else's. */
    kill(-j->pid, SIGKILL);
    waitpid(j->pid, NULL, 0);
    int failed = runner.failed;
    report(j, &end);
    const char *keep = getenv("SEGMENTER_TEST_KEEP");
    if (runner.failed == failed || !keep || strcmp(keep, "1") != 0) {
        nftw(j->around.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    close(j->output);
    j->test = NULL;
    return true;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static bool selected(const struct test_case *t) {
    char name[256];
    snprintf(name, sizeof name, "%s.%s", t->suite, t->name);
    if (runner.only && !strstr(name, runner.only)) {
        return false;
    }
    for (char **f = runner.filters; *f; f++) {
        if (strstr(name, *f)) {
            return true;
        }
    }
    return !*runner.filters;
}

static const struct test_case *next_selected(const struct test_case *t) {
    while (t && !selected(t)) {
        t = t->next;
    }
    return t;
}

/* Sleep until a child ends or a deadline passes; past it, kill the case. */
static void wait_for_end(const sigset_t *sigchld) {
    int64_t now = test_now_ms(), until = now + 1000;
    for (int i = 0; i < runner.jobs; i++) {
        struct job *j = &runner.job[i];
        if (j->test && now >= j->deadline_ms && !j->timed_out) {
            j->timed_out = true;
            kill(-j->pid, SIGKILL);
        } else if (j->test && !j->timed_out && j->deadline_ms < until) {
            until = j->deadline_ms;
        }
    }
    int64_t ms = until > now ? until - now : 1;
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    sigtimedwait(sigchld, NULL, &pause);
}

/* With -x the first failure is the last result: what runs beside it says nothing more. */
static void stop_all(void) {
    for (int i = 0; i < runner.jobs; i++) {
        struct job *j = &runner.job[i];
        if (j->test) {
            kill(-j->pid, SIGKILL);
            waitpid(j->pid, NULL, 0);
            nftw(j->around.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
    }
}

static void run_all(void) {
    sigset_t sigchld, before;
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, &before);
    const struct test_case *next = next_selected(first_case);
    int running = 0;
    while (next || running > 0) {
        for (int i = 0; i < runner.jobs; i++) {
            struct job *j = &runner.job[i];
            if (j->test && reap(j)) {
                running--;
            }
            if (runner.until_failure && runner.failed > 0) {
                stop_all();
                return;
            }
            if (!j->test && next) {
                start(j, next, &before);
                next = next_selected(next->next);
                running++;
            }
        }
        if (running > 0) {
            wait_for_end(&sigchld);
        }
    }
}

static void list_all(void) {
    for (const struct test_case *t = next_selected(first_case); t; t = next_selected(t->next)) {
        printf("%s.%s\n", t->suite, t->name);
    }
}

static void parse(int argc, char **argv) {
    const char *jobs = getenv("SEGMENTER_TEST_JOBS");
    int option;
    while ((option = getopt(argc, argv, "lvxj:t:")) != -1) {
        switch (option) {
        case 'l':
            runner.list = true;
            break;
        case 'v':
            runner.verbose = true;
            break;
        case 'x':
            runner.until_failure = true;
            break;
        case 't':
            runner.deadline_s = atoi(optarg);
            break;
        case 'j':
            jobs = optarg;
            break;
        default:
            fprintf(stderr, "usage: %s [-l] [-v] [-x] [-j N] [-t S] [FILTER...]\n", argv[0]);
            exit(2);
        }
    }
    runner.filters = argv + optind;
    runner.only = getenv("SEGMENTER_TEST_FILTER");
    runner.jobs = jobs ? atoi(jobs) : 1;
    if (runner.jobs < 1 || runner.jobs > MAX_JOBS) {
        fprintf(stderr, "test runner: %d jobs, expected 1 to %d\n", runner.jobs, MAX_JOBS);
        exit(2);
    }
}

int main(int argc, char **argv) {
    parse(argc, argv);
    if (runner.list) {
        list_all();
        return 0;
    }
    run_all();
    printf("%d passed, %d failed\n", runner.passed, runner.failed);
    return runner.failed > 0;
}
