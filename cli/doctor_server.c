/* doctor_server.c - what segmenter doctor sees of the server itself: its version, memory, clients and
 * time. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "listing.h"

/* ---- Version --------------------------------------------------------------------------------- */

/* Faults that the release notes of Redis and Valkey name, and that concern what we do. Those from
 * `from` on and below `fixed` have it. */
typedef enum need { NEED_NOTHING, NEED_AOF, NEED_MIN_REPLICAS } need;

static const struct {
    bool valkey;
    uint32_t from, fixed;
    need need;
    cli_severity severity;
    const char *what, *why, *advice;
} faults[] = {
#define LUA_HOLE                                                                                   \
    "has CVE-2025-49844, unless who built it has mended it",                                       \
        "whoever may run scripts, as each of our users must, can take the server over"
    {false, 70000, 70200, NEED_NOTHING, CLI_INFO, LUA_HOLE,
     "ask who built it (distributions mend it under the same number), or upgrade to 7.2.11 or "
     "later"},
    {false, 70200, 70211, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 7.2.11 or later"},
    {false, 70400, 70406, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 7.4.6 or later"},
    {false, 80000, 80004, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 8.0.4 or later"},
    {false, 80200, 80202, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 8.2.2 or later"},
    {true, 70200, 70211, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 7.2.11 or later"},
    {true, 80000, 80006, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 8.0.6 or later"},
    {true, 80100, 80104, NEED_NOTHING, CLI_INFO, LUA_HOLE, "upgrade to 8.1.4 or later"},
#undef LUA_HOLE
    {false, 70000, 70011, NEED_AOF, CLI_WARNING,
     "leaves the AOF unsynced in rare cases (release notes of 7.0.5, #11004, and of 7.0.11)",
     "a crash of the machine can lose more than appendfsync says", "upgrade to 7.0.15 or later"},
    {false, 70000, 70003, NEED_MIN_REPLICAS, CLI_WARNING,
     "breaks scripts off in the middle when replicas go (release notes of 7.0.3, #10855)",
     "with min-replicas-to-write, what our scripts write can be there by half",
     "upgrade to 7.0.15 or later"},
};

static uint32_t version_of(const char *text) {
    unsigned major = 0, minor = 0, patch = 0;
    return text && sscanf(text, "%3u.%3u.%3u", &major, &minor, &patch) >= 2
               ? major * 10000 + (minor < 99 ? minor : 99) * 100 + (patch < 99 ? patch : 99)
               : 0;
}

static void examine_version(cli_doctor *d) {
    const char *server = seg_client_server(d->client), *name = strchr(server, ' ');
    bool valkey = strncmp(server, "valkey", 6) == 0;
    uint32_t version = version_of(name ? name + 1 : NULL);
    bool met[] = {[NEED_NOTHING] = true,
                  [NEED_AOF] = cli_told(d, "aof_enabled") == 1,
                  [NEED_MIN_REPLICAS] = cli_told_setting(d, "min-replicas-to-write") > 0};
    cli_find(d, CLI_FINE, "version", "%s", server);
    for (size_t i = 0; i < CLI_COUNT(faults); i++) {
        if (faults[i].valkey == valkey && version >= faults[i].from && version < faults[i].fixed &&
            met[faults[i].need]) {
            cli_find(d, faults[i].severity, "version", "%s %s", server, faults[i].what);
            cli_because(d, "%s", faults[i].why);
            cli_advise(d, "%s", faults[i].advice);
        }
    }
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void examine_policy(cli_doctor *d, int64_t most) {
    const char *policy = seg_server_info_get(d->server, "maxmemory_policy");
    if (!policy) {
        cli_not_told(d, "maxmemory-policy");
    } else if (strncmp(policy, "allkeys-", 8) == 0) {
        cli_find(d, most > 0 ? CLI_ERROR : CLI_WARNING, "memory",
                 "maxmemory-policy is %s: it takes keys of ours", policy);
        cli_because(d, "%s",
                    most > 0 ? "messages and groups vanish where memory is short"
                             : "with a maxmemory, no client would connect");
        cli_advise(d, "CONFIG SET maxmemory-policy noeviction");
    } else {
        cli_find(d, CLI_FINE, "memory", "maxmemory-policy is %s: it takes no key of ours", policy);
    }
}

static void examine_memory(cli_doctor *d) {
    int64_t used = cli_told(d, "used_memory"), most = cli_told(d, "maxmemory");
    if (used < 0 || most < 0) {
        cli_not_told(d, "memory");
        return;
    }
    examine_policy(d, most);
    if (most == 0) {
        cli_find(d, CLI_INFO, "memory", "there is no maxmemory");
        cli_because(d,
                    "a server that outgrows its machine is ended by the kernel; one with a limit "
                    "refuses what is too much, and its producers wait");
        cli_advise(d, "CONFIG SET maxmemory BYTES, with room for a fork; keep maxmemory-policy "
                      "noeviction");
        return;
    }
    double percent = 100.0 * (double)used / (double)most;
    if (percent < 80) {
        cli_find(d, CLI_FINE, "memory", "less than 80 %% of maxmemory is used");
        return;
    }
    cli_find(d, percent < 100 ? CLI_WARNING : CLI_ERROR, "memory", "%.0f %% of maxmemory is used",
             percent);
    cli_because(d, "at 100 %% the server refuses what producers send");
    cli_advise(d,
               "raise maxmemory, make streams smaller (their --size), or delete what nobody reads: "
               "segmenter stream ls --sort -messages");
}

/* ---- Clients --------------------------------------------------------------------------------- */

static void examine_connections(cli_doctor *d) {
    int64_t now = cli_told(d, "connected_clients"), most = cli_told(d, "maxclients");
    if (most < 0) {
        most = cli_told_setting(d, "maxclients");
    }
    if (now < 0 || most <= 0) {
        cli_not_told(d, "maxclients");
    } else if (now * 5 < most * 4) {
        cli_find(d, CLI_FINE, "clients", "less than 80 %% of maxclients are connected");
    } else {
        cli_find(d, now * 20 < most * 19 ? CLI_WARNING : CLI_ERROR, "clients",
                 "%" PRId64 " of %" PRId64 " possible clients are connected", now, most);
        cli_because(d,
                    "past that, the server turns away whoever connects, also who only comes back "
                    "after a failure of the network");
        cli_advise(d, "CONFIG SET maxclients N; see who it is: CLIENT LIST");
    }
    int64_t timeout = cli_told_setting(d, "timeout");
    if (timeout > 0) {
        cli_find(d, CLI_INFO, "clients", "timeout is %" PRId64 ": idle connections are cut",
                 timeout);
        cli_because(d, "a producer that sends seldom connects anew each time, and is that much "
                       "slower; nothing is lost");
        cli_advise(d, "CONFIG SET timeout 0");
    }
    if (cli_told_setting(d, "tcp-keepalive") == 0) {
        cli_find(d, CLI_INFO, "clients", "tcp-keepalive is off");
        cli_because(d, "connections of machines that are gone stay, and count for maxclients");
        cli_advise(d, "CONFIG SET tcp-keepalive 300");
    }
}

/* The hard limit of the class `normal` in "normal 0 0 0 slave ...", in bytes; -1: not told. */
static int64_t output_limit(const cli_doctor *d) {
    const char *all = seg_server_info_config(d->server, "client-output-buffer-limit");
    const char *at = all ? strstr(all, "normal ") : NULL;
    int64_t hard;
    return at && sscanf(at + 7, "%19" SCNd64, &hard) == 1 ? hard : -1;
}

static void examine_sizes(cli_doctor *d) {
    static const int64_t usual = 2 << 20, largest = 65 << 20;
    const struct {
        const char *name;
        int64_t bytes;
        const char *why;
    } limits[] = {
        {"proto-max-bulk-len", cli_told_setting(d, "proto-max-bulk-len"),
         "a larger message cannot be sent: its connection is cut, again and again"},
        {"client-query-buffer-limit", cli_told_setting(d, "client-query-buffer-limit"),
         "a larger message cannot be sent: its connection is cut, again and again"},
        {"client-output-buffer-limit of normal clients", output_limit(d),
         "a larger answer cannot be read: the consumer's connection is cut, again and again"},
    };
    for (size_t i = 0; i < CLI_COUNT(limits); i++) {
        if (limits[i].bytes > 0 && limits[i].bytes < largest) {
            cli_find(d, limits[i].bytes < usual ? CLI_WARNING : CLI_INFO, "clients",
                     "%s is %" PRId64 " bytes", limits[i].name, limits[i].bytes);
            cli_because(d, "%s. Messages may have 1 MiB, and up to 64 MiB with --max-message",
                        limits[i].why);
            cli_advise(d, "%s",
                       i == 2   ? "CONFIG SET client-output-buffer-limit \"normal 0 0 0\""
                       : i == 1 ? "CONFIG SET client-query-buffer-limit 1gb"
                                : "CONFIG SET proto-max-bulk-len 512mb");
        }
    }
    if (cli_told_setting(d, "maxmemory-clients") > 0) {
        cli_find(d, CLI_INFO, "clients", "maxmemory-clients is set");
        cli_because(d,
                    "the server cuts the clients with the largest buffers, which are the busiest "
                    "consumers, when all together pass it; they connect again");
        cli_advise(d, "CONFIG SET maxmemory-clients 0");
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void examine_clock(cli_doctor *d) {
    int64_t ahead, off;
    if (!seg_server_info_clock(d->server, &ahead, &off)) {
        cli_not_told(d, "the server's clock");
        return;
    }
    int64_t apart = ahead < 0 ? -ahead : ahead;
    if (apart - off <= 1000) {
        cli_find(d, CLI_FINE, "clock", "the server's clock and ours agree, to a second");
        return;
    }
    char span[40];
    cli_print_span(span, sizeof span, apart);
    cli_find(d, CLI_WARNING, "clock", "the server's clock is %s %s ours", span,
             ahead < 0 ? "behind" : "ahead of");
    cli_because(d, "ages, and places that are times, are as wrong as the clocks of producers and "
                   "readers differ; leases and the order of messages do not depend on it");
    cli_advise(d, "let NTP set both clocks: timedatectl set-ntp true");
}

static void examine_pace(cli_doctor *d) {
    int64_t us = seg_server_info_round_trip(d->server), fork = cli_told(d, "latest_fork_usec");
    int64_t busy = cli_told_setting(d, "busy-reply-threshold");
    busy = busy < 0 ? cli_told_setting(d, "lua-time-limit") : busy;
    if (us < 0) {
        cli_not_told(d, "the round trip");
    } else if (us <= 10000) {
        cli_find(d, CLI_FINE, "pace", "a request takes less than 10 ms");
    } else {
        cli_find(d, CLI_WARNING, "pace", "a request takes %" PRId64 " ms", us / 1000);
        cli_because(d, "each append and each commit waits for one; with --sync no more than one of "
                       "them is under way");
        cli_advise(d, "look for the reason: redis-cli --latency, SLOWLOG GET, the network between");
    }
    if (fork > 500000) {
        cli_find(d, CLI_WARNING, "pace", "the last fork took %" PRId64 " ms", fork / 1000);
        cli_because(d, "for so long the server answers nobody, at each RDB and each rewrite of the "
                       "AOF; leases run out when it is longer than the session timeout");
        cli_advise(d,
                   "give the server less data or a faster machine, and see that transparent huge "
                   "pages are off");
    }
    if (busy > 0 && busy < 1000) {
        cli_find(d, CLI_INFO, "pace", "busy-reply-threshold is %" PRId64 " ms", busy);
        cli_because(d, "while somebody's script runs for longer, the server refuses our requests "
                       "instead of letting them wait; they are tried again");
        cli_advise(d, "CONFIG SET busy-reply-threshold 5000");
    }
}

void cli_examine_server(cli_doctor *d) {
    const char *role = seg_server_info_get(d->server, "role");
    examine_version(d);
    if (role && strcmp(role, "master") != 0) {
        cli_find(d, CLI_ERROR, "server", "this is a read-only replica");
        cli_because(d, "nothing can be written here");
        cli_advise(d, "connect to its primary: INFO replication names it");
    }
    examine_memory(d);
    examine_connections(d);
    examine_sizes(d);
    examine_clock(d);
    examine_pace(d);
}
