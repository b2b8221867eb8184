/* seat.c - all by sequentially consistent atomics: whoever gets up, and whoever comes, each writes first and looks
 * then, so that not both can miss the other. */
#include "engine/seat.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS 2

typedef enum sg_sitter { NOBODY, OWNER, GUEST } sg_sitter;

bool sg_seat_open(sg_seat *s) {
    atomic_init(&s->sitter, OWNER);
    atomic_init(&s->turns, 0);
    atomic_init(&s->waiting, 0);
    atomic_init(&s->deep, false);
    s->poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->poke >= 0;
}

void sg_seat_close(sg_seat *s) {
    close(s->poke);
}

static bool sit(sg_seat *s, sg_sitter who) {
    int nobody = NOBODY;
    return atomic_compare_exchange_strong(&s->sitter, &nobody, (int)who);
}

/* ---- guests ------------------------------------------------------------------------------- */

void sg_seat_wait(sg_seat *s, sg_wait *w) {
    w->on = true;
    atomic_fetch_add(&s->waiting, 1);
}

bool sg_seat_served(sg_seat *s, sg_wait *w) {
    bool on = w->on;
    w->on = false;
    if (on)
        atomic_fetch_sub(&s->waiting, 1);
    return on;
}

bool sg_seat_take(sg_seat *s) {
    if (!sit(s, GUEST))
        return false;
    atomic_fetch_add(&s->turns, 1);
    return true;
}

static void wake_owner(sg_seat *s) {
    uint64_t one = 1;
    int saved = errno;
    while (write(s->poke, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

void sg_seat_leave(sg_seat *s, bool urgent) {
    atomic_store(&s->sitter, NOBODY);
    bool deep = atomic_exchange(&s->deep, false);
    if (urgent || deep || atomic_load(&s->waiting) > 0)
        wake_owner(s);
}

bool sg_seat_taken(const sg_seat *s) {
    return atomic_load(&s->sitter) != NOBODY;
}

void sg_seat_poke(sg_seat *s) {
    if (atomic_load(&s->sitter) == NOBODY)
        wake_owner(s);
}

/* ---- the owner ---------------------------------------------------------------------------- */

bool sg_seat_yield(sg_seat *s) {
    if (atomic_load(&s->waiting) > 0)
        return false;
    atomic_store(&s->sitter, NOBODY);
    return atomic_load(&s->waiting) == 0 || !sit(s, OWNER);
}

/* A guest has sat for a whole tick: it will wake us. False: it is gone already. */
static bool sleep_deep(sg_seat *s) {
    atomic_store(&s->deep, true);
    return atomic_load(&s->sitter) == GUEST || !atomic_exchange(&s->deep, false);
}

void sg_seat_return(sg_seat *s, bool (*urgent)(void *arg), void *arg) {
    unsigned seen = atomic_load(&s->turns);
    int wait = TICK_MS;
    for (;;) {
        struct pollfd p = {.fd = s->poke, .events = POLLIN};
        bool passed = poll(&p, 1, wait) == 0;
        uint64_t count;
        if (!passed && read(s->poke, &count, sizeof count) < 0)
            count = 0; /* nothing there, or interrupted: look all the same */
        unsigned turns = atomic_load(&s->turns);
        bool quiet = passed && turns == seen;
        seen = turns;
        if ((quiet || urgent(arg) || atomic_load(&s->waiting) > 0) && sit(s, OWNER))
            return;
        wait = quiet && atomic_load(&s->sitter) == GUEST && sleep_deep(s) ? -1 : TICK_MS;
    }
}
