/* context.h - servers that are kept by name: where each is, which namespace is used there, and in
 * which file its password is. Never the password itself.
 *
 *     ${XDG_CONFIG_HOME:-~/.config}/segmenter/contexts.json
 *     {"v":1,"selected":"prod",
 *      "contexts":{"prod":{"url":"redis://app@db1:6379","namespace":"shop","password_file":"/etc/pw"}}}
 */
#ifndef SEGMENTER_CLI_CONTEXT_H
#define SEGMENTER_CLI_CONTEXT_H

typedef struct cli_context {
    char *url;
    char *name_space;    /* NULL: not kept */
    char *password_file; /* NULL: none */
} cli_context;

/* The context of that name, or the selected one where `name` is NULL: then `out` is empty where there
 * is none. Returns an exit code. */
int cli_context_load(cli_context *out, const char *name);
void cli_context_fini(cli_context *c);

#endif
