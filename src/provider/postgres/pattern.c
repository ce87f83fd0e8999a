// SPDX-License-Identifier: Apache-2.0
//
// See pattern.h. Of a store the pattern is of its keys. Else it begins with a table's name, coded
// as keys code it: "orders" and "orders/*" are all rows of the table, "orders/42" is one, and
// "orders/4*" those whose key begins so. Of several tables there are several watches.
#include "provider/postgres/pattern.h"

#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/postgres/source.h"
#include "provider/postgres/value.h"
#include "provider/row.h"

#include <stdlib.h>
#include <string.h>

// Decodes %XX. False: it is not coded so, or too long for a table.
static bool decode(struct weir_str text, char to[static WEIR_PG_TABLE_BYTES],
                   struct weir_str *ret_text) {
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char letter = text.data[i];
        if (letter == '%') {
            int high = i + 2 < text.size ? weir_pg_hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? weir_pg_hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            letter = (char)(high << 4 | low);
            i += 2;
        }
        if (size == WEIR_PG_TABLE_BYTES) {
            return false;
        }
        to[size++] = letter;
    }
    *ret_text = (struct weir_str){to, size};
    return true;
}

// What stands before the first '/', and from it on.
static void split(struct weir_str text, struct weir_str *ret_table, struct weir_str *ret_rest) {
    const char *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    size_t size = slash ? (size_t)(slash - text.data) : text.size;
    *ret_table = (struct weir_str){text.data, size};
    *ret_rest = (struct weir_str){text.data + size, text.size - size};
}

static weir_status read_table(const struct weir_pattern *pattern,
                              struct weir_pg_table_name *ret_name, struct weir_str *ret_rest,
                              struct weir_error *err) {
    char decoded[WEIR_PG_TABLE_BYTES], shown[WEIR_SHOW_BYTES];
    struct weir_str table, text;
    weir_status status = weir_keyvalue_check_pattern(pattern, err);
    if (status != WEIR_OK) {
        return status;
    }
    split(pattern->text, &table, ret_rest);
    if (pattern->is_prefix && ret_rest->size == 0) {
        return weir_fail(
            err, WEIR_INVALID,
            "the key \"%s*\" does not name one table; write TABLE or TABLE/*, once for "
            "each table",
            weir_show(pattern->text, shown, sizeof shown));
    }
    if (!decode(table, decoded, &text)) {
        return weir_fail(err, WEIR_INVALID, "\"%s\" is no table's name, with %%XX for odd letters",
                         weir_show(table, shown, sizeof shown));
    }
    return weir_pg_table_parse(text, ret_name, err);
}

weir_status weir_pg_pattern_check(const struct weir_pattern *pattern, struct weir_error *err) {
    struct weir_pg_table_name name;
    struct weir_str rest;
    return read_table(pattern, &name, &rest, err);
}

weir_status weir_pg_pattern_read(const struct weir_pg_resource *resource,
                                 const struct weir_pattern *pattern,
                                 struct weir_pg_table_name *ret_name, struct weir_str *ret_key_text,
                                 struct weir_error *err) {
    struct weir_str rest = pattern->text;
    char table[WEIR_KEY_BYTES_MAX];
    size_t table_size = 0;
    *ret_key_text = (struct weir_str){0};
    if (resource->mode == WEIR_PG_KV) {
        *ret_name = resource->kv;
    } else {
        weir_status status = read_table(pattern, ret_name, &rest, err);
        if (status != WEIR_OK) {
            return status;
        }
        // Its shortest name, whatever it was called.
        table_size = weir_row_key(weir_str_of(ret_name->text), NULL, 0, table, sizeof table);
    }
    char *text = malloc(table_size + rest.size + 1); // and a '/', see weir_pg_pattern_routes
    if (!text) {
        return weir_fail_no_memory(err, "a watch");
    }
    memcpy(text, table, table_size);
    if (rest.size > 0) {
        memcpy(text + table_size, rest.data, rest.size);
    }
    text[table_size + rest.size] = '/';
    *ret_key_text = (struct weir_str){text, table_size + rest.size};
    return WEIR_OK;
}

size_t weir_pg_pattern_routes(const struct weir_pg_watch *watch,
                              struct weir_pattern ret_patterns[static 2]) {
    const struct weir_pg_resource *resource =
        (const struct weir_pg_resource *)watch->base.base.resource;
    struct weir_str text = watch->key_text, table, rest;
    ret_patterns[0] =
        (struct weir_pattern){.text = text, .is_prefix = watch->base.pattern.is_prefix};
    split(text, &table, &rest);
    bool is_all = resource->mode != WEIR_PG_KV &&
                  (rest.size == 0 || (rest.size == 1 && ret_patterns[0].is_prefix));
    if (!is_all) {
        return 1;
    }
    // The rows of a table without a primary key have its name as their key. The text has a '/'
    // behind the name, or room for one.
    ret_patterns[0] = (struct weir_pattern){.text = table};
    ret_patterns[1] = (struct weir_pattern){.text = {text.data, table.size + 1}, .is_prefix = true};
    return 2;
}
