// SPDX-License-Identifier: Apache-2.0
//
// uthash as all rooms use it: hash tables of structs that we own, whose handle is a member of the
// struct. It is set up here, once, because its settings are macros that must be the same wherever a
// table is touched:
//
// - An insertion without memory leaves the element out and says so by element->hh.tbl == NULL,
//   instead of ending the process.
// - Keys are hashed by XXH3, which is quicker than uthash's own, and which compilers do not warn
//   about.
#ifndef WEIR_BASE_TABLE_H
#define WEIR_BASE_TABLE_H

#include <xxhash.h>

#define HASH_NONFATAL_OOM              1
#define HASH_FUNCTION(key, size, hash) (hash) = (unsigned)XXH3_64bits((key), (size))
#include <uthash.h>

#endif
