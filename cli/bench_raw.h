/* bench_raw.h - a connection of the baseline: plain commands, written in large pieces, with nothing
 * of the library. It is to cost so little that the server is its limit.
 *
 * Commands are formatted into a block beforehand; a stretch of the block is then sent with one
 * write, and its replies are read off, looked at, and not kept. One thread at a time. */
#ifndef SEGMENTER_CLI_BENCH_RAW_H
#define SEGMENTER_CLI_BENCH_RAW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

typedef struct bench_raw bench_raw;

/* Connect, with AUTH and SELECT as the URL says. Returns an exit code. */
int bench_raw_open(bench_raw **out, const char *url);
void bench_raw_close(bench_raw *r);

/* Commands, one after another as they go over the wire. */
typedef struct bench_commands {
    char *data;
    size_t len, capacity;
} bench_commands;

void bench_commands_add(bench_commands *c, const seg_bytes *words, size_t n);
/* Words that are separated by blanks. */
void bench_commands_say(bench_commands *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void bench_commands_fini(bench_commands *c);

/* What a reply that is an error, a lost connection or a signal has ended stays ended: all that
 * follow return false, and the first of them has reported why. */

bool bench_raw_send(bench_raw *r, const char *data, size_t len);

/* Read `n` replies. */
bool bench_raw_read(bench_raw *r, size_t n);
/* Read those of `*waiting` replies that are there, without waiting, and count them off. */
bool bench_raw_glance(bench_raw *r, size_t *waiting);

/* Say one command and read its reply: an integer or text. */
bool bench_raw_ask(bench_raw *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t bench_raw_integer(const bench_raw *r);
const char *bench_raw_text(const bench_raw *r);
/* The sum of all integers since the last call. */
int64_t bench_raw_sum(bench_raw *r);

/* For the clean-up after a signal: it works again, and until its end. What was read of a reply before
 * is not known, so only on a connection on which none was under way. */
void bench_raw_ignore_signals(bench_raw *r);

/* Called for each entry of the replies of XREAD and XREADGROUP, with its stream's name and its ID. */
typedef void bench_entry_fn(seg_bytes stream, seg_bytes id, void *arg);
void bench_raw_on_entry(bench_raw *r, bench_entry_fn *fn, void *arg);

#endif
