// SPDX-License-Identifier: Apache-2.0
//
// Private to `weir status`: the status as JSON becomes a table.
#ifndef WEIR_CLI_STATUS_H
#define WEIR_CLI_STATUS_H

#include <jansson.h>

// Prints what control/status.c makes, with what status.c adds to it, for people.
void weir_status_print(const json_t *status);

#endif
