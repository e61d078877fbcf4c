/*
 * study_cpus.c - see study_cpus.h.
 */
#define _GNU_SOURCE
#include "bench/study/protocol/study_cpus.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Room for more CPUs than cpu_set_t has. */
enum { SETS = 16, MOST = SETS * CPU_SETSIZE };

static cpu_set_t allowed[SETS];
static int n_allowed;

static void look(void)
{
    if (n_allowed > 0)
        return;
    if (sched_getaffinity(0, sizeof allowed, allowed) == 0)
        n_allowed = CPU_COUNT_S(sizeof allowed, allowed);
    n_allowed = n_allowed > 0 ? n_allowed : 1;
}

int study_cpus_allowed(void)
{
    look();
    return n_allowed;
}

dm_status study_cpus_use(int count)
{
    cpu_set_t some[SETS];
    look();
    if (count < 1 || count > n_allowed)
        return dmi_error(DM_ERR_INVALID, "%d CPUs were asked for; this process may use %d", count, n_allowed);
    CPU_ZERO_S(sizeof some, some);
    for (int cpu = 0; cpu < MOST && count > 0; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, sizeof allowed, allowed))
            continue;
        CPU_SET_S((size_t)cpu, sizeof some, some);
        count--;
    }
    return sched_setaffinity(0, sizeof some, some) == 0
               ? DM_OK
               : dmi_error(DM_ERR_SYSTEM, "the CPUs of this process cannot be chosen: %s", strerror(errno));
}

void study_cpus_restore(void)
{
    look();
    (void)sched_setaffinity(0, sizeof allowed, allowed);
}
