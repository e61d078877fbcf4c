/*
 * lineage.h - how a value can be made again: by running the task that made it, if its arguments are known.
 *
 * Only results that are objects need it, since nothing else ever leaves memory. Arguments in the record cost
 * nothing; longer ones are kept up to settings.lineage_bytes. What arguments name does not stay alive for
 * this: if it is gone when it is needed, so is the value. All functions: under the role.
 */
#ifndef DMI_LINEAGE_H
#define DMI_LINEAGE_H

#include "runtime/session.h"

/* A task is done: keep its arguments. False: they are not worth it, or too many. */
bool dmi_lineage_keep(dmi_session *session, uint32_t index);

/* Its value is dead. */
void dmi_lineage_drop(dmi_session *session, uint32_t index);

/* Long arguments of a task go. */
void dmi_lineage_free_blob(dmi_session *session, uint32_t index);

/* Its object cannot be had any more: run the task again that made it. False if that is not known (it was
 * put), what it read is gone, or it has no attempt left. */
bool dmi_lineage_run_again(dmi_session *session, uint32_t index);

#endif
