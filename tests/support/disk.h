/*
 * disk.h - damage to the spill files of this process: nameless ones are reached by its descriptors.
 */
#ifndef TEST_SUPPORT_DISK_H
#define TEST_SUPPORT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Flip a bit of `word` wherever it lies in a spill file; how many places there are. */
int disk_flip(uint64_t word);

/* Is it there? */
bool disk_has(uint64_t word);

/* Cut all spill files off. */
void disk_truncate(void);

/* Bytes that spill files take, as the kernel counts. */
int64_t disk_bytes(void);
int64_t disk_bytes_below(const char *directory);

#endif
