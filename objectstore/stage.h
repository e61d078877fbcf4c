/*
 * stage.h - where parts are coded, between memory and disk: buffers as direct I/O wants them.
 *
 * A stage is a page-aligned buffer for a part of the largest size, and scratch memory for the codec. Its
 * pages are fresh only once (1.5 us each), so stages are kept and given out again, the warmest first.
 * There are as many as threads ever worked at the same time.
 *
 * Thread-safe.
 */
#ifndef DMI_STAGE_H
#define DMI_STAGE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "objectstore/codec.h"

typedef struct dmi_stage {
    uint8_t *bytes;
    size_t room;
    dmi_codec *codec;
    void *notes; /* the user's, who finds there what was left */
    struct dmi_stage *next;
} dmi_stage;

typedef struct dmi_stages {
    pthread_mutex_t lock;
    dmi_stage *free;
    size_t room, notes; /* bytes of each */
} dmi_stages;

/* Bytes of each stage's buffer, and of its notes, which begin as zeros. */
void dmi_stages_init(dmi_stages *stages, size_t room, size_t notes);

/* NULL: no memory. */
dmi_stage *dmi_stage_take(dmi_stages *stages);
void dmi_stage_leave(dmi_stages *stages, dmi_stage *stage);

/* All must have been left. */
void dmi_stages_fini(dmi_stages *stages);

#endif
