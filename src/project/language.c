// SPDX-License-Identifier: Apache-2.0
//
// The languages; see language.h. What a name may be is what all that read it take: weir.yaml, the
// file system, and the manifest of the language.
#include "project/language.h"

#include "config/config.h"
#include "project/build.h"

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Letters, digits, "_" and "-", a letter first: a folder that is no hidden file and no option.
static bool is_plain(struct weir_str name) {
    bool has_dot = name.size > 0 && memchr(name.data, '.', name.size);
    return weir_name_valid(name) && !has_dot && is_letter(name.data[0]);
}

static const char *name_wanted_c(struct weir_str name) {
    return is_plain(name) ? NULL : "a letter, then letters, digits, \"-\" and \"_\"";
}

static bool is_one_of(struct weir_str name, const char *const *words) {
    bool is_found = false;
    for (; *words && !is_found; words++) {
        is_found = weir_str_equal(name, weir_str_of(*words));
    }
    return is_found;
}

// A package's name is a crate's name too. Source: the Rust reference, keywords.
static const char *name_wanted_rust(struct weir_str name) {
    static const char *const taken[] = {
        "Self",    "abstract",    "alloc",    "as",     "async",       "await",    "become",
        "box",     "break",       "build",    "const",  "continue",    "core",     "crate",
        "deps",    "do",          "dyn",      "else",   "enum",        "examples", "extern",
        "false",   "final",       "fn",       "for",    "gen",         "if",       "impl",
        "in",      "incremental", "let",      "loop",   "macro",       "match",    "mod",
        "move",    "mut",         "override", "priv",   "pub",         "ref",      "return",
        "self",    "static",      "std",      "struct", "super",       "test",     "trait",
        "true",    "try",         "type",     "typeof", "unsafe",      "unsized",  "use",
        "virtual", "weir",        "where",    "while",  "wit-bindgen", "yield",    "proc_macro",
        NULL};
    if (!is_plain(name)) {
        return name_wanted_c(name);
    }
    return is_one_of(name, taken) ? "a name that is no keyword of Rust, nor that of a crate which "
                                    "the project uses"
                                  : NULL;
}

// npm takes no capitals.
static const char *name_wanted_js(struct weir_str name) {
    static const char *const taken[] = {"weir", "node_modules", "favicon", NULL};
    bool is_good = is_plain(name) && !is_one_of(name, taken);
    for (size_t i = 0; i < name.size; i++) {
        is_good = is_good && !(name.data[i] >= 'A' && name.data[i] <= 'Z');
    }
    return is_good
               ? NULL
               : "a small letter, then small letters, digits, \"-\" and \"_\", and not the name "
                 "of a package that the project uses";
}

// Source: the specification of pyproject.toml, names.
static const char *name_wanted_python(struct weir_str name) {
    static const char *const taken[] = {"weir", "componentize-py", "componentize_py", NULL};
    char last = name.size > 0 ? name.data[name.size - 1] : '-';
    bool is_good = is_plain(name) && last != '-' && last != '_' && !is_one_of(name, taken);
    return is_good ? NULL
                   : "a letter, then letters, digits, \"-\" and \"_\", the last one a letter or a "
                     "digit, and not the name of a package that the project uses";
}

const struct weir_language weir_languages[] = {
    {
        .name = "c",
        .title = "C",
        .sources = (const char *const[]){".c", ".h", NULL},
        .name_wanted = name_wanted_c,
        .build = weir_build_c,
    },
    {
        .name = "rust",
        .title = "Rust",
        .manifest = "Cargo.toml",
        .sources = (const char *const[]){".rs", ".toml", ".wit", NULL},
        .name_wanted = name_wanted_rust,
        .build = weir_build_rust,
    },
    {
        .name = "js",
        .title = "JavaScript",
        .manifest = "package.json",
        .sources = (const char *const[]){".js", ".mjs", ".ts", ".json", ".wit", NULL},
        .name_wanted = name_wanted_js,
        .build = weir_build_js,
    },
    {
        .name = "python",
        .title = "Python",
        .manifest = "pyproject.toml",
        .sources = (const char *const[]){".py", ".toml", "requirements.txt", ".wit", NULL},
        .name_wanted = name_wanted_python,
        .build = weir_build_python,
    },
    {.name = NULL},
};

const struct weir_language *weir_language_find(const char *name) {
    for (const struct weir_language *language = weir_languages; language->name; language++) {
        if (strcmp(language->name, name) == 0) {
            return language;
        }
    }
    return NULL;
}
