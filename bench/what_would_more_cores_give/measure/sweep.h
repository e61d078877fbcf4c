/*
 * sweep.h - the real thing: fits of the subject in 2^0, 2^2 .. chunks on 1, 2, 4 .. all CPUs, and the model beside
 * them.
 */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "bench/what_would_more_cores_give/measure/subject.h"

/* Writes a line for each fit, in the columns of the study, and what the model expects (engine "model"; 0 chunks: the
 * serial fit). Prints a table of how far they are apart. */
void sweep(const subject *s, const calibration *c, int runs, const char *csv);

#endif
