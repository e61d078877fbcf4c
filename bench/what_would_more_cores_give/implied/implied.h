/*
 * implied.h - prints what published sweeps imply: the overheads of several laws (curve.h), and how well each fits.
 */
#ifndef BENCH_IMPLIED_H
#define BENCH_IMPLIED_H

#include <stdint.h>

/* Of the points of this file. The curves go to the CSV, tables to stdout. Ends the program if a file cannot be used. */
void print_implied(const char *published, const char *csv, uint64_t seed);

#endif
