/*
 * study_spill_table.c - see study_spill_table.h.
 */
#include "bench/study/protocol/study_spill_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/study/protocol/study_csv.h"

enum { POLICY, ARGUMENTS, EVENT, SECONDS, ON_DISK, MODELS, SPILLED, STORED, LIVE, AWAY, VOXELS, STORE, COMMIT };

dm_status study_spill_table_add(study_spill_table *t, const study_spill_row *row)
{
    if (t->count == t->room) {
        const size_t room = t->room ? 2 * t->room : 256;
        study_spill_row *rows = realloc(t->rows, room * sizeof *rows);
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
    study_spill_row row;
    DM_TRY(study_csv_text(from, POLICY, row.policy, sizeof row.policy));
    DM_TRY(study_csv_text(from, ARGUMENTS, row.arguments, sizeof row.arguments));
    DM_TRY(study_csv_text(from, EVENT, row.event, sizeof row.event));
    DM_TRY(study_csv_number(from, SECONDS, &row.seconds));
    DM_TRY(study_csv_whole(from, ON_DISK, 0, INT64_MAX, &row.on_disk));
    DM_TRY(study_csv_whole(from, MODELS, 0, INT64_MAX, &row.models));
    DM_TRY(study_csv_whole(from, SPILLED, 0, INT64_MAX, &row.spilled));
    DM_TRY(study_csv_whole(from, STORED, 0, INT64_MAX, &row.stored));
    DM_TRY(study_csv_whole(from, LIVE, 0, INT64_MAX, &row.live));
    DM_TRY(study_csv_whole(from, AWAY, 0, INT64_MAX, &row.away));
    DM_TRY(study_csv_whole(from, VOXELS, 1, INT64_MAX, &row.voxels));
    DM_TRY(study_csv_whole(from, STORE, 1, INT64_MAX, &row.store));
    DM_TRY(study_csv_text(from, COMMIT, row.commit, sizeof row.commit));
    return study_spill_table_add(context, &row);
}

static const study_csv kind = {.header = STUDY_SPILL_HEADER, .take = take};

dm_status study_spill_table_read(const char *path, study_spill_table *t)
{
    *t = (study_spill_table){.path = path};
    return study_csv_read(&kind, path, t);
}

static void print_rows(const study_spill_table *t, FILE *to)
{
    fprintf(to, "%s\n", STUDY_SPILL_HEADER);
    for (size_t i = 0; i < t->count; i++) {
        const study_spill_row *r = &t->rows[i];
        fprintf(to, "%s,%s,%s,%.4f,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%s\n", r->policy, r->arguments, r->event,
                r->seconds, (long long)r->on_disk, (long long)r->models, (long long)r->spilled, (long long)r->stored,
                (long long)r->live, (long long)r->away, (long long)r->voxels, (long long)r->store, r->commit);
    }
}

dm_status study_spill_table_write(const study_spill_table *t)
{
    char beside[4096];
    snprintf(beside, sizeof beside, "%.4000s.part", t->path);
    FILE *to = fopen(beside, "w");
    if (to == NULL)
        return dmi_error(DM_ERR_IO, "%s: %s", beside, strerror(errno));
    print_rows(t, to);
    const bool written = fflush(to) == 0 && fsync(fileno(to)) == 0;
    if (fclose(to) == 0 && written && rename(beside, t->path) == 0)
        return DM_OK;
    const int reason = errno;
    unlink(beside);
    return dmi_error(DM_ERR_IO, "%s: %s", t->path, strerror(reason));
}

void study_spill_table_close(study_spill_table *t)
{
    free(t->rows);
    *t = (study_spill_table){0};
}
