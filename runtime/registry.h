/*
 * registry.h - the remote functions of this program, by name and by number.
 *
 * Numbers are positions in the order of names, so that every process of one program agrees on them.
 */
#ifndef DMI_REGISTRY_H
#define DMI_REGISTRY_H

#include "dm/dm.h"

/* Sort, number, check. DM_ERR_DUPLICATE names both places. Once per process is enough; again is
 * fine. */
dm_status dmi_registry_close(void);

/* A function by number; NULL if there is none. */
const dm_function *dmi_registry_at(uint32_t id);

/* Is this object one that registered itself? */
int dmi_registry_knows(const dm_function *function);

/* DM_ERR_NO_FUNCTION: why it is none, and what to do. `definition`: DM_REMOTE or its like. */
dm_status dmi_registry_unknown(const dm_function *function, const char *call, const char *definition);

/* A hash of all names in order. */
uint64_t dmi_registry_hash(void);

#endif
