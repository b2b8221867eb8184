/* signals.h - an orderly end: the first SIGINT, SIGTERM or SIGHUP asks for it, the second kills. */
#ifndef SEGMENTER_CLI_SIGNALS_H
#define SEGMENTER_CLI_SIGNALS_H
#include <signal.h>
#include <stdbool.h>

#include <segmenter/segmenter.h>

/* Catch the three signals, except those that the caller of the command had ignored. */
void cli_signals_catch(void);

/* The signal that came, or 0. */
int cli_signal_caught(void);

/* A descriptor that becomes readable when one comes, for poll(). */
int cli_signal_fd(void);

/* Also stop this consumer when one comes, or at once where one came already; NULL: none. */
void cli_signals_stop(seg_consumer *consumer);

#endif
