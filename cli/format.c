/* format.c - see format.h. */
#include "format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* A literal where kind is 0. */
struct piece {
    char kind;
    const char *text;
    size_t len;
};

static int hex_value(char c) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

size_t cli_unescape(char *out, const char *text, char fault[128]) {
    static const char names[] = "ntr0\\", values[] = "\n\t\r\0\\";
    size_t n = 0;
    while (*text) {
        if (*text != '\\') {
            out[n++] = *text++;
            continue;
        }
        const char *name = text[1] ? strchr(names, text[1]) : NULL;
        if (name) {
            out[n++] = values[name - names];
            text += 2;
        } else if (text[1] == 'x' && hex_value(text[2]) >= 0 && hex_value(text[3]) >= 0) {
            out[n++] = (char)(hex_value(text[2]) * 16 + hex_value(text[3]));
            text += 4;
        } else {
            snprintf(fault, 128, "unknown escape '\\%.1s' (known: \\n \\t \\r \\0 \\\\ \\xHH)",
                     text + 1);
            return SIZE_MAX;
        }
    }
    out[n] = '\0';
    return n;
}

static void add_piece(cli_template *t, char kind, const char *text, size_t len) {
    if (kind || len) {
        t->pieces = cli_grow(t->pieces, t->n + 1, sizeof *t->pieces);
        t->pieces[t->n++] = (struct piece){kind, text, len};
    }
}

/* The text between two % signs is unescaped piece by piece: \x25 is a percent sign of its own. */
static bool add_literal(cli_template *t, char **to, const char *text, size_t len, char fault[128]) {
    char *raw = cli_format("%.*s", (int)len, text);
    size_t n = cli_unescape(*to, raw, fault);
    free(raw);
    if (n == SIZE_MAX) {
        return false;
    }
    add_piece(t, 0, *to, n);
    *to += n;
    return true;
}

bool cli_template_parse(cli_template *t, const char *text, char fault[128]) {
    *t = (cli_template){.text = cli_alloc(strlen(text) + 1, 1)};
    char *to = t->text;
    while (*text) {
        size_t len = strcspn(text, "%");
        if (!add_literal(t, &to, text, len, fault)) {
            goto failed;
        }
        text += len;
        if (!*text) {
            break;
        }
        if (!text[1] || !strchr("kvpotheEaKV%", text[1])) {
            snprintf(fault, 128, "unknown sequence '%%%.1s' (see segmenter consume --help)",
                     text + 1);
            goto failed;
        }
        add_piece(t, text[1], NULL, 0);
        text += 2;
    }
    return true;
failed:
    cli_template_fini(t);
    return false;
}

static void write_bytes(FILE *out, seg_bytes bytes) {
    if (bytes.len) {
        fwrite(bytes.data, 1, bytes.len, out);
    }
}

static void write_headers(FILE *out, const seg_message *m) {
    seg_bytes name, value;
    for (size_t i = 0; seg_message_header(m, i, &name, &value); i++) {
        if (i > 0) {
            fputc(',', out);
        }
        write_bytes(out, name);
        fputc('=', out);
        write_bytes(out, value);
    }
}

static void write_piece(const struct piece *piece, FILE *out, const seg_message *m,
                        const seg_delivery *d) {
    switch (piece->kind) {
    case 0:
        fwrite(piece->text, 1, piece->len, out);
        break;
    case 'k':
        write_bytes(out, seg_message_key(m));
        break;
    case 'v':
        write_bytes(out, seg_message_value(m));
        break;
    case 'h':
        write_headers(out, m);
        break;
    case 'p':
        fprintf(out, "%" PRIu32, d->partition);
        break;
    case 'o':
        fprintf(out, "%" PRIu64, d->id.offset);
        break;
    case 't':
        fprintf(out, "%" PRId64, seg_message_timestamp(m));
        break;
    case 'e':
        fprintf(out, "%" PRIu64, d->epoch);
        break;
    case 'E':
        fprintf(out, "%" PRIu64, d->id.era);
        break;
    case 'a':
        fprintf(out, "%" PRIu32, d->attempt);
        break;
    case 'K':
        fprintf(out, "%zu", seg_message_key(m).len);
        break;
    case 'V':
        fprintf(out, "%zu", seg_message_value(m).len);
        break;
    default:
        fputc('%', out);
    }
}

void cli_template_write(const cli_template *t, FILE *out, const seg_message *m,
                        const seg_delivery *d) {
    for (size_t i = 0; i < t->n; i++) {
        write_piece(&t->pieces[i], out, m, d);
    }
}

void cli_template_fini(cli_template *t) {
    free(t->pieces);
    free(t->text);
    *t = (cli_template){0};
}
