/* damage.h - groups that are damaged: each is a fault of its own, and hides no other. */
#ifndef SEGMENTER_CLI_DAMAGE_H
#define SEGMENTER_CLI_DAMAGE_H
#include "cli.h"

/* Is that an error of one stream or group alone, as data of it is lost or makes no sense? */
bool cli_is_damage(seg_status status);

/* Groups that their stream lists, and that are not there: what a deletion that was interrupted leaves
 * behind, or a server that lost a key. To be deleted they are there enough. */
typedef struct cli_leftovers {
    char **names;
    size_t n;
} cli_leftovers;

/* A group that is just being made or deleted is none. On an error there are none. */
seg_status cli_leftovers_find(cli_leftovers *out, seg_client *client, const char *stream,
                              seg_error *err);
void cli_leftovers_fini(cli_leftovers *l);

#endif
