// SPDX-License-Identifier: Apache-2.0
//
// See routes.h. What was tried instead: a trie of prefixes. It looks up in one walk, but costs a
// node for each byte, and in practice watched prefixes have few different lengths.
#include "provider/routes.h"

#include "base/table.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

// The routes of one pattern.
struct weir_routes_place {
    UT_hash_handle hh; // in routes->keys or routes->prefixes, by text
    struct weir_route *routes;
    bool is_prefix;
    size_t text_size;
    char text[];
};

struct length {
    size_t bytes;
    size_t places; // prefixes of this length
};

struct weir_routes {
    struct weir_routes_place *keys, *prefixes; // tables
    struct length *lengths;                    // of prefixes, ascending
    size_t length_count, length_capacity;
};

struct weir_routes *weir_routes_create(void) {
    return calloc(1, sizeof(struct weir_routes));
}

void weir_routes_destroy(struct weir_routes *routes) {
    if (routes) {
        free(routes->lengths);
        free(routes);
    }
}

bool weir_routes_are_empty(const struct weir_routes *routes) {
    return !routes->keys && !routes->prefixes;
}

static struct weir_routes_place *find(struct weir_routes_place *table, struct weir_str text) {
    struct weir_routes_place *place;
    HASH_FIND(hh, table, text.size > 0 ? text.data : "", text.size, place);
    return place;
}

// The place of the first length that is not shorter.
static size_t length_place(const struct weir_routes *routes, size_t bytes) {
    size_t at = 0;
    while (at < routes->length_count && routes->lengths[at].bytes < bytes) {
        at++;
    }
    return at;
}

static bool add_length(struct weir_routes *routes, size_t bytes) {
    size_t at = length_place(routes, bytes);
    if (at < routes->length_count && routes->lengths[at].bytes == bytes) {
        routes->lengths[at].places++;
        return true;
    }
    if (routes->length_count == routes->length_capacity) {
        size_t capacity = routes->length_capacity ? 2 * routes->length_capacity : 8;
        struct length *grown = realloc(routes->lengths, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        routes->lengths = grown;
        routes->length_capacity = capacity;
    }
    memmove(routes->lengths + at + 1, routes->lengths + at,
            (routes->length_count - at) * sizeof *routes->lengths);
    routes->lengths[at] = (struct length){.bytes = bytes, .places = 1};
    routes->length_count++;
    return true;
}

static void remove_length(struct weir_routes *routes, size_t bytes) {
    size_t at = length_place(routes, bytes);
    if (--routes->lengths[at].places == 0) {
        routes->length_count--;
        memmove(routes->lengths + at, routes->lengths + at + 1,
                (routes->length_count - at) * sizeof *routes->lengths);
    }
}

static struct weir_routes_place *place_new(struct weir_routes *routes,
                                           const struct weir_pattern *pattern) {
    struct weir_routes_place *place = calloc(1, sizeof *place + pattern->text.size + 1);
    if (!place) {
        return NULL;
    }
    place->is_prefix = pattern->is_prefix;
    place->text_size = pattern->text.size;
    if (place->text_size > 0) {
        memcpy(place->text, pattern->text.data, place->text_size);
    }
    if (place->is_prefix && !add_length(routes, place->text_size)) {
        free(place);
        return NULL;
    }
    if (place->is_prefix) {
        HASH_ADD_KEYPTR(hh, routes->prefixes, place->text, place->text_size, place);
    } else {
        HASH_ADD_KEYPTR(hh, routes->keys, place->text, place->text_size, place);
    }
    if (!place->hh.tbl) { // no memory
        if (place->is_prefix) {
            remove_length(routes, place->text_size);
        }
        free(place);
        return NULL;
    }
    return place;
}

weir_status weir_routes_add(struct weir_routes *routes, const struct weir_pattern *pattern,
                            void *watch, struct weir_route *route, struct weir_error *err) {
    struct weir_routes_place *place =
        find(pattern->is_prefix ? routes->prefixes : routes->keys, pattern->text);
    place = place ? place : place_new(routes, pattern);
    if (!place) {
        return weir_fail_no_memory(err, "the pattern of a watch");
    }
    route->watch = watch;
    route->place = place;
    DL_APPEND(place->routes, route);
    return WEIR_OK;
}

void weir_routes_remove(struct weir_routes *routes, struct weir_route *route) {
    struct weir_routes_place *place = route->place;
    if (!place) {
        return;
    }
    DL_DELETE(place->routes, route);
    route->place = NULL;
    if (place->routes) {
        return;
    }
    if (place->is_prefix) {
        HASH_DEL(routes->prefixes, place);
        remove_length(routes, place->text_size);
    } else {
        HASH_DEL(routes->keys, place);
    }
    free(place);
}

// Goes to the routes of the next prefix length that has some.
static void next_prefix(struct weir_routes_walk *walk) {
    const struct weir_routes *routes = walk->routes;
    walk->route = NULL;
    while (!walk->route && walk->length_index < routes->length_count) {
        size_t bytes = routes->lengths[walk->length_index++].bytes;
        if (bytes > walk->key.size) {
            return;
        }
        const struct weir_routes_place *place =
            find(routes->prefixes, (struct weir_str){walk->key.data, bytes});
        walk->route = place ? place->routes : NULL;
    }
}

struct weir_routes_walk weir_routes_first(const struct weir_routes *routes, struct weir_str key) {
    const struct weir_routes_place *place = find(routes->keys, key);
    struct weir_routes_walk walk = {
        .routes = routes, .key = key, .route = place ? place->routes : NULL};
    if (!walk.route) {
        next_prefix(&walk);
    }
    return walk;
}

void weir_routes_next(struct weir_routes_walk *walk) {
    if (walk->route->next) {
        walk->route = walk->route->next;
    } else {
        next_prefix(walk);
    }
}

void weir_routes_patterns(const struct weir_routes *routes,
                          void (*each)(void *context, const struct weir_pattern *pattern),
                          void *context) {
    struct weir_routes_place *const tables[] = {routes->keys, routes->prefixes};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct weir_routes_place *place = tables[i]; place; place = place->hh.next) {
            const struct weir_pattern pattern = {.text = {place->text, place->text_size},
                                                 .is_prefix = place->is_prefix};
            each(context, &pattern);
        }
    }
}
