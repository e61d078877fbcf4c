/*
 * reserve.c - room in D that is kept for a return: law 3 of runtime/residence.h.
 */
#include <stddef.h>

#include "runtime/room.h"
#include "runtime/stay.h"

void dmi_reserve_end(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (r->reserve != 0)
        dmi_heap_free(session->heap, r->reserve);
    r->reserve = r->reserve_bytes = r->reserve_due = 0;
}

static bool may_reserve(const dmi_session *session, uint64_t bytes)
{
    enum { SHARE = 4 };
    return bytes > session->residence->reserve_bytes && bytes <= session->settings.store_bytes / SHARE &&
           !session->tight;
}

static void keep_reserve(dmi_session *session, uint64_t offset, uint64_t bytes)
{
    dmi_residence *r = session->residence;
    uint64_t due = r->reserve_due;
    dmi_reserve_end(session);
    r->reserve = offset;
    r->reserve_bytes = bytes;
    r->reserve_due = due;
}

/* Room that was claimed is had, which takes its time. */
static void run_reserve(dmi_job *job)
{
    dmi_residence *r = (dmi_residence *)((char *)job - offsetof(dmi_residence, have_reserve));
    dmi_session *session = r->session;
    uint64_t bytes = r->reserving, offset = dmi_heap_alloc(session->heap, bytes);
    dmi_role_take(&session->role);
    session->allocating--;
    r->reserving = 0;
    if (offset != 0 && session->away != 0 && may_reserve(session, bytes))
        keep_reserve(session, offset, bytes);
    else if (offset != 0)
        dmi_heap_free(session->heap, offset);
    if (offset != 0 && r->reserve_due > bytes)
        dmi_reserve_for(session, r->reserve_due);
    dmi_role_leave(&session->role);
}

void dmi_reserve_for(dmi_session *session, uint64_t bytes)
{
    dmi_residence *r = session->residence;
    uint64_t larger;
    if (!may_reserve(session, bytes))
        return;
    r->reserve_due = bytes > r->reserve_due ? bytes : r->reserve_due;
    if (r->reserving != 0)
        return;
    dmi_found_room found = dmi_room_find(session, bytes, 0, true, &larger); /* NONE: the one there is stays */
    if (found == DMI_ROOM_HAD)
        keep_reserve(session, larger, bytes);
    if (found != DMI_ROOM_CLAIMED)
        return;
    r->reserving = bytes;
    r->have_reserve.run = run_reserve;
    if (dmi_mover_post(r->mover, &r->have_reserve, DMI_READ) == DM_OK)
        return;
    r->reserving = 0;
    session->allocating--;
}

bool dmi_residence_give_up_reserve(dmi_session *session)
{
    const dmi_residence *r = session->residence;
    if (r->reserve == 0 || r->trouble != DM_OK)
        return false;
    session->tight = true; /* none is taken meanwhile */
    dmi_reserve_end(session);
    return true;
}
