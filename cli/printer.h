/* printer.h - messages that were read without a group, as tail, get and grep write them: a line for
 * people, -f FORMAT, or -J. */
#ifndef SEGMENTER_CLI_PRINTER_H
#define SEGMENTER_CLI_PRINTER_H
#include "buf.h"
#include "cli.h"
#include "format.h"

typedef struct cli_printer {
    cli_template format;
    const char *stream;
    bool json, templated;
    size_t width;      /* of the terminal; 0: stdout is none */
    size_t place, key; /* widths of the columns so far */
    cli_buf line;
} cli_printer;

/* `format` may be NULL. False, with a report. */
bool cli_printer_init(cli_printer *p, const char *stream, const char *format, bool json);
/* Write one to `out`. */
void cli_printer_write(cli_printer *p, FILE *out, const seg_message *m);
void cli_printer_fini(cli_printer *p);

/* ---- All of a message, a line for each part: "key           ann" ------------------------------- */

void cli_show_text(const char *name, const char *text);
/* `what` for people: "-" where there is nothing, an end of "..." where it is too long. */
void cli_shorten(char *out, size_t cap, seg_bytes what);
/* Timestamp, key, headers and value. */
void cli_show_content(const seg_message *m);

/* The options of what writes messages, of a struct with these members. */
#define CLI_PRINTER_OPTS(owner)                                                                    \
    {.name = "format",                                                                             \
     .letter = 'f',                                                                                \
     .type = CLI_TEXT,                                                                             \
     .arg = "FORMAT",                                                                              \
     .at = offsetof(owner, format),                                                                \
     .text = "how to write a message, as consume -f"},                                             \
    {                                                                                              \
        .name = "json", .letter = 'J', .type = CLI_FLAG, .at = offsetof(owner, json),              \
        .text = "write each message as a JSON object on a line, without loss"                      \
    }

/* What the help says of FORMAT. */
#define CLI_PRINTER_HELP "FORMAT is that of consume -f; %e and %a, which only a group knows, are 0."

#endif
