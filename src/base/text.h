/* text.h - text for people: whatever bytes go in, one line of valid UTF-8 comes out. Pure. */
#ifndef SG_BASE_TEXT_H
#define SG_BASE_TEXT_H
#include <stdarg.h>
#include <stddef.h>

/* Format into `out`, cut to fit at a UTF-8 boundary. Control characters and bytes that are no
 * UTF-8 become '?', so that a text can go to a terminal, a log line or JSON as it is. */
void sg_text_vprint(char *out, size_t size, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* The longest length up to `max` at which cutting the `len` bytes at `s` splits no character. */
size_t sg_text_cut(const char *s, size_t len, size_t max);
#endif
