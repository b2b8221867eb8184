/* dial.c - a step looks for itself whether something has happened, so that being called late or for
 * nothing does no harm: a process that was stopped finds its connection made, not its time over. */
#include "redis/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"

#define WHERE_MAX 300 /* sg_url_show: a host of 255 bytes and a port */

void sg_dial_init(sg_dial *d, const sg_url *url) {
    *d = (sg_dial){.url = url, .fd = -1, .until = INT64_MAX};
}

static void drop_addresses(sg_dial *d) {
    if (d->addresses != NULL)
        freeaddrinfo(d->addresses);
    d->addresses = d->next = NULL;
}

static void drop_socket(sg_dial *d) {
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

void sg_dial_stop(sg_dial *d) {
    drop_socket(d);
    drop_addresses(d);
}

void sg_dial_fini(sg_dial *d) {
    sg_dial_stop(d);
    sg_lookup_free(d->lookup);
    d->lookup = NULL;
}

static sg_dial_state fail(sg_dial *d, seg_error *err, seg_status status, const char *why) {
    char where[WHERE_MAX];
    sg_url_show(d->url, where, sizeof where);
    sg_fail(err, status, "cannot connect to '%s': %s", where, why);
    sg_dial_stop(d);
    return SG_DIAL_FAILED;
}

static sg_dial_state fail_errno(sg_dial *d, seg_error *err, int error) {
    if (error == ECONNREFUSED)
        return fail(d, err, SEG_ECONN, "connection refused: is the server running there?");
    if (error == ENOENT)
        return fail(d, err, SEG_ECONN, "no such socket: is the server running there?");
    char text[128];
    return fail(d, err, SEG_ECONN, strerror_r(error, text, sizeof text));
}

/* A non-blocking socket that is connected or connecting, or -1 with errno. */
static int begin_connect(int family, const struct sockaddr *address, socklen_t size) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (family != AF_UNIX) {
        /* Best effort. Keep-alive finds a dead peer where nothing is being asked. */
        int on = 1, idle_s = 15, interval_s = 5, probes = 3;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
    /* Interrupted, it goes on by itself, as after EINPROGRESS. A unix socket knows no EINPROGRESS:
     * it connects at once or, its queue being full, answers EAGAIN. */
    if (connect(fd, address, size) == 0 || errno == EINPROGRESS || errno == EINTR)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static sg_dial_state dial_unix(sg_dial *d, int64_t now, seg_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(d->url->path);
    if (n >= sizeof address.sun_path)
        return fail_errno(d, err, ENAMETOOLONG);
    memcpy(address.sun_path, d->url->path, n + 1);
    d->fd = begin_connect(AF_UNIX, (const struct sockaddr *)(const void *)&address, sizeof address);
    if (d->fd < 0)
        return fail_errno(d, err, errno);
    d->until = d->deadline;
    return sg_dial_step(d, now, err);
}

/* Try addresses from `next` on until one is under way. Each gets its share of the time that is
 * left, so that one which swallows everything does not keep the others from being tried. `error` is
 * why the one before failed. */
static sg_dial_state dial_next(sg_dial *d, int64_t now, int error, seg_error *err) {
    while (d->next != NULL) {
        int64_t left = 0;
        for (const struct addrinfo *a = d->next; a != NULL; a = a->ai_next)
            left++;
        const struct addrinfo *a = d->next;
        d->next = a->ai_next;
        d->fd = begin_connect(a->ai_family, a->ai_addr, a->ai_addrlen);
        if (d->fd >= 0) {
            d->until = now < d->deadline ? now + (d->deadline - now) / left : d->deadline;
            return SG_DIAL_BUSY;
        }
        error = errno;
    }
    return error == ETIMEDOUT ? fail(d, err, SEG_ETIMEDOUT, "no answer in time")
                              : fail_errno(d, err, error);
}

static sg_dial_state step_lookup(sg_dial *d, int64_t now, bool ready, seg_error *err) {
    if (!ready)
        return now < d->until ? SG_DIAL_BUSY
                              : fail(d, err, SEG_ETIMEDOUT, "its name was not resolved in time");
    int error = sg_lookup_result(d->lookup, &d->addresses);
    int system = errno;
    sg_lookup_free(d->lookup);
    d->lookup = NULL;
    if (error == EAI_SYSTEM)
        return fail_errno(d, err, system);
    if (error != 0)
        return fail(d, err, SEG_ECONN, gai_strerror(error));
    d->next = d->addresses;
    return dial_next(d, now, EADDRNOTAVAIL, err);
}

static sg_dial_state dial_tcp(sg_dial *d, int64_t now, seg_error *err) {
    if (d->lookup == NULL) {
        int error = sg_resolve_numeric(d->url->host, d->url->port, &d->addresses);
        if (error == 0) {
            d->next = d->addresses;
            return dial_next(d, now, EADDRNOTAVAIL, err);
        }
        if (error != EAI_NONAME)
            return fail(d, err, SEG_ECONN, gai_strerror(error));
        d->lookup = sg_lookup_new(d->url->host, d->url->port);
        if (d->lookup == NULL)
            return fail_errno(d, err, errno);
    }
    d->until = d->deadline;
    return SG_DIAL_BUSY;
}

sg_dial_state sg_dial_start(sg_dial *d, int64_t now, int64_t deadline, seg_error *err) {
    sg_dial_stop(d);
    d->deadline = deadline;
    return d->url->path != NULL ? dial_unix(d, now, err) : dial_tcp(d, now, err);
}

sg_dial_state sg_dial_step(sg_dial *d, int64_t now, seg_error *err) {
    struct pollfd p = {.fd = sg_dial_fd(d), .events = sg_dial_events(d)};
    bool ready = poll(&p, 1, 0) > 0;
    if (d->fd < 0)
        return step_lookup(d, now, ready, err);
    if (!ready && now < d->until)
        return SG_DIAL_BUSY;
    int error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (ready && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0)
        return SG_DIAL_DONE;
    drop_socket(d);
    return dial_next(d, now, error, err);
}

int sg_dial_fd(const sg_dial *d) {
    if (d->fd >= 0)
        return d->fd;
    return d->lookup != NULL ? sg_lookup_fd(d->lookup) : -1;
}

short sg_dial_events(const sg_dial *d) {
    return d->fd >= 0 ? POLLOUT : POLLIN;
}

int64_t sg_dial_until(const sg_dial *d) {
    return d->until;
}

int sg_dial_take(sg_dial *d) {
    int fd = d->fd;
    d->fd = -1;
    drop_addresses(d);
    return fd;
}
