/* loss.h - what the server has lost, in words. */
#ifndef SG_ENGINE_LOSS_H
#define SG_ENGINE_LOSS_H
#include <segmenter/segmenter.h>

#include "base/log.h"

/* As the result of a call: SEG_ELOST. */
void sg_loss_error(const seg_loss *loss, seg_error *err);
void sg_loss_log(sg_log *log, const char *stream, const seg_loss *loss);
#endif
