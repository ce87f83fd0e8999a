// SPDX-License-Identifier: Apache-2.0
//
// Written against the standard interfaces alone, as for any host that has them: what is set in or
// deleted from a bucket that is watched is set in and deleted from the bucket "copy"; keys that
// begin with "bad" trap. A message is sent on to "out" under its own topic; one of the topic "fail"
// is answered with an error.
#include "standard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wasi_keyvalue_store_own_bucket_t open_copy(void) {
    wasi_keyvalue_store_own_bucket_t copy;
    wasi_keyvalue_store_error_t error;
    standard_string_t name;
    standard_string_set(&name, "copy");
    if (!wasi_keyvalue_store_open(&name, &copy, &error)) {
        abort();
    }
    return copy;
}

static bool begins(const standard_string_t *key, const char *prefix) {
    return key->len >= strlen(prefix) && memcmp(key->ptr, prefix, strlen(prefix)) == 0;
}

static void say(const char *what, const standard_string_t *key) {
    standard_string_t context, message;
    char line[256];
    int size = snprintf(line, sizeof line, "%s %.*s", what, (int)key->len, (const char *)key->ptr);
    standard_string_set(&context, "standard");
    message = (standard_string_t){.ptr = (uint8_t *)line, .len = (size_t)size};
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &context, &message);
}

void exports_wasi_keyvalue_watcher_on_set(exports_wasi_keyvalue_watcher_own_bucket_t bucket,
                                          standard_string_t *key, standard_list_u8_t *value) {
    wasi_keyvalue_store_error_t error;
    standard_option_list_u8_t now;
    if (begins(key, "bad")) {
        abort();
    }
    // The bucket that it was given is the one that is watched.
    if (!wasi_keyvalue_store_method_bucket_get(wasi_keyvalue_store_borrow_bucket(bucket), key, &now,
                                               &error) ||
        !wasi_keyvalue_store_method_bucket_set(wasi_keyvalue_store_borrow_bucket(open_copy()), key,
                                               value, &error)) {
        abort();
    }
    say("set", key);
}

void exports_wasi_keyvalue_watcher_on_delete(exports_wasi_keyvalue_watcher_own_bucket_t bucket,
                                             standard_string_t *key) {
    wasi_keyvalue_store_error_t error;
    (void)bucket;
    if (!wasi_keyvalue_store_method_bucket_delete(wasi_keyvalue_store_borrow_bucket(open_copy()),
                                                  key, &error)) {
        abort();
    }
    say("deleted", key);
}

bool exports_wasi_messaging_incoming_handler_handle(
    exports_wasi_messaging_incoming_handler_own_message_t message,
    exports_wasi_messaging_incoming_handler_error_t *err) {
    wasi_messaging_types_own_client_t client;
    standard_string_t name, topic = {.len = 0};
    standard_string_set(&name, "out");
    wasi_messaging_types_method_message_topic(wasi_messaging_types_borrow_message(message), &topic);
    if (begins(&topic, "fail")) {
        err->tag = WASI_MESSAGING_TYPES_ERROR_CONNECTION;
        standard_string_dup(&err->val.connection, "it is called fail");
        return false;
    }
    return wasi_messaging_types_static_client_connect(&name, &client, err) &&
           wasi_messaging_producer_send(wasi_messaging_types_borrow_client(client), &topic, message,
                                        err);
}
