/*
 * A fit by tasks gives the bits of the fit alone: whatever the engine, the number of workers and
 * the chunks. And these bits are DIPY's results within what two BLAS libraries differ by.
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
#include "tests/support/watch.h"

enum { N_COEFFICIENTS = 45 };

/* Measured: OpenBLAS and reference BLAS differ by 1e-12, data with noise of 1e-10 by 1e-9. */
static const double bound = 1e-8, share = 0.999;

typedef struct brain {
    dm_volume *dwi;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_csd_fit_input input;
    dm_csd_maps alone; /* the bits to compare with */
} brain;

static void assert_ok(dm_status status)
{
    if (status != DM_OK)
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
}

static const char *data_path(const char *set, const char *file)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", DM_TEST_DATA, set, file);
    return path;
}

static dm_csd_maps maps_create(const dm_grid *grid)
{
    dm_csd_maps maps = {0};
    assert_ok(dm_volume_create(grid, N_COEFFICIENTS, DM_VOLUME_F64, &maps.coefficients));
    assert_ok(dm_volume_create(grid, 1, DM_VOLUME_F64, &maps.gfa));
    assert_ok(dm_volume_create(grid, 1, DM_VOLUME_I32, &maps.iterations));
    return maps;
}

static void maps_destroy(dm_csd_maps *maps)
{
    dm_volume_destroy(maps->coefficients);
    dm_volume_destroy(maps->gfa);
    dm_volume_destroy(maps->iterations);
}

static brain brain_read(const char *set)
{
    brain b = {0};
    char bval[512];
    snprintf(bval, sizeof bval, "%s", data_path(set, "dwi.bval"));
    assert_ok(dm_volume_read(data_path(set, "dwi.nii.gz"), &b.dwi));
    assert_ok(dm_gradients_read(bval, data_path(set, "dwi.bvec"), &b.gradients));
    assert_ok(dm_mask_read(data_path(set, "mask.nii.gz"), b.dwi, &b.mask));
    b.input = (dm_csd_fit_input){.dwi = b.dwi, .gradients = b.gradients, .mask = b.mask};
    assert_ok(dm_response_read(data_path(set, "response.txt"), &b.input.response));
    b.alone = maps_create(&b.dwi->grid);
    dm_fit_report report;
    assert_ok(dm_fit_csd_alone(&b.input, &b.alone, &report));
    assert_int_equal(report.n_voxels, b.mask->n);
    assert_int_equal(report.n_chunks, 0);
    return b;
}

static void brain_destroy(brain *b)
{
    maps_destroy(&b->alone);
    dm_mask_destroy(b->mask);
    dm_gradients_destroy(b->gradients);
    dm_volume_destroy(b->dwi);
}

/* ---- the same bits ---- */

static void assert_same_bits(const dm_csd_maps *a, const dm_csd_maps *b, size_t n_voxels)
{
    assert_memory_equal(a->coefficients->data, b->coefficients->data,
                        n_voxels * N_COEFFICIENTS * sizeof(double));
    assert_memory_equal(a->gfa->data, b->gfa->data, n_voxels * sizeof(double));
    assert_memory_equal(a->iterations->data, b->iterations->data, n_voxels * sizeof(int32_t));
}

static void count_progress(void *context, size_t n_done, size_t n_voxels)
{
    size_t *last = context;
    assert_true(n_done > *last && n_done <= n_voxels);
    *last = n_done;
}

/* `n_chunks` 0: so many as there may be. */
static void check_cut(const brain *b, size_t chunks, size_t voxels_per_chunk, size_t n_chunks)
{
    size_t last = 0;
    dm_fit_options options = {.chunks = chunks,
                              .voxels_per_chunk = voxels_per_chunk,
                              .progress = count_progress,
                              .context = &last};
    dm_csd_maps maps = maps_create(&b->dwi->grid);
    dm_fit_report report;
    assert_ok(dm_fit_csd(&b->input, &options, &maps, &report));
    assert_in_range(report.n_chunks, n_chunks ? n_chunks : 1, n_chunks ? n_chunks : b->mask->n);
    assert_int_equal(report.n_voxels, b->mask->n);
    assert_int_equal(report.n_nan, 0);
    assert_int_equal(last, b->mask->n);
    assert_same_bits(&maps, &b->alone, b->dwi->n_voxels);
    maps_destroy(&maps);
}

static void check_engine(dm_engine engine, int workers)
{
    brain b = brain_read("s64");
    size_t n = b.mask->n;
    assert_ok(dm_init(&(dm_options){.engine = engine, .workers = workers}));
    check_cut(&b, 0, 0, 0);
    check_cut(&b, 0, 1, n);
    check_cut(&b, 0, 7, (n + 6) / 7);
    check_cut(&b, 0, 112, (n + 111) / 112);
    check_cut(&b, 0, 4096, 1);
    check_cut(&b, 0, n, 1);
    check_cut(&b, 13, 0, 13);
    check_cut(&b, 10 * n, 0, n);
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
    check_engine(DM_ENGINE_SERIAL, 1);
}

static void test_threads(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_THREADS, 1);
    check_engine(DM_ENGINE_THREADS, 3);
}

static void test_one_process(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 1);
}

static void test_two_processes(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 2);
}

static void test_three_processes(void **state)
{
    (void)state;
    check_engine(DM_ENGINE_PROCESSES, 3);
}

/* Chunks are not sent all at once: the store holds a few of them only. */
static void test_a_store_smaller_than_the_image(void **state)
{
    (void)state;
    brain b = brain_read("s64");
    assert_ok(dm_init(&(dm_options){.workers = 2, .store_bytes = 1 << 20}));
    check_cut(&b, 0, 0, 0);
    check_cut(&b, 0, 1, b.mask->n);
    check_cut(&b, 0, 20, (b.mask->n + 19) / 20);
    dm_shutdown();
    brain_destroy(&b);
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

/* The one that was killed may have had nothing left to do: then the fit did not wait for the news. */
static void assert_a_worker_is_missed(void)
{
    const int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    dm_stats now;
    do {
        watch_pause();
        assert_ok(dm_stats_get(&now));
    } while (now.workers_lost < 1 && watch_now_ms() < until);
    assert_int_equal(now.workers_lost, 1);
}

static void test_a_worker_killed_on_the_way(void **state)
{
    (void)state;
    brain b = brain_read("s64");
    int killed = 0;
    dm_fit_options options = {
        .voxels_per_chunk = 5, .progress = kill_worker_at_a_third, .context = &killed};
    dm_csd_maps maps = maps_create(&b.dwi->grid);
    assert_ok(dm_init(&(dm_options){.workers = 2, .log = drop_line}));
    assert_ok(dm_fit_csd(&b.input, &options, &maps, NULL));
    assert_true(killed);
    assert_a_worker_is_missed();
    dm_shutdown();
    assert_same_bits(&maps, &b.alone, b.dwi->n_voxels);
    maps_destroy(&maps);
    brain_destroy(&b);
}

/* ---- DIPY's results ---- */

static double voxel_deviation(const double *c, const double *reference)
{
    double apart = 0, largest = 0;
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        apart = fmax(apart, fabs(c[i] - reference[i]));
        largest = fmax(largest, fabs(reference[i]));
    }
    return apart / largest;
}

static void check_reference(const char *set)
{
    brain b = brain_read(set);
    dm_volume *sh, *iterations;
    assert_ok(dm_volume_read(data_path(set, "csd_sh.nii.gz"), &sh));
    assert_ok(dm_volume_read(data_path(set, "csd_nit.nii.gz"), &iterations));
    dm_csd_maps maps = maps_create(&b.dwi->grid);
    assert_ok(dm_init(&(dm_options){.workers = 2}));
    assert_ok(dm_fit_csd(&b.input, NULL, &maps, NULL));
    dm_shutdown();
    size_t close = 0, equal = 0;
    for (size_t i = 0; i < b.mask->n; i++) {
        double ours[N_COEFFICIENTS], theirs[N_COEFFICIENTS], our_count, their_count;
        size_t voxel = b.mask->voxels[i];
        dm_volume_gather(maps.coefficients, 1, &voxel, ours);
        dm_volume_gather(sh, 1, &voxel, theirs);
        dm_volume_gather(maps.iterations, 1, &voxel, &our_count);
        dm_volume_gather(iterations, 1, &voxel, &their_count);
        close += voxel_deviation(ours, theirs) <= bound;
        equal += our_count == their_count;
    }
    assert_true((double)close >= share * (double)b.mask->n);
    assert_true((double)equal >= share * (double)b.mask->n);
    maps_destroy(&maps);
    dm_volume_destroy(iterations);
    dm_volume_destroy(sh);
    brain_destroy(&b);
}

static void test_dipy_s64(void **state)
{
    (void)state;
    check_reference("s64");
}

static void test_dipy_s101(void **state)
{
    (void)state;
    check_reference("s101");
}

/* ---- voxels without an answer, and calls that make no sense ---- */

static void *poison(const dm_volume *dwi, dm_volume **poisoned)
{
    static const size_t voxels[] = {0, 500, 501};
    assert_ok(dm_volume_create(&dwi->grid, dwi->n_volumes, DM_VOLUME_F64, poisoned));
    double *signals = calloc(dwi->n_volumes, sizeof *signals);
    assert_non_null(signals);
    for (size_t voxel = 0; voxel < dwi->n_voxels; voxel++) {
        dm_volume_gather(dwi, 1, &voxel, signals);
        if (voxel == voxels[0] || voxel == voxels[1] || voxel == voxels[2])
            signals[dwi->n_volumes - 1] = NAN;
        dm_volume_scatter(*poisoned, 1, &voxel, signals);
    }
    free(signals);
    return *poisoned;
}

static void test_nan_voxels_are_counted_and_stop_nothing(void **state)
{
    (void)state;
    brain b = brain_read("s64");
    dm_volume *poisoned;
    dm_csd_fit_input input = b.input;
    input.dwi = poison(b.dwi, &poisoned);
    dm_csd_maps maps = maps_create(&b.dwi->grid);
    dm_fit_report report;
    assert_ok(dm_init(&(dm_options){.workers = 2}));
    assert_ok(dm_fit_csd(&input, &(dm_fit_options){.voxels_per_chunk = 10}, &maps, &report));
    dm_shutdown();
    assert_int_equal(report.n_nan, 3);
    const double *ours = maps.coefficients->data, *clean = b.alone.coefficients->data;
    for (size_t i = 0; i < b.dwi->n_voxels * N_COEFFICIENTS; i++) {
        if (!isnan(ours[i]))
            assert_memory_equal(&ours[i], &clean[i], sizeof(double));
    }
    assert_true(isnan(ours[500]) && isnan(((double *)maps.gfa->data)[500]) && !isnan(ours[502]));
    assert_int_equal(((int32_t *)maps.iterations->data)[500], 0);
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
    brain b = brain_read("s64");
    dm_csd_maps maps = b.alone, wrong = b.alone;
    assert_int_equal(dm_fit_csd(&b.input, NULL, &maps, NULL), DM_ERR_SHUT_DOWN);
    assert_ok(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_mask none = {0};
    dm_csd_fit_input input = b.input;
    input.mask = &none;
    expect_invalid(dm_fit_csd(&input, NULL, &maps, NULL), "no voxel");
    dm_fit_options both = {.chunks = 2, .voxels_per_chunk = 2};
    expect_invalid(dm_fit_csd(&b.input, &both, &maps, NULL), "only one");
    wrong.gfa = maps.coefficients;
    expect_invalid(dm_fit_csd(&b.input, NULL, &wrong, NULL), "GFA");
    input = b.input;
    input.response.s0 = -1;
    expect_invalid(dm_fit_csd(&input, NULL, &maps, NULL), "");
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
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_three_processes),
        cmocka_unit_test(test_a_store_smaller_than_the_image),
        cmocka_unit_test(test_a_worker_killed_on_the_way),
        cmocka_unit_test(test_dipy_s64),
        cmocka_unit_test(test_dipy_s101),
        cmocka_unit_test(test_nan_voxels_are_counted_and_stop_nothing),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
