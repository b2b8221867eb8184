/* event.h - a descriptor that an application's event loop can wait on: readable while it is raised.
 * A zeroed one is closed, and costs nothing until somebody asks for the descriptor. Its owner's
 * lock guards it. */
#ifndef SG_BASE_EVENT_H
#define SG_BASE_EVENT_H
#include <stdbool.h>

typedef struct sg_event {
    int fd; /* where it is open */
    bool open, raised;
} sg_event;

/* The descriptor; opened, and not raised, where it was closed. -1: none to be had. */
int sg_event_open(sg_event *e);
bool sg_event_is_open(const sg_event *e);
/* Raise or lower it. A system call where that changes something; nothing while it is closed. */
void sg_event_set(sg_event *e, bool raised);
void sg_event_close(sg_event *e);
#endif
