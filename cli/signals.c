/* signals.c - see signals.h. The handler uses only what is async-signal-safe. */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static const int caught_signals[] = {SIGINT, SIGTERM, SIGHUP};
#define N_SIGNALS (sizeof caught_signals / sizeof *caught_signals)

static volatile sig_atomic_t caught;
static int wake[2] = {-1, -1};
static _Atomic(seg_consumer *) to_stop;

static void handle(int sig) {
    int saved = errno;
    /* From now on each of them ends the process at once: an orderly end can hang on a server that
     * does not answer, and the user must not need kill -9 for it. */
    for (size_t i = 0; i < N_SIGNALS; i++) {
        signal(caught_signals[i], SIG_DFL);
    }
    caught = sig;
    seg_consumer *consumer = atomic_load(&to_stop);
    if (consumer) {
        seg_consumer_stop(consumer);
    }
    ssize_t written = write(wake[1], "", 1);
    (void)written;
    errno = saved;
}

void cli_signals_catch(void) {
    if (wake[0] >= 0 || pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        return;
    }
    for (size_t i = 0; i < N_SIGNALS; i++) {
        struct sigaction old, action = {.sa_handler = handle};
        sigfillset(&action.sa_mask);
        if (sigaction(caught_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(caught_signals[i], &action, NULL);
        }
    }
}

int cli_signal_caught(void) {
    return caught;
}

int cli_signal_fd(void) {
    return wake[0];
}

void cli_signals_stop(seg_consumer *consumer) {
    atomic_store(&to_stop, consumer);
    /* A signal between the consumer's opening and this call saw no consumer to stop. */
    if (consumer && caught) {
        seg_consumer_stop(consumer);
    }
}
