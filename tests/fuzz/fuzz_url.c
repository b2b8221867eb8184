/* fuzz_url.c - URLs: one that is understood, written down again from its parts, is the same one; of
 * one that is not, the fault never shows what may be a password. */
#include "core/url.h"

#include <ctype.h>
#include <strings.h>

#include "base/buf.h"
#include "fuzz.h"

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void put_escaped(sg_buf *out, const char *text) {
    for (const char *s = text; s != NULL && *s != '\0'; s++)
        FUZZ_CHECK(isalnum((unsigned char)*s) ? sg_buf_byte(out, (uint8_t)*s)
                                              : sg_buf_printf(out, "%%%02x", (unsigned char)*s));
}

static void put_user(sg_buf *out, const sg_url *u) {
    put_escaped(out, u->user);
    if (u->password != NULL)
        sg_buf_byte(out, ':');
    put_escaped(out, u->password);
    if (u->user != NULL || u->password != NULL)
        sg_buf_byte(out, '@');
}

static void put_url(sg_buf *out, const sg_url *u) {
    if (u->path != NULL) {
        sg_buf_str(out, "UNIX://");
        put_user(out, u);
        sg_buf_byte(out, '/'); /* the first byte of the path */
        put_escaped(out, u->path + 1);
        sg_buf_printf(out, "?db=%u", u->db);
    } else {
        sg_buf_str(out, "redis://");
        put_user(out, u);
        if (strchr(u->host, ':') != NULL) {
            sg_buf_byte(out, '[');
            put_escaped(out, u->host);
            sg_buf_byte(out, ']');
        } else {
            sg_buf_str(out, u->host);
        }
        sg_buf_printf(out, ":%u/%u", u->port, u->db);
    }
    FUZZ_CHECK(sg_buf_byte(out, '\0'));
}

static void check_parts(const sg_url *u) {
    FUZZ_CHECK((u->path == NULL) != (u->host == NULL));
    FUZZ_CHECK(u->path == NULL || (u->path[0] == '/' && strlen(u->path) <= 107));
    FUZZ_CHECK(u->path != NULL || (u->host[0] != '\0' && u->port != 0));
    FUZZ_CHECK(u->db <= INT32_MAX);
}

static void check_shown(const sg_url *u) {
    char whole[1024], cut[16];
    sg_url_show(u, whole, sizeof whole);
    sg_url_show(u, cut, sizeof cut);
    FUZZ_CHECK(whole[0] != '\0' && strncmp(whole, cut, sizeof cut - 1) == 0);
}

/* Of redis:// nothing is quoted; of unix:// the key of a query, which is no password's place. */
static void check_fault(const char *text, const seg_error *err) {
    FUZZ_CHECK(err->status == SEG_EINVAL && err->text[0] != '\0');
    FUZZ_CHECK(strncasecmp(text, "unix://", 7) == 0 || strstr(err->text, "hunter2") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    char *text = fuzz_text((fuzz_input){data, len});
    sg_url url, again;
    seg_error err;
    if (sg_url_parse(&url, text, &err) != SEG_OK) {
        check_fault(text, &err);
        free(text);
        return 0;
    }
    sg_buf canonical;
    sg_buf_init(&canonical, SIZE_MAX);
    check_parts(&url);
    check_shown(&url);
    put_url(&canonical, &url);
    FUZZ_CHECK(sg_url_parse(&again, (char *)canonical.data, &err) == SEG_OK);
    FUZZ_CHECK(same(url.host, again.host) && same(url.path, again.path));
    FUZZ_CHECK(same(url.user, again.user) && same(url.password, again.password));
    FUZZ_CHECK(url.port == again.port && url.db == again.db);
    sg_url_fini(&url);
    sg_url_fini(&again);
    sg_buf_fini(&canonical);
    free(text);
    return 0;
}
