// SPDX-License-Identifier: Apache-2.0
//
// The provider of kind "file": a directory is a store, a file a key. docs/providers/file.md says
// what users get.
#ifndef WEIR_PROVIDER_FILE_FILE_H
#define WEIR_PROVIDER_FILE_FILE_H

#include "provider/provider.h"

extern const struct weir_provider weir_file_provider;

#endif
