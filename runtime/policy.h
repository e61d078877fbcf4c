/*
 * policy.h - decisions as pure functions: numbers in, a choice out, nothing touched.
 *
 * The constants are in nanoseconds, and where they come from is said beside each. A sleeping core costs
 * about 26 us to wake here whatever the primitive, a spinning one 0.1 us: most of them follow from that.
 */
#ifndef DMI_POLICY_H
#define DMI_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of a lane: tasks it has and has not finished, and what one takes (0: not known yet). */
typedef struct dmi_lane_load {
    uint64_t backlog;
    uint64_t mean_ns;
} dmi_lane_load;

/* How many tasks a lane may have at once: enough to be busy for a while, few enough that little has to
 * be taken back when another lane falls idle. */
uint64_t dmi_policy_window(uint64_t mean_ns);

/* How much room in its window a lane must have to be given more: short tasks go by the batch, since each look at
 * the worker's words takes a cache line from it. */
uint64_t dmi_policy_least_room(uint64_t mean_ns);

/* Which of `n` lanes gets the next tasks, and how many of them (*quota); -1: none has room. The first
 * lane whose backlog is short of waking another core is preferred: waking one costs more than it. */
int dmi_policy_choose(const dmi_lane_load *lanes, int n, uint32_t *quota);

/* May a task be placed before its inputs are done? */
bool dmi_policy_place_early(uint64_t mean_ns);

/* How long a driver thread spins for a result before it sleeps. */
uint64_t dmi_policy_driver_spin_ns(int busy_lanes, int cpus, uint64_t mean_ns);

/* How long a worker without work spins before it sleeps. */
uint64_t dmi_policy_worker_spin_ns(int cpus);

/* How many entries beyond the one waited for a worker may finish before it wakes the sleeping driver. */
uint64_t dmi_policy_wake_after(uint64_t entries_behind, uint64_t mean_ns);

#endif
