/* each.c - see each.h. */
#include "each.h"

#include <pthread.h>
#include <stdatomic.h>

#include "cli.h"

enum { THREADS = 4 };

typedef struct work {
    size_t n;
    cli_each_fn *fn;
    void *arg;
    atomic_size_t next;
} work;

static void *run(void *arg) {
    work *w = arg;
    size_t i;
    while ((i = atomic_fetch_add(&w->next, 1)) < w->n) {
        w->fn(i, w->arg);
    }
    return NULL;
}

void cli_each(size_t n, cli_each_fn *fn, void *arg) {
    work w = {.n = n, .fn = fn, .arg = arg};
    pthread_t threads[THREADS];
    size_t started = 0;
    /* This thread is one of them; without any other it does all. */
    while (started + 1 < THREADS && started + 1 < n &&
           pthread_create(&threads[started], NULL, run, &w) == 0) {
        started++;
    }
    run(&w);
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}
