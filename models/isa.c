/*
 * isa.c - what the processor has, lowered by the environment; see isa.h.
 */
#include "models/isa.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [DMI_ISA_PLAIN] = "plain",
    [DMI_ISA_AVX2] = "avx2",
    [DMI_ISA_AVX512] = "avx512",
};
enum { COUNT = sizeof names / sizeof *names };

/* GCC's builtin also asks whether the operating system saves the registers. */
static dmi_isa of_this_machine(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return DMI_ISA_PLAIN;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return DMI_ISA_AVX2;
    return DMI_ISA_AVX512;
#else
    return DMI_ISA_PLAIN;
#endif
}

dmi_isa dmi_isa_best(void)
{
    const dmi_isa best = of_this_machine();
    const char *wish = getenv("DM_ISA");
    for (int k = 0; wish && k < COUNT; k++)
        if (strcmp(wish, names[k]) == 0)
            return (dmi_isa)k < best ? (dmi_isa)k : best;
    return best;
}

const char *dmi_isa_name(dmi_isa isa)
{
    return names[isa];
}
