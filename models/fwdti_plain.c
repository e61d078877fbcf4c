/*
 * fwdti_plain.c - the sweeps of the free-water fit for any processor.
 */
#define LANES 2
#include "models/fwdti_sweeps.h"

const dmi_fwdti_sweeps dmi_fwdti_sweeps_plain = SWEEPS;
