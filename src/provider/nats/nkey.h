// SPDX-License-Identifier: Apache-2.0
//
// NATS' own keys: an Ed25519 key pair, whose seed is written as "SU..." in Base32. A server sends a
// nonce, and whoever has the seed signs it. Pure functions, any thread.
#ifndef WEIR_PROVIDER_NATS_NKEY_H
#define WEIR_PROVIDER_NATS_NKEY_H

#include "base/error.h"
#include "base/str.h"

enum {
    WEIR_NATS_NKEY_BYTES = 64,      // of a public key as text, and its NUL
    WEIR_NATS_SIGNATURE_BYTES = 96, // of a signature as Base64 of URLs, and its NUL
};

struct weir_nats_proof {
    char key[WEIR_NATS_NKEY_BYTES]; // "U..."
    char signature[WEIR_NATS_SIGNATURE_BYTES];
};

// Signs a server's nonce with a user's seed. WEIR_INVALID: that is no such seed; the text does not
// show it.
weir_status weir_nats_sign(struct weir_str seed, struct weir_str nonce,
                           struct weir_nats_proof *ret_proof, struct weir_error *err);

// The two parts of a file of credentials, as views of its text: what stands below
// "BEGIN NATS USER JWT" and "BEGIN USER NKEY SEED". WEIR_INVALID.
weir_status weir_nats_credentials(struct weir_str text, struct weir_str *ret_jwt,
                                  struct weir_str *ret_seed, struct weir_error *err);

#endif
