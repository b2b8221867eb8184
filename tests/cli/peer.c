/* peer.c - what the command's own tests need on the other side, and a shell cannot be.
 *
 *     peer http HOST:PORT METHOD PATH [ACCEPT]   one request; prints the answer with its head
 *     peer slow HOST:PORT N                      N clients, each a byte of its request every second;
 *                                                prints "ready" when all are connected, and ends
 *                                                when all were cut off
 *     peer notify PATH|@NAME                     a service manager's socket: prints each line that comes
 *     peer redis SOCKET WORD...                  one command to a server on a unix socket
 *     peer groups URL NAMESPACE STREAM N         creates the groups g0 .. g(N-1) at the stream's start
 *
 * notify runs until it is killed. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <segmenter/segmenter.h>

enum { CLIENTS_MAX = 1024, HTTP_SECONDS = 60 };

static int fail(const char *what) {
    fprintf(stderr, "peer: ");
    perror(what);
    return 1;
}

static int dial(const char *address) {
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) {
        return -1;
    }
    bool brackets = address[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * brackets, address + brackets);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list;
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0) {
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

static bool send_all(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static int print_all(int fd) {
    char bytes[65536];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        fwrite(bytes, 1, (size_t)n, stdout);
    }
    return n < 0 ? fail("read") : 0;
}

static int http(char **args, int n) {
    static char request[65536];
    int fd = dial(args[0]);
    if (fd < 0) {
        return fail(args[0]);
    }
    alarm(HTTP_SECONDS); /* a server that hangs is a failed test, not a hanging one */
    int len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", args[1],
                       args[2], args[0], n > 3 ? "Accept: " : "", n > 3 ? args[3] : "",
                       n > 3 ? "\r\n" : "");
    if (len < 0 || (size_t)len >= sizeof request) {
        return 1;
    }
    return send_all(fd, request, (size_t)len) ? print_all(fd) : fail("send");
}

/* Did the other side end it? */
static bool is_cut(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static int slow(char **args) {
    static const char request[] = "GET /metrics HTTP/1.1\r\nX-Slow: ";
    struct pollfd none = {.fd = -1};
    int fds[CLIENTS_MAX];
    int n = atoi(args[1]), left = 1;
    for (int i = 0; i < n && i < CLIENTS_MAX; i++) {
        fds[i] = dial(args[0]);
        if (fds[i] < 0) {
            return fail(args[0]);
        }
    }
    puts("ready");
    fflush(stdout);
    for (size_t at = 0; left > 0; at++) {
        left = 0;
        for (int i = 0; i < n; i++) {
            char byte = at < sizeof request - 1 ? request[at] : 'x';
            send(fds[i], &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            left += !is_cut(fds[i]);
        }
        poll(&none, 1, 1000);
    }
    return 0;
}

static int notify(char **args) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(args[0]);
    if (len >= sizeof address.sun_path) {
        return 1;
    }
    memcpy(address.sun_path, args[0], len);
    bool file = args[0][0] != '@';
    if (!file) {
        address.sun_path[0] = '\0';
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + file);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0) {
        return fail(args[0]);
    }
    puts("listening");
    for (;;) {
        char text[4096];
        fflush(stdout);
        ssize_t n = recv(fd, text, sizeof text, 0);
        if (n >= 0) {
            printf("%.*s\n", (int)n, text);
        }
    }
}

static int redis(char **args, int n) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", args[0]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        return fail(args[0]);
    }
    char head[64];
    bool sent = send_all(fd, head, (size_t)snprintf(head, sizeof head, "*%d\r\n", n - 1));
    for (int i = 1; i < n && sent; i++) {
        size_t len = (size_t)snprintf(head, sizeof head, "$%zu\r\n", strlen(args[i]));
        sent = send_all(fd, head, len) && send_all(fd, args[i], strlen(args[i])) &&
               send_all(fd, "\r\n", 2);
    }
    shutdown(fd, SHUT_WR);
    return sent ? print_all(fd) : fail("send");
}

static int groups(char **args) {
    seg_client_options opts;
    seg_client *client;
    seg_error err;
    SEG_INIT(&opts);
    opts.url = args[0];
    opts.name_space = args[1];
    seg_status status = seg_client_open(&client, &opts, &err);
    int n = atoi(args[3]);
    for (int i = 0; i < n && status == SEG_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "g%d", i);
        seg_seek_options seek;
        seg_seek_plan *plan;
        SEG_INIT(&seek);
        seek.to = SEG_SEEK_START;
        seek.execute = true;
        status = seg_group_seek(&plan, client, args[2], name, &seek, &err);
        if (status == SEG_OK) {
            seg_seek_plan_free(plan);
        }
    }
    if (status != SEG_OK) {
        fprintf(stderr, "peer: %s\n", err.text);
        return 1;
    }
    seg_client_close(client);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    char **args = argv + 2;
    int n = argc - 2;
    if (strcmp(what, "http") == 0 && n >= 3) {
        return http(args, n);
    }
    if (strcmp(what, "slow") == 0 && n == 2) {
        return slow(args);
    }
    if (strcmp(what, "notify") == 0 && n == 1) {
        return notify(args);
    }
    if (strcmp(what, "redis") == 0 && n >= 2) {
        return redis(args, n);
    }
    if (strcmp(what, "groups") == 0 && n == 4) {
        return groups(args);
    }
    fputs("usage: peer http|slow|notify|redis|groups ...\n", stderr);
    return 2;
}
