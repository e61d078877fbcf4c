/*
 * test_models_response.c - the response is DIPY's, from a mask and from the box at the centre; its
 * text file gives the same bits back.
 */
#include "test_models_golden.h"

static void check_response(const char *set, const dm_response *found, const dm_response *expected)
{
    const double a[4] = {found->evals[0], found->evals[1], found->evals[2], found->s0};
    const double b[4] = {expected->evals[0], expected->evals[1], expected->evals[2], expected->s0};
    for (int k = 0; k < 4; k++)
        if (!(fabs(a[k] - b[k]) <= 1e-9 * fabs(b[k])))
            fail_msg("%s: number %d is %.17g, DIPY has %.17g", set, k, a[k], b[k]);
}

static void mask_gives_dipys_response(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        dm_mask *mask;
        dm_response found;
        assert_dm_ok(dm_mask_read(golden_path(g.name, "response_mask.nii.gz"), g.dwi, &mask));
        assert_dm_ok(dm_response_from_mask(g.dwi, g.gradients, mask, &found));
        check_response(g.name, &found, &g.response);
        dm_mask_destroy(mask);
        golden_close(&g);
    }
}

/* In these two sets DIPY was left to find the voxels itself; in s101 it was given a mask. */
static void box_gives_dipys_response(void **state)
{
    (void)state;
    static const char *const sets[] = {"s64", "hcpsim_s"};
    for (int s = 0; s < 2; s++) {
        golden g = golden_open(sets[s]);
        dm_mask *mask;
        dm_response found;
        size_t n;
        assert_dm_ok(dm_mask_read(golden_path(g.name, "response_mask.nii.gz"), g.dwi, &mask));
        assert_dm_ok(dm_response_auto_ssst(g.dwi, g.gradients, NULL, &found, &n));
        check_response(g.name, &found, &g.response);
        assert_int_equal(n, mask->n);
        dm_mask_destroy(mask);
        golden_close(&g);
    }
}

static void a_box_of_one_voxel_works(void **state)
{
    (void)state;
    golden g = golden_open("s64");
    const dm_response_settings settings = {.roi_radius = 0, .fa_threshold = 0};
    const size_t centre = 5 + 10 * (5 + 10 * 5);
    dm_mask mask = {.n = 1, .voxels = (size_t[]){centre}};
    dm_response box, one;
    size_t n;
    assert_dm_ok(dm_response_auto_ssst(g.dwi, g.gradients, &settings, &box, &n));
    assert_dm_ok(dm_response_from_mask(g.dwi, g.gradients, &mask, &one));
    assert_int_equal(n, 1);
    assert_memory_equal(&box, &one, sizeof one);
    golden_close(&g);
}

/* An image of one voxel with these signals. */
static dm_volume *one_voxel(const dm_gradients *gradients, const double *signals)
{
    const dm_grid grid = {.shape = {1, 1, 1}};
    const size_t voxel = 0;
    dm_volume *image;
    assert_dm_ok(dm_volume_create(&grid, gradients->n_volumes, DM_VOLUME_F64, &image));
    dm_volume_scatter(image, 1, &voxel, signals);
    return image;
}

static void nothing_anisotropic_is_an_error(void **state)
{
    (void)state;
    golden g = golden_open("s64");
    double *signals = golden_alloc(g.gradients->n_volumes, sizeof *signals);
    for (size_t i = 0; i < g.gradients->n_volumes; i++)
        signals[i] = 500 * exp(-g.gradients->b[i] * 0.0007);
    dm_volume *image = one_voxel(g.gradients, signals);
    dm_response_settings settings = dm_response_defaults();
    dm_response found = {{1, 2, 3}, 4};
    assert_dm_error(dm_response_auto_ssst(image, g.gradients, NULL, &found, NULL), DM_ERR_NUMERIC,
                    "none of the 1 voxels");
    settings.fa_threshold = 2;
    assert_dm_error(dm_response_auto_ssst(image, g.gradients, &settings, &found, NULL),
                    DM_ERR_INVALID, "threshold 2");
    assert_true(found.s0 == 4);
    dm_volume_destroy(image);
    free(signals);
    golden_close(&g);
}

static void noiseless_tensor_is_found_again(void **state)
{
    (void)state;
    golden g = golden_open("hcpsim_s");
    const size_t n = g.gradients->n_volumes;
    double *signals = golden_alloc(n, sizeof *signals);
    for (size_t i = 0; i < n; i++) {
        const double *v = g.gradients->g[i];
        signals[i] = 500 * exp(-g.gradients->b[i] * (0.0017 * v[1] * v[1] + 0.0003 * v[0] * v[0] +
                                                     0.0003 * v[2] * v[2]));
    }
    dm_volume *image = one_voxel(g.gradients, signals);
    dm_response found;
    const dm_response expected = {{0.0017, 0.0003, 0.0003}, 500};
    assert_dm_ok(dm_response_auto_ssst(image, g.gradients, NULL, &found, NULL));
    check_response("tensor", &found, &expected);
    dm_volume_destroy(image);

    signals[7] = NAN;
    image = one_voxel(g.gradients, signals);
    const dm_mask mask = {.n = 1, .voxels = (size_t[]){0}};
    assert_dm_error(dm_response_from_mask(image, g.gradients, &mask, &found), DM_ERR_NUMERIC,
                    "not finite");
    assert_dm_error(dm_response_auto_ssst(image, g.gradients, NULL, &found, NULL), DM_ERR_NUMERIC,
                    "none of the 1 voxels");
    dm_volume_destroy(image);
    free(signals);
    golden_close(&g);
}

static void wrong_tables_are_refused(void **state)
{
    (void)state;
    golden g = golden_open("s64");
    dm_gradients *some;
    dm_response found;
    const size_t volumes[3] = {0, 1, 2};
    assert_dm_ok(dm_gradients_select(g.gradients, 3, volumes, &some));
    assert_dm_error(dm_response_auto_ssst(g.dwi, some, NULL, &found, NULL), DM_ERR_INVALID,
                    "65 volumes");
    const dm_mask none = {0};
    assert_dm_error(dm_response_from_mask(g.dwi, g.gradients, &none, &found), DM_ERR_INVALID,
                    "empty");
    dm_gradients_destroy(some);
    golden_close(&g);
}

static void text_gives_the_same_bits(void **state)
{
    (void)state;
    const dm_response written = {{0.1 / 3, 1e-300 / 7, 2.0 / 3e4}, 1e9 / 7};
    dm_response found;
    assert_dm_ok(dm_response_write(&written, "response.txt", false));
    assert_dm_ok(dm_response_read("response.txt", &found));
    assert_memory_equal(&found, &written, sizeof found);
    assert_dm_error(dm_response_write(&written, "response.txt", false), DM_ERR_IO,
                    "exists already");
    assert_dm_ok(dm_response_write(&written, "response.txt", true));
    assert_dm_error(dm_response_write(&written, "absent/response.txt", false), DM_ERR_IO, "absent");
    remove("response.txt");
}

static void check_text(const char *text, const char *words)
{
    dm_response found;
    write_text("response.txt", text);
    assert_dm_error(dm_response_read("response.txt", &found), DM_ERR_FORMAT, words);
    remove("response.txt");
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    dm_response found;
    check_text("# nothing but words\n", "no number");
    check_text("1 2 3\n", "3 numbers in 1 rows");
    check_text("1 2 3 4 5\n", "5 numbers");
    check_text("1 2\n3 4\n", "in 2 rows");
    check_text("1 2 x 4\n", "'x'");
    check_text("1 2 nan 4\n", "nan");
    check_text("1 2 3 0\n", "S0 0");
    check_text("1.7 0.3 0.3 1000\n", "divide by 1000 if it is in um2/ms"); /* um2/ms */
    check_text("1700 300 300 1000\n", "expected mm2/s");                    /* um2/s */
    check_text("1.7e-5 3e-6 3e-6 1000\n", "expected mm2/s");                /* cm2/s */
    check_text("1.7e-9 3e-10 3e-10 1000\n", "expected mm2/s");              /* m2/s */
    assert_dm_error(dm_response_read("absent.txt", &found), DM_ERR_IO, "absent.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mask_gives_dipys_response),
        cmocka_unit_test(box_gives_dipys_response),
        cmocka_unit_test(nothing_anisotropic_is_an_error),
        cmocka_unit_test(a_box_of_one_voxel_works),
        cmocka_unit_test(noiseless_tensor_is_found_again),
        cmocka_unit_test(wrong_tables_are_refused),
        cmocka_unit_test(text_gives_the_same_bits),
        cmocka_unit_test(bad_text_is_refused),
    };
    return cmocka_run_group_tests(tests, enter_own_directory, leave_own_directory);
}
