/* url.h - the parts of a server's URL, for what speaks to the server without the library. */
#ifndef SEGMENTER_CLI_URL_H
#define SEGMENTER_CLI_URL_H
#include <stdbool.h>

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

#endif
