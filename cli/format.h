/* format.h - the template of consume -f: parsed once, written for each message. */
#ifndef SEGMENTER_CLI_FORMAT_H
#define SEGMENTER_CLI_FORMAT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <segmenter/segmenter.h>

typedef struct cli_template {
    char *text; /* unescaped; literal pieces point into it */
    struct piece *pieces;
    size_t n;
} cli_template;

/* False with the fault's text. */
bool cli_template_parse(cli_template *t, const char *text, char fault[128]);
/* `d`: the delivery that it tells of. */
void cli_template_write(const cli_template *t, FILE *out, const seg_message *m,
                        const seg_delivery *d);
void cli_template_fini(cli_template *t);

/* What the help says about it. */
#define CLI_TEMPLATE_HELP                                                                          \
    "FORMAT holds text and:\n"                                                                     \
    "  %k key      %p partition   %t timestamp, ms since 1970\n"                                   \
    "  %v value    %o offset      %h headers, name=value,name=value\n"                             \
    "  %e epoch    %E era         %a attempt, 1 at first\n"                                        \
    "  %K length of the key       %V length of the value\n"                                        \
    "  %% percent sign            \\n \\t \\r \\0 \\\\ \\xHH bytes"

/* Replace \n \t \r \0 \\ \xHH in `text` into `out` (strlen + 1 bytes); returns the length,
 * SIZE_MAX with the fault's text where an escape is unknown. */
size_t cli_unescape(char *out, const char *text, char fault[128]);

#endif
