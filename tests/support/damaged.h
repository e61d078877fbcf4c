/*
 * damaged.h - objects of 1 MiB that are pushed out of a small store, and damaged while they are on the disk.
 */
#ifndef TEST_SUPPORT_DAMAGED_H
#define TEST_SUPPORT_DAMAGED_H

#include "runtime/role.h"
#include "runtime/session.h"
#include "tests/support/disk.h"
#include "tests/support/marked.h"

enum { DAMAGED_STORE = 16 * MARKED_MIB, DAMAGED_OBJECT = MARKED_MIB, DAMAGED_FILL = 24, DAMAGED_GONE = 1000 };

static inline void damaged_begin(dm_engine engine, int workers)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = workers,
                                     .store_bytes = DAMAGED_STORE,
                                     .log = driver_no_log});
}

/* All that was submitted is done, and the driver has heard of it: a value that only a task has read would else be known
 * later than what is put now, and leave after it. */
static inline bool damaged_all_is_heard(void)
{
    dmi_role_take(&dmi_the_session->role);
    dmi_turn(dmi_the_session);
    bool all = dmi_the_session->unfinished == 0;
    dmi_role_leave(&dmi_the_session->role);
    return all;
}

/* So much is put that what was there before is on the disk, and no more in memory. */
static inline void damaged_push_out(dm_ref fill[DAMAGED_FILL])
{
    assert_soon(damaged_all_is_heard());
    for (int i = 0; i < DAMAGED_FILL; i++)
        fill[i] = marked_put(DAMAGED_OBJECT, DAMAGED_GONE + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    assert_true(marked_stats().spilled_bytes > 8 * MARKED_MIB);
}

/* What pushed it out is as it was. */
static inline void damaged_end(dm_ref fill[DAMAGED_FILL], const residue *before)
{
    for (int i = 0; i < DAMAGED_FILL; i++)
        assert_marked(fill[i], DAMAGED_OBJECT, DAMAGED_GONE + (uint64_t)i);
    marked_release(fill, DAMAGED_FILL);
    marked_end(before);
}

/* One bit of it. */
static inline void damaged_flip(uint64_t whose)
{
    assert_int_equal(disk_flip(marked_word(whose, DAMAGED_OBJECT / 16)), 1);
}

#endif
