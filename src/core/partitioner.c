/* partitioner.c - FNV-1a because every language has it in four lines; keys of one pattern spread
 * well enough over the at most 4096 partitions. */
#include "core/partitioner.h"

#include "base/hash.h"

uint32_t sg_partition_of(const void *key, size_t n, uint32_t partitions) {
    return partitions > 0 ? sg_fnv1a32(key, n) % partitions : 0;
}
