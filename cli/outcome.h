/* outcome.h - what came of a message that a command handled. */
#ifndef SEGMENTER_CLI_OUTCOME_H
#define SEGMENTER_CLI_OUTCOME_H
#include <stdint.h>

#include <segmenter/segmenter.h>

enum { CLI_REASON_MAX = 255 };

typedef struct cli_outcome {
    seg_verdict verdict;
    int64_t delay; /* of SEG_RETRY, as in seg_settlement */
    char reason[CLI_REASON_MAX + 1];
} cli_outcome;

#endif
