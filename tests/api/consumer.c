/* A program as a user would write it, built against the installed library: the version that it runs
 * with is the one that it was compiled with, and the library's own libraries are all found. */
#include <segmenter/segmenter.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    seg_client *client = NULL;
    seg_client_options options;
    seg_error err;
    if (strcmp(seg_version(), SEG_VERSION_TEXT) != 0) {
        fprintf(stderr, "library %s, header %s\n", seg_version(), SEG_VERSION_TEXT);
        return 1;
    }
    SEG_INIT(&options);
    options.url = "no-such-scheme://here";
    if (seg_client_open(&client, &options, &err) != SEG_EINVAL) {
        fprintf(stderr, "a malformed url was not refused\n");
        return 1;
    }
    seg_client_close(client);
    printf("%s\n", seg_version());
    return 0;
}
