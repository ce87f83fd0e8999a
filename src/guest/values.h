// SPDX-License-Identifier: Apache-2.0
//
// The component lane's counterpart of canon.h: moves values between C structs and the engine's
// dynamic component values. Both walk the tables of wit.h, so that a host function and an event are
// the same thing in either lane.
//
// The engine has checked a guest's values before they come here: they are of the component's own
// types, texts are UTF-8. Those types were compared with the tables when the guest was loaded
// (weir_values_match). What is left to check is how large they are.
#ifndef WEIR_GUEST_VALUES_H
#define WEIR_GUEST_VALUES_H

#include "base/error.h"
#include "guest/wit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wasmtime.h>
#include <wasmtime/component.h>

struct weir_instance;
struct weir_spare;

enum {
    WEIR_VALUES_ROOM_BYTES = 4096, // enough for an event with some extensions
    // Of one list<u8> that is passed: the engine and weir together spend some 80 bytes on each.
    // What a guest hands over is bounded by the engine, at about half of it.
    WEIR_VALUES_LIST_BYTES_MAX = 8 * 1024 * 1024,
};

// What one value may need, and where it lies. Use weir_values_begin and weir_values_end.
struct weir_values {
    struct weir_instance *instance; // whose handles are meant
    uint64_t bytes_max;             // texts and lists of one value, in sum
    const char *bytes_bound;        // the configuration key of bytes_max, for messages
    uint64_t bytes_left;
    // The value goes by way of annex.h: its list<u8> is a text of the low bits, and what was passed
    // has its high bits here, if there are any.
    bool is_by_annex;
    struct weir_str high;
    // The engine frees what a function of the host answers, so that is made by the engine's own
    // functions; what is passed to the guest only has to live as long as the call, and lies here.
    bool is_engines;
    void *blocks;             // beyond the room: a list
    struct weir_spare *spare; // NULL until bytes are taken apart or put together
    size_t used;
    _Alignas(16) unsigned char room[WEIR_VALUES_ROOM_BYTES];
};

// bytes_bound lives as long. Fills everything but the room, which needs no initialisation.
void weir_values_begin(struct weir_values *values, struct weir_instance *instance,
                       uint64_t bytes_max, const char *bytes_bound);
// Frees what was lowered to be passed, and what was lifted.
void weir_values_end(struct weir_values *values);

// Makes the value of a parameter: it has views of `host` and of the tables, lives until
// weir_values_end, and is not to be deleted. WEIR_LIMIT beyond bytes_max; WEIR_NO_MEMORY.
weir_status weir_values_pass(struct weir_values *values, const struct weir_wit_type *type,
                             const void *host, wasmtime_component_val_t *ret_value,
                             struct weir_error *err);

// Makes the value that a function of the host answers; the engine owns it. As above.
weir_status weir_values_answer(struct weir_values *values, const struct weir_wit_type *type,
                               const void *host, wasmtime_component_val_t *ret_value,
                               struct weir_error *err);

// Reads a value into `ret_host` (host_size bytes): texts are views into the value, lists lie in
// `values`. WEIR_LIMIT, WEIR_NO_MEMORY; WEIR_TRAPPED where the value is none of the type.
weir_status weir_values_lift(struct weir_values *values, const struct weir_wit_type *type,
                             const wasmtime_component_val_t *value, void *ret_host,
                             struct weir_error *err);

// Whether a component's type is the one that the table describes: the same cases and fields, by the
// same names, in the same order. A resource is any resource.
bool weir_values_match(const struct weir_wit_type *type,
                       const wasmtime_component_valtype_t *valtype);

// The same of a function: its parameters, in order, whatever their names, and its result.
bool weir_values_match_function(const struct weir_wit_field *params, uint32_t param_count,
                                const struct weir_wit_type *result,
                                const wasmtime_component_func_type_t *type);

#endif
