/*
 * curve.c - see curve.h. Nelder and Mead's simplex over the logarithms of the overheads, from several beginnings.
 */
#include "bench/what_would_more_cores_give/implied/curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_LOG (-25.0) /* as good as nothing, and a simplex comes back from there */

enum { POWERS = 15, STEPS = 300, DRAWS = 100 };

/* ---- the law ---- */

double curve_speedup(const curve *c, int cpus, double chunks)
{
    double n = cpus, rounds = ceil(chunks / n);
    double t = fmax(rounds / chunks, 1 / n) + c->overhead[IN_WORKERS] * chunks / n + c->overhead[ONE_BY_ONE] * chunks +
               c->overhead[PER_CORE] * n + c->overhead[PER_FIT];
    return 1 / t;
}

double curve_best(const curve *c, int cpus, int *power)
{
    double best = 0;
    for (int k = 0; k <= POWERS; k++) {
        double speedup = curve_speedup(c, cpus, (double)(1 << k));
        if (speedup <= best)
            continue;
        best = speedup;
        if (power)
            *power = k;
    }
    return best;
}

/* ---- how far it is from the points ---- */

typedef struct problem {
    const published *points;
    int n;
    unsigned free;
} problem;

static curve curve_at(const problem *p, const double *x)
{
    curve c = {{0}};
    for (int i = 0, used = 0; i < OVERHEADS; i++)
        if (p->free >> i & 1)
            c.overhead[i] = exp(x[used++]);
    return c;
}

static int unknowns(unsigned free)
{
    return __builtin_popcount(free);
}

static double squares(const problem *p, const double *x)
{
    curve c = curve_at(p, x);
    double sum = 0;
    for (int i = 0; i < p->n; i++) {
        double best = log(p->points[i].best / curve_best(&c, p->points[i].cpus, NULL));
        double many = log(p->points[i].many / curve_speedup(&c, p->points[i].cpus, MANY_CHUNKS));
        sum += best * best + many * many;
    }
    return sum;
}

/* ---- the simplex ---- */

typedef struct corner {
    double x[OVERHEADS], value;
} corner;

static int by_value(const void *a, const void *b)
{
    double x = ((const corner *)a)->value, y = ((const corner *)b)->value;
    return (x > y) - (x < y);
}

/* The point that lies on the way from the worst corner through the middle of the others, `far` times as far. */
static corner along(const problem *p, const corner *s, int m, double far)
{
    corner to = {{0}, 0};
    for (int i = 0; i < m; i++) {
        double middle = 0;
        for (int j = 0; j < m; j++)
            middle += s[j].x[i] / m;
        to.x[i] = middle + far * (middle - s[m].x[i]);
    }
    to.value = squares(p, to.x);
    return to;
}

static void shrink(const problem *p, corner *s, int m)
{
    for (int j = 1; j <= m; j++) {
        for (int i = 0; i < m; i++)
            s[j].x[i] = (s[j].x[i] + s[0].x[i]) / 2;
        s[j].value = squares(p, s[j].x);
    }
}

static void step(const problem *p, corner *s, int m)
{
    corner there = along(p, s, m, 1);
    if (there.value < s[0].value) {
        corner farther = along(p, s, m, 2);
        s[m] = farther.value < there.value ? farther : there;
    } else if (there.value < s[m - 1].value || (m == 1 && there.value < s[m].value)) {
        s[m] = there;
    } else {
        corner nearer = along(p, s, m, there.value < s[m].value ? 0.5 : -0.5);
        if (nearer.value < fmin(there.value, s[m].value))
            s[m] = nearer;
        else
            shrink(p, s, m);
    }
}

/* Logarithms: a few per mille of the work by 32,768 tasks, or by a core, or at once. */
static const double beginnings[][OVERHEADS] = {{-11, -13, -7, -4}, {-10, -12, -5, -3}, {-13, -11, -9, -6},
                                               {-9, -16, -6, -8}};

static corner descend(const problem *p, const double *from)
{
    corner s[OVERHEADS + 1];
    int m = unknowns(p->free);
    for (int j = 0; j <= m; j++) {
        for (int i = 0, used = 0; i < OVERHEADS; i++)
            if (p->free >> i & 1) {
                s[j].x[used] = from[i] + (used == j - 1 ? 1.5 : 0);
                used++;
            }
        s[j].value = squares(p, s[j].x);
    }
    for (int i = 0; i < STEPS; i++) {
        qsort(s, (size_t)m + 1, sizeof *s, by_value);
        step(p, s, m);
    }
    qsort(s, (size_t)m + 1, sizeof *s, by_value);
    return s[0];
}

static corner least(const problem *p)
{
    corner best = {{0}, INFINITY};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        corner found = descend(p, beginnings[i]);
        if (found.value < best.value)
            best = found;
    }
    return best;
}

/* ---- uncertainty ---- */

static uint64_t scattered(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A sum of twelve uniform numbers less six: near enough to normal, and never far out. */
static double deviation(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(scattered(state) >> 11) / 9007199254740992.0;
    return sum;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The points as the curve has them, read again with the scatter that was found. */
static void draw(const problem *p, curve_fit *fit, uint64_t seed)
{
    static double drawn[OVERHEADS][DRAWS];
    published again[MOST_PUBLISHED];
    double from[OVERHEADS];
    for (int i = 0; i < OVERHEADS; i++)
        from[i] = fmax(log(fit->best.overhead[i]), LEAST_LOG);
    for (int d = 0; d < DRAWS; d++) {
        for (int i = 0; i < p->n; i++) {
            again[i] = p->points[i];
            again[i].best = curve_best(&fit->best, again[i].cpus, NULL) * exp(fit->rms * deviation(&seed));
            again[i].many = curve_speedup(&fit->best, again[i].cpus, MANY_CHUNKS) * exp(fit->rms * deviation(&seed));
        }
        problem q = {again, p->n, p->free};
        corner found = descend(&q, from);
        curve c = curve_at(&q, found.x);
        for (int i = 0; i < OVERHEADS; i++)
            drawn[i][d] = c.overhead[i];
    }
    for (int i = 0; i < OVERHEADS; i++) {
        qsort(drawn[i], DRAWS, sizeof drawn[i][0], ascending);
        fit->low.overhead[i] = drawn[i][DRAWS / 20];
        fit->high.overhead[i] = drawn[i][DRAWS - 1 - DRAWS / 20];
    }
}

curve_fit curve_find(const published *points, int n, unsigned free, uint64_t seed)
{
    problem p = {points, n, free};
    curve_fit fit;
    memset(&fit, 0, sizeof fit);
    corner found = least(&p);
    int left = 2 * n - unknowns(free);
    fit.best = curve_at(&p, found.x);
    fit.rms = sqrt(found.value / (left > 0 ? left : 1));
    for (int i = 0; i < n; i++) {
        fit.residual[2 * i] = points[i].best / curve_best(&fit.best, points[i].cpus, NULL) - 1;
        fit.residual[2 * i + 1] = points[i].many / curve_speedup(&fit.best, points[i].cpus, MANY_CHUNKS) - 1;
    }
    draw(&p, &fit, seed);
    return fit;
}
