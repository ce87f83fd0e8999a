// SPDX-License-Identifier: Apache-2.0
//
// What a service manager is told of weir, by systemd's protocol (sd_notify(3)): that it is ready,
// reloads, stops, and that it is alive. A message is one datagram of lines NAME=VALUE to the socket
// that $NOTIFY_SOCKET names. The protocol is written here, as systemd's documentation invites to:
// libsystemd would bring its decompressors and ciphers into a host that faces networks.
//
// Sockets in the file system and abstract ones ("@NAME") are known. AF_VSOCK ("vsock:..."), by
// which a whole virtual machine tells its host that it has booted, is left out.
//
// Where nobody wants to be told, every function does nothing. One thread at a time.
#ifndef WEIR_OBSERVE_NOTIFY_H
#define WEIR_OBSERVE_NOTIFY_H

#include "base/error.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    WEIR_NOTIFY_WAIT_MS = 1000,   // how long a message waits for its reader; then it is dropped
    WEIR_NOTIFY_BYTES_MAX = 1024, // of a message; a status that is longer is cut
    WEIR_NOTIFY_STATUS_MAX = 512, // bytes of a status
};

struct weir_notify {
    int fd; // -1: nobody wants to be told
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ns; // how often weir_notify_alive is wanted at least; 0: not at all
};

// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment, so
// that no child speaks for weir. Only while there is one thread. WEIR_INVALID: the socket's name is
// none, and nobody is told; and others of socket. `ret_notify` is to be finished in each case.
weir_status weir_notify_init(struct weir_notify *ret_notify, struct weir_error *err);
void weir_notify_finish(struct weir_notify *notify);

// `status` is one line for people. NULL as `notify` is allowed everywhere.
void weir_notify_ready(const struct weir_notify *notify, const char *status);
void weir_notify_reloading(const struct weir_notify *notify);
// The stop may take so long, beyond what the manager has for it.
void weir_notify_stopping(const struct weir_notify *notify, int64_t takes_ns);
// What weir does now, a start or a reload, goes on at least so long.
void weir_notify_busy(const struct weir_notify *notify, int64_t takes_ns, const char *status);
void weir_notify_alive(const struct weir_notify *notify);

#endif
