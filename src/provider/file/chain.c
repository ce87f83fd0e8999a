// SPDX-License-Identifier: Apache-2.0
//
// A handler's answer that is published to a directory becomes a file, and the file's change becomes
// an event again. So that a chain of such events can be followed, and one that feeds itself is cut,
// the number of handlers that it has passed must get through the file. It does so in an attribute
// that is set before the file gets its name, so that nobody sees the one without the other.
//
// The attribute belongs to the content, not to the file: who later writes another content into the
// same file begins a chain of his own. Hence the content's hash in it. Where a value is too large
// to be read, the time of its modification stands in for the hash; it ticks, so it is the weaker
// one. Whoever copies or moves a file with its attributes hands on the chain too, as he should.
//
//   1 HASH MTIME HOPS NUL CAUSATION NUL CORRELATION
//
// The version, two numbers of 16 hex digits, a decimal number, and the two ids, the last three
// perhaps empty; a text, so that `getfattr -d` shows it to people. Everybody who may write the file
// may write the attribute, so it is checked like any input. What was tried: a file of its own
// beside the value; it cannot be renamed in one step with it.
#include "provider/file/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/xattr.h>

enum {
    HEX_DIGITS = 16,
    HASH_AT = 2, // behind "1 "
    MTIME_AT = HASH_AT + HEX_DIGITS + 1,
    HOPS_AT = MTIME_AT + HEX_DIGITS + 1,
};

struct weir_file_chain weir_file_chain_of(const struct weir_event_fields *fields) {
    return (struct weir_file_chain){
        .causation = weir_event_extension(fields, WEIR_EXTENSION_CAUSATION),
        .correlation = weir_event_extension(fields, WEIR_EXTENSION_CORRELATION),
        .hops = weir_event_extension(fields, WEIR_EXTENSION_HOPS),
    };
}

bool weir_file_chain_is_empty(const struct weir_file_chain *chain) {
    return chain->causation.size == 0 && chain->correlation.size == 0 && chain->hops.size == 0;
}

static bool is_hops(struct weir_str text) {
    if (text.size > WEIR_FILE_CHAIN_HOPS_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return true;
}

// Appends a text, if it is one that can be read back and leaves `reserved` bytes.
static void put(char buffer[static WEIR_FILE_CHAIN_BYTES_MAX], size_t *size, size_t reserved,
                struct weir_str text) {
    if (text.size > 0 && text.size <= WEIR_FILE_CHAIN_BYTES_MAX - reserved - *size &&
        !memchr(text.data, '\0', text.size)) {
        memcpy(buffer + *size, text.data, text.size);
        *size += text.size;
    }
}

size_t weir_file_chain_encode(const struct weir_file_chain_record *record,
                              char buffer[static WEIR_FILE_CHAIN_BYTES_MAX]) {
    const struct weir_file_chain *chain = &record->chain;
    snprintf(buffer, WEIR_FILE_CHAIN_BYTES_MAX, "1 %016" PRIx64 " %016" PRIx64 " ", record->hash,
             (uint64_t)record->mtime_ns);
    size_t size = HOPS_AT;
    if (is_hops(chain->hops)) {
        put(buffer, &size, 2, chain->hops);
    }
    buffer[size++] = '\0';
    put(buffer, &size, 1, chain->causation);
    buffer[size++] = '\0';
    put(buffer, &size, 0, chain->correlation);
    return size;
}

// Reads 16 lower-case hex digits and what stands behind them.
static bool take_hex(const char *digits, char end, uint64_t *ret_value) {
    uint64_t value = 0;
    for (int i = 0; i < HEX_DIGITS; i++) {
        char digit = digits[i];
        bool is_letter = digit >= 'a' && digit <= 'f';
        if (!is_letter && (digit < '0' || digit > '9')) {
            return false;
        }
        value = value << 4 | (uint64_t)(is_letter ? digit - 'a' + 10 : digit - '0');
    }
    *ret_value = value;
    return digits[HEX_DIGITS] == end;
}

// Takes what stands before the next NUL byte. False: there is none.
static bool take_text(struct weir_str *rest, struct weir_str *ret_text) {
    const char *end = rest->size > 0 ? memchr(rest->data, '\0', rest->size) : NULL;
    if (!end) {
        return false;
    }
    *ret_text = (struct weir_str){.data = rest->data, .size = (size_t)(end - rest->data)};
    *rest = (struct weir_str){.data = end + 1, .size = rest->size - ret_text->size - 1};
    return true;
}

bool weir_file_chain_decode(struct weir_str bytes, struct weir_file_chain_record *ret_record) {
    uint64_t mtime;
    if (bytes.size < HOPS_AT || memcmp(bytes.data, "1 ", HASH_AT) != 0 ||
        !take_hex(bytes.data + HASH_AT, ' ', &ret_record->hash) ||
        !take_hex(bytes.data + MTIME_AT, ' ', &mtime) || !weir_utf8_valid(bytes)) {
        return false;
    }
    struct weir_file_chain *chain = &ret_record->chain;
    struct weir_str rest = {.data = bytes.data + HOPS_AT, .size = bytes.size - HOPS_AT};
    if (!take_text(&rest, &chain->hops) || !is_hops(chain->hops) ||
        !take_text(&rest, &chain->causation) ||
        (rest.size > 0 && memchr(rest.data, '\0', rest.size))) {
        return false;
    }
    chain->correlation = rest;
    ret_record->mtime_ns = (int64_t)mtime;
    return true;
}

int weir_file_chain_write(int fd, const struct weir_file_chain_record *record) {
    char buffer[WEIR_FILE_CHAIN_BYTES_MAX];
    size_t size = weir_file_chain_encode(record, buffer);
    if (fsetxattr(fd, WEIR_FILE_CHAIN_NAME, buffer, size, 0) == 0) {
        return 0;
    }
    if (errno != ENOSPC && errno != E2BIG && errno != ERANGE) {
        return errno;
    }
    // ext4 has as much room for attributes as a block, others less. What cuts a chain is the hops.
    struct weir_file_chain_record least = *record;
    least.chain = (struct weir_file_chain){.hops = record->chain.hops};
    size = weir_file_chain_encode(&least, buffer);
    return fsetxattr(fd, WEIR_FILE_CHAIN_NAME, buffer, size, 0) == 0 ? 0 : errno;
}

bool weir_file_chain_read(int fd, char buffer[static WEIR_FILE_CHAIN_BYTES_MAX],
                          struct weir_file_chain_record *ret_record) {
    ssize_t size = fgetxattr(fd, WEIR_FILE_CHAIN_NAME, buffer, WEIR_FILE_CHAIN_BYTES_MAX);
    return size > 0 && weir_file_chain_decode((struct weir_str){buffer, (size_t)size}, ret_record);
}
