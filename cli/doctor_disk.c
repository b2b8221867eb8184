/* doctor_disk.c - what of the server's data outlives a crash: its files and its replicas. The losses
 * are those that docs/guarantees.md tells. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor.h"

/* ---- Files ----------------------------------------------------------------------------------- */

static void examine_sync(cli_doctor *d) {
    const char *sync = seg_server_info_config(d->server, "appendfsync");
    if (!sync) {
        cli_find(d, CLI_FINE, "persistence", "the AOF is on");
        cli_not_told(d, "appendfsync");
    } else if (strcmp(sync, "always") == 0) {
        cli_find(d, CLI_FINE, "persistence",
                 "the AOF is on with appendfsync always: a crash loses nothing acknowledged");
    } else if (strcmp(sync, "everysec") == 0) {
        cli_find(d, CLI_INFO, "persistence", "the AOF is on with appendfsync everysec");
        cli_because(d,
                    "a crash of the machine loses up to about a second of what was acknowledged; "
                    "whoever holds what is gone is told");
        cli_advise(d, "where that is too much: CONFIG SET appendfsync always");
    } else {
        cli_find(d, CLI_WARNING, "persistence", "the AOF is on with appendfsync %s", sync);
        cli_because(d, "a crash of the machine loses what the kernel had not written yet, half a "
                       "minute or more");
        cli_advise(d, "CONFIG SET appendfsync everysec");
    }
    const char *lazy = seg_server_info_config(d->server, "no-appendfsync-on-rewrite");
    if (lazy && strcmp(lazy, "yes") == 0) {
        cli_find(d, CLI_WARNING, "persistence", "no-appendfsync-on-rewrite is yes");
        cli_because(d, "while the AOF is rewritten or an RDB is saved, appendfsync does not count");
        cli_advise(d, "CONFIG SET no-appendfsync-on-rewrite no");
    }
}

static void examine_snapshots(cli_doctor *d) {
    const char *save = seg_server_info_config(d->server, "save");
    if (!save) {
        cli_find(d, CLI_WARNING, "persistence", "the AOF is off");
        cli_not_told(d, "save");
        cli_because(d,
                    "a crash loses what was written since the last RDB, or everything where none "
                    "is saved");
    } else if (*save) {
        cli_find(d, CLI_WARNING, "persistence", "only snapshots are kept on disk (save %s)", save);
        cli_because(d, "a crash loses all that was acknowledged since the last of them");
    } else {
        cli_find(d, CLI_WARNING, "persistence", "nothing is kept on disk: no AOF, no RDB");
        cli_because(d, "a crash or a restart loses all streams, also what was acknowledged");
    }
    cli_advise(d, "CONFIG SET appendonly yes, and put it into the configuration: CONFIG REWRITE");
}

static bool is_bad(const cli_doctor *d, const char *field) {
    const char *text = seg_server_info_get(d->server, field);
    return text && strcmp(text, "ok") != 0;
}

static void examine_writes(cli_doctor *d, bool aof) {
    const char *stops = seg_server_info_config(d->server, "stop-writes-on-bgsave-error");
    const char *save = seg_server_info_config(d->server, "save");
    if (is_bad(d, "rdb_last_bgsave_status")) {
        bool refuses = stops && save && strcmp(stops, "yes") == 0 && *save;
        cli_find(d, CLI_ERROR, "persistence", "the last RDB could not be saved");
        cli_because(d, "%s",
                    refuses ? "the server refuses all writes until one succeeds"
                            : "a restart may find an old one, and replicas need one");
        cli_advise(d, "look for the reason in the server's log (a full disk, mostly), then BGSAVE");
    }
    if (aof && is_bad(d, "aof_last_write_status")) {
        cli_find(d, CLI_ERROR, "persistence", "the last write to the AOF failed");
        cli_because(d, "the server refuses all writes until one succeeds");
        cli_advise(d, "look for the reason in the server's log: a full disk, mostly");
    }
    if (aof && is_bad(d, "aof_last_bgrewrite_status")) {
        cli_find(d, CLI_WARNING, "persistence", "the last rewrite of the AOF failed");
        cli_because(d, "the AOF grows until the disk is full");
        cli_advise(d, "look for the reason in the server's log, then BGREWRITEAOF");
    }
}

/* A server loads its AOF as its default user, and leaves out what that may not do. */
static void examine_default_user(cli_doctor *d, bool aof) {
    seg_known fit = seg_server_info_default_user_fit(d->server);
    if (fit == SEG_YES) {
        cli_find(d, CLI_FINE, "persistence",
                 "the default user may do what an AOF would bring back");
    } else if (fit == SEG_NO) {
        cli_find(d, aof ? CLI_ERROR : CLI_INFO, "persistence",
                 "the default user may not do what we do");
        cli_because(d, "%s",
                    aof ? "the server loads its AOF as that user, and leaves our writes out: the "
                          "next restart loses them"
                        : "were appendonly turned on, the server would load its AOF as that user, "
                          "and leave our writes out; no client would connect");
        cli_advise(d, "keep that user out by a password, not by rights: ACL SETUSER default "
                      ">PASSWORD ~* &* +@all");
    } else if (aof) {
        cli_not_told(d, "the default user's rights, by which an AOF is loaded");
    }
}

void cli_examine_disk(cli_doctor *d) {
    int64_t aof = cli_told(d, "aof_enabled");
    if (aof < 0) {
        cli_not_told(d, "persistence");
    } else if (aof == 1) {
        examine_sync(d);
    } else {
        examine_snapshots(d);
    }
    examine_writes(d, aof == 1);
    examine_default_user(d, aof == 1);
}

/* ---- Replicas -------------------------------------------------------------------------------- */

/* "ip=...,port=...,state=online,offset=...,lag=0" */
static void examine_replica(cli_doctor *d, const char *text) {
    char ip[80] = "?", port[8] = "?", state[24] = "";
    int64_t lag = -1;
    for (const char *at = text; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (sscanf(at, "ip=%79[^,]", ip) != 1 && sscanf(at, "port=%7[^,]", port) != 1 &&
            sscanf(at, "state=%23[^,]", state) != 1) {
            sscanf(at, "lag=%18" SCNd64, &lag);
        }
    }
    if (strcmp(state, "online") != 0) {
        cli_find(d, CLI_WARNING, "replication", "replica %s:%s is not online: %s", ip, port, state);
    } else if (lag > 10) {
        cli_find(d, CLI_WARNING, "replication", "replica %s:%s was last heard of %" PRId64 " s ago",
                 ip, port, lag);
    } else {
        return;
    }
    cli_because(d, "a failover to it loses what it has not got");
    cli_advise(d, "look at the log of that server");
}

static void examine_least(cli_doctor *d, int64_t replicas) {
    int64_t least = cli_told_setting(d, "min-replicas-to-write");
    int64_t good = cli_told(d, "min_slaves_good_slaves");
    if (least < 0) {
        cli_not_told(d, "min-replicas-to-write");
    } else if (least > 0 && (good >= 0 ? good : replicas) < least) {
        cli_find(d, CLI_ERROR, "replication",
                 "%" PRId64 " of the %" PRId64 " replicas that min-replicas-to-write asks for are "
                 "there",
                 good >= 0 ? good : replicas, least);
        cli_because(d, "the server refuses all writes until there are enough");
        cli_advise(d,
                   "mend the replicas, or do without for now: CONFIG SET min-replicas-to-write "
                   "%" PRId64,
                   good >= 0 ? good : replicas);
    } else if (least == 0 && replicas > 0) {
        cli_find(d, CLI_INFO, "replication", "min-replicas-to-write is 0");
        cli_because(d, "a primary that is cut off from its replicas goes on to take writes, which "
                       "are lost when one of them is promoted");
        cli_advise(d, "CONFIG SET min-replicas-to-write 1");
    }
}

void cli_examine_replicas(cli_doctor *d) {
    int64_t replicas = cli_told(d, "connected_slaves");
    if (replicas < 0) {
        cli_not_told(d, "replication");
        return;
    }
    if (replicas == 0) {
        cli_find(d, CLI_INFO, "replication", "there is no replica");
        cli_because(d, "what is lost with this machine is lost");
    } else {
        cli_find(d, CLI_FINE, "replication", "%" PRId64 " replica%s", replicas,
                 replicas == 1 ? "" : "s");
    }
    for (int64_t i = 0; i < replicas && i < 100; i++) {
        char field[16];
        snprintf(field, sizeof field, "slave%d", (int)i);
        const char *text = seg_server_info_get(d->server, field);
        if (text) {
            examine_replica(d, text);
        }
    }
    examine_least(d, replicas);
}
