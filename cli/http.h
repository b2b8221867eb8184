/* http.h - a small HTTP server inside somebody else's loop: one thread, no waiting.
 *
 * Each connection is one call: a request, an answer, the end. The owner's loop waits on cli_http_fd() for
 * cli_http_wait() at most and calls cli_http_turn(); the callback runs in there. Whoever is slow to ask, or
 * slow to read, is cut off; and where there are too many connections, who is slowest to ask goes first. So
 * no client holds up another one. */
#ifndef SEGMENTER_CLI_HTTP_H
#define SEGMENTER_CLI_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct cli_http cli_http;
typedef struct cli_http_call cli_http_call;

/* A GET (or HEAD) came. Answer it here or later: cli_http_reply...(), once; its strings live as long as
 * this callback. A call that is not answered yet is the owner's to remember. `accept`: NULL where there is
 * no such header. */
typedef void cli_http_fn(void *arg, cli_http_call *call, const char *path, const char *accept);

/* `listen_fd` is its own from then on, also on failure. NULL, with a report. */
cli_http *cli_http_start(int listen_fd, cli_http_fn *fn, void *arg);
int cli_http_fd(const cli_http *h);
int64_t cli_http_wait(const cli_http *h); /* ms; at most a second */
void cli_http_turn(cli_http *h);

/* A text, copied. */
void cli_http_reply(cli_http_call *call, unsigned status, const char *type, const char *text);
/* Pieces that live until `done(arg)` was called; that may be at once. */
void cli_http_reply_parts(cli_http_call *call, const char *type, const struct iovec *parts,
                          size_t n, void (*done)(void *arg), void *arg);

/* All calls have to be answered before. */
void cli_http_stop(cli_http *h);

#endif
