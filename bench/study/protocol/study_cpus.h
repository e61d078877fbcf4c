/*
 * study_cpus.h - which CPUs this thread may use, and so all threads and processes that it starts from then on.
 */
#ifndef BENCH_STUDY_CPUS_H
#define BENCH_STUDY_CPUS_H

#include "dm/dm.h"

/* How many; at least 1. */
int study_cpus_allowed(void);

/* Only the first `count` of those that were allowed at the first call. DM_ERR_INVALID if there are fewer. */
dm_status study_cpus_use(int count) DM_NODISCARD;

/* All that were. */
void study_cpus_restore(void);

#endif
