/*
 * control.h - messages between supervisor and worker over their socket: msgpack, with descriptors.
 *
 * One SOCK_SEQPACKET pair per worker, no name anywhere. Rare by design: being started, and being
 * handed the descriptor of another worker's segment. Everything else is shared memory.
 */
#ifndef DMI_CONTROL_H
#define DMI_CONTROL_H

#include <stdint.h>

#include "dm/status.h"

enum { DMI_CONTROL_BYTES = 4096, DMI_CONTROL_FDS = 8 };

typedef enum dmi_control_kind {
    DMI_CONTROL_WELCOME = 1, /* to a worker: who it is. fds: D ro, W rw, W ro, driver's bell,
                                supervisor's bell, its bell, its service bell */
    DMI_CONTROL_HELLO,       /* from a worker: here I am. abi, functions */
    DMI_CONTROL_WANT,        /* from a worker: the descriptor of a segment, please. segment */
    DMI_CONTROL_SEGMENT      /* to a worker. segment, generation, bytes; fds: ro (none: gone) */
} dmi_control_kind;

typedef struct dmi_control {
    dmi_control_kind kind;
    uint64_t abi;
    uint64_t functions; /* hash of the registered names: must be the same on both sides */
    uint32_t lane;
    uint32_t segment;
    uint64_t generation;
    uint64_t bytes;   /* of the segment */
    uint64_t d_bytes; /* of D */
    uint64_t inline_bytes;
    uint64_t cpus;
    int64_t store_wait_ms;
    uint64_t nested_tasks;
    int fds[DMI_CONTROL_FDS];
    int fd_count;
} dmi_control;

/* Send one message; the descriptors stay the caller's. Does not block on a full socket
 * (DM_ERR_TIMEOUT). DM_ERR_SYSTEM if the peer is gone. */
dm_status dmi_control_send(int socket, const dmi_control *message);

/* Receive one message. Blocks on a blocking socket; DM_ERR_TIMEOUT if there is none on another.
 * Descriptors are the caller's, close-on-exec. Whatever is not a message of this protocol
 * (wrong types, too long, too deep, sizes that lie, surplus descriptors) is DM_ERR_FORMAT with all
 * descriptors closed; a closed peer is DM_ERR_SYSTEM. */
dm_status dmi_control_receive(int socket, dmi_control *message);

#endif
