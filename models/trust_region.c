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

/* step = -(H + par I)^-1 g, and its length. False if that matrix is singular. */
static bool solve(int n, const double *h, const double *g, double par, dmi_factor *factor,
                  double *step, double *step_length)
{
    if (!dmi_symmetric_factor(n, MOST, h, par, LEAST_PIVOT, factor))
        return false;
    for (int k = 0; k < n; k++)
        step[k] = -g[k];
    dmi_factor_solve(factor, step);
    *step_length = length(n, step);
    return true;
}

/* How much Newton's method would add to par, so that the length becomes the radius. */
static double correction(int n, const dmi_factor *factor, const double *step, double step_length,
                         double radius)
{
    double direction[MOST];
    for (int k = 0; k < n; k++)
        direction[k] = step[k] / step_length;
    return (step_length - radius) / radius / dmi_factor_inverse_form(factor, direction);
}

bool dmi_trust_region_step(int n, const double *h, const double *g, double radius, double *par,
                           double *step)
{
    dmi_factor factor;
    double step_length = 0, low = 0, excess = INFINITY;
    const double slope = length(n, g);
    const bool regular = solve(n, h, g, 0, &factor, step, &step_length);
    if (regular) {
        excess = step_length - radius;
        if (excess <= SLACK * radius) {
            *par = 0;
            return true;
        }
        low = correction(n, &factor, step, step_length, radius);
    }
    double high = slope / radius;
    if (high == 0)
        high = DBL_MIN / fmin(radius, SLACK);
    *par = fmin(fmax(*par, low), high);
    if (*par == 0)
        *par = regular ? slope / step_length : 0.001 * high;
    for (int tries = 1;; tries++) {
        if (*par == 0)
            *par = fmax(DBL_MIN, 0.001 * high);
        const double excess_before = excess;
        if (!solve(n, h, g, *par, &factor, step, &step_length)) {
            if (tries == MOST_TRIES || !isfinite(*par))
                return false;
            /* So small a par does not cure a singular H. */
            low = *par;
            *par = fmax(1000 * *par, 1e-12 * high);
            continue;
        }
        excess = step_length - radius;
        if (fabs(excess) <= SLACK * radius || tries == MOST_TRIES ||
            (low == 0 && excess <= excess_before && excess_before < 0) ||
            (!regular && excess <= 0))
            return true;
        const double more = correction(n, &factor, step, step_length, radius);
        if (excess > 0)
            low = fmax(low, *par);
        else
            high = fmin(high, *par);
        *par = fmax(low, *par + more);
    }
}
