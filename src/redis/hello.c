/* hello.c - each fault names the server, what was found, and the setting or right that mends it.
 * The password is in none: the server's own refusals do not repeat it. */
#include "redis/hello.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "redis/info.h"

/* Answers are cut to this in texts, so that the sentence around them fits. */
#define SAID "%.200s"

static bool has_user(const sg_url *url) {
    return url->user != NULL && url->user[0] != '\0';
}

/* A user without a password is one that needs none, and then takes any. */
static bool ask_auth(const sg_url *url, sg_out *out) {
    const char *password = url->password != NULL ? url->password : "";
    return sg_out_command(out, has_user(url) ? 3 : 2) && sg_out_arg(out, "AUTH", 4) &&
           (!has_user(url) || sg_out_arg(out, url->user, strlen(url->user))) &&
           sg_out_arg(out, password, strlen(password));
}

static bool ask_select(const sg_url *url, sg_out *out) {
    char db[16];
    int n = snprintf(db, sizeof db, "%" PRIu32, url->db);
    return sg_out_command(out, 2) && sg_out_arg(out, "SELECT", 6) && sg_out_arg(out, db, (size_t)n);
}

static bool ask_setname(const char *purpose, sg_out *out) {
    char name[64];
    snprintf(name, sizeof name, "segmenter-%s", purpose);
    return sg_out_command(out, 3) && sg_out_arg(out, "CLIENT", 6) &&
           sg_out_arg(out, "SETNAME", 7) && sg_out_arg(out, name, strlen(name));
}

/* A server that loads its AOF does so as its default user, and drops the transactions and the effects of
 * scripts that hold a command which that user may not run: seen on Redis 7.0.15 and Valkey 8.0.1. Each
 * append has an XSETID. */
static bool ask_dryrun(sg_out *out) {
    static const char *const words[] = {"ACL", "DRYRUN", "default", "XSETID", "sg:{x}:log", "0-1"};
    bool ok = sg_out_command(out, sizeof words / sizeof *words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ok = ok && sg_out_arg(out, words[i], strlen(words[i]));
    return ok;
}

bool sg_hello_ask(sg_hello *h, const sg_url *url, const char *purpose, sg_out *out) {
    *h = (sg_hello){.url = url};
    sg_url_show(url, h->where, sizeof h->where);
    bool ok = true;
    if (has_user(url) || url->password != NULL) {
        h->steps[h->asked++] = SG_HELLO_AUTH;
        ok = ok && ask_auth(url, out);
    }
    if (url->db != 0) {
        h->steps[h->asked++] = SG_HELLO_SELECT;
        ok = ok && ask_select(url, out);
    }
    h->steps[h->asked++] = SG_HELLO_SETNAME;
    ok = ok && ask_setname(purpose, out);
    h->steps[h->asked++] = SG_HELLO_ID;
    ok = ok && sg_out_command(out, 2) && sg_out_arg(out, "CLIENT", 6) && sg_out_arg(out, "ID", 2);
    h->steps[h->asked++] = SG_HELLO_DRYRUN;
    ok = ok && ask_dryrun(out);
    h->steps[h->asked++] = SG_HELLO_INFO;
    return ok && sg_out_command(out, 1) && sg_out_arg(out, "INFO", 4);
}

/* ---- Refusals ----------------------------------------------------------------------------- */

static sg_hello_outcome needs_password(const sg_hello *h, seg_error *err) {
    sg_fail(err, SEG_EACCES, "'%s' needs a password: give it in the URL, %s", h->where,
            h->url->path != NULL ? "unix://user:password@/path" : "redis://user:password@host");
    return SG_HELLO_HOPELESS;
}

static sg_hello_outcome lacks_right(const sg_hello *h, const char *what, const char *rule,
                                    seg_error *err) {
    const char *user = has_user(h->url) ? h->url->user : "default";
    sg_fail(err, SEG_EACCES,
            "user '%.100s' may not run %s on '%s': grant it, ACL SETUSER %.100s %s", user, what,
            h->where, user, rule);
    return SG_HELLO_HOPELESS;
}

static sg_hello_outcome refused_auth(const sg_hello *h, const char *text, seg_error *err) {
    if (strncmp(text, "WRONGPASS", 9) == 0)
        sg_fail(err, SEG_EACCES, "'%s' does not accept the URL's user and password", h->where);
    else if (strncmp(text, "ERR AUTH <password> called without", 34) == 0)
        sg_fail(err, SEG_EACCES,
                "'%s' has no password set for its default user: leave it out of the URL, or name "
                "the user that it belongs to",
                h->where);
    else
        sg_fail(err, SEG_EACCES, "'%s' refused to authenticate: " SAID, h->where, text);
    return SG_HELLO_HOPELESS;
}

/* An error answer that ends the handshake. */
static sg_hello_outcome refused(const sg_hello *h, sg_hello_step step, const char *text,
                                seg_error *err) {
    seg_status status = sg_reply_error_status(text);
    if (status == SEG_ECONN) {
        sg_fail(err, status, "'%s' is not ready: " SAID, h->where, text);
        return SG_HELLO_RETRY;
    }
    if (strncmp(text, "NOAUTH", 6) == 0)
        return needs_password(h, err);
    if (strncmp(text, "NOPERM", 6) == 0 && step == SG_HELLO_INFO)
        return lacks_right(h, "INFO", "+info", err);
    if (strncmp(text, "NOPERM", 6) == 0 && step == SG_HELLO_SELECT)
        return lacks_right(h, "SELECT", "+select", err);
    if (strncmp(text, "DENIED", 6) == 0)
        sg_fail(err, SEG_EACCES, "'%s' refused the connection: " SAID, h->where, text);
    else if (step == SG_HELLO_AUTH)
        return refused_auth(h, text, err);
    else if (step == SG_HELLO_SELECT)
        sg_fail(err, SEG_ESERVER,
                "'%s' has no database %" PRIu32 " (" SAID "): use a lower one, or raise the "
                "server's setting databases",
                h->where, h->url->db, text);
    else
        sg_fail(err, SEG_ESERVER, "'%s' refused INFO: " SAID, h->where, text);
    return SG_HELLO_HOPELESS;
}

sg_hello_outcome sg_hello_answer(sg_hello *h, const sg_reply *r, seg_error *err) {
    sg_hello_step step = h->steps[h->answered++];
    const char *text = sg_reply_error(r);
    if (text != NULL) {
        if (step != SG_HELLO_SETNAME && step != SG_HELLO_ID && step != SG_HELLO_DRYRUN)
            return refused(h, step, text, err);
        if (h->remark[0] == '\0' && step != SG_HELLO_DRYRUN)
            snprintf(h->remark, sizeof h->remark, "%s", text);
        return SG_HELLO_MORE;
    }
    if (step == SG_HELLO_ID)
        sg_reply_u64(r, &h->client_id);
    if (step == SG_HELLO_DRYRUN)
        h->forgets = sg_dryrun_read(r) == SEG_NO;
    return step == SG_HELLO_INFO ? sg_hello_check(h, sg_reply_bytes(r), err) : SG_HELLO_MORE;
}

/* ---- What INFO says ----------------------------------------------------------------------- */

/* "7.2.4" as 70204: enough to compare. 0 where it is no version. */
static unsigned version_number(const char *text) {
    unsigned major = 0, minor = 0, patch = 0;
    if (sscanf(text, "%3u.%3u.%3u", &major, &minor, &patch) < 2)
        return 0;
    return major * 10000 + (minor < 99 ? minor : 99) * 100 + (patch < 99 ? patch : 99);
}

static sg_hello_outcome check_version(sg_hello *h, seg_bytes info, seg_error *err) {
    char name[24], version[32];
    bool valkey = strcmp(sg_info_field(info, "server_name", name, sizeof name), "valkey") == 0;
    /* Valkey tells redis_version as well, always 7.2.4, for clients that know no other. */
    sg_info_field(info, valkey ? "valkey_version" : "redis_version", version, sizeof version);
    if (version_number(version) == 0) {
        sg_fail(err, SEG_ESERVER, "'%s' does not tell a version in INFO: is it Redis or Valkey?",
                h->where);
        return SG_HELLO_HOPELESS;
    }
    snprintf(h->server, sizeof h->server, "%s %s", valkey ? "valkey" : "redis", version);
    if (version_number(version) >= (valkey ? 70200U : 70000U))
        return SG_HELLO_MORE;
    sg_fail(err, SEG_ESERVER, "'%s' is %s, which is too old: Redis 7.0 or Valkey 7.2 is needed",
            h->where, h->server);
    return SG_HELLO_HOPELESS;
}

static sg_hello_outcome check_role(const sg_hello *h, seg_bytes info, seg_error *err) {
    char role[16], host[128], port[16];
    sg_info_field(info, "role", role, sizeof role);
    if (role[0] == '\0' || strcmp(role, "master") == 0)
        return SG_HELLO_MORE;
    sg_fail(err, SEG_ECONN, "'%s' is a read-only replica of %s:%s: connect to that one", h->where,
            sg_info_field(info, "master_host", host, sizeof host),
            sg_info_field(info, "master_port", port, sizeof port));
    return SG_HELLO_OTHER;
}

/* Our keys carry no time to live, so only the policies over all keys take them. */
static sg_hello_outcome check_eviction(const sg_hello *h, seg_bytes info, seg_error *err) {
    char limit[32], policy[32];
    sg_info_field(info, "maxmemory", limit, sizeof limit);
    sg_info_field(info, "maxmemory_policy", policy, sizeof policy);
    if (limit[0] == '\0' || strcmp(limit, "0") == 0 || strncmp(policy, "allkeys-", 8) != 0)
        return SG_HELLO_MORE;
    sg_fail(err, SEG_ESERVER,
            "'%s' would evict our keys: maxmemory is %s with maxmemory-policy '%s'; set "
            "maxmemory-policy to noeviction (volatile-* is as good)",
            h->where, limit, policy);
    return SG_HELLO_HOPELESS;
}

static sg_hello_outcome check_aof(const sg_hello *h, seg_bytes info, seg_error *err) {
    char enabled[8];
    if (!h->forgets ||
        strcmp(sg_info_field(info, "aof_enabled", enabled, sizeof enabled), "1") != 0)
        return SG_HELLO_MORE;
    sg_fail(
        err, SEG_ESERVER,
        "'%s' would lose our writes when it restarts: it has appendonly on, and loads its AOF as "
        "user default, who may not do what we do; give that user its rights, and a password "
        "instead: ACL SETUSER default ~* &* +@all",
        h->where);
    return SG_HELLO_HOPELESS;
}

sg_hello_outcome sg_hello_check(sg_hello *h, seg_bytes info, seg_error *err) {
    sg_hello_outcome outcome = check_version(h, info, err);
    if (outcome == SG_HELLO_MORE)
        outcome = check_role(h, info, err);
    if (outcome == SG_HELLO_MORE)
        outcome = check_eviction(h, info, err);
    if (outcome == SG_HELLO_MORE)
        outcome = check_aof(h, info, err);
    if (outcome != SG_HELLO_MORE)
        return outcome;
    char loading[8];
    if (strcmp(sg_info_field(info, "loading", loading, sizeof loading), "1") == 0) {
        sg_fail(err, SEG_ECONN, "'%s' is loading its data", h->where);
        return SG_HELLO_RETRY;
    }
    return SG_HELLO_DONE;
}
