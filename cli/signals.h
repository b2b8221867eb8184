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

/* To be called before a signal can come. The second signal then does not end the process: it writes
 * its number, as one byte, to this descriptor, and whoever asked for it ends the process. The third
 * ends it at once. -1: no descriptor is to be had, and all is as without. */
int cli_signals_second(void);

/* Also stop this consumer when one comes, or at once where one came already; NULL: none. */
void cli_signals_stop(seg_consumer *consumer);
void cli_signals_stop_reader(seg_reader *reader); /* the same for a reader */

#endif
