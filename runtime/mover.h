/*
 * mover.h - threads of the driver that move bytes between memory and disk: what may wait for a disk.
 *
 * Threads of our own, and not libuv's pool, which is the user's program's as well. None is started
 * before there is something to move. A job runs without the role; what it found is told under it.
 */
#ifndef DMI_MOVER_H
#define DMI_MOVER_H

#include <stdint.h>

#include "dm/status.h"

typedef struct dmi_mover dmi_mover;

/* A piece of work: embedded in what it is about. */
typedef struct dmi_job {
    struct dmi_job *next;
    void (*run)(struct dmi_job *job); /* on a mover's thread; frees the job if it must be freed */
} dmi_job;

/* Which jobs go first: somebody waits for what is read; what is tidied can wait. */
typedef enum dmi_urgency { DMI_READ, DMI_WRITE, DMI_TIDY, DMI_URGENCIES } dmi_urgency;

dm_status dmi_mover_create(dmi_mover **mover, unsigned threads);

/* Do this soon. DM_ERR_NOMEM if no thread could be started: then it was not taken. */
dm_status dmi_mover_post(dmi_mover *mover, dmi_job *job, dmi_urgency urgency);

/* No job begins any more; returns when those that run have ended. Those that wait are handed back as
 * a list. */
dmi_job *dmi_mover_stop(dmi_mover *mover);

/* After dmi_mover_stop. NULL is fine. */
void dmi_mover_destroy(dmi_mover *mover);

#endif
