/* pool.h - large pieces of memory that come and go at a high rate. The heap gives such pieces back to
 * the kernel as soon as they are free, and pays for each page again when it is touched next, which
 * costs more than all else that is done with a batch. So a pool keeps some of them.
 *
 *   sg_pool *pool = sg_pool_new(16 << 20);       at most so many bytes lie idle in it
 *   uint8_t *p = sg_pool_take(pool, 70000);      a piece of at least so many bytes
 *   sg_pool_give(p);                             on any thread, also after sg_pool_free
 *
 * Small pieces are the heap's own, and only look alike. Any thread. Under AddressSanitizer nothing is
 * kept, so that it sees each use after the end. */
#ifndef SG_BASE_POOL_H
#define SG_BASE_POOL_H
#include <stddef.h>

typedef struct sg_pool sg_pool;

sg_pool *sg_pool_new(size_t keep); /* NULL: no memory */
void sg_pool_free(sg_pool *p);     /* NULL too; its pieces live on until they are given back */

void *sg_pool_take(sg_pool *p, size_t size); /* NULL: no memory */
/* As realloc, with the first `used` bytes kept. NULL: no memory, `piece` is as before. */
void *sg_pool_grow(sg_pool *p, void *piece, size_t used, size_t size);
size_t sg_pool_room(const void *piece); /* bytes that it has, at least as many as asked for */
void sg_pool_give(void *piece);         /* NULL too */
#endif
