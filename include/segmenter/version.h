/* version.h - the library's version and its export mark. Included by segmenter.h. */
#ifndef SEGMENTER_VERSION_H
#define SEGMENTER_VERSION_H

#define SEG_VERSION_MAJOR 0
#define SEG_VERSION_MINOR 1
#define SEG_VERSION_PATCH 0
#define SEG_VERSION_TEXT  "0.1.0"

#if defined(__GNUC__)
#define SEG_API __attribute__((visibility("default")))
#else
#define SEG_API
#endif

#if defined(__cplusplus)
extern "C" {
#endif
/* The version of the library that is loaded, "0.1.0": compare it with SEG_VERSION_TEXT, the one
 * that the program was compiled with. A static string; any thread; no server operation. */
SEG_API const char *seg_version(void);
#if defined(__cplusplus)
}
#endif
#endif
