// SPDX-License-Identifier: Apache-2.0
//
// What may stand where in weir.yaml, beyond the rows of the option tables: the sections that hold
// further mappings. The reader and `weir help config` are both made from this.
#ifndef WEIR_CONFIG_TABLES_H
#define WEIR_CONFIG_TABLES_H

#include "config/config.h"
#include "config/option.h"

struct weir_section {
    const char *name;
    const char *help; // one line
    const struct weir_option_table
        *table; // of the mapping that stands there; NULL: something else, see `help`
};

struct weir_sections {
    const struct weir_section *rows;
    size_t count;
};

extern const struct weir_sections weir_config_sections; // the top level
extern const struct weir_sections
    weir_resource_sections; // of a resource, besides its provider's options
extern const struct weir_sections weir_guest_sections; // of a guest, besides weir_guest_options
extern const struct weir_sections weir_grant_sections; // of a grant, besides weir_grant_options
extern const struct weir_sections weir_subscription_sections; // likewise

#endif
