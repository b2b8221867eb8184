/* notify.h - what a service manager wants to know (sd_notify), without its library.
 *
 * All does nothing where nobody asked: where NOTIFY_SOCKET is not set. One thread at a time. */
#ifndef SEGMENTER_CLI_NOTIFY_H
#define SEGMENTER_CLI_NOTIFY_H
#include <stdint.h>

/* Take NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no process that
 * is started later speaks in our name. To be called before there are threads. */
void cli_notify_init(void);

/* Each only once: later calls do nothing. */
void cli_notify_ready(void);
void cli_notify_stopping(void);

/* One line that `systemctl status` shows; passwords are masked. */
void cli_notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* To be called by the loop that does the work, at least as often as cli_notify_wait() says: pings where
 * half of the watchdog's time has passed since the last ping. */
void cli_notify_alive(void);
/* Ms until then; SEG_FOREVER: there is no watchdog. */
int64_t cli_notify_wait(void);

void cli_notify_fini(void);

#endif
