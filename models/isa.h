/*
 * isa.h - which vector instructions the fits may use here.
 *
 * The numerics exist once for each of these; which one runs is decided when a model is created.
 */
#ifndef DM_MODELS_ISA_H
#define DM_MODELS_ISA_H

/* Ascending: a processor that has one has those before it. */
typedef enum dmi_isa {
    DMI_ISA_PLAIN,  /* what the compiler was told to assume; anything that is not x86-64 */
    DMI_ISA_AVX2,   /* x86-64-v3: AVX2, FMA, BMI1, BMI2 */
    DMI_ISA_AVX512, /* x86-64-v4: these and AVX-512 F, BW, CD, DQ, VL */
} dmi_isa;

/*
 * The best that processor and operating system offer, or what the environment variable DM_ISA
 * (plain, avx2 or avx512) asks for, if that is less. DM_ISA only lowers: a word that is not one of
 * these, and one that this machine has not got, are as if nothing had been said. The environment is
 * read each time.
 */
dmi_isa dmi_isa_best(void);

/* "plain", "avx2", "avx512". */
const char *dmi_isa_name(dmi_isa isa);

#endif
