/* damage.c - see damage.h. */
#include "damage.h"

bool cli_is_damage(seg_status status) {
    return status == SEG_EPROTO || status == SEG_ELOST;
}
