// SPDX-License-Identifier: Apache-2.0
//
// See sections.h. A file is a header and sections: a number, a length, and that many bytes.
#include "guest/sections.h"

#include "base/show.h"
#include "guest/reader.h"

enum { NESTING_MAX = 16 }; // components within components

// Of a core module.
enum { SECTION_OF_MODULE_IMPORT = 2 };
enum { IMPORT_FUNCTION = 0 };
// Of the custom section "component-name".
enum { NAMES_OF_SORT = 1, SORT_CORE = 0, CORE_SORT_MODULE = 0x11 };

static const char component_header[WEIR_HEADER_BYTES] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
static const char module_header[WEIR_HEADER_BYTES] = {0, 'a', 's', 'm', 1, 0, 0, 0};

static bool begins_with(struct weir_str bytes, const char header[WEIR_HEADER_BYTES]) {
    return bytes.size >= WEIR_HEADER_BYTES && memcmp(bytes.data, header, WEIR_HEADER_BYTES) == 0;
}

bool weir_sections_is_component(struct weir_str wasm) {
    return begins_with(wasm, component_header);
}

// A component's name for its core module of that index; empty where it has none.
static struct weir_str find_name(struct weir_reader names, uint32_t wanted) {
    uint32_t count = weir_read_u32(&names);
    for (uint32_t i = 0; i < count && !names.is_broken; i++) {
        uint32_t index = weir_read_u32(&names);
        struct weir_str name = weir_read_text(&names);
        if (index == wanted && !names.is_broken) {
            return name;
        }
    }
    return (struct weir_str){0};
}

static struct weir_str module_name(struct weir_str component, uint32_t index) {
    struct weir_reader sections = weir_sections_of(component);
    unsigned number;
    struct weir_str content, part;
    while (weir_read_section(&sections, &number, &content)) {
        struct weir_reader custom = weir_reader_of(content);
        if (number != WEIR_SECTION_CUSTOM ||
            !weir_str_equal(weir_read_text(&custom), WEIR_STR("component-name"))) {
            continue;
        }
        while (weir_read_section(&custom, &number, &part)) {
            struct weir_reader names = weir_reader_of(part);
            if (number == NAMES_OF_SORT && weir_read_byte(&names) == SORT_CORE &&
                weir_read_byte(&names) == CORE_SORT_MODULE) {
                return find_name(names, index);
            }
        }
    }
    return (struct weir_str){0};
}

static weir_status refuse(struct weir_error *err, const char *what, struct weir_str name) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_UNSUPPORTED, "%s \"%s\"", what,
                     weir_show(name, shown, sizeof shown));
}

static weir_status refuse_file(struct weir_error *err) {
    return weir_fail(err, WEIR_INVALID, "the component's sections do not fit its size");
}

// Whether each import is a function that is given.
static weir_status check_imports(struct weir_str content,
                                 bool (*is_given)(struct weir_str module, struct weir_str name),
                                 struct weir_error *err) {
    struct weir_reader reader = weir_reader_of(content);
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_str module = weir_read_text(&reader), name = weir_read_text(&reader);
        unsigned kind = weir_read_byte(&reader);
        if (reader.is_broken) {
            return refuse_file(err);
        }
        if (kind != IMPORT_FUNCTION) {
            return refuse(err, "its main module imports what is no function from", module);
        }
        weir_read_u32(&reader); // its type
        if (!is_given(module, name)) {
            return refuse(err, "its main module imports from", module);
        }
    }
    return reader.is_broken ? refuse_file(err) : WEIR_OK;
}

static weir_status check_main(struct weir_str module,
                              bool (*is_given)(struct weir_str module, struct weir_str name),
                              struct weir_error *err) {
    struct weir_reader sections = weir_sections_of(module);
    unsigned number;
    struct weir_str content;
    while (weir_read_section(&sections, &number, &content)) {
        weir_status status =
            number == SECTION_OF_MODULE_IMPORT ? check_imports(content, is_given, err) : WEIR_OK;
        if (status != WEIR_OK) {
            return status;
        }
    }
    return sections.is_broken ? refuse_file(err) : WEIR_OK;
}

// What stands between a module and its component is named by who put it there.
static weir_status check_other(struct weir_str name, struct weir_error *err) {
    if (weir_str_has_prefix(name, WEIR_STR("wit-component"))) {
        return WEIR_OK;
    }
    return name.size > 0
               ? refuse(err, "it has a further module,", name)
               : weir_fail(err, WEIR_UNSUPPORTED, "it has a further module that bears no name");
}

// Looks through a component and those in it, which may have types but no module.
static weir_status search(struct weir_str component, unsigned depth, struct weir_str *main_module,
                          struct weir_error *err) {
    struct weir_reader sections = weir_sections_of(component);
    unsigned number;
    struct weir_str content;
    weir_status status = WEIR_OK;
    uint32_t modules = 0;
    while (status == WEIR_OK && weir_read_section(&sections, &number, &content)) {
        if (number == WEIR_SECTION_COMPONENT) {
            status = depth < NESTING_MAX
                         ? search(content, depth + 1, main_module, err)
                         : weir_fail(err, WEIR_UNSUPPORTED, "its components are nested deeply");
        } else if (number == WEIR_SECTION_CORE_MODULE && depth > 0) {
            status = weir_fail(err, WEIR_UNSUPPORTED, "it is made of several components");
        } else if (number == WEIR_SECTION_CORE_MODULE && modules++ > 0) {
            status = check_other(module_name(component, modules - 1), err);
        } else if (number == WEIR_SECTION_CORE_MODULE) {
            *main_module = content;
        }
    }
    return status == WEIR_OK && sections.is_broken ? refuse_file(err) : status;
}

weir_status weir_sections_main_module(struct weir_str component,
                                      bool (*is_given)(struct weir_str module,
                                                       struct weir_str name),
                                      struct weir_str *ret_module, struct weir_error *err) {
    struct weir_str main_module = {0};
    weir_status status = search(component, 0, &main_module, err);
    if (status == WEIR_OK && !begins_with(main_module, module_header)) {
        status = weir_fail(err, WEIR_UNSUPPORTED, "it has no module of its own");
    }
    if (status == WEIR_OK) {
        status = check_main(main_module, is_given, err);
    }
    *ret_module = main_module;
    return status;
}
