/*
 * A lane as the driver reads it: a worker's messages, slots and words, in a session without processes. Each lie
 * condemns the lane or is harmless; the driver reads nothing beyond its end and keeps its own.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dm/dm.h"
#include "runtime/lane.h"
#include "runtime/worker.h"
#include "tests/fuzz/fuzz.h"

DM_REMOTE(nothing)
{
    return dm_return(call, 1);
}

static void say_nothing(void *context, const char *line)
{
    (void)context, (void)line;
}

/* The worker posts it: with an honest position half of the time, else most would not be looked at. */
static void post(dmi_worker *worker, dmi_lane *lane, dmi_message message, bool honest)
{
    if (honest)
        message.at = lane->reaped;
    if (message.kind == DMI_MSG_BLOCKED || message.kind == DMI_MSG_NEED)
        return; /* then it would wait, in this very thread */
    memcpy(&worker->up->ring[worker->posted % DMI_UP_RING], &message, sizeof message);
    dmi_word_publish(&worker->up->up_tail, ++worker->posted);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    enum { MESSAGES = 16 };
    const char *text = "a value that others have, and that stays as it is whatever the worker says";
    if (dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL, .workers = 1, .store_bytes = 4 << 20, .log = say_nothing,
                              .spill_policy = DM_SPILL_OFF}) != DM_OK)
        abort();
    dm_ref put = dm_put(text), done = dm_remote(nothing);
    dmi_session *session = dmi_the_session;
    dmi_lane *lane = &session->lanes[0];
    dmi_role_take(&session->role);
    for (int i = 0; i < MESSAGES && count > sizeof(dmi_message); i++) {
        dmi_message message;
        memcpy(&message, bytes, sizeof message);
        post(lane->worker, lane, message, bytes[sizeof message] % 8 != 0);
        bytes += sizeof message + 1;
        count -= sizeof message + 1;
        dmi_lane_reap(session, lane);
    }
    dmi_role_leave(&session->role);
    char *copy = NULL;
    if (dm_get(put, &copy) != DM_OK || strcmp(copy, text) != 0)
        abort();
    free(copy);
    dm_release(put);
    dm_release(done);
    dm_shutdown();
    return 0;
}
