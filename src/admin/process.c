// SPDX-License-Identifier: Apache-2.0
//
// See process.h. Source: proc(5).
#include "admin/process.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t ns_of(const struct timeval *time) {
    return (uint64_t)time->tv_sec * (uint64_t)WEIR_NS_PER_S + (uint64_t)time->tv_usec * 1000;
}

static uint64_t count_fds(void) {
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (!folder) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count - 1; // the folder's own
}

// The fields behind the command, which is in parentheses and may hold anything.
static bool read_stat(struct weir_process *process) {
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file) {
        return false;
    }
    size_t size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = '\0';
    const char *at = strrchr(line, ')');
    unsigned long threads, virtual_bytes, pages;
    // From the third field on: 17 fields, num_threads, itrealvalue, starttime, vsize, rss.
    if (!at || sscanf(at + 1,
                      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu "
                      "%*d %*u %lu %lu",
                      &threads, &virtual_bytes, &pages) != 3) {
        return false;
    }
    process->threads = threads;
    process->virtual_bytes = virtual_bytes;
    process->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

bool weir_process_look(struct weir_process *ret_process) {
    struct rusage usage;
    struct rlimit limit;
    *ret_process = (struct weir_process){0};
    if (getrusage(RUSAGE_SELF, &usage) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return false;
    }
    ret_process->cpu_ns = ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime);
    ret_process->fds = count_fds();
    ret_process->fds_max = limit.rlim_cur;
    return read_stat(ret_process);
}
