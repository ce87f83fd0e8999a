// SPDX-License-Identifier: Apache-2.0
//
// What `weir help` prints, for the command and for the test that compares the reference page with
// it.
#ifndef WEIR_CLI_HELP_H
#define WEIR_CLI_HELP_H

#include "provider/provider.h"

#include <stdio.h>

// Every key of weir.yaml with its default, what may be written and what it does.
void weir_help_config(FILE *out);

// A kind of resource: what it is, what it can, its options.
void weir_help_provider(FILE *out, const struct weir_provider *provider);

#endif
