#include "loss.h"

#include <inttypes.h>

#include "cli.h"

void cli_loss_note(const seg_loss *loss) {
    if (loss->what == SEG_LOST_ACKS) {
        cli_note("the server lost acknowledgements of partition %" PRIu32
                 ": what lies from offset %" PRIu64 " to %" PRIu64 " may be delivered again",
                 loss->partition, loss->first, loss->end - 1);
    } else {
        cli_note("the server lost messages of partition %" PRIu32 ": offsets %" PRIu64
                 " to %" PRIu64 " of era %" PRIu64 " are gone",
                 loss->partition, loss->first, loss->end - 1, loss->era);
    }
}
