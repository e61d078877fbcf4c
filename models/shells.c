/*
 * shells.c - which volumes belong to shells that a person names by round b-values.
 */
#include "dm/models.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Scanners report b with the imaging gradients, a few percent around what was asked for. */
static bool is_near(double b, double shell)
{
    if (shell <= DM_B0_THRESHOLD || b <= DM_B0_THRESHOLD)
        return shell <= DM_B0_THRESHOLD && b <= DM_B0_THRESHOLD;
    return fabs(b - shell) <= fmax(50, 0.05 * shell);
}

/* Some of the b-values there are, ascending and rounded to 50, for a message. */
static void describe(const dm_gradients *gradients, size_t bytes, char *text)
{
    size_t used = 0;
    double last = -1;
    text[0] = 0;
    for (;;) {
        double next = INFINITY;
        for (size_t i = 0; i < gradients->n_volumes; i++) {
            const double b = 50 * round(gradients->b[i] / 50);
            if (b > last && b < next)
                next = b;
        }
        if (isinf(next) || used + 32 > bytes)
            break;
        used += (size_t)snprintf(text + used, bytes - used, "%s%g", used ? ", " : "", next);
        last = next;
    }
}

dm_status dm_gradients_shells(const dm_gradients *gradients, size_t n, const double *shells,
                              size_t *volumes, size_t *n_selected)
{
    if (!gradients || !shells || !volumes || !n_selected || n == 0)
        return dmi_error(DM_ERR_INVALID, "shells: a NULL argument, or no shell; give b-values");
    for (size_t k = 0; k < n; k++) {
        bool found = false;
        for (size_t i = 0; i < gradients->n_volumes; i++)
            found |= is_near(gradients->b[i], shells[k]);
        char there[256];
        describe(gradients, sizeof there, there);
        if (!found)
            return dmi_error(DM_ERR_INVALID,
                             "shells: no volume has a b near %g; there are, to the next 50: %s",
                             shells[k], there);
    }
    size_t count = 0;
    for (size_t i = 0; i < gradients->n_volumes; i++) {
        bool chosen = false;
        for (size_t k = 0; k < n; k++)
            chosen |= is_near(gradients->b[i], shells[k]);
        if (chosen)
            volumes[count++] = i;
    }
    *n_selected = count;
    return DM_OK;
}
