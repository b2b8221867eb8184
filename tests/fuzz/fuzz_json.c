/* fuzz_json.c - messages as lines of JSON: what is read, written and read again is the same; so is
 * any message that is written; and base64 has one form only. */
#include "json.h"

#include "base64.h"
#include "engine/message.h"
#include "fuzz.h"
#include "json_line.h"
#include "json_scan.h"

static const cli_json_origin origin = {"s", "g", "m"};
static const seg_bytes extra[2] = {{"added", 5}, {"by -H", 5}};

static bool same_bytes(seg_bytes a, seg_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static seg_bytes take_bytes(fuzz_input *in) {
    fuzz_input part = fuzz_take(in, fuzz_byte(in));
    return (seg_bytes){part.at, part.len};
}

/* As a batch would have them. The caller frees `headers`. */
static seg_message message_of(const seg_record *r, sg_buf *headers) {
    sg_buf_init(headers, SIZE_MAX);
    for (size_t i = 0; i < 2 * r->n_headers; i++)
        FUZZ_CHECK(sg_buf_varint(headers, r->headers[i].len) &&
                   sg_buf_append(headers, r->headers[i].data, r->headers[i].len));
    return (seg_message){.view = {.key = r->key,
                                  .value = r->value,
                                  .headers = {headers->data, headers->len},
                                  .n_headers = (uint32_t)r->n_headers,
                                  .timestamp = r->timestamp},
                         .delivery = {.id = {1, 2}, .epoch = 3, .partition = 4, .attempt = 5}};
}

/* What json_line.c writes by hand is what jansson makes of it. */
static void check_as_jansson(const char *line, size_t len) {
    json_error_t error;
    json_t *object = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    FUZZ_CHECK(object != NULL);
    char *again = json_dumps(object, JSON_COMPACT);
    FUZZ_CHECK(again && strlen(again) == len && memcmp(again, line, len) == 0);
    free(again);
    json_decref(object);
}

static void check_same(const seg_record *a, const seg_record *b) {
    FUZZ_CHECK(a->timestamp == b->timestamp && a->n_headers == b->n_headers);
    FUZZ_CHECK(same_bytes(a->key, b->key) && same_bytes(a->value, b->value));
    for (size_t i = 0; i < 2 * a->n_headers; i++)
        FUZZ_CHECK(same_bytes(a->headers[i], b->headers[i]));
}

/* A line of a message without a group is known to the quick reader. */
static void check_scan(const seg_message *m, const seg_record *r) {
    const cli_json_origin nobody = {.stream = "s"};
    cli_buf line = {0};
    cli_json_scan scan = {0};
    cli_json_line(&line, m, &nobody);
    FUZZ_CHECK(line.len > 0 && line.data[line.len - 1] == '\n');
    check_as_jansson(line.data, line.len - 1);
    FUZZ_CHECK(cli_json_scan_line(&scan, (seg_bytes){line.data, line.len - 1}));
    FUZZ_CHECK(scan.partition == 4 && scan.era == 1 && scan.offset == 2);
    check_same(&scan.record, r);
    FUZZ_CHECK(!cli_json_scan_line(&scan, (seg_bytes){line.data, line.len - 2}));
    cli_json_scan_fini(&scan);
    cli_buf_fini(&line);
}

/* What the quick reader takes, is JSON, and means the same. */
static void check_scan_of(seg_bytes line) {
    cli_json_scan scan = {0};
    cli_json_record r;
    char fault[256];
    if (cli_json_scan_line(&scan, line)) {
        FUZZ_CHECK(cli_json_record_read(&r, line, NULL, 0, fault));
        check_same(&scan.record, &r.record);
        cli_json_record_fini(&r);
    }
    cli_json_scan_fini(&scan);
}

/* The message as a line, read again, with one more header. */
static void check_round_trip(const seg_record *r) {
    sg_buf headers;
    char *line = NULL, fault[256];
    size_t len;
    cli_json_record again;
    const seg_message m = message_of(r, &headers);
    check_scan(&m, r);
    FILE *out = open_memstream(&line, &len);
    FUZZ_CHECK(out != NULL);
    cli_json_message(out, &m, &origin);
    FUZZ_CHECK(fclose(out) == 0);
    FUZZ_CHECK(len > 0 && memchr(line, '\n', len) == line + len - 1); /* one line */
    check_as_jansson(line, len - 1);
    FUZZ_CHECK(cli_json_record_read(&again, (seg_bytes){line, len - 1}, extra, 1, fault));
    const seg_record *b = &again.record;
    FUZZ_CHECK(b->timestamp == r->timestamp);
    FUZZ_CHECK(same_bytes(r->key, b->key) && same_bytes(r->value, b->value));
    FUZZ_CHECK(b->n_headers == r->n_headers + 1);
    for (size_t i = 0; i < 2 * r->n_headers; i++)
        FUZZ_CHECK(same_bytes(r->headers[i], b->headers[i]));
    FUZZ_CHECK(same_bytes(b->headers[2 * r->n_headers], extra[0]));
    cli_json_record_fini(&again);
    free(line);
    sg_buf_fini(&headers);
}

static void check_line(fuzz_input in) {
    uint8_t *line = fuzz_copy(in);
    char fault[256] = "";
    cli_json_record r;
    check_scan_of((seg_bytes){line, in.len});
    if (cli_json_record_read(&r, (seg_bytes){line, in.len}, NULL, 0, fault)) {
        check_round_trip(&r.record);
        cli_json_record_fini(&r);
    } else {
        FUZZ_CHECK(fault[0] != '\0' && memchr(fault, '\0', sizeof fault) != NULL);
        FUZZ_CHECK(r.root == NULL && r.decoded == NULL && r.headers == NULL);
    }
    free(line);
}

static void check_message(fuzz_input in) {
    seg_record r = {.size = sizeof r};
    seg_bytes headers[6];
    r.timestamp = (int64_t)fuzz_number(&in, 8);
    r.n_headers = fuzz_byte(&in) % 4;
    r.key = take_bytes(&in);
    for (size_t i = 0; i < 2 * r.n_headers; i++)
        headers[i] = take_bytes(&in);
    r.headers = headers;
    r.value = (seg_bytes){in.at, in.len};
    check_round_trip(&r);
}

static void check_base64(fuzz_input in) {
    uint8_t *text = fuzz_copy(in);
    seg_bytes out;
    if (cli_base64_decode((const char *)text, in.len, &out)) {
        char *again = cli_base64_encode(out);
        FUZZ_CHECK(strlen(again) == in.len && memcmp(again, text, in.len) == 0);
        free(again);
        free((void *)(uintptr_t)out.data);
    }
    char *encoded = cli_base64_encode((seg_bytes){text, in.len});
    FUZZ_CHECK(cli_base64_decode(encoded, strlen(encoded), &out));
    FUZZ_CHECK(same_bytes(out, (seg_bytes){text, in.len}));
    free((void *)(uintptr_t)out.data);
    free(encoded);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    if (len > 0 && (data[0] == '{' || data[0] == '[')) {
        check_line(in);
        return 0;
    }
    if (fuzz_byte(&in) % 2 == 0)
        check_message(in);
    else
        check_base64(in);
    return 0;
}
