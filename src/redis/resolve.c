/* resolve.c - who frees the lookup: the asker and the thread each swap their mark into `state` when
 * they are through with it; whoever finds the other's mark there is the last, and frees. */
#include "redis/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"

enum { RUNNING, ANSWERED, ABANDONED };

struct sg_lookup {
    char *host;
    uint16_t port;
    int read_fd, write_fd; /* the thread closes write_fd, the asker read_fd */
    atomic_int state;
    int error, system; /* these three: the thread's until ANSWERED, the asker's from then on */
    struct addrinfo *list;
};

static int resolve(const char *host, uint16_t port, int flags, struct addrinfo **out) {
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    *out = NULL;
    return getaddrinfo(host, service, &hints, out);
}

int sg_resolve_numeric(const char *host, uint16_t port, struct addrinfo **out) {
    return resolve(host, port, AI_NUMERICHOST, out);
}

static void destroy(sg_lookup *l) {
    if (l->list != NULL)
        freeaddrinfo(l->list);
    sg_free(l->host);
    sg_free(l);
}

static void *run(void *arg) {
    sg_lookup *l = arg;
    int write_fd = l->write_fd; /* `l` may be gone after the swap */
    l->error = resolve(l->host, l->port, 0, &l->list);
    l->system = errno;
    if (atomic_exchange(&l->state, ANSWERED) == ABANDONED)
        destroy(l);
    /* Closing it would tell the asker as well, but not where a fork holds a copy. Where nobody
     * listens any more it fails with EPIPE: signals are blocked on this thread. */
    ssize_t told;
    do {
        told = write(write_fd, "", 1);
    } while (told < 0 && errno == EINTR);
    close(write_fd);
    return NULL;
}

sg_lookup *sg_lookup_new(const char *host, uint16_t port) {
    sg_lookup *l = sg_calloc(1, sizeof *l);
    int fds[2] = {-1, -1};
    if (l == NULL || (l->host = sg_strdup(host)) == NULL) {
        errno = ENOMEM;
        goto fail;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        goto fail;
    l->port = port;
    l->read_fd = fds[0];
    l->write_fd = fds[1];
    atomic_init(&l->state, RUNNING);
    pthread_t thread;
    if (!sg_thread_start(&thread, "seg-resolve", run, l)) {
        close(fds[0]);
        close(fds[1]);
        errno = EAGAIN;
        goto fail;
    }
    pthread_detach(thread);
    return l;
fail:
    if (l != NULL)
        destroy(l);
    return NULL;
}

int sg_lookup_fd(const sg_lookup *l) {
    return l->read_fd;
}

int sg_lookup_result(sg_lookup *l, struct addrinfo **out) {
    *out = NULL;
    if (atomic_load(&l->state) != ANSWERED)
        return EAI_AGAIN;
    *out = l->list;
    l->list = NULL;
    errno = l->system;
    return l->error;
}

void sg_lookup_free(sg_lookup *l) {
    if (l == NULL)
        return;
    close(l->read_fd);
    if (atomic_exchange(&l->state, ABANDONED) == ANSWERED)
        destroy(l);
}
