/*
 * The free-water fit by tasks gives the bits of the fit alone: whatever the engine, the number of
 * workers and the chunks, and by both methods. The maps are what is read off the parameters.
 *
 * This program is driver and worker: main begins with dm_init, from which a worker does not return.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dm/dm.h"
#include "dm/fit.h"

enum { P = DM_FWDTI_PARAMETERS, MAPS = 7 };

typedef struct brain {
    dm_volume *dwi;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_fwdti_settings settings;
    dm_fwdti_fit_input input;
    dm_fwdti_maps alone; /* the bits to compare with */
} brain;

static void assert_ok(dm_status status)
{
    if (status != DM_OK)
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
}

static const char *data_path(const char *file)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/s101/%s", DM_TEST_DATA, file);
    return path;
}

static void maps_list(const dm_fwdti_maps *maps, dm_volume *list[MAPS])
{
    dm_volume *const all[MAPS] = {maps->parameters, maps->f,  maps->fa,         maps->md,
                                  maps->ad,         maps->rd, maps->evaluations};
    memcpy(list, all, sizeof all);
}

static dm_volume *map_create(const dm_grid *grid, size_t n_volumes, dm_volume_type type)
{
    dm_volume *map;
    assert_ok(dm_volume_create(grid, n_volumes, type, &map));
    return map;
}

static dm_fwdti_maps maps_create(const dm_grid *grid)
{
    return (dm_fwdti_maps){.parameters = map_create(grid, P, DM_VOLUME_F64),
                           .f = map_create(grid, 1, DM_VOLUME_F64),
                           .fa = map_create(grid, 1, DM_VOLUME_F64),
                           .md = map_create(grid, 1, DM_VOLUME_F64),
                           .ad = map_create(grid, 1, DM_VOLUME_F64),
                           .rd = map_create(grid, 1, DM_VOLUME_F64),
                           .evaluations = map_create(grid, 1, DM_VOLUME_F64)};
}

static void maps_destroy(const dm_fwdti_maps *maps)
{
    dm_volume *list[MAPS];
    maps_list(maps, list);
    for (int i = 0; i < MAPS; i++)
        dm_volume_destroy(list[i]);
}

/* Into memory that the caller keeps, for `input` points to the settings beside it. */
static void brain_read(brain *b, dm_fwdti_method method)
{
    char bval[512];
    *b = (brain){.settings = dm_fwdti_defaults()};
    b->settings.method = method;
    snprintf(bval, sizeof bval, "%s", data_path("dwi.bval"));
    assert_ok(dm_volume_read(data_path("dwi.nii.gz"), &b->dwi));
    assert_ok(dm_gradients_read(bval, data_path("dwi.bvec"), &b->gradients));
    assert_ok(dm_mask_read(data_path("mask.nii.gz"), b->dwi, &b->mask));
    b->input = (dm_fwdti_fit_input){
        .dwi = b->dwi, .gradients = b->gradients, .mask = b->mask, .settings = &b->settings};
    b->alone = maps_create(&b->dwi->grid);
    dm_fit_report report;
    assert_ok(dm_fit_fwdti_alone(&b->input, &b->alone, &report));
    assert_int_equal(report.n_voxels, b->mask->n);
    assert_int_equal(report.n_chunks, 0);
}

static void brain_destroy(brain *b)
{
    maps_destroy(&b->alone);
    dm_mask_destroy(b->mask);
    dm_gradients_destroy(b->gradients);
    dm_volume_destroy(b->dwi);
}

/* ---- the same bits ---- */

static void assert_same_bits(const dm_fwdti_maps *a, const dm_fwdti_maps *b)
{
    dm_volume *first[MAPS], *second[MAPS];
    maps_list(a, first);
    maps_list(b, second);
    for (int i = 0; i < MAPS; i++)
        assert_memory_equal(first[i]->data, second[i]->data,
                            first[i]->n_voxels * first[i]->n_volumes * sizeof(double));
}

static void check_cut(const brain *b, size_t chunks, size_t voxels_per_chunk, size_t n_chunks)
{
    dm_fit_options options = {.chunks = chunks, .voxels_per_chunk = voxels_per_chunk};
    dm_fwdti_maps maps = maps_create(&b->dwi->grid);
    dm_fit_report report;
    assert_ok(dm_fit_fwdti(&b->input, &options, &maps, &report));
    assert_int_equal(report.n_chunks, n_chunks);
    assert_int_equal(report.n_voxels, b->mask->n);
    assert_int_equal(report.n_nan, 0);
    assert_same_bits(&maps, &b->alone);
    maps_destroy(&maps);
}

static void check_engine(dm_engine engine, int workers, dm_fwdti_method method)
{
    brain b;
    brain_read(&b, method);
    size_t n = b.mask->n;
    assert_ok(dm_init(&(dm_options){.engine = engine, .workers = workers}));
    check_cut(&b, 0, 1, n);
    check_cut(&b, 0, 7, (n + 6) / 7);
    check_cut(&b, 0, 112, (n + 111) / 112);
    check_cut(&b, 0, 4096, 1);
    check_cut(&b, 13, 0, 13);
    dm_stats after;
    assert_ok(dm_stats_get(&after));
    assert_int_equal(after.refs, 0);
    assert_int_equal(after.tasks_failed, 0);
    dm_shutdown();
    brain_destroy(&b);
}

static void test_serial(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_SERIAL, 1, DM_FWDTI_NLS);
}

static void test_threads(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_THREADS, 3, DM_FWDTI_NLS);
}

static void test_one_process(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 1, DM_FWDTI_NLS);
}

static void test_two_processes_on_the_grid(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 2, DM_FWDTI_WLS);
}

static void test_three_processes(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 3, DM_FWDTI_NLS);
}

static void drop_line(void *context, const char *line)
{
    (void)context, (void)line;
}

static void kill_worker_at_a_third(void *context, size_t n_done, size_t n_voxels)
{
    int *killed = context, pid;
    if (*killed || n_done < n_voxels / 3 || dm_worker_pids(&pid, 1) < 1)
        return;
    *killed = kill(pid, SIGKILL) == 0;
}

static void test_a_worker_killed_on_the_way(void **state)
{
    (void)state;
    brain b;
    brain_read(&b, DM_FWDTI_NLS);
    int killed = 0;
    dm_fit_options options = {
        .voxels_per_chunk = 5, .progress = kill_worker_at_a_third, .context = &killed};
    dm_fwdti_maps maps = maps_create(&b.dwi->grid);
    assert_ok(dm_init(&(dm_options){.workers = 2, .log = drop_line}));
    assert_ok(dm_fit_fwdti(&b.input, &options, &maps, NULL));
    dm_shutdown();
    assert_true(killed);
    assert_same_bits(&maps, &b.alone);
    maps_destroy(&maps);
    brain_destroy(&b);
}

/* ---- what is in the maps ---- */

static double value_at(const dm_volume *map, size_t voxel)
{
    double value;
    dm_volume_gather(map, 1, &voxel, &value);
    return value;
}

static void test_maps_are_read_off_the_parameters(void **state)
{
    (void)state;
    brain b;
    brain_read(&b, DM_FWDTI_NLS);
    for (size_t i = 0; i < b.mask->n; i++) {
        const size_t voxel = b.mask->voxels[i];
        double p[P];
        dm_volume_gather(b.alone.parameters, 1, &voxel, p);
        assert_true(value_at(b.alone.f, voxel) == p[DM_FWDTI_F]);
        assert_true(value_at(b.alone.ad, voxel) == p[0]);
        assert_true(fabs(value_at(b.alone.rd, voxel) - (p[1] + p[2]) / 2) < 1e-15);
        assert_true(fabs(value_at(b.alone.md, voxel) - (p[0] + p[1] + p[2]) / 3) < 1e-15);
        assert_true(value_at(b.alone.fa, voxel) >= 0 && value_at(b.alone.fa, voxel) <= 1);
        assert_true(value_at(b.alone.evaluations, voxel) > 8);
    }
    brain_destroy(&b);
}

/* ---- voxels without an answer, and calls that make no sense ---- */

static dm_volume *poison(const dm_volume *dwi, size_t bad)
{
    dm_volume *poisoned = map_create(&dwi->grid, dwi->n_volumes, DM_VOLUME_F64);
    double *signals = calloc(dwi->n_volumes, sizeof *signals);
    assert_non_null(signals);
    for (size_t voxel = 0; voxel < dwi->n_voxels; voxel++) {
        dm_volume_gather(dwi, 1, &voxel, signals);
        if (voxel == bad)
            signals[0] = NAN;
        dm_volume_scatter(poisoned, 1, &voxel, signals);
    }
    free(signals);
    return poisoned;
}

static void test_nan_voxels_are_counted_and_stop_nothing(void **state)
{
    (void)state;
    brain b;
    brain_read(&b, DM_FWDTI_NLS);
    const size_t bad = b.mask->voxels[50], good = b.mask->voxels[51];
    dm_volume *poisoned = poison(b.dwi, bad);
    dm_fwdti_fit_input input = b.input;
    input.dwi = poisoned;
    dm_fwdti_maps maps = maps_create(&b.dwi->grid);
    dm_fit_report report;
    assert_ok(dm_init(&(dm_options){.workers = 2}));
    assert_ok(dm_fit_fwdti(&input, NULL, &maps, &report));
    dm_shutdown();
    assert_int_equal(report.n_nan, 1);
    assert_true(isnan(value_at(maps.f, bad)) && isnan(value_at(maps.fa, bad)));
    assert_true(isnan(value_at(maps.md, bad)) && isnan(value_at(maps.rd, bad)));
    assert_true(value_at(maps.evaluations, bad) == 0);
    assert_true(value_at(maps.f, good) == value_at(b.alone.f, good));
    maps_destroy(&maps);
    dm_volume_destroy(poisoned);
    brain_destroy(&b);
}

static void expect_invalid(dm_status status, const char *words)
{
    assert_int_equal(status, DM_ERR_INVALID);
    if (!strstr(dm_last_error(), words))
        fail_msg("'%s' is not in: %s", words, dm_last_error());
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    brain b;
    brain_read(&b, DM_FWDTI_NLS);
    dm_fwdti_maps maps = b.alone;
    assert_int_equal(dm_fit_fwdti(&b.input, NULL, &maps, NULL), DM_ERR_SHUT_DOWN);
    assert_ok(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_mask none = {0};
    dm_fwdti_fit_input input = b.input;
    input.mask = &none;
    expect_invalid(dm_fit_fwdti(&input, NULL, &maps, NULL), "no voxel");
    expect_invalid(dm_fit_fwdti(&b.input, NULL, NULL, NULL), "NULL");
    expect_invalid(dm_fit_fwdti(NULL, NULL, &maps, NULL), "NULL");
    maps.rd = maps.parameters;
    expect_invalid(dm_fit_fwdti(&b.input, NULL, &maps, NULL), "RD");
    b.settings.min_signal = -1;
    expect_invalid(dm_fit_fwdti(&b.input, NULL, &b.alone, NULL), "min_signal is -1");
    expect_invalid(dm_fit_fwdti_alone(&b.input, &b.alone, NULL), "min_signal is -1");
    dm_shutdown();
    brain_destroy(&b);
}

int main(void)
{
    DM_TRY_MAIN(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_shutdown();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_one_process),
        cmocka_unit_test(test_two_processes_on_the_grid),
        cmocka_unit_test(test_three_processes),
        cmocka_unit_test(test_a_worker_killed_on_the_way),
        cmocka_unit_test(test_maps_are_read_off_the_parameters),
        cmocka_unit_test(test_nan_voxels_are_counted_and_stop_nothing),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
