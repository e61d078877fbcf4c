/*
 * study_figures.c - see study_figures.h. Which figures there are, and gnuplot.
 */
#include "bench/study/protocol/study_figures.h"

#include <string.h>

#include "bench/study/protocol/study_model.h"
#include "bench/study/protocol/study_spill.h"
#include "bench/support/gnuplot.h"

const char *study_model_title(const char *model)
{
    const study_model *known = study_model_named(model);
    return known ? known->title : model;
}

void study_tell_style(FILE *to)
{
    fprintf(to, "set border 3 lw 1 lc rgb '#505050'\nset tics nomirror out\nset grid ytics lw 0.6 lc rgb '#e4e4e4'\n"
                "set key Left reverse samplen 2.4 spacing 1.25 font ',10' noautotitle\n");
}

/* ---- the disk over time ---- */

static const struct {
    const char *policy, *colour, *title;
} policies[] = {
    {"never", "#b03030", "never given back (as Ray was seen to do)"},
    {"session", "#d09020", "deleted after each model (the study''s fix)"},
    {"auto", "#2060a0", "auto: as soon as nobody can read it"},
};
enum { POLICIES = sizeof policies / sizeof policies[0], PANELS = 2 };
static const char *const panels[PANELS] = {"value", "shared"};
static const char *const panel_titles[PANELS] = {"every chunk by value with its task", "shared arguments put once"};

static void put_samples(FILE *to, const study_spill_table *spill, const char *policy, const char *arguments)
{
    fprintf(to, "$%s_%s << end\n0 0\n", policy, arguments);
    for (size_t i = 0; i < spill->count; i++) {
        const study_spill_row *r = &spill->rows[i];
        if (strcmp(r->policy, policy) == 0 && strcmp(r->arguments, arguments) == 0 &&
            strcmp(r->event, STUDY_SPILL_KILLED) != 0)
            fprintf(to, "%.4f %.5g\n", r->seconds, (double)r->on_disk / (1 << 20));
    }
    fprintf(to, "end\n");
}

static void plot_panel(FILE *to, int panel)
{
    fprintf(to, "set title '%s' font ',12'\nset xlabel 'seconds'\n%s\nplot ", panel_titles[panel],
            panel ? "unset ylabel\nunset key" : "set ylabel 'MiB on disk'\nset key top left");
    for (int p = 0; p < POLICIES; p++)
        fprintf(to, "%s$%s_%s using 1:2 with lines lw 2 lc rgb '%s' title '%s'", p ? ", " : "", policies[p].policy,
                panels[panel], policies[p].colour, policies[p].title);
    fprintf(to, "\n");
}

static double most_mib(const study_spill_table *spill)
{
    int64_t most = 0;
    for (size_t i = 0; i < spill->count; i++)
        most = spill->rows[i].on_disk > most ? spill->rows[i].on_disk : most;
    return (double)most / (1 << 20);
}

static bool tell_disk(const study_figure *figure, const study_table *table, const study_spill_table *spill, FILE *to)
{
    (void)figure, (void)table;
    if (spill->count == 0)
        return false;
    study_tell_style(to);
    for (int i = 0; i < POLICIES * PANELS; i++)
        put_samples(to, spill, policies[i % POLICIES].policy, panels[i / POLICIES]);
    fprintf(to, "set yrange [0:%g]\nset multiplot layout 1,%d\n", 1.45 * most_mib(spill) + 1, PANELS);
    for (int panel = 0; panel < PANELS; panel++)
        plot_panel(to, panel);
    fprintf(to, "unset multiplot\n");
    return true;
}

/* ---- all ---- */

static const study_figure figures[] = {
    {"csdm_speedup", 860, 560, study_tell_curves, "csdm", STUDY_SPEEDUP},
    {"csdm_efficiency", 860, 560, study_tell_curves, "csdm", STUDY_EFFICIENCY},
    {"csdm_time", 860, 560, study_tell_curves, "csdm", STUDY_TIME},
    {"fwdtim_speedup", 860, 560, study_tell_curves, "fwdtim", STUDY_SPEEDUP},
    {"fwdtim_efficiency", 860, 560, study_tell_curves, "fwdtim", STUDY_EFFICIENCY},
    {"fwdtim_time", 860, 560, study_tell_curves, "fwdtim", STUDY_TIME},
    {"efficiency_vs_cpus", 760, 460, study_tell_scaling, NULL, STUDY_PEAK_EFFICIENCY},
    {"cost_vs_cpus", 760, 460, study_tell_scaling, NULL, STUDY_COST},
    {"automatic_chunks", 760, 400, study_tell_automatic, NULL, 0},
    {"spill_over_time", 980, 420, tell_disk, NULL, 0},
};
enum { FIGURES = sizeof figures / sizeof figures[0] };

static void put_terminal(FILE *to, const study_figure *figure, const char *directory, const char *suffix)
{
    char path[4096];
    snprintf(path, sizeof path, "%.4000s/%s.%s", directory, figure->name, suffix);
    fprintf(to, "set terminal %s size %d,%d %s font 'Sans,11' enhanced\nset output ",
            strcmp(suffix, "png") == 0 ? "pngcairo" : "svg", figure->width, figure->height,
            strcmp(suffix, "png") == 0 ? "" : "background rgb 'white'");
    bench_gnuplot_quote(to, path);
    fprintf(to, "\n");
}

static bool run_gnuplot(const char *script, size_t bytes)
{
    FILE *to = bench_gnuplot_begin();
    if (to == NULL)
        return false;
    fwrite(script, 1, bytes, to);
    return bench_gnuplot_end(to);
}

/* A figure in one format, in a gnuplot of its own, so that nothing is left of another. */
static dm_status draw(const study_figure *figure, const study_table *table, const study_spill_table *spill,
                      const char *directory, const char *suffix, bool *drawn)
{
    char *script = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&script, &bytes);
    if (memory == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for what gnuplot is told");
    put_terminal(memory, figure, directory, suffix);
    *drawn = figure->tell(figure, table, spill, memory);
    fclose(memory);
    const bool written = !*drawn || run_gnuplot(script, bytes);
    free(script);
    if (written)
        return DM_OK;
    return dmi_error(DM_ERR_IO, "%s/%s.%s: gnuplot could not write it", directory, figure->name, suffix);
}

dm_status study_figures_draw(const study_table *table, const study_spill_table *spill, const char *directory,
                             int *count)
{
    static const char *const suffixes[] = {"png", "svg"};
    *count = 0;
    for (int i = 0; i < FIGURES; i++) {
        for (int s = 0; s < 2; s++) {
            bool drawn;
            DM_TRY(draw(&figures[i], table, spill, directory, suffixes[s], &drawn));
            *count += drawn;
        }
    }
    return DM_OK;
}
