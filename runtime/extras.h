/*
 * extras.h - what only few tasks have: a name, a priority, statuses to be tried again after, that they were
 * cancelled, and that other values were made from theirs. Beside the table of tasks, so that the others carry nothing of it.
 *
 * A task that has one says so (task.has_extra) and keeps it until its record is free. All functions: under
 * the role.
 */
#ifndef DMI_EXTRAS_H
#define DMI_EXTRAS_H

#include "runtime/task.h"

typedef struct dmi_extra {
    struct dmi_extra *next; /* in its bucket */
    uint32_t index;
    int32_t priority;
    uint64_t retry_on; /* bits 1 << dm_status */
    uint64_t cost_ns;  /* 0: not known */
    uint32_t heirs;    /* lineage.h */
    uint16_t cpus;     /* 0 and 1 are the same */
    bool cancelled;    /* must not begin any more */
    bool asked;        /* had begun when it was cancelled */
    char *name;        /* NULL: the function's */
} dmi_extra;

/* What a submission says beyond dmi_task_submit, checked. */
typedef struct dmi_wishes {
    uint64_t retry_on, cost_ns;
    int32_t priority;
    uint16_t cpus;
    const char *name; /* behind its arguments, too (DMI_NAMED); NULL: none */
} dmi_wishes;

/* DM_ERR_OPTION, naming the field, what it holds and what it may hold. NULL is fine. */
dm_status dmi_task_options_check(const dm_task_options *options);

/* Options that were checked, as wishes. True if they are for anything. */
bool dmi_wishes_of(const dm_task_options *options, dmi_wishes *wishes);

/* The flags of its record that they mean. */
uint16_t dmi_wishes_flags(const dmi_wishes *wishes);

/* The name behind `count` arguments; NULL if there is none. */
const char *dmi_name_behind(const uint8_t *args, size_t bytes, uint32_t count);

/* A new task's wishes, before it enters. False: there is no memory. */
bool dmi_extra_note(dmi_session *session, uint32_t index, const dmi_wishes *wishes);

/* A task's extra, NULL if it has none; the same, made if there is none, NULL if there is no memory. */
dmi_extra *dmi_extra_of(const dmi_session *session, uint32_t index);
dmi_extra *dmi_extra_make(dmi_session *session, uint32_t index);

/* Its record is free now; all of the session's. */
void dmi_extra_drop(dmi_session *session, uint32_t index);
void dmi_extras_destroy(dmi_session *session);

static inline int32_t dmi_priority(const dmi_session *session, uint32_t index)
{
    return session->tasks[index].has_extra ? dmi_extra_of(session, index)->priority : 0;
}

static inline bool dmi_is_cancelled(const dmi_session *session, uint32_t index)
{
    return session->tasks[index].has_extra && dmi_extra_of(session, index)->cancelled;
}

#endif
