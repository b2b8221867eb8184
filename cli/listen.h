/* listen.h - a TCP socket that listens, from an address as people write it. */
#ifndef SEGMENTER_CLI_LISTEN_H
#define SEGMENTER_CLI_LISTEN_H
#include <stdbool.h>
#include <stddef.h>

typedef struct cli_listen {
    int fd;
    bool loopback;    /* only this machine reaches it */
    char address[64]; /* "127.0.0.1:9464", "[::]:9464": with the port that the system chose */
} cli_listen;

/* "HOST:PORT", "[HOST]:PORT", ":PORT" (every address of the machine); port 0: the system chooses. True
 * where it is one of them: `host` gets HOST, "" for none, `port` PORT. */
bool cli_listen_parse(const char *text, char *host, size_t cap, char port[8]);

/* Returns an exit code. */
int cli_listen_open(cli_listen *l, const char *text);

#endif
