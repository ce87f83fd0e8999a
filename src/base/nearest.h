// SPDX-License-Identifier: Apache-2.0
//
// "did you mean": among the names that exist, the one that is most like a name that does not.
#ifndef WEIR_BASE_NEAREST_H
#define WEIR_BASE_NEAREST_H

#include "base/str.h"

struct weir_nearest {
    struct weir_str wanted;
    const char
        *best; // the nearest name offered; NULL while none is near enough to be what was meant
    size_t distance; // its distance
};

void weir_nearest_init(struct weir_nearest *nearest, struct weir_str wanted);

// Considers one existing name. It is borrowed for as long as `nearest` is used.
void weir_nearest_offer(struct weir_nearest *nearest, const char *name);

#endif
