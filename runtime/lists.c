/*
 * lists.c - the table of lists of refs.
 */
#include "runtime/lists.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/lane.h"
#include "runtime/put.h"
#include "runtime/task.h"

typedef struct dmi_list {
    uint32_t *inner; /* index + 1; 0: it names nothing */
    uint32_t n;
    uint32_t next; /* number + 1: the free ones */
} dmi_list;

static bool new_number(dmi_session *session, uint32_t *number)
{
    if (session->list_free != 0) {
        *number = session->list_free - 1;
        session->list_free = session->lists[*number].next;
        return true;
    }
    if (session->list_high == session->list_room) {
        uint32_t room = session->list_room ? 2 * session->list_room : 64;
        dmi_list *grown = realloc(session->lists, room * sizeof *grown);
        if (grown == NULL)
            return false;
        session->lists = grown;
        session->list_room = room;
    }
    *number = session->list_high++;
    return true;
}

uint32_t dmi_list_begin(dmi_session *session, size_t n)
{
    uint32_t number;
    uint32_t *inner = calloc(n + 1, sizeof *inner);
    if (n > UINT32_MAX || inner == NULL || !new_number(session, &number)) {
        free(inner);
        dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", n);
        return 0;
    }
    session->lists[number] = (dmi_list){.inner = inner, .n = (uint32_t)n};
    return DMI_LIST | number;
}

static dmi_list *list_of(const dmi_session *session, uint32_t list)
{
    return (list & DMI_LIST) && list != DMI_LIST_LOST ? &session->lists[list & ~DMI_LIST] : NULL;
}

void dmi_list_set(dmi_session *session, uint32_t list, size_t i, uint32_t inner)
{
    dmi_task_pin(session, inner);
    list_of(session, list)->inner[i] = inner + 1;
}

bool dmi_list_at(const dmi_session *session, uint32_t list, size_t i, uint32_t *inner)
{
    const dmi_list *of = list_of(session, list);
    if (of == NULL || i >= of->n || of->inner[i] == 0)
        return false;
    *inner = of->inner[i] - 1;
    return true;
}

size_t dmi_list_count(const dmi_session *session, uint32_t list)
{
    const dmi_list *of = list_of(session, list);
    return of ? of->n : 0;
}

bool dmi_list_write(dmi_session *session, uint32_t list, void *to, size_t room)
{
    const dmi_list *of = list_of(session, list);
    uint64_t *words = of ? calloc(of->n + 1ul, sizeof *words) : NULL;
    bool fits = words != NULL && sizeof(dmi_object) + of->n * sizeof *words <= room;
    for (uint32_t i = 0; fits && i < of->n; i++)
        words[i] = of->inner[i] ? dmi_task_refword(session, of->inner[i] - 1) : 0;
    if (fits)
        dmi_object_write_refs(to, words, of->n);
    free(words);
    return fits;
}

void dmi_list_adopt(dmi_session *session, uint32_t index, const dmi_found *found)
{
    if (found->item.kind != DM_REFS)
        return;
    size_t n = found->item.bytes / sizeof(uint64_t);
    uint32_t inner, list = dmi_list_begin(session, n);
    for (size_t i = 0; i < n && list != 0; i++) {
        uint64_t refword;
        memcpy(&refword, (const char *)found->item.data + i * sizeof refword, sizeof refword);
        if (dmi_refword_record(session, refword, &inner))
            dmi_list_set(session, list, i, inner);
    }
    dmi_task_at(session, index)->contains = list ? list : DMI_LIST_LOST;
}

void dmi_contained_end(dmi_session *session, uint32_t contains)
{
    dmi_list *list = list_of(session, contains);
    if (contains == 0 || contains == DMI_LIST_LOST)
        return;
    if (list == NULL) {
        dmi_task_unpin(session, contains - 1);
        return;
    }
    dmi_list ended = *list; /* to unpin may end another list, and this place may be another's then */
    *list = (dmi_list){.next = session->list_free};
    session->list_free = (contains & ~DMI_LIST) + 1;
    for (uint32_t i = 0; i < ended.n; i++)
        if (ended.inner[i] != 0)
            dmi_task_unpin(session, ended.inner[i] - 1);
    free(ended.inner);
}

void dmi_lists_destroy(dmi_session *session)
{
    for (uint32_t i = 0; i < session->list_high; i++)
        free(session->lists[i].inner);
    free(session->lists);
}
