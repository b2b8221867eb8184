/* json_scan.h - reads the lines that json_line.h writes of messages without a group, several times as
 * fast as jansson reads JSON. It knows that one form only, byte for byte, and leaves all other JSON to
 * jansson. */
#ifndef SEGMENTER_CLI_JSON_SCAN_H
#define SEGMENTER_CLI_JSON_SCAN_H
#include "buf.h"

typedef struct cli_json_scan {
    seg_record record; /* of the line that was read last; points into what is below */
    uint64_t partition, era, offset;
    seg_bytes *headers;
    size_t headers_room;
    cli_buf text;
} cli_json_scan;

/* False: it is another form, or no JSON at all. */
bool cli_json_scan_line(cli_json_scan *s, seg_bytes line);
void cli_json_scan_fini(cli_json_scan *s);

#endif
