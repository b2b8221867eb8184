/* checks.h - the parts of the checker, in the order in which they run: a part marks what it has
 * explained, and later ones pass it over. */
#ifndef SG_CHAOS_CHECKS_H
#define SG_CHAOS_CHECKS_H

#include "story.h"

void check_content(story *s, verdict *v); /* of places: phantoms, contradictions, duplicates */
void check_groups(story *s, verdict *v);  /* deliveries and commits, in the order of time */
void check_ends(story *s, verdict *v);    /* where the groups are at the end; what looked wrong */
void check_losses(story *s, verdict *v);  /* what is gone, and who was told */
void check_order(story *s, verdict *v);   /* of the log: keys' order, holes */
void check_stages(story *s, verdict *v);  /* outputs */
void check_owners(story *s, verdict *v);  /* liveness */

#endif
