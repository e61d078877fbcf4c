/*
 * test_fit_fwdti_command.c - `dm fit fwdti` as a user meets it: DIPY's values in six complete files
 * that lie where the input lay, nothing overwritten unasked, refusals that name the file.
 *
 * What it shares with `dm fit csd` is the same code; test_fit_command.c has more of that.
 */
#include "test_fit_shell.h"

#define S101   DM_TEST_DATA "/s101"
#define S64    DM_TEST_DATA "/s64"
#define DM_FIT DM_BIN_DIR "/dm fit fwdti "
#define DATA(set)                                                                                  \
    "--dwi " set "/dwi.nii.gz --bval " set "/dwi.bval --bvec " set "/dwi.bvec --mask " set         \
    "/mask.nii.gz --out out "
#define FIT DM_FIT "--engine serial " DATA(S101)

enum { P = DM_FWDTI_PARAMETERS, FILES = 6, VOXELS = 600, VOLUMES = 102 };

static const char *const names[FILES] = {"out/fwdti_params.nii.gz", "out/fwdti_f.nii.gz",
                                         "out/fwdti_fa.nii.gz",     "out/fwdti_md.nii.gz",
                                         "out/fwdti_ad.nii.gz",     "out/fwdti_rd.nii.gz"};

static double value(const dm_volume *map, size_t voxel, size_t volume)
{
    double values[P];
    dm_volume_gather(map, 1, &voxel, values);
    return values[volume];
}

/* ---- outputs ---- */

/* Where 99 % are this near to DIPY's, as tests/data/README.md has it. */
static void check_share(const dm_volume *map, size_t volume, const dm_volume *reference,
                        size_t reference_volume, double bound)
{
    size_t within = 0;
    for (size_t voxel = 0; voxel < VOXELS; voxel++)
        within +=
            fabs(value(map, voxel, volume) - value(reference, voxel, reference_volume)) <= bound;
    assert_true((double)within >= 0.99 * VOXELS);
}

static void check_values(const char *method, const char *parameters_path, const char *maps_path)
{
    assert_runs(FIT "--force --float64 --method %s", method);
    dm_volume *parameters = read_image(names[0]), *reference = read_image(parameters_path);
    dm_volume *maps = read_image(maps_path);
    assert_int_equal(parameters->n_volumes, P);
    for (size_t k = 0; k < 3; k++)
        check_share(parameters, k, reference, k, 1e-6);
    static const double bounds[3] = {1e-4, 1e-3, 1e-7};
    for (size_t k = 0; k < 3; k++) {
        dm_volume *map = read_image(names[1 + k]);
        assert_true(map->n_volumes == 1 && map->type == DM_VOLUME_F64);
        check_share(map, 0, maps, k, bounds[k]);
        dm_volume_destroy(map);
    }
    dm_volume *ad = read_image(names[4]), *rd = read_image(names[5]);
    check_share(ad, 0, parameters, 0, 0);
    for (size_t voxel = 0; voxel < VOXELS; voxel++)
        assert_true(value(rd, voxel, 0) <= value(ad, voxel, 0));
    dm_volume *all[] = {parameters, reference, maps, ad, rd};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dm_volume_destroy(all[i]);
}

static void values_are_dipys_by_both_methods(void **state)
{
    (void)state;
    check_values("nls", S101 "/fwdti_nls.nii.gz", S101 "/fwdti_nls_f_fa_md.nii.gz");
    check_values("wls", S101 "/fwdti_wls.nii.gz", S101 "/fwdti_wls_f_fa_md.nii.gz");
}

static void single_precision_unless_asked(void **state)
{
    (void)state;
    assert_runs(FIT "--method wls");
    for (int k = 0; k < FILES; k++) {
        dm_volume *map = read_image(names[k]);
        assert_int_equal(map->type, DM_VOLUME_F32);
        dm_volume_destroy(map);
    }
}

static void how_does_not_show(void **state)
{
    (void)state;
    assert_runs(FIT "--float64");
    assert_runs("mv out first");
    assert_runs(DM_FIT DATA(S101) "--float64 --workers 2 --voxels-per-chunk 7");
    assert_runs(
        "for f in f fa md ad rd params; do cmp out/fwdti_$f.nii.gz first/fwdti_$f.nii.gz || "
        "exit 1; done");
}

static void what_was_done_is_told(void **state)
{
    (void)state;
    assert_runs(FIT "--chunks 5 --json figures");
    assert_said("fwdti: 600 voxels, 5 tasks");
    assert_said("method: nls");
    for (int k = 0; k < FILES; k++)
        assert_said(names[k]);
    assert_runs("cat figures");
    assert_said("\"command\":\t\"fit fwdti\"");
    assert_said("\"method\":\t\"nls\"");
    assert_said("\"voxels\":\t600");
    assert_runs(FIT "--force --method wls --json -");
    assert_true(last_words()[0] == '{' && strstr(last_words(), "\n}\n"));
}

static void outputs_lie_where_the_input_lay(void **state)
{
    (void)state;
    dm_volume *dwi = read_image(S101 "/dwi.nii.gz");
    dwi->grid = oblique_grid(true, 6, 10, 10);
    assert_ok(dm_volume_write(dwi, "oblique.nii", false));
    assert_runs(DM_FIT "--engine serial --method wls --dwi oblique.nii --bval " S101
                       "/dwi.bval --bvec " S101 "/dwi.bvec --out out");
    for (int k = 0; k < FILES; k++) {
        dm_volume *map = read_image(names[k]);
        assert_memory_equal(map->grid.shape, dwi->grid.shape, sizeof dwi->grid.shape);
        assert_memory_equal(map->grid.sform, dwi->grid.sform, sizeof dwi->grid.sform);
        assert_int_equal(map->grid.sform_code, 1);
        dm_volume_destroy(map);
    }
    dm_volume_destroy(dwi);
}

/* A mask of the first 100 voxels; NaN in one of them, infinity in one outside. */
static void masks_and_voxels_without_an_answer(void **state)
{
    (void)state;
    dm_volume *dwi = read_image(S101 "/dwi.nii.gz"), *copy, *mask;
    assert_ok(dm_volume_create(&dwi->grid, VOLUMES, DM_VOLUME_F32, &copy));
    assert_ok(dm_volume_create(&dwi->grid, 1, DM_VOLUME_U8, &mask));
    for (size_t voxel = 0; voxel < VOXELS; voxel++) {
        double signals[VOLUMES];
        dm_volume_gather(dwi, 1, &voxel, signals);
        if (voxel == 70 || voxel == 170)
            signals[99] = voxel == 70 ? NAN : INFINITY;
        dm_volume_scatter(copy, 1, &voxel, signals);
    }
    memset(mask->data, 1, 100);
    assert_ok(dm_volume_write(copy, "dwi.nii", false));
    assert_ok(dm_volume_write(mask, "mask.nii", false));
    assert_runs(FIT "--dwi dwi.nii --mask mask.nii");
    assert_said("100 voxels");
    assert_said("1 voxels had NaN");
    for (int k = 0; k < FILES; k++) {
        dm_volume *map = read_image(names[k]);
        for (size_t voxel = 0; voxel < VOXELS; voxel++) {
            const double v = value(map, voxel, map->n_volumes - 1);
            assert_true(isnan(v) == (voxel == 70));
            assert_true(voxel < 100 || v == 0);
        }
        dm_volume_destroy(map);
    }
    dm_volume_destroy(dwi);
    dm_volume_destroy(copy);
    dm_volume_destroy(mask);
}

/* ---- options ---- */

static double mean_f(void)
{
    dm_volume *f = read_image(names[1]);
    double sum = 0;
    for (size_t voxel = 0; voxel < VOXELS; voxel++)
        sum += value(f, voxel, 0);
    dm_volume_destroy(f);
    return sum / VOXELS;
}

static void settings_reach_the_fit(void **state)
{
    (void)state;
    assert_runs(FIT "--method wls --mdreg 0");
    assert_true(mean_f() == 1);
    assert_runs(FIT "--force --method wls --min-signal 1e9");
    assert_true(mean_f() == 0);
    assert_runs(FIT "--force --float64 --method wls --piterations 1");
    dm_volume *f = read_image(names[1]);
    for (size_t voxel = 0; voxel < VOXELS; voxel++)
        assert_true(fabs(10 * value(f, voxel, 0) - nearbyint(10 * value(f, voxel, 0))) < 1e-9);
    dm_volume_destroy(f);
}

static void the_options_of_the_non_linear_fit(void **state)
{
    (void)state;
    static const char *const options[3][2] = {
        {"--cholesky", "cholesky"},
        {"--no-f-transform", "no_f_transform"},
        {"--cholesky --no-f-transform", "cholesky_no_f_transform"}};
    for (int k = 0; k < 3; k++) {
        char path[512];
        snprintf(path, sizeof path, S101 "/fwdti_nls_%s.nii.gz", options[k][1]);
        assert_runs(FIT "--force --float64 --json figures %s", options[k][0]);
        assert_said(k == 0   ? "method: nls, Cholesky factors"
                    : k == 1 ? "method: nls, f untransformed"
                             : "method: nls, Cholesky factors, f untransformed");
        dm_volume *parameters = read_image(names[0]), *reference = read_image(path);
        for (size_t e = 0; e < 3; e++)
            check_share(parameters, e, reference, e, 1e-6);
        check_share(parameters, DM_FWDTI_F, reference, DM_FWDTI_F, 1e-4);
        dm_volume_destroy(parameters);
        dm_volume_destroy(reference);
        assert_runs("cat figures");
        assert_said(k == 1 ? "\"cholesky\":\tfalse" : "\"cholesky\":\ttrue");
        assert_said(k == 0 ? "\"f_transform\":\ttrue" : "\"f_transform\":\tfalse");
    }
}

/* The tasks' settings travel; a worker fits what the driver would. */
static void options_reach_the_workers(void **state)
{
    (void)state;
    assert_runs(FIT "--float64 --cholesky --no-f-transform");
    assert_runs("mv out first");
    assert_runs(DM_FIT DATA(S101) "--float64 --workers 2 --chunks 9 --cholesky --no-f-transform");
    assert_runs("cmp out/fwdti_params.nii.gz first/fwdti_params.nii.gz");
    assert_runs(FIT "--force --float64");
    assert_int_equal(shell("cmp out/fwdti_params.nii.gz first/fwdti_params.nii.gz"), 1);
}

static void usage_is_told(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"--method mcmc", "wls or nls"},
        {"--mdreg -1", "'-1'"},
        {"--min-signal 0", "above 0"},
        {"--piterations 9", "1 to 8"},
        {"--lmax 8", "unknown"},
        {"--chunks 2 --voxels-per-chunk 2", "exclude"},
        {"surplus", "'surplus'"},
        {"--method wls --cholesky", "--cholesky does not go with --method wls"},
        {"--no-f-transform --method wls", "--no-f-transform does not go with --method wls"}};
    for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
        assert_int_equal(shell(FIT "%s", wrong[k][0]), 2);
        assert_said(wrong[k][1]);
        assert_said("dm fit fwdti --help");
    }
    assert_int_equal(shell(DM_FIT "--dwi x"), 2);
    assert_said("--bval is missing");
    assert_runs(DM_FIT "--help");
    assert_said("Usage: dm fit fwdti");
    assert_said("--cholesky");
    assert_said("--no-f-transform");
    assert_int_equal(shell(DM_BIN_DIR "/dm fit"), 2);
    assert_said("fwdti");
    assert_true(access("out", F_OK) != 0);
}

/* ---- refusals ---- */

static void existing_outputs_are_refused_without_force(void **state)
{
    (void)state;
    assert_runs("mkdir out; echo mine >out/fwdti_rd.nii.gz");
    assert_int_equal(shell(FIT), 1);
    assert_said("out/fwdti_rd.nii.gz");
    assert_said("--force");
    assert_runs("test $(cat out/fwdti_rd.nii.gz) = mine && test $(ls out | wc -l) = 1");
    assert_runs(FIT "--force");
    assert_runs("test $(ls out | wc -l) = 6");
}

static void too_few_b_values_are_refused(void **state)
{
    (void)state;
    assert_int_equal(shell(DM_FIT "--engine serial " DATA(S64)), 1);
    assert_said(S64 "/dwi.bval");
    assert_said("2 distinct b-values were found");
    assert_said("at least 3");
    assert_int_equal(shell(FIT "--volumes 1-60"), 1);
    assert_said("is a b0");
    assert_true(access("out", F_OK) != 0);
}

static void inputs_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    assert_int_equal(shell(FIT "--dwi no.nii.gz"), 1);
    assert_said("no.nii.gz: ");
    assert_int_equal(shell(FIT "--bval " S64 "/dwi.bval --bvec " S64 "/dwi.bvec"), 1);
    assert_said(S64 "/dwi.bval");
    assert_said("102 volumes");
    assert_int_equal(shell(FIT "--mask " S64 "/mask.nii.gz"), 1);
    assert_said("10 x 10 x 10");
    assert_int_equal(shell(FIT "--out " S101 "/dwi.bval"), 1);
    assert_said("folder");
    assert_true(access("out", F_OK) != 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(values_are_dipys_by_both_methods),
        CASE(single_precision_unless_asked),
        CASE(how_does_not_show),
        CASE(what_was_done_is_told),
        CASE(outputs_lie_where_the_input_lay),
        CASE(masks_and_voxels_without_an_answer),
        CASE(settings_reach_the_fit),
        CASE(the_options_of_the_non_linear_fit),
        CASE(options_reach_the_workers),
        CASE(usage_is_told),
        CASE(existing_outputs_are_refused_without_force),
        CASE(too_few_b_values_are_refused),
        CASE(inputs_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
