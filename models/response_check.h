/*
 * response_check.h - whether a response can be one.
 */
#ifndef DM_MODELS_RESPONSE_CHECK_H
#define DM_MODELS_RESPONSE_CHECK_H

#include "dm/models.h"

#include <math.h>

/*
 * mm2/s. Along fibres water diffuses at some 1.7e-3, in fixed or cold tissue at a tenth of that, nowhere faster than
 * free. In um2/ms the same number is a thousand times larger, in cm2/s a hundred times smaller.
 */
#define DMI_RESPONSE_MOST  0.1
#define DMI_RESPONSE_LEAST 2e-5

static inline dm_status dmi_response_check_unit(const char *what, const dm_response *r)
{
    const double largest = fmax(r->evals[0], fmax(r->evals[1], r->evals[2]));
    if (largest >= DMI_RESPONSE_LEAST && largest <= DMI_RESPONSE_MOST)
        return DM_OK;
    return dmi_error(DM_ERR_INVALID,
                     "%s: the response's largest eigenvalue is %g; expected mm2/s, in which free water has %g: "
                     "divide by 1000 if it is in um2/ms, multiply by 100 if it is in cm2/s",
                     what, largest, DM_FREE_WATER_DIFFUSIVITY);
}

/* DM_ERR_INVALID, naming `what`, unless all four numbers are positive and finite, and the eigenvalues such as tissue
 * can have in mm2/s. */
static inline dm_status dmi_response_check(const char *what, const dm_response *r)
{
    const double numbers[4] = {r->evals[0], r->evals[1], r->evals[2], r->s0};
    for (int k = 0; k < 4; k++)
        if (!(numbers[k] > 0 && isfinite(numbers[k])))
            return dmi_error(DM_ERR_INVALID,
                             "%s: the response is (%g, %g, %g), S0 %g; expected three positive "
                             "eigenvalues (mm2/s) and a positive S0",
                             what, numbers[0], numbers[1], numbers[2], numbers[3]);
    return dmi_response_check_unit(what, r);
}

#endif
