/*
 * batch.h - the parts of one write, laid out in a stage: what is large begins on a block of its own, what is
 * small is packed.
 *
 * Pure but for the stage's memory; one thread at a time. A batch is the notes of its stage.
 */
#ifndef DMI_BATCH_H
#define DMI_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "objectstore/ledger.h"
#include "objectstore/spill.h"
#include "objectstore/stage.h"

enum {
    DMI_BATCH_MOST = 1024, /* parts, or units */
    DMI_OWN_LEAST =
        16 << 10, /* stored bytes from which a part has blocks of its own: rounding up to a
                                 block wastes an eighth of them at most, on average */
    DMI_PACK_MOST =
        64 << 10 /* bytes of parts that share: what has to be read to move one of them */
};

typedef struct dmi_placed {
    uint32_t unit;          /* which of the batch */
    uint32_t at;            /* in the stage */
    uint32_t stored, count; /* bytes there, header and all; and before coding */
    uint32_t ticket;
    const dmi_unit *from; /* where it lies until it is moved; or NULL */
} dmi_placed;

typedef struct dmi_batch {
    dmi_stage *stage;
    size_t end; /* bytes staged */
    bool pack;  /* the last unit may be joined */
    uint32_t parts, units;
    dmi_placed part[DMI_BATCH_MOST];
    struct {
        uint32_t at, bytes; /* in the stage */
        dmi_run *run;       /* where it will be */
        dmi_unit *made;     /* what it will be known as */
    } unit[DMI_BATCH_MOST];
} dmi_batch;

/* The batch of a stage, empty. */
dmi_batch *dmi_batch_begin(dmi_stage *stage);

/* Bytes that a stage needs so that the largest part fits. */
size_t dmi_batch_room(void);

/* Code parts, one after the other, as many as there is room for. False: `*cancelled` became true. */
bool dmi_batch_fill(dmi_batch *batch, const dmi_spill_settings *settings, const dmi_part *parts,
                    size_t n, const atomic_bool *cancelled);

/* The `stored` bytes at `at` of the stage, behind all that is staged, are the next part; there must be fewer than
 * DMI_BATCH_MOST before it. */
dmi_placed *dmi_batch_place(dmi_batch *batch, size_t at, size_t stored);

/* Bytes to write: whole blocks, the rest of the last one zeros. */
size_t dmi_batch_end(dmi_batch *batch);

#endif
