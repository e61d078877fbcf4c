/*
 * study_figures.h - the study's figures drawn again from study.csv and spill.csv, by gnuplot, as PNG and SVG.
 */
#ifndef BENCH_STUDY_FIGURES_H
#define BENCH_STUDY_FIGURES_H

#include <stdio.h>

#include "bench/study/protocol/study_summary.h"

/* Into this directory, those for which there are rows; `*drawn` becomes how many. What the study published lies
 * behind, lightly. DM_ERR_IO: gnuplot could not write one. */
dm_status study_figures_draw(const study_table *table, const study_spill_table *spill, const char *directory,
                             int *drawn) DM_NODISCARD;



/* ---- between the files here: one figure each. They tell gnuplot everything but terminal and output, and return
 * false, having told nothing, where there is nothing to draw ---- */

typedef struct study_figure {
    const char *name;
    int width, height;
    bool (*tell)(const struct study_figure *figure, const study_table *table, const study_spill_table *spill,
                 FILE *to);
    const char *model; /* of those that are drawn for each */
    int kind;          /* for the function */
} study_figure;

/* study_curves.c: against the number of chunks. */
enum { STUDY_SPEEDUP, STUDY_EFFICIENCY, STUDY_TIME };
bool study_tell_curves(const study_figure *figure, const study_table *table, const study_spill_table *spill, FILE *to);

/* study_scaling.c: against the number of CPUs, and chunks chosen against chunks tried. */
enum { STUDY_PEAK_EFFICIENCY, STUDY_COST };
bool study_tell_scaling(const study_figure *figure, const study_table *table, const study_spill_table *spill, FILE *to);
bool study_tell_automatic(const study_figure *figure, const study_table *table, const study_spill_table *spill,
                          FILE *to);

/* What all have in common: fonts, grid, key. */
void study_tell_style(FILE *to);

/* Ray's points are light grey, and so are their words. */
#define STUDY_RAY_COLOUR "#c4c4c4"
#define STUDY_RAY_WORDS  "#8c8c8c"

const char *study_model_title(const char *model);

#endif
