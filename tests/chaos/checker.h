/* checker.h - judge a history: a pure function from what the processes wrote down to what is wrong.
 *
 * Everything in it was seen from outside: what was sent and answered, what was delivered and
 * acknowledged, what a reader found in the logs at the end. So a promise that is broken within the
 * library or the server shows here if anybody could have noticed. */
#ifndef SG_CHAOS_CHECKER_H
#define SG_CHAOS_CHECKER_H

#include "anomalies.h"
#include "history.h"

/* The records are sorted (history_load, history_sort). */
void checker_judge(verdict *out, const history_log *l);

#endif
