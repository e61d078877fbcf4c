/*
 * shown.c - a table of objects in memory, and a row of those who read them without the role.
 *
 * Readers claim, and then look; who hides hides, fences, and then looks: of each pair of accesses at least one is
 * sequentially consistent on either side.
 */
#include "runtime/shown.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#include "objectstore/word.h"
#include "runtime/residence.h"
#include "runtime/task.h"

#define FLAG DMI_SHOWN_FLAG
#define ADOPTED ((uint64_t)1) /* no id: it would have no tag */

enum { PLACE_SHIFT = 26, PLACE_MASK = DMI_SHOWN_ROW - 1 }; /* in a pin: the word of the row */
static_assert(DMI_MAX_RECORDS <= (size_t)1 << PLACE_SHIFT && PLACE_SHIFT + 6 == 32 && DMI_SHOWN_ROW == 1 << 6,
              "a place is above an index, in the same half of a pin");

static size_t table_bytes(void)
{
    return DMI_MAX_RECORDS * sizeof(_Atomic uint64_t);
}

bool dmi_shown_init(dmi_shown *shown)
{
    void *at = mmap(NULL, table_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shown->table = at == MAP_FAILED ? NULL : at;
    return shown->table != NULL;
}

static bool is_being_read(dmi_shown *shown)
{
    for (int i = 0; i < DMI_SHOWN_ROW; i++) {
        uint64_t word = atomic_load(&shown->row[i]);
        if (word != 0 && !(word & FLAG))
            return true;
    }
    return false;
}

void dmi_shown_close(dmi_shown *shown)
{
    enum { LOOK_US = 100 };
    atomic_store(&shown->closed, true); /* private atomic */
    while (is_being_read(shown))
        usleep(LOOK_US);
}

void dmi_shown_fini(dmi_shown *shown)
{
    if (shown->table != NULL)
        munmap(shown->table, table_bytes());
    shown->table = NULL;
}

/* ---- readers ---- */

static bool change(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(word, &from, to); /* private atomic */
}

/* Where this thread begins to look: each in a cache line of its own, if there are enough. */
static unsigned first_word(dmi_shown *shown)
{
    static _Thread_local unsigned mine;
    if (mine == 0)
        mine = 1 + atomic_fetch_add(&shown->threads, 1) * DMI_SHOWN_LINE % DMI_SHOWN_ROW; /* private atomic */
    return mine - 1;
}

static void raise_high(dmi_shown *shown, unsigned to)
{
    unsigned high = atomic_load(&shown->high);
    while (high < to && !atomic_compare_exchange_weak(&shown->high, &high, to)) /* private atomic */
        continue;
}

static int claim(dmi_shown *shown, uint64_t id)
{
    unsigned first = first_word(shown);
    for (unsigned i = 0; i < DMI_SHOWN_ROW; i++) {
        unsigned at = (first + i) % DMI_SHOWN_ROW;
        if (atomic_load_explicit(&shown->row[at], memory_order_relaxed) != 0 || !change(&shown->row[at], 0, id))
            continue;
        raise_high(shown, at + 1);
        return (int)at;
    }
    return DMI_SHOWN_NOT;
}

/* False: adopted, and free now. */
static bool end_reading(dmi_shown *shown, int at, uint64_t id, uint64_t as)
{
    if (change(&shown->row[at], id, as))
        return true;
    atomic_store(&shown->row[at], 0); /* private atomic */
    return false;
}

/* It is used. A note that is lost is no more than that. */
static void note_use(dmi_shown *shown, _Atomic uint64_t *entry, uint64_t id)
{
    if (!change(entry, id, id | FLAG) || atomic_load(&shown->noted) >= DMI_SHOWN_NOTES)
        return;
    unsigned at = atomic_fetch_add(&shown->noted, 1); /* private atomic */
    if (at < DMI_SHOWN_NOTES)
        atomic_store(&shown->notes[at], id); /* private atomic */
}

/* The ref is in the row: is it shown? */
static bool is_shown(dmi_shown *shown, uint64_t id)
{
    if (atomic_load(&shown->closed))
        return false;
    _Atomic uint64_t *entry = &shown->table[(uint32_t)id];
    uint64_t word = atomic_load(entry);
    if ((word & ~FLAG) != id)
        return false;
    if (word == id)
        note_use(shown, entry, id);
    return true;
}

int dmi_shown_read(dmi_shown *shown, uint64_t id)
{
    bool is_ref = (uint32_t)id < DMI_MAX_RECORDS && !(id & FLAG) && id >> 32 != 0;
    if (!is_ref || atomic_load_explicit(&shown->count, memory_order_relaxed) == 0)
        return DMI_SHOWN_NOT;
    int at = claim(shown, id);
    if (at < 0 || is_shown(shown, id))
        return at;
    return end_reading(shown, at, id, 0) ? DMI_SHOWN_NOT : DMI_SHOWN_OWED;
}

uint64_t dmi_shown_lend(dmi_shown *shown, int at, uint64_t id)
{
    return end_reading(shown, at, id, id | FLAG) ? id | FLAG | (uint64_t)at << PLACE_SHIFT : id;
}

bool dmi_shown_leave(dmi_shown *shown, int at, uint64_t id)
{
    return end_reading(shown, at, id, 0);
}

bool dmi_shown_release(dmi_shown *shown, uint64_t *pin)
{
    if (!(*pin & FLAG))
        return false;
    unsigned at = (unsigned)(*pin >> PLACE_SHIFT) & PLACE_MASK;
    *pin &= ~(FLAG | (uint64_t)PLACE_MASK << PLACE_SHIFT);
    return change(&shown->row[at], *pin | FLAG, 0);
}

/* ---- under the role ---- */

static bool should_be_shown(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    return task->state == DMI_TASK_DONE && task->bytes != 0 && task->holds != 0 && !(task->flags & DMI_TASK_UNSEALED) &&
           dmi_where_place(dmi_word_peek(&dmi_record_at(session, index)->where)) != DMI_DISK;
}

/* One more is shown, or -1. */
static void count(dmi_shown *shown, int more)
{
    unsigned now = atomic_load_explicit(&shown->count, memory_order_relaxed) + (unsigned)more;
    atomic_store_explicit(&shown->count, now, memory_order_relaxed); /* private atomic: by the role's holder alone */
}

void dmi_shown_hide(dmi_session *session, uint32_t index)
{
    _Atomic uint64_t *entry = &session->shown.table[index];
    if (atomic_load_explicit(entry, memory_order_relaxed) == 0)
        return;
    atomic_store_explicit(entry, 0, memory_order_release); /* private atomic */
    count(&session->shown, -1);
}

void dmi_shown_update(dmi_session *session, uint32_t index)
{
    _Atomic uint64_t *entry = &session->shown.table[index];
    if (!should_be_shown(session, index))
        dmi_shown_hide(session, index);
    if (!should_be_shown(session, index) || atomic_load_explicit(entry, memory_order_relaxed) != 0)
        return;
    atomic_store_explicit(entry, dmi_task_ref(session, index).id, memory_order_release); /* private atomic */
    count(&session->shown, 1);
}

bool dmi_shown_was_used(dmi_session *session, uint32_t index)
{
    uint64_t id = dmi_task_ref(session, index).id;
    return change(&session->shown.table[index], id | FLAG, id);
}

static void heed(dmi_session *session)
{
    dmi_shown *shown = &session->shown;
    unsigned noted = atomic_exchange(&shown->noted, 0); /* private atomic */
    for (unsigned i = 0; i < noted && i < DMI_SHOWN_NOTES; i++) {
        uint64_t id = atomic_exchange(&shown->notes[i], 0); /* private atomic */
        if (id != 0 && change(&shown->table[(uint32_t)id], id | FLAG, id))
            dmi_residence_touch(session, (uint32_t)id);
    }
}

void dmi_shown_heed(dmi_session *session)
{
    if (atomic_load_explicit(&session->shown.noted, memory_order_relaxed) != 0)
        heed(session);
}

uint32_t dmi_shown_views(const dmi_session *session, uint32_t index)
{
    uint64_t id = dmi_task_ref(session, index).id;
    uint32_t views = 0;
    for (unsigned i = 0, high = atomic_load(&session->shown.high); i < high; i++)
        views += (atomic_load(&session->shown.row[i]) & ~FLAG) == id;
    return views;
}

bool dmi_shown_is_read(dmi_session *session, uint32_t index)
{
    return dmi_shown_views(session, index) != 0;
}

/* The task that a word of the row names, if it is still the same; NULL: none. */
static dmi_task *task_read(dmi_session *session, unsigned at, uint64_t *word)
{
    *word = atomic_load(&session->shown.row[at]);
    uint32_t index = (uint32_t)*word;
    if (*word <= ADOPTED || index >= session->task_high || (*word & ~FLAG) != dmi_task_ref(session, index).id ||
        dmi_task_at(session, index)->state != DMI_TASK_DONE)
        return NULL;
    return dmi_task_at(session, index);
}

void dmi_shown_mark(dmi_session *session)
{
    uint64_t word;
    for (unsigned i = 0, high = atomic_load(&session->shown.high); i < high; i++) {
        dmi_task *task = task_read(session, i, &word);
        if (task != NULL)
            task->read_at = session->look;
    }
}

/* A view of the row becomes one of the task's. */
static void adopt(dmi_session *session, dmi_task *task)
{
    session->counts.pinned_bytes += task->views++ == 0 ? task->bytes : 0;
    task->pins++;
}

bool dmi_shown_adopt(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint64_t id = dmi_task_ref(session, index).id;
    bool any = false;
    dmi_fence();
    for (unsigned i = 0, high = atomic_load(&session->shown.high); i < high; i++) {
        _Atomic uint64_t *word = &session->shown.row[i];
        uint64_t now = atomic_load(word);
        while ((now & ~FLAG) == id) {
            if (!atomic_compare_exchange_strong(word, &now, now & FLAG ? 0 : ADOPTED)) /* private atomic */
                continue;
            adopt(session, task);
            any = true;
            break;
        }
    }
    return any;
}

/* Was it lent by an earlier word, too? */
static bool is_repeated(dmi_session *session, unsigned at, const dmi_task *task)
{
    uint64_t word;
    for (unsigned i = 0; i < at; i++)
        if (task_read(session, i, &word) == task && (word & FLAG))
            return true;
    return false;
}

uint64_t dmi_shown_lent_bytes(dmi_session *session)
{
    uint64_t bytes = 0, word;
    for (unsigned i = 0, high = atomic_load(&session->shown.high); i < high; i++) {
        const dmi_task *task = task_read(session, i, &word);
        if (task != NULL && (word & FLAG) && task->views == 0 && !is_repeated(session, i, task))
            bytes += task->bytes;
    }
    return bytes;
}

bool dmi_shown_is_right(dmi_session *session, uint32_t index)
{
    uint64_t word = atomic_load(&session->shown.table[index]) & ~FLAG;
    return word == (should_be_shown(session, index) ? dmi_task_ref(session, index).id : 0);
}
