/* calls_rig.h - system calls of the library that fail: the n-th of a kind in turn, or at random.
 *
 *     calls_fail_nth(CALL_RECV, ECONNRESET, 3, 1);  the third receive from now on
 *     ... what is tested ...
 *     bool hit = calls_pass();
 *
 * The functions of the same names below stand in the place of libc's in the whole program. They
 * touch only descriptors that the library has made: sockets that were made on another thread than
 * the case's own, which alone is for the test's connections, and eventfds. */
#ifndef SG_TEST_CALLS_RIG_H
#define SG_TEST_CALLS_RIG_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "test.h"

typedef enum call_kind {
    CALL_SOCKET,
    CALL_CONNECT,
    CALL_GETSOCKOPT,
    CALL_SETSOCKOPT,
    CALL_SEND,
    CALL_RECV,
    CALL_POLL,
    CALL_EVENTFD,
    CALL_READ,  /* of an eventfd */
    CALL_WRITE, /* to one */
    CALL_PIPE,
    CALL_THREAD,
    CALL_RANDOM,
    CALL_KINDS
} call_kind;

/* Faults that are no errno. */
enum {
    FAULT_SHORT = -1,     /* one byte is sent, or received */
    FAULT_END = -2,       /* the peer has closed */
    FAULT_REFUSED = -3,   /* SO_ERROR is ECONNREFUSED */
    FAULT_GOES_ON = -4,   /* connect: EINTR, but it is under way */
    FAULT_NOT_BEGUN = -5, /* connect: EINTR, and it is not */
    FAULTS_MAX = 16
};

typedef struct fault_list {
    const char *name;
    int faults[FAULTS_MAX]; /* up to a 0 */
} fault_list;

/* What the kernel may answer at any time to a caller that does nothing wrong. */
static const fault_list call_faults[CALL_KINDS] = {
    [CALL_SOCKET] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM}},
    [CALL_CONNECT] = {"connect",
                      {FAULT_GOES_ON, FAULT_NOT_BEGUN, EAGAIN, ECONNREFUSED, ECONNRESET, ETIMEDOUT,
                       ENETUNREACH, EHOSTUNREACH, ENOENT, EACCES, ENOBUFS}},
    [CALL_GETSOCKOPT] = {"getsockopt", {FAULT_REFUSED, ENOBUFS}},
    [CALL_SETSOCKOPT] = {"setsockopt", {ENOPROTOOPT, ENOBUFS}},
    [CALL_SEND] = {"sendmsg",
                   {EINTR, EAGAIN, FAULT_SHORT, EPIPE, ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM}},
    [CALL_RECV] = {"recv",
                   {EINTR, EAGAIN, FAULT_SHORT, FAULT_END, ECONNRESET, ETIMEDOUT, EHOSTUNREACH,
                    ENOMEM}},
    [CALL_POLL] = {"poll", {EINTR, EAGAIN, ENOMEM}},
    [CALL_EVENTFD] = {"eventfd", {EMFILE, ENFILE, ENOMEM}},
    [CALL_READ] = {"read", {EINTR, EAGAIN}},
    [CALL_WRITE] = {"write", {EINTR}},
    [CALL_PIPE] = {"pipe2", {EMFILE, ENFILE}},
    [CALL_THREAD] = {"pthread_create", {EAGAIN}},
    [CALL_RANDOM] = {"getrandom", {EINTR, FAULT_SHORT}},
};

/* Some only wait, or cut; the others end a connection. */
static inline bool is_gentle(int fault) {
    return fault == EINTR || fault == EAGAIN || fault == FAULT_SHORT;
}

/* ---- The plan ------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock; /* guards all below but `ours` */
    bool random;
    call_kind kind;
    int fault;
    uint64_t times; /* so many fail, one after the other */
    uint64_t n;     /* calls to go until the one that fails; 0: none */
    uint64_t made[CALL_KINDS], failed[CALL_KINDS]; /* since the start */
    uint64_t gentle_one_in, harsh_one_in;          /* at random; 0: never */
    sg_rng rng;
} calls = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { DESCRIPTORS = 4096 };
static atomic_bool ours[DESCRIPTORS]; /* made by the library */
static atomic_llong clock_skew_ns;    /* how far the clock has jumped */
static pthread_t case_thread;

/* First in a case, on its thread. */
static inline void calls_begin(void) {
    case_thread = pthread_self();
}

static inline void calls_fail_nth(call_kind kind, int fault, uint64_t n, uint64_t times) {
    pthread_mutex_lock(&calls.lock);
    calls.kind = kind;
    calls.fault = fault;
    calls.n = n;
    calls.times = times;
    pthread_mutex_unlock(&calls.lock);
}

static inline void calls_fail_at_random(uint64_t seed, uint64_t gentle, uint64_t harsh) {
    pthread_mutex_lock(&calls.lock);
    calls.random = true;
    calls.rng.state = seed;
    calls.gentle_one_in = gentle;
    calls.harsh_one_in = harsh;
    pthread_mutex_unlock(&calls.lock);
}

/* All go through again. Returns whether the n-th was reached. */
static inline bool calls_pass(void) {
    pthread_mutex_lock(&calls.lock);
    bool hit = calls.n == 0;
    calls.n = calls.times = 0;
    calls.random = false;
    pthread_mutex_unlock(&calls.lock);
    return hit;
}

static inline uint64_t calls_failed(void) {
    uint64_t all = 0;
    pthread_mutex_lock(&calls.lock);
    for (int k = 0; k < CALL_KINDS; k++) {
        all += calls.failed[k];
    }
    pthread_mutex_unlock(&calls.lock);
    return all;
}

/* Lock held. What ends a call of the application, not a connection, is for the n-th only. */
static inline int draw(call_kind kind) {
    int fits[FAULTS_MAX], n = 0;
    if (kind == CALL_EVENTFD || kind == CALL_PIPE || kind == CALL_THREAD) {
        return 0;
    }
    bool gentle = calls.gentle_one_in > 0 && sg_rng_below(&calls.rng, calls.gentle_one_in) == 0;
    bool harsh = calls.harsh_one_in > 0 && sg_rng_below(&calls.rng, calls.harsh_one_in) == 0;
    for (const int *f = call_faults[kind].faults; *f != 0; f++) {
        if ((gentle && is_gentle(*f)) || (harsh && !is_gentle(*f))) {
            fits[n++] = *f;
        }
    }
    return n > 0 ? fits[sg_rng_below(&calls.rng, (uint64_t)n)] : 0;
}

/* The fault of this call; 0: none. */
static inline int next_fault(call_kind kind) {
    int fault = 0;
    pthread_mutex_lock(&calls.lock);
    calls.made[kind]++;
    if (calls.random) {
        fault = draw(kind);
    } else if (calls.kind == kind && calls.n > 0) {
        calls.n--;
    }
    if (!calls.random && calls.kind == kind && calls.n == 0 && calls.times > 0) {
        fault = calls.fault;
        calls.times--;
    }
    calls.failed[kind] += fault != 0;
    pthread_mutex_unlock(&calls.lock);
    return fault;
}

static inline bool is_ours(int fd) {
    return fd >= 0 && fd < DESCRIPTORS && atomic_load(&ours[fd]);
}

static inline int mark(int fd) {
    CHECK_LT(fd, DESCRIPTORS);
    if (fd >= 0) {
        atomic_store(&ours[fd], true);
    }
    return fd;
}

static inline int refuse(int error) {
    errno = error;
    return -1;
}

/* libc's own (a sanitizer's, where there is one). */
static inline void *find(_Atomic(void *) *found, const char *name) {
    void *f = atomic_load(found);
    if (f == NULL) {
        f = dlsym(RTLD_NEXT, name);
        atomic_store(found, f);
    }
    return f;
}

/* ---- In libc's place ------------------------------------------------------------------------ */

int socket(int family, int type, int protocol) {
    static _Atomic(void *) found;
    int (*real)(int, int, int);
    *(void **)&real = find(&found, "socket");
    if (case_thread == 0 || pthread_equal(pthread_self(), case_thread)) {
        return real(family, type, protocol);
    }
    int fault = next_fault(CALL_SOCKET);
    return fault != 0 ? refuse(fault) : mark(real(family, type, protocol));
}

/* Its declaration has a union of all kinds of addresses, which no definition can repeat. */
int connect_in_place(int fd, const struct sockaddr *address, socklen_t size) __asm__("connect");

int connect_in_place(int fd, const struct sockaddr *address, socklen_t size) {
    static _Atomic(void *) found;
    int (*real)(int, const struct sockaddr *, socklen_t);
    *(void **)&real = find(&found, "connect");
    int fault = is_ours(fd) ? next_fault(CALL_CONNECT) : 0;
    if (fault == 0) {
        return real(fd, address, size);
    }
    if (fault == FAULT_GOES_ON) {
        real(fd, address, size);
    }
    return refuse(fault < 0 ? EINTR : fault);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    static _Atomic(void *) found;
    int (*real)(int, int, int, void *, socklen_t *);
    *(void **)&real = find(&found, "getsockopt");
    int fault = is_ours(fd) ? next_fault(CALL_GETSOCKOPT) : 0;
    if (fault == 0) {
        return real(fd, level, name, value, size);
    }
    if (fault != FAULT_REFUSED) {
        return refuse(fault);
    }
    *(int *)value = ECONNREFUSED;
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    static _Atomic(void *) found;
    int (*real)(int, int, int, const void *, socklen_t);
    *(void **)&real = find(&found, "setsockopt");
    int fault = is_ours(fd) ? next_fault(CALL_SETSOCKOPT) : 0;
    return fault != 0 ? refuse(fault) : real(fd, level, name, value, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static _Atomic(void *) found;
    ssize_t (*real)(int, const struct msghdr *, int);
    *(void **)&real = find(&found, "sendmsg");
    int fault = is_ours(fd) ? next_fault(CALL_SEND) : 0;
    if (fault == FAULT_SHORT && message->msg_iovlen > 0) {
        struct iovec one = {message->msg_iov[0].iov_base, 1};
        struct msghdr cut = {.msg_iov = &one, .msg_iovlen = 1};
        return real(fd, &cut, flags);
    }
    return fault > 0 ? refuse(fault) : real(fd, message, flags);
}

ssize_t recv(int fd, void *data, size_t n, int flags) {
    static _Atomic(void *) found;
    ssize_t (*real)(int, void *, size_t, int);
    *(void **)&real = find(&found, "recv");
    int fault = is_ours(fd) ? next_fault(CALL_RECV) : 0;
    if (fault == FAULT_END) {
        return 0;
    }
    return fault > 0 ? refuse(fault) : real(fd, data, fault == FAULT_SHORT ? 1 : n, flags);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
    static _Atomic(void *) found;
    int (*real)(struct pollfd *, nfds_t, int);
    *(void **)&real = find(&found, "poll");
    int fault = n > 0 && is_ours(fds[0].fd) ? next_fault(CALL_POLL) : 0;
    return fault != 0 ? refuse(fault) : real(fds, n, timeout);
}

int eventfd(unsigned count, int flags) {
    static _Atomic(void *) found;
    int (*real)(unsigned, int);
    *(void **)&real = find(&found, "eventfd");
    int fault = next_fault(CALL_EVENTFD);
    return fault != 0 ? refuse(fault) : mark(real(count, flags));
}

ssize_t read(int fd, void *data, size_t n) {
    static _Atomic(void *) found;
    ssize_t (*real)(int, void *, size_t);
    *(void **)&real = find(&found, "read");
    int fault = is_ours(fd) ? next_fault(CALL_READ) : 0;
    return fault != 0 ? refuse(fault) : real(fd, data, n);
}

ssize_t write(int fd, const void *data, size_t n) {
    static _Atomic(void *) found;
    ssize_t (*real)(int, const void *, size_t);
    *(void **)&real = find(&found, "write");
    int fault = is_ours(fd) ? next_fault(CALL_WRITE) : 0;
    return fault != 0 ? refuse(fault) : real(fd, data, n);
}

int pipe2(int fds[2], int flags) {
    static _Atomic(void *) found;
    int (*real)(int[2], int);
    *(void **)&real = find(&found, "pipe2");
    int fault = next_fault(CALL_PIPE);
    return fault != 0 ? refuse(fault) : real(fds, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    static _Atomic(void *) found;
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = find(&found, "pthread_create");
    int fault = next_fault(CALL_THREAD);
    return fault != 0 ? fault : real(thread, attr, fn, arg);
}

ssize_t getrandom(void *data, size_t n, unsigned flags) {
    static _Atomic(void *) found;
    ssize_t (*real)(void *, size_t, unsigned);
    *(void **)&real = find(&found, "getrandom");
    int fault = next_fault(CALL_RANDOM);
    return fault > 0 ? refuse(fault) : real(data, fault == FAULT_SHORT ? 1 : n, flags);
}

int close(int fd) {
    static _Atomic(void *) found;
    int (*real)(int);
    *(void **)&real = find(&found, "close");
    if (fd >= 0 && fd < DESCRIPTORS) {
        atomic_store(&ours[fd], false);
    }
    return real(fd);
}

int clock_gettime(clockid_t id, struct timespec *t) {
    static _Atomic(void *) found;
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = find(&found, "clock_gettime");
    int rc = real(id, t);
    if (rc == 0 && id == CLOCK_BOOTTIME) {
        long long ns = t->tv_nsec + atomic_load(&clock_skew_ns);
        t->tv_sec += (time_t)(ns / 1000000000);
        t->tv_nsec = (long)(ns % 1000000000);
    }
    return rc;
}

#endif
