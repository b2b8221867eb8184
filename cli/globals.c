/* globals.c - the options of all commands: which server, which namespace, how much to say.
 *
 * What comes first: the command line; then, as one, what a context holds that the command line names;
 * the environment; the selected context; the defaults. A context's password is for its own URL only:
 * it is never sent to another server that -u or SEGMENTER_URL names. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "context.h"
#include "url.h"

enum { PASSWORD_MAX = 4096 };

const cli_opt cli_global_opts[] = {
    {.name = "url",
     .letter = 'u',
     .type = CLI_TEXT,
     .arg = "URL",
     .at = offsetof(cli_globals, url),
     .fallback = "redis://127.0.0.1:6379",
     .env = "SEGMENTER_URL",
     .text = "server: redis://[user[:password]@]host[:port][/db] or "
             "unix://[user[:password]@]/path[?db=n]"},
    {.name = "password-file",
     .type = CLI_TEXT,
     .arg = "FILE",
     .at = offsetof(cli_globals, password_file),
     .env = "SEGMENTER_PASSWORD_FILE",
     .text = "the password for the URL is the first line of FILE"},
    {.name = "context",
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(cli_globals, context),
     .env = "SEGMENTER_CONTEXT",
     .text = "a server that is kept by name: see 'segmenter context add --help'"},
    {.name = "namespace",
     .letter = 'N',
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(cli_globals, name_space),
     .fallback = "default",
     .env = "SEGMENTER_NAMESPACE",
     .text = "the container of the streams"},
    {.name = "verbose",
     .letter = 'v',
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, verbose),
     .text = "report connections, rebalances and totals on stderr"},
    {.name = "trace",
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, trace),
     .text =
         "report each request to the server and how long it took; no keys' or messages' contents"},
    {.name = "help",
     .letter = 'h',
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, help),
     .text = "print this help"},
    {.name = "version",
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, version),
     .text = "print the version"},
};
const size_t cli_n_global_opts = CLI_COUNT(cli_global_opts);

/* ---- The password ---------------------------------------------------------------------------- */

/* The first line. NULL with a report. */
static char *read_password(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text = cli_alloc(PASSWORD_MAX + 2, 1);
    size_t used = 0;
    ssize_t n = -1;
    while (fd >= 0 && used <= PASSWORD_MAX &&
           (n = read(fd, text + used, PASSWORD_MAX + 1 - used)) > 0) {
        used += (size_t)n;
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    size_t len = strcspn(text, "\r\n");
    if (n < 0) {
        cli_failure("cannot read the password file '%s': %s", path, strerror(error));
    } else if (len > PASSWORD_MAX) {
        cli_failure("the first line of the password file '%s' has more than %d bytes", path,
                    PASSWORD_MAX);
    } else {
        text[len] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* `url` with the password in it: behind its user, which may be empty. NULL with a report where it
 * has one already. */
static char *with_password(const char *url, const char *password) {
    const char *start = strstr(url, "://");
    if (!start) {
        return cli_format("%s", url); /* a fault that the library names */
    }
    start += 3;
    size_t authority = strcspn(start, "/");
    const char *at = memrchr(start, '@', authority);
    size_t user = at ? (size_t)(at - start) : 0;
    if (memchr(start, ':', user)) {
        cli_usage(
            "the URL has a password already: leave it out there, or leave --password-file out");
        return NULL;
    }
    char *encoded = cli_url_encode(password, "");
    char *whole = cli_format("%.*s%.*s:%s@%s", (int)(start - url), url, (int)user, start, encoded,
                             at ? at + 1 : start);
    free(encoded);
    return whole;
}

static int add_password(cli_globals *g) {
    char *password = read_password(g->password_file);
    if (!password) {
        return CLI_FAILURE;
    }
    /* A file that is empty is no password: a service manager may know no other way to say that. */
    char *url = *password ? with_password(g->url, password) : cli_format("%s", g->url);
    explicit_bzero(password, strlen(password));
    free(password);
    if (!url) {
        return CLI_USAGE;
    }
    cli_hide_password(url);
    free(g->owned[0]);
    g->url = g->owned[0] = url;
    return CLI_OK;
}

/* ---- The context ----------------------------------------------------------------------------- */

/* Take from it what is missing. */
static int take_context(cli_globals *g, const char *name) {
    cli_context context;
    int code = cli_context_load(&context, name);
    if (code == CLI_OK && !g->url && context.url) {
        g->url = g->owned[0] = context.url;
        context.url = NULL;
        if (!g->password_file && context.password_file) {
            g->password_file = g->owned[1] = context.password_file;
            context.password_file = NULL;
        }
    }
    if (code == CLI_OK && !g->name_space && context.name_space) {
        g->name_space = g->owned[2] = context.name_space;
        context.name_space = NULL;
    }
    cli_context_fini(&context);
    return code;
}

int cli_globals_complete(cli_globals *g) {
    cli_opt_set set = {cli_global_opts, cli_n_global_opts, g};
    int code = g->context ? take_context(g, g->context) : CLI_OK;
    bool named = g->context;
    if (code != CLI_OK || !cli_parse_environment(&set)) {
        return code != CLI_OK ? code : CLI_USAGE;
    }
    if (!named && g->context) { /* the environment's */
        code = take_context(g, g->context);
    }
    g->url_given = g->url;
    g->name_space_given = g->name_space;
    if (code == CLI_OK && !g->context && !g->url) {
        code = take_context(g, NULL);
    }
    if (code != CLI_OK || !cli_parse_rest(&set)) {
        return code != CLI_OK ? code : CLI_USAGE;
    }
    return g->password_file ? add_password(g) : CLI_OK;
}

void cli_globals_fini(cli_globals *g) {
    for (size_t i = 0; i < CLI_COUNT(g->owned); i++) {
        free(g->owned[i]);
        g->owned[i] = NULL;
    }
}
