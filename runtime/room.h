/*
 * room.h - who may commit how much memory: grants that together never exceed the store's limit.
 *
 * A worker's heap grows up to its lane's grant without asking. Beyond, it asks (DMI_MSG_NEED) and waits;
 * the answer comes when there is room, after others gave free memory back and objects left for the disk
 * (runtime/residence.h) if need be, or is a refusal once nothing has left for settings.store_wait_ms. All
 * functions: under the role.
 */
#ifndef DMI_ROOM_H
#define DMI_ROOM_H

#include "runtime/clock.h"
#include "runtime/session.h"

/* What a new worker may commit without asking. */
void dmi_room_first_grant(dmi_session *session, dmi_lane *lane);

/* A worker asked for `bytes` more. */
void dmi_room_need(dmi_session *session, dmi_lane *lane, uint64_t bytes);

/* A worker gave back what it could. */
void dmi_room_trimmed(dmi_session *session, dmi_lane *lane);

/* Answer those that can be answered, refuse those that waited too long. True if any was. */
bool dmi_answer_needs(dmi_session *session);

/* What a worker waits for: granted, or refused with a status or DMI_GIVE_WAY, and why. */
void dmi_room_answer(dmi_session *session, dmi_lane *lane, uint8_t status, const char *said);

/*
 * Room for an object of the driver's, as an offset in D. To search a heap and to have memory behind its pages takes
 * up to a millisecond for each MiB: not while others wait for the role. So what is warm is found at once (HAD); else
 * it may be CLAIMED, and whoever has claimed it allocates it from session->heap without the role, which may fail all the
 * same, and takes back session->allocating-- afterwards; else there is NONE now. Who has waited longer, since when
 * `since_ms` says, comes first. Others give up what they can do without, unless `modest`.
 */
typedef enum dmi_found_room { DMI_ROOM_NONE, DMI_ROOM_HAD, DMI_ROOM_CLAIMED } dmi_found_room;
dmi_found_room dmi_room_find(dmi_session *session, size_t bytes, int64_t since_ms, bool modest, uint64_t *offset);

/* The same, waiting for it without the role: anything may have happened afterwards. 0: none now. */
uint64_t dmi_room_aside(dmi_session *session, size_t bytes, int64_t since_ms);

/* For what is small, where the role cannot be left. */
uint64_t dmi_room_for_driver(dmi_session *session, size_t bytes);

/* Does it make sense to wait on, for who waits since then? */
bool dmi_room_may_come(const dmi_session *session, int64_t since_ms);

/* For a full store: why nothing can be spilled, or who keeps what is in it. A status; in words, or as an error. */
dm_status dmi_room_say(dmi_session *session, char *said, size_t room);
dm_status dmi_store_full(dmi_session *session, size_t bytes);

#endif
