/* place.h - a place in a stream as the command line writes it: where a group starts, or goes to.
 *
 *     1000                   an offset
 *     +10  -10               so many messages on or back
 *     -5m                    so long ago; the unit tells it from messages
 *     @1732269600            a time: unix seconds, or milliseconds (13 digits)
 *     @2026-11-22T10:00:00Z  a time; without a zone UTC, without a time of day midnight */
#ifndef SEGMENTER_CLI_PLACE_H
#define SEGMENTER_CLI_PLACE_H
#include <stdbool.h>
#include <stdint.h>

typedef enum cli_place_kind { CLI_AT_OFFSET = 1, CLI_AT_TIME, CLI_AT_DISTANCE } cli_place_kind;

typedef struct cli_place {
    cli_place_kind kind;
    int64_t value; /* offset, ms since 1970, or messages */
} cli_place;

/* False where `text` is none of these. `now_ms` is the time since 1970. */
bool cli_place_parse(cli_place *out, const char *text, int64_t now_ms);

/* Milliseconds since 1970, now. */
int64_t cli_wall_ms(void);

#endif
