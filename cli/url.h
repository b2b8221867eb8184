/* url.h - the parts of a server's URL, for what speaks to the server without the library. */
#ifndef SEGMENTER_CLI_URL_H
#define SEGMENTER_CLI_URL_H
#include <stdbool.h>
#include <stddef.h>

typedef struct cli_url {
    char *path; /* of the unix socket; NULL: host and port */
    char *host;
    char *port;
    char *user; /* NULL: none */
    char *password;
    char *db; /* digits */
} cli_url;

/* `text` is a URL that seg_client_open() has taken. False where it has none of the two forms. */
bool cli_url_parse(cli_url *u, const char *text);
void cli_url_fini(cli_url *u);

/* Replace %XX by what it stands for, or every byte that is not in `plain` by its %XX. The caller frees
 * it. */
char *cli_url_decode(const char *from, size_t len);
char *cli_url_encode(const char *text, const char *plain);

#endif
