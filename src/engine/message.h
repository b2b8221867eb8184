/* message.h - a message as the application holds it: views into its block, and its delivery. */
#ifndef SG_ENGINE_MESSAGE_H
#define SG_ENGINE_MESSAGE_H
#include "core/block.h"

struct seg_message {
    sg_record_view view;
    seg_delivery delivery;
    /* The header that was asked for last but one: index << 32 | its place in view.headers. A
     * hint: who reads them all need not begin anew for each. */
    _Atomic uint64_t hint;
};
#endif
