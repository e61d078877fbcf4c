/*
 * row.c - the words of the row: each is one holding's, found free by a look through them from where the
 * last one was. When all are taken, a count says that more is read than there are words for.
 */
#include "runtime/row.h"

enum { NO_WORD = DMI_ROW + 1 };

/* A free word; NO_WORD if there is none. */
static uint32_t free_word(dmi_worker *worker)
{
    for (uint32_t i = 0; i < DMI_ROW; i++) {
        uint32_t at = (worker->row_next + i) % DMI_ROW;
        if (dmi_word_peek(&worker->up->row[at]) != 0)
            continue;
        worker->row_next = (at + 1) % DMI_ROW;
        return at;
    }
    return NO_WORD;
}

void dmi_row_enter(dmi_worker *worker, dmi_holding *holding, uint64_t refword)
{
    if (holding->row != 0)
        return;
    uint32_t at = worker->row_used < DMI_ROW ? free_word(worker) : NO_WORD;
    holding->row = (uint16_t)(at == NO_WORD ? NO_WORD : at + 1);
    if (at == NO_WORD) {
        dmi_word_publish(&worker->up->row_full, dmi_word_peek(&worker->up->row_full) + 1);
    } else {
        worker->row_used++;
        dmi_word_publish(&worker->up->row[at], refword);
        if (at >= dmi_word_peek(&worker->up->row_high))
            dmi_word_publish(&worker->up->row_high, at + 1);
    }
    dmi_fence();
}

void dmi_row_leave(dmi_worker *worker, dmi_holding *holding)
{
    if (holding->row == NO_WORD) {
        dmi_word_publish(&worker->up->row_full, dmi_word_peek(&worker->up->row_full) - 1);
    } else if (holding->row != 0) {
        worker->row_used--;
        dmi_word_publish(&worker->up->row[holding->row - 1], 0);
    }
    holding->row = 0;
}
