/* json.h - messages as JSON, one object a line, without loss: what is not UTF-8 goes as base64.
 *
 *     {"v":1,"stream":"s","partition":3,"era":1,"offset":12,"ts_ms":1712,"key":"k","value":"text",
 *      "headers":[["n","v"],["n",{"b64":"/w=="}]],"attempt":1,"group":"g","member":"m","epoch":7}
 *
 * with "key_b64" and "value_b64" instead of "key" and "value" where those are not UTF-8. */
#ifndef SEGMENTER_CLI_JSON_H
#define SEGMENTER_CLI_JSON_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <segmenter/segmenter.h>

/* An object that starts with the version of its format, "v":1. */
json_t *cli_json_object(void);
void cli_json_text(json_t *object, const char *name, const char *text); /* null where NULL */
void cli_json_number(json_t *object, const char *name, uint64_t value); /* SEG_UNKNOWN: null */
void cli_json_real(json_t *object, const char *name, double value);     /* six digits of it */
void cli_json_span(json_t *object, const char *name, int64_t ms);       /* less than 0: null */
void cli_json_rate(json_t *object, const char *name, double value);     /* NAN: null */
/* As "name", or as "name_b64" where it is no UTF-8. */
void cli_json_bytes(json_t *object, const char *name, seg_bytes bytes);
void cli_json_add(json_t *object, const char *name, json_t *value); /* takes `value` */

/* Write it as one line and free it. */
void cli_json_print(FILE *out, json_t *object);

typedef struct cli_json_origin {
    const char *stream;
    const char *group; /* NULL: read without one, and the line ends with the headers */
    const char *member;
} cli_json_origin;

/* Add the key; or all that a producer gave: timestamp, key, value and headers. */
void cli_json_key(json_t *object, const seg_message *m);
void cli_json_content(json_t *object, const seg_message *m);

void cli_json_message(FILE *out, const seg_message *m, const cli_json_origin *origin);

/* A record read from JSON, with the memory that it points into. */
typedef struct cli_json_record {
    seg_record record;
    json_t *root;
    seg_bytes *headers;
    void **decoded; /* blocks to free */
    size_t n_decoded;
} cli_json_record;

/* Read one line. `extra` (pairs) are headers that are added after the line's own. False with the
 * fault's text, which names the field. */
bool cli_json_record_read(cli_json_record *r, seg_bytes line, const seg_bytes *extra,
                          size_t n_extra, char fault[256]);
void cli_json_record_fini(cli_json_record *r);

#endif
