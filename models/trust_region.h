/*
 * trust_region.h - a step of Levenberg and Marquardt: the least squares step no longer than allowed.
 */
#ifndef DM_MODELS_TRUST_REGION_H
#define DM_MODELS_TRUST_REGION_H

#include <stdbool.h>

enum { DMI_TRUST_MOST = 8 };

/*
 * The step x that makes the linear model smallest, x^T H x / 2 + g^T x, with |x| up to `radius`,
 * give or take a tenth: the solution of (H + par I) x = -g with the smallest par >= 0 that does it,
 * found by More's method (More 1978, section 5; MINPACK's lmpar, here with the normal equations).
 * H is n x n with a stride of DMI_TRUST_MOST, its lower triangle. `par` is where the search begins
 * and becomes the one found. False if there is no such step: the numbers are not finite.
 */
bool dmi_trust_region_step(int n, const double *h, const double *g, double radius, double *par,
                           double *step);

#endif
