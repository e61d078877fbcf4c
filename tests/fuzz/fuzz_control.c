/*
 * A control message between supervisor and worker: whatever arrives is a message of the protocol or a status, costs
 * no more than itself, and leaves no descriptor.
 */
#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/control.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static int ends[2] = {-1, -1};
    dmi_control message;
    if (ends[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) != 0)
        return 0;
    if (count == 0 || send(ends[0], bytes, count, MSG_NOSIGNAL) < 0)
        return 0;
    dm_status status = dmi_control_receive(ends[1], &message);
    assert(status == DM_OK || status == DM_ERR_FORMAT);
    assert(message.fd_count == 0);
    return 0;
}
