/*
 * ahead.h - fresh pages by the dozen: a table that grows is touched ahead of its end.
 *
 * The first touch of a page is an exception, and where exceptions are dear (under some hypervisors ten
 * microseconds) a table's fresh pages cost more than all that is done with them. Asking the kernel for
 * sixteen and more at once halves that.
 */
#ifndef DMI_AHEAD_H
#define DMI_AHEAD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dmi_ahead {
    char *base;
    size_t ready, end; /* bytes: asked for already, and all there can be */
    bool reads;        /* mapped for reading only */
} dmi_ahead;

/* `bytes` of it are about to be in use. Failing does no harm: then each page is touched by itself. */
void dmi_ahead_grow(dmi_ahead *ahead, size_t bytes);

static inline void dmi_ahead_reach(dmi_ahead *ahead, size_t bytes)
{
    if (__builtin_expect(bytes > ahead->ready, 0))
        dmi_ahead_grow(ahead, bytes);
}

/* Private memory of which much may be used: large pages, but for the beginning, which is all that most
 * programs need. */
void dmi_ahead_in_large(char *base, size_t bytes);

#endif
