/* private.c - see private.h. It speaks to the server by hand, since all it says is PING. */
#include "private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "signals.h"
#include "url.h"

enum { START_MS = 20000, LOADING_MS = 600000, STOP_MS = 10000, ASK_EVERY_MS = 10 };

static const char socket_name[] = "redis.sock";
static const char log_name[] = "server.log";

/* ---- Finding the program --------------------------------------------------------------------- */

static char *find_in_path(const char *name) {
    const char *path = getenv("PATH");
    for (const char *p = path; p && *p;) {
        size_t len = strcspn(p, ":");
        char *file = cli_format("%.*s/%s", (int)len, p, name);
        if (access(file, X_OK) == 0) {
            return file;
        }
        free(file);
        p += len + (p[len] == ':');
    }
    return NULL;
}

static char *find_program(const char *program) {
    if (program) {
        return strchr(program, '/') ? cli_format("%s", program) : find_in_path(program);
    }
    char *found = find_in_path("redis-server");
    return found ? found : find_in_path("valkey-server");
}

/* ---- The directory --------------------------------------------------------------------------- */

/* What a server leaves in its directory is at most one level of directories deep. */
static void remove_files(int dir_fd, int depth) {
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        close(dir_fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            continue;
        }
        if (unlinkat(dirfd(dir), name, 0) == 0 || depth == 0) {
            continue;
        }
        int fd = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            remove_files(fd, depth - 1);
            unlinkat(dirfd(dir), name, AT_REMOVEDIR);
        }
    }
    closedir(dir);
}

static void remove_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        remove_files(fd, 1);
        rmdir(path);
    }
}

static int make_temporary(cli_private *s) {
    const char *base = getenv("TMPDIR");
    s->dir = cli_format("%s/segmenter.XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(s->dir)) {
        return cli_failure("cannot create the directory '%s': %s", s->dir, strerror(errno));
    }
    s->temporary = true;
    return CLI_OK;
}

/* Two servers in one directory would take each other's socket away and mix their files. */
static int lock_dir(cli_private *s) {
    char *path = cli_format("%s/lock", s->dir);
    /* Not O_CLOEXEC: the server holds the lock too, and writes its last after our death. */
    s->lock_fd = open(path, O_RDWR | O_CREAT, 0600);
    int code = CLI_OK;
    if (s->lock_fd < 0) {
        code = cli_failure("cannot create '%s': %s", path, strerror(errno));
    } else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        cli_note("a server is running in '%s' already", s->dir);
        code = CLI_CONFLICT;
    }
    free(path);
    return code;
}

static int open_dir(cli_private *s, const char *dir) {
    if (!dir) {
        return make_temporary(s);
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return cli_failure("cannot create the directory '%s': %s", dir, strerror(errno));
    }
    s->dir = realpath(dir, NULL);
    if (!s->dir) {
        return cli_failure("cannot use the directory '%s': %s", dir, strerror(errno));
    }
    return lock_dir(s);
}

/* ---- The socket ------------------------------------------------------------------------------ */

/* What of a path stands in a URL as it is. */
static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-~+";

static int name_socket(cli_private *s) {
    struct sockaddr_un address;
    s->socket = cli_format("%s/%s", s->dir, socket_name);
    char *path = cli_url_encode(s->socket, plain);
    s->url = cli_format("unix://%s", path);
    free(path);
    if (strlen(s->socket) >= sizeof address.sun_path) {
        return cli_failure("the socket's path '%s' has %zu bytes; a unix socket allows %zu: use a "
                           "shorter directory",
                           s->socket, strlen(s->socket), sizeof address.sun_path - 1);
    }
    return CLI_OK;
}

typedef enum answer { ANSWER_NONE, ANSWER_LOADING, ANSWER_READY } answer;

static answer ping(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    answer result = ANSWER_NONE;
    char text[64] = "";
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, 1000) == 1 && read(fd, text, sizeof text - 1) > 0) {
            result = strncmp(text, "+PONG", 5) == 0      ? ANSWER_READY
                     : strncmp(text, "-LOADING", 8) == 0 ? ANSWER_LOADING
                                                         : ANSWER_NONE;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

/* ---- The process ----------------------------------------------------------------------------- */

/* The last line of the server's log: there it says why it did not start. */
static char *last_log_line(const cli_private *s) {
    char *path = cli_format("%s/%s", s->dir, log_name);
    FILE *file = fopen(path, "re");
    free(path);
    char line[512], last[512] = "its log is empty";
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0]) {
            memcpy(last, line, sizeof last);
        }
    }
    if (file) {
        fclose(file);
    }
    return cli_format("%s", last);
}

static int spawn(cli_private *s) {
    const char *keep = s->temporary ? "no" : "yes";
    const char *argv[] = {s->program,         "--port",      "0",     "--unixsocket", s->socket,
                          "--unixsocketperm", "700",         "--dir", s->dir,         "--logfile",
                          log_name,           "--daemonize", "no",    "--save",       "",
                          "--appendonly",     keep,          NULL};
    /* execv() does not change its arguments; its type is older than const. */
    char *copy[CLI_COUNT(argv)];
    memcpy(copy, argv, sizeof copy);
    /* SIGTERM lets a server that keeps data write the rest of it. */
    s->pid = cli_child_start(s->program, copy, -1, s->temporary ? SIGKILL : SIGTERM);
    if (s->pid < 0) {
        return cli_failure("cannot start '%s': %s", s->program, strerror(errno));
    }
    return CLI_OK;
}

static int await(cli_private *s) {
    int64_t deadline = cli_now_us() + START_MS * INT64_C(1000);
    for (;;) {
        answer a = ping(s->socket);
        if (a == ANSWER_READY) {
            return CLI_OK;
        }
        if (a == ANSWER_LOADING) {
            deadline = cli_now_us() + LOADING_MS * INT64_C(1000);
        }
        int status;
        if (cli_child_ended(s->pid, &status)) {
            s->pid = -1;
            char *why = last_log_line(s);
            cli_failure("'%s' ended at once: %s", s->program, why);
            free(why);
            return CLI_FAILURE;
        }
        if (cli_signal_caught()) {
            return cli_failure("interrupted");
        }
        if (cli_now_us() >= deadline) {
            return cli_failure("'%s' does not answer on '%s'", s->program, s->socket);
        }
        cli_pause(ASK_EVERY_MS);
    }
}

static int start(cli_private *s, const char *dir, const char *program) {
    s->program = find_program(program);
    if (!s->program) {
        return cli_failure("found no %s in PATH; install redis-server or valkey-server",
                           program ? program : "redis-server or valkey-server");
    }
    int code = open_dir(s, dir);
    if (code == CLI_OK) {
        code = name_socket(s);
    }
    if (code == CLI_OK) {
        code = spawn(s);
    }
    return code == CLI_OK ? await(s) : code;
}

int cli_private_start(cli_private *s, const char *dir, const char *program) {
    *s = (cli_private){.pid = -1, .lock_fd = -1};
    int code = start(s, dir, program);
    if (code != CLI_OK) {
        cli_private_stop(s);
    }
    return code;
}

void cli_private_stop(cli_private *s) {
    if (s->pid > 0) {
        cli_child_stop(s->pid, STOP_MS);
        s->pid = -1;
    }
    if (s->temporary) {
        remove_dir(s->dir);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    free(s->dir);
    free(s->socket);
    free(s->url);
    free(s->program);
    *s = (cli_private){.pid = -1, .lock_fd = -1};
}
