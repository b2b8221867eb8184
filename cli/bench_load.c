/* bench_load.c - the messages of a benchmark, made before anything is measured, the same in each run
 * of each program: a random number generator of its own, with a fixed seed. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { POOL_BYTES = 16 << 20, KEY_SIZE = 32 };

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(uint64_t *state, unsigned bound) {
    return (unsigned)((next(state) >> 33) % bound);
}

static void fill_random(char *out, size_t size, uint64_t *state) {
    for (size_t i = 0; i < size; i += 8) {
        uint64_t bytes = next(state);
        memcpy(out + i, &bytes, size - i < 8 ? size - i : 8);
    }
}

/* An order of a shop, of about 90 bytes, with more items where there is room; padded with blanks, or
 * cut, to the size. */
static void fill_json(char *out, size_t size, uint64_t *state) {
    static const char *const events[] = {"view", "cart", "purchase", "refund", "search"};
    char text[256];
    int len =
        snprintf(text, sizeof text,
                 "{\"id\":%u,\"user\":%u,\"event\":\"%s\",\"sku\":\"A-%05u\",\"qty\":%u,"
                 "\"price\":%u.%02u",
                 10000000 + below(state, 90000000), below(state, 100000), events[below(state, 5)],
                 below(state, 20000), 1 + below(state, 9), below(state, 200), below(state, 100));
    size_t used = (size_t)len < size ? (size_t)len : size;
    memset(out, ' ', size);
    memcpy(out, text, used);
    for (unsigned i = 0; used + 80 < size; i++) {
        len = snprintf(text, sizeof text,
                       "%s{\"sku\":\"A-%05u\",\"qty\":%u,\"price\":%u.%02u,\"gift\":%s}",
                       i ? "," : ",\"items\":[", below(state, 20000), 1 + below(state, 9),
                       below(state, 200), below(state, 100), below(state, 4) ? "false" : "true");
        memcpy(out + used, text, (size_t)len);
        used += (size_t)len;
    }
    const char *end = used > 120 ? "]}" : "}";
    if (used + strlen(end) <= size) {
        memcpy(out + used, end, strlen(end));
    }
}

static void make_keys(bench_load *l, const bench_opts *o) {
    l->n_keys = o->keys ? (size_t)o->keys : 1; /* some modes have keys of their own */
    l->partitions = (uint32_t)o->partitions;
    l->key_text = cli_alloc(l->n_keys, KEY_SIZE);
    l->keys = cli_alloc(l->n_keys, sizeof *l->keys);
    l->partition = cli_alloc(l->n_keys, sizeof *l->partition);
    for (size_t i = 0; i < l->n_keys; i++) {
        char *text = l->key_text + i * KEY_SIZE;
        snprintf(text, KEY_SIZE, "user-%zu", i);
        l->keys[i] = (seg_bytes){text, strlen(text)};
        l->partition[i] = seg_partition_of(l->keys[i], l->partitions);
    }
}

void bench_load_init(bench_load *l, const bench_opts *o) {
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    if (o->size == 0) {
        return; /* a mode that sends nothing */
    }
    make_keys(l, o);
    l->value_size = (size_t)o->size;
    l->n = POOL_BYTES / l->value_size;
    l->values = cli_alloc(l->n, l->value_size);
    l->key = cli_alloc(l->n, sizeof *l->key);
    size_t bytes = 0;
    for (size_t i = 0; i < l->n; i++) {
        char *value = l->values + i * l->value_size;
        if (o->payload == BENCH_JSON) {
            fill_json(value, l->value_size, &state);
        } else {
            fill_random(value, l->value_size, &state);
        }
        l->key[i] = below(&state, (unsigned)l->n_keys);
        bytes += l->keys[l->key[i]].len + l->value_size;
    }
    l->bytes = bytes / l->n;
}

void bench_load_fini(bench_load *l) {
    free(l->values);
    free(l->key);
    free(l->key_text);
    free(l->keys);
    free(l->partition);
    *l = (bench_load){0};
}
