/*
 * A calibration comes back from its file as it was written, and a file that is not one is refused with a word why.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/what_would_more_cores_give/model/costs.h"

enum { VOXELS = 50, MOST = 1 << 20 };
static const char path[] = "calibration.json";
static char good[MOST];

static calibration made_up(void)
{
    calibration c = {.cpus = 2, .machine = "a machine", .commit = "none", .n_volumes = 288, .value_bytes = 2};
    for (int m = 0; m < MODELS; m++) {
        for (size_t i = 0; i < cost_count; i++) {
            *cost_at(&c.value[m], i) = 10 + (double)i + (cost_table[i].by_model ? 100 * m : 0);
            *cost_at(&c.error[m], i) = 0.5;
        }
        c.n_results[m] = m ? 14 : 46;
        c.n_voxels[m] = VOXELS;
        c.voxels[m] = calloc(VOXELS, sizeof *c.voxels[m]);
        for (size_t i = 0; i < VOXELS; i++)
            c.voxels[m][i] = (double)(1000 + i);
    }
    return c;
}

static void it_comes_back(void **state)
{
    (void)state;
    calibration c = made_up(), back;
    assert_null(calibration_write(path, &c));
    assert_null(calibration_read(path, &back));
    assert_int_equal(back.cpus, 2);
    assert_string_equal(back.machine, "a machine");
    assert_int_equal(back.n_volumes, 288);
    for (int m = 0; m < MODELS; m++) {
        assert_memory_equal(&c.value[m], &back.value[m], sizeof c.value[m]);
        assert_memory_equal(&c.error[m], &back.error[m], sizeof c.error[m]);
        assert_int_equal(back.n_results[m], c.n_results[m]);
        assert_int_equal(back.n_voxels[m], VOXELS);
        assert_memory_equal(c.voxels[m], back.voxels[m], VOXELS * sizeof(double));
    }
    calibration_fini(&c);
    calibration_fini(&back);
}

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_refused(const char *text, const char *why)
{
    calibration c;
    write_text(text);
    const char *said = calibration_read(path, &c);
    calibration_fini(&c);
    if (!said || !strstr(said, why))
        fail_msg("\"%s\" was expected, and said was \"%s\"", why, said ? said : "nothing");
}

/* The good one with one text in the place of another. */
static const char *with(const char *old, const char *new)
{
    static char text[MOST];
    const char *at = strstr(good, old);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
    return text;
}

static void read_good(void)
{
    calibration c = made_up();
    assert_null(calibration_write(path, &c));
    calibration_fini(&c);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    good[fread(good, 1, sizeof good - 1, file)] = 0;
    fclose(file);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    calibration c;
    read_good();
    remove(path);
    assert_non_null(strstr(calibration_read(path, &c), "cannot be read"));
    assert_refused("", "empty");
    assert_refused("{\"format\":", "not JSON");
    assert_refused("[]", "not of the format");
    assert_refused(with("dmrt calibration 1", "dmrt calibration 2"), "not of the format");
    assert_refused(with("\"cpus\": 2", "\"cpus\": 0"), "cpus");
    assert_refused(with("\"cpus\": 2", "\"cpus\": 1.5"), "cpus");
    assert_refused(with("\"value_bytes\": 2", "\"value_bytes\": 9"), "value_bytes");
    assert_refused(with("\"csdm\"", "\"csdn\""), "models.csdm");
    assert_refused(with("\"shared\"", "\"share\""), "shared");
    assert_refused(with("\"copy_ns\"", "\"copy\""), "copy_ns is missing");
    assert_refused(with("\"task_ns\": {\"value\": ", "\"task_ns\": {\"value\": -"), "task_ns");
    assert_refused(with("\"task_ns\": {\"value\": ", "\"task_ns\": {\"value\": 1e999, \"a\": "), "task_ns");
    assert_refused(with("\"bell_ns\": {\"value\": ", "\"bell_ns\": {\"value\": \"1\", \"a\": "), "bell_ns");
    assert_refused(with("\"error\": 0.5", "\"error\": -0.5"), "0");
    assert_refused(with("\"voxels_ns\": [", "\"voxels_ns\": [], \"a\": ["), "voxels_ns");
    assert_refused(with("\"voxels_ns\": [", "\"voxels_ns\": [0], \"a\": ["), "cost nothing");
    assert_refused(with("\"voxels_ns\": [", "\"voxels_ns\": [1, null,"), "voxels_ns");
    assert_refused(with("\"n_results\": 46", "\"n_results\": 0"), "n_results");
    write_text(good);
    assert_null(calibration_read(path, &c)); /* and it was none of the above */
    calibration_fini(&c);
}

/* Draw 0 is what was measured; others lie around it, as far as its errors say; what both models share is the same. */
static void draws_lie_around_what_was_measured(void **state)
{
    (void)state;
    enum { DRAWS = 2000 };
    calibration c = made_up();
    double sum = 0, squares = 0;
    costs none = calibration_draw(&c, 0, 0);
    assert_memory_equal(&none, &c.value[0], sizeof none);
    for (uint64_t d = 1; d <= DRAWS; d++) {
        costs one = calibration_draw(&c, 0, d), other = calibration_draw(&c, 1, d), again = calibration_draw(&c, 0, d);
        assert_memory_equal(&one, &again, sizeof one);
        assert_true(one.worker_wake_ns == other.worker_wake_ns);
        assert_true(one.task_ns - c.value[0].task_ns != other.task_ns - c.value[1].task_ns);
        double apart = one.copy_ns - c.value[0].copy_ns;
        sum += apart;
        squares += apart * apart;
    }
    assert_true(fabs(sum / DRAWS) < 0.05);
    assert_true(fabs(sqrt(squares / DRAWS) - 0.5) < 0.05);
    calibration_fini(&c);
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    char folder[] = "/tmp/dm-test-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(draws_lie_around_what_was_measured),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(path);
    return chdir("/") == 0 && rmdir(folder) == 0 ? failed : 1;
}
