// SPDX-License-Identifier: Apache-2.0
//
// An address has room for 107 bytes, a directory's path may have thousands. The socket is therefore
// named through a descriptor of its directory, /proc/self/fd/N/control.sock; a symbolic link in a
// shorter place was not taken, because somebody would have to clean it up. What is bound that way
// is told by no tool under a name that helps (ss shows the descriptor), which is the price.
//
// Any thread; nothing is shared.
#include "control/place.h"

#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

weir_status weir_control_place_open(const char *dir, struct weir_control_place *ret_place,
                                    struct weir_error *err) {
    *ret_place = (struct weir_control_place){.address = {.sun_family = AF_UNIX}};
    ret_place->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (ret_place->dir_fd < 0) {
        return weir_fail_errno(err, errno, "cannot open the directory %s", dir);
    }
    snprintf(ret_place->address.sun_path, sizeof ret_place->address.sun_path,
             "/proc/self/fd/%d/" WEIR_CONTROL_SOCKET, ret_place->dir_fd);
    return WEIR_OK;
}

void weir_control_place_close(struct weir_control_place *place) {
    if (place->dir_fd >= 0) {
        close(place->dir_fd);
        place->dir_fd = -1;
    }
}

bool weir_control_peer_is_trusted(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
