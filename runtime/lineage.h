/*
 * lineage.h - how a value can be made again: by running the task that made it, if its arguments are known.
 *
 * Only what can leave memory is ever lost: results that are objects. Their arguments are *kept* while the result
 * lives. What kept arguments name need not live for that. When it dies its memory and its disk are free at once,
 * as ever, but its record stays, as a *recipe*: its own arguments, kept; or, if the value was small, the value.
 * So what is lost is made again from recipes, those from others, and so on (runtime/remake.h).
 *
 *      DONE, kept ---- dies, and is named by kept arguments ----> RECIPE ---- named by none any more ----> FREE
 *                                                                 |    ^
 *                                              something that was |    | again nobody's, but for
 *                                        made from it is made again    | kept arguments
 *                                                                 v    |
 *                                                           WAITING, or DONE
 *
 *  1. extra.heirs counts by how many kept arguments a value is named: as often as they name it.
 *  2. A recipe has at least one heir, and no hold; nobody can read it, or come to hold it.
 *  3. lineage_bytes is what kept arguments take beyond their records, and what recipes take. It is at most
 *     settings.lineage_bytes. What does not fit is forgotten, and then all that only it had been made from.
 *  4. What was put cannot be made again. Half of lineage_bytes may be used to remember that it was put.
 *
 * The parts of a task (parts.h) are made from it: their kept argument is their task. All functions: under the role.
 */
#ifndef DMI_LINEAGE_H
#define DMI_LINEAGE_H

#include "runtime/session.h"
#include "runtime/task.h"

/* What a recipe takes: its lines in the tables of values, records and extras. */
enum { DMI_RECIPE_BYTES = 256 };

/* A task is done: keep its arguments, before it lets go of what they name. False: they are not worth it, or
 * too many. */
bool dmi_lineage_keep(dmi_session *session, uint32_t index);

/* Its value is dead or lost: its arguments are kept no more. */
void dmi_lineage_drop(dmi_session *session, uint32_t index);

/* Its value is dead, but something that lives was made from it: all but the recipe is given back. False: nothing
 * was, or there is no room for it; its entry is to be freed. */
bool dmi_lineage_outlives(dmi_session *session, uint32_t index);

/* A recipe is about to be a task or a value again; and: of its kept arguments it makes new use. */
void dmi_lineage_revive(dmi_session *session, uint32_t index);
void dmi_lineage_resume(dmi_session *session, uint32_t index);

/* Long arguments of a task go. */
void dmi_lineage_free_blob(dmi_session *session, uint32_t index);

/* Calls visit for each ref among kept arguments, until it says false; and whether it never did. */
typedef bool dmi_lineage_visit(dmi_session *session, uint64_t refword, uint32_t argument, void *context);
bool dmi_lineage_each(dmi_session *session, uint32_t index, dmi_lineage_visit *visit, void *context);

/* Does a kept argument still name what it named? */
static inline bool dmi_lineage_is_known(const dmi_session *session, uint64_t refword)
{
    uint32_t index = dmi_refword_index(refword);
    return dmi_task_refword(session, index) == refword && session->tasks[index].state != DMI_TASK_FREE;
}

#endif
