/* signals.c - see signals.h. The handler uses only what is async-signal-safe. */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static const int caught_signals[] = {SIGINT, SIGTERM, SIGHUP};
#define N_SIGNALS (sizeof caught_signals / sizeof *caught_signals)

static atomic_int caught; /* read by any thread */
static int wake[2] = {-1, -1};
static int again[2] = {-1, -1}; /* the second signal, where somebody asked for it */
static _Atomic(seg_consumer *) to_stop;
static _Atomic(seg_reader *) reader_to_stop;

static void set_all(void (*handler)(int)) {
    for (size_t i = 0; i < N_SIGNALS; i++) {
        signal(caught_signals[i], handler);
    }
}

static void handle_second(int sig) {
    int saved = errno;
    set_all(SIG_DFL);
    unsigned char number = (unsigned char)sig;
    ssize_t written = write(again[1], &number, 1);
    (void)written;
    errno = saved;
}

static void handle(int sig) {
    int saved = errno;
    /* From now on each of them ends the process at once: an orderly end can hang on a server that
     * does not answer, and the user must not need kill -9 for it. */
    set_all(again[1] >= 0 ? handle_second : SIG_DFL);
    atomic_store(&caught, sig);
    seg_consumer *consumer = atomic_load(&to_stop);
    if (consumer) {
        seg_consumer_stop(consumer);
    }
    seg_reader *reader = atomic_load(&reader_to_stop);
    if (reader) {
        seg_reader_stop(reader);
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
    return atomic_load(&caught);
}

int cli_signal_fd(void) {
    return wake[0];
}

int cli_signals_second(void) {
    if (again[0] < 0 && pipe2(again, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    return again[0];
}

void cli_signals_stop(seg_consumer *consumer) {
    atomic_store(&to_stop, consumer);
    /* A signal between the consumer's opening and this call saw no consumer to stop. */
    if (consumer && atomic_load(&caught)) {
        seg_consumer_stop(consumer);
    }
}

void cli_signals_stop_reader(seg_reader *reader) {
    atomic_store(&reader_to_stop, reader);
    if (reader && atomic_load(&caught)) {
        seg_reader_stop(reader);
    }
}
