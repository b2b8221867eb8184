/* test_event.c - the descriptor for event loops: readable exactly while it is raised. */
#include "base/event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_GE(poll(&p, 1, 0), 0);
    CHECK_EQ(p.revents & ~POLLIN, 0);
    return p.revents != 0;
}

TEST(a_zeroed_one_is_closed) {
    sg_event e;
    memset(&e, 0, sizeof e);
    CHECK(!sg_event_is_open(&e));
    sg_event_set(&e, true);
    sg_event_set(&e, false);
    sg_event_close(&e);
    CHECK(!sg_event_is_open(&e));
    int fd = sg_event_open(&e);
    CHECK_GE(fd, 0);
    CHECK(!readable(fd)); /* what was set while it was closed is gone */
    sg_event_close(&e);
}

TEST(readable_while_it_is_raised) {
    sg_event e = {.open = false};
    int fd = sg_event_open(&e);
    CHECK_GE(fd, 0);
    CHECK_EQ(sg_event_open(&e), fd);
    CHECK(sg_event_is_open(&e));
    CHECK(!readable(fd));
    for (int i = 0; i < 3; i++) {
        sg_event_set(&e, true);
        sg_event_set(&e, true);
        CHECK(readable(fd));
        CHECK(readable(fd));
        sg_event_set(&e, false);
        CHECK(!readable(fd));
        sg_event_set(&e, false);
        CHECK(!readable(fd));
    }
    sg_event_close(&e);
}

TEST(errno_is_left_alone) {
    sg_event e = {.open = false};
    CHECK_GE(sg_event_open(&e), 0);
    errno = ENOTTY;
    sg_event_set(&e, true);
    sg_event_set(&e, false);
    CHECK_EQ(errno, ENOTTY);
    sg_event_close(&e);
}

/* It is not inherited, and nobody waits who reads it in spite of what the header says. */
TEST(its_flags) {
    sg_event e = {.open = false};
    uint64_t count;
    int fd = sg_event_open(&e);
    CHECK_GE(fd, 0);
    CHECK_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    CHECK_EQ(read(fd, &count, sizeof count), -1);
    CHECK_EQ(errno, EAGAIN);
    sg_event_set(&e, true);
    CHECK_EQ(read(fd, &count, sizeof count), sizeof count);
    sg_event_set(&e, false);
    sg_event_set(&e, true);
    CHECK(readable(fd));
    sg_event_close(&e);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

TEST(opened_anew_it_is_not_raised) {
    sg_event e = {.open = false};
    CHECK_GE(sg_event_open(&e), 0);
    sg_event_set(&e, true);
    sg_event_close(&e);
    sg_event_close(&e);
    int fd = sg_event_open(&e);
    CHECK_GE(fd, 0);
    CHECK(!readable(fd));
    sg_event_set(&e, true);
    CHECK(readable(fd));
    sg_event_close(&e);
}

TEST(no_descriptor_to_be_had) {
    sg_event e = {.open = false};
    struct rlimit old, none = {.rlim_cur = 0};
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    none.rlim_max = old.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(sg_event_open(&e), -1);
    CHECK(!sg_event_is_open(&e));
    sg_event_set(&e, true);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK_GE(sg_event_open(&e), 0);
    sg_event_close(&e);
}
