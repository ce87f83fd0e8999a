// SPDX-License-Identifier: Apache-2.0
//
// A hostile component: what weir reads of it before the engine has checked anything, and what it
// adds to it. Whether the engine takes the whole is the fuzzer guest's.
#include "guest/annex.h"
#include "require.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct weir_str part, const uint8_t *data, size_t size) {
    const uint8_t *start = (const uint8_t *)part.data;
    return part.size == 0 || (start >= data && part.size <= size - (size_t)(start - data));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_annex *annex;
    struct weir_error err = {.message = ""};
    weir_status status = weir_annex_make((struct weir_str){(const char *)data, size}, &annex, &err);
    if (status != WEIR_OK) {
        REQUIRE(status == WEIR_UNSUPPORTED && !annex && err.message[0]);
        return 0;
    }
    REQUIRE(annex->size > size && memcmp(annex->bytes, data, size) == 0);
    REQUIRE(annex->outline.handler_count > 0);
    for (uint32_t i = 0; i < annex->outline.handler_count; i++) {
        REQUIRE(is_within(annex->outline.handlers[i].interface, data, size));
        REQUIRE(is_within(annex->outline.handlers[i].name, data, size));
    }
    weir_annex_destroy(annex);
    return 0;
}
