/*
 * parts.h - the several values of one task.
 *
 * A task that is asked for n values has n *parts*: values with a record and a ref of their own, that wait for
 * it. The task itself is named by nobody but its parts, which pin it as their only argument. Its worker
 * publishes all of them by one word, as any result (law 2 of layout.h): the task's slot, whose payload names
 * a table of what each part is. When the task is accounted for, each part becomes a value by itself, here;
 * when it fails, all of them fail with it.
 *
 * Once all are settled the task is a recipe (lineage.h) as long as one of them is an object. If the disk loses that
 * it runs once more, for those that are lost or dead and needed; the others stay what they are. All functions: under
 * the role.
 */
#ifndef DMI_PARTS_H
#define DMI_PARTS_H

#include "runtime/session.h"

/* DM_ERR_INVALID if a task cannot have n values. */
dm_status dmi_parts_check(size_t n);

/* A task's n parts, each held once; before it enters. False: the table is full, and it has none. */
bool dmi_parts_begin(dmi_session *session, uint32_t task, uint32_t n, uint32_t *parts);

/* A part is lost: it waits once more for its task, which is about to run again. */
void dmi_parts_rejoin(dmi_session *session, uint32_t part);

/* The task is done, or has failed: all of its parts that wait for it are, too. */
void dmi_parts_settle(dmi_session *session, uint32_t task);

/* The task that a part waits for; UINT32_MAX if this is none that waits. */
uint32_t dmi_part_maker(dmi_session *session, uint32_t part);

/* Does anybody but their maker's maker, by one cell each, want any of a task's parts? */
bool dmi_parts_are_wanted(dmi_session *session, uint32_t task);

/* The parts end if all of them are orphans (runtime/orphans.h), and the task is one then. True: it is so. */
bool dmi_parts_forsake(dmi_session *session, uint32_t task);

#endif
