// SPDX-License-Identifier: Apache-2.0
//
// Output that never waits longer than it is told to, and guests' lines on it; see output.h and
// log.h.
//
// The way that comes to mind first, O_NONBLOCK on the descriptor, changes the open file
// description, which weir's standard output shares with the shell and with whatever else writes
// there: they would start to fail with EAGAIN. Opening /proc/self/fd/N anew gives a description of
// our own, but not for sockets (the journal's) and not after privileges were dropped. So a pipe or
// socket is written with RWF_NOWAIT, which asks the same for one call. Kernels before 6.4 refuse
// that for pipes; there, and for terminals and files, poll() tells that at least PIPE_BUF bytes
// have room and as many are written at most. What is left of the danger on such kernels: another
// writer of the same pipe fills it between the two calls, and then write() waits for the reader.
//
// Any thread. No state, no lock: a line of at most PIPE_BUF bytes is one indivisible write on a
// pipe.
#include "observe/output.h"

#include "base/clock.h"
#include "base/show.h"
#include "observe/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// Whether the descriptor takes bytes before the deadline; also true where only write() can tell
// what is wrong.
static bool wait_writable(int fd, int64_t deadline_ns) {
    for (;;) {
        int64_t now_ns = weir_clock_monotonic_ns();
        int64_t left_ms =
            deadline_ns > now_ns ? (deadline_ns - now_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS : 0;
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        int ready = poll(&writable, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
        if (left_ms == 0) {
            return false; // a storm of signals does not lengthen the wait
        }
    }
}

// One write that does not wait, where the kernel can do that; -1 and EAGAIN where it would.
static ssize_t write_at_once(int fd, struct weir_str bytes) {
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes.data, .iov_len = bytes.size};
    return pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
}

static bool can_write_at_once(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode));
}

size_t weir_output_write(int fd, struct weir_str bytes, int64_t deadline_ns) {
    bool is_at_once = can_write_at_once(fd);
    size_t done = 0;
    while (done < bytes.size) {
        struct weir_str rest = {.data = bytes.data + done, .size = bytes.size - done};
        ssize_t written;
        if (is_at_once) {
            written = write_at_once(fd, rest);
            if (written < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
                is_at_once = false;
                continue;
            }
        } else {
            if (!wait_writable(fd, deadline_ns)) {
                break;
            }
            written = write(fd, rest.data, rest.size < PIPE_BUF ? rest.size : PIPE_BUF);
        }
        if (written >= 0) {
            done += (size_t)written;
        } else if (errno == EAGAIN) { // also where somebody else has set O_NONBLOCK
            if (weir_clock_monotonic_ns() >= deadline_ns || !wait_writable(fd, deadline_ns)) {
                break;
            }
        } else if (errno != EINTR) {
            break;
        }
    }
    return done;
}

// A line of output under construction.
struct piece {
    char bytes[WEIR_OUTPUT_LINE_BYTES_MAX];
    size_t size;
};
_Static_assert(WEIR_OUTPUT_LINE_BYTES_MAX <= PIPE_BUF, "a piece is one indivisible write");

static void put(struct piece *piece, struct weir_str text) {
    memcpy(piece->bytes + piece->size, text.data, text.size);
    piece->size += text.size;
}

// Puts as much of the text as fits and leaves `spare_bytes` free. Returns how much of the text that
// was.
static size_t put_shown(struct piece *piece, struct weir_str text, size_t spare_bytes) {
    size_t at = 0;
    while (at < text.size) {
        struct weir_shown shown =
            weir_show_first((struct weir_str){.data = text.data + at, .size = text.size - at});
        if (text.data[at] == '\t') {
            shown = (struct weir_shown){.taken = 1, .size = 1, .bytes = {'\t'}};
        }
        if (piece->size + shown.size + spare_bytes > sizeof piece->bytes) {
            break;
        }
        put(piece, (struct weir_str){.data = shown.bytes, .size = shown.size});
        at += shown.taken;
    }
    return at;
}

bool weir_output_line(int fd, const char *guest, struct weir_str line) {
    const struct weir_str joint = WEIR_STR("...");
    const int64_t deadline_ns = weir_clock_monotonic_ns() + WEIR_LOG_WAIT_MS * WEIR_NS_PER_MS;
    char name[WEIR_OUTPUT_NAME_BYTES_MAX];
    weir_show(weir_str_of(guest), name, sizeof name);
    struct weir_str rest = line;
    do {
        struct piece piece;
        piece.size = 0; // the 4 KiB behind it need no zeroing
        put(&piece, WEIR_STR("["));
        put(&piece, weir_str_of(name));
        put(&piece, WEIR_STR("] "));
        if (rest.size < line.size) {
            put(&piece, joint);
        }
        size_t taken = put_shown(&piece, rest, joint.size + 1);
        if (taken > 0) {
            rest.data += taken;
            rest.size -= taken;
        }
        if (rest.size > 0) {
            put(&piece, joint);
        }
        put(&piece, WEIR_STR("\n"));
        struct weir_str bytes = {.data = piece.bytes, .size = piece.size};
        if (weir_output_write(fd, bytes, deadline_ns) < bytes.size) {
            return false;
        }
    } while (rest.size > 0);
    return true;
}
