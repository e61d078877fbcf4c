/*
 * spill_inside.h - what spill.c, spill_write.c, spill_read.c and spill_tidy.c share. Nobody else includes this.
 *
 * Two locks: `lock` over all that is remembered, never held while anything waits for a disk or codes;
 * `making` over the making of files.
 */
#ifndef DMI_SPILL_INSIDE_H
#define DMI_SPILL_INSIDE_H

#include <pthread.h>
#include <time.h>

#include "objectstore/batch.h"
#include "objectstore/ledger.h"
#include "objectstore/spill.h"
#include "objectstore/spill_file.h"

enum { DMI_PLACES_MOST = 64 };

/* A directory, and the file in it once it is needed. */
typedef struct dmi_outlet {
    dmi_place place;
    dmi_spill_file file;
    bool open;
    bool emptying; /* by somebody, without the lock: nobody may take blocks */
} dmi_outlet;

struct dmi_spill {
    dmi_spill_settings settings;
    dmi_stages stages;
    pthread_mutex_t making;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t emptied;
    uint32_t outlets, turn;
    dmi_outlet outlet[DMI_PLACES_MOST];
    dmi_ledger ledger;
    dmi_spill_stats stats; /* of it only what counts up */
};

static inline uint64_t dmi_spill_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void dmi_spill_lock(dmi_spill *spill)
{
    pthread_mutex_lock(&spill->lock);
}

static inline void dmi_spill_unlock(dmi_spill *spill)
{
    pthread_mutex_unlock(&spill->lock);
}

static inline bool dmi_outlet_punches(const dmi_outlet *o)
{
    return atomic_load_explicit(&o->file.punches, memory_order_relaxed);
}

/* Bytes of our files that have disk behind them. Under the lock. (spill.c) */
uint64_t dmi_spill_on_disk(const dmi_spill *spill);

/* Write a batch, to whatever directory takes it; `fresh`: parts that have no tickets yet. (spill_write.c) */
dm_status dmi_spill_write_batch(dmi_spill *spill, dmi_batch *b, bool fresh,
                                const atomic_bool *cancelled);

/* Give idle blocks back; true if some were. `all`: though it may not be worth it. (spill_tidy.c) */
bool dmi_spill_give_back(dmi_spill *spill, bool all);

#endif
