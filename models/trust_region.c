/*
 * trust_region.c - see trust_region.h.
 */
#include "models/trust_region.h"
#include "models/symmetric.h"

#include <float.h>
#include <math.h>

enum { MOST = DMI_TRUST_MOST, MOST_TRIES = 10 };

/* Below this share of its diagonal element a pivot counts as zero, and H as singular. */
static const double LEAST_PIVOT = 1e-14;

/* How far from the radius a step may end, as a share of it. */
static const double SLACK = 0.1;

static double length(int n, const double *x)
{
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum += x[k] * x[k];
    return sqrt(sum);
}

/* The problem, and a step for some par: its factor, its length, how much too long it is. */
typedef struct trial {
    int n;
    const double *h, *g;
    double radius;
    dmi_factor factor;
    double *step;
    double length, excess;
} trial;

/* step = -(H + par I)^-1 g. False if that matrix is singular. */
static bool try_par(trial *t, double par)
{
    if (!dmi_symmetric_factor(t->n, MOST, t->h, par, LEAST_PIVOT, &t->factor))
        return false;
    for (int k = 0; k < t->n; k++)
        t->step[k] = -t->g[k];
    dmi_factor_solve(&t->factor, t->step);
    t->length = length(t->n, t->step);
    t->excess = t->length - t->radius;
    return true;
}

/* How much Newton's method would add to par, so that the length becomes the radius. */
static double correction(const trial *t)
{
    double direction[MOST];
    for (int k = 0; k < t->n; k++)
        direction[k] = t->step[k] / t->length;
    return t->excess / t->radius / dmi_factor_inverse_form(&t->factor, direction);
}

/* Where par is looked for. */
typedef struct interval {
    double low, high;
} interval;

/* From *par on, until the step is as long as the radius, give or take. */
static bool search(trial *t, bool regular, interval in, double *par)
{
    for (int tries = 1; tries <= MOST_TRIES; tries++) {
        if (*par == 0)
            *par = fmax(DBL_MIN, 0.001 * in.high);
        const double excess_before = t->excess;
        if (!try_par(t, *par)) {
            if (!isfinite(*par))
                return false;
            in.low = *par; /* so small a par does not cure a singular H */
            *par = fmax(1000 * *par, 1e-12 * in.high);
            continue;
        }
        const bool shrinks = in.low == 0 && t->excess <= excess_before && excess_before < 0;
        if (fabs(t->excess) <= SLACK * t->radius || tries == MOST_TRIES || shrinks ||
            (!regular && t->excess <= 0))
            return true;
        if (t->excess > 0)
            in.low = fmax(in.low, *par);
        else
            in.high = fmin(in.high, *par);
        *par = fmax(in.low, *par + correction(t));
    }
    return false;
}

bool dmi_trust_region_step(int n, const double *h, const double *g, double radius, double *par,
                           double *step)
{
    trial t = {.n = n, .h = h, .g = g, .radius = radius, .step = step, .excess = INFINITY};
    const double slope = length(n, g);
    interval in = {0, slope / radius};
    const bool regular = try_par(&t, 0);
    if (regular && t.excess <= SLACK * radius) {
        *par = 0;
        return true;
    }
    if (regular)
        in.low = correction(&t);
    if (in.high == 0)
        in.high = DBL_MIN / fmin(radius, SLACK);
    *par = fmin(fmax(*par, in.low), in.high);
    if (*par == 0)
        *par = regular ? slope / t.length : 0.001 * in.high;
    return search(&t, regular, in, par);
}
