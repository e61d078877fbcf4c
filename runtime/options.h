/*
 * options.h - a session's settings, settled: dm_options, else DM_* variables, else defaults.
 */
#ifndef DMI_OPTIONS_H
#define DMI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm/dm.h"

typedef struct dmi_settings {
    dm_engine engine; /* never DM_ENGINE_DEFAULT */
    int workers;
    int cpus; /* that this process may use */
    size_t store_bytes;
    char spill_dir[4096];
    dm_spill_policy spill_policy; /* never DM_SPILL_DEFAULT */
    dm_spill_filter spill_filter; /* never DM_FILTER_DEFAULT */
    double spill_threshold, spill_fill_limit;
    size_t spill_limit_bytes; /* 0: no limit */
    size_t lineage_bytes;
    int spill_acceleration;
    bool spill_visible, spill_in_memory;
    int retries;           /* 0: none */
    int64_t task_limit_ms; /* -1: no limit */
    int64_t store_wait_ms;
    size_t queue_tasks;
    bool queue_refuses;
    size_t nested_tasks;
    int64_t cancel_grace_ms; /* DM_NONE: for ever */
    size_t inline_bytes;
    void (*log)(void *context, const char *line); /* never NULL */
    void *log_context;
} dmi_settings;

/* Settle all settings. DM_ERR_OPTION with a sentence naming the option or variable, what it holds
 * and what it may hold. `options` may be NULL. */
dm_status dmi_settings_settle(dmi_settings *settings, const dm_options *options);

/* "64M" -> 67108864. False if it is no size: digits, then nothing or one of K M G T, any case. */
bool dmi_parse_size(const char *text, size_t *bytes);

/* What this process may use: CPUs by affinity and its cgroup's quota rounded up, at least 1; bytes of
 * memory of the machine or of its cgroup, whichever is less. */
typedef struct dmi_usable {
    int cpus;
    size_t memory;
} dmi_usable;

dmi_usable dmi_usable_here(void);

#endif
