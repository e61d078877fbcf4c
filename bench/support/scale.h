/*
 * scale.h - nanoseconds as people read them.
 */
#ifndef BENCH_SCALE_H
#define BENCH_SCALE_H

#include <stdio.h>
#include <string.h>

enum { BENCH_FIGURE = 32 };

typedef struct bench_scale {
    const char *unit;
    double by;
    int digits;
} bench_scale;

/* Nanoseconds are shown in what makes them readable; other units as they are. */
static inline bench_scale bench_scale_of(const char *unit, double value)
{
    if (strcmp(unit, "ns") != 0)
        return (bench_scale){unit, 1, value < 10 ? 2 : 0};
    if (value < 1e3)
        return (bench_scale){"ns", 1, value < 100 ? 1 : 0};
    if (value < 1e6)
        return (bench_scale){"us", 1e-3, value < 1e5 ? 1 : 0};
    return (bench_scale){"ms", 1e-6, value < 1e8 ? 1 : 0};
}

/* A figure in a column, in the unit that suits `like`. */
static inline void bench_print_figure(double value, const char *unit, double like)
{
    char text[BENCH_FIGURE];
    bench_scale s = bench_scale_of(unit, like);
    snprintf(text, sizeof text, "%.*f %s", s.digits, value * s.by, s.unit);
    printf(" %13s", text);
}

#endif
