// SPDX-License-Identifier: Apache-2.0
//
// Keys and subjects. A dot in a key is a dot in its subject: it separates tokens, and a prefix that
// ends in one is a filter that the server knows. What may not stand in a subject is coded:
//
// - In a bucket a key may have letters, digits and - / _ = . only. Every other byte is =XX, a token
//   that is empty is =, and a = that could be taken for one of these is =3D. A name in the bucket
//   that no key is coded to is no key of weir's.
// - In a stream, or as a plain subject, blanks, control characters, * and > are %XX, and a token
//   that is empty is %. That is not decoded: subjects are others' names, and mean what they say.
//   What weir publishes there has its key in a header.
//
// Pure functions, any thread.
#ifndef WEIR_PROVIDER_NATS_KEY_H
#define WEIR_PROVIDER_NATS_KEY_H

#include "base/error.h"
#include "base/str.h"
#include "provider/provider.h"

#include <stdbool.h>

enum {
    // A line of the protocol has WEIR_NATS_CONTROL_BYTES_MAX, and an inbox and two numbers in it.
    WEIR_NATS_SUBJECT_BYTES_MAX = 3584,
    WEIR_NATS_PREFIX_BYTES = 320, // and its NUL
};

struct weir_nats_naming {
    bool is_bucket;
    char prefix[WEIR_NATS_PREFIX_BYTES]; // of every subject: "$KV.BUCKET.", "shop." or ""
};

struct weir_nats_subject {
    char text[WEIR_NATS_SUBJECT_BYTES_MAX + 1]; // ends in a NUL
    size_t size;
};

// The subject of a key; an empty key has one too. WEIR_INVALID: it is too long.
weir_status weir_nats_subject_of(const struct weir_nats_naming *naming, struct weir_str key,
                                 struct weir_nats_subject *ret_subject, struct weir_error *err);

// The narrowest filter that finds every key of the pattern; it may find others. WEIR_INVALID.
weir_status weir_nats_filter_of(const struct weir_nats_naming *naming,
                                const struct weir_pattern *pattern,
                                struct weir_nats_subject *ret_filter, struct weir_error *err);

// The key of a subject: a view of it, or of `buffer`. False: there is none.
bool weir_nats_key_of(const struct weir_nats_naming *naming, struct weir_str subject,
                      char buffer[static WEIR_KEY_BYTES_MAX], struct weir_str *ret_key);

#endif
