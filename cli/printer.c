/* printer.c - see printer.h. */
#include "printer.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "json_line.h"
#include "text.h"

enum {
    KEY_SHOWN = 32,   /* columns of a key on a terminal; longer ones are cut */
    KEY_ALIGNED = 24, /* a longer key does not push all that follow it */
    DEFAULT_WIDTH = 80
};

static size_t terminal_width(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO)) {
        return 0;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                           : DEFAULT_WIDTH;
}

bool cli_printer_init(cli_printer *p, const char *stream, const char *format, bool json) {
    char fault[128];
    *p = (cli_printer){.stream = stream, .json = json, .templated = format != NULL};
    if (json && format) {
        cli_usage("-f and -J exclude each other");
        return false;
    }
    if (!cli_template_parse(&p->format, format ? format : "", fault)) {
        cli_usage("-f: %s", fault);
        return false;
    }
    p->width = terminal_width();
    return true;
}

void cli_printer_fini(cli_printer *p) {
    cli_template_fini(&p->format);
    cli_buf_fini(&p->line);
}

/* How many bytes of the clean text fit into so many columns; sets how many it takes. */
static size_t fitting(const char *text, size_t columns, size_t *taken) {
    mbstate_t state = {0};
    size_t at = 0, used = 0, left = strlen(text);
    while (left > 0) {
        wchar_t c;
        size_t n = mbrtowc(&c, text + at, left, &state);
        if (n == 0 || n > left) { /* not a locale that knows it: byte by byte */
            memset(&state, 0, sizeof state);
            n = 1;
            c = L'?';
        }
        int wide = wcwidth(c);
        if (used + (size_t)(wide > 0 ? wide : 0) > columns) {
            break;
        }
        used += (size_t)(wide > 0 ? wide : 0);
        at += n;
        left -= n;
    }
    *taken = used;
    return at;
}

/* Add the bytes, cleaned, in at most so many columns (0: all of it). Returns how many it took. */
static size_t add_clean(cli_buf *b, seg_bytes bytes, size_t columns) {
    size_t taken = 0;
    /* No character has more than four bytes, but for what adds to the one before it. */
    size_t most = columns > 0 && bytes.len > 8 * columns ? 8 * columns : bytes.len;
    char *to = cli_buf_room(b, most + 4);
    cli_text_clean(to, most + 1, bytes);
    size_t len = fitting(to, columns > 0 ? columns : SIZE_MAX, &taken);
    if (columns > 0 && len < strlen(to)) {
        len = fitting(to, columns > 3 ? columns - 3 : 0, &taken);
        memcpy(to + len, "...", 4); /* in place of at least as many bytes, or there was more room */
        len += 3;
        taken += 3;
    }
    b->len += len;
    return taken;
}

static void pad(cli_buf *b, size_t taken, size_t *width, size_t most) {
    if (taken > *width) {
        *width = taken < most ? taken : most;
    }
    for (; taken < *width; taken++) {
        cli_buf_add(b, " ", 1);
    }
    cli_buf_add(b, "  ", 2);
}

/* "0:12  2026-11-22T10:00:00Z  ann  tea". What is read by programs is not cut; they are better off with
 * -J. */
static void write_line(cli_printer *p, FILE *out, const seg_message *m) {
    seg_delivery d = seg_message_delivery(m);
    seg_bytes key = seg_message_key(m);
    char text[64];
    int len = snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu64, d.partition, d.id.offset);
    cli_buf *b = &p->line;
    b->len = 0;
    cli_buf_text(b, text);
    pad(b, (size_t)len, &p->place, 20);
    cli_text_time(text, seg_message_timestamp(m));
    cli_buf_text(b, text);
    for (size_t n = strlen(text); n < 20; n++) {
        cli_buf_add(b, " ", 1);
    }
    cli_buf_add(b, "  ", 2);
    size_t taken = key.len ? add_clean(b, key, p->width ? KEY_SHOWN : 0) : 1;
    if (key.len == 0) {
        cli_buf_add(b, "-", 1);
    }
    pad(b, taken, &p->key, KEY_ALIGNED);
    size_t before = p->place + 2 + 20 + 2 + (taken > p->key ? taken : p->key) + 2;
    add_clean(b, seg_message_value(m),
              p->width == 0            ? 0
              : p->width > before + 10 ? p->width - before
                                       : 10);
    cli_buf_add(b, "\n", 1);
    fwrite(b->data, 1, b->len, out);
}

void cli_printer_write(cli_printer *p, FILE *out, const seg_message *m) {
    if (p->json) {
        const cli_json_origin origin = {.stream = p->stream};
        p->line.len = 0;
        cli_json_line(&p->line, m, &origin);
        fwrite(p->line.data, 1, p->line.len, out);
    } else if (p->templated) {
        seg_delivery d = seg_message_delivery(m);
        cli_template_write(&p->format, out, m, &d);
    } else {
        write_line(p, out, m);
    }
    if (out == stdout) {
        cli_stdout_failed();
    }
}

/* ---- All of a message ------------------------------------------------------------------------ */

void cli_shorten(char *out, size_t cap, seg_bytes what) {
    cli_text_clean(out, cap - 3, what);
    if (what.len == 0) {
        memcpy(out, "-", 2);
    } else if (what.len > strlen(out)) {
        memcpy(out + strlen(out), "...", 4);
    }
}

void cli_show_text(const char *name, const char *text) {
    printf("%-13s %s\n", name, text);
}

static void show_headers(const seg_message *m) {
    seg_bytes name, value;
    for (size_t i = 0; seg_message_header(m, i, &name, &value); i++) {
        char left[256], right[1024];
        cli_shorten(left, sizeof left, name);
        cli_shorten(right, sizeof right, value);
        printf("%-13s %s: %s\n", "header", left, right);
    }
}

void cli_show_content(const seg_message *m) {
    char text[1024];
    cli_text_time(text, seg_message_timestamp(m));
    cli_show_text("timestamp", text);
    cli_shorten(text, sizeof text, seg_message_key(m));
    cli_show_text("key", text);
    show_headers(m);
    seg_bytes value = seg_message_value(m);
    printf("%-13s %zu byte%s\n", "value", value.len, value.len == 1 ? "" : "s");
    if (value.len) {
        fwrite(value.data, 1, value.len, stdout);
        fputc('\n', stdout);
    }
}
