/*
 * row.h - a worker says what it reads: law 6 of runtime/layout.h, the worker's side.
 *
 * Task thread only.
 */
#ifndef DMI_ROW_H
#define DMI_ROW_H

#include "runtime/worker.h"

/* From here on the object that a cell names does not leave memory, if it is there when looked for
 * afterwards. Once per holding; more often does nothing. */
void dmi_row_enter(dmi_worker *worker, dmi_holding *holding, uint64_t refword);

/* It may leave again. Fine for a holding that is not in the row. */
void dmi_row_leave(dmi_worker *worker, dmi_holding *holding);

#endif
