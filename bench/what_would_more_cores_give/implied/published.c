/*
 * published.c - see published.h.
 */
#include "bench/what_would_more_cores_give/implied/published.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/what_would_more_cores_give/model/costs.h"

static int model_named(const char *name)
{
    for (int m = 0; m < MODELS; m++)
        if (strcmp(name, model_names[m]) == 0)
            return m;
    return -1;
}

/* An efficiency that is not the speed-up over the CPUs, to the digits that were read, is a slip of somebody's pen. */
static bool read_line(const char *line, published *p)
{
    char name[16], rest;
    double efficiency;
    if (sscanf(line, "%15[^,],%d,%lf,%lf,%lf %c", name, &p->cpus, &p->best, &efficiency, &p->many, &rest) != 5)
        return false;
    p->model = model_named(name);
    return p->model >= 0 && p->cpus > 0 && p->best > 0 && p->many > 0 && p->many <= p->best &&
           fabs(p->best / p->cpus - efficiency) < 0.02;
}

int published_read(const char *path, published *out, const char **why)
{
    static char text[400];
    char line[400];
    int n = 0, number = 0;
    FILE *file = fopen(path, "r");
    snprintf(text, sizeof text, "%s: cannot be read, or has no lines", path);
    *why = text;
    while (file && n < MOST_PUBLISHED && fgets(line, sizeof line, file)) {
        number++;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (!read_line(line, &out[n])) {
            snprintf(text, sizeof text, "%s:%d: expected model,cpus,speed-up,efficiency,speed-up that agree", path,
                     number);
            n = 0;
            break;
        }
        n++;
    }
    if (file)
        fclose(file);
    if (n != 0)
        *why = NULL;
    return n;
}
