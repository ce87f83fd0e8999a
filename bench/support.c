// SPDX-License-Identifier: Apache-2.0
//
// See support.h. Any thread.
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void give_up(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

_Noreturn void give_up_errno(const char *what) {
    give_up(what, strerrordesc_np(errno));
}

void *allocate_or_give_up(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) {
        give_up("allocating", "no memory");
    }
    return memory;
}

char *read_guest(const char *path, struct weir_str *ret_wasm) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        give_up_errno(path);
    }
    char *bytes = allocate_or_give_up(GUEST_BYTES_MAX);
    size_t size = fread(bytes, 1, GUEST_BYTES_MAX, file);
    if (ferror(file) || size == GUEST_BYTES_MAX) {
        give_up(path, "cannot be read, or is too large");
    }
    fclose(file);
    *ret_wasm = (struct weir_str){.data = bytes, .size = size};
    return bytes;
}

long parse_argument(const char *text, long least, long most) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        give_up(text, "not a number that fits here");
    }
    return value;
}
