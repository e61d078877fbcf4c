/*
 * policy.c - whom to give work, when to spin, when to sleep. Pure; tests/test_runtime_policy.c.
 */
#include "runtime/policy.h"

enum {
    WINDOW_NS = 200000,      /* work a lane holds at most */
    WINDOW_TASKS = 1000,     /* and tasks: somewhat less than the ring */
    FEW_TASKS = 48,          /* but so many of longer ones: the driver is woken about twice for each window, and */
    FEW_TASKS_NS = 2000000,  /* where all cores work, that takes one from a worker. No more work than this, though */
    CONSOLIDATE_NS = 30000,  /* what waking another core costs */
    EARLY_NS = 20000,        /* so that an input is there well before its worker hands the task back */
    ONE_DOES_NS = 300,       /* submitting a task costs about this: one worker keeps up with shorter ones */
    BATCH = 32,
    WAKE_NS = 50000,         /* a wake-up and a bit */
    DRIVER_SPIN_NS = 150000, /* long: spinning about as long as a wake takes and then sleeping is worst */
    WORKER_SPIN_NS = 50000
};

static uint64_t min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t dmi_policy_window(uint64_t mean_ns)
{
    if (mean_ns == 0)
        return 2;
    uint64_t tasks = WINDOW_NS / mean_ns, few = min(FEW_TASKS_NS / mean_ns, FEW_TASKS);
    tasks = tasks < few ? few : tasks;
    return tasks < 2 ? 2 : min(tasks, WINDOW_TASKS);
}

uint64_t dmi_policy_least_room(uint64_t mean_ns)
{
    return dmi_policy_window(mean_ns) >= 4 * BATCH ? BATCH : 1;
}

static bool is_full(const dmi_lane_load *lane)
{
    return lane->backlog + dmi_policy_least_room(lane->mean_ns) > dmi_policy_window(lane->mean_ns);
}

static uint32_t quota_of(const dmi_lane_load *lane, uint64_t budget_ns)
{
    uint64_t room = dmi_policy_window(lane->mean_ns) - lane->backlog;
    uint64_t tasks = lane->mean_ns ? 1 + budget_ns / lane->mean_ns : 1;
    return (uint32_t)min(min(room, tasks), BATCH);
}

int dmi_policy_choose(const dmi_lane_load *lanes, int n, uint32_t *quota)
{
    int least = -1;
    bool enough = false;
    for (int i = 0; i < n; i++) {
        uint64_t work = lanes[i].backlog * lanes[i].mean_ns;
        if (is_full(&lanes[i])) {
            enough |= lanes[i].mean_ns != 0 && lanes[i].mean_ns < ONE_DOES_NS;
            continue;
        }
        if (enough && lanes[i].backlog == 0)
            continue; /* the full one will have done all it has before this one is awake */
        if (lanes[i].mean_ns != 0 && work < CONSOLIDATE_NS &&
            (lanes[i].backlog == 0 || lanes[i].mean_ns < CONSOLIDATE_NS)) {
            *quota = quota_of(&lanes[i], CONSOLIDATE_NS - work);
            return i;
        }
        if (least < 0 || lanes[i].backlog < lanes[least].backlog)
            least = i;
    }
    if (least >= 0)
        *quota = quota_of(&lanes[least], 0);
    return least;
}

bool dmi_policy_place_early(uint64_t mean_ns)
{
    return mean_ns != 0 && mean_ns < EARLY_NS;
}

uint64_t dmi_policy_driver_spin_ns(int busy_lanes, int cpus, uint64_t mean_ns)
{
    if (busy_lanes + 1 > cpus || mean_ns > DRIVER_SPIN_NS)
        return 0;
    return DRIVER_SPIN_NS;
}

uint64_t dmi_policy_worker_spin_ns(int cpus)
{
    return cpus > 1 ? WORKER_SPIN_NS : 0;
}

uint64_t dmi_policy_wake_after(uint64_t entries_behind, uint64_t mean_ns)
{
    if (mean_ns == 0)
        return 0;
    return min(entries_behind, WAKE_NS / mean_ns);
}
