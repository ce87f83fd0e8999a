// SPDX-License-Identifier: Apache-2.0
//
// See live.h. The live line leaves the cursor at its beginning, so that a line of the log that
// another thread writes meanwhile begins there, and not behind it.
#include "cli/live.h"

#include "base/clock.h"
#include "base/show.h"
#include "observe/log.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    COLUMNS = 80, // of a terminal that does not say
    NAME_COLUMNS = 40,
};

#define BYTES_PER_MIB (1024.0 * 1024.0)

void weir_live_format(const struct weir_compiling *compiling,
                      char ret_text[static WEIR_LIVE_BYTES]) {
    char name[NAME_COLUMNS];
    weir_show(weir_str_of(compiling->guest), name, sizeof name);
    long long passed_s = compiling->passed_ns / WEIR_NS_PER_S;
    long long estimate_s = (compiling->estimate_ns + WEIR_NS_PER_S - 1) / WEIR_NS_PER_S;
    int size = snprintf(ret_text, WEIR_LIVE_BYTES, "compiling %s (%.1f MiB): %lld s", name,
                        (double)compiling->bytes / BYTES_PER_MIB, passed_s);
    if (compiling->passed_ns < compiling->estimate_ns) {
        snprintf(ret_text + size, WEIR_LIVE_BYTES - (size_t)size, " of about %lld s", estimate_s);
    } else {
        snprintf(ret_text + size, WEIR_LIVE_BYTES - (size_t)size,
                 ", longer than the %lld s that it was to take", estimate_s);
    }
}

static int columns(void) {
    struct winsize window;
    bool is_told = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
    return is_told ? window.ws_col : COLUMNS;
}

static void show_live(const struct weir_compiling *compiling, const char *text) {
    // One column stays free: some terminals begin a new line as soon as the last one is written.
    fprintf(stderr, "\033[K%.*s\r", compiling->is_over ? 0 : columns() - 1, text);
}

static void tell_log(struct weir_log *log, const struct weir_compiling *compiling) {
    const struct weir_log_field fields[] = {
        {"guest", weir_str_of(compiling->guest)},
        {"bytes", WEIR_LOG_NUMBER(compiling->bytes)},
        {"estimate_ms", WEIR_LOG_NUMBER((uint64_t)(compiling->estimate_ns / WEIR_NS_PER_MS))},
    };
    // An estimate that is wrong already is none.
    size_t count =
        sizeof fields / sizeof fields[0] - (compiling->estimate_ns > compiling->passed_ns ? 0 : 1);
    weir_log_write(log, WEIR_LOG_INFO, "compiling a guest takes a while", fields, count);
}

void weir_live_compiling(void *context, const struct weir_compiling *compiling) {
    struct weir_live *live = context;
    char text[WEIR_LIVE_BYTES];
    weir_live_format(compiling, text);
    if (live->is_live) {
        show_live(compiling, text);
    } else if (!live->has_told) {
        tell_log(live->log, compiling);
    }
    live->has_told = !compiling->is_over;
    if (live->look_on && !compiling->is_over) {
        live->look_on(live->look_on_context, text);
    }
}
