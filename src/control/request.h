// SPDX-License-Identifier: Apache-2.0
//
// What may be asked; see control.h. Private to this room and to its tests.
#ifndef WEIR_CONTROL_REQUEST_H
#define WEIR_CONTROL_REQUEST_H

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum weir_control_command { WEIR_CONTROL_STATUS, WEIR_CONTROL_UNDEAD, WEIR_CONTROL_TAIL };

struct weir_control_request {
    enum weir_control_command command;
    json_t *json; // owns the texts
    // undead:
    uint64_t id;
    bool again;
    // tail; NULL: all of them.
    const char *subscription, *type, *key;
    bool is_failed;
};

// Reads one line, without its end. WEIR_INVALID, WEIR_NO_MEMORY: nothing is to be finished. Any
// thread.
weir_status weir_control_request_parse(struct weir_str line,
                                       struct weir_control_request *ret_request,
                                       struct weir_error *err);
void weir_control_request_finish(struct weir_control_request *request);

// {"error":...,"status":...}; NULL without memory.
json_t *weir_control_error_json(const struct weir_error *err);

#endif
