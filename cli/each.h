/* each.h - many questions at once: a client takes them from any thread, and they share its connection,
 * so that what costs is the server's time and not the way there. */
#ifndef SEGMENTER_CLI_EACH_H
#define SEGMENTER_CLI_EACH_H
#include <stddef.h>

/* Call `fn` for 0 .. n - 1, on some threads at once, and return when all have returned. */
typedef void cli_each_fn(size_t i, void *arg);
void cli_each(size_t n, cli_each_fn *fn, void *arg);

#endif
