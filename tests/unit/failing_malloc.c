// SPDX-License-Identifier: Apache-2.0
//
// See failing_malloc.h. The linker sends each call to __wrap_NAME, and __real_NAME is the one that
// was meant. Any thread.
#include "unit/failing_malloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t left; // allocations up to the one that fails, itself included; 0: none fails
static atomic_bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

void failing_malloc_arm(size_t number) {
    atomic_store(&has_failed, false);
    atomic_store(&left, number);
}

bool failing_malloc_disarm(void) {
    atomic_store(&left, 0);
    return atomic_load(&has_failed);
}

bool failing_malloc_has_failed(void) {
    return atomic_load(&has_failed);
}

static bool fails(void) {
    size_t before = atomic_load(&left);
    while (before > 0) {
        if (atomic_compare_exchange_weak(&left, &before, before - 1)) {
            break;
        }
    }
    if (before != 1) {
        return false;
    }
    atomic_store(&has_failed, true);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
    return fails() ? NULL : __real_realloc(block, size);
}

char *__wrap_strndup(const char *text, size_t size) {
    size_t length = strnlen(text, size);
    char *copy = __wrap_malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text) {
    return __wrap_strndup(text, strlen(text));
}

int __wrap_asprintf(char **ret_text, const char *format, ...) {
    if (fails()) {
        *ret_text = NULL;
        return -1;
    }
    va_list args;
    va_start(args, format);
    int length = vasprintf(ret_text, format, args);
    va_end(args);
    return length;
}
