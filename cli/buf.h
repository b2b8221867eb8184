/* buf.h - bytes that grow. */
#ifndef SEGMENTER_CLI_BUF_H
#define SEGMENTER_CLI_BUF_H
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

typedef struct cli_buf {
    char *data;
    size_t len, capacity;
} cli_buf;

/* Room for `more` bytes behind what is there. The caller writes them and adds to `len`. */
char *cli_buf_room(cli_buf *b, size_t more);
void cli_buf_add(cli_buf *b, const void *data, size_t len);
void cli_buf_text(cli_buf *b, const char *text);
void cli_buf_unsigned(cli_buf *b, uint64_t value); /* decimal */
void cli_buf_signed(cli_buf *b, int64_t value);
seg_bytes cli_buf_bytes(const cli_buf *b);
void cli_buf_fini(cli_buf *b);

#endif
