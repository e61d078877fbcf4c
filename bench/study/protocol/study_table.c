/*
 * study_table.c - see study_table.h.
 */
#include "bench/study/protocol/study_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/study/protocol/study_csv.h"

enum { MODEL, ENGINE, NUM_CHUNKS, CPU_COUNT, TIME, DATA_SHAPE, RUN, TASKS, OVERHEAD,
       PEAK_MEMORY, SPILLED, ON_DISK, COMMIT };

/* ---- a row and its text ---- */

static dm_status take_names(const study_csv_row *from, study_row *row)
{
    DM_TRY(study_csv_text(from, MODEL, row->model, sizeof row->model));
    DM_TRY(study_csv_text(from, ENGINE, row->engine, sizeof row->engine));
    DM_TRY(study_csv_text(from, DATA_SHAPE, row->data_shape, sizeof row->data_shape));
    return study_csv_text(from, COMMIT, row->commit, sizeof row->commit);
}

static dm_status take_counts(const study_csv_row *from, study_row *row)
{
    int64_t cpus, run, memory, spilled, on_disk;
    DM_TRY(study_csv_whole(from, NUM_CHUNKS, 1, INT64_MAX, &row->num_chunks));
    DM_TRY(study_csv_whole(from, CPU_COUNT, 1, 1 << 20, &cpus));
    DM_TRY(study_csv_whole(from, RUN, 1, 1 << 20, &run));
    DM_TRY(study_csv_whole(from, TASKS, 0, INT64_MAX, &row->tasks));
    DM_TRY(study_csv_whole(from, PEAK_MEMORY, 0, INT64_MAX, &memory));
    DM_TRY(study_csv_whole(from, SPILLED, 0, INT64_MAX, &spilled));
    DM_TRY(study_csv_whole(from, ON_DISK, 0, INT64_MAX, &on_disk));
    row->cpu_count = (int)cpus, row->run = (int)run;
    row->peak_memory = (uint64_t)memory, row->spilled = (uint64_t)spilled, row->on_disk = (uint64_t)on_disk;
    return DM_OK;
}

static dm_status take_times(const study_csv_row *from, study_row *row)
{
    row->overhead = NAN;
    DM_TRY(study_csv_number(from, TIME, &row->time));
    if (row->time <= 0)
        return dmi_error(DM_ERR_FORMAT, "%s:%ld: time is '%.40s'; seconds above 0 were expected", from->path,
                         from->line, from->fields[TIME]);
    return *from->fields[OVERHEAD] ? study_csv_number(from, OVERHEAD, &row->overhead) : DM_OK;
}

static dm_status keep(study_table *t, const study_row *row)
{
    if (t->count == t->room) {
        const size_t room = t->room ? 2 * t->room : 64;
        study_row *rows = realloc(t->rows, room * sizeof *rows);
        if (rows == NULL)
            return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu rows", t->path, room);
        t->rows = rows;
        t->room = room;
    }
    t->rows[t->count++] = *row;
    return DM_OK;
}

static dm_status take(void *context, const study_csv_row *from)
{
    study_row row;
    DM_TRY(take_names(from, &row));
    DM_TRY(take_counts(from, &row));
    DM_TRY(take_times(from, &row));
    return keep(context, &row);
}

static void print_row(const study_row *row, char *to, size_t room)
{
    char overhead[32] = "";
    if (isfinite(row->overhead))
        snprintf(overhead, sizeof overhead, "%.6f", row->overhead);
    snprintf(to, room, "%s,%s,%lld,%d,%.6f,\"%s\",%d,%lld,%s,%llu,%llu,%llu,%s", row->model, row->engine,
             (long long)row->num_chunks, row->cpu_count, row->time, row->data_shape, row->run, (long long)row->tasks,
             overhead, (unsigned long long)row->peak_memory, (unsigned long long)row->spilled,
             (unsigned long long)row->on_disk, row->commit);
}

/* ---- the table ---- */

static const study_csv kind = {.header = STUDY_TABLE_HEADER, .take = take};

dm_status study_table_read(const char *path, study_table *t)
{
    *t = (study_table){.path = path, .fd = -1};
    return study_csv_read(&kind, path, t);
}

dm_status study_table_open(const char *path, study_table *t)
{
    *t = (study_table){.path = path, .fd = -1};
    return study_csv_open(&kind, path, t, &t->fd, &t->torn);
}

void study_table_close(study_table *t)
{
    if (t->fd >= 0)
        close(t->fd);
    free(t->rows);
    *t = (study_table){.fd = -1};
}

dm_status study_table_append(study_table *t, const study_row *row)
{
    char text[STUDY_CSV_LINE];
    print_row(row, text, sizeof text);
    DM_TRY(study_csv_append(t->fd, t->path, text));
    return keep(t, row);
}

static bool is_like(const study_row *a, const study_row *b)
{
    return a->cpu_count == b->cpu_count && a->run == b->run && strcmp(a->model, b->model) == 0 &&
           strcmp(a->engine, b->engine) == 0 &&
           (strcmp(a->engine, STUDY_CHUNKS) != 0 || a->num_chunks == b->num_chunks);
}

const study_row *study_table_find(const study_table *t, const study_row *like)
{
    for (size_t i = 0; i < t->count; i++)
        if (is_like(&t->rows[i], like))
            return &t->rows[i];
    return NULL;
}
