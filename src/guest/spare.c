// SPDX-License-Identifier: Apache-2.0
//
// See spare.h.
#include "guest/spare.h"

#include <stdint.h>
#include <stdlib.h>

struct weir_spare {
    size_t room;
    _Alignas(16) char bytes[];
};

char *weir_spare_take(weir_spare_slot *slot, struct weir_spare **held, size_t size) {
    if (!*held) {
        *held = atomic_exchange(slot, NULL);
    }
    if (*held && (*held)->room >= size) {
        return (*held)->bytes;
    }
    free(*held);
    *held = size <= PTRDIFF_MAX - sizeof **held ? malloc(sizeof **held + size) : NULL;
    if (!*held) {
        return NULL;
    }
    (*held)->room = size;
    return (*held)->bytes;
}

void weir_spare_give_back(weir_spare_slot *slot, struct weir_spare **held) {
    if (*held && (*held)->room <= WEIR_SPARE_BYTES_MAX) {
        *held = atomic_exchange(slot, *held);
    }
    free(*held);
    *held = NULL;
}

void weir_spare_free(weir_spare_slot *slot) {
    free(atomic_exchange(slot, NULL));
}
