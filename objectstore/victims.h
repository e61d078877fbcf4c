/*
 * victims.h - which objects leave memory, and when: pure functions, numbers in, a choice out.
 *
 * Coldness is compared in steps that double: what was used 100 and what was used 120 uses ago are as
 * cold as each other, and then the larger one goes, since one write of it makes more room.
 */
#ifndef DMI_VICTIMS_H
#define DMI_VICTIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DMI_VICTIMS_MOST = 256 };

/* An object that is sealed, read by nobody, and may leave. */
typedef struct dmi_candidate {
    uint64_t bytes;
    uint32_t age; /* uses of other objects since its own last one */
    bool on_disk; /* a copy is there already: leaving costs nothing */
} dmi_candidate;

/* How full memory is. */
typedef struct dmi_pressure {
    uint64_t limit;   /* bytes the store may hold */
    uint64_t used;    /* bytes of objects in memory */
    uint64_t leaving; /* of them, being written */
    double begin, end; /* shares of the limit: above `begin` objects leave, until `end` is reached */
} dmi_pressure;

/* How many bytes more should begin to leave now. */
uint64_t dmi_victims_due(const dmi_pressure *pressure);

/*
 * The victims among `n` candidates (at most DMI_VICTIMS_MOST), as indices into them, best first:
 * colder before warmer; as cold as each other: those on disk already, then large ones. Only as many as are needed for
 * `need` bytes. Returns how many.
 */
size_t dmi_victims_choose(const dmi_candidate *candidates, size_t n, uint64_t need, uint16_t *chosen);

#endif
