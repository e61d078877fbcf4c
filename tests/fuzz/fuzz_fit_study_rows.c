/*
 * The study's files of rows, study.csv and spill.csv: a user may have edited them, and a program may have died while
 * it wrote. The first byte says which. They are read or refused; and to what was read a row can be appended, after
 * which all of it is read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/study/protocol/study_spill_table.h"
#include "bench/study/protocol/study_table.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/dmrt-fuzz-XXXXXX", path[sizeof folder + 20];

static void clean(void)
{
    rmdir(folder);
}

static void must(int so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "not so: %s (%s)\n", what, dm_last_error());
    abort();
}

/* The texts and whole numbers; times are written with six digits. */
static int are_same(const study_row *a, const study_row *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->engine, b->engine) == 0 &&
           strcmp(a->data_shape, b->data_shape) == 0 && strcmp(a->commit, b->commit) == 0 &&
           a->num_chunks == b->num_chunks && a->cpu_count == b->cpu_count && a->run == b->run && a->tasks == b->tasks &&
           a->peak_memory == b->peak_memory && a->spilled == b->spilled && a->on_disk == b->on_disk;
}

static void append_one(void)
{
    study_table t, again;
    if (study_table_open(path, &t) != DM_OK) {
        study_table_close(&t);
        return;
    }
    const size_t count = t.count;
    if (count != 0) {
        const study_row row = t.rows[0];
        must(study_table_append(&t, &row) == DM_OK, "what was read can be written");
    }
    study_table_close(&t);
    must(study_table_read(path, &again) == DM_OK, "it is read again");
    must(again.count == count + (count != 0) && !again.torn, "all rows are there, whole");
    if (count != 0)
        must(are_same(&again.rows[count], &again.rows[0]), "the row is the same");
    study_table_close(&again);
}

static void read_table(void)
{
    study_table t;
    const dm_status status = study_table_read(path, &t);
    study_table_close(&t);
    if (status == DM_OK)
        append_one();
}

static void read_spill_table(void)
{
    study_spill_table t, again;
    const dm_status status = study_spill_table_read(path, &t);
    if (status == DM_OK) {
        const size_t count = t.count;
        t.path = path;
        must(study_spill_table_write(&t) == DM_OK, "what was read can be written");
        must(study_spill_table_read(path, &again) == DM_OK, "it is read again");
        must(again.count == count, "all rows are there");
        study_spill_table_close(&again);
    }
    study_spill_table_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (folder[sizeof folder - 2] == 'X' && (mkdtemp(folder) == NULL || atexit(clean) != 0))
        abort();
    if (count == 0)
        return 0;
    snprintf(path, sizeof path, "%s/rows.csv", folder);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes + 1, 1, count - 1, file) != count - 1 || fclose(file) != 0)
        abort();
    if (bytes[0] % 2 == 0)
        read_table();
    else
        read_spill_table();
    unlink(path);
    return 0;
}
