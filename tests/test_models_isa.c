/*
 * test_models_isa.c - the fits use what the processor has, and DM_ISA can only lower that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/isa.h"

static dmi_isa best_with(const char *wish)
{
    if (wish)
        setenv("DM_ISA", wish, 1);
    else
        unsetenv("DM_ISA");
    return dmi_isa_best();
}

/* Whether /proc/cpuinfo has the word among its flags: an opinion other than the compiler's. */
static bool kernel_says(const char *word)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    assert_non_null(file);
    char line[8192], flag[32];
    bool found = false;
    snprintf(flag, sizeof flag, " %s ", word);
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = ' ';
        found = strncmp(line, "flags", 5) == 0 && strstr(line, flag);
    }
    fclose(file);
    return found;
}

static void it_is_what_the_kernel_says(void **state)
{
    (void)state;
    const bool avx2 = kernel_says("avx2") && kernel_says("fma");
    const bool avx512 = avx2 && kernel_says("avx512f") && kernel_says("avx512dq") &&
                        kernel_says("avx512bw") && kernel_says("avx512vl");
    assert_int_equal(best_with(NULL), avx512 ? DMI_ISA_AVX512
                                      : avx2 ? DMI_ISA_AVX2
                                             : DMI_ISA_PLAIN);
}

static void a_wish_lowers_and_never_raises(void **state)
{
    (void)state;
    const dmi_isa best = best_with(NULL);
    for (dmi_isa k = DMI_ISA_PLAIN; k <= DMI_ISA_AVX512; k++)
        assert_int_equal(best_with(dmi_isa_name(k)), k < best ? k : best);
}

static void an_unknown_wish_is_none(void **state)
{
    (void)state;
    const dmi_isa best = best_with(NULL);
    assert_int_equal(best_with(""), best);
    assert_int_equal(best_with("neon"), best);
    assert_int_equal(best_with("AVX2"), best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_the_kernel_says),
        cmocka_unit_test(a_wish_lowers_and_never_raises),
        cmocka_unit_test(an_unknown_wish_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
