/*
 * clockwork.c - see clockwork.h.
 */
#include "bench/what_would_more_cores_give/model/clockwork.h"

void clockwork_compute(clockwork *c, double ns, uint32_t kind, uint32_t who)
{
    c->computing++;
    event_queue_push(&c->work, c->worked + ns, kind, who);
}

void clockwork_wait(clockwork *c, double ns, uint32_t kind, uint32_t who)
{
    event_queue_push(&c->timers, c->now + ns, kind, who);
}

static double pace(const clockwork *c)
{
    return c->computing > c->cpus ? (double)c->cpus / c->computing : 1;
}

static void pass(clockwork *c, double ns)
{
    c->now += ns;
    c->worked += ns * pace(c);
    c->busy += ns * pace(c) * c->computing;
}

bool clockwork_next(clockwork *c, event *out)
{
    const event *work = event_queue_first(&c->work), *timer = event_queue_first(&c->timers);
    if (!work && !timer)
        return false;
    double until_work = work ? (work->at - c->worked) / pace(c) : 0;
    double until_timer = timer ? timer->at - c->now : 0;
    if (work && (!timer || until_work <= until_timer)) {
        pass(c, until_work > 0 ? until_work : 0);
        c->computing--;
        return event_queue_pop(&c->work, out);
    }
    pass(c, until_timer > 0 ? until_timer : 0);
    return event_queue_pop(&c->timers, out);
}

void clockwork_fini(clockwork *c)
{
    event_queue_fini(&c->work);
    event_queue_fini(&c->timers);
}
