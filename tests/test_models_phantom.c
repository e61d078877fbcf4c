/*
 * test_models_phantom.c - the phantom has the tissues and the noise it is said to have, a voxel is the
 * same whoever asks for it, and the file holds what the voxels are.
 */
#include "test_models_golden.h"

enum { MANY = 20000 };

static dm_gradients *make_gradients(size_t n_b0, size_t n_dwi)
{
    double *b = golden_alloc(n_b0 + n_dwi, sizeof *b);
    dm_vector *g = golden_alloc(n_b0 + n_dwi, sizeof *g);
    dm_gradients *table;
    for (size_t i = 0; i < n_dwi; i++) {
        b[n_b0 + i] = 3000;
        memcpy(g[n_b0 + i], dm_sphere362()[i], sizeof *g);
    }
    assert_dm_ok(dm_gradients_create(n_b0 + n_dwi, b, (const dm_vector *)g, &table));
    free(b);
    free(g);
    return table;
}

static double *make_voxels(const dm_phantom_settings *s, const dm_gradients *g, size_t n)
{
    size_t *voxels = golden_alloc(n, sizeof *voxels);
    double *signals = golden_alloc(n * g->n_volumes, sizeof *signals);
    for (size_t i = 0; i < n; i++)
        voxels[i] = i;
    dm_phantom_signals(s, g, n, voxels, signals);
    free(voxels);
    return signals;
}

/* Without noise the b0 is S0: 2200, 1300 or 1000 within a tenth. */
static void tissues_have_their_shares(void **state)
{
    (void)state;
    dm_phantom_settings s = dm_phantom_defaults();
    s.snr = 1e12;
    dm_gradients *g = make_gradients(1, 0);
    double *b0 = make_voxels(&s, g, MANY);
    double fluid = 0, grey = 0, white = 0;
    for (size_t i = 0; i < MANY; i++) {
        fluid += b0[i] >= 1980 && b0[i] <= 2420;
        grey += b0[i] >= 1170 && b0[i] <= 1430;
        white += b0[i] >= 900 && b0[i] <= 1100;
    }
    assert_true(fabs(fluid / MANY - 0.12) < 0.01);
    assert_true(fabs(grey / MANY - 0.36) < 0.01);
    assert_true(fabs(white / MANY - 0.52) < 0.01);
    free(b0);
    dm_gradients_destroy(g);
}

/* At SNR 25 and more Rician noise is nearly normal, with sigma = 1000 / 25. */
static void noise_is_as_strong_as_asked(void **state)
{
    (void)state;
    enum { B0 = 200, VOXELS = 200 };
    const dm_phantom_settings s = dm_phantom_defaults();
    dm_gradients *g = make_gradients(B0, 0);
    double *signals = make_voxels(&s, g, VOXELS), spread = 0;
    for (size_t i = 0; i < VOXELS; i++) {
        double mean = 0, squares = 0;
        for (size_t t = 0; t < B0; t++)
            mean += signals[i * B0 + t] / B0;
        for (size_t t = 0; t < B0; t++)
            squares += (signals[i * B0 + t] - mean) * (signals[i * B0 + t] - mean);
        spread += squares / (B0 - 1) / VOXELS;
    }
    assert_true(fabs(sqrt(spread) - 40) < 1);
    free(signals);
    dm_gradients_destroy(g);
}

/* Pure fluid at b 3000 has nearly no signal left: what is measured is the noise floor. */
static void noise_is_rician_where_there_is_no_signal(void **state)
{
    (void)state;
    const dm_phantom_settings s = dm_phantom_defaults();
    dm_gradients *g = make_gradients(1, 100);
    double *signals = make_voxels(&s, g, 2000), sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < 2000; i++)
        for (size_t t = 1; t <= 100 && signals[i * 101] > 1900; t++, n++)
            sum += signals[i * 101 + t];
    const double floor = 40 * sqrt(M_PI / 2); /* the mean of pure Rician noise */
    assert_true(n > 10000 && sum / (double)n > floor && sum / (double)n < 1.15 * floor);
    free(signals);
    dm_gradients_destroy(g);
}

static void a_voxel_is_the_same_whoever_asks(void **state)
{
    (void)state;
    dm_phantom_settings s = dm_phantom_defaults();
    dm_gradients *g = make_gradients(2, 30);
    double *all = make_voxels(&s, g, 50), one[32];
    for (size_t voxel = 50; voxel-- > 0;) {
        dm_phantom_signals(&s, g, 1, &voxel, one);
        assert_memory_equal(one, all + voxel * 32, sizeof one);
    }
    s.seed = 1;
    dm_phantom_signals(&s, g, 1, (const size_t[]){0}, one);
    assert_memory_not_equal(one, all, sizeof one);
    free(all);
    dm_gradients_destroy(g);
}

/* On real brains CSD takes 4.7 to 6.6 solves a voxel. */
static void fits_take_as_long_as_on_a_brain(void **state)
{
    (void)state;
    enum { VOXELS = 400 };
    golden scheme = golden_open("hcpsim_s");
    const dm_phantom_settings s = dm_phantom_defaults();
    double *signals = make_voxels(&s, scheme.gradients, VOXELS), mean = 0;
    double *c = golden_alloc(VOXELS * GOLDEN_COEFFICIENTS, sizeof *c);
    int32_t solves[VOXELS];
    dm_csd *model;
    dm_csd_workspace *workspace;
    golden_model(&scheme, &model, &workspace);
    assert_dm_ok(dm_csd_fit(model, workspace, VOXELS, signals, c, solves));
    for (size_t i = 0; i < VOXELS; i++)
        mean += (double)solves[i] / VOXELS;
    print_message("%.2f solves a voxel\n", mean);
    assert_true(mean > 4.5 && mean < 7);
    dm_csd_workspace_destroy(workspace);
    dm_csd_destroy(model);
    free(signals);
    free(c);
    golden_close(&scheme);
}

/* More voxels than a block of 16 MiB holds. */
static void the_file_holds_the_voxels(void **state)
{
    (void)state;
    dm_phantom_settings s = dm_phantom_defaults();
    memcpy(s.shape, (const size_t[3]){33, 31, 33}, sizeof s.shape);
    const size_t n = s.shape[0] * s.shape[1] * s.shape[2];
    dm_gradients *g = make_gradients(10, 270);
    assert_true(n * 280 * sizeof(int16_t) > 16 << 20);
    assert_dm_ok(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL));
    dm_volume *image;
    assert_dm_ok(dm_dwi_read("p.nii", g, &image));
    assert_true(image->type == DM_VOLUME_I16 && image->n_voxels == n);
    for (size_t voxel = 0; voxel < n; voxel += 1117) {
        double pure[280], stored[280];
        dm_phantom_signals(&s, g, 1, &voxel, pure);
        dm_volume_gather(image, 1, &voxel, stored);
        for (int t = 0; t < 280; t++)
            assert_true(stored[t] == rint(pure[t]));
    }
    dm_volume_destroy(image);
    assert_dm_error(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL), DM_ERR_IO, "exists");
    assert_int_equal(remove("p.nii"), 0);
    dm_gradients_destroy(g);
}

static void compressed_or_single_precision_it_is_the_same(void **state)
{
    (void)state;
    dm_phantom_settings s = dm_phantom_defaults();
    memcpy(s.shape, (const size_t[3]){7, 5, 3}, sizeof s.shape);
    s.type = DM_VOLUME_F32;
    dm_gradients *g = make_gradients(1, 20);
    dm_volume *a, *b;
    assert_dm_ok(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL));
    assert_dm_ok(dm_phantom_write(&s, g, "p.nii.gz", false, NULL, NULL));
    assert_dm_ok(dm_volume_read("p.nii", &a));
    assert_dm_ok(dm_volume_read("p.nii.gz", &b));
    assert_true(a->type == DM_VOLUME_F32 && b->type == DM_VOLUME_F32);
    assert_memory_equal(a->data, b->data, 7 * 5 * 3 * 21 * sizeof(float));
    dm_volume_destroy(a);
    dm_volume_destroy(b);
    assert_int_equal(remove("p.nii"), 0);
    assert_int_equal(remove("p.nii.gz"), 0);
    dm_gradients_destroy(g);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    dm_phantom_settings s = dm_phantom_defaults();
    dm_gradients *g = make_gradients(1, 6);
    assert_dm_error(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL), DM_ERR_INVALID, "0 x 0");
    s.shape[0] = s.shape[1] = s.shape[2] = 2;
    assert_dm_error(dm_phantom_write(&s, g, "p.img", false, NULL, NULL), DM_ERR_INVALID, ".nii");
    s.snr = 0;
    assert_dm_error(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL), DM_ERR_INVALID, "SNR");
    s = (dm_phantom_settings){{2, 2, 40000}, 0, 25, DM_VOLUME_I16};
    assert_dm_error(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL), DM_ERR_INVALID, "40000");
    s = (dm_phantom_settings){{2, 2, 2}, 0, 25, DM_VOLUME_F64};
    assert_dm_error(dm_phantom_write(&s, g, "p.nii", false, NULL, NULL), DM_ERR_INVALID, "float32");
    dm_gradients_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tissues_have_their_shares),
        cmocka_unit_test(noise_is_as_strong_as_asked),
        cmocka_unit_test(noise_is_rician_where_there_is_no_signal),
        cmocka_unit_test(a_voxel_is_the_same_whoever_asks),
        cmocka_unit_test(fits_take_as_long_as_on_a_brain),
        cmocka_unit_test(the_file_holds_the_voxels),
        cmocka_unit_test(compressed_or_single_precision_it_is_the_same),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, enter_own_directory, leave_own_directory);
}
