// SPDX-License-Identifier: Apache-2.0
//
// See pace.h. A file holds one number, nanoseconds per MiB, and a line break. It is replaced as a
// whole; of two processes that do so at a time one wins, and nothing is lost that matters.
#include "guest/pace.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX ".pace-"

enum {
    NAME_BYTES = 64,
    TEXT_BYTES = 32,
    // Of a MiB, where nothing was measured: what a component of JavaScript takes on two cores.
    MS_PER_MIB = 750,
    // What is beyond is not believed.
    MS_PER_MIB_MIN = 1,
    MS_PER_MIB_MAX = 10 * 60 * 1000,
    MEMORY = 4, // the mean moves by one part in so many with each new number
};

#define BYTES_PER_MIB (1024.0 * 1024.0)

static bool is_believable(double ns_per_mib) {
    return ns_per_mib >= (double)(MS_PER_MIB_MIN * WEIR_NS_PER_MS) &&
           ns_per_mib <= (double)(MS_PER_MIB_MAX * WEIR_NS_PER_MS);
}

// 0: there is none.
static double read_pace(int folder_fd, const char *name) {
    char text[TEXT_BYTES] = "", *end;
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0 || text[0] < '0' || text[0] > '9') {
        return 0;
    }
    errno = 0;
    unsigned long long ns = strtoull(text, &end, 10);
    bool is_whole = errno == 0 && end[0] == '\n' && end + 1 == text + size;
    return is_whole && is_believable((double)ns) ? (double)ns : 0;
}

static void write_pace(int folder_fd, const char *name, double ns_per_mib) {
    char temporary[NAME_BYTES + TEXT_BYTES], text[TEXT_BYTES];
    int size = snprintf(text, sizeof text, "%.0f\n", ns_per_mib);
    snprintf(temporary, sizeof temporary, "%s-%ld", name, (long)getpid());
    int fd =
        openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    bool is_written = write(fd, text, (size_t)size) == size;
    is_written = close(fd) == 0 && is_written;
    if (!is_written || renameat(folder_fd, temporary, folder_fd, name) != 0) {
        unlinkat(folder_fd, temporary, 0);
    }
}

static void name_of(const char *kind, char ret_name[static NAME_BYTES]) {
    snprintf(ret_name, NAME_BYTES, PREFIX "%.32s", kind);
}

int64_t weir_pace_estimate_ns(int folder_fd, const char *kind, uint64_t bytes) {
    char name[NAME_BYTES];
    name_of(kind, name);
    double pace = folder_fd >= 0 ? read_pace(folder_fd, name) : 0;
    pace = pace > 0 ? pace : (double)(MS_PER_MIB * WEIR_NS_PER_MS);
    return (int64_t)(pace * ((double)bytes / BYTES_PER_MIB));
}

void weir_pace_note(int folder_fd, const char *kind, uint64_t bytes, int64_t took_ns) {
    if (folder_fd < 0 || bytes == 0) {
        return;
    }
    char name[NAME_BYTES];
    name_of(kind, name);
    double pace = (double)took_ns / ((double)bytes / BYTES_PER_MIB);
    double before = read_pace(folder_fd, name);
    double mean = before > 0 ? before + (pace - before) / MEMORY : pace;
    if (is_believable(mean)) {
        write_pace(folder_fd, name, mean);
    }
}

bool weir_pace_is_its_file(const char *name) {
    return strncmp(name, PREFIX, sizeof PREFIX - 1) == 0;
}
