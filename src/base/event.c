#include "base/event.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int sg_event_open(sg_event *e) {
    if (e->open)
        return e->fd;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -1;
    *e = (sg_event){.fd = fd, .open = true};
    return fd;
}

bool sg_event_is_open(const sg_event *e) {
    return e->open;
}

/* Neither can block: the counter is 0 or 1. An application that reads the descriptor all the same
 * only takes the news from itself. */
void sg_event_set(sg_event *e, bool raised) {
    uint64_t count = 1;
    int saved = errno;
    if (!e->open || e->raised == raised)
        return;
    if (raised)
        while (write(e->fd, &count, sizeof count) < 0 && errno == EINTR)
            continue;
    else
        while (read(e->fd, &count, sizeof count) < 0 && errno == EINTR)
            continue;
    e->raised = raised;
    errno = saved;
}

void sg_event_close(sg_event *e) {
    if (e->open)
        close(e->fd);
    *e = (sg_event){.open = false};
}
