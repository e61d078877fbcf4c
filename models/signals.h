/*
 * signals.h - the signals of a mask's voxels as blocks in the store, and how tasks read them there.
 *
 * The voxels of the mask are cut into groups, the volumes into slabs: a block is the values of one
 * group in the volumes of one slab, volume by volume, of the type they have in the file. Of a .nii,
 * or an image in memory, a group is one block, made when it is first asked for. Of
 * a compressed file all blocks are made in one pass; a slab is as many volumes as may be open at a
 * time, because only what is sealed can be spilled.
 */
#ifndef DM_MODELS_SIGNALS_H
#define DM_MODELS_SIGNALS_H

#include "dm/dm.h"
#include "models/image_file.h"

/* What a task must know to read blocks; a value in the store. */
typedef struct dmi_layout {
    uint64_t n_volumes;
    uint64_t group; /* voxels; the last one may be shorter */
    uint64_t slab;  /* volumes; the last one may be shorter */
    uint64_t n_slabs;
    uint64_t type; /* dm_volume_type */
    double slope, inter;
    uint64_t column[]; /* n_volumes: where the next volume of the blocks belongs among a voxel's */
} dmi_layout;

/* ---- the driver's half ---- */

struct dm_signals {
    dm_volume image; /* of the selected volumes; no data */
    const dm_mask *mask;
    const dm_image_file *file; /* a .nii, read as needed; or NULL */
    const dm_volume *volume;   /* the same, in memory; or NULL: all is in the store */
    unsigned char *piece;      /* what was read of the file last */
    bool swapped;
    dmi_layout *layout;
    dm_ref layout_ref;
    size_t n_groups;
    dm_ref *refs;    /* n_groups x n_slabs; DM_NO_REF: not made yet, or let go */
    size_t let_go;   /* groups before this one are over */
    dm_buffer *open; /* n_groups: blocks being filled */
    size_t at;       /* the next voxel of the mask in the volume at hand */
};

/* Of an image in memory. Both must outlive it. Yours: dm_signals_destroy. */
dm_status dmi_signals_of_volume(const dm_volume *volume, const dm_mask *mask,
                                dm_signals **signals) DM_NODISCARD;

/* How many blocks voxels first .. first + n of the mask lie in. */
size_t dmi_signals_block_count(const dm_signals *signals, size_t first, size_t n);

/* The blocks, made if need be. `refs` are Mine until they are let go. */
dm_status dmi_signals_blocks(dm_signals *signals, size_t first, size_t n,
                             dm_ref *refs) DM_NODISCARD;

/* Voxels before this one of the mask are not needed any more. */
void dmi_signals_let_go(dm_signals *signals, size_t before);

/* ---- where blocks are read ---- */

typedef struct dmi_chunk {
    const dmi_layout *layout;
    size_t first, n; /* voxels, from the first block's first on */
    dm_view *blocks; /* group by group, slab by slab */
    size_t n_blocks;
} dmi_chunk;

/* From argument `index` of a task on: layout, first, n, blocks. Yours: dmi_chunk_fini. */
dm_status dmi_chunk_of_call(dm_call *call, int index, dmi_chunk *chunk) DM_NODISCARD;

/* In the driver: a whole group. Yours: dmi_chunk_fini, before the group is let go. */
dm_status dmi_chunk_of_group(dm_signals *signals, size_t group, dmi_chunk *chunk) DM_NODISCARD;

/* Voxels from .. from + n of the chunk: `values` becomes n x n_volumes, as by dm_volume_gather. */
void dmi_chunk_gather(const dmi_chunk *chunk, size_t from, size_t n, double *values);

void dmi_chunk_fini(dmi_chunk *chunk);

#endif
