/* fake_rig.h - a server that the test plays itself, in its own thread. */
#ifndef SG_TEST_FAKE_RIG_H
#define SG_TEST_FAKE_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn_rig.h"

typedef struct fake {
    int listener, peer;
    char url[128];
    char *got; /* all that came, NUL-terminated */
    size_t len, cap;
} fake;

static inline void fake_listen(fake *f) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/fake", test_dir());
    snprintf(f->url, sizeof f->url, "unix://%s", a.sun_path);
    unlink(a.sun_path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    f->peer = -1;
    CHECK_EQ(bind(f->listener, (struct sockaddr *)(void *)&a, sizeof a), 0);
    CHECK_EQ(listen(f->listener, 5), 0);
}

static inline void fake_hang_up(fake *f) {
    close(f->peer);
    f->peer = -1;
}

static inline void fake_close(fake *f) {
    if (f->peer >= 0)
        close(f->peer);
    close(f->listener);
    free(f->got);
}

static inline bool fake_accepted(fake *f) {
    f->peer = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK);
    f->len = 0;
    return f->peer >= 0;
}

/* Read what is there. */
static inline size_t fake_read(fake *f, size_t most) {
    if (f->cap < f->len + most + 1) {
        f->cap = (f->len + most + 1) * 2;
        f->got = realloc(f->got, f->cap);
        CHECK(f->got != NULL);
    }
    ssize_t n = read(f->peer, f->got + f->len, most);
    CHECK(n >= 0 || errno == EAGAIN);
    f->len += n > 0 ? (size_t)n : 0;
    f->got[f->len] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static inline bool fake_got(fake *f, const char *text) {
    fake_read(f, 65536);
    return strstr(f->got, text) != NULL;
}

static inline void fake_say_bytes(fake *f, const void *bytes, size_t n) {
    CHECK_EQ(write(f->peer, bytes, n), n);
}

static inline void fake_say(fake *f, const char *text) {
    fake_say_bytes(f, text, strlen(text));
}

#define INFO "redis_version:7.0.0\r\nrole:master\r\n"
static const char welcome[] = "+OK\r\n:42\r\n+OK\r\n$34\r\n" INFO "\r\n";

static inline void fake_welcome(fake *f, rig *t) {
    RIG_WAIT(t, fake_accepted(f));
    RIG_WAIT(t, fake_got(f, "INFO\r\n"));
    fake_say(f, welcome);
    RIG_WAIT(t, sg_conn_up(t->conn));
    f->len = 0;
}

static inline void open_both(fake *f, rig *t, int64_t timeout, bool pubsub) {
    fake_listen(f);
    rig_open(t, f->url, timeout, pubsub);
}

static inline void close_both(fake *f, rig *t) {
    rig_close(t);
    fake_close(f);
}

#endif
