/* damage.h - groups that are damaged: each is a fault of its own, and hides no other. */
#ifndef SEGMENTER_CLI_DAMAGE_H
#define SEGMENTER_CLI_DAMAGE_H
#include "cli.h"

/* Is that an error of one stream or group alone, as data of it is lost or makes no sense? */
bool cli_is_damage(seg_status status);

#endif
