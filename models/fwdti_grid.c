/*
 * fwdti_grid.c - the best fraction of free water on the grid of the linear fit (Neto Henriques et al.
 * 2017): 9 values, then passes of 19, each ten times closer around the best of the one before.
 *
 * Found is what trying all 47 finds, by some 17 (test_models_fwdti_grid; of signals made to mislead it, in all but one
 * of a million). A value costs two sweeps over the volumes, so in the closer passes only those are tried that can
 * still be the best. Between values of f at which a volume's signal is all water, where its logarithm ends, the sum of
 * squares is an analytic function of f: a polynomial through a few values says where its minimum is, and how well it
 * says so shows in its last terms. Where a volume's logarithm ends near the pass, all values are tried; and where there
 * are so few volumes that the tissue can follow nearly any signal: what is left over then is small beside what it is
 * the difference of, and changes over orders of magnitude within a pass.
 */
#include "models/fwdti.h"

#include <math.h>
#include <string.h>

enum { UNKNOWNS = DMI_FWDTI_UNKNOWNS, FIRST_COUNT = 9, COUNT = 19 };

/* With fewer volumes all values are tried. */
enum { LEAST_VOLUMES = 2 * UNKNOWNS };

/* One value of f and the tissue's fit with it. */
typedef struct candidate {
    alignas(64) double p[UNKNOWNS];
    double f, squares;
} candidate;

/* A sum of squares that is known. */
typedef struct known {
    double f, squares;
} known;

/* Values of f evenly from `first` to `last`; which were tried, and what came out. */
typedef struct pass {
    double first, last, step;
    int count;
    bool tried[COUNT];
    double squares[COUNT];
    candidate best;
} pass;

static double value(const pass *p, int k)
{
    return k < p->count - 1 ? k * p->step + p->first : p->last;
}

/* The smaller f of two that are as good. */
static bool is_better(double squares, double f, const candidate *best)
{
    return squares < best->squares || (squares == best->squares && f < best->f);
}

static void try_value(const dm_fwdti *model, const dm_fwdti_workspace *w, pass *p, int k)
{
    candidate now;
    now.f = value(p, k);
    now.squares = model->sweeps->try_f(model, w, now.f, now.p);
    p->tried[k] = true;
    p->squares[k] = now.squares;
    if (isnan(p->best.squares) || is_better(now.squares, now.f, &p->best))
        p->best = now;
}

static void try_all(const dm_fwdti *model, const dm_fwdti_workspace *w, pass *p)
{
    for (int k = 0; k < p->count; k++)
        if (!p->tried[k])
            try_value(model, w, p, k);
}

/* ---- a polynomial through what is known ---- */

enum { SEEDS = 3, MOST_NODES = 10 };

/* In Newton's form: sum over j of c[j] times the product of x - x[i], i < j. */
typedef struct polynomial {
    int n;
    double x[MOST_NODES], c[MOST_NODES];
} polynomial;

static void pass_through(polynomial *a, double x, double y)
{
    for (int j = 0; j < a->n; j++)
        y = (y - a->c[j]) / (x - a->x[j]);
    a->x[a->n] = x;
    a->c[a->n++] = y;
}

/*
 * Its value less what those terms can give that are missing, by its last two. One alone can be small by chance, and of
 * signals that no tissue has, the terms shrink slowly: hence three times the last, for one trial in thirty more.
 */
static double least(const polynomial *a, double x)
{
    double product = 1, sum = a->c[0], term = 0, former = 0;
    for (int j = 1; j < a->n; j++) {
        product *= x - a->x[j - 1];
        former = term;
        term = a->c[j] * product;
        sum += term;
    }
    return sum - fmax(3 * fabs(term), 0.1 * fabs(former));
}

/* ---- a pass around what the one before found ---- */

/* The three values that were tried nearest to the best, that one among them. */
static void seed(const pass *p, known seeds[SEEDS])
{
    double far[SEEDS] = {INFINITY, INFINITY, INFINITY};
    for (int k = 0; k < p->count; k++) {
        if (!p->tried[k])
            continue;
        const double f = value(p, k), distance = fabs(f - p->best.f);
        int at = SEEDS;
        while (at > 0 && distance < far[at - 1])
            at--;
        for (int j = SEEDS - 1; j > at; j--) {
            far[j] = far[j - 1];
            seeds[j] = seeds[j - 1];
        }
        if (at < SEEDS) {
            far[at] = distance;
            seeds[at] = (known){f, p->squares[k]};
        }
    }
}

/*
 * The one that promises most, or -1 if none can be better than the best. The neighbours of the best are tried in any
 * case: they are seeds of the next pass.
 */
static int next_to_try(const pass *p, const polynomial *a, double centre, double unit)
{
    int next = -1;
    double lowest = p->best.squares;
    for (int k = 0; k < p->count; k++) {
        if (p->tried[k])
            continue;
        const double f = value(p, k), bound = least(a, (f - centre) / unit);
        const bool neighbour = fabs(f - p->best.f) < 1.5 * p->step;
        if (!(bound >= lowest) || (neighbour && next < 0)) {
            next = k;
            lowest = fmin(bound, lowest);
        }
    }
    return next;
}

/* Whether the sum of squares is analytic where the polynomial is to hold, and half as far again on either side. */
static bool is_smooth(const dm_fwdti *model, const dm_fwdti_workspace *w, const pass *p,
                      const known seeds[SEEDS])
{
    double low = p->first, high = p->last;
    for (int k = 0; k < SEEDS; k++) {
        low = fmin(low, seeds[k].f);
        high = fmax(high, seeds[k].f);
    }
    const double room = 0.5 * (high - low);
    return !model->sweeps->runs_dry(model, w, low - room, high + room);
}

/* Tries what can be the best of a pass. */
static void look_closer(const dm_fwdti *model, const dm_fwdti_workspace *w, pass *p,
                        const known seeds[SEEDS])
{
    const double centre = p->best.f, unit = 10 * p->step;
    polynomial a = {.n = 0};
    if (model->n < LEAST_VOLUMES || !is_smooth(model, w, p, seeds)) {
        try_all(model, w, p);
        return;
    }
    for (int k = 0; k < SEEDS; k++)
        pass_through(&a, (seeds[k].f - centre) / unit, seeds[k].squares);
    for (int next; (next = next_to_try(p, &a, centre, unit)) >= 0;) {
        if (a.n == MOST_NODES) {
            try_all(model, w, p);
            return;
        }
        try_value(model, w, p, next);
        pass_through(&a, (value(p, next) - centre) / unit, p->squares[next]);
    }
}

/* The pass around the best of the one before, which is in its middle; `step` is the former's. */
static pass closer(const pass *before, double step)
{
    const double low = before->best.f - step, high = before->best.f + step, finer = 0.1 * step;
    pass p = {.first = low + finer, .last = high - finer, .count = COUNT, .best = before->best};
    p.step = (p.last - p.first) / (COUNT - 1);
    p.tried[COUNT / 2] = true;
    p.squares[COUNT / 2] = before->best.squares;
    return p;
}

double dmi_fwdti_search(const dm_fwdti *model, const dm_fwdti_workspace *w, double *found)
{
    double step = 0.1;
    pass now = {.first = 0 + step, .last = 1 - step, .count = FIRST_COUNT, .best = {.squares = NAN}};
    now.step = (now.last - now.first) / (FIRST_COUNT - 1);
    try_all(model, w, &now);
    for (int round = 1; round < model->settings.piterations; round++) {
        known seeds[SEEDS];
        seed(&now, seeds);
        now = closer(&now, step);
        step *= 0.1;
        look_closer(model, w, &now, seeds);
    }
    memcpy(found, now.best.p, sizeof now.best.p);
    return now.best.f;
}
