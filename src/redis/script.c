/* script.c - a call keeps its arguments, encoded end to end, until its result: they are needed
 * again where the server does not know the script. */
#include "redis/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "redis/script_text.h"

#define ARGS_MAX ((size_t)1 << 30)

struct sg_script {
    struct sg_script_text text; /* first and only: the table of the build is seen as these */
};

struct sg_call {
    const sg_script *script;
    size_t n_keys, n_args; /* n_args counts keys too */
    sg_buf args;           /* for each: its length (size_t), its bytes */
    bool failed;
    sg_conn *conn;
    sg_result_fn *fn;
    void *arg;
};

const sg_script *sg_script_find(const char *name) {
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        if (strcmp(sg_script_texts[i].name, name) == 0)
            return (const sg_script *)(const void *)&sg_script_texts[i];
    }
    abort();
}

const char *sg_script_body(const sg_script *s, size_t *len) {
    *len = s->text.len;
    return s->text.body;
}

const char *sg_script_digest(const sg_script *s, size_t *len) {
    *len = strlen(s->text.sha1);
    return s->text.sha1;
}

sg_call *sg_call_new(const sg_script *s, size_t n_keys) {
    sg_call *k = sg_calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->script = s;
    k->n_keys = n_keys;
    sg_buf_init(&k->args, ARGS_MAX);
    return k;
}

void sg_call_arg(sg_call *k, const void *data, size_t len) {
    if (k == NULL || k->failed)
        return;
    k->failed = len > ARGS_MAX || !sg_buf_reserve(&k->args, sizeof len + len);
    if (k->failed)
        return;
    sg_buf_append(&k->args, &len, sizeof len);
    sg_buf_append(&k->args, data, len);
    k->n_args++;
}

void sg_call_str(sg_call *k, const char *s) {
    sg_call_arg(k, s, strlen(s));
}

void sg_call_u64(sg_call *k, uint64_t v) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, v);
    sg_call_arg(k, digits, (size_t)n);
}

static void free_call(sg_call *k) {
    sg_buf_fini(&k->args);
    sg_free(k);
}

/* One request of it: EVALSHA with the digest, or EVAL with the body. */
static bool request(sg_call *k, bool whole, sg_result_fn *fn) {
    const struct sg_script_text *t = &k->script->text;
    sg_conn *c = k->conn;
    if (!sg_conn_begin(c))
        return false;
    sg_conn_name(c, t->name);
    sg_conn_command(c, 3 + k->n_args);
    sg_conn_arg_str(c, whole ? "EVAL" : "EVALSHA");
    sg_conn_arg(c, whole ? t->body : t->sha1, whole ? t->len : strlen(t->sha1));
    sg_conn_arg_u64(c, k->n_keys);
    for (size_t at = 0; at < k->args.len;) {
        size_t len;
        memcpy(&len, k->args.data + at, sizeof len);
        at += sizeof len;
        sg_conn_arg(c, k->args.data + at, len);
        at += len;
    }
    return sg_conn_end(c, fn, k, 0);
}

static void on_result(void *arg, const sg_result *result) {
    sg_call *k = arg;
    k->fn(k->arg, result);
    free_call(k);
}

static void on_first_result(void *arg, const sg_result *result) {
    sg_call *k = arg;
    bool unknown = result->status == SEG_ESERVER && strncmp(result->text, "NOSCRIPT", 8) == 0;
    if (!unknown) {
        on_result(k, result);
        return;
    }
    if (request(k, true, on_result))
        return;
    /* It was not executed: where the connection is still up, there was no memory to ask again. */
    sg_result failed = {.status = SEG_ENOMEM, .text = "out of memory"};
    if (!sg_conn_up(k->conn))
        failed = (sg_result){.status = SEG_ECONN, .lost = true, .text = "the connection is down"};
    on_result(k, &failed);
}

bool sg_call_send(sg_call *k, sg_conn *c, sg_result_fn *fn, void *arg) {
    if (k == NULL)
        return false;
    k->conn = c;
    k->fn = fn;
    k->arg = arg;
    if (!k->failed && request(k, false, on_first_result))
        return true;
    free_call(k);
    return false;
}
