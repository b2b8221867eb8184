/* hash.h - FNV-1a and CRC-32C. Pure. */
#ifndef SG_BASE_HASH_H
#define SG_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 32 bit: the published parameters (offset basis 2166136261, prime 16777619). */
uint32_t sg_fnv1a32(const void *p, size_t n);

/* CRC-32C (Castagnoli, reflected 0x82f63b78, as in iSCSI, RFC 3720 B.4): "123456789" gives
 * e3069283. `crc` is 0 or what the bytes before gave. Uses the CPU's instruction where it has one.
 */
uint32_t sg_crc32c(uint32_t crc, const void *p, size_t n);

/* The same by tables, on any CPU: what sg_crc32c falls back to, and what the tests hold it to. */
uint32_t sg_crc32c_portable(uint32_t crc, const void *p, size_t n);
#endif
