/*
 * observation.h - what a running program says of itself when it is asked (runtime/observe.h).
 */
#ifndef DM_OBSERVATION_H
#define DM_OBSERVATION_H

#include "runtime/dm/figures.h"
#include "runtime/dm/programs.h"
#include "runtime/observe.h"

typedef struct observation {
    dmi_totals_line totals;
    dmi_worker_line *workers;
    dmi_object_line *objects; /* the largest first */
    size_t worker_count, object_count;
    uint64_t objects_seen;
    struct packet *packets; /* in which all strings lie */
} observation;

/* Ask it. Yours: observation_finish, also after a failure. DM_ERR_NOT_RUNNING: it has ended, maybe while it
 * was asked; DM_ERR_SYSTEM: it is another user's; DM_ERR_TIMEOUT, DM_ERR_VERSION, DM_ERR_FORMAT. */
dm_status observation_init(observation *o, const program *of, const dmi_request *request) DM_NODISCARD;
void observation_finish(observation *o);

/* Ratios of the totals; not a number where nothing was done yet. */
double observation_compression(const dmi_totals_line *t);
double observation_spill_gb_s(const dmi_totals_line *t);
double observation_restore_gb_s(const dmi_totals_line *t);

/* Everything, for --json. */
void observation_to_figures(const observation *o, bool with_objects, figures *f);

#endif
