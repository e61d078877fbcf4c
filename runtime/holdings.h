/*
 * holdings.h - the refs of a worker's tasks: the table, and the cells by which the driver knows them.
 *
 * On the worker's task thread. The table may move whenever a holding is made: keep refs, not pointers.
 */
#ifndef DMI_HOLDINGS_H
#define DMI_HOLDINGS_H

#include "runtime/lane.h"
#include "runtime/worker.h"

/* A holding for the running task, held once, and its ref. NULL: DM_ERR_NOMEM is set. */
dmi_holding *dmi_holding_new(dmi_worker *worker, dmi_hold kind, dm_ref *ref);

/* The one that a ref names: DM_ERR_BADREF, DM_ERR_STALE. And of a ref that is known to be good. */
dm_status dmi_holding_of(dmi_worker *worker, dm_ref ref, dmi_holding **holding);
dmi_holding *dmi_holding_at(dmi_worker *worker, dm_ref ref);

/* A ref whose dm_get says what dm_last_error says now. */
dm_ref dmi_holding_failed(dmi_worker *worker, dm_status status);

/* Post a message that gives a new cell its meaning, and turn the holding into that cell; one of a word. */
dm_status dmi_holding_post(dmi_worker *worker, dmi_holding *holding, dmi_message *message);
dm_status dmi_holding_post_word(dmi_worker *worker, dmi_holding *holding, dmi_message_kind kind, uint64_t word);

/* The record it stands for; NULL as long as the driver has not said which. */
const dmi_record *dmi_holding_record(const dmi_worker *worker, const dmi_holding *holding);

/* It is gone; if nobody holds it any more; and it is not the running task's any more. */
void dmi_holding_let_go(dmi_worker *worker, dmi_holding *holding);
void dmi_holding_let_go_if_unused(dmi_worker *worker, dmi_holding *holding);
void dmi_holding_disown(dmi_holding *holding);

/* n refs with a cell each (seq << 32 | cell), which nobody knows of yet; back; or named, when a message has been
 * posted that gives them their meaning. */
dm_status dmi_cells_take(dmi_worker *worker, dm_ref *refs, uint64_t *cells, size_t n);
void dmi_cells_give_back(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n);
void dmi_cells_name(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n);

/* Write `front` bytes of cells, then `args`, into a blob beside a message. */
dm_status dmi_cells_write(dmi_worker *worker, dmi_message *message, const uint64_t *cells, size_t front,
                          const uint8_t *args, size_t bytes);

#endif
