/*
 * bench_plot.c - see bench_plot.h. Everything goes to gnuplot on its standard input.
 */
#include "runtime/dm/bench_plot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/support/gnuplot.h"
#include "dm/dm.h"

enum { LINE_PIXELS = 24, MARGIN_PIXELS = 130 };

static void put_frame(FILE *to, const bench_bar *bars, int count, const char *path)
{
    fprintf(to, "set terminal pngcairo size 1000,%d font 'Sans,11'\nset output ",
            count * LINE_PIXELS + MARGIN_PIXELS);
    bench_gnuplot_quote(to, path);
    fprintf(to, "\nset logscale x\nset format x '%%.0s %%cs'\nset xlabel 'for one (logarithmic)'\n"
                "set yrange [%d:-1]\nset grid xtics lc rgb '#dddddd'\nset key outside top center\n"
                "set ytics (", count);
    for (int i = 0; i < count; i++) {
        bench_gnuplot_quote(to, bars[i].name);
        fprintf(to, " %d%s", i, i + 1 < count ? ", " : ")\n");
    }
}

static void put_data(FILE *to, const bench_bar *bars, int count)
{
    fprintf(to, "$ours << end\n");
    for (int i = 0; i < count; i++)
        fprintf(to, "%d %.6g %.6g %.6g\n", i, bars[i].median * 1e-9, bars[i].least * 1e-9,
                bars[i].most * 1e-9);
    fprintf(to, "end\n$published << end\n");
    for (int i = 0; i < count; i++)
        if (bars[i].published > 0)
            fprintf(to, "%d %.6g\n", i, bars[i].published * 1e-9);
    fprintf(to, "end\n");
}

static bool has_published(const bench_bar *bars, int count)
{
    for (int i = 0; i < count; i++)
        if (bars[i].published > 0)
            return true;
    return false;
}

dm_status bench_plot(const bench_bar *bars, int count, const char *path)
{
    if (count == 0)
        return dmi_error(DM_ERR_IO, "%s: there is no row in units of time to draw", path);
    FILE *to = bench_gnuplot_begin();
    if (to == NULL)
        return dmi_error(DM_ERR_IO, "gnuplot cannot be started: %s", strerror(errno));
    put_frame(to, bars, count, path);
    put_data(to, bars, count);
    fprintf(to, "plot $ours using 2:1:3:4 with xerrorbars pt 7 ps 1.2 lw 2 lc rgb '#2060a0' title 'dmrt, here'");
    if (has_published(bars, count))
        fprintf(to, ", $published using 2:1 with points pt 2 ps 1.2 lw 2 lc rgb '#b03030' "
                    "title 'Ray, published, on larger machines'");
    fprintf(to, "\n");
    if (!bench_gnuplot_end(to) || access(path, R_OK) != 0)
        return dmi_error(DM_ERR_IO, "%s: gnuplot could not write it", path);
    return DM_OK;
}
