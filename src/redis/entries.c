#include "redis/entries.h"

#include <string.h>

#include "base/alloc.h"
#include "redis/reply.h"

#define ID_MAX    42 /* two numbers of 20 digits, and what is between them */
#define VALUE_MAX (SG_BATCH_SIZE_MAX + SG_BATCH_HEADER)
#define LINE_END  2

void sg_entries_init(sg_entries *e, sg_pool *pool) {
    *e = (sg_entries){.pool = pool, .at = SG_AT_END};
}

void sg_entries_clear(sg_entries *e) {
    for (size_t i = 0; i < e->count; i++)
        sg_block_unref(e->list[i].block);
    e->count = 0;
}

void sg_entries_expect(sg_entries *e, const sg_fetch_from *from, size_t n, uint64_t most) {
    sg_entries_clear(e);
    e->from = from;
    e->n_from = n;
    e->most = most;
    e->nothing = e->starved = e->inside = false;
    e->fault = NULL;
    e->streams = e->stream = 0;
    e->line_len = 0;
    e->at = SG_AT_ANSWER;
    e->last_value -= e->last_value / 8;
}

void sg_entries_fini(sg_entries *e) {
    sg_entries_clear(e);
    sg_free(e->list);
    *e = (sg_entries){.at = SG_AT_END};
}

/* ---- strings ------------------------------------------------------------------------------ */

static bool broken(sg_entries *e, const char *why) {
    e->fault = why;
    return false;
}

/* The string that comes is to be kept in `to`, or nowhere. */
static void begin_string(sg_entries *e, size_t len, void *to) {
    e->inside = true;
    e->expected = len + LINE_END;
    e->have = 0;
    e->to = to;
}

static size_t string_len(const sg_entries *e) {
    return e->expected - LINE_END;
}

static void next_entry(sg_entries *e) {
    e->at = e->left > 0 ? SG_AT_ENTRY : e->streams > 0 ? SG_AT_STREAM : SG_AT_END;
}

/* The entry has so many more strings, and they do not matter. */
static void pass_fields(sg_entries *e, uint64_t n) {
    e->fields = n;
    e->at = SG_AT_FOREIGN;
    if (n == 0)
        next_entry(e);
}

/* The keys come in the order in which they were asked for, those with nothing left out. */
static bool take_key(sg_entries *e) {
    size_t len = string_len(e);
    for (size_t i = e->stream; i < e->n_from; i++) {
        const char *key = e->from[i].key;
        if (strlen(key) == len && memcmp(key, e->text, len) == 0) {
            e->stream = i + 1;
            e->at = SG_AT_ENTRIES;
            return true;
        }
    }
    return broken(e, "an answer with a key that was not asked for");
}

static sg_entry *add_entry(sg_entries *e) {
    if (e->count == e->room) {
        size_t room = e->room > 0 ? 2 * e->room : 64;
        sg_entry *list = sg_reallocarray(e->list, room, sizeof *list);
        if (list == NULL)
            return NULL;
        e->list = list;
        e->room = room;
    }
    return &e->list[e->count++];
}

static void take_id(sg_entries *e) {
    sg_entry entry = {.from = e->stream - 1, .why = "its fields"};
    size_t len = string_len(e);
    if (len > ID_MAX || !sg_entry_id_parse(e->text, len, &entry.era, &entry.offset)) {
        entry.era = 0;
        entry.offset = UINT64_MAX;
    }
    sg_entry *new = e->starved ? NULL : add_entry(e);
    if (new != NULL)
        *new = entry;
    e->starved = new == NULL;
    e->at = SG_AT_FIELDS;
}

static bool is_ours(const sg_entries *e) {
    return string_len(e) == 1 && e->text[0] == 'b';
}

static bool end_string(sg_entries *e) {
    e->inside = false;
    switch (e->at) {
    case SG_AT_KEY:
        return take_key(e);
    case SG_AT_ID:
        take_id(e);
        return true;
    case SG_AT_NAME:
        if (is_ours(e))
            e->at = SG_AT_VALUE;
        else
            pass_fields(e, 1);
        return true;
    case SG_AT_VALUE:
        next_entry(e);
        return true;
    default:
        pass_fields(e, e->fields - 1);
        return true;
    }
}

/* ---- heads -------------------------------------------------------------------------------- */

/* A string of at most so many bytes that are looked at. */
static bool begin_text(sg_entries *e, char type, uint64_t n, size_t most, const char *what) {
    if (type != '$')
        return broken(e, what);
    begin_string(e, (size_t)n, n <= most ? e->text : NULL);
    return true;
}

static bool begin_value(sg_entries *e, char type, uint64_t n) {
    sg_block *b = NULL;
    if (type != '$')
        return broken(e, "an entry whose value is no string");
    if (!e->starved && n <= VALUE_MAX) {
        b = sg_block_new(e->pool, (size_t)n);
        e->starved = b == NULL;
        e->count -= b == NULL; /* it was not there */
        if (b != NULL) {
            e->list[e->count - 1].block = b;
            e->list[e->count - 1].why = NULL;
        }
    }
    if (b != NULL && n > e->last_value) /* one that is passed says nothing of ours */
        e->last_value = (size_t)n;
    begin_string(e, (size_t)n, b != NULL ? sg_block_room(b) : NULL);
    return true;
}

static bool begin_answer(sg_entries *e, uint64_t n) {
    if (n > e->n_from)
        return broken(e, "an answer of more streams than were asked for");
    if (n == 0) /* as if something had come: the next question would follow at once */
        return broken(e, "an answer of no streams");
    e->streams = (size_t)n;
    e->at = SG_AT_STREAM;
    return true;
}

static bool begin_entries(sg_entries *e, uint64_t n) {
    if (n > e->most)
        return broken(e, "an answer of more entries than were asked for");
    e->left = n;
    e->streams--;
    next_entry(e);
    return true;
}

static bool begin_array(sg_entries *e, uint64_t n) {
    switch (e->at) {
    case SG_AT_ANSWER:
        return begin_answer(e, n);
    case SG_AT_STREAM:
        e->at = SG_AT_KEY;
        return n == 2 ? true : broken(e, "a stream that is not a key and its entries");
    case SG_AT_ENTRIES:
        return begin_entries(e, n);
    case SG_AT_ENTRY:
        e->at = SG_AT_ID;
        e->left--;
        return n == 2 ? true : broken(e, "an entry that is not an ID and its fields");
    case SG_AT_FIELDS:
        if (n == 2)
            e->at = SG_AT_NAME;
        else
            pass_fields(e, n);
        return true;
    default:
        return broken(e, "an array where a string has to be");
    }
}

/* "*-1": instead of the answer, where nothing came, or instead of an entry's fields. */
static bool take_nil(sg_entries *e) {
    if (e->at == SG_AT_ANSWER) {
        e->nothing = true;
        e->at = SG_AT_END;
        return true;
    }
    if (e->at != SG_AT_FIELDS)
        return broken(e, "a nil where there has to be something");
    next_entry(e);
    return true;
}

/* The head of an array or string, without its end of line. */
static bool take_head(sg_entries *e, const char *line, size_t len) {
    uint64_t n = 0;
    char type = line[0];
    if (len == 3 && memcmp(line, "*-1", 3) == 0)
        return take_nil(e);
    if ((type != '*' && type != '$') || !sg_digits_read(line + 1, len - 1, SIZE_MAX / 2, &n))
        return broken(e, "an answer that is not in the form of an XREAD's");
    switch (e->at) {
    case SG_AT_KEY:
        if (n >= SG_KEY_MAX)
            return broken(e, "a key that is too long");
        return begin_text(e, type, n, SG_KEY_MAX, "a key that is no string");
    case SG_AT_ID:
        return begin_text(e, type, n, ID_MAX, "an ID that is no string");
    case SG_AT_NAME:
        return begin_text(e, type, n, 1, "a field whose name is no string");
    case SG_AT_FOREIGN:
        return begin_text(e, type, n, 0, "a field that is no string");
    case SG_AT_VALUE:
        return begin_value(e, type, n);
    default:
        return type == '*' ? begin_array(e, n) : broken(e, "a string where an array has to be");
    }
}

/* ---- bytes -------------------------------------------------------------------------------- */

static size_t at_most(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Bytes of the string, or its end of line. Returns those that were used; 0: it is broken. */
static size_t feed_string(sg_entries *e, const uint8_t *data, size_t n) {
    size_t len = string_len(e);
    if (e->have < len) {
        size_t m = at_most(len - e->have, n);
        if (e->to != NULL)
            memcpy(e->to + e->have, data, m);
        e->have += m;
        return m;
    }
    if (*data != (e->have == len ? '\r' : '\n')) {
        e->fault = "a string of another length than was said";
        return 0;
    }
    e->have++;
    return e->have < e->expected || end_string(e) ? 1 : 0;
}

/* Bytes of a head. As above. */
static size_t feed_head(sg_entries *e, const uint8_t *data, size_t n) {
    const uint8_t *end = memchr(data, '\n', at_most(n, sizeof e->line - e->line_len));
    size_t m = end != NULL ? (size_t)(end - data) + 1 : n;
    if (m > sizeof e->line - e->line_len) {
        e->fault = "a length that is too long";
        return 0;
    }
    memcpy(e->line + e->line_len, data, m);
    e->line_len += m;
    if (end == NULL)
        return m;
    size_t len = e->line_len;
    e->line_len = 0;
    if (len <= LINE_END || e->line[len - LINE_END] != '\r') {
        e->fault = "a line without an end";
        return 0;
    }
    return take_head(e, e->line, len - LINE_END) ? m : 0;
}

sg_entries_state sg_entries_feed(sg_entries *e, const uint8_t *data, size_t n, size_t *used) {
    *used = 0;
    if (e->at == SG_AT_ANSWER && e->line_len == 0 && n > 0 && *data != '*')
        e->at = SG_AT_OTHER;
    if (e->at == SG_AT_OTHER)
        return SG_ENTRIES_OTHER;
    while (e->at != SG_AT_END) {
        if (*used == n)
            return SG_ENTRIES_MORE;
        size_t m = e->inside ? feed_string(e, data + *used, n - *used)
                             : feed_head(e, data + *used, n - *used);
        if (m == 0)
            return SG_ENTRIES_BROKEN;
        *used += m;
    }
    return SG_ENTRIES_DONE;
}

size_t sg_entries_place(const sg_entries *e, uint8_t **to) {
    if (!e->inside || e->at != SG_AT_VALUE || e->to == NULL || e->have >= string_len(e))
        return 0;
    *to = e->to + e->have;
    return string_len(e) - e->have;
}

void sg_entries_placed(sg_entries *e, size_t n) {
    e->have += n;
}
