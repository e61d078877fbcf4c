/*
 * test_models_gradients.c - the gradient table keeps the rules: what is a b0, what is a direction,
 * what is an error; and both arrangements of the text file give the same table.
 */
#include "test_models_golden.h"

static void b0_threshold_is_inclusive(void **state)
{
    (void)state;
    const double b[4] = {0, 50, 50.0001, 1000};
    const dm_vector v[4] = {{0, 0, 1}, {0, 0, 1}, {0, 0, 1}, {1, 0, 0}};
    dm_gradients *table;
    assert_dm_ok(dm_gradients_create(4, b, v, &table));
    assert_int_equal(table->n_dwi, 2);
    assert_int_equal(table->dwi[0], 2);
    assert_int_equal(table->dwi[1], 3);
    assert_true(table->b[1] == 50);
    dm_gradients_destroy(table);
}

static void lengths_within_tolerance_are_kept_as_they_are(void **state)
{
    (void)state;
    const double b[2] = {1000, 1000};
    const dm_vector v[2] = {{0, 0, 0.9900001}, {0, 1.0099999, 0}};
    dm_gradients *table;
    assert_dm_ok(dm_gradients_create(2, b, v, &table));
    assert_memory_equal(table->g, v, sizeof v);
    dm_gradients_destroy(table);
}

static void a_b0_without_direction_becomes_zero(void **state)
{
    (void)state;
    const double b[3] = {30, 5, 5};
    const dm_vector v[3] = {{0.5, 0.5, 0}, {NAN, NAN, NAN}, {0, NAN, 1}};
    dm_gradients *table;
    assert_dm_ok(dm_gradients_create(3, b, v, &table));
    assert_true(table->b[0] == 0 && table->g[0][0] == 0 && table->g[0][1] == 0);
    assert_true(table->b[1] == 0 && table->g[1][2] == 0);
    assert_true(table->b[2] == 5 && table->g[2][1] == 0 && table->g[2][2] == 1);
    assert_int_equal(table->n_dwi, 0);
    dm_gradients_destroy(table);
}

static void nonsense_names_its_volume(void **state)
{
    (void)state;
    dm_gradients *table = NULL;
    const dm_vector unit[2] = {{0, 0, 1}, {0, 0, 1}}, longer[2] = {{0, 0, 1}, {0, 0, 1.02}};
    const double good[2] = {0, 1000}, negative[2] = {0, -1}, nan[2] = {0, NAN},
                 inf[2] = {0, INFINITY};
    assert_dm_error(dm_gradients_create(2, good, longer, &table), DM_ERR_INVALID, "volume 1");
    assert_dm_error(dm_gradients_create(2, negative, unit, &table), DM_ERR_INVALID, "volume 1");
    assert_dm_error(dm_gradients_create(2, nan, unit, &table), DM_ERR_INVALID, "volume 1");
    assert_dm_error(dm_gradients_create(2, inf, unit, &table), DM_ERR_INVALID, "volume 1");
    assert_dm_error(dm_gradients_create(0, good, unit, &table), DM_ERR_INVALID, "0 volumes");
    assert_null(table);
}

static void check_read(const char *bval, const char *bvec)
{
    dm_gradients *table;
    write_text("bval", bval);
    write_text("bvec", bvec);
    assert_dm_ok(dm_gradients_read("bval", "bvec", &table));
    assert_int_equal(table->n_volumes, 4);
    assert_int_equal(table->n_dwi, 3);
    assert_true(table->g[1][0] == 1 && table->g[2][1] == 1 && table->g[3][2] == -1);
    assert_true(table->b[3] == 3000.5);
    dm_gradients_destroy(table);
}

static void both_arrangements_are_read(void **state)
{
    (void)state;
    check_read("0 1000 2e3 3000.5\n", "nan 1 0 0\nNaN 0 1 0\nnan 0 0 -1");
    check_read("0\n1000\n2000\n3000.5", "0 0 0\n1 0 0\n\n0 1 0\r\n0 0 -1\n");
    check_read("# b in s/mm2\n0\t1000  2000 3000.5 \n", " 0 1 0 0 \n 0 0 1 0 \n 0 0 0 -1 \n");
    remove("bval");
    remove("bvec");
}

static void check_refused(const char *bval, const char *bvec, dm_status expected, const char *words)
{
    dm_gradients *table = NULL;
    write_text("bval", bval);
    write_text("bvec", bvec);
    assert_dm_error(dm_gradients_read("bval", "bvec", &table), expected, words);
    assert_null(table);
    remove("bval");
    remove("bvec");
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    const char *good = "0 1\n0 0\n1 0\n";
    check_refused("0 1000 2000", good, DM_ERR_FORMAT, "bvec: found 3 rows");
    check_refused("0 1000", "0 1\n0 0 0\n1 0\n", DM_ERR_FORMAT, "unequal length");
    check_refused("0 1000", "0 1\n0 0\n", DM_ERR_FORMAT, "bvec");
    check_refused("0 b1000", good, DM_ERR_FORMAT, "line 1: found 'b1000'");
    check_refused("0,1000", good, DM_ERR_FORMAT, "'0,1000'");
    check_refused("", good, DM_ERR_FORMAT, "bval: found no number");
    check_refused("0 1000", "0 2\n0 0\n1 0\n", DM_ERR_FORMAT, "volume 1");
    dm_gradients *table = NULL;
    assert_dm_error(dm_gradients_read("absent", "bvec", &table), DM_ERR_IO, "absent");
    write_bytes("binary", "0 1\0 2", 6);
    assert_dm_error(dm_gradients_read("binary", "bvec", &table), DM_ERR_FORMAT, "zero byte");
    remove("binary");
    assert_dm_error(dm_gradients_read(".", "bvec", &table), DM_ERR_IO, ".");
    assert_null(table);
}

static void selection_keeps_order(void **state)
{
    (void)state;
    golden g = golden_open("hcpsim_s");
    const size_t some[4] = {3, 0, 5, 2};
    dm_gradients *table = NULL;
    assert_dm_ok(dm_gradients_select(g.gradients, 4, some, &table));
    for (size_t i = 0; i < 4; i++) {
        assert_true(table->b[i] == g.gradients->b[some[i]]);
        assert_memory_equal(table->g[i], g.gradients->g[some[i]], sizeof(dm_vector));
    }
    assert_int_equal(table->n_dwi, 3);
    assert_int_equal(table->dwi[0], 0);
    dm_gradients_destroy(table);
    table = NULL;
    const size_t twice[2] = {1, 1}, beyond[1] = {288};
    assert_dm_error(dm_gradients_select(g.gradients, 2, twice, &table), DM_ERR_INVALID, "twice");
    assert_dm_error(dm_gradients_select(g.gradients, 1, beyond, &table), DM_ERR_INVALID, "288");
    assert_null(table);
    golden_close(&g);
}

static void shells_are_found_by_round_numbers(void **state)
{
    (void)state;
    golden g = golden_open("hcpsim_s");
    const double shells[2] = {0, 2000};
    size_t volumes[288], n;
    assert_dm_ok(dm_gradients_shells(g.gradients, 2, shells, volumes, &n));
    assert_int_equal(n, 18 + 90);
    for (size_t i = 0; i < n; i++) {
        const double b = g.gradients->b[volumes[i]];
        assert_true(b <= DM_B0_THRESHOLD || fabs(b - 2000) <= 100);
        assert_true(i == 0 || volumes[i] > volumes[i - 1]);
    }
    const double absent[2] = {1000, 1500};
    n = 7;
    assert_dm_error(dm_gradients_shells(g.gradients, 2, absent, volumes, &n), DM_ERR_INVALID,
                    "near 1500; there are, to the next 50: 0, 1000, 2000, 3000");
    assert_int_equal(n, 7);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b0_threshold_is_inclusive),
        cmocka_unit_test(lengths_within_tolerance_are_kept_as_they_are),
        cmocka_unit_test(a_b0_without_direction_becomes_zero),
        cmocka_unit_test(nonsense_names_its_volume),
        cmocka_unit_test(both_arrangements_are_read),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(selection_keeps_order),
        cmocka_unit_test(shells_are_found_by_round_numbers),
    };
    return cmocka_run_group_tests(tests, enter_own_directory, leave_own_directory);
}
