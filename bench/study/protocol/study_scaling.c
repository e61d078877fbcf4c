/*
 * study_scaling.c - what more CPUs give: efficiency at the best chunking, and the cost of a fit, against their number;
 * and how near chunks that are chosen automatically come to the best of the sweep.
 */
#include <string.h>

#include "bench/study/protocol/study_figures.h"
#include "bench/study/protocol/study_model.h"

static const char *const colours[STUDY_MODELS] = {"#1f4e99", "#c0562b"};
static const char *const light[STUDY_MODELS] = {"#b9c9e2", "#eccdbd"};

/* ---- against CPUs ---- */

static double value_of(int kind, double speedup, int cpus)
{
    return kind == STUDY_PEAK_EFFICIENCY ? speedup / cpus
                                         : 100 * study_price(cpus) / study_price(1) / speedup;
}

/* The best of each number of CPUs. Returns how many. */
static int put_best(FILE *to, const study_figure *figure, const study_table *table, int m)
{
    static study_point points[STUDY_MOST_POINTS];
    int count = 0;
    const size_t n = study_points(table, study_models[m].name, STUDY_CHUNKS, points, STUDY_MOST_POINTS);
    fprintf(to, "$ours%d << end\n", m);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && points[i].cpus == points[i - 1].cpus)
            continue;
        const study_point *best = study_best(points, n, points[i].cpus);
        fprintf(to, "%d %.6g %.6g %.6g\n", best->cpus, value_of(figure->kind, best->median, best->cpus),
                value_of(figure->kind, best->least, best->cpus), value_of(figure->kind, best->most, best->cpus));
        count++;
    }
    fprintf(to, "end\n");
    return count;
}

static void put_ray(FILE *to, const study_figure *figure, int m)
{
    fprintf(to, "$ray%d << end\n", m);
    for (size_t i = 0; i < study_published_count; i++) {
        const study_published *p = &study_published_points[i];
        if (strcmp(p->model, study_models[m].name) == 0)
            fprintf(to, "%d %.6g\n", p->cpus, value_of(figure->kind, p->best, p->cpus));
    }
    fprintf(to, "end\n");
}

static void put_axes(FILE *to, const study_figure *figure)
{
    const bool cost = figure->kind == STUDY_COST;
    study_tell_style(to);
    fprintf(to, "set title '%s' font ',13'\n",
            cost ? "Cost of a fit at the best chunking" : "Efficiency per CPU at the best chunking");
    fprintf(to, "set logscale x 2\nset xrange [0.8:90]\nset xtics (1, 2, 4, 8, 16, 32, 48, 72)\n"
                "set xlabel 'CPUs'\nset ylabel '%s'\nset yrange [0:%s]\nset key %s\n",
            cost ? "per cent of the serial fit on one CPU" : "efficiency", cost ? "800" : "1.1",
            cost ? "top left" : "bottom left");
    if (cost)
        fprintf(to, "set label 1 'machine price x time' at graph 0.98,0.05 right font ',9' tc rgb '#707070'\n");
}

bool study_tell_scaling(const study_figure *figure, const study_table *table, const study_spill_table *spill, FILE *to)
{
    (void)spill;
    if (table->count == 0)
        return false;
    put_axes(to, figure);
    for (int m = 0; m < STUDY_MODELS; m++)
        put_ray(to, figure, m);
    bool drawn[STUDY_MODELS];
    for (int m = 0; m < STUDY_MODELS; m++)
        drawn[m] = put_best(to, figure, table, m) > 0;
    fprintf(to, "plot %s with lines lw 1 dt 3 lc rgb '#909090' notitle", figure->kind == STUDY_COST ? "100" : "1");
    for (int m = 0; m < STUDY_MODELS; m++)
        fprintf(to, ", $ray%d using 1:2 with linespoints pt 6 ps 1.1 lw 1.8 lc rgb '%s' title 'Ray, as published, %s'",
                m, light[m], study_models[m].title);
    for (int m = 0; m < STUDY_MODELS; m++)
        if (drawn[m])
            fprintf(to, ", $ours%d using 1:2:3:4 with yerrorbars pt 7 ps 0.9 lw 1.6 lc rgb '%s' notitle, $ours%d using "
                        "1:2 with linespoints pt 7 ps 0.9 lw 2.4 lc rgb '%s' title 'dmrt, %s'",
                    m, colours[m], m, colours[m], study_models[m].title);
    fprintf(to, "\n");
    return true;
}

/* ---- automatic chunks ---- */

static void put_ratio(FILE *to, const study_table *table, const char *model, const char *engine, int cpus, int place)
{
    const study_ratio r = study_against_best(table, model, engine, 0, cpus);
    if (r.runs > 0)
        fprintf(to, "%d %.5g %.5g %.5g\n", place, 100 * r.median, 100 * r.low, 100 * r.high);
}

/* A place for each model and number of CPUs, named on the axis. Returns how many there are. */
static int put_places(FILE *to, const study_table *table, const char *engine, bool name_them)
{
    static study_point points[STUDY_MOST_POINTS];
    int place = 0;
    for (int m = 0; m < STUDY_MODELS; m++) {
        const size_t n = study_points(table, study_models[m].name, STUDY_CHUNKS, points, STUDY_MOST_POINTS);
        for (size_t i = 0; i < n; i++) {
            if (i > 0 && points[i].cpus == points[i - 1].cpus)
                continue;
            if (name_them)
                fprintf(to, "%s'%s, %d CPU%s' %d", place ? ", " : "set ytics (", study_models[m].title, points[i].cpus,
                        points[i].cpus == 1 ? "" : "s", place);
            else
                put_ratio(to, table, study_models[m].name, engine, points[i].cpus, place);
            place++;
        }
    }
    return place;
}

bool study_tell_automatic(const study_figure *figure, const study_table *table, const study_spill_table *spill,
                          FILE *to)
{
    (void)figure, (void)spill;
    if (table->count == 0)
        return false;
    study_tell_style(to);
    fprintf(to, "set title 'Chunks chosen automatically, against the best number of the other runs' font ',13'\n"
                "set xlabel 'time, per cent of the best number of chunks'\nset grid xtics\nset key bottom right\n");
    const int places = put_places(to, table, NULL, true);
    if (places == 0)
        return false;
    fprintf(to, ")\nset yrange [%d.2:-0.7]\n$fit << end\n", places);
    put_places(to, table, STUDY_AUTO, false);
    fprintf(to, "end\n$map << end\n");
    put_places(to, table, STUDY_MAP, false);
    fprintf(to, "end\nset arrow 1 from 100,graph 0 to 100,graph 1 nohead lw 1.2 lc rgb '#909090'\n"
                "set arrow 2 from 101,graph 0 to 101,graph 1 nohead dt 2 lw 1.2 lc rgb '#b0b0b0'\n"
                "plot $fit using 2:($1-0.12):3:4 with xerrorbars pt 7 ps 1.2 lw 2 lc rgb '#1f4e99' "
                "title 'dm fit', $map using 2:($1+0.12):3:4 with xerrorbars pt 5 ps 1.1 lw 2 lc rgb '#2a9d74' "
                "title 'dm\\_map'\n");
    return true;
}
