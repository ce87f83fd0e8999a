// SPDX-License-Identifier: Apache-2.0
//
// wasi:keyvalue: resources of the configuration as buckets. What a guest may do with which key is
// decided behind struct weir_guest_access; what a key is, by the provider.
//
// A refusal for one key is `other` with its text, because that is where the interface has a place
// for the name of the missing grant; `access-denied`, which has none, is for a bucket as a whole.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STORE   "wasi:keyvalue/store@0.2.0-draft2"
#define ATOMICS "wasi:keyvalue/atomics@0.2.0-draft2"
#define BATCH   "wasi:keyvalue/batch@0.2.0-draft2"

enum {
    PAGE_KEYS_MAX = 1024,        // of list-keys
    PAGE_BYTES_MAX = 256 * 1024, // likewise
    BATCH_ITEMS_MAX = 4096,      // keys of one call of `batch`
    NUMBER_BYTES_MAX = 20,       // "-9223372036854775808"
    HELD_OVERHEAD_BYTES = 128,   // what a handle costs beside the bytes that it holds
};

// ---- the WIT

enum { ERROR_NO_SUCH_STORE, ERROR_ACCESS_DENIED, ERROR_OTHER };
struct store_error {
    uint8_t kind;
    struct weir_str text; // of ERROR_OTHER
};
static const struct weir_wit_field error_cases[] = {
    [ERROR_NO_SUCH_STORE] = {"no-such-store", NULL, 4, 0},
    [ERROR_ACCESS_DENIED] = {"access-denied", NULL, 4, 0},
    [ERROR_OTHER] = {"other", &weir_wit_string, 4, offsetof(struct store_error, text)},
};
static const struct weir_wit_type error_type = {.kind = WEIR_WIT_VARIANT,
                                                .guest_size = 12,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct store_error),
                                                WEIR_WIT_FIELDS(error_cases)};

const struct weir_wit_type weir_keyvalue_own_bucket =
    WEIR_WIT_HANDLE(WEIR_WIT_OWN, WEIR_RESOURCE_BUCKET);
static const struct weir_wit_type bucket = WEIR_WIT_HANDLE(WEIR_WIT_BORROW, WEIR_RESOURCE_BUCKET);
static const struct weir_wit_type own_cas = WEIR_WIT_HANDLE(WEIR_WIT_OWN, WEIR_RESOURCE_CAS);
static const struct weir_wit_type cas = WEIR_WIT_HANDLE(WEIR_WIT_BORROW, WEIR_RESOURCE_CAS);

// What every result begins with, so that a failure is written in one place.
struct failed {
    uint8_t is_err;
    struct store_error err;
};

// result<_, error>
static const struct weir_wit_field done_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type done_type = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 16,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct failed),
                                               WEIR_WIT_FIELDS(done_cases)};

// result<bucket, error> and result<cas, error>
struct given_handle {
    struct failed failed;
    uint32_t handle;
};
static const struct weir_wit_field opened_cases[] = {
    {"ok", &weir_keyvalue_own_bucket, 4, offsetof(struct given_handle, handle)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type opened_type = {.kind = WEIR_WIT_RESULT,
                                                 .guest_size = 16,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct given_handle),
                                                 WEIR_WIT_FIELDS(opened_cases)};
static const struct weir_wit_field cas_given_cases[] = {
    {"ok", &own_cas, 4, offsetof(struct given_handle, handle)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type cas_given_type = {.kind = WEIR_WIT_RESULT,
                                                    .guest_size = 16,
                                                    .guest_align = 4,
                                                    .host_size = sizeof(struct given_handle),
                                                    WEIR_WIT_FIELDS(cas_given_cases)};

// result<option<list<u8>>, error>
struct optional_bytes {
    uint8_t is_some;
    struct weir_str bytes;
};
struct got {
    struct failed failed;
    struct optional_bytes value;
};
static const struct weir_wit_field optional_bytes_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &weir_wit_bytes, 4, offsetof(struct optional_bytes, bytes)},
};
static const struct weir_wit_type optional_bytes_type = {.kind = WEIR_WIT_OPTION,
                                                         .guest_size = 12,
                                                         .guest_align = 4,
                                                         .host_size = sizeof(struct optional_bytes),
                                                         WEIR_WIT_FIELDS(optional_bytes_cases)};
static const struct weir_wit_field got_cases[] = {
    {"ok", &optional_bytes_type, 4, offsetof(struct got, value)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type got_type = {.kind = WEIR_WIT_RESULT,
                                              .guest_size = 16,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct got),
                                              WEIR_WIT_FIELDS(got_cases)};

// result<bool, error>
struct existing {
    struct failed failed;
    bool is_there;
};
static const struct weir_wit_field existing_cases[] = {
    {"ok", &weir_wit_bool, 4, offsetof(struct existing, is_there)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type existing_type = {.kind = WEIR_WIT_RESULT,
                                                   .guest_size = 16,
                                                   .guest_align = 4,
                                                   .host_size = sizeof(struct existing),
                                                   WEIR_WIT_FIELDS(existing_cases)};

// result<key-response, error>
struct texts {
    const struct weir_str *items;
    size_t count;
};
struct key_response {
    struct texts keys;
    struct weir_optional_str cursor;
};
struct listed {
    struct failed failed;
    struct key_response page;
};
#define TEXTS(most)                     \
    {.kind = WEIR_WIT_LIST,             \
     .guest_size = 8,                   \
     .guest_align = 4,                  \
     .host_size = sizeof(struct texts), \
     .element = &weir_wit_string,       \
     .items_max = (most)}
static const struct weir_wit_type page_keys_type = TEXTS(PAGE_KEYS_MAX);
static const struct weir_wit_field key_response_fields[] = {
    {"keys", &page_keys_type, 0, offsetof(struct key_response, keys)},
    {"cursor", &weir_wit_optional_string, 8, offsetof(struct key_response, cursor)},
};
static const struct weir_wit_type key_response_type = {.kind = WEIR_WIT_RECORD,
                                                       .guest_size = 20,
                                                       .guest_align = 4,
                                                       .host_size = sizeof(struct key_response),
                                                       WEIR_WIT_FIELDS(key_response_fields)};
static const struct weir_wit_field listed_cases[] = {
    {"ok", &key_response_type, 4, offsetof(struct listed, page)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type listed_type = {.kind = WEIR_WIT_RESULT,
                                                 .guest_size = 24,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct listed),
                                                 WEIR_WIT_FIELDS(listed_cases)};

// result<s64, error>
struct counted {
    struct failed failed;
    int64_t number;
};
static const struct weir_wit_field counted_cases[] = {
    {"ok", &weir_wit_s64, 8, offsetof(struct counted, number)},
    {"err", &error_type, 8, offsetof(struct failed, err)},
};
static const struct weir_wit_type counted_type = {.kind = WEIR_WIT_RESULT,
                                                  .guest_size = 24,
                                                  .guest_align = 8,
                                                  .host_size = sizeof(struct counted),
                                                  WEIR_WIT_FIELDS(counted_cases)};

// result<_, cas-error>
enum { CAS_STORE_ERROR, CAS_FAILED };
struct cas_error {
    uint8_t kind;
    struct store_error store_error;
    uint32_t cas_failed;
};
struct swapped {
    uint8_t is_err;
    struct cas_error err;
};
static const struct weir_wit_field cas_error_cases[] = {
    [CAS_STORE_ERROR] = {"store-error", &error_type, 4, offsetof(struct cas_error, store_error)},
    [CAS_FAILED] = {"cas-failed", &own_cas, 4, offsetof(struct cas_error, cas_failed)},
};
static const struct weir_wit_type cas_error_type = {.kind = WEIR_WIT_VARIANT,
                                                    .guest_size = 16,
                                                    .guest_align = 4,
                                                    .host_size = sizeof(struct cas_error),
                                                    WEIR_WIT_FIELDS(cas_error_cases)};
static const struct weir_wit_field swapped_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &cas_error_type, 4, offsetof(struct swapped, err)},
};
static const struct weir_wit_type swapped_type = {.kind = WEIR_WIT_RESULT,
                                                  .guest_size = 20,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct swapped),
                                                  WEIR_WIT_FIELDS(swapped_cases)};

// list<option<tuple<string, list<u8>>>>, and list<tuple<string, list<u8>>>: attributes whose values
// are any bytes
struct optional_pair {
    uint8_t is_some;
    struct weir_attribute pair;
};
struct pairs_got {
    struct failed failed;
    struct {
        const struct optional_pair *items;
        size_t count;
    } list;
};
static const struct weir_wit_field pair_fields[] = {
    {"key", &weir_wit_string, 0, offsetof(struct weir_attribute, name)},
    {"value", &weir_wit_bytes, 8, offsetof(struct weir_attribute, value)},
};
static const struct weir_wit_type pair_type = {.kind = WEIR_WIT_TUPLE,
                                               .guest_size = 16,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_attribute),
                                               WEIR_WIT_FIELDS(pair_fields)};
static const struct weir_wit_field optional_pair_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &pair_type, 4, offsetof(struct optional_pair, pair)},
};
static const struct weir_wit_type optional_pair_type = {.kind = WEIR_WIT_OPTION,
                                                        .guest_size = 20,
                                                        .guest_align = 4,
                                                        .host_size = sizeof(struct optional_pair),
                                                        WEIR_WIT_FIELDS(optional_pair_cases)};
static const struct weir_wit_type optional_pairs_type = {.kind = WEIR_WIT_LIST,
                                                         .guest_size = 8,
                                                         .guest_align = 4,
                                                         .host_size =
                                                             sizeof(struct weir_attributes),
                                                         .element = &optional_pair_type,
                                                         .items_max = BATCH_ITEMS_MAX};
static const struct weir_wit_type pairs_type = {.kind = WEIR_WIT_LIST,
                                                .guest_size = 8,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct weir_attributes),
                                                .element = &pair_type,
                                                .items_max = BATCH_ITEMS_MAX};
static const struct weir_wit_field pairs_got_cases[] = {
    {"ok", &optional_pairs_type, 4, offsetof(struct pairs_got, list)},
    {"err", &error_type, 4, offsetof(struct failed, err)},
};
static const struct weir_wit_type pairs_got_type = {.kind = WEIR_WIT_RESULT,
                                                    .guest_size = 16,
                                                    .guest_align = 4,
                                                    .host_size = sizeof(struct pairs_got),
                                                    WEIR_WIT_FIELDS(pairs_got_cases)};
static const struct weir_wit_type batch_keys_type = TEXTS(BATCH_ITEMS_MAX);

// Parameters; "self" and "bucket" come first in all of them.
struct open_params {
    struct weir_str identifier;
};
static const struct weir_wit_field open_params[] = {
    {"identifier", &weir_wit_string, 0, offsetof(struct open_params, identifier)},
};
struct key_params {
    uint32_t bucket;
    struct weir_str key;
};
static const struct weir_wit_field key_params[] = {
    {"self", &bucket, 0, offsetof(struct key_params, bucket)},
    {"key", &weir_wit_string, 0, offsetof(struct key_params, key)},
};
static const struct weir_wit_field cas_new_params[] = {
    {"bucket", &bucket, 0, offsetof(struct key_params, bucket)},
    {"key", &weir_wit_string, 0, offsetof(struct key_params, key)},
};
struct set_params {
    uint32_t bucket;
    struct weir_str key, value;
};
static const struct weir_wit_field set_params[] = {
    {"self", &bucket, 0, offsetof(struct set_params, bucket)},
    {"key", &weir_wit_string, 0, offsetof(struct set_params, key)},
    {"value", &weir_wit_bytes, 0, offsetof(struct set_params, value)},
};
struct list_params {
    uint32_t bucket;
    struct weir_optional_str cursor;
};
static const struct weir_wit_field list_params[] = {
    {"self", &bucket, 0, offsetof(struct list_params, bucket)},
    {"cursor", &weir_wit_optional_string, 0, offsetof(struct list_params, cursor)},
};
struct increment_params {
    uint32_t bucket;
    struct weir_str key;
    int64_t delta;
};
static const struct weir_wit_field increment_params[] = {
    {"bucket", &bucket, 0, offsetof(struct increment_params, bucket)},
    {"key", &weir_wit_string, 0, offsetof(struct increment_params, key)},
    {"delta", &weir_wit_s64, 0, offsetof(struct increment_params, delta)},
};
struct current_params {
    uint32_t cas;
};
static const struct weir_wit_field current_params[] = {
    {"self", &cas, 0, offsetof(struct current_params, cas)},
};
struct swap_params {
    uint32_t cas;
    struct weir_str value;
};
static const struct weir_wit_field swap_params[] = {
    {"cas", &own_cas, 0, offsetof(struct swap_params, cas)},
    {"value", &weir_wit_bytes, 0, offsetof(struct swap_params, value)},
};
struct keys_params {
    uint32_t bucket;
    struct texts keys;
};
static const struct weir_wit_field keys_params[] = {
    {"bucket", &bucket, 0, offsetof(struct keys_params, bucket)},
    {"keys", &batch_keys_type, 0, offsetof(struct keys_params, keys)},
};
struct pairs_params {
    uint32_t bucket;
    struct weir_attributes pairs;
};
static const struct weir_wit_field pairs_params[] = {
    {"bucket", &bucket, 0, offsetof(struct pairs_params, bucket)},
    {"key-values", &pairs_type, 0, offsetof(struct pairs_params, pairs)},
};

// ---- what all of them need

// A bucket, and who is asked about it.
struct store {
    const struct weir_guest_access *access;
    void *context;
    uint32_t resource;
    struct weir_limits limits; // of the guest's call
};

static weir_status access_of(struct weir_instance *instance, struct store *ret_store,
                             struct weir_error *err) {
    ret_store->limits = (struct weir_limits){.value_bytes_max = instance->guest->args.event_bytes,
                                             .until_ns = instance->deadline_ns,
                                             .trace = weir_instance_trace(instance)};
    return weir_import_access(instance, &ret_store->access, &ret_store->context, err);
}

static weir_status store_of(struct weir_instance *instance, uint32_t handle,
                            struct store *ret_store, struct weir_error *err) {
    void *thing;
    weir_status status =
        weir_handles_get(&instance->handles, WEIR_RESOURCE_BUCKET, handle, &thing, err);
    ret_store->resource = weir_import_unpack(thing);
    return status == WEIR_OK ? access_of(instance, ret_store, err) : status;
}

// Ends a function: a failure that a guest may be told becomes its result.
static weir_status answer(weir_status status, const struct weir_error *cause,
                          struct failed *ret_failed) {
    if (!weir_import_is_told(status)) {
        return status;
    }
    ret_failed->is_err = 1;
    ret_failed->err =
        (struct store_error){.kind = ERROR_OTHER, .text = weir_str_of(cause->message)};
    return WEIR_OK;
}

// ---- store

static weir_status do_open(struct weir_import_call *call, const void *given, void *result,
                           struct weir_error *err) {
    const struct open_params *params = given;
    struct given_handle *opened = result;
    struct store store;
    weir_status status = access_of(call->instance, &store, err);
    if (status == WEIR_OK) {
        status = store.access->open(store.context, params->identifier, WEIR_GUEST_USE_STORE,
                                    &store.resource, err);
    }
    if (status == WEIR_OK) {
        status = weir_handles_add(&call->instance->handles, WEIR_RESOURCE_BUCKET,
                                  weir_import_pack(store.resource), &opened->handle, err);
    }
    weir_status cause = status;
    status = answer(status, err, &opened->failed);
    if (cause == WEIR_NOT_FOUND || cause == WEIR_DENIED) {
        opened->failed.err.kind =
            cause == WEIR_NOT_FOUND ? ERROR_NO_SUCH_STORE : ERROR_ACCESS_DENIED;
    }
    return status;
}

weir_status weir_keyvalue_receive(struct weir_instance *instance, uint32_t *ret_handle,
                                  struct weir_error *err) {
    const struct weir_cause *cause = instance->call->cause;
    struct store store;
    weir_status status = access_of(instance, &store, err);
    if (status == WEIR_OK) {
        struct weir_str name = weir_str_of(cause ? cause->resource : NULL);
        status = store.access->find(store.context, name, &store.resource, err);
    }
    return status == WEIR_OK ? weir_handles_add(&instance->handles, WEIR_RESOURCE_BUCKET,
                                                weir_import_pack(store.resource), ret_handle, err)
                             : status;
}

// Reads a key; *ret_value is freed with the call. A key that there is not is no failure.
static weir_status read_key(struct weir_import_call *call, const struct store *store,
                            struct weir_str key, struct optional_bytes *ret_value,
                            struct weir_error *err) {
    struct weir_value value;
    weir_status status =
        store->access->get(store->context, store->resource, key, &store->limits, &value, err);
    *ret_value = (struct optional_bytes){.is_some = status == WEIR_OK};
    if (status != WEIR_OK) {
        return status == WEIR_NOT_FOUND ? WEIR_OK : status;
    }
    ret_value->bytes = (struct weir_str){.data = value.data, .size = value.size};
    return weir_import_adopt(call, value.data, err);
}

static weir_status do_get(struct weir_import_call *call, const void *given, void *result,
                          struct weir_error *err) {
    const struct key_params *params = given;
    struct got *got = result;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        status = read_key(call, &store, params->key, &got->value, err);
    }
    return answer(status, err, &got->failed);
}

static weir_status do_set(struct weir_import_call *call, const void *given, void *result,
                          struct weir_error *err) {
    const struct set_params *params = given;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        status = store.access->set(store.context, store.resource, params->key, params->value,
                                   &store.limits, err);
    }
    return answer(status, err, result);
}

static weir_status remove_key(const struct store *store, struct weir_str key,
                              struct weir_error *err) {
    weir_status status =
        store->access->remove(store->context, store->resource, key, &store->limits, err);
    return status == WEIR_NOT_FOUND ? WEIR_OK : status;
}

static weir_status do_delete(struct weir_import_call *call, const void *given, void *result,
                             struct weir_error *err) {
    const struct key_params *params = given;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        status = remove_key(&store, params->key, err);
    }
    return answer(status, err, result);
}

// A value that may have no byte is refused for its size where there is one.
static weir_status do_exists(struct weir_import_call *call, const void *given, void *result,
                             struct weir_error *err) {
    const struct key_params *params = given;
    struct existing *existing = result;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        struct weir_value value = {.data = NULL};
        store.limits.value_bytes_max = 0; // what it holds is not wanted
        status = store.access->get(store.context, store.resource, params->key, &store.limits,
                                   &value, err);
        existing->is_there = status == WEIR_OK || status == WEIR_LIMIT;
        if (status == WEIR_OK) {
            free(value.data);
        }
        status = status == WEIR_NOT_FOUND || status == WEIR_LIMIT ? WEIR_OK : status;
    }
    return answer(status, err, &existing->failed);
}

struct page {
    struct weir_import_call *call;
    struct weir_str *keys;
    size_t count, bytes;
    bool is_cut; // there are more keys
    weir_status status;
    struct weir_error *err;
};

static bool add_key(void *context, struct weir_str key) {
    struct page *page = context;
    if (page->count == PAGE_KEYS_MAX || page->bytes > PAGE_BYTES_MAX) {
        page->is_cut = true;
        return false;
    }
    char *copy = weir_import_room(page->call, key.size + 1, 1, page->err);
    if (!copy) {
        page->status = WEIR_NO_MEMORY;
        return false;
    }
    memcpy(copy, key.data ? key.data : "", key.size);
    page->keys[page->count++] = (struct weir_str){.data = copy, .size = key.size};
    page->bytes += key.size;
    return true;
}

static weir_status do_list_keys(struct weir_import_call *call, const void *given, void *result,
                                struct weir_error *err) {
    const struct list_params *params = given;
    struct listed *listed = result;
    struct store store;
    struct page page = {.call = call, .err = err};
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        page.keys = weir_import_room(call, PAGE_KEYS_MAX, sizeof *page.keys, err);
        status = page.keys ? WEIR_OK : WEIR_NO_MEMORY;
    }
    if (status == WEIR_OK) {
        struct weir_str after =
            params->cursor.is_some ? params->cursor.value : (struct weir_str){0};
        const struct weir_listing listing = {.each = add_key, .context = &page};
        status =
            store.access->list(store.context, store.resource, after, &store.limits, &listing, err);
        status = status == WEIR_OK ? page.status : status;
    }
    listed->page.keys = (struct texts){.items = page.keys, .count = page.count};
    if (page.is_cut) {
        listed->page.cursor =
            (struct weir_optional_str){.is_some = true, .value = page.keys[page.count - 1]};
    }
    return answer(status, err, &listed->failed);
}

// ---- atomics

struct cas_thing {
    uint32_t resource;
    bool was_there;
    struct weir_str key, value; // in `bytes`
    size_t held_bytes;
    char bytes[];
};

static weir_status cas_new(struct weir_instance *instance, uint32_t resource, struct weir_str key,
                           const struct optional_bytes *value, uint32_t *ret_handle,
                           struct weir_error *err) {
    size_t size = value->is_some ? value->bytes.size : 0;
    size_t held_bytes = HELD_OVERHEAD_BYTES + key.size + size;
    weir_status status = weir_import_hold(instance, held_bytes, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct cas_thing *thing = malloc(sizeof *thing + key.size + size + 1);
    if (!thing) {
        weir_import_release(instance, held_bytes);
        return weir_fail_no_memory(err, "a handle");
    }
    *thing = (struct cas_thing){.resource = resource,
                                .was_there = value->is_some,
                                .key = {.data = thing->bytes, .size = key.size},
                                .value = {.data = thing->bytes + key.size, .size = size},
                                .held_bytes = held_bytes};
    memcpy(thing->bytes, key.data ? key.data : "", key.size);
    memcpy(thing->bytes + key.size, size > 0 ? value->bytes.data : "", size);
    status = weir_handles_add(&instance->handles, WEIR_RESOURCE_CAS, thing, ret_handle, err);
    if (status != WEIR_OK) {
        weir_import_release(instance, held_bytes);
        free(thing);
    }
    return status;
}

static void cas_drop(struct weir_instance *instance, void *context) {
    struct cas_thing *thing = context;
    weir_import_release(instance, thing->held_bytes);
    free(thing);
}

static weir_status do_cas_new(struct weir_import_call *call, const void *given, void *result,
                              struct weir_error *err) {
    const struct key_params *params = given;
    struct given_handle *made = result;
    struct store store;
    struct optional_bytes value;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        status = read_key(call, &store, params->key, &value, err);
    }
    if (status == WEIR_OK) {
        status = cas_new(call->instance, store.resource, params->key, &value, &made->handle, err);
    }
    return answer(status, err, &made->failed);
}

static weir_status do_cas_current(struct weir_import_call *call, const void *given, void *result,
                                  struct weir_error *err) {
    const struct current_params *params = given;
    struct got *got = result;
    void *context;
    weir_status status =
        weir_handles_get(&call->instance->handles, WEIR_RESOURCE_CAS, params->cas, &context, err);
    if (status == WEIR_OK) {
        const struct cas_thing *thing = context;
        got->value = (struct optional_bytes){.is_some = thing->was_there, .bytes = thing->value};
    }
    return status;
}

// The change of a swap: the new value, if the old one is what the handle has.
struct swap {
    struct weir_import_call *call;
    const struct cas_thing *thing;
    struct weir_str value;
    bool is_other;               // it was not
    struct optional_bytes other; // what it is
};

static weir_status swap_change(void *context, const struct weir_str *current,
                               struct weir_value *ret_value, struct weir_error *err) {
    struct swap *swap = context;
    bool is_same = swap->thing->was_there == (current != NULL) &&
                   (!current || weir_str_equal(*current, swap->thing->value));
    if (!is_same) {
        swap->is_other = true;
        swap->other.is_some = current != NULL;
        if (current) {
            char *copy = weir_import_room(swap->call, current->size + 1, 1, err);
            if (!copy) {
                return WEIR_NO_MEMORY;
            }
            memcpy(copy, current->data ? current->data : "", current->size);
            swap->other.bytes = (struct weir_str){.data = copy, .size = current->size};
        }
        return weir_fail(err, WEIR_AGAIN, "the value has changed meanwhile");
    }
    ret_value->data = weir_str_copy(swap->value);
    ret_value->size = swap->value.size;
    return ret_value->data ? WEIR_OK : weir_fail_no_memory(err, "a value");
}

static weir_status swap(struct weir_import_call *call, const struct cas_thing *thing,
                        struct weir_str value, struct cas_error *ret_error,
                        struct weir_error *err) {
    struct store store;
    struct swap swap = {.call = call, .thing = thing, .value = value};
    const struct weir_change change = {.change = swap_change, .context = &swap};
    weir_status status = access_of(call->instance, &store, err);
    if (status == WEIR_OK) {
        status = store.access->update(store.context, thing->resource, thing->key, &store.limits,
                                      &change, err);
    }
    if (status == WEIR_AGAIN && swap.is_other) {
        ret_error->kind = CAS_FAILED;
        return cas_new(call->instance, thing->resource, thing->key, &swap.other,
                       &ret_error->cas_failed, err);
    }
    return status;
}

static weir_status do_swap(struct weir_import_call *call, const void *given, void *result,
                           struct weir_error *err) {
    const struct swap_params *params = given;
    struct swapped *swapped = result;
    void *thing;
    weir_status status =
        weir_handles_remove(&call->instance->handles, WEIR_RESOURCE_CAS, params->cas, &thing, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = swap(call, thing, params->value, &swapped->err, err);
    cas_drop(call->instance, thing);
    struct failed failed = {0};
    weir_status ended = answer(status, err, &failed);
    if (failed.is_err) {
        swapped->err = (struct cas_error){.kind = CAS_STORE_ERROR, .store_error = failed.err};
    }
    swapped->is_err = failed.is_err || swapped->err.kind == CAS_FAILED;
    return ended;
}

struct addition {
    int64_t delta, sum;
};

// A whole number in decimal digits, perhaps with a sign and a line's end.
static bool read_number(struct weir_str text, int64_t *ret_number) {
    char buffer[NUMBER_BYTES_MAX + 2];
    if (text.size > 0 && text.data[text.size - 1] == '\n') {
        text.size--;
    }
    if (text.size == 0 || text.size > NUMBER_BYTES_MAX ||
        strspn(memcpy(memset(buffer, 0, sizeof buffer), text.data, text.size), "-0123456789") !=
            text.size) {
        return false;
    }
    char *end;
    errno = 0;
    *ret_number = strtoll(buffer, &end, 10);
    return errno == 0 && end == buffer + text.size;
}

static weir_status add_change(void *context, const struct weir_str *current,
                              struct weir_value *ret_value, struct weir_error *err) {
    struct addition *addition = context;
    int64_t number = 0;
    if (current && !read_number(*current, &number)) {
        return weir_fail(err, WEIR_INVALID,
                         "its value is no whole number in decimal digits, which increment needs");
    }
    if (__builtin_add_overflow(number, addition->delta, &addition->sum)) {
        return weir_fail(err, WEIR_LIMIT, "%" PRId64 " and %" PRId64 " are more than 64 bits hold",
                         number, addition->delta);
    }
    int size = asprintf(&ret_value->data, "%" PRId64, addition->sum);
    ret_value->size = size < 0 ? 0 : (size_t)size;
    return size < 0 ? weir_fail_no_memory(err, "a number") : WEIR_OK;
}

static weir_status do_increment(struct weir_import_call *call, const void *given, void *result,
                                struct weir_error *err) {
    const struct increment_params *params = given;
    struct counted *counted = result;
    struct store store;
    struct addition addition = {.delta = params->delta};
    const struct weir_change change = {.change = add_change, .context = &addition};
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        status = store.access->update(store.context, store.resource, params->key, &store.limits,
                                      &change, err);
    }
    counted->number = addition.sum;
    return answer(status, err, &counted->failed);
}

// ---- batch

// The bytes of one answer are bounded as those of one value are.
static weir_status get_many(struct weir_import_call *call, struct store *store,
                            const struct texts *keys, struct optional_pair *items,
                            struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < keys->count; i++) {
        struct optional_bytes value;
        status = read_key(call, store, keys->items[i], &value, err);
        if (status == WEIR_OK && value.is_some) {
            items[i].is_some = 1;
            items[i].pair = (struct weir_attribute){.name = keys->items[i], .value = value.bytes};
            store->limits.value_bytes_max -= value.bytes.size;
        }
    }
    return status;
}

static weir_status do_get_many(struct weir_import_call *call, const void *given, void *result,
                               struct weir_error *err) {
    const struct keys_params *params = given;
    struct pairs_got *got = result;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    if (status == WEIR_OK) {
        struct optional_pair *items =
            weir_import_room(call, params->keys.count, sizeof *items, err);
        status = items ? get_many(call, &store, &params->keys, items, err) : WEIR_NO_MEMORY;
        got->list.items = items;
        got->list.count = params->keys.count;
    }
    return answer(status, err, &got->failed);
}

static weir_status do_set_many(struct weir_import_call *call, const void *given, void *result,
                               struct weir_error *err) {
    const struct pairs_params *params = given;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    for (size_t i = 0; status == WEIR_OK && i < params->pairs.count; i++) {
        const struct weir_attribute *pair = &params->pairs.items[i];
        status = store.access->set(store.context, store.resource, pair->name, pair->value,
                                   &store.limits, err);
    }
    return answer(status, err, result);
}

static weir_status do_delete_many(struct weir_import_call *call, const void *given, void *result,
                                  struct weir_error *err) {
    const struct keys_params *params = given;
    struct store store;
    weir_status status = store_of(call->instance, params->bucket, &store, err);
    for (size_t i = 0; status == WEIR_OK && i < params->keys.count; i++) {
        status = remove_key(&store, params->keys.items[i], err);
    }
    return answer(status, err, result);
}

// ---- the interfaces

static const struct weir_import store_functions[] = {
    WEIR_IMPORT_FUNCTION(STORE, "open", open_params, open_params, &opened_type, do_open),
    WEIR_IMPORT_FUNCTION(STORE, "[method]bucket.get", key_params, key_params, &got_type, do_get),
    WEIR_IMPORT_FUNCTION(STORE, "[method]bucket.set", set_params, set_params, &done_type, do_set),
    WEIR_IMPORT_FUNCTION(STORE, "[method]bucket.delete", key_params, key_params, &done_type,
                         do_delete),
    WEIR_IMPORT_FUNCTION(STORE, "[method]bucket.exists", key_params, key_params, &existing_type,
                         do_exists),
    WEIR_IMPORT_FUNCTION(STORE, "[method]bucket.list-keys", list_params, list_params, &listed_type,
                         do_list_keys),
};
static const struct weir_import_resource store_resources[] = {
    {.name = "bucket", .kind = WEIR_RESOURCE_BUCKET},
};
const struct weir_import_interface weir_import_keyvalue_store = {
    .name = STORE,
    .functions = store_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(store_functions),
    .resources = store_resources,
    .resource_count = WEIR_IMPORT_COUNT_OF(store_resources),
};

static const struct weir_import atomics_functions[] = {
    WEIR_IMPORT_FUNCTION(ATOMICS, "[static]cas.new", cas_new_params, key_params, &cas_given_type,
                         do_cas_new),
    WEIR_IMPORT_FUNCTION(ATOMICS, "[method]cas.current", current_params, current_params, &got_type,
                         do_cas_current),
    WEIR_IMPORT_FUNCTION(ATOMICS, "increment", increment_params, increment_params, &counted_type,
                         do_increment),
    WEIR_IMPORT_FUNCTION(ATOMICS, "swap", swap_params, swap_params, &swapped_type, do_swap),
};
static const struct weir_import_resource atomics_resources[] = {
    {.name = "cas", .kind = WEIR_RESOURCE_CAS, .drop = cas_drop},
};
const struct weir_import_interface weir_import_keyvalue_atomics = {
    .name = ATOMICS,
    .functions = atomics_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(atomics_functions),
    .resources = atomics_resources,
    .resource_count = WEIR_IMPORT_COUNT_OF(atomics_resources),
};

static const struct weir_import batch_functions[] = {
    WEIR_IMPORT_FUNCTION(BATCH, "get-many", keys_params, keys_params, &pairs_got_type, do_get_many),
    WEIR_IMPORT_FUNCTION(BATCH, "set-many", pairs_params, pairs_params, &done_type, do_set_many),
    WEIR_IMPORT_FUNCTION(BATCH, "delete-many", keys_params, keys_params, &done_type,
                         do_delete_many),
};
const struct weir_import_interface weir_import_keyvalue_batch = {
    .name = BATCH,
    .functions = batch_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(batch_functions),
};
