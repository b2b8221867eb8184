/* dump_file.c - see dump_file.h. */
#include "dump_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "digest.h"
#include "group.h"
#include "json_line.h"
#include "partitions.h"
#include "reading.h"

static const char beginning[] = "{\"v\":1,\"dump\":\"begin\",";

static char *copy_text(const char *text) {
    return cli_format("%s", text ? text : "");
}

void cli_dump_fini(cli_dump *d) {
    free(d->stream);
    free(d->name_space);
    free(d->server);
    free(d->tool);
    free(d->parts);
    *d = (cli_dump){0};
}

cli_dump cli_dump_copy(const cli_dump *d) {
    cli_dump copy = *d;
    copy.stream = copy_text(d->stream);
    copy.name_space = copy_text(d->name_space);
    copy.server = copy_text(d->server);
    copy.tool = copy_text(d->tool);
    copy.parts = cli_alloc(d->partitions, sizeof *copy.parts);
    memcpy(copy.parts, d->parts, d->partitions * sizeof *copy.parts);
    return copy;
}

uint32_t cli_dump_chosen(const cli_dump *d) {
    uint32_t n = 0;
    for (uint32_t p = 0; p < d->partitions; p++) {
        n += !d->parts[p].left_out;
    }
    return n;
}

char *cli_dump_extent(const cli_dump *d) {
    uint32_t *list = cli_alloc(d->partitions, sizeof *list), n = 0;
    for (uint32_t p = 0; p < d->partitions; p++) {
        if (!d->parts[p].left_out) {
            list[n++] = p;
        }
    }
    char ranges[200];
    cli_print_ranges(ranges, sizeof ranges, list, n);
    free(list);
    return cli_format("partition%s %s of %" PRIu32, n == 1 ? "" : "s", ranges, d->partitions);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void add_line(cli_dump *d, cli_buf *b, json_t *object) {
    size_t before = b->len;
    char *text = json_dumps(object, JSON_COMPACT);
    if (!text) {
        fputs("segmenter: out of memory\n", stderr);
        exit(CLI_FAILURE);
    }
    cli_buf_text(b, text);
    cli_buf_add(b, "\n", 1);
    free(text);
    json_decref(object);
    d->digest = cli_xxh64(b->data + before, b->len - before, d->digest);
}

static json_t *object_of(const char *kind) {
    json_t *object = cli_json_object();
    cli_json_text(object, "dump", kind);
    return object;
}

static void add_digest(json_t *object, uint64_t digest) {
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    cli_json_text(object, "xxh64", text);
}

void cli_dump_begin(cli_dump *d, cli_buf *b) {
    json_t *object = object_of("begin"), *parts = json_array();
    cli_json_text(object, "stream", d->stream);
    cli_json_text(object, "namespace", d->name_space);
    cli_json_text(object, "server", d->server);
    cli_json_text(object, "tool", d->tool);
    cli_json_add(object, "dumped_ms", json_integer(d->made_ms));
    cli_json_add(object, "created_ms", json_integer(d->created_ms));
    cli_json_number(object, "partition_count", d->partitions);
    cli_json_number(object, "max_messages", d->max_messages);
    cli_json_text(object, "on_full", seg_on_full_name(d->on_full));
    for (uint32_t p = 0; p < d->partitions; p++) {
        if (d->parts[p].left_out) {
            continue;
        }
        json_t *part = json_object();
        cli_json_number(part, "partition", p);
        cli_json_number(part, "era", d->parts[p].era);
        cli_json_number(part, "first", d->parts[p].first);
        cli_json_number(part, "next", d->parts[p].next);
        json_array_append_new(parts, part);
        d->parts[p].at = (seg_id){0, d->parts[p].first};
    }
    cli_json_add(object, "partitions", parts);
    add_line(d, b, object);
}

/* What both sides do with a message. */
static void count_message(cli_dump *d, uint32_t partition, seg_id id, uint64_t digest) {
    cli_dump_part *part = &d->parts[partition];
    part->messages++;
    part->digest = digest;
    part->at = (seg_id){id.era, id.offset + 1};
    d->messages++;
    d->at = partition;
}

static void count_skip(cli_dump *d, const seg_skip *s) {
    cli_dump_part *part = &d->parts[s->partition];
    part->skipped += s->count;
    d->skipped += s->count;
    d->at = s->partition;
    if (s->why != SEG_SKIP_LOST && s->first + s->count > part->at.offset) {
        part->at.offset = s->first + s->count;
    }
}

void cli_dump_message(cli_dump *d, cli_buf *b, const seg_message *m, cli_buf *scratch) {
    const cli_json_origin origin = {.stream = d->stream};
    seg_delivery at = seg_message_delivery(m);
    size_t before = b->len;
    cli_json_line(b, m, &origin);
    d->digest = cli_xxh64(b->data + before, b->len - before, d->digest);
    count_message(d, at.partition, at.id,
                  cli_digest_message(d->parts[at.partition].digest, m, scratch));
}

void cli_dump_skip(cli_dump *d, cli_buf *b, const seg_skip *s) {
    json_t *object = object_of("skip");
    cli_json_number(object, "partition", s->partition);
    cli_json_number(object, "era", s->era);
    cli_json_number(object, "first", s->first);
    cli_json_number(object, "count", s->count);
    cli_json_text(object, "why", cli_skip_name(s->why));
    add_line(d, b, object);
    count_skip(d, s);
}

void cli_dump_end(cli_dump *d, cli_buf *b) {
    json_t *object = object_of("end"), *parts = json_array();
    cli_json_number(object, "messages", d->messages);
    cli_json_number(object, "skipped", d->skipped);
    add_digest(object, d->digest);
    for (uint32_t p = 0; p < d->partitions; p++) {
        if (d->parts[p].left_out) {
            continue;
        }
        json_t *part = json_object();
        cli_json_number(part, "partition", p);
        cli_json_number(part, "messages", d->parts[p].messages);
        cli_json_number(part, "skipped", d->parts[p].skipped);
        add_digest(part, d->parts[p].digest);
        json_array_append_new(parts, part);
    }
    cli_json_add(object, "partitions", parts);
    add_line(d, b, object);
}

/* ---- Reading --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static cli_dump_item fault(cli_dump_file *f,
                                                                 const char *format, ...) {
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    uint64_t line = f->archive ? cli_archive_line(f->archive) : 0;
    snprintf(f->fault, sizeof f->fault, "%.80s:%" PRIu64 ": %s", f->name, line, text);
    return CLI_DUMP_FAULT;
}

bool cli_dump_may_begin(seg_bytes start) {
    /* So few bytes of a compressed one do not tell yet that it is. */
    if (start.len < 4 && memcmp(start.len ? start.data : "", "\x28\xb5\x2f", start.len) == 0) {
        return true;
    }
    size_t len = start.len < sizeof beginning - 1 ? start.len : sizeof beginning - 1;
    return memcmp(start.len ? start.data : "", beginning, len) == 0;
}

/* A whole number that is not negative. */
static bool get_number(const json_t *object, const char *name, uint64_t *out) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool has_number(const json_t *object, const char *name, uint64_t wanted) {
    uint64_t is;
    return get_number(object, name, &is) && is == wanted;
}

static bool get_text(const json_t *object, const char *name, char **out) {
    const char *text = json_string_value(json_object_get(object, name));
    if (!text) {
        return false;
    }
    free(*out);
    *out = copy_text(text);
    return true;
}

static bool has_digest(const json_t *object, uint64_t digest) {
    char text[20];
    const char *is = json_string_value(json_object_get(object, "xxh64"));
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    return is && strcmp(is, text) == 0;
}

static bool get_on_full(const json_t *object, seg_on_full *out) {
    const char *name = json_string_value(json_object_get(object, "on_full"));
    for (seg_on_full f = SEG_BLOCK; name && seg_on_full_name(f); f++) {
        if (strcmp(seg_on_full_name(f), name) == 0) {
            *out = f;
            return true;
        }
    }
    return false;
}

static bool read_parts(cli_dump *d, const json_t *parts) {
    size_t n = json_array_size(parts);
    uint64_t least = 0, number;
    if (n == 0 || n > d->partitions) {
        return false;
    }
    d->parts = cli_alloc(d->partitions, sizeof *d->parts);
    for (uint32_t p = 0; p < d->partitions; p++) {
        d->parts[p].left_out = true;
    }
    for (size_t i = 0; i < n; i++, least = number + 1) {
        const json_t *part = json_array_get(parts, i);
        if (!get_number(part, "partition", &number) || number < least || number >= d->partitions) {
            return false;
        }
        cli_dump_part *to = &d->parts[number];
        if (!get_number(part, "era", &to->era) || !get_number(part, "first", &to->first) ||
            !get_number(part, "next", &to->next) || to->first > to->next) {
            return false;
        }
        to->at = (seg_id){0, to->first};
        to->left_out = false;
    }
    return true;
}

static bool read_begin(cli_dump *d, const json_t *object) {
    uint64_t made, created, partitions;
    if (!get_text(object, "stream", &d->stream) || !get_text(object, "namespace", &d->name_space) ||
        !get_text(object, "server", &d->server) || !get_text(object, "tool", &d->tool) ||
        !get_number(object, "dumped_ms", &made) || !get_number(object, "created_ms", &created) ||
        !get_number(object, "partition_count", &partitions) ||
        !get_number(object, "max_messages", &d->max_messages) ||
        !get_on_full(object, &d->on_full) || partitions == 0 || partitions > CLI_PARTITIONS_MAX) {
        return false;
    }
    d->made_ms = (int64_t)made;
    d->created_ms = (int64_t)created;
    d->partitions = (uint32_t)partitions;
    return read_parts(d, json_object_get(object, "partitions"));
}

static cli_dump_item torn(cli_dump_file *f) {
    fault(f, "the file ends before its dump does: it was cut off, or is still being written");
    return CLI_DUMP_TORN;
}

/* The next line, or why there is none. MESSAGE: there is one. */
static cli_dump_item next_line(cli_dump_file *f, seg_bytes *line) {
    switch (cli_archive_next(f->archive, line)) {
    case CLI_ARCHIVED_LINE:
        return CLI_DUMP_MESSAGE;
    case CLI_ARCHIVED_END:
    case CLI_ARCHIVED_TORN:
        return torn(f);
    case CLI_ARCHIVED_DAMAGED:
        return fault(f, "what comes after this line is damaged");
    case CLI_ARCHIVED_ERROR:
        return fault(f, "cannot read on: %s", strerror(errno));
    default:
        return CLI_DUMP_STOPPED;
    }
}

cli_dump_item cli_dump_file_open(cli_dump_file *f, int fd, const char *name) {
    seg_bytes line;
    *f = (cli_dump_file){.name = name, .archive = cli_archive_read(fd)};
    cli_dump_item item = next_line(f, &line);
    if (item != CLI_DUMP_MESSAGE) {
        return item;
    }
    json_error_t error;
    json_t *object = json_loadb(line.data, line.len, JSON_ALLOW_NUL, &error);
    const char *kind = json_string_value(json_object_get(object, "dump"));
    if (!kind || strcmp(kind, "begin") != 0) {
        item = fault(f, "this is no dump: its first line does not say so");
    } else if (!has_number(object, "v", 1)) {
        item = fault(f, "\"v\" is not 1, the version of the format that this command reads");
    } else if (!read_begin(&f->dump, object)) {
        item = fault(f, "the description of the stream is damaged");
    } else {
        f->dump.digest = cli_xxh64(line.data, line.len + 1, 0);
        item = CLI_DUMP_COMPLETE;
    }
    json_decref(object);
    return item;
}

static bool is_partition(const cli_dump_file *f, uint64_t number) {
    return number < f->dump.partitions && number >= f->dump.at && !f->dump.parts[number].left_out;
}

static cli_dump_item read_skip(cli_dump_file *f, const json_t *object) {
    seg_skip skip = {.why = SEG_SKIP_DROPPED};
    uint64_t partition;
    const char *why = json_string_value(json_object_get(object, "why"));
    if (!get_number(object, "partition", &partition) || !is_partition(f, partition) ||
        !get_number(object, "era", &skip.era) || !get_number(object, "first", &skip.first) ||
        !get_number(object, "count", &skip.count) || !why || skip.count > INT64_MAX) {
        return fault(f, "what was skipped here is damaged");
    }
    skip.partition = (uint32_t)partition;
    if (strcmp(why, "lost") == 0) {
        skip.why = SEG_SKIP_LOST;
    }
    count_skip(&f->dump, &skip);
    return CLI_DUMP_SKIP;
}

/* `before`: the digest of the lines before this one. */
static cli_dump_item read_end(cli_dump_file *f, const json_t *object, uint64_t before) {
    const cli_dump *d = &f->dump;
    const json_t *parts = json_object_get(object, "partitions");
    size_t n = 0;
    for (uint32_t p = 0; p < d->partitions; p++) {
        if (d->parts[p].left_out) {
            continue;
        }
        const json_t *part = json_array_get(parts, n++);
        if (!has_number(part, "partition", p) ||
            !has_number(part, "messages", d->parts[p].messages) ||
            !has_number(part, "skipped", d->parts[p].skipped) ||
            !has_digest(part, d->parts[p].digest)) {
            return fault(f,
                         "partition %" PRIu32 " is not as it was written: its checksum or "
                         "count is another",
                         p);
        }
    }
    if (!has_number(object, "v", 1) || !has_number(object, "messages", d->messages) ||
        !has_number(object, "skipped", d->skipped) || json_array_size(parts) != n ||
        !has_digest(object, before)) {
        return fault(f, "the lines before this one are not as they were written: their checksum "
                        "is another");
    }
    seg_bytes line;
    cli_archived rest = cli_archive_next(f->archive, &line);
    if (rest == CLI_ARCHIVED_INTERRUPT) {
        return CLI_DUMP_STOPPED;
    }
    /* Cut within what a frame ends with: all lines are there, and the frame is none that can be kept. */
    if (rest == CLI_ARCHIVED_TORN && cli_archive_rest(f->archive).len == 0) {
        return torn(f);
    }
    return rest == CLI_ARCHIVED_END ? CLI_DUMP_COMPLETE
                                    : fault(f, "there is something behind the end of the dump");
}

/* `message` and `id` are set, if `has_place`. */
static cli_dump_item take_message(cli_dump_file *f, bool has_place, uint64_t partition) {
    if (!has_place || !is_partition(f, partition) || f->id.offset >= INT64_MAX) {
        return fault(f, "the message has no place or timestamp that it can have here");
    }
    f->partition = (uint32_t)partition;
    cli_dump_part *part = &f->dump.parts[f->partition];
    if (f->id.era < part->at.era || (f->id.era == part->at.era && f->id.offset < part->at.offset)) {
        return fault(f,
                     "the message is not in its place: offset %" PRIu64 " stands behind a later "
                     "one of partition %" PRIu32,
                     f->id.offset, f->partition);
    }
    count_message(&f->dump, f->partition, f->id,
                  cli_digest_record(part->digest, &f->message, &f->scratch));
    return CLI_DUMP_MESSAGE;
}

static cli_dump_item read_message(cli_dump_file *f) {
    const json_t *object = f->json.root;
    uint64_t partition = 0;
    f->message = f->json.record;
    bool has_place = get_number(object, "partition", &partition) &&
                     get_number(object, "era", &f->id.era) &&
                     get_number(object, "offset", &f->id.offset) &&
                     json_is_integer(json_object_get(object, "ts_ms"));
    return take_message(f, has_place, partition);
}

cli_dump_item cli_dump_file_next(cli_dump_file *f) {
    seg_bytes line;
    char text[256];
    cli_json_record_fini(&f->json);
    cli_dump_item item = next_line(f, &line);
    if (item != CLI_DUMP_MESSAGE) {
        return item;
    }
    uint64_t before = f->dump.digest;
    f->dump.digest = cli_xxh64(line.data, line.len + 1, before);
    if (cli_json_scan_line(&f->scan, line)) {
        f->message = f->scan.record;
        f->id = (seg_id){f->scan.era, f->scan.offset};
        return take_message(f, true, f->scan.partition);
    }
    if (!cli_json_record_read(&f->json, line, NULL, 0, text)) {
        return fault(f, "%s", text);
    }
    const json_t *kind = json_object_get(f->json.root, "dump");
    const char *name = json_string_value(kind);
    if (!kind) {
        return read_message(f);
    }
    if (name && strcmp(name, "skip") == 0) {
        return read_skip(f, f->json.root);
    }
    if (name && strcmp(name, "end") == 0) {
        return read_end(f, f->json.root, before);
    }
    return fault(f, "a line that a dump does not have here");
}

void cli_dump_file_fini(cli_dump_file *f) {
    cli_json_record_fini(&f->json);
    cli_json_scan_fini(&f->scan);
    cli_archive_free(f->archive);
    cli_dump_fini(&f->dump);
    cli_buf_fini(&f->scratch);
    *f = (cli_dump_file){0};
}
