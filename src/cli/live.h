// SPDX-License-Identifier: Apache-2.0
//
// What a person is shown while something takes longer than a second: on a terminal a line on
// standard error that is written anew and is gone when it is over, elsewhere one line of the log.
//
// Used on the main thread.
#ifndef WEIR_CLI_LIVE_H
#define WEIR_CLI_LIVE_H

#include "guest/engine.h"

struct weir_log;

struct weir_live {
    struct weir_log *log;
    bool is_live;  // standard error is a terminal that can go back in a line
    bool has_told; // the log, of what is going on
    // Who else is told the text, each second; NULL: nobody.
    void (*look_on)(void *context, const char *text);
    void *look_on_context;
};

enum { WEIR_LIVE_BYTES = 256 }; // of a text

// "compiling orders (11.4 MiB): 3 s of about 9 s"
void weir_live_format(const struct weir_compiling *compiling,
                      char ret_text[static WEIR_LIVE_BYTES]);

// The `compiling` of an engine; the context is a struct weir_live.
void weir_live_compiling(void *context, const struct weir_compiling *compiling);

#endif
