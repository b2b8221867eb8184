/* doctor_streams.c - what is wrong with what is stored: damage, streams that are full, groups that do
 * not read, dead letters. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "doctor.h"
#include "fill.h"
#include "group.h"
#include "letters.h"
#include "listing.h"
#include "lookup.h"
#include "place.h"

enum { OLD_MS = 3600000, FULL = 95, NEARLY_FULL = 80, NAMED_MAX = 16 };

typedef struct stock {
    seg_streams *streams;
    seg_groups *groups;
} stock;

/* The namespace's option, where a command needs it. */
static const char *where(const cli_doctor *d) {
    static char text[208];
    text[0] = '\0';
    if (strcmp(d->globals->name_space, "default") != 0) {
        snprintf(text, sizeof text, " -N %s", d->globals->name_space);
    }
    return text;
}

/* ---- Damage ---------------------------------------------------------------------------------- */

/* " --partition 0 --partition 2": all that can be read; "": none. The caller frees it. */
static char *whole_of_stream(const seg_stream_info *s) {
    char *text = cli_format("%s", "");
    size_t n = 0;
    for (uint32_t i = 0; i < seg_stream_info_partitions(s); i++) {
        if (seg_stream_info_partition(s, i)->status != SEG_OK) {
            continue;
        }
        char *longer = ++n > NAMED_MAX ? cli_format(" --partition P, for each of the others")
                                       : cli_format("%s --partition %" PRIu32, text, i);
        free(text);
        text = longer;
        if (n > NAMED_MAX) {
            break;
        }
    }
    return text;
}

/* "partitions 0-3,7"; the caller frees it. */
static char *damaged_of_stream(const seg_stream_info *s) {
    uint32_t total = seg_stream_info_partitions(s), *list = cli_alloc(total, sizeof *list);
    size_t n = 0;
    for (uint32_t i = 0; i < total; i++) {
        if (seg_stream_info_partition(s, i)->status != SEG_OK) {
            list[n++] = i;
        }
    }
    char ranges[200];
    cli_print_ranges(ranges, sizeof ranges, list, n);
    free(list);
    return cli_format("partition%s %s", n == 1 ? "" : "s", ranges);
}

static seg_status say_damaged(cli_doctor *d, const seg_stream_summary *s, seg_error *err) {
    seg_stream_info *info = NULL;
    seg_status status = seg_stream_describe(&info, d->client, s->name, err);
    if (status != SEG_OK) {
        return status == SEG_ENOENT || cli_is_damage(status) ? SEG_OK : status;
    }
    char *which = damaged_of_stream(info);
    cli_find(d, CLI_ERROR, "damage", "stream %s: %s damaged", s->name, which);
    cli_because(d,
                "the server lost a part of them; what they held cannot be read, and producers and "
                "consumers of them fail");
    char *whole = whole_of_stream(info);
    char *save = whole[0] ? cli_format("or save what can be read: segmenter dump %s FILE%s%s; and "
                                       "make the stream again",
                                       s->name, where(d), whole)
                          : cli_format("or make the stream again");
    cli_advise(d, "bring the server's data back from a backup; %s: segmenter stream rm %s --yes%s",
               save, s->name, where(d));
    free(save);
    free(whole);
    free(which);
    seg_stream_info_free(info);
    return SEG_OK;
}

/* Only its deletion is left. */
static void say_broken(cli_doctor *d, const char *stream, const char *group, const char *what) {
    cli_find(d, CLI_ERROR, "damage", "group %s of stream %s: %s", group, stream, what);
    cli_because(d, "its consumers fail, and nobody can tell what it has read");
    cli_advise(
        d,
        "bring the server's data back from a backup; or delete the group: segmenter group rm "
        "%s -s %s --yes%s; and let its consumers make it again",
        group, stream, where(d));
}

/* ---- Full streams ---------------------------------------------------------------------------- */

static void say_full(cli_doctor *d, const stock *k, const seg_stream_summary *s,
                     const cli_fill *fill) {
    bool block = s->on_full == SEG_BLOCK;
    cli_severity severity = fill->percent >= FULL ? CLI_ERROR : CLI_WARNING;
    const char *does = block ? "stop" : "fail";
    if (!fill->group[0]) {
        cli_find(d, severity, "full", "stream %s is %.0f %% full, and no group reads it", s->name,
                 fill->percent);
        cli_because(d, "at 100 %% its producers %s", does);
        cli_advise(
            d,
            "let a group read it: segmenter consume %s -g GROUP%s; or delete it, and make it "
            "with --on-full drop-oldest",
            s->name, where(d));
        return;
    }
    const seg_group_summary *g = cli_group_of(k->groups, s->name, fill->group);
    cli_find(d, severity, "full", "stream %s is %.0f %% full of what group %s has not read",
             s->name, fill->percent, fill->group);
    if (g && g->members > 0) {
        cli_because(d,
                    "at 100 %% its producers %s until the group, which has %" PRIu64
                    " live member%s, has read",
                    does, g->members, g->members == 1 ? "" : "s");
        cli_advise(d,
                   "see what holds it up: segmenter group describe %s -s %s%s; add members, up to "
                   "one for each partition",
                   fill->group, s->name, where(d));
    } else {
        cli_because(d, "at 100 %% its producers %s, and the group has no live member that reads",
                    does);
        cli_advise(d,
                   "start its consumers; or, where nobody needs it: segmenter group rm %s -s %s "
                   "--yes%s; or pass over what waits: segmenter group seek %s -s %s --to end "
                   "--execute%s",
                   fill->group, s->name, where(d), fill->group, s->name, where(d));
    }
}

static seg_status examine_fill(cli_doctor *d, const stock *k, const seg_stream_summary *s,
                               seg_error *err) {
    /* No partition can be fuller of what is unread than the stream is of anything. */
    bool may_be = (double)s->messages >= (double)s->max_messages * NEARLY_FULL / 100;
    if (s->on_full == SEG_DROP_OLDEST || !may_be) {
        return SEG_OK;
    }
    seg_stream_info *info = NULL;
    cli_fill fill;
    seg_status status = seg_stream_describe(&info, d->client, s->name, err);
    if (status == SEG_OK) {
        status = cli_fill_of(&fill, d->client, info, err);
    }
    if (status == SEG_OK && fill.percent >= NEARLY_FULL) {
        say_full(d, k, s, &fill);
    }
    seg_stream_info_free(info);
    return status == SEG_ENOENT || cli_is_damage(status) ? SEG_OK : status;
}

static seg_status examine_stream(cli_doctor *d, const stock *k, const seg_stream_summary *s,
                                 seg_error *err) {
    if (s->status == SEG_EPROTO) {
        cli_find(d, CLI_ERROR, "damage", "stream %s: its settings are lost or not ours", s->name);
        cli_because(d, "nobody can use it");
        cli_advise(d,
                   "bring the server's data back from a backup, or delete the stream: segmenter "
                   "stream rm %s --yes%s",
                   s->name, where(d));
        return SEG_OK;
    }
    return s->status != SEG_OK ? say_damaged(d, s, err) : examine_fill(d, k, s, err);
}

/* ---- Groups ---------------------------------------------------------------------------------- */

static void say_late(cli_doctor *d, const seg_group_summary *g, int64_t age) {
    char span[40];
    cli_print_span(span, sizeof span, age);
    if (g->members > 0) {
        cli_find(d, CLI_WARNING, "groups",
                 "group %s of stream %s is behind: its oldest message waits for %s", g->group,
                 g->stream, span);
        cli_because(d, "%" PRIu64 " live member%s cannot keep up, or cannot handle it", g->members,
                    g->members == 1 ? "" : "s");
        cli_advise(d,
                   "segmenter group describe %s -s %s%s tells what grows and what is tried again",
                   g->group, g->stream, where(d));
        return;
    }
    cli_find(d, age > OLD_MS ? CLI_WARNING : CLI_INFO, "groups",
             "group %s of stream %s has no member, and %" PRIu64 " message%s wait%s", g->group,
             g->stream, g->lag, g->lag == 1 ? "" : "s", g->lag == 1 ? "s" : "");
    cli_because(d,
                "the oldest of them waits for %s; a stream that does not drop them is held up "
                "once it is full of them",
                age < 0 ? "an unknown time" : span);
    cli_advise(
        d, "start its consumers; or, where nobody needs it: segmenter group rm %s -s %s --yes%s",
        g->group, g->stream, where(d));
}

static seg_status examine_lag(cli_doctor *d, const seg_group_summary *g, seg_error *err) {
    cli_group_looks looks;
    seg_status status = cli_group_try_look(&looks, d->client, g->stream, g->group, 0, OLD_MS, err);
    if (cli_is_damage(status)) {
        say_broken(d, g->stream, g->group, "its state makes no sense");
        return SEG_OK;
    }
    if (status != SEG_OK) {
        return status == SEG_ENOENT ? SEG_OK : status;
    }
    int64_t age = cli_group_age(&looks);
    if (g->members == 0 || age > OLD_MS) {
        say_late(d, g, age);
    }
    cli_group_looks_fini(&looks);
    return SEG_OK;
}

static seg_status examine_letters(cli_doctor *d, const stock *k, const seg_group_summary *g,
                                  seg_error *err) {
    uint64_t left;
    bool ever;
    char *name = cli_letters_stream(g->stream, g->group);
    bool there = cli_stream_of(k->streams, name);
    free(name);
    if (!there) {
        return SEG_OK;
    }
    seg_status status = cli_letters_left(&left, &ever, d->client, g->stream, g->group, err);
    if (status == SEG_OK && left > 0 && left != SEG_UNKNOWN) { /* damage is told of the stream */
        cli_find(d, CLI_WARNING, "dead letters",
                 "%" PRIu64 " dead letter%s of group %s of stream %s wait%s", left,
                 left == 1 ? "" : "s", g->group, g->stream, left == 1 ? "s" : "");
        cli_because(d, "the group could not handle them, and passed over them");
        cli_advise(d,
                   "segmenter dlq ls %s -g %s%s shows them; segmenter dlq replay sends them again, "
                   "segmenter dlq drop removes them",
                   g->stream, g->group, where(d));
    }
    return cli_is_damage(status) ? SEG_OK : status;
}

static seg_status examine_group(cli_doctor *d, const stock *k, const seg_group_summary *g,
                                seg_error *err) {
    const seg_stream_summary *s = cli_stream_of(k->streams, g->stream);
    seg_status status = examine_letters(d, k, g, err);
    if (status != SEG_OK || (s && s->status != SEG_OK)) {
        return status; /* that the stream is damaged was said */
    }
    if (g->members == SEG_UNKNOWN) {
        say_broken(d, g->stream, g->group, "its state makes no sense");
        return SEG_OK;
    }
    if (g->status != SEG_OK || g->lag == SEG_UNKNOWN) {
        cli_find(d, CLI_ERROR, "damage",
                 "group %s of stream %s: its place is lost or makes no sense", g->group, g->stream);
        cli_because(d, "the server lost what the group had acknowledged, or messages after that");
        cli_advise(d,
                   "see where: segmenter group describe %s -s %s%s; its consumers go on by "
                   "themselves, or give it a place: segmenter group seek %s -s %s --to PLACE%s",
                   g->group, g->stream, where(d), g->group, g->stream, where(d));
        return SEG_OK;
    }
    return g->lag > 0 && !cli_is_letters_group(g->stream, g->group) ? examine_lag(d, g, err)
                                                                    : SEG_OK;
}

/* ---- All ------------------------------------------------------------------------------------- */

static seg_status examine_stock(cli_doctor *d, const stock *k, seg_error *err) {
    size_t before = d->n;
    seg_status status = SEG_OK;
    const seg_stream_summary *s;
    const seg_group_summary *g;
    for (size_t i = 0; status == SEG_OK && (s = seg_streams_at(k->streams, i)); i++) {
        status = examine_stream(d, k, s, err);
    }
    for (size_t i = 0; status == SEG_OK && (g = seg_groups_at(k->groups, i)); i++) {
        status = examine_group(d, k, g, err);
    }
    if (status == SEG_OK && d->n == before) {
        size_t streams = seg_streams_count(k->streams), groups = seg_groups_count(k->groups);
        cli_find(d, CLI_FINE, "streams",
                 "%zu stream%s and %zu group%s: nothing is damaged, full or left unread", streams,
                 streams == 1 ? "" : "s", groups, groups == 1 ? "" : "s");
    }
    return status;
}

seg_status cli_examine_streams(cli_doctor *d, seg_error *err) {
    stock k = {0};
    seg_status status = seg_stream_overview(&k.streams, d->client, err);
    if (status == SEG_OK) {
        status = seg_group_overview(&k.groups, d->client, NULL, err);
    }
    if (status == SEG_OK) {
        status = examine_stock(d, &k, err);
    }
    if (status != SEG_OK && status != SEG_ECONN && status != SEG_ETIMEDOUT) {
        cli_find(d, CLI_ERROR, "streams", "they cannot be looked at: %s", err->text);
        status = SEG_OK;
    }
    seg_streams_free(k.streams);
    seg_groups_free(k.groups);
    return status;
}
