// SPDX-License-Identifier: Apache-2.0
//
// See table.h.
#include "provider/postgres/table.h"

#include "base/show.h"

#include <stdio.h>
#include <string.h>

#define FORMS "write TABLE, or SCHEMA.TABLE"

const char *weir_pg_quote(const char *name, char *to, size_t room) {
    size_t size = 0;
    to[size++] = '"';
    for (; *name && size + 4 <= room; name++) {
        if (*name == '"') {
            to[size++] = '"';
        }
        to[size++] = *name;
    }
    to[size++] = '"';
    to[size] = '\0';
    return to;
}

static bool put(char to[static WEIR_PG_NAME_BYTES], struct weir_str name) {
    if (name.size == 0 || name.size >= WEIR_PG_NAME_BYTES || memchr(name.data, '\0', name.size) ||
        !weir_utf8_valid(name)) {
        return false;
    }
    memcpy(to, name.data, name.size);
    to[name.size] = '\0';
    return true;
}

weir_status weir_pg_table_of(struct weir_str schema, struct weir_str name,
                             struct weir_pg_table_name *ret_name, struct weir_error *err) {
    char quoted[2][2 * WEIR_PG_NAME_BYTES + 2], shown[WEIR_SHOW_BYTES];
    *ret_name = (struct weir_pg_table_name){0};
    if (!put(ret_name->schema, schema) || !put(ret_name->name, name)) {
        return weir_fail(err, WEIR_INVALID, "\"%s\" is no name of a table; " FORMS,
                         weir_show(name, shown, sizeof shown));
    }
    bool is_short = strcmp(ret_name->schema, "public") == 0 && !strchr(ret_name->name, '.');
    snprintf(ret_name->text, sizeof ret_name->text, "%s%s%s", is_short ? "" : ret_name->schema,
             is_short ? "" : ".", ret_name->name);
    snprintf(ret_name->quoted, sizeof ret_name->quoted, "%s.%s",
             weir_pg_quote(ret_name->schema, quoted[0], sizeof quoted[0]),
             weir_pg_quote(ret_name->name, quoted[1], sizeof quoted[1]));
    return WEIR_OK;
}

weir_status weir_pg_table_parse(struct weir_str text, struct weir_pg_table_name *ret_name,
                                struct weir_error *err) {
    const char *dot = text.size > 0 ? memchr(text.data, '.', text.size) : NULL;
    if (!dot) {
        return weir_pg_table_of(WEIR_STR("public"), text, ret_name, err);
    }
    struct weir_str schema = {text.data, (size_t)(dot - text.data)};
    struct weir_str name = {dot + 1, text.size - schema.size - 1};
    return weir_pg_table_of(schema, name, ret_name, err);
}
