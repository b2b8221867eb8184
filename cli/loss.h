/* loss.h - telling people that the server has lost something. */
#ifndef SEGMENTER_CLI_LOSS_H
#define SEGMENTER_CLI_LOSS_H
#include <segmenter/segmenter.h>

/* One line on stderr. */
void cli_loss_note(const seg_loss *loss);

#endif
