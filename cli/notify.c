/* notify.c - see notify.h.
 *
 * A message is a datagram to a unix socket: lines of NAME=VALUE. It is sent without waiting: a manager
 * whose socket is full loses a line, and we lose no time. */
#include "notify.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

enum { STATUS_MAX = 512 };

static int fd = -1;
static struct sockaddr_un address;
static socklen_t address_len;
static bool said_ready, said_stopping;
static int64_t ping_every_us; /* 0: there is no watchdog */
static int64_t pinged_us;

static void send_text(const char *text) {
    if (fd >= 0) {
        ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                              (const struct sockaddr *)&address, address_len);
        (void)sent;
    }
}

/* A path, or @NAME: a socket that has no file. */
static bool read_address(const char *text) {
    size_t len = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof address.sun_path) {
        return false;
    }
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address.sun_path, text, len);
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (text[0] == '@') {
        address.sun_path[0] = '\0'; /* its length ends it */
    } else {
        address_len++;
    }
    return true;
}

/* The watchdog is ours only where its pid is: a parent may have left the variables behind. */
static int64_t read_watchdog(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t time, whose;
    if (!usec || !cli_number_parse(usec, &time) || time <= 0) {
        return 0;
    }
    if (pid && (!cli_number_parse(pid, &whose) || whose != getpid())) {
        return 0;
    }
    return time / 2 > 0 ? time / 2 : 1;
}

void cli_notify_init(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (path && *path) {
        if (read_address(path)) {
            fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            ping_every_us = read_watchdog();
        } else {
            cli_note("NOTIFY_SOCKET is no path and no @name of at most %zu bytes: nobody is told",
                     sizeof address.sun_path - 1);
        }
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void cli_notify_ready(void) {
    if (!said_ready) {
        said_ready = true;
        send_text("READY=1");
    }
}

void cli_notify_stopping(void) {
    if (!said_stopping) {
        said_stopping = true;
        send_text("STOPPING=1");
    }
}

void cli_notify_status(const char *format, ...) {
    if (fd < 0) {
        return;
    }
    char text[STATUS_MAX], masked[STATUS_MAX], line[STATUS_MAX + 8];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_mask_passwords(masked, sizeof masked, text);
    snprintf(line, sizeof line, "STATUS=%s", masked);
    send_text(line);
}

void cli_notify_alive(void) {
    int64_t now = cli_now_us();
    if (fd >= 0 && ping_every_us > 0 && (pinged_us == 0 || now - pinged_us >= ping_every_us)) {
        pinged_us = now;
        send_text("WATCHDOG=1");
    }
}

int64_t cli_notify_wait(void) {
    if (fd < 0 || ping_every_us == 0) {
        return SEG_FOREVER;
    }
    int64_t left = ping_every_us - (cli_now_us() - pinged_us);
    return left > 0 ? left / 1000 + 1 : 0;
}

void cli_notify_fini(void) {
    if (fd >= 0) {
        close(fd);
        fd = -1;
    }
}
