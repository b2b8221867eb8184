/* env.c - see env.h.
 *
 * Names and values come from whoever may write to the stream. So a header can only set a variable
 * that begins with SEGMENTER_HEADER_, and no variable of that name, or of another message, comes
 * from our own environment. */
#include "env.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define HEADER "SEGMENTER_HEADER_"

static const char *const names[] = {"STREAM", "GROUP",   "KEY",      "PARTITION",
                                    "OFFSET", "ATTEMPT", "TIMESTAMP"};

static void add(cli_env *e, char *var) {
    if (e->n == e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 128;
        e->vars = cli_grow(e->vars, e->capacity, sizeof *e->vars);
    }
    e->vars[e->n++] = var;
}

static bool is_ours(const char *var) {
    static const char prefix[] = "SEGMENTER_";
    if (strncmp(var, prefix, sizeof prefix - 1) != 0) {
        return false;
    }
    if (strncmp(var, HEADER, sizeof HEADER - 1) == 0) {
        return true;
    }
    const char *name = var + sizeof prefix - 1;
    size_t len = strcspn(name, "=");
    for (size_t i = 0; i < CLI_COUNT(names); i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            return true;
        }
    }
    return false;
}

/* A header's variable; `name_len` is the length of its name, with the prefix. */
typedef struct header_var {
    char *text;
    size_t name_len;
    size_t order;
} header_var;

static char variable_char(char c) {
    if (c >= 'a' && c <= 'z') {
        return (char)(c - 'a' + 'A');
    }
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
}

static header_var make_header(seg_bytes name, seg_bytes value, size_t order) {
    size_t prefix = sizeof HEADER - 1;
    header_var h = {NULL, prefix + name.len, order};
    const char *from = name.data;
    size_t value_len = value.len ? strnlen(value.data, value.len) : 0;
    h.text = cli_alloc(h.name_len + value_len + 2, 1);
    memcpy(h.text, HEADER, prefix);
    for (size_t i = 0; i < name.len; i++) {
        h.text[prefix + i] = variable_char(from[i]);
    }
    h.text[h.name_len] = '=';
    if (value_len) {
        memcpy(h.text + h.name_len + 1, value.data, value_len);
    }
    return h;
}

static bool same_name(const header_var *a, const header_var *b) {
    return a->name_len == b->name_len && memcmp(a->text, b->text, a->name_len) == 0;
}

static int by_name(const void *left, const void *right) {
    const header_var *a = left, *b = right;
    if (a->name_len != b->name_len) {
        return a->name_len < b->name_len ? -1 : 1;
    }
    int order = memcmp(a->text, b->text, a->name_len);
    return order ? order : a->order < b->order ? -1 : 1;
}

/* Of headers whose variables have one name the last counts. Sorted, as there can be very many. */
static void add_headers(cli_env *e, const seg_message *m) {
    size_t n = seg_message_headers(m);
    header_var *vars = cli_alloc(n, sizeof *vars);
    for (size_t i = 0; i < n; i++) {
        seg_bytes name, value;
        seg_message_header(m, i, &name, &value);
        vars[i] = make_header(name, value, i);
    }
    if (n > 1) {
        qsort(vars, n, sizeof *vars, by_name);
    }
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && same_name(&vars[i], &vars[i + 1])) {
            free(vars[i].text);
        } else {
            add(e, vars[i].text);
        }
    }
    free(vars);
}

void cli_env_init(cli_env *e, const cli_json_origin *origin, const seg_message *m) {
    *e = (cli_env){0};
    for (char **var = environ; var && *var; var++) {
        if (!is_ours(*var)) {
            add(e, *var);
        }
    }
    e->borrowed = e->n;
    add(e, cli_format("SEGMENTER_STREAM=%s", origin->stream));
    add(e, cli_format("SEGMENTER_GROUP=%s", origin->group));
    if (m) {
        seg_delivery d = seg_message_delivery(m);
        seg_bytes key = seg_message_key(m);
        add(e,
            cli_format("SEGMENTER_KEY=%.*s", (int)key.len, key.len ? (const char *)key.data : ""));
        add(e, cli_format("SEGMENTER_PARTITION=%" PRIu32, d.partition));
        add(e, cli_format("SEGMENTER_OFFSET=%" PRIu64, d.id.offset));
        add(e, cli_format("SEGMENTER_ATTEMPT=%" PRIu32, d.attempt));
        add(e, cli_format("SEGMENTER_TIMESTAMP=%" PRId64, seg_message_timestamp(m)));
        add_headers(e, m);
    }
    add(e, NULL);
}

void cli_env_fini(cli_env *e) {
    for (size_t i = e->borrowed; i < e->n; i++) {
        free(e->vars[i]);
    }
    free(e->vars);
    *e = (cli_env){0};
}
