/* histogram.h - how often which duration came: buckets of less than a hundredth of their value, from
 * a nanosecond to some hours. Adding is a few instructions, and threads keep one each. */
#ifndef SEGMENTER_CLI_HISTOGRAM_H
#define SEGMENTER_CLI_HISTOGRAM_H
#include <stdint.h>

enum { CLI_HISTOGRAM_BITS = 7, CLI_HISTOGRAM_BUCKETS = (44 - CLI_HISTOGRAM_BITS + 1) << 7 };

typedef struct cli_histogram {
    uint64_t count;
    int64_t max;
    uint32_t buckets[CLI_HISTOGRAM_BUCKETS];
} cli_histogram; /* zeroed: empty */

void cli_histogram_add(cli_histogram *h, int64_t ns);
void cli_histogram_merge(cli_histogram *to, const cli_histogram *from);

/* The duration that `part` of all (0.99) do not exceed, in ns; 0 where there are none. */
double cli_histogram_at(const cli_histogram *h, double part);

#endif
