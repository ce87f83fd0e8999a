// SPDX-License-Identifier: Apache-2.0
//
// See process.h. Source: proc(5).
#include "admin/process.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
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

// The fields behind the command, by their numbers in proc(5).
enum { STAT_STATE = 3, STAT_THREADS = 20, STAT_VIRTUAL_BYTES = 23, STAT_RESIDENT_PAGES = 24 };

// The number in that field; `fields` begins with that of STAT_STATE. 0: there is none.
static uint64_t stat_number(const char *fields, int number) {
    for (int at = STAT_STATE; at < number && fields; at++) {
        fields = strchr(fields, ' ');
        fields += fields ? 1 : 0;
    }
    return fields ? strtoull(fields, NULL, 10) : 0;
}

static bool read_stat(struct weir_process *process) {
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file) {
        return false;
    }
    size_t size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = '\0';
    const char *command_end = strrchr(line, ')'); // in parentheses, and may hold anything
    if (!command_end || command_end[1] != ' ') {
        return false;
    }
    const char *fields = command_end + 2;
    process->threads = stat_number(fields, STAT_THREADS);
    process->virtual_bytes = stat_number(fields, STAT_VIRTUAL_BYTES);
    process->resident_bytes =
        stat_number(fields, STAT_RESIDENT_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
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
