/*
 * ask.h - questions to the model, answered as CSV files for figures and as tables for people.
 */
#ifndef BENCH_ASK_H
#define BENCH_ASK_H

#include "bench/what_would_more_cores_give/model/simulate.h"

enum { MOST_CPU_COUNTS = 32 };

typedef struct question {
    const calibration *calibration;
    size_t voxels; /* of the brain */
    int cpus[MOST_CPU_COUNTS], cpu_counts;
    uint64_t draws, seed;
    int at; /* CPUs, of the sensitivity */
} question;

/* What was measured. */
void print_constants(const calibration *c);

/* Efficiency against chunks, with the range of the draws; where the time goes; which resource ends it. */
void predict(const question *q, const char *csv);

/* With each constant a tenth of what it is. */
void weigh(const question *q, const char *csv);

#endif
