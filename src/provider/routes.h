// SPDX-License-Identifier: Apache-2.0
//
// Which watches a key concerns. A look-up costs the same whatever the number of watches: one in a
// hash table for the key itself, and one for each length that some watched prefix has.
//
// One thread at a time. A route is added and removed by address; it lives in the watch.
#ifndef WEIR_PROVIDER_ROUTES_H
#define WEIR_PROVIDER_ROUTES_H

#include "base/str.h"
#include "provider/provider.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_routes;
struct weir_routes_place;

// What a watch has in the table.
struct weir_route {
    void *watch; // whose it is; set by weir_routes_add
    struct weir_routes_place *place;
    struct weir_route *prev, *next; // of the same pattern
};

// NULL without memory.
struct weir_routes *weir_routes_create(void);
// Every route must have been removed. NULL is allowed.
void weir_routes_destroy(struct weir_routes *routes);

// The pattern's text is copied. WEIR_NO_MEMORY.
weir_status weir_routes_add(struct weir_routes *routes, const struct weir_pattern *pattern,
                            void *watch, struct weir_route *route, struct weir_error *err);
// One that was not added, or was removed, is allowed.
void weir_routes_remove(struct weir_routes *routes, struct weir_route *route);
// Whether there are none.
bool weir_routes_are_empty(const struct weir_routes *routes);

// The routes that a key matches: those of the key itself, then those of prefixes, the shortest
// first; of one pattern in the order in which they were added. A route that is removed meanwhile
// must not be the one that the walk is at.
struct weir_routes_walk {
    const struct weir_routes *routes;
    struct weir_str key;
    size_t length_index;      // of the next prefix length to be looked up
    struct weir_route *route; // NULL: no more
};
struct weir_routes_walk weir_routes_first(const struct weir_routes *routes, struct weir_str key);
void weir_routes_next(struct weir_routes_walk *walk);

// Calls `each` for each different pattern, in no order.
void weir_routes_patterns(const struct weir_routes *routes,
                          void (*each)(void *context, const struct weir_pattern *pattern),
                          void *context);

#endif
