/*
 * survey.c - walks over a session's values, cells and tasks, a piece at a time.
 *
 *     BEGIN -> OBJECTS -> CELLS -> TASKS -> END -> FINISHED
 *     totals   the top    who      what     how
 *     workers  by bytes   holds    names    they
 *                         them     them     are
 *
 * Changes nothing that is seen, except that completions are taken first, as dm_stats_get does.
 */
#define _GNU_SOURCE
#include "runtime/lists.h"
#include "runtime/survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/residence.h"
#include "runtime/stats.h"
#include "runtime/task.h"

enum { PIECE_NS = 200000, LOOK_AT_CLOCK = 64 };

typedef enum stage { BEGIN, OBJECTS, CELLS, TASKS, END, FINISHED } stage;

/* An object that is among the largest so far. */
typedef struct kept {
    uint32_t index, generation;
    dmi_object_line line;
} kept;

struct dmi_survey {
    dmi_session *session;
    dmi_request request;
    stage stage;
    uint32_t at, end; /* of this stage's walk */
    uint32_t lane;    /* CELLS: whose */
    uint32_t task_high;
    uint64_t objects; /* seen */
    dmi_totals_line totals;
    dmi_worker_line *workers;
    uint32_t worker_count;
    kept *kept; /* OBJECTS: a heap, the smallest first; then by index; FINISHED: by bytes */
    uint32_t kept_count;
    uint32_t line, next_line; /* packed: this packet's first line, and the one after its last */
};

dmi_survey *dmi_survey_create(dmi_session *session, const dmi_request *request)
{
    dmi_survey *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (dmi_survey){.session = session, .request = *request};
    s->workers = calloc(session->lane_limit, sizeof *s->workers);
    s->kept = calloc((size_t)request->top + 1, sizeof *s->kept);
    if (s->workers != NULL && s->kept != NULL)
        return s;
    dmi_survey_destroy(s);
    return NULL;
}

void dmi_survey_destroy(dmi_survey *s)
{
    if (s == NULL)
        return;
    free(s->workers);
    free(s->kept);
    free(s);
}

/* ---- totals and workers ---- */

static const char *const engines[] = {"default", "processes", "threads", "serial"};
static const char *const policies[] = {"default", "auto", "session", "never", "off"};

static void copy_stats(dmi_totals_line *to, const dm_stats *s)
{
    to->engine = engines[s->engine];
    to->spill_policy = policies[s->spill_policy];
    to->workers = (uint64_t)s->workers;
    to->workers_lost = s->workers_lost;
    to->tasks_submitted = s->tasks_submitted;
    to->tasks_done = s->tasks_done;
    to->tasks_failed = s->tasks_failed;
    to->tasks_retried = s->tasks_retried;
    to->refs = s->refs;
    to->objects = s->objects;
    to->store_bytes = s->store_bytes;
    to->store_committed = s->store_committed;
    to->store_used = s->store_used;
    to->pinned_bytes = s->pinned_bytes;
    to->spill_above = s->spill_above;
    to->spilled_objects = s->spilled_objects;
    to->spilled_bytes = s->spilled_bytes;
    to->spilling_bytes = s->spilling_bytes;
    to->disk_bytes = s->disk_bytes;
    to->spilled_total = s->spilled_total;
    to->spilled_stored = s->spilled_stored;
    to->restored_total = s->restored_total;
    to->punched_total = s->punched_total;
    to->spill_ns = s->spill_ns;
    to->restore_ns = s->restore_ns;
    to->objects_lost = s->objects_lost;
    to->spill_files = (uint64_t)s->spill_files;
    to->disk_punches = s->disk_punches;
}

static void collect_totals(dmi_survey *s)
{
    dm_stats stats;
    dmi_stats_collect(s->session, &stats);
    copy_stats(&s->totals, &stats);
    s->totals.program = program_invocation_short_name;
    s->totals.version = dm_version();
    s->totals.pid = (uint64_t)getpid();
    s->totals.spill_dir = s->session->settings.spill_dir;
    s->totals.tasks_queued = s->session->ready_count;
    s->totals.tasks_waiting = s->session->dependents;
}

static const char *state_of(const dmi_survey *s, const dmi_lane *lane, uint64_t tasks)
{
    bool here = s->session->settings.engine != DM_ENGINE_PROCESSES;
    if (lane->state == DMI_LANE_LOST || lane->condemned != DM_OK)
        return "lost";
    if (lane->child.pid <= 0 && !here)
        return "starting";
    return lane->blocked ? "waiting" : tasks != 0 ? "running" : "idle";
}

static void collect_worker(dmi_survey *s, const dmi_lane *lane)
{
    uint64_t tasks = lane->state == DMI_LANE_SERVING ? dmi_lane_backlog(lane) : 0;
    s->totals.tasks_placed += tasks;
    s->workers[s->worker_count++] = (dmi_worker_line){
        .worker = lane->index,
        .pid = lane->child.pid > 0 ? (uint64_t)lane->child.pid : 0,
        .state = state_of(s, lane, tasks),
        .function = dmi_lane_running(s->session, lane),
        .tasks = tasks,
    };
}

static bool begin(dmi_survey *s)
{
    if (dmi_pump(s->session))
        dmi_wake_waiters(s->session);
    collect_totals(s);
    for (uint32_t i = 0; i < s->session->lane_count; i++)
        if (s->session->lanes[i].state != DMI_LANE_EMPTY)
            collect_worker(s, &s->session->lanes[i]);
    s->task_high = s->session->task_high;
    return true;
}

/* ---- walking ---- */

/* Calls step for each number from s->at to s->end, until the time is up. True at the end. */
static bool walk(dmi_survey *s, uint64_t until_ns, void (*step)(dmi_survey *, uint32_t))
{
    while (s->at < s->end) {
        step(s, s->at++);
        if (s->at % LOOK_AT_CLOCK == 0 && dmi_now_ns() > until_ns)
            return s->at == s->end;
    }
    return true;
}

static void go_on(dmi_survey *s, stage next, uint32_t end)
{
    s->stage = next;
    s->at = 0;
    s->end = end;
}

/* ---- the largest objects ---- */

static void swap(kept *a, kept *b)
{
    kept c = *a;
    *a = *b;
    *b = c;
}

static void sink(dmi_survey *s)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->kept_count; child++)
            if (s->kept[child].line.bytes < s->kept[least].line.bytes)
                least = child;
        if (least == at)
            return;
        swap(&s->kept[at], &s->kept[least]);
        at = least;
    }
}

static void rise(dmi_survey *s)
{
    uint32_t at = s->kept_count - 1;
    while (at > 0 && s->kept[at].line.bytes < s->kept[(at - 1) / 2].line.bytes) {
        swap(&s->kept[at], &s->kept[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static bool is_object(const dmi_task *task)
{
    return task->state == DMI_TASK_DONE && task->bytes != 0;
}

static void consider(dmi_survey *s, uint32_t index)
{
    const dmi_task *task = dmi_task_at(s->session, index);
    if (!is_object(task))
        return;
    s->objects++;
    const kept k = {.index = index, .generation = task->generation, .line.bytes = task->bytes};
    if (s->kept_count < s->request.top) {
        s->kept[s->kept_count++] = k;
        rise(s);
    } else if (s->kept_count != 0 && task->bytes > s->kept[0].line.bytes) {
        s->kept[0] = k;
        sink(s);
    }
}

/* ---- who has to do with them ---- */

static int by_index(const void *a, const void *b)
{
    const kept *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

static kept *find(dmi_survey *s, uint32_t index)
{
    const kept key = {.index = index};
    return bsearch(&key, s->kept, s->kept_count, sizeof key, by_index);
}

static void note_cell(dmi_survey *s, uint32_t cell)
{
    const dmi_lane *lane = &s->session->lanes[s->lane];
    kept *k = cell < lane->cell_room && lane->cells[cell].record != 0 ? find(s, lane->cells[cell].record - 1) : NULL;
    if (k == NULL)
        return;
    k->line.worker_refs++;
    for (int i = 0; i < DMI_TOLD_WORKERS; i++) {
        if (k->line.refs[i] != 0 && k->line.worker[i] != lane->index)
            continue;
        k->line.worker[i] = lane->index;
        k->line.refs[i]++;
        return;
    }
}

static void note_input(dmi_session *session, uint32_t input, uint32_t task)
{
    (void)task;
    kept *k = find(session->survey, input);
    if (k != NULL)
        k->line.tasks++;
}

static void note_contained(dmi_survey *s, uint32_t inner)
{
    kept *k = find(s, inner);
    if (k != NULL)
        k->line.values++;
}

static void note_task(dmi_survey *s, uint32_t index)
{
    const dmi_task *task = dmi_task_at(s->session, index);
    uint32_t inner;
    if (task->state == DMI_TASK_DONE && (task->contains & DMI_LIST)) {
        for (size_t i = 0, n = dmi_list_count(s->session, task->contains); i < n; i++)
            if (dmi_list_at(s->session, task->contains, i, &inner))
                note_contained(s, inner);
    } else if (task->state == DMI_TASK_DONE) {
        if (task->contains != 0)
            note_contained(s, task->contains - 1);
    } else if (dmi_task_is_alive(task) && (task->flags & DMI_TASK_HAS_REFS)) {
        dmi_task_each_input(s->session, index, note_input);
    }
}

static bool walk_cells(dmi_survey *s, uint64_t until_ns)
{
    dmi_session *session = s->session;
    for (;; s->lane++) {
        if (s->at == 0)
            s->end = s->lane < session->lane_count ? session->lanes[s->lane].cell_room : 0;
        if (!walk(s, until_ns, note_cell))
            return false;
        s->at = 0;
        if (s->lane >= session->lane_count)
            return true;
    }
}

/* ---- how they are ---- */

static const char *const presences[] = {[DMI_IN_MEMORY] = "memory",
                                        [DMI_IS_LEAVING] = "leaving",
                                        [DMI_ON_DISK] = "disk",
                                        [DMI_IS_RETURNING] = "returning",
                                        [DMI_IN_BOTH] = "both"};

static void complete(dmi_survey *s, uint32_t at)
{
    dmi_object_line *line = &s->kept[at].line;
    uint32_t index = s->kept[at].index;
    const dmi_task *task = dmi_task_at(s->session, index);
    if (task->generation != s->kept[at].generation || !is_object(task)) {
        line->bytes = 0; /* it is no more */
        return;
    }
    line->value = dmi_record_at(s->session, index)->serial;
    line->state = presences[dmi_residence_presence(s->session, index, &line->disk_bytes)];
    if (task->flags & DMI_TASK_UNSEALED)
        line->state = "being made";
    line->made_by = dmi_task_name(s->session, index);
    line->driver_refs = task->holds > line->worker_refs ? task->holds - line->worker_refs : 0;
    line->views = task->views + dmi_shown_views(s->session, index);
}

static int by_bytes(const void *a, const void *b)
{
    const kept *x = a, *y = b;
    if (x->line.bytes != y->line.bytes)
        return x->line.bytes < y->line.bytes ? 1 : -1;
    return (x->line.value > y->line.value) - (x->line.value < y->line.value);
}

static void sort_by_bytes(dmi_survey *s)
{
    qsort(s->kept, s->kept_count, sizeof *s->kept, by_bytes);
    while (s->kept_count > 0 && s->kept[s->kept_count - 1].line.bytes == 0)
        s->kept_count--;
}

/* ---- pieces ---- */

/* What is left of this stage, while there is time. True if it is done. */
static bool look(dmi_survey *s, uint64_t until_ns)
{
    switch (s->stage) {
    case BEGIN: return begin(s);
    case OBJECTS: return walk(s, until_ns, consider);
    case CELLS: return walk_cells(s, until_ns);
    case TASKS: return walk(s, until_ns, note_task);
    case END: return walk(s, until_ns, complete);
    case FINISHED: break;
    }
    return false;
}

/* From one stage to the next; without the role, since sorting takes a while. */
static void advance(dmi_survey *s)
{
    switch (s->stage) {
    case BEGIN:
        go_on(s, s->request.question == DMI_ASK_MEMORY ? OBJECTS : FINISHED, s->task_high);
        break;
    case OBJECTS:
        qsort(s->kept, s->kept_count, sizeof *s->kept, by_index);
        go_on(s, CELLS, 0);
        break;
    case CELLS:
        go_on(s, TASKS, s->task_high);
        break;
    case TASKS:
        go_on(s, END, s->kept_count);
        break;
    case END:
        sort_by_bytes(s);
        s->stage = FINISHED;
        break;
    case FINISHED:
        break;
    }
}

bool dmi_survey_piece(dmi_survey *s)
{
    uint64_t until_ns = dmi_now_ns() + PIECE_NS;
    while (s->stage != FINISHED && dmi_now_ns() < until_ns) {
        dmi_role_take(&s->session->role);
        s->session->survey = s;
        bool done = look(s, until_ns);
        s->session->survey = NULL;
        dmi_role_leave(&s->session->role);
        if (done)
            advance(s);
    }
    return s->stage == FINISHED;
}

/* ---- packing ---- */

/* Line number `at` of the answer. False: there are no more. */
static bool write_line(const dmi_survey *s, dmi_out *out, uint32_t at, bool *fits)
{
    const dmi_end_line end = {s->objects, s->kept_count};
    uint32_t objects_at = 1 + s->worker_count, end_at = objects_at + s->kept_count;
    if (at > end_at)
        return false;
    if (at == 0)
        *fits = dmi_line_write(out, DMI_LINE_TOTALS, &s->totals);
    else if (at < objects_at)
        *fits = dmi_line_write(out, DMI_LINE_WORKER, &s->workers[at - 1]);
    else if (at < end_at)
        *fits = dmi_line_write(out, DMI_LINE_OBJECT, &s->kept[at - objects_at].line);
    else
        *fits = dmi_line_write(out, DMI_LINE_END, &end);
    return true;
}

size_t dmi_survey_pack(dmi_survey *s, uint8_t *to)
{
    dmi_out out = {to, to, to + DMI_PACKET_MOST};
    bool fits = true;
    s->next_line = s->line;
    while (write_line(s, &out, s->next_line, &fits) && fits)
        s->next_line++;
    return (size_t)(out.at - out.base);
}

void dmi_survey_next(dmi_survey *s)
{
    s->line = s->next_line;
}
