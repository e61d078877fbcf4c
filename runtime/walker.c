/*
 * walker.c - the laws of walker.h, one function each.
 */
#include "runtime/walker.h"

#if defined(DM_DEBUG) && DM_DEBUG
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/edges.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/lineage.h"
#include "runtime/lists.h"
#include "runtime/stay.h"
#include "runtime/task.h"

enum { WALK_MOST = 1 << 17 /* values; more are not walked over at each death */ };

/* What the values say, added up. */
typedef struct walk {
    dmi_session *session;
    char *said;
    size_t room;
    bool broken;
    uint32_t *pins, *holds; /* by record: at least so many */
    uint32_t *heirs;        /* by record: exactly so many */
    uint32_t *live;         /* by segment */
    uint64_t moving;        /* stays on their way: nothing is exact while there are any */
} walk;

static void broken(walk *w, const char *format, ...) DM_PRINTF(2, 3);

/* The first one is kept. */
static void broken(walk *w, const char *format, ...)
{
    if (w->broken)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->said, w->room, format, arguments);
    va_end(arguments);
    w->broken = true;
}

static void must_be(walk *w, uint64_t found, uint64_t counted, const char *what)
{
    if (found != counted)
        broken(w, "%s: there are %llu, and %llu are counted", what, (unsigned long long)found,
               (unsigned long long)counted);
}

static dmi_task *task_of(const walk *w, uint32_t index)
{
    return dmi_task_at(w->session, index);
}

static uint64_t where_of(const walk *w, uint32_t index)
{
    return dmi_word_peek(&dmi_record_at(w->session, index)->where);
}

static bool is_alive(const walk *w, uint32_t index)
{
    return index < w->session->task_high && dmi_task_is_alive(task_of(w, index));
}

static bool is_unfinished(const dmi_task *task)
{
    return dmi_task_is_alive(task) && task->state != DMI_TASK_DONE;
}

/* ---- 1: the table ---- */

static void walk_table(walk *w)
{
    dmi_session *session = w->session;
    uint64_t alive = 0, unused = 0, listed = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        alive += dmi_task_is_alive(task);
        unused += task->state == DMI_TASK_FREE && task->generation < DMI_GENERATION_LAST;
    }
    for (uint32_t link = session->task_free; link != 0 && listed <= unused;
         link = task_of(w, link - 1)->next) {
        if (is_alive(w, link - 1))
            broken(w, "value %u is alive and in the free list", link - 1);
        listed++;
    }
    must_be(w, alive, session->counts.refs, "values");
    must_be(w, unused, listed, "free entries of the table");
    must_be(w, listed, session->free_count, "entries of the free list");
}

/* ---- 2: counts and the queue ---- */

static bool is_counted_task(const dmi_record *record)
{
    return record->function < DMI_PUT_IN_TASK && !(record->flags & DMI_PART);
}

static void walk_counts(walk *w)
{
    dmi_session *session = w->session;
    uint64_t loose = 0, limited = 0, unfinished = 0, queued = 0, extras = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        extras += task->state != DMI_TASK_FREE && task->has_extra;
        if (!is_unfinished(task))
            continue;
        loose += task->holds == 0;
        limited += (task->flags & DMI_TASK_LIMITED) != 0;
        unfinished += is_counted_task(dmi_record_at(session, i));
        queued += task->state == DMI_TASK_QUEUED;
    }
    must_be(w, loose, session->loose, "unfinished tasks that nobody holds");
    must_be(w, limited, session->limited, "tasks with a time limit");
    must_be(w, unfinished, session->unfinished, "unfinished tasks");
    must_be(w, queued, session->ready_count, "queued tasks");
    must_be(w, extras, session->extra_count, "extras");
}

static void walk_queue(walk *w)
{
    uint64_t length = 0;
    uint32_t before = 0;
    for (uint32_t link = w->session->ready_first; link != 0 && length <= w->session->ready_count;
         before = link, link = task_of(w, link - 1)->next) {
        const dmi_task *task = task_of(w, link - 1);
        length++;
        if (task->state != DMI_TASK_QUEUED || task->previous != before)
            broken(w, "value %u is in the queue, in state %d, behind %u and not %u", link - 1,
                   task->state, task->previous, before);
    }
    must_be(w, length, w->session->ready_count, "tasks in the queue");
    must_be(w, before, w->session->ready_last, "the queue's last");
}

/* ---- 3: lanes ---- */

static bool is_at_its_place(const walk *w, uint32_t index)
{
    const dmi_task *task = task_of(w, index);
    const dmi_lane *lane = &w->session->lanes[task->lane];
    if (task->flags & DMI_TASK_NESTED)
        return true; /* counted below */
    return task->position >= lane->reaped && task->position < lane->pushed &&
           lane->sent[task->position % DMI_RING] == index + 1;
}

static uint64_t entries_of(walk *w, const dmi_lane *lane)
{
    uint64_t count = 0;
    for (uint64_t i = lane->reaped; i < lane->pushed; i++) {
        uint32_t link = lane->sent[i % DMI_RING];
        count += link != 0;
        uint64_t seen = dmi_word_peek(&lane->down->ring[i % DMI_RING]);
        if (link != 0 && (task_of(w, link - 1)->state != DMI_TASK_SENT || seen != link - 1))
            broken(w,
                   "lane %u, position %llu: value %u, which is in state %d; its worker sees %llu",
                   lane->index, (unsigned long long)i, link - 1, task_of(w, link - 1)->state,
                   (unsigned long long)seen);
    }
    return count;
}

static uint64_t nested_of(walk *w, const dmi_lane *lane)
{
    uint64_t count = 0;
    for (uint32_t link = lane->nested; link != 0 && count <= w->session->task_high;
         link = task_of(w, link - 1)->next, count++) {
        const dmi_task *task = task_of(w, link - 1);
        if (task->state != DMI_TASK_SENT || !(task->flags & DMI_TASK_NESTED) ||
            task->lane != lane->index)
            broken(w, "lane %u: value %u is in its list of nested tasks and is none", lane->index,
                   link - 1);
    }
    return count;
}

static void walk_lane(walk *w, const dmi_lane *lane, uint64_t *placed)
{
    uint64_t here = entries_of(w, lane) + nested_of(w, lane);
    *placed += here;
    if (lane->state != DMI_LANE_SERVING) {
        if (here != 0 || lane->blocked || lane->need_bytes != 0 || lane->fetching != 0)
            broken(w, "lane %u has no worker, and %llu tasks", lane->index,
                   (unsigned long long)here);
        return;
    }
    if (lane->published > lane->pushed || lane->pushed - lane->reaped > DMI_RING ||
        dmi_word_peek(&lane->down->tail) != lane->published)
        broken(w, "lane %u: the ring's ends are not in order", lane->index);
}

static void walk_lanes(walk *w)
{
    dmi_session *session = w->session;
    uint64_t sent = 0, placed = 0, blocked = 0, awaited = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        if (task_of(w, i)->state != DMI_TASK_SENT)
            continue;
        sent++;
        if (!is_at_its_place(w, i))
            broken(w, "value %u was sent to lane %u, and is not at position %llu there", i,
                   task_of(w, i)->lane, (unsigned long long)task_of(w, i)->position);
    }
    for (uint32_t l = 0; l < session->lane_count; l++) {
        const dmi_lane *lane = &session->lanes[l];
        if (lane->up == NULL)
            continue; /* never had a worker */
        walk_lane(w, lane, &placed);
        blocked += lane->blocked;
        awaited += lane->need_bytes != 0;
    }
    must_be(w, placed, sent, "sent tasks");
    must_be(w, blocked, session->blocked_lanes, "lanes whose worker is blocked");
    must_be(w, awaited, session->rooms_awaited, "lanes whose worker waits for room");
}

/* ---- 4: slots ---- */

static bool claim_slot(uint8_t *used, const dmi_lane *lane, uint64_t slot)
{
    if (slot >= lane->slot_high || used[slot])
        return false;
    used[slot] = 1;
    return true;
}

static void walk_slots(walk *w, const dmi_lane *lane)
{
    uint8_t *used = calloc(lane->slot_high + 1u, 1);
    uint64_t count = lane->free_slot_count;
    for (uint32_t i = 0; used && i < lane->free_slot_count; i++)
        if (!claim_slot(used, lane, lane->free_slots[i]))
            broken(w, "lane %u: slot %u is free twice", lane->index, lane->free_slots[i]);
    for (uint32_t i = 0; used && i < w->session->task_high; i++) {
        uint64_t where = where_of(w, i);
        if (!is_alive(w, i) || dmi_where_place(where) != DMI_SLOT ||
            dmi_where_segment(where) != lane->segment)
            continue;
        count++;
        if (!claim_slot(used, lane, dmi_where_position(where)))
            broken(w, "lane %u: slot %llu is value %u's and not its alone", lane->index,
                   (unsigned long long)dmi_where_position(where), i);
    }
    must_be(w, used ? count : lane->slot_high, lane->slot_high, "slots, free or a value's");
    free(used);
}

/* ---- 5: segments ---- */

static void walk_seats(walk *w)
{
    dmi_session *session = w->session;
    for (uint32_t i = 0; i < session->task_high; i++) {
        uint64_t where = where_of(w, i);
        dmi_place place = dmi_where_place(where);
        if (is_alive(w, i) &&
            (place == DMI_OBJECT || (place == DMI_SLOT && task_of(w, i)->state == DMI_TASK_DONE)))
            w->live[dmi_where_segment(where)]++;
    }
    for (uint32_t s = 1; s < session->seat_high; s++) {
        const dmi_seat *seat = &session->seats[s];
        if (!seat->used && w->live[s] != 0)
            broken(w, "segment %u is given back, and %u values lie there", s, w->live[s]);
        if (seat->used && seat->live != w->live[s])
            broken(w, "segment %u: %u values lie there, and %llu are counted", s, w->live[s],
                   (unsigned long long)seat->live);
        if (seat->used && seat->orphaned && seat->live == 0 && !session->unburied)
            broken(w, "segment %u is nobody's, and is kept", s);
    }
}

/* ---- 6: edges ---- */

/* Those of an input: their tasks wait, and each knows what is before it. */
static uint64_t walk_awaiting(walk *w, uint32_t input)
{
    dmi_session *session = w->session;
    uint32_t before = DMI_EDGE_FIRST | input;
    uint64_t count = 0;
    for (uint32_t link = task_of(w, input)->edges; link != 0 && count <= session->edge_high; count++) {
        const dmi_edge *edge = &session->edges[link - 1];
        if (edge->previous != before)
            broken(w, "an edge of value %u says that before it is %x, not %x", input, edge->previous, before);
        if (!is_alive(w, edge->task) || task_of(w, edge->task)->waits == 0)
            broken(w, "value %u is awaited by %u, which does not wait", input, edge->task);
        before = link;
        link = edge->next;
    }
    return count;
}

/* Those of a task: as many as it waits for, and some that are spent. Returns the latter. */
static uint64_t walk_awaited(walk *w, uint32_t index)
{
    dmi_session *session = w->session;
    uint64_t due = 0, spent = 0;
    for (uint32_t link = task_of(w, index)->next; link != 0 && due + spent <= session->edge_high;
         link = session->edges[link - 1].sibling) {
        const dmi_edge *edge = &session->edges[link - 1];
        if (edge->task != index)
            broken(w, "task %u has an edge of %u", index, edge->task);
        *(edge->previous == DMI_EDGE_SPENT ? &spent : &due) += 1;
    }
    must_be(w, due, task_of(w, index)->waits, "edges of a task, and what it waits for");
    return spent;
}

static void walk_edges(walk *w)
{
    dmi_session *session = w->session;
    uint64_t waits = 0, dependents = 0, edges = 0, spent = 0, unused = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        if (!dmi_task_is_alive(task))
            continue;
        waits += task->waits;
        dependents += task->waits != 0;
        edges += walk_awaiting(w, i);
        spent += task->waits != 0 ? walk_awaited(w, i) : 0;
    }
    for (uint32_t edge = session->edge_free; edge != 0 && unused <= session->edge_high;
         edge = session->edges[edge - 1].next)
        unused++;
    must_be(w, dependents, session->dependents, "tasks that wait for inputs");
    must_be(w, edges, waits, "edges, and what is waited for");
    must_be(w, edges + spent + unused, session->edge_high, "edges, used, spent or free");
}

/* ---- 7: holds and pins ---- */

static walk *walking; /* dmi_task_each_input knows only the session; under the role */

static void note_pin(walk *w, uint32_t index, uint32_t of)
{
    if (is_alive(w, index))
        w->pins[index]++;
    else
        broken(w, "value %u needs value %u, which is free", of, index);
}

static void note_input(dmi_session *session, uint32_t input, uint32_t task)
{
    (void)session;
    note_pin(walking, input, task);
}

static void note_contained(walk *w, uint32_t index)
{
    uint32_t contains = task_of(w, index)->contains, inner;
    if (contains & DMI_LIST) {
        for (size_t i = 0, n = dmi_list_count(w->session, contains); i < n; i++)
            if (dmi_list_at(w->session, contains, i, &inner))
                note_pin(w, inner, index);
    } else if (contains != 0) {
        note_pin(w, contains - 1, index);
    }
}

static void note_pins_of(walk *w, uint32_t index)
{
    const dmi_task *task = task_of(w, index);
    w->pins[index] += task->views;
    if (task->state == DMI_TASK_DONE) {
        const dmi_stay *stay = dmi_stay_of(w->session, index);
        bool moves = stay != NULL && (stay->stage == DMI_LEAVING || stay->stage == DMI_RETURNING);
        w->pins[index] += moves;
        w->moving += moves;
        note_contained(w, index);
    } else if (task->flags & DMI_TASK_HAS_REFS) {
        dmi_task_each_input(w->session, index, note_input);
    }
}

static void note_cells(walk *w, const dmi_lane *lane)
{
    for (uint32_t c = 0; c < lane->cell_room; c++) {
        const dmi_cell *cell = &lane->cells[c];
        if (cell->record == 0)
            continue;
        if (lane->state == DMI_LANE_EMPTY || !is_alive(w, cell->record - 1))
            broken(w, "lane %u: cell %u names value %u: the lane has state %d, the value %d",
                   lane->index, c, cell->record - 1, lane->state,
                   task_of(w, cell->record - 1)->state);
        else
            w->holds[cell->record - 1]++;
    }
}

static void walk_pins(walk *w)
{
    dmi_session *session = w->session;
    uint64_t fetching = 0;
    walking = w;
    for (uint32_t i = 0; i < session->task_high; i++)
        if (is_alive(w, i))
            note_pins_of(w, i);
    for (uint32_t l = 0; l < session->lane_count; l++) {
        const dmi_lane *lane = &session->lanes[l];
        note_cells(w, lane);
        fetching += lane->fetching != 0;
        if (lane->fetching != 0)
            note_pin(w, lane->fetching - 1, lane->fetching - 1);
    }
    bool exact =
        session->visitors == 0 && session->unfinished == 0 && fetching == 0 && w->moving == 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        if (!dmi_task_is_alive(task))
            continue;
        if (task->pins < w->pins[i] || task->holds < w->holds[i] ||
            (exact && task->pins != w->pins[i]))
            broken(w, "value %u: %u pins and %u holds, where %u and at least %u are accounted for",
                   i, task->pins, task->holds, w->pins[i], w->holds[i]);
        if (task->state == DMI_TASK_DONE && task->pins == 0 && task->holds == 0)
            broken(w, "value %u is nobody's, and is kept", i);
    }
}

/* ---- 8: bytes ---- */

static void walk_bytes(walk *w)
{
    dmi_session *session = w->session;
    uint64_t objects = 0, used = 0, away = 0, pinned = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        if (task->state != DMI_TASK_DONE)
            continue;
        bool is_away = dmi_where_place(where_of(w, i)) == DMI_DISK;
        away += is_away;
        objects += task->bytes != 0;
        used += is_away ? 0 : task->bytes;
        pinned += task->views != 0 || (task->flags & DMI_TASK_UNSEALED) ? task->bytes : 0;
    }
    must_be(w, objects, session->counts.objects, "objects");
    must_be(w, used, session->counts.store_used, "bytes of objects in memory");
    must_be(w, away, session->away, "objects that are away");
    must_be(w, pinned, session->counts.pinned_bytes, "bytes that are lent");
}

/* ---- 9: the disk ---- */

static void walk_list_by_use(walk *w)
{
    const dmi_residence *r = w->session->residence;
    uint64_t flagged = 0, listed = 0;
    for (uint32_t i = 0; i < w->session->task_high; i++)
        flagged += is_alive(w, i) && (task_of(w, i)->flags & DMI_TASK_LISTED) != 0;
    for (uint32_t link = r->cold; link != 0 && listed <= flagged;
         link = task_of(w, link - 1)->next, listed++)
        if (!is_alive(w, link - 1) || !(task_of(w, link - 1)->flags & DMI_TASK_LISTED))
            broken(w, "value %u is in the list by use and says that it is not", link - 1);
    must_be(w, listed, flagged, "objects in the list by use");
}

static void walk_stays(walk *w)
{
    const dmi_residence *r = w->session->residence;
    uint64_t away = 0, leaving = 0, parts = 0;
    for (uint32_t i = 0; i < r->stay_high; i++) {
        dmi_stay *stay = &r->stays[i];
        if (!stay->in_use)
            continue;
        if (!is_alive(w, stay->index) || task_of(w, stay->index)->stay != i + 1)
            broken(w, "stay %u is of value %u, which does not know it", i, stay->index);
        away += stay->stage == DMI_GONE || stay->stage == DMI_RETURNING ? stay->bytes : 0;
        leaving += stay->stage == DMI_LEAVING ? stay->bytes : 0;
        for (uint32_t p = 0; p < stay->part_count; p++)
            parts += dmi_tickets_of(stay)[p] != 0;
    }
    must_be(w, away, r->away, "bytes that are away");
    must_be(w, leaving, r->leaving, "bytes that are leaving");
    if (r->spill == NULL || leaving != 0)
        return; /* movers give out tickets without the role */
    dmi_spill_stats disk;
    dmi_spill_stats_get(r->spill, &disk);
    must_be(w, parts, disk.parts, "parts on disk");
}

static void walk_disk(walk *w)
{
    if (w->session->residence == NULL)
        return;
    walk_list_by_use(w);
    walk_stays(w);
    if (w->session->residence->spill != NULL && !dmi_spill_is_valid(w->session->residence->spill))
        broken(w, "the account of what is on disk contradicts itself");
}

/* ---- 10: lineage ---- */

static bool note_heir(dmi_session *session, uint64_t refword, uint32_t argument, void *context)
{
    walk *w = context;
    (void)argument;
    if (dmi_lineage_is_known(session, refword))
        w->heirs[dmi_refword_index(refword)]++;
    return true;
}

static void walk_lineage(walk *w)
{
    dmi_session *session = w->session;
    uint64_t recipes = 0, bytes = 0;
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        const dmi_record *record = dmi_record_at(session, i);
        recipes += task->state == DMI_TASK_RECIPE;
        if (task->state == DMI_TASK_FREE || !(task->flags & DMI_TASK_LINEAGE))
            continue;
        bytes += record->flags & DMI_BLOB ? record->blob.bytes : 0;
        if (is_unfinished(task))
            broken(w, "value %u is unfinished, and its arguments are kept", i);
        if (task->flags & DMI_TASK_HAS_REFS)
            dmi_lineage_each(session, i, note_heir, w);
    }
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = task_of(w, i);
        const dmi_extra *extra = task->state == DMI_TASK_FREE ? NULL : dmi_extra_of(session, i);
        if ((extra ? extra->heirs : 0) != w->heirs[i])
            broken(w, "value %u has %u heirs, and %u kept arguments name it", i, extra ? extra->heirs : 0,
                   w->heirs[i]);
        if (task->state == DMI_TASK_RECIPE && (w->heirs[i] == 0 || task->pins != 0 || task->holds != 0))
            broken(w, "value %u is a recipe with %u heirs, %u pins and %u holds", i, w->heirs[i], task->pins,
                   task->holds);
    }
    must_be(w, recipes, session->recipes, "recipes");
    must_be(w, bytes + recipes * DMI_RECIPE_BYTES, session->lineage_bytes, "bytes of lineage");
}

/* ---- 11: what is shown ---- */

static void walk_shown(walk *w)
{
    uint32_t shown = 0;
    for (uint32_t i = 0; i < w->session->task_high; i++) {
        if (!dmi_shown_is_right(w->session, i))
            broken(w, "value %u is shown and must not be, or the other way round", i);
        shown += dmi_shown_has(&w->session->shown, dmi_task_ref(w->session, i).id);
    }
    must_be(w, shown, atomic_load(&w->session->shown.count), "objects that are shown");
}

/* ---- all ---- */

static void walk_all(walk *w)
{
    walk_table(w);
    walk_counts(w);
    walk_queue(w);
    walk_lanes(w);
    for (uint32_t l = 0; l < w->session->lane_count; l++)
        if (w->session->lanes[l].state == DMI_LANE_SERVING)
            walk_slots(w, &w->session->lanes[l]);
    walk_seats(w);
    walk_edges(w);
    walk_pins(w);
    walk_bytes(w);
    walk_disk(w);
    walk_lineage(w);
    walk_shown(w);
}

const char *dmi_session_walk(dmi_session *session, char *said, size_t room)
{
    walk w = {.session = session, .said = said, .room = room};
    w.pins = calloc(session->task_high + 1u, sizeof *w.pins);
    w.holds = calloc(session->task_high + 1u, sizeof *w.holds);
    w.heirs = calloc(session->task_high + 1u, sizeof *w.heirs);
    w.live = calloc(DMI_SEGMENTS, sizeof *w.live);
    if (w.pins && w.holds && w.heirs && w.live)
        walk_all(&w);
    free(w.pins);
    free(w.holds);
    free(w.heirs);
    free(w.live);
    return w.broken ? said : NULL;
}

void dmi_session_check(dmi_session *session)
{
    char said[300];
    if (session->task_high > WALK_MOST || dmi_session_walk(session, said, sizeof said) == NULL)
        return;
    fprintf(stderr, "dmrt: a law of the session is broken: %s\n", said);
    abort();
}
#endif
