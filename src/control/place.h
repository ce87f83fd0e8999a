// SPDX-License-Identifier: Apache-2.0
//
// Where the control socket is. Private to this room.
#ifndef WEIR_CONTROL_PLACE_H
#define WEIR_CONTROL_PLACE_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

// A directory and the socket's address in it, however long the directory's path is.
struct weir_control_place {
    int dir_fd; // -1: closed
    struct sockaddr_un address;
};

// WEIR_NOT_FOUND, WEIR_DENIED and others of the file system.
weir_status weir_control_place_open(const char *dir, struct weir_control_place *ret_place,
                                    struct weir_error *err);
void weir_control_place_close(struct weir_control_place *place);

// Whether the process at the other end belongs to this user or to root.
bool weir_control_peer_is_trusted(int fd);

#endif
