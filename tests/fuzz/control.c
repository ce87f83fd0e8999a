// SPDX-License-Identifier: Apache-2.0
//
// A request to the control socket from anybody: whatever the bytes, it is refused with a message or
// read into something that can be freed.
#include "control/control.h"
#include "control/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_control_request request;
    struct weir_error err = {0};
    struct weir_str line = {.data = (const char *)data, .size = size};
    if (weir_control_request_parse(line, &request, &err) == WEIR_OK) {
        require(request.command != WEIR_CONTROL_UNDEAD || request.id > 0);
        weir_control_request_finish(&request);
        return 0;
    }
    require(err.status != WEIR_OK && err.message[0] && weir_utf8_valid(weir_str_of(err.message)));
    json_t *json = weir_control_error_json(&err);
    struct weir_error again = {0};
    require(weir_control_error_of(json, &again) == err.status);
    json_decref(json);
    return 0;
}
