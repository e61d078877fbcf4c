/*
 * csd_kernel_plain.c - the CSD kernel in pairs of doubles, which every processor has or can imitate;
 * and the choice among the kernels.
 */
#include "models/csd_kernel.h"

#include <assert.h>

enum { LANES = 2, BLOCKS = 6, DIRECTIONS = 12 };
#define TILES_ABOVE_3(call)                                                                        \
    case 4:                                                                                        \
        call(4);                                                                                   \
        break;                                                                                     \
    case 5:                                                                                        \
        call(5);                                                                                   \
        break;                                                                                     \
    case 6:                                                                                        \
        call(6);                                                                                   \
        break;

typedef double vec __attribute__((vector_size(16), may_alias));

static inline __attribute__((always_inline)) vec splat(double x)
{
    return (vec){x, x};
}

static inline __attribute__((always_inline)) void transpose(vec v[LANES])
{
    const vec a = v[0], b = v[1];
    v[0] = (vec){a[0], b[0]};
    v[1] = (vec){a[1], b[1]};
}

/* v in the lanes before i, zero from it on. */
static inline __attribute__((always_inline)) vec before(int i, vec v)
{
    return (vec){i > 0 ? v[0] : 0, i > 1 ? v[1] : 0};
}

static inline __attribute__((always_inline)) unsigned bits_below(vec v, vec threshold)
{
    return (unsigned)(v[0] < threshold[0]) | (unsigned)(v[1] < threshold[1]) << 1;
}

#include "models/csd_kernel_body.h"

const dmi_csd_kernel dmi_csd_kernel_plain = CSD_KERNEL;

const dmi_csd_kernel *dmi_csd_kernel_for(dmi_isa isa)
{
#if defined(__x86_64__)
    if (isa == DMI_ISA_AVX512)
        return &dmi_csd_kernel_avx512;
    if (isa == DMI_ISA_AVX2)
        return &dmi_csd_kernel_avx2;
#endif
    (void)isa;
    return &dmi_csd_kernel_plain;
}
