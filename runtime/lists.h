/*
 * lists.h - values that are lists of refs: which values they name.
 *
 * Such a value is an object of refwords, as its maker wrote them. They mean something only until its maker
 * drops what they name, and not at all while the object is on disk. So they are read once, when the object
 * becomes known to the driver; from then on this table tells, and pins what is named. All functions: under
 * the role.
 */
#ifndef DMI_LISTS_H
#define DMI_LISTS_H

#include "runtime/session.h"
#include "runtime/value.h"

/* In task.contains: the rest is a list's number. */
#define DMI_LIST 0x80000000u
/* Or there was no memory for one when its maker's list was found: what it named is gone. */
#define DMI_LIST_LOST 0xffffffffu

/* A list of n that names nothing yet, for task.contains. 0: no memory. */
uint32_t dmi_list_begin(dmi_session *session, size_t n);

/* Its i-th names this, which is pinned; and: what does it name? */
void dmi_list_set(dmi_session *session, uint32_t list, size_t i, uint32_t inner);
bool dmi_list_at(const dmi_session *session, uint32_t list, size_t i, uint32_t *inner);
size_t dmi_list_count(const dmi_session *session, uint32_t list);

/* The list as an object, in `room` bytes. False: it needs more, or there is no memory for it. */
bool dmi_list_write(dmi_session *session, uint32_t list, void *to, size_t room);

/* A worker's object, just found, is the value of a task: if it is a list, what it names is noted. */
void dmi_list_adopt(dmi_session *session, uint32_t index, const dmi_found *found);

/* What a value contains, a ref or a list, is pinned by it no more. */
void dmi_contained_end(dmi_session *session, uint32_t contains);

void dmi_lists_destroy(dmi_session *session);

#endif
