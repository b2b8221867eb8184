/* doctor_rights.c - what the user may not do, and what that means. */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

static void append(char **list, const char *text, const char *between) {
    char *longer = *list ? cli_format("%s%s%s", *list, between, text) : cli_format("%s", text);
    free(*list);
    *list = longer;
}

typedef struct lacks {
    char *needed, *optional, *unknown; /* rules */
    char *worse;                       /* what is worse without the optional ones */
    size_t n;                          /* of the needed ones */
    bool only_looks; /* has what looking needs, and nothing of what writing does */
} lacks;

static lacks count_lacks(const seg_server_info *s) {
    lacks l = {.only_looks = true};
    const seg_right *r;
    for (size_t i = 0; (r = seg_server_info_right(s, i)); i++) {
        if (!r->optional && r->granted == (r->reading ? SEG_NO : SEG_YES)) {
            l.only_looks = false;
        }
    }
    for (size_t i = 0; (r = seg_server_info_right(s, i)); i++) {
        if (l.only_looks && r->optional && !r->reading) {
            continue;
        }
        if (r->granted == SEG_NO && r->optional) {
            append(&l.optional, r->rule, " ");
            if (!l.worse || !strstr(l.worse, r->purpose)) {
                append(&l.worse, r->purpose, "; ");
            }
        } else if (r->granted == SEG_NO) {
            append(&l.needed, r->rule, " ");
            l.n++;
        } else if (r->granted == SEG_MAYBE) {
            append(&l.unknown, r->rule, " ");
        }
    }
    return l;
}

static void say_needed(cli_doctor *d, const lacks *l, const char *user) {
    if (l->only_looks) {
        cli_find(d, CLI_INFO, "rights", "user %s may only look", user);
        cli_because(d, "producers and consumers cannot work as this user: %zu rights are missing",
                    l->n);
        cli_advise(d, "where they should: segmenter doctor --acl %s", user);
    } else {
        cli_find(d, CLI_ERROR, "rights", "user %s lacks rights that are needed: %s", user,
                 l->needed);
        cli_because(d, "what needs them is refused, in the middle of what it does");
        cli_advise(d, "ACL SETUSER %s %s", user, l->needed);
    }
}

void cli_examine_rights(cli_doctor *d) {
    const char *user = seg_server_info_user(d->server);
    lacks l = count_lacks(d->server);
    bool is_default = user && strcmp(user, "default") == 0;
    const char *name = user ? user : "NAME"; /* for its own eyes, who may not ask for it */
    if (l.needed) {
        say_needed(d, &l, name);
    }
    if (l.optional) {
        cli_find(d, CLI_INFO, "rights", "user %s lacks rights that we can do without: %s", name,
                 l.optional);
        cli_because(d, "%s", l.worse);
        cli_advise(d, "ACL SETUSER %s %s", name, l.optional);
    }
    if (l.unknown) {
        cli_find(d, CLI_INFO, "rights", "unknown, as they cannot be asked about: %s", l.unknown);
    }
    if (!l.needed && !l.optional && !l.unknown) {
        cli_find(d, CLI_FINE, "rights", "user %s has all rights that are needed", name);
    }
    if (is_default && !l.needed) {
        cli_find(d, CLI_INFO, "rights", "the user is default, who usually may do everything");
        cli_because(d, "whoever gets this password has all other data on the server as well");
        cli_advise(d, "make a user for the namespace: segmenter doctor --acl");
    }
    free(l.needed);
    free(l.optional);
    free(l.unknown);
    free(l.worse);
}
