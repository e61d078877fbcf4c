/*
 * filter.h - numbers, taken apart so that what is alike lies together, and put together again.
 *
 * n elements of e bytes become e *planes* of n bytes: the first bytes of all, the second bytes of all, ...
 * Neighbouring voxels share signs and exponents but no low bits, and an LZ coder finds only what repeats
 * byte by byte. A plane can be taken apart further, into the eight planes of its bits: that is what shows
 * that the low half of a byte is always zero.
 *
 * Pure; any thread. Each path (plain C, AVX2, ...) gives the same bytes; dmi_filter_best is the quickest
 * that this CPU has.
 */
#ifndef DMI_FILTER_H
#define DMI_FILTER_H

#include <stddef.h>
#include <stdint.h>

enum { DMI_ELEMENT_MOST = 8 };

typedef struct dmi_filter {
    const char *name;
    int (*runs_here)(void);
    /* `element` is 2, 4 or 8; plane p of `planes` begins at p * n. */
    void (*split)(const uint8_t *from, size_t n, unsigned element, uint8_t *planes);
    void (*join)(const uint8_t *planes, size_t n, unsigned element, uint8_t *to);
    /* Bit k of byte 8 i + j becomes bit j of byte k (n / 8) + i; the last n % 8 bytes stay. */
    void (*bits)(const uint8_t *from, size_t n, uint8_t *to);
    void (*unbits)(const uint8_t *from, size_t n, uint8_t *to);
} dmi_filter;

/* All paths there are, the plain one first; ends with NULL. For tests. */
extern const dmi_filter *const dmi_filters[];

const dmi_filter *dmi_filter_best(void);

#endif
