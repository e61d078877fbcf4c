/*
 * spilling.h - for tests of objectstore/spill.h: sessions of it, parts with known bytes, and what the kernel
 * says of our files: a nameless one is found by its descriptor.
 */
#ifndef TEST_SUPPORT_SPILLING_H
#define TEST_SUPPORT_SPILLING_H

#include "objectstore/spill.h"
#include "tests/support/test.h"

typedef enum spilling_kind {
    SPILLING_ZEROS,
    SPILLING_NOISE,
    SPILLING_SIGNALS,  /* float32, integers, as a scanner makes them */
    SPILLING_FRACTIONS /* float32, as a fit makes them */
} spilling_kind;

/* Bytes that depend on kind and seed alone. */
void spilling_fill(void *to, size_t bytes, spilling_kind kind, unsigned seed);

/* A directory of the test's own below /var/tmp, removed at the end of the process with all in it. */
const char *spilling_dir(void);

/* AUTO, in spilling_dir(). */
dmi_spill_settings spilling_settings(void);
dmi_spill *spilling_begin(const dmi_spill_settings *settings);

/* Write one part of so many bytes; its ticket. The id is the seed. */
uint32_t spilling_write(dmi_spill *spill, size_t bytes, spilling_kind kind, unsigned seed);

/* Read it and compare. */
void spilling_check(dmi_spill *spill, uint32_t ticket, size_t bytes, spilling_kind kind,
                    unsigned seed);

/* Until there is nothing to tidy. */
void spilling_tidy(dmi_spill *spill);

/* Our files that are open: how many, how many bytes of disk they have, and a descriptor of one (-1: none). */
typedef struct spilling_files {
    int count, fd;
    uint64_t disk_bytes;
} spilling_files;
spilling_files spilling_open_files(void);

/* Names in a directory, "." and ".." not counted. */
int spilling_names(const char *directory);

#endif
