/* top_screen.c - the terminal of segmenter top: plain ANSI, on the alternate screen. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "signals.h"
#include "top.h"

static struct termios before;
static bool raw;

static void restore(void) {
    if (raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        raw = false;
    }
    fputs("\033[?7h\033[?25h\033[?1049l", stdout); /* wrap, cursor on, the screen as it was */
    fflush(stdout);
}

void top_screen_begin(void) {
    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0) {
        struct termios keys = before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw = tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
    }
    fputs("\033[?1049h\033[?25l\033[?7l", stdout); /* a line that is too long is cut */
    fflush(stdout);
}

void top_screen_end(void) {
    restore();
}

static size_t rows(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* Each line is cleared behind its end, and the screen below the last, so that nothing flickers. */
void top_screen_draw(const char *text) {
    fputs("\033[H", stdout);
    for (size_t left = rows() - 1; *text && left > 0; left--) {
        size_t len = strcspn(text, "\n");
        fwrite(text, 1, len, stdout);
        fputs("\033[K\n", stdout);
        text += len + (text[len] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

/* True where the key is q. */
static bool read_key(struct pollfd *keys) {
    char key;
    if (!(keys->revents & (POLLIN | POLLHUP))) {
        return false;
    }
    if (read(STDIN_FILENO, &key, 1) != 1) {
        keys->fd = -1; /* nobody types there any more */
        return false;
    }
    return key == 'q' || key == 'Q';
}

bool top_screen_wait(int64_t ms) {
    struct pollfd fds[2] = {{.fd = raw ? STDIN_FILENO : -1, .events = POLLIN},
                            {.fd = cli_signal_fd(), .events = POLLIN}};
    int64_t deadline = cli_now_us() + ms * 1000;
    while (!cli_signal_caught()) {
        int64_t left = (deadline - cli_now_us() + 999) / 1000;
        if (left <= 0) {
            return false;
        }
        if (poll(fds, 2, left > 1000000 ? 1000000 : (int)left) > 0 && read_key(&fds[0])) {
            return true;
        }
    }
    return true;
}
