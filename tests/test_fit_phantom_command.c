/*
 * test_fit_phantom_command.c - dm phantom writes the image it was asked for, one that dm fit csd takes,
 * and says what is wrong with what it was asked.
 */
#include "test_fit_shell.h"

#define SCHEME  DM_TEST_DATA "/s64/dwi"
#define PHANTOM DM_BIN_DIR "/dm phantom "

static void it_writes_what_was_asked(void **state)
{
    (void)state;
    assert_runs(PHANTOM "--shape 12,10,8 --scheme " SCHEME " --seed 5 --out p.nii.gz");
    assert_said("12 x 10 x 8 voxels, 65 volumes");
    assert_runs(PHANTOM "--shape 12,10,8 --scheme " SCHEME ".bvec --seed 5 --out p.nii --snr 25");
    dm_volume *a = read_image("p.nii.gz"), *b = read_image("p.nii");
    assert_true(a->grid.shape[0] == 12 && a->grid.shape[1] == 10 && a->grid.shape[2] == 8);
    assert_true(a->n_volumes == 65 && a->type == DM_VOLUME_I16);
    assert_memory_equal(a->data, b->data, 960 * 65 * sizeof(int16_t));
    dm_volume_destroy(a);
    dm_volume_destroy(b);
    assert_runs(DM_BIN_DIR "/dm fit csd --engine serial --dwi p.nii.gz --bval " SCHEME
                           ".bval --bvec " SCHEME ".bvec --out out --peaks");
    assert_runs(PHANTOM "--shape 12,10,8 --scheme " SCHEME " --seed 6 --out p.nii --force "
                        "--type float32");
    b = read_image("p.nii");
    assert_true(b->type == DM_VOLUME_F32);
    dm_volume_destroy(b);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(shell(PHANTOM "--shape 12,10 --scheme " SCHEME " --out p.nii"), 2);
    assert_said("--shape is '12,10'; three numbers");
    assert_int_equal(shell(PHANTOM "--shape 12,10,8,1 --scheme " SCHEME " --out p.nii"), 2);
    assert_int_equal(shell(PHANTOM "--shape 0,1,1 --scheme " SCHEME " --out p.nii"), 2);
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --scheme " SCHEME " --out p.nii --snr 0"), 2);
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --scheme " SCHEME " --out p.nii --type int8"), 2);
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --out p.nii"), 2);
    assert_said("--scheme is missing");
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --scheme absent --out p.nii"), 1);
    assert_said("absent.bval");
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --scheme " SCHEME " --out p.img"), 1);
    assert_said("must end in .nii");
    assert_runs(PHANTOM "--shape 1,1,1 --scheme " SCHEME " --out p.nii");
    assert_int_equal(shell(PHANTOM "--shape 1,1,1 --scheme " SCHEME " --out p.nii"), 1);
    assert_said("p.nii: exists already");
    assert_runs(PHANTOM "--help");
    assert_said("Usage: dm phantom");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(it_writes_what_was_asked),
        CASE(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
