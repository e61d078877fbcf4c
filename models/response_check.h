/*
 * response_check.h - whether a response can be one.
 */
#ifndef DM_MODELS_RESPONSE_CHECK_H
#define DM_MODELS_RESPONSE_CHECK_H

#include "dm/models.h"

#include <math.h>

/* DM_ERR_INVALID, naming `what`, unless all four numbers are positive and finite. */
static inline dm_status dmi_response_check(const char *what, const dm_response *r)
{
    const double numbers[4] = {r->evals[0], r->evals[1], r->evals[2], r->s0};
    for (int k = 0; k < 4; k++)
        if (!(numbers[k] > 0 && isfinite(numbers[k])))
            return dmi_error(DM_ERR_INVALID,
                             "%s: the response is (%g, %g, %g), S0 %g; expected three positive "
                             "eigenvalues (mm2/s) and a positive S0",
                             what, numbers[0], numbers[1], numbers[2], numbers[3]);
    return DM_OK;
}

#endif
