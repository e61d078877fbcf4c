/*
 * fwdti_avx2.c - the sweeps of the free-water fit for x86-64 processors with AVX2 and FMA.
 *
 * Compilers without the pragma have none; there the plain ones run.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma,bmi,bmi2")
#define LANES 4
#include "models/fwdti_sweeps.h"

static const dmi_fwdti_sweeps sweeps = SWEEPS;
const dmi_fwdti_sweeps *const dmi_fwdti_sweeps_avx2 = &sweeps;
#else
#include "models/fwdti.h"

const dmi_fwdti_sweeps *const dmi_fwdti_sweeps_avx2 = NULL;
#endif
