/*
 * engine.c - three ways to have workers over the same shared structures.
 */
#include "runtime/engine.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/lane.h"
#include "runtime/service.h"
#include "runtime/supervisor.h"
#include "runtime/worker.h"

/* ---- threads ---- */

static void serve_the_driver(void *worker)
{
    dmi_worker_housekeep(worker);
}

static void *thread_main(void *argument)
{
    dmi_worker *worker = argument;
    dmi_self = worker;
    dmi_worker_serve(worker);
    dmi_self = NULL;
    return NULL;
}

static dm_status start_here(dmi_session *session, dmi_lane *lane)
{
    lane->child.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lane->child.service_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lane->child.bell < 0 || lane->child.service_bell < 0)
        return dmi_error(DM_ERR_FDS, "no file descriptor for a worker's bells: raise ulimit -n");
    dmi_role_take(&session->role);
    dm_status status = dmi_lane_open(session, lane);
    dmi_role_leave(&session->role);
    DM_TRY(status);
    return dmi_worker_create(&lane->worker, session, lane);
}

static dm_status start_thread(dmi_session *session, dmi_lane *lane)
{
    DM_TRY(start_here(session, lane));
    DM_TRY(dmi_service_start(&lane->service, -1, lane->child.service_bell, serve_the_driver,
                             lane->worker));
    if (pthread_create(&lane->thread, NULL, thread_main, lane->worker) != 0)
        return dmi_error(DM_ERR_NOMEM, "no memory for a worker thread");
    lane->has_thread = true;
    return DM_OK;
}

static void stop_here(dmi_lane *lane)
{
    if (lane->has_thread) {
        dmi_word_publish(&lane->down->closing, 1);
        dmi_ring_bell(lane->child.bell);
        pthread_join(lane->thread, NULL);
    }
    lane->has_thread = false;
    dmi_service_stop(lane->service);
    lane->service = NULL;
    dmi_worker_destroy(lane->worker);
    lane->worker = NULL;
    if (lane->child.bell >= 0)
        close(lane->child.bell);
    if (lane->child.service_bell >= 0)
        close(lane->child.service_bell);
}

/* ---- all ---- */

dm_status dmi_engine_start(dmi_session *session)
{
    if (session->settings.engine == DM_ENGINE_SERIAL)
        return start_here(session, &session->lanes[0]);
    if (session->settings.engine == DM_ENGINE_THREADS)
        for (int i = 0; i < session->settings.workers; i++)
            DM_TRY(start_thread(session, &session->lanes[i]));
    return dmi_supervisor_start(session);
}

void dmi_engine_stop(dmi_session *session)
{
    if (session->supervisor)
        dmi_supervisor_stop(session);
    if (session->settings.engine == DM_ENGINE_PROCESSES || session->lanes == NULL)
        return;
    for (uint32_t i = 0; i < session->lane_limit; i++)
        stop_here(&session->lanes[i]);
}

void dmi_engine_run_serially(dmi_session *session)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    dmi_worker *worker = session->lanes[0].worker;
    pthread_mutex_lock(&one_at_a_time);
    dmi_worker *outer = dmi_self;
    do {
        dmi_self = worker;
        while (dmi_worker_turn(worker))
            ;
        dmi_worker_housekeep(worker);
        dmi_self = outer;
        dmi_role_take(&session->role);
        dmi_turn(session);
        dmi_role_leave(&session->role);
    } while (dmi_word_load(&worker->down->tail) != worker->next);
    pthread_mutex_unlock(&one_at_a_time);
}
