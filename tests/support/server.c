/* server.c - see server.h. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { MAX_ARGS = 64, START_MS = 20000, STOP_MS = 10000, COMMAND_S = 20, PORT_TRIES = 10 };

struct server {
    char dir[64], socket[80], url[96], port_text[8];
    char *argv[MAX_ARGS]; /* own copies */
    int port;
    bool valkey;
    bool answers; /* ready means that PING is answered, not only that it listens */
    pid_t pid;
    redisContext *connection; /* NULL: none yet, or broken */
};

/* ---- The process ---------------------------------------------------------------------------- */

/* Is `name` an executable file in PATH? */
static bool in_path(const char *name) {
    const char *path = getenv("PATH");
    char file[512];
    while (path && *path) {
        size_t len = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)len, path, name);
        if (access(file, X_OK) == 0) {
            return true;
        }
        path += len + (path[len] == ':');
    }
    return false;
}

static const char *find_binary(void) {
    const char *given = getenv("SEGMENTER_TEST_SERVER");
    if (given && *given) {
        return given;
    }
    if (in_path("redis-server")) {
        return "redis-server";
    }
    if (in_path("valkey-server")) {
        return "valkey-server";
    }
    FAIL("neither redis-server nor valkey-server is in PATH, and SEGMENTER_TEST_SERVER is not set");
}

/* In the child, between fork and exec of a process that may have threads: system calls only. */
_Noreturn static void exec_server(const server *s, pid_t parent, int log) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (getppid() == parent && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0) {
        execvp(s->argv[0], s->argv);
    }
    static const char text[] = "cannot run the server's binary\n";
    (void)!write(log, text, sizeof text - 1);
    _exit(127);
}

static void spawn(server *s) {
    char path[96];
    snprintf(path, sizeof path, "%s/server.log", s->dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(log >= 0);
    unlink(s->socket); /* a killed server leaves it, and a connect to it is refused */
    pid_t parent = getpid();
    s->pid = fork();
    CHECK(s->pid >= 0);
    if (s->pid == 0) {
        exec_server(s, parent, log);
    }
    close(log);
}

/* Has it ended by itself? Then it is reaped. */
static bool ended(server *s) {
    if (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == s->pid) {
        s->pid = 0;
    }
    return s->pid == 0;
}

static void hang_up(server *s) {
    if (s->connection) {
        redisFree(s->connection);
        s->connection = NULL;
    }
}

static redisContext *try_connect(const server *s) {
    struct timeval limit = {COMMAND_S, 0};
    redisContext *c = redisConnectUnixWithTimeout(s->socket, limit);
    if (c && c->err) {
        redisFree(c);
        c = NULL;
    }
    if (c) {
        redisSetTimeout(c, limit);
    }
    return c;
}

static bool ready(server *s) {
    if (!s->connection) {
        s->connection = try_connect(s);
    }
    if (!s->connection || !s->answers) {
        return s->connection != NULL;
    }
    redisReply *r = redisCommand(s->connection, "PING");
    bool pong = r && r->type == REDIS_REPLY_STATUS && strcmp(r->str, "PONG") == 0;
    if (r) {
        freeReplyObject(r); /* "-LOADING ..." while it reads its data: not yet */
    } else {
        hang_up(s);
    }
    return pong;
}

/* True when it is up, false when it has ended instead. */
static bool wait_ready(server *s) {
    struct test_wait w = test_wait_start(START_MS);
    while (!ready(s)) {
        if (ended(s)) {
            return false;
        }
        if (!test_wait_more(&w)) {
            FAIL("\"%s\" is not ready after %d ms", s->argv[0], START_MS);
        }
    }
    return true;
}

/* A port that was free a moment ago. Somebody may take it before the server does: then that ends at
 * once, and the caller tries another. */
static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void set_port(server *s, int port) {
    s->port = port;
    snprintf(s->port_text, sizeof s->port_text, "%d", port);
    if (port > 0) {
        snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d", port);
    } else {
        snprintf(s->url, sizeof s->url, "unix://%s", s->socket);
    }
}

static char *copy(const char *text) {
    char *c = strdup(text);
    CHECK(c != NULL);
    return c;
}

static void set_arguments(server *s, const char *const extra[]) {
    const char *const defaults[] = {
        find_binary(), "--unixsocket", s->socket, "--dir",
        s->dir,        "--save",       "",        "--appendonly",
        "no",          "--daemonize",  "no",      "--bind",
        "127.0.0.1",   "--databases",  "16",      "--port",
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        s->argv[n++] = copy(defaults[i]);
    }
    s->argv[n++] = s->port_text; /* not a copy: another port may be tried */
    for (size_t i = 0; extra && extra[i]; i++) {
        CHECK_LT(n, MAX_ARGS - 1);
        s->argv[n++] = copy(extra[i]);
    }
    s->argv[n] = NULL;
}

static server *start(const char *const extra[], bool tcp, bool answers) {
    static int count;
    server *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->answers = answers;
    snprintf(s->dir, sizeof s->dir, "%s/s%d", test_dir(), count++);
    snprintf(s->socket, sizeof s->socket, "%s/sock", s->dir);
    CHECK_EQ(mkdir(s->dir, 0700), 0);
    set_arguments(s, extra);
    s->valkey = strstr(s->argv[0], "valkey") != NULL;
    for (int i = 0; i < PORT_TRIES; i++) {
        set_port(s, tcp ? free_port() : 0);
        spawn(s);
        if (wait_ready(s)) {
            return s;
        }
        if (!tcp) {
            break;
        }
    }
    FAIL("\"%s\" ended instead of getting ready: see %s/server.log", s->argv[0], s->dir);
}

server *server_start(const char *const extra_args[]) {
    return start(extra_args, false, true);
}

server *server_start_tcp(const char *const extra_args[]) {
    return start(extra_args, true, true);
}

server *server_start_unready(const char *const extra_args[]) {
    return start(extra_args, false, false);
}

/* ---- Ending and disturbing it --------------------------------------------------------------- */

static void end_with(server *s, int signal_number) {
    if (ended(s)) {
        return;
    }
    hang_up(s);
    kill(s->pid, SIGCONT); /* a stopped process sleeps through SIGTERM */
    kill(s->pid, signal_number);
    struct test_wait w = test_wait_start(STOP_MS);
    while (!ended(s)) {
        if (!test_wait_more(&w)) {
            FAIL("process %d does not end on signal %d", (int)s->pid, signal_number);
        }
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path), 0;
}

void server_stop(server *s) {
    if (!s) {
        return;
    }
    end_with(s, SIGKILL); /* nothing is saved: the directory goes too */
    hang_up(s);
    nftw(s->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (char **a = s->argv; *a; a++) {
        if (*a != s->port_text) {
            free(*a);
        }
    }
    free(s);
}

void server_kill9(server *s) {
    end_with(s, SIGKILL);
    hang_up(s);
}

void server_pause(server *s) {
    CHECK_EQ(kill(s->pid, SIGSTOP), 0);
    int status = 0;
    CHECK_EQ(waitpid(s->pid, &status, WUNTRACED), s->pid); /* it has stopped when this returns */
    CHECK(WIFSTOPPED(status));
}

void server_resume(server *s) {
    CHECK_EQ(kill(s->pid, SIGCONT), 0);
}

void server_restart(server *s) {
    end_with(s, SIGTERM);
    hang_up(s);
    struct test_wait w = test_wait_start(START_MS);
    do { /* again: its TCP port may be held for a moment by a connection that just ended */
        spawn(s);
        if (wait_ready(s)) {
            return;
        }
    } while (test_wait_more(&w));
    FAIL("\"%s\" does not start again: see %s/server.log", s->argv[0], s->dir);
}

/* ---- Questions ------------------------------------------------------------------------------ */

const char *server_url(const server *s) {
    return s->url;
}

const char *server_socket(const server *s) {
    return s->socket;
}

const char *server_dir(const server *s) {
    return s->dir;
}

int server_port(const server *s) {
    return s->port;
}

pid_t server_pid(const server *s) {
    return s->pid;
}

bool server_is_valkey(const server *s) {
    return s->valkey;
}

/* ---- Commands ------------------------------------------------------------------------------- */

redisContext *server_connect(const server *s) {
    redisContext *c = try_connect(s);
    if (!c) {
        FAIL("cannot connect to \"%s\": %s", s->socket, strerror(errno));
    }
    return c;
}

/* Sends a formatted command, which it frees; `what` is for the message. Does not send twice: the
 * server may have done it. */
static redisReply *exchange(server *s, char *command, int len, const char *what) {
    CHECK(len > 0);
    if (!s->connection) {
        s->connection = server_connect(s);
    }
    redisReply *r = NULL;
    redisAppendFormattedCommand(s->connection, command, (size_t)len);
    redisFreeCommand(command);
    if (redisGetReply(s->connection, (void **)&r) != REDIS_OK) {
        FAIL("no answer to \"%s\": %s", what, s->connection->errstr);
    }
    return r;
}

static redisReply *vcmd(server *s, const char *format, va_list args) {
    char *command = NULL;
    int len = redisvFormatCommand(&command, format, args);
    return exchange(s, command, len, format);
}

redisReply *server_cmd(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = vcmd(s, format, args);
    va_end(args);
    return r;
}

redisReply *server_cmd_argv(server *s, int argc, const char **argv, const size_t *lens) {
    char *command = NULL;
    long long len = redisFormatCommandArgv(&command, argc, argv, lens);
    return exchange(s, command, (int)len, argv[0]);
}

static redisReply *expect(redisReply *r, int type, int other_type, const char *format) {
    if (r->type == REDIS_REPLY_ERROR) {
        FAIL("\"%s\" answered the error \"%s\"", format, r->str);
    }
    if (type && r->type != type && r->type != other_type) {
        FAIL("\"%s\" answered type %d, expected %d", format, r->type, type);
    }
    return r;
}

void server_do(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    freeReplyObject(expect(vcmd(s, format, args), 0, 0, format));
    va_end(args);
}

long long server_int(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = expect(vcmd(s, format, args), REDIS_REPLY_INTEGER, 0, format);
    va_end(args);
    long long value = r->integer;
    freeReplyObject(r);
    return value;
}

char *server_str(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = vcmd(s, format, args);
    va_end(args);
    if (r->type != REDIS_REPLY_NIL) {
        expect(r, REDIS_REPLY_STRING, REDIS_REPLY_STATUS, format);
    }
    char *text = r->type == REDIS_REPLY_NIL ? NULL : copy(r->str);
    freeReplyObject(r);
    return text;
}

long long server_info(server *s, const char *field) {
    char *info = server_str(s, "INFO"), name[80];
    snprintf(name, sizeof name, "\n%s:", field);
    const char *at = strstr(info, name);
    if (!at) {
        FAIL("INFO has no field \"%s\"", field);
    }
    long long value = strtoll(at + strlen(name), NULL, 10);
    free(info);
    return value;
}
