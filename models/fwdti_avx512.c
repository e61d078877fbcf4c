/*
 * fwdti_avx512.c - the sweeps of the free-water fit for x86-64 processors with AVX-512.
 *
 * Compilers without the pragma have none; there the plain ones run.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
#define LANES 8
#include "models/fwdti_sweeps.h"

static const dmi_fwdti_sweeps sweeps = SWEEPS;
const dmi_fwdti_sweeps *const dmi_fwdti_sweeps_avx512 = &sweeps;
#else
#include "models/fwdti.h"

const dmi_fwdti_sweeps *const dmi_fwdti_sweeps_avx512 = NULL;
#endif
