// SPDX-License-Identifier: Apache-2.0
//
// See value.h. A fingerprint is read by the weir that comes after this one, perhaps a newer one on
// another machine: its first byte is its version, its numbers do not depend on the machine, and one
// that is not understood is no error but an unknown state, so that the key is told once more and
// then known.
//
//   version, size (little-endian), hash (canonical)    (1, 8 and 16 bytes)
#include "provider/redis/value.h"

#include "base/digits.h"

#include <assert.h>
#include <string.h>

#define DELETED "-deleted"

enum { VERSION = 1, SIZE_BYTES = 8, HEX_DIGITS = 32 };

struct weir_str weir_redis_fingerprint_encode(const struct weir_redis_told *told,
                                              char buffer[static WEIR_REDIS_FINGERPRINT_BYTES]) {
    XXH128_canonical_t canonical;
    buffer[0] = VERSION;
    for (int i = 0; i < SIZE_BYTES; i++) {
        buffer[1 + i] = (char)(unsigned char)(told->size >> 8 * i);
    }
    XXH128_canonicalFromHash(&canonical, told->hash);
    memcpy(buffer + 1 + SIZE_BYTES, canonical.digest, sizeof canonical.digest);
    return (struct weir_str){buffer, WEIR_REDIS_FINGERPRINT_BYTES};
}

bool weir_redis_fingerprint_decode(struct weir_str fingerprint, struct weir_redis_told *ret_told) {
    XXH128_canonical_t canonical;
    *ret_told = (struct weir_redis_told){.size = UINT64_MAX};
    if (fingerprint.size != WEIR_REDIS_FINGERPRINT_BYTES || fingerprint.data[0] != VERSION) {
        return false;
    }
    ret_told->size = 0;
    for (int i = 0; i < SIZE_BYTES; i++) {
        ret_told->size |= (uint64_t)(unsigned char)fingerprint.data[1 + i] << 8 * i;
    }
    memcpy(canonical.digest, fingerprint.data + 1 + SIZE_BYTES, sizeof canonical.digest);
    ret_told->hash = XXH128_hashFromCanonical(&canonical);
    return true;
}

struct weir_str weir_redis_revision(const struct weir_redis_told *told, bool is_deleted,
                                    char buffer[static WEIR_REDIS_REVISION_BYTES]) {
    static_assert(WEIR_REDIS_REVISION_BYTES >= HEX_DIGITS + sizeof DELETED, "a revision fits");
    weir_hex(told->hash.high64, WEIR_HEX_LOWER, buffer);
    weir_hex(told->hash.low64, WEIR_HEX_LOWER, buffer + WEIR_HEX_BYTES);
    struct weir_str rest = is_deleted ? WEIR_STR(DELETED) : WEIR_STR("");
    memcpy(buffer + HEX_DIGITS, rest.data, rest.size + 1); // with its NUL
    return (struct weir_str){buffer, HEX_DIGITS + rest.size};
}

// ---- chains ----

const char *const weir_redis_chain_names[WEIR_REDIS_CHAIN_FIELDS] = {
    WEIR_EXTENSION_CAUSATION, WEIR_EXTENSION_CORRELATION, WEIR_EXTENSION_HOPS};

enum { HOPS = 2 }; // its place among them

static bool is_number(struct weir_str text) {
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.size <= WEIR_REDIS_CHAIN_HOPS_BYTES_MAX;
}

static bool has(const struct weir_redis_chain *chain, const char *name) {
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->extensions[i].name.data == name) {
            return true;
        }
    }
    return false;
}

static void add(struct weir_redis_chain *chain, size_t index, struct weir_str text) {
    bool is_fit = index == HOPS ? is_number(text)
                                : text.size <= WEIR_REDIS_CHAIN_TEXT_BYTES_MAX &&
                                      weir_utf8_valid(text) && !memchr(text.data, '\0', text.size);
    if (is_fit && !has(chain, weir_redis_chain_names[index])) {
        chain->extensions[chain->count++] =
            (struct weir_attribute){weir_str_of(weir_redis_chain_names[index]), text};
    }
}

struct weir_redis_chain weir_redis_chain_of(const struct weir_event_fields *fields) {
    struct weir_redis_chain chain = {.count = 0};
    for (size_t i = 0; i < WEIR_REDIS_CHAIN_FIELDS; i++) {
        struct weir_str text = weir_event_extension(fields, weir_redis_chain_names[i]);
        if (text.size > 0) {
            add(&chain, i, text);
        }
    }
    return chain;
}

void weir_redis_chain_add(struct weir_redis_chain *chain, size_t index,
                          const struct weir_redis_reply *kept) {
    if (weir_redis_reply_is(kept, WEIR_REDIS_BULK) && kept->bytes.size > 0) {
        add(chain, index, kept->bytes);
    }
}
