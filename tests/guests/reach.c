// SPDX-License-Identifier: Apache-2.0
//
// A handler that does what its event says: each line of the body is a command of words with single
// spaces between them, and what came of it is a line of the event that it returns. Values are
// written in hex ("-" is the empty one), so that each byte can be asked for. Commands:
//
//   get|exists|delete|list BUCKET [KEY]
//   set BUCKET KEY HEX
//   increment BUCKET KEY NUMBER
//   many BUCKET KEY HEX KEY HEX ...    sets, gets and deletes them by the interface `batch`
//   swap BUCKET KEY HEX
//   stale BUCKET KEY HEX HEX           a swap, and the second value is set before it
//   hold BUCKET KEY NUMBER             so many handles of `cas` at a time, 512 at most
//   send RESOURCE TOPIC HEX [NAME VALUE]...
//   http METHOD URL HEX|none [timeout=MS] [NAME VALUE]...
//   query|execute DATABASE HEX PARAMETER...     the statement in hex; a parameter is null, true,
//                                      false, iNUMBER, rNUMBER, dDIGITS, or tHEX, bHEX, jHEX; and
//                                      nulls=NUMBER are so many
//   config NAME, configs, env NAME, log LEVEL TEXT
//
// Proves: what weir gives to guests, in both lanes.
#include "reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 64,
    ANSWER_BYTES = 256 * 1024,
    HELD_MAX = 512,
    PARAMETERS_MAX = 4096,
    VALUES_SAID_MAX = 64,
};

static char answer[ANSWER_BYTES];
static size_t answered;

#define SAY(...) \
    (answered += (size_t)snprintf(answer + answered, sizeof answer - answered, __VA_ARGS__))

struct words {
    char *items[WORDS_MAX];
    size_t count;
};

static reach_string_t text(const char *word) {
    return (reach_string_t){.ptr = (uint8_t *)(uintptr_t)word, .len = strlen(word)};
}

static reach_list_u8_t bytes_of(const char *hex) {
    reach_list_u8_t bytes = {.ptr = malloc(strlen(hex) / 2 + 1), .len = 0};
    for (; hex[0] && hex[0] != '-'; hex += 2) {
        unsigned byte;
        sscanf(hex, "%2x", &byte);
        bytes.ptr[bytes.len++] = (uint8_t)byte;
    }
    return bytes;
}

static void say_bytes(const reach_list_u8_t *bytes) {
    for (size_t i = 0; i < bytes->len; i++) {
        SAY("%02x", bytes->ptr[i]);
    }
    SAY("%s", bytes->len ? "" : "-");
}

static void say_text(const reach_string_t *said) {
    SAY("%.*s", (int)said->len, (const char *)said->ptr);
}

static void say_error(const wasi_keyvalue_store_error_t *error) {
    static const char *const kinds[] = {"no-such-store", "access-denied", "other: "};
    SAY("error %s", kinds[error->tag]);
    if (error->tag == WASI_KEYVALUE_STORE_ERROR_OTHER) {
        say_text(&error->val.other);
    }
}

static void say_optional(const reach_option_list_u8_t *value) {
    if (value->is_some) {
        say_bytes(&value->val);
    } else {
        SAY("none");
    }
}

// ---- wasi:keyvalue

static void list(wasi_keyvalue_store_borrow_bucket_t bucket) {
    wasi_keyvalue_store_error_t error;
    wasi_keyvalue_store_key_response_t page = {.cursor = {.is_some = false}};
    size_t pages = 0, keys = 0;
    reach_string_t cursor, *next = NULL;
    do {
        if (!wasi_keyvalue_store_method_bucket_list_keys(bucket, next, &page, &error)) {
            say_error(&error);
            return;
        }
        for (size_t i = 0; i < page.keys.len; i++) {
            if (keys++ < 32) {
                say_text(&page.keys.ptr[i]);
                SAY(" ");
            }
        }
        pages++;
        cursor = page.cursor.val;
        next = &cursor;
    } while (page.cursor.is_some);
    SAY("(%zu in %zu)", keys, pages);
}

static void many(wasi_keyvalue_store_borrow_bucket_t bucket, const struct words *words) {
    wasi_keyvalue_store_error_t error;
    reach_tuple2_string_list_u8_t pairs[WORDS_MAX];
    reach_string_t names[WORDS_MAX];
    size_t count = (words->count - 2) / 2;
    for (size_t i = 0; i < count; i++) {
        names[i] = text(words->items[2 + 2 * i]);
        pairs[i] = (reach_tuple2_string_list_u8_t){.f0 = names[i],
                                                   .f1 = bytes_of(words->items[3 + 2 * i])};
    }
    reach_list_tuple2_string_list_u8_t all = {.ptr = pairs, .len = count};
    reach_list_string_t keys = {.ptr = names, .len = count};
    reach_list_option_tuple2_string_list_u8_t got;
    for (int turn = 0; turn < 2; turn++) {
        if (turn == 0 ? !wasi_keyvalue_batch_set_many(bucket, &all, &error)
                      : !wasi_keyvalue_batch_delete_many(bucket, &keys, &error)) {
            say_error(&error);
            return;
        }
        if (!wasi_keyvalue_batch_get_many(bucket, &keys, &got, &error)) {
            say_error(&error);
            return;
        }
        for (size_t i = 0; i < got.len; i++) {
            if (got.ptr[i].is_some) {
                say_text(&got.ptr[i].val.f0);
                SAY("=");
                say_bytes(&got.ptr[i].val.f1);
                SAY(" ");
            } else {
                SAY("none ");
            }
        }
    }
}

static void swap(wasi_keyvalue_store_borrow_bucket_t bucket, const struct words *words) {
    wasi_keyvalue_store_error_t error;
    wasi_keyvalue_atomics_own_cas_t cas;
    wasi_keyvalue_atomics_cas_error_t failure;
    reach_option_list_u8_t current;
    reach_string_t key = text(words->items[2]);
    reach_list_u8_t value = bytes_of(words->items[3]);
    if (!wasi_keyvalue_atomics_static_cas_new(bucket, &key, &cas, &error) ||
        !wasi_keyvalue_atomics_method_cas_current(wasi_keyvalue_atomics_borrow_cas(cas), &current,
                                                  &error)) {
        say_error(&error);
        return;
    }
    say_optional(&current);
    if (words->count > 4) {
        reach_list_u8_t other = bytes_of(words->items[4]);
        wasi_keyvalue_store_method_bucket_set(bucket, &key, &other, &error);
    }
    while (!wasi_keyvalue_atomics_swap(cas, &value, &failure)) {
        if (failure.tag == WASI_KEYVALUE_ATOMICS_CAS_ERROR_STORE_ERROR) {
            SAY(" ");
            say_error(&failure.val.store_error);
            return;
        }
        cas = failure.val.cas_failed;
        wasi_keyvalue_atomics_method_cas_current(wasi_keyvalue_atomics_borrow_cas(cas), &current,
                                                 &error);
        SAY(" failed, now ");
        say_optional(&current);
    }
    SAY(" swapped");
}

static void hold(wasi_keyvalue_store_borrow_bucket_t bucket, const struct words *words) {
    wasi_keyvalue_store_error_t error;
    wasi_keyvalue_atomics_own_cas_t cas[HELD_MAX];
    reach_string_t key = text(words->items[2]);
    long count = 0;
    while (count < atol(words->items[3]) &&
           wasi_keyvalue_atomics_static_cas_new(bucket, &key, &cas[count], &error)) {
        count++;
    }
    SAY("%ld ", count);
    if (count < atol(words->items[3])) {
        say_error(&error);
    }
    while (count > 0) {
        wasi_keyvalue_atomics_cas_drop_own(cas[--count]);
    }
}

static void store(const struct words *words) {
    const char *command = words->items[0];
    wasi_keyvalue_store_error_t error;
    wasi_keyvalue_store_own_bucket_t own;
    reach_string_t name = text(words->items[1]), key = text(words->items[2] ? words->items[2] : "");
    reach_option_list_u8_t value;
    reach_list_u8_t bytes;
    bool is_there = true;
    int64_t number;
    if (!wasi_keyvalue_store_open(&name, &own, &error)) {
        say_error(&error);
        return;
    }
    wasi_keyvalue_store_borrow_bucket_t bucket = wasi_keyvalue_store_borrow_bucket(own);
    if (strcmp(command, "list") == 0) {
        list(bucket);
    } else if (strcmp(command, "many") == 0) {
        many(bucket, words);
    } else if (strcmp(command, "swap") == 0 || strcmp(command, "stale") == 0) {
        swap(bucket, words);
    } else if (strcmp(command, "hold") == 0) {
        hold(bucket, words);
    } else if (strcmp(command, "get") == 0) {
        if (wasi_keyvalue_store_method_bucket_get(bucket, &key, &value, &error)) {
            say_optional(&value);
        } else {
            say_error(&error);
        }
    } else if (strcmp(command, "exists") == 0) {
        if (wasi_keyvalue_store_method_bucket_exists(bucket, &key, &is_there, &error)) {
            SAY("%s", is_there ? "yes" : "no");
        } else {
            say_error(&error);
        }
    } else if (strcmp(command, "increment") == 0) {
        if (wasi_keyvalue_atomics_increment(bucket, &key, atoll(words->items[3]), &number,
                                            &error)) {
            SAY("%lld", (long long)number);
        } else {
            say_error(&error);
        }
    } else {
        bool is_set = strcmp(command, "set") == 0;
        bytes = bytes_of(is_set ? words->items[3] : "-");
        if (is_set ? wasi_keyvalue_store_method_bucket_set(bucket, &key, &bytes, &error)
                   : wasi_keyvalue_store_method_bucket_delete(bucket, &key, &error)) {
            SAY("ok");
        } else {
            say_error(&error);
        }
    }
    wasi_keyvalue_store_bucket_drop_own(own);
}

// ---- wasi:messaging

static void say_messaging_error(const wasi_messaging_types_error_t *error) {
    static const char *const kinds[] = {"timeout",
                                        "connection: ", "permission-denied: ", "other: "};
    SAY("error %s", kinds[error->tag]);
    if (error->tag != WASI_MESSAGING_TYPES_ERROR_TIMEOUT) {
        say_text(&error->val.other); // every case holds its text in the same place
    }
}

static void send(const struct words *words) {
    wasi_messaging_types_error_t error;
    wasi_messaging_types_own_client_t client;
    reach_string_t name = text(words->items[1]), topic = text(words->items[2]);
    reach_list_u8_t data = bytes_of(words->items[3]), back;
    if (!wasi_messaging_types_static_client_connect(&name, &client, &error)) {
        say_messaging_error(&error);
        return;
    }
    wasi_messaging_types_own_message_t message = wasi_messaging_types_constructor_message(&data);
    wasi_messaging_types_borrow_message_t borrowed = wasi_messaging_types_borrow_message(message);
    wasi_messaging_types_metadata_t metadata;
    reach_string_t type = text("text/x-test"), read;
    SAY("%s", wasi_messaging_types_method_message_metadata(borrowed, &metadata) ? "some " : "");
    for (size_t i = 4; i + 1 < words->count; i += 2) {
        reach_string_t key = text(words->items[i]), value = text(words->items[i + 1]);
        wasi_messaging_types_method_message_add_metadata(borrowed, &key, &value);
    }
    wasi_messaging_types_method_message_set_content_type(borrowed, &type);
    wasi_messaging_types_method_message_data(borrowed, &back);
    say_bytes(&back);
    if (wasi_messaging_types_method_message_content_type(borrowed, &read)) {
        SAY(" ");
        say_text(&read);
    }
    if (wasi_messaging_types_method_message_metadata(borrowed, &metadata)) {
        SAY(" %zu", metadata.len);
    }
    SAY(" ");
    if (wasi_messaging_producer_send(wasi_messaging_types_borrow_client(client), &topic, message,
                                     &error)) {
        SAY("sent");
    } else {
        say_messaging_error(&error);
    }
    wasi_messaging_types_method_client_disconnect(wasi_messaging_types_borrow_client(client),
                                                  &error);
    wasi_messaging_types_client_drop_own(client);
}

// ---- weir:http

static void say_response(const weir_http_client_response_t *response) {
    SAY("%u", response->status);
    for (size_t i = 0; i < response->headers.len; i++) {
        const reach_tuple2_string_string_t *header = &response->headers.ptr[i];
        if (header->f0.len > 2 && memcmp(header->f0.ptr, "x-", 2) == 0) {
            SAY(" ");
            say_text(&header->f0);
            SAY("=");
            say_text(&header->f1);
        }
    }
    bool is_text = response->body.tag == WEIR_HTTP_CLIENT_BODY_TEXT;
    SAY(" %s %zu ", is_text ? "text" : "binary", response->body.val.binary.len);
    if (is_text && response->body.val.text.len < 1024) {
        say_text(&response->body.val.text);
    } else if (response->body.val.binary.len < 1024) {
        say_bytes(&response->body.val.binary);
    }
}

static void http(const struct words *words) {
    static const char *const kinds[] = {"denied",  "invalid", "unavailable",
                                        "timeout", "limit",   "other"};
    reach_tuple2_string_string_t headers[WORDS_MAX];
    weir_http_client_request_t request = {.method = text(words->items[1]),
                                          .url = text(words->items[2]),
                                          .headers = {.ptr = headers, .len = 0}};
    weir_http_client_response_t response;
    weir_http_client_error_t error;
    if (strcmp(words->items[3], "none") != 0) {
        request.body.is_some = true;
        request.body.val.tag = WEIR_HTTP_CLIENT_BODY_BINARY;
        request.body.val.val.binary = bytes_of(words->items[3]);
    }
    size_t next = 4;
    if (next < words->count && strncmp(words->items[next], "timeout=", 8) == 0) {
        request.timeout_ms.is_some = true;
        request.timeout_ms.val = (uint32_t)atol(words->items[next++] + 8);
    }
    for (; next + 1 < words->count; next += 2) {
        headers[request.headers.len].f0 = text(words->items[next]);
        headers[request.headers.len++].f1 = text(words->items[next + 1]);
    }
    if (weir_http_client_send(&request, &response, &error)) {
        say_response(&response);
    } else {
        SAY("error %s: ", kinds[error.tag]);
        say_text(&error.val.other); // every case holds its text in the same place
    }
}

// ---- weir:sql

static reach_string_t text_of_hex(const char *hex) {
    reach_list_u8_t bytes = bytes_of(hex);
    return (reach_string_t){.ptr = bytes.ptr, .len = bytes.len};
}

static weir_sql_sql_value_t value_of(const char *word) {
    weir_sql_sql_value_t value = {.tag = WEIR_SQL_SQL_VALUE_NULL};
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        value.tag = WEIR_SQL_SQL_VALUE_BOOLEAN;
        value.val.boolean = word[0] == 't';
    } else if (word[0] == 'i') {
        value.tag = WEIR_SQL_SQL_VALUE_INTEGER;
        value.val.integer = atoll(word + 1);
    } else if (word[0] == 'r') {
        value.tag = WEIR_SQL_SQL_VALUE_REAL;
        value.val.real = atof(word + 1);
    } else if (word[0] == 't') {
        value.tag = WEIR_SQL_SQL_VALUE_TEXT;
        value.val.text = text_of_hex(word + 1);
    } else if (word[0] == 'b') {
        value.tag = WEIR_SQL_SQL_VALUE_BINARY;
        value.val.binary = bytes_of(word + 1);
    } else if (word[0] == 'd') {
        value.tag = WEIR_SQL_SQL_VALUE_DECIMAL;
        value.val.decimal = text(word + 1);
    } else if (word[0] == 'j') {
        value.tag = WEIR_SQL_SQL_VALUE_JSON;
        value.val.json = text_of_hex(word + 1);
    }
    return value;
}

static void say_value(const weir_sql_sql_value_t *value) {
    static const char kinds[] = "nxirtbdj";
    switch (value->tag) {
    case WEIR_SQL_SQL_VALUE_NULL:
        SAY("null");
        break;
    case WEIR_SQL_SQL_VALUE_BOOLEAN:
        SAY("%s", value->val.boolean ? "true" : "false");
        break;
    case WEIR_SQL_SQL_VALUE_INTEGER:
        SAY("i%lld", (long long)value->val.integer);
        break;
    case WEIR_SQL_SQL_VALUE_REAL:
        SAY("r%g", value->val.real);
        break;
    default: // every case that is left holds its bytes in the same place
        SAY("%c", kinds[value->tag]);
        if (value->tag == WEIR_SQL_SQL_VALUE_BINARY && value->val.binary.len < 1024) {
            say_bytes(&value->val.binary);
        } else if (value->val.text.len < 1024) {
            say_text(&value->val.text);
        } else {
            SAY("(%zu bytes)", value->val.text.len);
        }
    }
}

static void say_rows(const weir_sql_sql_row_set_t *rows) {
    size_t columns = rows->columns.len;
    for (size_t i = 0; i < columns && i < VALUES_SAID_MAX; i++) {
        SAY("%s", i > 0 ? "," : "");
        say_text(&rows->columns.ptr[i]);
    }
    for (size_t i = 0; i < rows->values.len && i < VALUES_SAID_MAX; i++) {
        SAY("%s", i % columns == 0 ? " | " : " ");
        say_value(&rows->values.ptr[i]);
    }
    SAY(" (%zu of %zu)", rows->values.len, columns);
}

static void sql(const struct words *words) {
    static const char *const kinds[] = {"not-found",   "denied", "invalid", "unsupported",
                                        "unavailable", "limit",  "other"};
    static weir_sql_sql_value_t values[PARAMETERS_MAX];
    reach_string_t database = text(words->items[1]), statement = text_of_hex(words->items[2]);
    weir_sql_sql_list_value_t params = {.ptr = values, .len = 0};
    weir_sql_sql_row_set_t rows;
    weir_sql_sql_error_t error;
    uint64_t changed;
    for (size_t i = 3; i < words->count; i++) {
        bool are_many = strncmp(words->items[i], "nulls=", 6) == 0;
        for (long left = are_many ? atol(words->items[i] + 6) : 1; left > 0; left--) {
            values[params.len++] = value_of(are_many ? "null" : words->items[i]);
        }
    }
    bool is_query = words->items[0][0] == 'q';
    if (is_query ? !weir_sql_sql_query(&database, &statement, &params, &rows, &error)
                 : !weir_sql_sql_execute(&database, &statement, &params, &changed, &error)) {
        SAY("error %s: ", kinds[error.tag]);
        say_text(&error.val.other); // every case holds its text in the same place
    } else if (is_query) {
        say_rows(&rows);
        weir_sql_sql_row_set_free(&rows);
    } else {
        SAY("%llu changed", (unsigned long long)changed);
    }
}

// ---- the rest

static void config(const struct words *words) {
    wasi_config_store_error_t error;
    reach_option_string_t value;
    reach_list_tuple2_string_string_t all;
    if (words->count > 1) {
        reach_string_t name = text(words->items[1]);
        if (wasi_config_store_get(&name, &value, &error) && value.is_some) {
            say_text(&value.val);
        } else {
            SAY("none");
        }
    } else if (wasi_config_store_get_all(&all, &error)) {
        for (size_t i = 0; i < all.len; i++) {
            say_text(&all.ptr[i].f0);
            SAY("=");
            say_text(&all.ptr[i].f1);
            SAY(" ");
        }
    }
}

static void obey(const struct words *words) {
    const char *command = words->items[0];
    if (strcmp(command, "send") == 0) {
        send(words);
    } else if (strcmp(command, "http") == 0) {
        http(words);
    } else if (strcmp(command, "query") == 0 || strcmp(command, "execute") == 0) {
        sql(words);
    } else if (strncmp(command, "config", 6) == 0) {
        config(words);
    } else if (strcmp(command, "env") == 0) {
        const char *value = getenv(words->items[1]);
        SAY("%s", value ? value : "none");
    } else if (strcmp(command, "log") == 0) {
        reach_string_t context = text("reach"), message = text(words->items[2]);
        wasi_logging_logging_log((uint8_t)atoi(words->items[1]), &context, &message);
        SAY("logged");
    } else {
        store(words);
    }
    SAY("\n");
}

static void obey_line(char *line) {
    struct words words = {.count = 0};
    for (char *word = strtok(line, " "); word && words.count < WORDS_MAX - 1;
         word = strtok(NULL, " ")) {
        words.items[words.count++] = word;
    }
    words.items[words.count] = NULL;
    if (words.count > 0) {
        obey(&words);
    }
}

bool exports_weir_reactive_event_handler_handle_event(
    exports_weir_reactive_event_handler_event_t *event,
    exports_weir_reactive_event_handler_option_event_t *ret, reach_string_t *err) {
    (void)err;
    answered = 0;
    const reach_string_t *body = &event->data.val.val.text;
    char *lines = event->data.is_some ? strndup((const char *)body->ptr, body->len) : strdup("");
    for (char *line = lines, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        end += *end ? (*end = '\0', 1) : 0;
        obey_line(line);
    }
    ret->is_some = true;
    ret->val = *event;
    ret->val.data.is_some = true;
    ret->val.data.val.tag = WEIR_REACTIVE_TYPES_PAYLOAD_TEXT;
    reach_string_dup_n(&ret->val.data.val.val.text, answer, answered);
    return true;
}
