// SPDX-License-Identifier: Apache-2.0
//
// What a server says first, and what it is answered. Pure functions but for reading secrets.
#ifndef WEIR_PROVIDER_NATS_LOGIN_H
#define WEIR_PROVIDER_NATS_LOGIN_H

#include "provider/nats/client.h"

enum { WEIR_NATS_NONCE_BYTES = 128 };

// Reads an INFO. `ret_nonce` may be NULL; it is empty where the server wants no signature.
// WEIR_INVALID.
weir_status weir_nats_info_read(struct weir_str text, struct weir_nats_info *ret_info,
                                char *ret_nonce, struct weir_error *err);

// Puts a CONNECT. Secrets are read, and forgotten again but for the buffer. WEIR_INVALID and what
// weir_secret_read answers.
weir_status weir_nats_login_put(struct weir_nats_buffer *buffer,
                                const struct weir_nats_options *options, const char *name,
                                const char *nonce, struct weir_error *err);

#endif
