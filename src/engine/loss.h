/* loss.h - what the server has lost, in words. */
#ifndef SG_ENGINE_LOSS_H
#define SG_ENGINE_LOSS_H
#include <segmenter/segmenter.h>

#include "base/log.h"

/* As the result of a call: SEG_ELOST. */
seg_status sg_loss_error(const seg_loss *loss, seg_error *err);
/* The loss that is told where the one before was not told yet (end 0: there was none): no less than
 * both. What came between them, and is there, counts as gone where the era changed meanwhile. */
seg_loss sg_loss_join(const seg_loss *before, const seg_loss *now);
void sg_loss_log(sg_log *log, const char *stream, const seg_loss *loss);
#endif
