/*
 * guard.h - in a worker process: noting, while dying, that a task wrote through a read-only view.
 */
#ifndef DMI_GUARD_H
#define DMI_GUARD_H

#include "runtime/worker.h"

/* Watch for SIGSEGV and SIGBUS on addresses of read-only mappings. What was set up for these signals
 * before (a sanitizer's handler, the default) still happens. */
void dmi_guard_install(dmi_worker *worker);

#endif
