/* partitioner.h - which partition a key belongs to. Pure. */
#ifndef SG_CORE_PARTITIONER_H
#define SG_CORE_PARTITIONER_H
#include <stddef.h>
#include <stdint.h>

/* FNV-1a (32 bit) of the key's bytes, modulo `partitions`; 0 where that is 0. Part of the format:
 * a producer that chose otherwise would break the order of a key. */
uint32_t sg_partition_of(const void *key, size_t n, uint32_t partitions);
#endif
