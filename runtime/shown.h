/*
 * shown.h - what threads of the program read without the role: objects that are in memory.
 *
 * Whoever holds the role may be put aside by the system, be at a system call, or have much to do; a get of what is in
 * memory waits for none of that. The role's holder *shows* an object: its ref in a table. A thread that reads writes
 * the ref into a free word of a row, and then looks whether it is shown. Whoever hides an object (it leaves memory, or
 * is freed) fences, and then looks at the row. So whoever comes second sees the other, as with workers' rows
 * (docs/decisions/0011-a-reader-says-so-before-it-looks.md).
 *
 *                 in the row              not shown: the general way
 *      free --------------------> READ --------------------------------> free
 *       ^                        /  |  \
 *       |   no view is wanted   /   |   \ its last ref was dropped
 *       +----------------------+    |    \
 *       |                           v     v
 *       +------ view released ---- LENT  ADOPTED -> free; from then on it is a view like any other (task.views),
 *                                   |                which is released under the role
 *                                   +----> free, by the holder of the role: the same
 *
 * Laws:
 *  1. Shown is what is a value that is an object, sealed, held by somebody, and in memory: that alone, and always when
 *     the role is left.
 *  2. What is READ or LENT is not freed, and does not leave memory.
 *  3. Of a word that is not free its reader alone makes it free, but for a LENT one: that one whoever releases the view,
 *     whose pin names the word, or else the holder of the role. Any word of the same object would not do: two that look
 *     for one at a time can miss both (model `shown`).
 *
 * That something is used is noted, for whoever next puts anything into the list by use, or takes from it. There may be
 * more than there is room for notes: then the table still says so, and what was used is passed over once. When the row
 * is full, readers take the role.
 */
#ifndef DMI_SHOWN_H
#define DMI_SHOWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct dmi_session dmi_session;

/* A session's tag has seven bits: the eighth is free in an id. In the row it says LENT, in the table that it was used, in
 * the pin of a view that it is in the row; in which word the bits above an index say. */
#define DMI_SHOWN_FLAG ((uint64_t)1 << 39)

enum { DMI_SHOWN_ROW = 64, DMI_SHOWN_LINE = 8, DMI_SHOWN_NOTES = 64 };

typedef struct dmi_shown {
    _Atomic uint64_t row[DMI_SHOWN_ROW]; /* private atomic */
    _Atomic uint64_t notes[DMI_SHOWN_NOTES]; /* of what was read first since; private atomic */
    atomic_uint noted;                       /* private atomic */
    _Atomic uint64_t *table; /* by index: a ref's id, or 0; private atomic */
    atomic_uint count;       /* of what is shown: 0 saves readers the rest; private atomic */
    atomic_bool closed;      /* the table may be gone; private atomic */
    atomic_uint high;        /* words of the row that were ever used; private atomic */
    atomic_uint threads;     /* private atomic */
} dmi_shown;

/* Without the role. False: no address space. */
bool dmi_shown_init(dmi_shown *shown);

/* Nobody begins to read any more, and those that do are done when it returns. Views stay. Without the role. */
void dmi_shown_close(dmi_shown *shown);
void dmi_shown_fini(dmi_shown *shown);

/* ---- readers; without the role ---- */

/* A word of the row, with which dmi_shown_lend or dmi_shown_leave ends; negative: not shown, or no word is free.
 * DMI_SHOWN_OWED: not shown either, and there is a view to release under the role. */
enum { DMI_SHOWN_NOT = -1, DMI_SHOWN_OWED = -2 };
int dmi_shown_read(dmi_shown *shown, uint64_t id);

/* It is lent: the view's pin. */
uint64_t dmi_shown_lend(dmi_shown *shown, int at, uint64_t id);

/* It was read. False: there is a view to release under the role. */
bool dmi_shown_leave(dmi_shown *shown, int at, uint64_t id);

/* A view is released. False: it is not in the row, or no more, and is released by the id that is left in *pin. */
bool dmi_shown_release(dmi_shown *shown, uint64_t *pin);

/* ---- under the role ---- */

/* For the walker. */
static inline bool dmi_shown_has(const dmi_shown *shown, uint64_t id)
{
    return atomic_load_explicit(&shown->count, memory_order_relaxed) != 0 &&
           (atomic_load_explicit(&shown->table[(uint32_t)id], memory_order_relaxed) & ~DMI_SHOWN_FLAG) == id;
}

/* Its task has changed: law 1. */
void dmi_shown_update(dmi_session *session, uint32_t index);
void dmi_shown_hide(dmi_session *session, uint32_t index);

/* Is it read, or lent? Surely, if it was hidden before, and a fence is between. */
bool dmi_shown_is_read(dmi_session *session, uint32_t index);

/* The same, for all: dmi_readers_look. A hint. */
void dmi_shown_mark(dmi_session *session);

/* It is hidden, and to be freed, but for who reads it: these views are the task's own now. False: there are none. */
bool dmi_shown_adopt(dmi_session *session, uint32_t index);

/* What is noted is used now: dmi_residence_touch. */
void dmi_shown_heed(dmi_session *session);

/* Was it read so, since its use was heeded or this was last asked? */
bool dmi_shown_was_used(dmi_session *session, uint32_t index);

/* Views in the row; and bytes of which all views are there. */
uint32_t dmi_shown_views(const dmi_session *session, uint32_t index);
uint64_t dmi_shown_lent_bytes(dmi_session *session);

/* For the walker: law 1. */
bool dmi_shown_is_right(dmi_session *session, uint32_t index);

#endif
