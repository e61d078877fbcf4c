/*
 * stage.c - a stack of stages.
 */
#include "objectstore/stage.h"

#include <stdlib.h>
#include <sys/mman.h>

void dmi_stages_init(dmi_stages *stages, size_t room, size_t notes)
{
    pthread_mutex_init(&stages->lock, NULL);
    stages->free = NULL;
    stages->room = room;
    stages->notes = notes;
}

static void destroy(dmi_stage *stage)
{
    if (stage->bytes)
        munmap(stage->bytes, stage->room);
    dmi_codec_destroy(stage->codec);
    free(stage->notes);
    free(stage);
}

static dmi_stage *create(size_t room, size_t notes)
{
    dmi_stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL)
        return NULL;
    stage->room = room;
    stage->codec = dmi_codec_create();
    stage->notes = calloc(1, notes);
    void *bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes != MAP_FAILED)
        stage->bytes = bytes;
    if (stage->bytes && stage->codec && stage->notes)
        return stage;
    destroy(stage);
    return NULL;
}

dmi_stage *dmi_stage_take(dmi_stages *stages)
{
    pthread_mutex_lock(&stages->lock);
    dmi_stage *stage = stages->free;
    if (stage)
        stages->free = stage->next;
    pthread_mutex_unlock(&stages->lock);
    return stage ? stage : create(stages->room, stages->notes);
}

void dmi_stage_leave(dmi_stages *stages, dmi_stage *stage)
{
    pthread_mutex_lock(&stages->lock);
    stage->next = stages->free;
    stages->free = stage;
    pthread_mutex_unlock(&stages->lock);
}

void dmi_stages_fini(dmi_stages *stages)
{
    while (stages->free) {
        dmi_stage *stage = stages->free;
        stages->free = stage->next;
        destroy(stage);
    }
    pthread_mutex_destroy(&stages->lock);
}
