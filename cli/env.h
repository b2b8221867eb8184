/* env.h - the environment of a command that consume runs: ours, and what it is run for. */
#ifndef SEGMENTER_CLI_ENV_H
#define SEGMENTER_CLI_ENV_H
#include <stddef.h>

#include <segmenter/segmenter.h>

#include "json.h"

typedef struct cli_env {
    char **vars; /* "NAME=VALUE", a NULL at the end */
    size_t n, capacity;
    size_t borrowed; /* the first so many are not ours */
} cli_env;

/* For the message `m`; NULL: only what holds for all, stream and group. */
void cli_env_init(cli_env *e, const cli_json_origin *origin, const seg_message *m);
void cli_env_fini(cli_env *e);

#endif
