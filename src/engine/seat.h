/* seat.h - whose turn it is to wait for a loop's sockets. Mostly the loop's own thread does, its owner. But
 * a thread of the application that waits for an answer anyway can sit there itself, and gets the answer
 * without being woken by another thread, which on a small message is most of the time that it takes:
 *
 *   owner sits:   application ── wakes ──> owner ── socket ──> server ── socket ──> owner ── wakes ──> application
 *   guest sits:   application ── socket ──> server ── socket ──> application
 *
 * A guest never chases the owner away. The owner gets up by itself, when it has just answered the only one
 * that was waiting: that one will mostly be back soon, and finds the seat free. If nobody came for a tick,
 * or somebody pokes, the owner sits down again. So between two turns of guests the sockets can be left alone for
 * two ticks, while the application is busy with what it got. */
#ifndef SG_ENGINE_SEAT_H
#define SG_ENGINE_SEAT_H
#include <stdatomic.h>
#include <stdbool.h>

typedef struct sg_seat {
    atomic_int sitter;  /* one of sg_sitter */
    atomic_uint turns;  /* of guests, so far */
    atomic_int waiting; /* threads that wait to be woken, as somebody else sits */
    atomic_bool deep;   /* the owner sleeps without a tick: the guest that gets up has to wake it */
    int poke;           /* eventfd: wakes the owner while it stands aside */
} sg_seat;

/* One who waits for something; the lock of what it waits for guards it. */
typedef struct sg_wait {
    bool on;
} sg_wait;

bool sg_seat_open(sg_seat *s); /* the owner sits. false: no descriptor; errno tells */
void sg_seat_close(sg_seat *s);

/* Guests. First say that you wait, then try to sit, so that either you do, or whoever gets up sees you. */
void sg_seat_wait(sg_seat *s, sg_wait *w);
/* It needs to wait no more: it was woken, or sits itself. Returns whether it was waiting. */
bool sg_seat_served(sg_seat *s, sg_wait *w);
bool sg_seat_take(sg_seat *s);
/* Get up. `urgent`: there is something for the next one to do. */
void sg_seat_leave(sg_seat *s, bool urgent);
bool sg_seat_taken(const sg_seat *s); /* does anybody sit, now? */
/* Something is to be done: if nobody sits, the owner comes. Any thread; async-signal-safe. */
void sg_seat_poke(sg_seat *s);

/* The owner. Get up: false where somebody waits, and it goes on sitting. */
bool sg_seat_yield(sg_seat *s);
/* Stand aside until it sits again. `urgent(arg)`: is there something to be done? */
void sg_seat_return(sg_seat *s, bool (*urgent)(void *arg), void *arg);
#endif
