/* listen.c - see listen.h. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"

enum { HOST_MAX = 256, BACKLOG = 128, PORT_MAX = 65535 };

bool cli_listen_parse(const char *text, char *host, size_t cap, char port[8]) {
    const char *colon = strrchr(text, ':');
    int64_t number;
    if (!colon || !cli_number_parse(colon + 1, &number) || number > PORT_MAX) {
        return false;
    }
    const char *from = text;
    size_t len = (size_t)(colon - text);
    if (len > 0 && text[0] == '[') {
        if (len < 3 || text[len - 1] != ']') {
            return false;
        }
        from++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return false; /* which of its colons comes before the port, nobody knows */
    }
    if (len >= cap || memchr(from, '[', len) || memchr(from, ']', len)) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    snprintf(port, 8, "%d", (int)number);
    return true;
}

static bool is_loopback(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static void describe(cli_listen *l) {
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "?";
    getsockname(l->fd, (struct sockaddr *)&a, &len);
    l->loopback = is_loopback(&a);
    if (a.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&a;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(l->address, sizeof l->address, "%s:%d", host, ntohs(in->sin_port));
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(l->address, sizeof l->address, "[%s]:%d", host, ntohs(in6->sin6_port));
    }
}

/* A descriptor, or -1 with errno. For every address one socket of IPv6 takes IPv4 as well. */
static int open_one(const struct addrinfo *a, bool every) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (a->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){!every}, sizeof(int));
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* IPv6 first where it is to be every address, as it has both; without IPv6, IPv4 alone. */
static int open_any(const struct addrinfo *list, bool every) {
    int fd = -1, first_error = 0;
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
            bool now = every ? (a->ai_family == AF_INET6) == (pass == 0) : pass == 0;
            if (now && (fd = open_one(a, every)) < 0 && (!first_error || errno == EADDRINUSE)) {
                first_error = errno;
            }
        }
        if (first_error == EADDRINUSE) {
            break; /* half of the addresses is not what was asked for */
        }
    }
    errno = first_error;
    return fd;
}

int cli_listen_open(cli_listen *l, const char *text) {
    char host[HOST_MAX], port[8];
    if (!cli_listen_parse(text, host, sizeof host, port)) {
        return cli_usage("--listen takes HOST:PORT, [HOST]:PORT or :PORT, not '%s'", text);
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    int fault = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
    if (fault) {
        return cli_failure("cannot listen on '%s': %s", text,
                           fault == EAI_SYSTEM ? strerror(errno) : gai_strerror(fault));
    }
    l->fd = open_any(list, !host[0]);
    int error = errno;
    freeaddrinfo(list);
    if (l->fd < 0) {
        cli_failure("cannot listen on '%s': %s", text, strerror(error));
        return error == EADDRINUSE ? CLI_CONFLICT : CLI_FAILURE;
    }
    describe(l);
    return CLI_OK;
}
