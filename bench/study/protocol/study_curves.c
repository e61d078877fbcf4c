/*
 * study_curves.c - speed-up, efficiency and time against the number of chunks: a line for each number of CPUs, and
 * Ray's points behind.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/study/protocol/study_figures.h"

typedef struct view {
    const char *title, *axis;
    double least, most; /* of the axis */
    const char *tics;
    bool logarithmic;
} view;

static const view views[] = {
    [STUDY_SPEEDUP] = {"speed-up over the serial fit", "speed-up", 0.25, 40, "(0.25, 0.5, 1, 2, 4, 8, 16, 32)", true},
    [STUDY_EFFICIENCY] = {"efficiency per CPU", "efficiency", 0, 1.1, "0, 0.2", false},
    [STUDY_TIME] = {"time of a fit", "per cent of the serial fit", 2.5, 300,
                    "(3.125, 6.25, 12.5, 25, 50, 100, 200)", true},
};

static double value_of(int kind, double speedup, int cpus)
{
    return kind == STUDY_SPEEDUP ? speedup : kind == STUDY_EFFICIENCY ? speedup / cpus : 100 / speedup;
}

/* ---- ours ---- */

static const char *const colours[] = {"#5aa0d8", "#1f4e99", "#2a9d74", "#d98e04", "#c0392b", "#7d3c98"};
enum { COLOURS = sizeof colours / sizeof colours[0] };

static void put_points(FILE *to, int kind, const study_point *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const study_point *p = &points[i];
        if (i == 0 || p->cpus != points[i - 1].cpus)
            fprintf(to, "%s$ours%d << end\n", i ? "end\n" : "", p->cpus);
        const double a = value_of(kind, p->least, p->cpus), b = value_of(kind, p->most, p->cpus);
        fprintf(to, "%lld %.6g %.6g %.6g\n", (long long)p->chunks, value_of(kind, p->median, p->cpus), fmin(a, b),
                fmax(a, b));
    }
    fprintf(to, "end\n");
}

static void plot_ours(FILE *to, const study_point *points, size_t n)
{
    int line = 0;
    for (size_t i = 0; i < n; i++) {
        const int cpus = points[i].cpus;
        if (i > 0 && cpus == points[i - 1].cpus)
            continue;
        const char *colour = colours[line++ % COLOURS];
        fprintf(to, ", $ours%d using 1:2:3:4 with yerrorbars pt 7 ps 0.7 lw 1.4 lc rgb '%s' notitle", cpus, colour);
        fprintf(to, ", $ours%d using 1:2 with linespoints pt 7 ps 0.7 lw 2.2 lc rgb '%s' title 'dmrt, %d CPU%s'", cpus,
                colour, cpus, cpus == 1 ? "" : "s");
    }
}

/* ---- Ray's ---- */

typedef struct level {
    double value;
    int cpus;
} level;

enum { MOST_LEVELS = 64 };

static int by_value(const void *a, const void *b)
{
    const level *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Where it lies between the ends of the axis, 0 to 1. */
static double height_of(const view *v, double value)
{
    return v->logarithmic ? log(value / v->least) / log(v->most / v->least) : (value - v->least) / (v->most - v->least);
}

static size_t levels_of(const study_figure *figure, bool best, level *levels)
{
    size_t n = 0;
    for (size_t i = 0; i < study_published_count && n < MOST_LEVELS; i++) {
        const study_published *p = &study_published_points[i];
        if (strcmp(p->model, figure->model) != 0)
            continue;
        const double speedup = best ? p->best : p->many;
        levels[n++] = (level){value_of(figure->kind, speedup, p->cpus), p->cpus};
    }
    qsort(levels, n, sizeof *levels, by_value);
    return n;
}

/* Those that lie so near that their words would touch share them. */
static void put_words(FILE *to, const char *name, const view *v, const level *levels, size_t n, const char *after)
{
    enum { LINE = 34 }; /* of words, in a figure's height */
    fprintf(to, "$%s << end\n", name);
    for (size_t i = 0, end; i < n; i = end) {
        double sum = height_of(v, levels[i].value);
        for (end = i + 1; end < n && height_of(v, levels[end].value) - height_of(v, levels[end - 1].value) < 1. / LINE;)
            sum += height_of(v, levels[end++].value);
        const double at = sum / (double)(end - i);
        fprintf(to, "%.6g \"", v->logarithmic ? v->least * pow(v->most / v->least, at)
                                              : v->least + at * (v->most - v->least));
        for (size_t k = end; k-- > i;)
            fprintf(to, "%d%s", levels[k].cpus, k > i ? ", " : "");
        fprintf(to, "%s\"\n", after);
    }
    fprintf(to, "end\n");
}

static void put_levels(FILE *to, const char *name, const level *levels, size_t n)
{
    fprintf(to, "$%s << end\n", name);
    for (size_t i = 0; i < n; i++)
        fprintf(to, "%.6g\n", levels[i].value);
    fprintf(to, "end\n");
}

static void put_ray(FILE *to, const study_figure *figure)
{
    level levels[MOST_LEVELS];
    const view *v = &views[figure->kind];
    size_t n = levels_of(figure, true, levels);
    put_levels(to, "best", levels, n);
    put_words(to, "best_words", v, levels, n, " CPUs");
    n = levels_of(figure, false, levels);
    put_levels(to, "many", levels, n);
    put_words(to, "many_words", v, levels, n, "");
}

static void plot_ray(FILE *to)
{
    fprintf(to, "plot $best using (0.75):1:(46000):(0) with vectors nohead lw 1.6 lc rgb '" STUDY_RAY_COLOUR
                "' title 'Ray, as published: at its best chunking', "
                "$many using (32768):1 with points pt 6 ps 1.1 lw 1.6 lc rgb '#a8a8a8' "
                "title 'Ray, as published: at 32,768 chunks', "
                "$best_words using (54000):1:2 with labels left font ',9' tc rgb '" STUDY_RAY_WORDS
                "' notitle, "
                "$many_words using (24000):1:2 with labels right font ',9' tc rgb '" STUDY_RAY_WORDS "' notitle");
}

/* ---- a figure ---- */

static void put_axes(FILE *to, const study_figure *figure)
{
    const view *v = &views[figure->kind];
    study_tell_style(to);
    fprintf(to, "set title '%s: %s' font ',13'\n", study_model_title(figure->model), v->title);
    fprintf(to, "set logscale x 2\nset xrange [0.7:360000]\nset xtics 1,4,16384\nset format x '2^{%%L}'\n"
                "set xlabel 'number of chunks'\nset ylabel '%s'\nset ytics %s\n", v->axis, v->tics);
    fprintf(to, v->logarithmic ? "set logscale y 2\nset yrange [%g:%g]\n" : "set yrange [%g:%g<*]\n", v->least,
            v->most);
    fprintf(to, "set key below horizontal maxcols 2\n");
}

bool study_tell_curves(const study_figure *figure, const study_table *table, const study_spill_table *spill, FILE *to)
{
    static study_point points[STUDY_MOST_POINTS];
    (void)spill;
    const size_t n = study_points(table, figure->model, STUDY_CHUNKS, points, STUDY_MOST_POINTS);
    if (n == 0)
        return false;
    put_axes(to, figure);
    put_points(to, figure->kind, points, n);
    put_ray(to, figure);
    plot_ray(to);
    plot_ours(to, points, n);
    fprintf(to, "\n");
    return true;
}
