/* histogram.c - see histogram.h. Up to 2^BITS each value has its own bucket; above, each power of two
 * is cut into 2^BITS equal ones. */
#include "histogram.h"

enum { SUB = 1 << CLI_HISTOGRAM_BITS };

static unsigned bucket_of(uint64_t ns) {
    if (ns < SUB) {
        return (unsigned)ns;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - CLI_HISTOGRAM_BITS;
    unsigned bucket = (shift + 1) * SUB + (unsigned)((ns >> shift) - SUB);
    return bucket < CLI_HISTOGRAM_BUCKETS ? bucket : CLI_HISTOGRAM_BUCKETS - 1;
}

/* The middle of what falls into it. */
static double value_of(unsigned bucket) {
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = bucket / SUB - 1;
    return ((double)(SUB + bucket % SUB) + 0.5) * (double)(UINT64_C(1) << shift);
}

void cli_histogram_add(cli_histogram *h, int64_t ns) {
    ns = ns < 0 ? 0 : ns;
    h->buckets[bucket_of((uint64_t)ns)]++;
    h->count++;
    h->max = ns > h->max ? ns : h->max;
}

void cli_histogram_merge(cli_histogram *to, const cli_histogram *from) {
    for (unsigned i = 0; i < CLI_HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
    to->count += from->count;
    to->max = from->max > to->max ? from->max : to->max;
}

double cli_histogram_at(const cli_histogram *h, double part) {
    double wanted = part * (double)h->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < CLI_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            double value = value_of(i);
            return value < (double)h->max ? value : (double)h->max;
        }
    }
    return 0;
}
