/*
 * bench_plot.h - rows of dm bench drawn by gnuplot, an external program: a line each, on a logarithmic
 * axis of time.
 */
#ifndef DM_BENCH_PLOT_H
#define DM_BENCH_PLOT_H

#include "dm/status.h"

enum { BENCH_PLOT_MOST = 48 };

typedef struct bench_bar {
    const char *name;
    double median, least, most; /* ns */
    double published;           /* ns; 0: nothing is known */
} bench_bar;

/* Write the picture to `path`. Returns DM_ERR_IO. */
dm_status bench_plot(const bench_bar *bars, int count, const char *path) DM_NODISCARD;

#endif
