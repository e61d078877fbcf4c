/*
 * calibrate.h - measures every constant of the model on this machine, by the public API.
 */
#ifndef BENCH_CALIBRATE_H
#define BENCH_CALIBRATE_H

#include "bench/what_would_more_cores_give/measure/subject.h"

/* In so many rounds. Yours: calibration_fini. */
calibration calibrate(const subject *s, int rounds);

#endif
