/*
 * service.h - a thread of each worker that does what cannot wait for the running task: frees told
 * by the driver, and dying with the driver. Asleep otherwise.
 */
#ifndef DMI_SERVICE_H
#define DMI_SERVICE_H

#include "dm/status.h"

typedef struct dmi_service dmi_service;

/*
 * Start it: whenever `bell` (an eventfd) is rung, serve(context) is called on the thread. If
 * `socket` or the process at its other end goes away, the worker's whole process group is killed;
 * -1 in a worker that is a thread, where nothing is watched. Descriptors stay the caller's.
 * Yours: dmi_service_stop. DM_ERR_NOMEM, DM_ERR_SYSTEM.
 */
dm_status dmi_service_start(dmi_service **service, int socket, int bell,
                            void (*serve)(void *context), void *context);

/* End and join the thread. NULL is fine. */
void dmi_service_stop(dmi_service *service);

#endif
