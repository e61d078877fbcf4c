/*
 * residence.h - where the bytes of objects are: in memory, on disk, or on their way.
 *
 *                        read meanwhile, or the write failed
 *                     +--------------------<--------------------+
 *                     v                                         |
 *      new ------> MEMORY -------- chosen: dmi_residence_turn --> LEAVING
 *                     ^                                         |
 *                     | copy given up                           | written, and nobody reads it
 *                     |                                         v
 *                   BOTH <-- read and verified -- RETURNING <-- AWAY  <-- chosen again: nothing to write
 *                     |                        dmi_residence_fetch ^
 *                     +--------------------->----------------------+
 *
 *  MEMORY has no dmi_stay; the other four stages are kept in one (stay.h). What has been read back keeps its copy
 *  on disk, so that it can leave again for nothing, and is the first to leave: reading everything once
 *  does not push out what is used often.
 *
 * Laws:
 *  1. An object leaves only if it is a value (DONE, not UNSEALED), nobody has a view of it, nobody wants it
 *     (task.wanted), no placed task reads it, and no worker has it in its row (law 6 of layout.h).
 *  2. Its bytes are in memory or all on disk at every moment: memory is given back after the write has
 *     succeeded, and the disk's copy is dropped only when the object is dead, or in memory.
 *  3. As long as anything is away there is room for the largest of it, no more than a quarter of the store: a
 *     reserve, which nothing but a return may use. So what is on disk can be read when memory is full and
 *     nothing can be written. While things can be written and room is scarce (scarce.h) there is none. What is not
 *     warm for it is claimed at once, and had by a mover a moment later (reserve.c).
 *  4. While a stay is LEAVING or RETURNING it pins its task: nothing is freed under a mover's hands.
 *
 * All functions: under the role, unless they say otherwise. None waits for a disk.
 */
#ifndef DMI_RESIDENCE_H
#define DMI_RESIDENCE_H

#include "runtime/session.h"
#include "runtime/task.h"

/* Check the settings' directories. Without the role. DM_ERR_OPTION, DM_ERR_SPILL_UNSAFE, DM_ERR_NOMEM. */
dm_status dmi_residence_create(dmi_session *session);

/* Nothing moves any more; without the role, before the workers are ended. NULL-safe. */
void dmi_residence_stop(dmi_session *session);
void dmi_residence_destroy(dmi_session *session);

/* An object has become a value that others may know of: from now on it may leave. */
void dmi_residence_enter(dmi_session *session, uint32_t index);

/* It is used: others leave before it. The first use of what has come back does not count, but if it comes so often that
 * it would have stayed. */
void dmi_residence_touch(dmi_session *session, uint32_t index);

/* It is dead: off the list, its blocks on disk free. */
void dmi_residence_forget(dmi_session *session, uint32_t index);

/* Nobody holds it, and only its stay pins it: a write of it need not go on. */
void dmi_residence_abandon(dmi_session *session, uint32_t index);

/* Is it not in memory (RETURNING included)? */
bool dmi_is_away(dmi_session *session, uint32_t index);

/* Bring it into memory, if it is away; who calls has made it `wanted`. `now`: somebody waits for it who runs, or the
 * program, not a task that is not placed. Those that wait for it are woken then, as if it were done. If there is no
 * room in time it is refused: dmi_residence_refusals counts; but not for a task that can wait until others are done. */
void dmi_residence_fetch(dmi_session *session, uint32_t index, bool now);
uint32_t dmi_residence_refusals(dmi_session *session, uint32_t index);

/* The last refusal, as a status with its sentence. */
dm_status dmi_residence_refusal(dmi_session *session, uint32_t index);

/* Bytes that somebody who runs, or the program, waits for to be brought since before `since_ms`; 0: nobody. */
uint64_t dmi_residence_awaited(const dmi_session *session, int64_t since_ms);

/* Since when is there no room to bring something; INT64_MAX: nothing waits. `now`: as above. */
int64_t dmi_residence_waits_since(const dmi_session *session, bool now);

/* What is brought for tasks that are not placed is not brought. */
void dmi_residence_bring_no_more(dmi_session *session);

/* The reserve is room like any other, unless the disk takes nothing. True if there was one. */
bool dmi_residence_give_up_reserve(dmi_session *session);

/* Is anything on its way out of memory or back? */
bool dmi_residence_is_busy(const dmi_session *session);

/* Somebody waits for so many bytes. */
void dmi_residence_make_room(dmi_session *session, uint64_t bytes);

/* Is anything leaving, so that waiting for room makes sense? When did an object leave last, and when was there any
 * progress toward that? */
bool dmi_residence_moves(const dmi_session *session);
int64_t dmi_residence_left_ms(const dmi_session *session);
int64_t dmi_residence_progress_ms(const dmi_session *session);

/* What is due: begin to spill, bring what had no room, tidy the disk. True if anything changed. */
bool dmi_residence_turn(dmi_session *session);

/* Must dmi_residence_turn be called every few milliseconds? */
bool dmi_residence_wants_ticks(const dmi_session *session);

/* Why nothing can be spilled at the moment: DM_OK if it can. With its sentence. */
dm_status dmi_residence_trouble(const dmi_session *session, const char **text);

/* Once: a line to be logged, or NULL. */
const char *dmi_residence_announcement(dmi_session *session);

/* DMI_SPILL_SESSION: an outermost scope has ended. */
void dmi_residence_scope_end(dmi_session *session);

/* In which of the five stages an object is, for who wants to see it; and its share of blocks on disk. */
typedef enum dmi_presence {
    DMI_IN_MEMORY,
    DMI_IS_LEAVING,
    DMI_ON_DISK,
    DMI_IS_RETURNING,
    DMI_IN_BOTH
} dmi_presence;

dmi_presence dmi_residence_presence(dmi_session *session, uint32_t index, uint64_t *disk_bytes);

void dmi_residence_stats(dmi_session *session, dm_stats *stats);

#endif
