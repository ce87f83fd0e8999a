// SPDX-License-Identifier: Apache-2.0
//
// See login.h.
#include "provider/nats/login.h"

#include "config/secret.h"
#include "provider/nats/nkey.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what it says ----

static void copy_text(const json_t *object, const char *name, char *ret_text, size_t size) {
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(ret_text, size, "%s", text ? text : "");
}

weir_status weir_nats_info_read(struct weir_str text, struct weir_nats_info *ret_info,
                                char *ret_nonce, struct weir_error *err) {
    json_t *object = json_loadb(text.data, text.size, 0, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return weir_fail(err, WEIR_INVALID, "what answers is no NATS server: its INFO is no JSON");
    }
    json_int_t payload = json_integer_value(json_object_get(object, "max_payload"));
    *ret_info = (struct weir_nats_info){
        .payload_bytes_max = payload > 0 ? (uint64_t)payload : 0,
        .has_headers = json_is_true(json_object_get(object, "headers")),
        .has_jetstream = json_is_true(json_object_get(object, "jetstream")),
        .wants_tls = json_is_true(json_object_get(object, "tls_required")),
    };
    copy_text(object, "version", ret_info->version, sizeof ret_info->version);
    copy_text(object, "server_name", ret_info->name, sizeof ret_info->name);
    if (ret_nonce) {
        copy_text(object, "nonce", ret_nonce, WEIR_NATS_NONCE_BYTES);
    }
    json_decref(object);
    return WEIR_OK;
}

// ---- what it is answered ----

static bool set(json_t *object, const char *name, const char *text) {
    return json_object_set_new(object, name, json_string(text)) == 0;
}

static weir_status set_secret(json_t *object, const char *name, const char *place,
                              struct weir_error *err) {
    struct weir_secret secret;
    weir_status status = weir_secret_read(place, &secret, err);
    if (status == WEIR_OK && !set(object, name, secret.text)) {
        status = weir_fail(err, WEIR_INVALID, "the secret in %s is not UTF-8", place);
    }
    weir_secret_forget(&secret);
    return status;
}

static weir_status set_proof(json_t *object, struct weir_str seed, const char *nonce, bool has_jwt,
                             struct weir_error *err) {
    struct weir_nats_proof proof;
    if (!nonce[0]) {
        return weir_fail(err, WEIR_DENIED,
                         "the server asks nobody to sign, so it knows no nkeys or credentials");
    }
    weir_status status = weir_nats_sign(seed, weir_str_of(nonce), &proof, err);
    if (status == WEIR_OK &&
        (!set(object, "sig", proof.signature) || (!has_jwt && !set(object, "nkey", proof.key)))) {
        status = weir_fail_no_memory(err, "the signature of a server's nonce");
    }
    return status;
}

static weir_status set_nkey(json_t *object, const struct weir_nats_options *options,
                            const char *nonce, struct weir_error *err) {
    struct weir_secret seed;
    weir_status status = weir_secret_read(options->nkey, &seed, err);
    if (status == WEIR_OK) {
        status = set_proof(object, (struct weir_str){seed.text, seed.size}, nonce, false, err);
        weir_error_prefix(status == WEIR_OK ? NULL : err, status, "nkey %s", options->nkey);
    }
    weir_secret_forget(&seed);
    return status;
}

static weir_status set_credentials(json_t *object, const struct weir_nats_options *options,
                                   const char *nonce, struct weir_error *err) {
    char place[4096 + sizeof "file:"], jwt_text[WEIR_SECRET_BYTES_MAX + 1];
    struct weir_secret file;
    struct weir_str jwt, seed;
    int size = snprintf(place, sizeof place, "file:%s", options->credentials);
    if ((size_t)size >= sizeof place) {
        return weir_fail(err, WEIR_INVALID, "the path of credentials is too long");
    }
    weir_status status = weir_secret_read(place, &file, err);
    if (status == WEIR_OK) {
        status = weir_nats_credentials((struct weir_str){file.text, file.size}, &jwt, &seed, err);
    }
    if (status == WEIR_OK) {
        snprintf(jwt_text, sizeof jwt_text, "%.*s", WEIR_STR_ARG(jwt));
        status = set(object, "jwt", jwt_text)
                     ? set_proof(object, seed, nonce, true, err)
                     : weir_fail(err, WEIR_INVALID, "its JWT is not UTF-8");
        explicit_bzero(jwt_text, sizeof jwt_text);
    }
    weir_secret_forget(&file);
    return status == WEIR_OK
               ? WEIR_OK
               : weir_error_prefix(err, status, "credentials %s", options->credentials);
}

static weir_status set_who(json_t *object, const struct weir_nats_options *options,
                           const char *nonce, struct weir_error *err) {
    if (options->token) {
        return set_secret(object, "auth_token", options->token, err);
    }
    if (options->nkey) {
        return set_nkey(object, options, nonce, err);
    }
    if (options->credentials) {
        return set_credentials(object, options, nonce, err);
    }
    if (options->user) {
        return set(object, "user", options->user)
                   ? set_secret(object, "pass", options->password, err)
                   : weir_fail(err, WEIR_INVALID, "user is not UTF-8");
    }
    return WEIR_OK;
}

weir_status weir_nats_login_put(struct weir_nats_buffer *buffer,
                                const struct weir_nats_options *options, const char *name,
                                const char *nonce, struct weir_error *err) {
    json_t *object =
        json_pack("{s:b, s:b, s:b, s:s, s:s, s:s, s:i, s:b, s:b, s:b}", "verbose", 0, "pedantic", 0,
                  "tls_required", options->tls, "name", name, "lang", "C", "version", WEIR_VERSION,
                  "protocol", 1, "headers", 1, "no_responders", 1, "echo", 1);
    weir_status status =
        object ? set_who(object, options, nonce, err) : weir_fail_no_memory(err, "a connection");
    char *text = status == WEIR_OK ? json_dumps(object, JSON_COMPACT) : NULL;
    if (status == WEIR_OK && text) {
        // Longer than other lines: there may be a JWT in it.
        bool is_put = weir_nats_buffer_put(buffer, WEIR_STR("CONNECT ")) &&
                      weir_nats_buffer_put(buffer, weir_str_of(text)) &&
                      weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
        status = is_put ? WEIR_OK : weir_fail_no_memory(err, "a connection");
    } else if (status == WEIR_OK) {
        status = weir_fail_no_memory(err, "a connection");
    }
    if (text) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
    json_decref(object);
    return status;
}
