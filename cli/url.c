/* url.c - see url.h. The library has judged the URL before, with faults that name what is wrong; so
 * this takes it apart and says no more than yes or no. */
#include "url.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *cli_url_decode(const char *from, size_t len) {
    char *text = cli_alloc(len + 1, 1), *to = text;
    for (size_t i = 0; i < len; i++) {
        int high = from[i] == '%' && i + 2 < len ? hex_digit(from[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(from[i + 2]) : -1;
        *to++ = (char)(low >= 0 ? high * 16 + low : from[i]);
        i += low >= 0 ? 2 : 0;
    }
    return text;
}

char *cli_url_encode(const char *text, const char *plain) {
    char *encoded = cli_alloc(3 * strlen(text) + 1, 1), *to = encoded;
    for (; *text; text++) {
        if (strchr(plain, *text)) {
            *to++ = *text;
        } else {
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
    return encoded;
}

/* "user:password", "user" or ":password" */
static void parse_user(cli_url *u, const char *text, size_t len) {
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    if (user > 0) {
        u->user = cli_url_decode(text, user);
    }
    if (colon) {
        u->password = cli_url_decode(colon + 1, len - user - 1);
    }
}

static void parse_unix(cli_url *u, const char *text) {
    size_t user = strcspn(text, "/");
    if (user > 0) {
        parse_user(u, text, user - 1);
        text += user;
    }
    size_t len = strcspn(text, "?");
    u->path = cli_url_decode(text, len);
    const char *db = strstr(text + len, "db=");
    u->db = cli_format("%s", db ? db + 3 : "0");
}

static void parse_redis(cli_url *u, const char *text) {
    const char *at = memrchr(text, '@', strcspn(text, "/"));
    if (at) {
        parse_user(u, text, (size_t)(at - text));
        text = at + 1;
    }
    bool bracket = *text == '[';
    size_t len = bracket ? strcspn(++text, "]") : strcspn(text, ":/");
    u->host = cli_url_decode(text, len);
    text += len + (bracket && text[len]);
    len = strcspn(text, "/");
    u->port = len > 1 ? cli_url_decode(text + 1, len - 1) : cli_format("6379");
    text += len;
    u->db = cli_format("%s", text[0] && text[1] ? text + 1 : "0");
}

bool cli_url_parse(cli_url *u, const char *text) {
    static const char redis[] = "redis://", local[] = "unix://";
    *u = (cli_url){0};
    if (strncmp(text, local, strlen(local)) == 0) {
        parse_unix(u, text + strlen(local));
        return true;
    }
    if (strncmp(text, redis, strlen(redis)) == 0) {
        parse_redis(u, text + strlen(redis));
        return true;
    }
    return false;
}

void cli_url_fini(cli_url *u) {
    free(u->path);
    free(u->host);
    free(u->port);
    free(u->user);
    free(u->password);
    free(u->db);
    *u = (cli_url){0};
}
