/*
 * residue.h - is anything left of a session? Processes below this one, its descriptors and threads,
 * bytes of shared memory, files.
 *
 * Counts are exact, and waited for: what the kernel gives back a moment later is not residue.
 */
#ifndef TEST_SUPPORT_RESIDUE_H
#define TEST_SUPPORT_RESIDUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESIDUE_MAX_FDS = 256 };

typedef struct residue {
    int processes; /* below this one, zombies included */
    int threads;   /* of this process */
    int fds;
    char targets[RESIDUE_MAX_FDS][64]; /* of descriptors, by number */
    int64_t shared_bytes;              /* of memory files open anywhere in our tree */
    int shared_maps;                   /* mappings of such in this process */
    int files;                         /* in the test's directory */
} residue;

/* What there is now. The first call runs a small session before, because libraries keep things. */
void residue_begin(residue *now);

/* Is it as before? Waits up to `patience_ms` for it to be; if it is not, says what is there, a line
 * each, into `said`. */
bool residue_check_within(const residue *before, int patience_ms, char *said, size_t room);

/* The same with two seconds of patience. */
bool residue_check(const residue *before, char *said, size_t room);

/* How many processes there are below `pid`, itself not counted, zombies included. */
int residue_below(int pid);

/* /proc/meminfo Shmem, in bytes: of the whole machine, so only for tests that run alone. */
int64_t residue_machine_shared_bytes(void);

#endif
