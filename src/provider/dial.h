// SPDX-License-Identifier: Apache-2.0
//
// Connecting a socket within a time.
#ifndef WEIR_PROVIDER_DIAL_H
#define WEIR_PROVIDER_DIAL_H

#include "base/error.h"
#include "provider/wait.h"

#include <sys/socket.h>

// A connected socket that does not block, the caller's. WEIR_UNAVAILABLE: it was refused, or not
// taken until the waiter's moment; WEIR_DENIED, WEIR_NO_MEMORY; WEIR_STOPPED: the waiter's. The
// message is the cause alone: who calls knows by which name the other side goes. Any thread.
weir_status weir_dial(const struct sockaddr *address, socklen_t size,
                      const struct weir_waiter *waiter, int *ret_fd, struct weir_error *err);

#endif
